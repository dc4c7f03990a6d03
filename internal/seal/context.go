package seal

import (
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

// Check reports what is wrong with the context.
func (c *Context) Check() error { panic("seal: not yet") }

// Life returns for how long after its making the key may live at the most: window
// and time to live of a temporary one; of a transit-only one the landing side's
// limit for a session, which is max.
func (c *Context) Life(max time.Duration) time.Duration {
	if c.Handling == isogate.Temporary {
		return c.Window + c.TTL
	}
	return max
}
