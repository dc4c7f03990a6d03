package seal

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
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

// MaxKeys is how many seal keys one request may use. Each that the landing side
// does not hold yet takes 1.8 KiB of the request's head.
const MaxKeys = 16

// MaxFields is more bytes than HeaderSeal and HeaderRegister of one request have
// together: the landing side's limit for a head must leave room for it. Every
// member of them fits into a field line of 16 KiB.
const MaxFields = MaxKeys*maxMember + MaxRegisterBytes

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

// maxInteger is the largest integer of RFC 9651 §3.3.1.
const maxInteger = 999_999_999_999_999

// maxAge is the oldest that a key can be said to be: nothing lives that long.
const maxAge = 2 * maxTTL

// ParseHeader reads the Isogate-Seal field lines of a request of tenant t to
// destination d, both of which the connection it came over vouches for. It is
// strict: whatever [Sealer.AppendHeader] would not have written is an error, and so
// are two members with one ID and more than [MaxKeys].
func ParseHeader(lines []string, t isogate.Tenant, d isogate.Destination) ([]Arrival, error) {
	members, err := splitMembers(lines, MaxKeys*maxMember)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", HeaderSeal, err)
	}
	if len(members) > MaxKeys {
		return nil, fmt.Errorf("%s: %d keys; a request uses %d at the most", HeaderSeal, len(members), MaxKeys)
	}
	out := make([]Arrival, 0, len(members))
	for i, m := range members {
		a, err := parseMember(m, t, d)
		if err != nil {
			return nil, fmt.Errorf("%s: member %d: %w", HeaderSeal, i+1, err)
		}
		for j := range out {
			if out[j].ID == a.ID {
				return nil, fmt.Errorf("%s: members %d and %d are of one key", HeaderSeal, j+1, i+1)
			}
		}
		out = append(out, a)
	}
	return out, nil
}

// maxMember is more than a member can be long.
const maxMember = 2 << 10

// appendMember appends a member up to what differs from request to request.
//
//	"n5xg…";epoch="mfrg…";transit="support";handling=transit-only;session="onsw…";made=1764115200000
func appendMember(dst []byte, a *Arrival) []byte {
	c := &a.Context
	dst = append(dst, '"')
	dst = appendID(dst, a.ID)
	dst = append(append(append(dst, `";epoch="`...), epochText(a.Epoch)...), '"')
	dst = append(append(append(dst, `;transit="`...), c.Transit...), '"')
	dst = append(append(dst, `;handling=`...), c.Handling.String()...)
	if c.Session != "" {
		dst = append(append(append(dst, `;session="`...), c.Session...), '"')
	}
	if c.ByRequest {
		dst = append(dst, `;by-request`...)
	}
	if c.Handling == isogate.Temporary {
		dst = strconv.AppendInt(append(dst, `;ttl=`...), c.TTL.Milliseconds(), 10)
		dst = strconv.AppendInt(append(dst, `;window=`...), c.Window.Milliseconds(), 10)
	}
	return strconv.AppendInt(append(dst, `;made=`...), c.Made.UnixMilli(), 10)
}

func appendAge(dst []byte, ms int64) []byte {
	return strconv.AppendInt(append(dst, `;age=`...), min(ms, maxAge.Milliseconds()), 10)
}

// appendKey appends the wrapped key, which is base64 already.
func appendKey(dst, wrapped []byte) []byte {
	return append(append(append(dst, `;key=:`...), wrapped...), ':')
}

func inBase64(b []byte) []byte { return base64.StdEncoding.AppendEncode(nil, b) }

// parseMember reads one member. It takes it apart roughly, and then sees whether
// the parts make the same member again.
func parseMember(m string, t isogate.Tenant, d isogate.Destination) (Arrival, error) {
	item, params, err := splitParams(m)
	if err != nil {
		return Arrival{}, err
	}
	id, err := parseID(unquote(item))
	if err != nil {
		return Arrival{}, err
	}
	a := Arrival{ID: id, Context: Context{Tenant: t, Destination: d}}
	c := &a.Context
	var age int64
	for _, p := range params {
		var n int64
		switch p.name {
		case "epoch":
			a.Epoch, err = parseEpochID(unquote(p.value))
		case "transit":
			c.Transit = isogate.Transit(unquote(p.value))
		case "handling":
			c.Handling, err = isogate.ParseHandling(p.value)
		case "session":
			c.Session = unquote(p.value)
		case "by-request":
			c.ByRequest = true
		case "ttl":
			n, err = parseInteger(p.value, maxTTL.Milliseconds())
			c.TTL = time.Duration(n) * time.Millisecond
		case "window":
			n, err = parseInteger(p.value, maxTTL.Milliseconds())
			c.Window = time.Duration(n) * time.Millisecond
		case "made":
			n, err = parseInteger(p.value, maxInteger)
			c.Made = time.UnixMilli(n).UTC()
		case "age":
			age, err = parseInteger(p.value, maxAge.Milliseconds())
			a.Age = time.Duration(age) * time.Millisecond
		case "key":
			a.Wrapped, err = base64.StdEncoding.DecodeString(strings.Trim(p.value, ":"))
		default:
			return Arrival{}, fmt.Errorf("parameter %.20q is unknown; both sides must speak the same version", p.name)
		}
		if err != nil {
			return Arrival{}, fmt.Errorf("parameter %s: %w", p.name, err)
		}
	}
	if err := c.Check(); err != nil {
		return Arrival{}, err
	}
	if a.Wrapped != nil && len(a.Wrapped) != wrappedSize {
		return Arrival{}, fmt.Errorf("the wrapped key has %d bytes, not %d", len(a.Wrapped), wrappedSize)
	}
	again := appendAge(appendMember(make([]byte, 0, maxMember), &a), age)
	if a.Wrapped != nil {
		again = appendKey(again, inBase64(a.Wrapped))
	}
	if string(again) != m {
		return Arrival{}, errors.New("not as a gateway writes it: parameters in their order, each once, strings quoted")
	}
	return a, nil
}

// AppendHeld appends the value of Isogate-Held: the IDs of those keys of the
// request that the landing side holds.
//
//	"n5xgk3tbnrsq…", "mfrggzdf…"
func AppendHeld(dst []byte, ids []ID) []byte {
	for i, id := range ids {
		if i > 0 {
			dst = append(dst, `, `...)
		}
		dst = append(appendID(append(dst, '"'), id), '"')
	}
	return dst
}

// ParseHeld reads the Isogate-Held field lines of a response, at most [MaxKeys] IDs.
func ParseHeld(lines []string) ([]ID, error) {
	members, err := splitMembers(lines, MaxKeys*(IDChars+8))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", HeaderHeld, err)
	}
	if len(members) > MaxKeys {
		return nil, fmt.Errorf("%s: %d keys; a request uses %d at the most", HeaderHeld, len(members), MaxKeys)
	}
	out := make([]ID, len(members))
	for i, m := range members {
		if len(m) != IDChars+2 || unquote(m) == "" {
			return nil, fmt.Errorf("%s: member %d is not the id of a key in quotes", HeaderHeld, i+1)
		}
		if out[i], err = parseID(unquote(m)); err != nil {
			return nil, fmt.Errorf("%s: member %d: %w", HeaderHeld, i+1, err)
		}
	}
	return out, nil
}
