package landing

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/guess"
	"github.com/isogate/isogate/internal/seal"
)

// Viewer is a person, or a program of theirs, who may see values. All three of
// Tenants, Labels and Transits must hold for a value; without any of one nothing
// is shown.
type Viewer struct {
	Name string // for receipts
	// TokenSHA256 is the SHA-256 of their token, in lower-case hexadecimal.
	TokenSHA256 string
	Tenants     []isogate.Tenant // "*" is each
	Labels      []isogate.LabelPattern
	Transits    []isogate.Transit // "*" is each
}

// allows reports whether the viewer may see values of this label and context.
func (w *Viewer) allows(c *seal.Context, l isogate.Label) bool {
	return (slices.Contains(w.Tenants, c.Tenant) || slices.Contains(w.Tenants, "*")) &&
		(slices.Contains(w.Transits, c.Transit) || slices.Contains(w.Transits, "*")) &&
		slices.ContainsFunc(w.Labels, func(p isogate.LabelPattern) bool { return p.Match(l) })
}

const (
	sessionIdle = time.Hour      // without a request
	sessionMax  = 12 * time.Hour // at all
	maxSessions = 10             // of one viewer; the oldest gives way
	// maxToken is how long a token may be, in bytes.
	maxToken = 512
)

// viewers is who may see, and who is signed in. Sessions are in memory only.
type viewers struct {
	list   []Viewer
	sums   [][32]byte
	failed *guess.Limit
	now    func() time.Time

	mu       sync.Mutex // guards sessions
	sessions map[[32]byte]*signedIn
}

// signedIn is one session, kept under the SHA-256 of its cookie's value.
type signedIn struct {
	viewer     *Viewer
	since, use time.Time
}

func newViewers(list []Viewer, now func() time.Time) (*viewers, error) {
	v := &viewers{list: slices.Clone(list), failed: guess.New(now), now: now, sessions: map[[32]byte]*signedIn{}}
	names := map[string]bool{}
	texts := make([]string, 0, len(list))
	for i, w := range list {
		if err := isogate.CheckName(w.Name, false); err != nil {
			return nil, fmt.Errorf("landing: viewers[%d].name: %w", i, err)
		}
		if names[w.Name] {
			return nil, fmt.Errorf("landing: viewers[%d].name: %q is there twice", i, w.Name)
		}
		names[w.Name] = true
		texts = append(texts, w.TokenSHA256)
	}
	var err error
	v.sums, err = digests("viewers", texts)
	return v, err
}

// digests reads token digests. Two holders of one token could not be told apart.
func digests(what string, list []string) ([][32]byte, error) {
	sums := make([][32]byte, len(list))
	for i, text := range list {
		sum, err := hex.DecodeString(text)
		switch {
		case err != nil || len(sum) != sha256.Size || strings.ToLower(text) != text:
			return nil, fmt.Errorf("landing: %s[%d]: token_sha256 is not 64 hexadecimal digits in lower case; make it with: printf %%s TOKEN | sha256sum", what, i)
		case sha256.Sum256(nil) == [32]byte(sum):
			return nil, fmt.Errorf("landing: %s[%d]: token_sha256 is that of an empty token", what, i)
		case slices.Contains(sums[:i], [32]byte(sum)):
			return nil, fmt.Errorf("landing: %s[%d]: another has the same token; give each their own", what, i)
		}
		sums[i] = [32]byte(sum)
	}
	return sums, nil
}

// find returns which digest is the token's, or -1. It takes as long whichever it is.
func find(sums [][32]byte, token string) int {
	sum := sha256.Sum256([]byte(token))
	at := -1
	for i := range sums {
		if subtle.ConstantTimeCompare(sum[:], sums[i][:]) == 1 {
			at = i
		}
	}
	if token == "" || len(token) > maxToken {
		return -1
	}
	return at
}

// byToken finds whose token it is. From an address that sent too many wrong ones
// none is tried.
func (v *viewers) byToken(token string, from netip.Addr) (w *Viewer, tooMany bool) {
	if v.failed.Reached(from) {
		return nil, true
	}
	if i := find(v.sums, token); i >= 0 {
		return &v.list[i], false
	}
	v.failed.Wrong(from)
	return nil, false
}

// isToken reports whether the token is a viewer's, whoever sends it: it must not
// reach the service.
func (v *viewers) isToken(token string) bool { return find(v.sums, token) >= 0 }

// signIn begins a session and returns its cookie's value.
func (v *viewers) signIn(w *Viewer) string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	id := base64.RawURLEncoding.EncodeToString(b[:])
	now := v.now()
	v.mu.Lock()
	defer v.mu.Unlock()
	var oldest [32]byte
	var first time.Time
	n := 0
	for k, s := range v.sessions {
		if s.over(now) {
			delete(v.sessions, k)
			continue
		}
		if s.viewer == w {
			if n++; n == 1 || s.since.Before(first) {
				oldest, first = k, s.since
			}
		}
	}
	if n >= maxSessions {
		delete(v.sessions, oldest)
	}
	v.sessions[sha256.Sum256([]byte(id))] = &signedIn{viewer: w, since: now, use: now}
	return id
}

// over reports whether the session has ended. A clock that was set back ends it.
func (s *signedIn) over(now time.Time) bool {
	return now.Sub(s.use) >= sessionIdle || now.Sub(s.since) >= sessionMax || now.Before(s.since)
}

// bySession finds whose session it is.
func (v *viewers) bySession(id string) *Viewer {
	if id == "" {
		return nil
	}
	now := v.now()
	k := sha256.Sum256([]byte(id))
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.sessions[k]
	if s == nil {
		return nil
	}
	if s.over(now) {
		delete(v.sessions, k)
		return nil
	}
	s.use = now
	return s.viewer
}

// signOut ends a session, or all of its viewer's.
func (v *viewers) signOut(id string, all bool) {
	k := sha256.Sum256([]byte(id))
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.sessions[k]
	if s == nil {
		return
	}
	for other, o := range v.sessions {
		if other == k || all && o.viewer == s.viewer {
			delete(v.sessions, other)
		}
	}
}

// count is how many sessions a viewer has.
func (v *viewers) count(w *Viewer) (n int) {
	now := v.now()
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, s := range v.sessions {
		if s.viewer == w && !s.over(now) {
			n++
		}
	}
	return n
}
