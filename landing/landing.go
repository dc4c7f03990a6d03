// Package landing is for Go services that stand behind a landing of Isogate and
// open seals in their own code instead of leaving it to the landing's edge.
//
// A seal is text that begins with igs1. Its key is held by the landing alone, for
// as long as the handling of the value allows; the service stores the seal, and
// asks the landing when it needs the value:
//
//	c := landing.Client{URL: "https://127.0.0.1:9443", HTTP: client, Token: token}
//	page, err := c.Reveal(ctx, page, landing.HTML)
//
// Every value that is opened is recorded by the landing, under the name of the
// viewer whose token it is, and reported to the tenant whose value it is. So ask for
// what is shown, when it is shown, and keep nothing of it: what is kept outlives the
// key, and the promise to the tenant is broken.
//
// docs/formats.md has the wire, for other languages.
package landing

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/obfuscate"
	"github.com/isogate/isogate/internal/seal"
)

// Client asks a landing. It is safe for concurrent use as long as its fields are
// not changed.
type Client struct {
	// URL is the landing's listener for the service, such as https://127.0.0.1:9443.
	// Plain http is for addresses of this machine only: the token is sent along.
	URL string
	// HTTP sends the requests, with its own timeout and, where the landing wants
	// one, client certificate. Redirects are not followed.
	HTTP *http.Client
	// Token is that of a viewer in the landing's configuration.
	Token string
}

// State is what became of a seal.
type State uint8

const (
	// Sealed: the viewer has no right to the value, or the text is no seal, or was changed.
	Sealed State = iota
	// Expired: the key was destroyed, or the value's time is over. There is no way
	// to get it back.
	Expired
	// Revealed: the value is there.
	Revealed
)

var stateNames = [...]string{"sealed", "expired", "revealed"}

func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return fmt.Sprintf("invalid(%d)", s)
}

// Value is what was in a seal. However it is printed, logged or marshalled, it is
// REDACTED; only Text has the value.
type Value struct {
	State State
	// Kind is what the value was before it was sealed: "string", "number" or "bool".
	Kind string
	text string
}

// Text is the value, a number as it was spelled; "" of one that is not revealed.
func (v Value) Text() string { return v.text }

// Error is a refusal by the landing.
type Error struct {
	Status int
	Code   string // such as "unauthorised"; "" if the landing gave none
	Detail string // what to do
	// RetryAfter is when to try again, if the landing says so; 0 otherwise.
	RetryAfter time.Duration
}

func (e *Error) Error() string {
	return fmt.Sprintf("landing: refused with status %d (%s): %s", e.Status, e.Code, e.Detail)
}

// What is asked for in one call; the landing takes 1000 seals and 2 MiB.
const (
	maxSeals = 500
	maxChars = 1 << 20
)

