package seal

import (
	"time"

	"github.com/isogate/isogate"
)

// Names of header fields between the gateway and the landing side.
const (
	// HeaderSeal is the request's: an RFC 9651 list with one member per seal key
	// that the request uses.
	HeaderSeal = "Isogate-Seal"
	// HeaderRegister is the request's: an RFC 9651 list with one member per
	// identifier that stays outside.
	HeaderRegister = "Isogate-Register"
	// HeaderHeld is the response's: the IDs of those keys that the landing side holds.
	HeaderHeld = "Isogate-Held"
	// HeaderLanding is the response's: why the landing side refused. Nothing of the
	// request reached the service.
	HeaderLanding = "Isogate-Landing"
	// HeaderSession tells the service the session's digest; the service ends the
	// session by giving it in HeaderSessionEnd of a response.
	HeaderSession    = "Isogate-Session"
	HeaderSessionEnd = "Isogate-Session-End"
)

// Codes of HeaderLanding.
const (
	CodeUnknownEpoch = "unknown-epoch" // the wrapped key is for an epoch that is over or another's
	CodeUnknownKey   = "unknown-key"   // the key is not here and was not sent along
	CodeGone         = "gone"          // the key has been destroyed
	CodeStale        = "stale"         // the key's life was over when it arrived
	CodeDamaged      = "damaged"       // the wrapped key and the member do not belong together
	CodeFull         = "full"          // no room for more keys
	CodeRegisterFull = "register-full" // no room for more identifiers
)

// MaxKeys is how many seal keys one request may use.
const MaxKeys = 32

// Arrival is one seal key as a request brings it to the landing side.
type Arrival struct {
	ID      ID
	Epoch   EpochID
	Context Context
	// Age is how long ago the key was made, by the gateway's monotonic clock when
	// it sent the request. Nothing vouches for it but the connection it came over;
	// Context.Made is bound to the key.
	Age time.Duration
	// Wrapped is the key, encapsulated to Epoch; nil once the landing side holds it.
	Wrapped []byte
}

// ParseHeader reads the Isogate-Seal field lines of a request of tenant t to
// destination d, both of which the connection it came over vouches for. It is
// strict: whatever [Sealer.AppendHeader] would not have written is an error.
func ParseHeader(lines []string, t isogate.Tenant, d isogate.Destination) ([]Arrival, error) {
	panic("seal: not yet")
}

// AppendHeld appends the value of Isogate-Held.
func AppendHeld(dst []byte, ids []ID) []byte { panic("seal: not yet") }

// ParseHeld reads the Isogate-Held field lines of a response, at most [MaxKeys] IDs.
func ParseHeld(lines []string) ([]ID, error) { panic("seal: not yet") }
