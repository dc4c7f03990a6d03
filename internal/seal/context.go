package seal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/isogate/isogate"
)

// Context is what a seal key is for. The key's ID commits to all of it, the
// wrapped key is bound to it, and so is every seal: whoever changes any of it has
// another key. The zero value is the strictest and is not valid.
type Context struct {
	Tenant      isogate.Tenant
	Destination isogate.Destination
	Transit     isogate.Transit
	// Handling is TransitOnly or Temporary; nothing Persisted is sealed.
	Handling isogate.Handling
	// Session is the digest of the session whose end ends a transit-only key, 26
	// characters a-z and 2-7; "" with ByRequest and of temporary keys.
	Session string
	// ByRequest says, of a transit-only key, that there is no session: it ends when
	// the landing side has sent the response.
	ByRequest bool
	// TTL is how long a Temporary value lives from when it was sealed; whole
	// milliseconds. 0 otherwise.
	TTL time.Duration
	// Window is for how long after its making a Temporary key seals; see [Window].
	// 0 otherwise.
	Window time.Duration
	// Made is when the key was made, by the gateway's wall clock; whole milliseconds.
	Made time.Time
}

// Window returns for how long a key of temporary values with this time to live is
// used: a tenth of it, but at least 1 s and at most 30 s. The key is destroyed at
// its making, plus the window, plus the time to live.
func Window(ttl time.Duration) time.Duration {
	return min(max((ttl/10).Truncate(time.Millisecond), time.Second), 30*time.Second)
}

// maxTTL is the longest time to live of a temporary value. What is kept for
// longer is not temporary.
const maxTTL = 366 * 24 * time.Hour

// SessionChars is the length of a session's digest.
const SessionChars = 26

// Check reports what is wrong with the context.
func (c *Context) Check() error {
	for _, n := range []struct {
		what, name string
		slash      bool
	}{
		{"tenant", string(c.Tenant), false}, {"destination", string(c.Destination), false}, {"transit", string(c.Transit), true},
	} {
		if err := isogate.CheckName(n.name, n.slash); err != nil {
			return fmt.Errorf("seal: %s: %w", n.what, err)
		}
	}
	if ms := c.Made.UnixMilli(); ms < 1 || ms > maxInteger || !c.Made.Equal(time.UnixMilli(ms)) {
		return errors.New("seal: made: not a whole millisecond since 1970")
	}
	switch c.Handling {
	case isogate.TransitOnly:
		if c.TTL != 0 || c.Window != 0 {
			return errors.New("seal: a transit-only key has no ttl and no window")
		}
		if c.ByRequest {
			if c.Session != "" {
				return errors.New("seal: session: a key that ends with its request has none")
			}
			return nil
		}
		if !validSession(c.Session) {
			return fmt.Errorf("seal: session: not a digest, which has %d characters a-z and 2-7", SessionChars)
		}
	case isogate.Temporary:
		if c.Session != "" || c.ByRequest {
			return errors.New("seal: a temporary key has no session and does not end with its request")
		}
		if c.TTL < time.Millisecond || c.TTL > maxTTL || c.TTL%time.Millisecond != 0 {
			return errors.New("seal: ttl: use whole milliseconds, at most a year")
		}
		if c.Window != Window(c.TTL) {
			return errors.New("seal: window: not that of the ttl")
		}
	default:
		return fmt.Errorf("seal: %s values are not sealed; they are registered", c.Handling)
	}
	return nil
}

// validSession reports whether s has the form of a session's digest.
func validSession(s string) bool {
	var b [16]byte
	return parseBase32(b[:], s)
}

// maxContext is more bytes than a context and an ID have.
const maxContext = 320

// append appends the context for hashes and ciphers: strings preceded by their
// length in two bytes, then numbers of fixed size, so that no two contexts make
// the same bytes.
func (c *Context) append(dst []byte) []byte {
	for _, s := range [...]string{"isogate/seal/v1", string(c.Tenant), string(c.Destination), string(c.Transit), c.Session} {
		dst = binary.BigEndian.AppendUint16(dst, uint16(len(s))) //nolint:gosec // names have at most 63 characters
		dst = append(dst, s...)
	}
	byRequest := byte(0)
	if c.ByRequest {
		byRequest = 1
	}
	dst = append(dst, byte(c.Handling), byRequest)
	dst = binary.BigEndian.AppendUint64(dst, uint64(c.TTL/time.Millisecond))    //nolint:gosec // Check saw that it is not negative
	dst = binary.BigEndian.AppendUint64(dst, uint64(c.Window/time.Millisecond)) //nolint:gosec // as above
	return binary.BigEndian.AppendUint64(dst, uint64(c.Made.UnixMilli()))
}

// Life returns for how long after its making the key may live at the most: window
// and time to live of a temporary one; of a transit-only one the landing side's
// limit for a session, which is longest.
func (c *Context) Life(longest time.Duration) time.Duration {
	if c.Handling == isogate.Temporary {
		return c.Window + c.TTL
	}
	return longest
}