// Open opens seals, in as many calls as are needed, and returns what became of
// each. What is no seal is Sealed. With an error no value is returned, though some
// may have been opened, and recorded.
func (c *Client) Open(ctx context.Context, seals ...string) ([]Value, error) {
	out := make([]Value, len(seals))
	var ask []string
	var places []int
	chars := 0
	for i, s := range seals {
		if _, _, ok := seal.Parse([]byte(s)); !ok {
			continue
		}
		if len(ask) > 0 && (len(ask) == maxSeals || chars+len(s) > maxChars) {
			if err := c.call(ctx, ask, places, out); err != nil {
				return nil, err
			}
			ask, places, chars = ask[:0], places[:0], 0
		}
		ask, places, chars = append(ask, s), append(places, i), chars+len(s)
	}
	if len(ask) > 0 {
		if err := c.call(ctx, ask, places, out); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// call opens some seals and puts what became of them at their places in out.
func (c *Client) call(ctx context.Context, seals []string, places []int, out []Value) error {
	target, err := c.target()
	if err != nil {
		return err
	}
	body, err := json.Marshal(map[string][]string{"seals": seals})
	if err != nil {
		return fmt.Errorf("landing: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("landing: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+c.Token)
	client := *c.HTTP
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("landing: %w", err)
	}
	defer resp.Body.Close()
	const most = 16 << 20 // values are shorter than their seals, and escaped at the most sixfold
	b, err := io.ReadAll(io.LimitReader(resp.Body, most+1))
	defer clear(b)
	switch {
	case err != nil:
		return fmt.Errorf("landing: the answer broke off: %w", err)
	case resp.StatusCode != http.StatusOK:
		return refusal(resp, b)
	case len(b) > most:
		return errors.New("landing: the answer is too long; is this a landing?")
	}
	var answer struct {
		Values []struct {
			State string `json:"state"`
			Kind  string `json:"kind"`
			Value string `json:"value"`
		} `json:"values"`
	}
	// The error of the decoder is not told: it may have a piece of a value in it.
	if json.Unmarshal(b, &answer) != nil || len(answer.Values) != len(seals) {
		return fmt.Errorf("landing: the answer is not one value for each of %d seals; is this a landing?", len(seals))
	}
	for i, v := range answer.Values {
		switch v.State {
		case "revealed":
			if v.Kind != "string" && v.Kind != "number" && v.Kind != "bool" {
				return fmt.Errorf("landing: a value of the kind %.20q; this client is too old", v.Kind)
			}
			out[places[i]] = Value{State: Revealed, Kind: v.Kind, text: v.Value}
		case "expired":
			out[places[i]] = Value{State: Expired}
		}
	}
	return nil
}

// target is where seals are opened.
func (c *Client) target() (string, error) {
	if c.HTTP == nil {
		return "", errors.New("landing: Client.HTTP is nil; set one with a timeout")
	}
	if c.Token == "" {
		return "", errors.New("landing: Client.Token is empty; use that of a viewer in the landing's configuration")
	}
	u, err := url.Parse(c.URL)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", errors.New("landing: Client.URL is not an address such as https://127.0.0.1:9443")
	}
	switch {
	case u.Scheme == "https":
	case u.Scheme == "http" && isLocal(u.Hostname()):
	default:
		return "", errors.New("landing: Client.URL must be https, or http to an address of this machine: the token is sent along")
	}
	return u.JoinPath(".isogate", "open").String(), nil
}

func isLocal(host string) bool {
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback() || host == "localhost"
}

// refusal reads a problem (RFC 9457).
func refusal(resp *http.Response, b []byte) error {
	e := &Error{Status: resp.StatusCode, Detail: http.StatusText(resp.StatusCode)}
	var p struct {
		Type   string `json:"type"`
		Detail string `json:"detail"`
	}
	if json.Unmarshal(b, &p) == nil && p.Detail != "" {
		e.Code, e.Detail = strings.TrimPrefix(p.Type, "urn:isogate:problem:"), p.Detail
	}
	if n, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && n > 0 {
		e.RetryAfter = time.Duration(n) * time.Second
	}
	return e
}

// Escape says what a text is, and so how values are written into it.
type Escape uint8

const (
	// Plain text takes values as they are.
	Plain Escape = iota
	// JSON takes values into its strings; a number or bool that is a whole string
	// loses its quotes.
	JSON
	// HTML takes values into text and quoted attributes. It must not have seals in
	// scripts, style sheets or unquoted attributes.
	HTML
	// URL takes values into a path, query or form.
	URL
)

// Reveal returns text with its seals replaced by their values, and by "[expired]"
// or "[sealed]" where there is none to show. Equal seals are asked for once.
func (c *Client) Reveal(ctx context.Context, text []byte, as Escape) ([]byte, error) {
	if as > URL {
		return nil, fmt.Errorf("landing: %d is no Escape", as)
	}
	seals := Find(text)
	values, err := c.Open(ctx, seals...)
	if err != nil {
		return nil, err
	}
	opened := make(opener, len(seals))
	for i, s := range seals {
		opened[s] = values[i]
	}
	out, _ := seal.Reveal(nil, text, obfuscate.Escape(as), opened, false)
	return out, nil
}

// Find returns the seals in a text, each once, as their gateway wrote them. What
// was cut is not among them.
func Find(text []byte) []string {
	var f finder
	seal.Reveal(nil, text, obfuscate.Plain, &f, true)
	return f.seals
}

// finder remembers the seals that it is shown, and opens none.
type finder struct {
	seals []string
	seen  map[string]bool
}

// OpenSeal implements [seal.Opener].
func (f *finder) OpenSeal(_ []byte, _ seal.ID, raw []byte) (seal.Opened, seal.Outcome) {
	text, ok := seal.AppendText(nil, raw)
	if s := string(text); ok && !f.seen[s] {
		if f.seen == nil {
			f.seen = map[string]bool{}
		}
		f.seen[s] = true
		f.seals = append(f.seals, s)
	}
	return seal.Opened{}, seal.Withheld
}

// opener has what was opened, by the text of the seals.
type opener map[string]Value

// OpenSeal implements [seal.Opener].
func (o opener) OpenSeal(scratch []byte, _ seal.ID, raw []byte) (seal.Opened, seal.Outcome) {
	text, _ := seal.AppendText(nil, raw)
	v := o[string(text)]
	switch v.State {
	case Revealed:
		kind, err := isogate.ParseKind(v.Kind)
		if err != nil {
			return seal.Opened{}, seal.Withheld
		}
		return seal.Opened{Kind: kind, Value: append(scratch[:0], v.text...)}, seal.Revealed
	case Expired:
		return seal.Opened{}, seal.Expired
	default:
		return seal.Opened{}, seal.Withheld
	}
}
