package seal

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/mod/sumdb/note"

	"github.com/isogate/isogate"
)

// Receipt is what a landing side states that it did with one tenant's values. It
// is a signed note (C2SP signed-note) under the landing side's long-term key.
// Receipts of a landing side and tenant are numbered from 1 without gaps, and each
// names the digest of the one before.
type Receipt struct {
	Landing     string // the landing side's name, which is the signing key's
	Destination isogate.Destination
	Tenant      isogate.Tenant
	Number      uint64
	Previous    string    // [Digest] of receipt Number-1; "" of the first
	Time        time.Time // when it was signed; whole milliseconds
	Events      []Event
}

// Limits of a receipt. It fits into an entry of the journal, which has 64 KiB,
// whatever its events are.
const (
	// MaxEvents is how many events a receipt holds.
	MaxEvents = 100
	// MaxReceipt is how long a receipt is as a signed note, in bytes.
	MaxReceipt = 58 << 10
)

// EventKind is what happened.
type EventKind string

// The kinds of events.
const (
	// Destroyed: Key was destroyed, of Cause.
	Destroyed EventKind = "destroyed"
	// RevealedTo: N values of Label that left with Request under Key were shown to Viewer.
	RevealedTo EventKind = "revealed"
	// Erased: the service confirmed Erasure.
	Erased EventKind = "erased"
	// ErasureOverdue: the service has not confirmed Erasure for too long.
	ErasureOverdue EventKind = "erasure-overdue"
)

// Event is one thing that happened. Its members are those that its kind has.
type Event struct {
	Kind    EventKind     `json:"kind"`
	At      time.Time     `json:"at"` // whole milliseconds
	Key     ID            `json:"key,omitzero"`
	Request uint64        `json:"request,omitempty"`
	Label   isogate.Label `json:"label,omitempty"`
	Viewer  string        `json:"viewer,omitempty"`
	Cause   string        `json:"cause,omitempty"`
	N       uint64        `json:"n,omitempty"`
	Erasure string        `json:"erasure,omitempty"`
}

// Causes of Destroyed.
const (
	CauseEnded   = "session ended"   // the gateway or the service said so
	CauseIdle    = "session idle"    // no request for too long
	CauseMax     = "session too old" // it reached the longest life of a session
	CauseRequest = "request done"    // there was no session
	CauseExpired = "expired"         // the time to live was over
	CauseClock   = "clock"           // a clock was set, and the key's age is in doubt
	CauseRestart = "restart"         // the landing side or its machine was started anew
	CauseDrain   = "drain"           // the landing side was stopped
	CauseAsked   = "asked"           // the gateway asked for this very key
	CauseNotHeld = "not held"        // the gateway asked for it, and it is not here: it never came, or an earlier receipt has its end
)

// MarshalText implements [encoding.TextMarshaler].
func (id ID) MarshalText() ([]byte, error) { return appendID(nil, id), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (id *ID) UnmarshalText(b []byte) (err error) { *id, err = parseID(string(b)); return err }

// Limits of an event's texts, in bytes.
const (
	MaxViewer  = 128
	MaxErasure = 64
	maxCause   = 64
)

// Check reports what is wrong with the event: which members each kind has is in
// docs/formats.md.
func (e *Event) Check() error {
	if !wholeMilli(e.At) {
		return errors.New("at: use whole milliseconds, in UTC")
	}
	rest := *e
	rest.Kind, rest.At = "", time.Time{}
	switch e.Kind {
	case Destroyed:
		if e.Key == (ID{}) || !isText(e.Cause, maxCause) {
			return errors.New("destroyed: needs the key and the cause")
		}
		rest.Key, rest.Cause = ID{}, ""
	case RevealedTo:
		if _, err := isogate.ParseLabel(string(e.Label)); err != nil {
			return fmt.Errorf("revealed: %w", err)
		}
		if len(e.Label) > math.MaxUint8 || e.Key == (ID{}) || e.Request == 0 || e.N == 0 || !isText(e.Viewer, MaxViewer) {
			return errors.New("revealed: needs the key, the request, a label of at most 255 bytes, the viewer and how many")
		}
		rest.Key, rest.Request, rest.Label, rest.Viewer, rest.N = ID{}, 0, "", "", 0
	case Erased, ErasureOverdue:
		if !isText(e.Erasure, MaxErasure) {
			return fmt.Errorf("%s: needs the erasure", e.Kind)
		}
		rest.Erasure = ""
		if e.Kind == Erased {
			rest.N = 0 // how many identifiers there were
		}
	default:
		return fmt.Errorf("unknown kind %.20q", e.Kind)
	}
	if rest != (Event{}) {
		return fmt.Errorf("%s: has a member that is not of its kind", e.Kind)
	}
	return nil
}

// line is the event as compact JSON in the order of its fields, and a line feed.
func (e *Event) line() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(e)
	return b.Bytes(), err
}

func wholeMilli(t time.Time) bool {
	return t.Location() == time.UTC && t.Equal(t.Truncate(time.Millisecond)) && t.Unix() > 0 && t.Year() <= 9999
}

// isText reports whether s is one line of readable UTF-8, not empty and without
// what JSON escapes: a receipt is written into JSON once more.
func isText(s string, most int) bool {
	return s != "" && len(s) <= most && utf8.ValidString(s) && strings.IndexFunc(s, unicode.IsControl) < 0 && !strings.ContainsAny(s, `"\`)
}

// Check reports what is wrong with the receipt.
func (r *Receipt) Check() error {
	if err := checkLanding(r.Landing); err != nil {
		return err
	}
	if err := isogate.CheckName(string(r.Destination), false); err != nil {
		return fmt.Errorf("destination: %w", err)
	}
	if err := isogate.CheckName(string(r.Tenant), false); err != nil {
		return fmt.Errorf("tenant: %w", err)
	}
	switch {
	case r.Number == 0:
		return errors.New("number: receipts are numbered from 1")
	case (r.Number == 1) != (r.Previous == ""):
		return errors.New("previous: every receipt but the first names the one before")
	case r.Previous != "" && !isDigest(r.Previous):
		return errors.New("previous: not a SHA-256 in hexadecimal")
	case !wholeMilli(r.Time):
		return errors.New("time: use whole milliseconds, in UTC")
	case len(r.Events) == 0 || len(r.Events) > MaxEvents:
		return fmt.Errorf("%d events; use 1 to %d", len(r.Events), MaxEvents)
	}
	for i := range r.Events {
		if err := r.Events[i].Check(); err != nil {
			return fmt.Errorf("event %d: %w", i+1, err)
		}
	}
	return nil
}

func isDigest(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == sha256.Size && hex.EncodeToString(b) == s
}

// text is what is signed.
func (r *Receipt) text() (string, error) {
	var b strings.Builder
	previous := r.Previous
	if previous == "" {
		previous = "none"
	}
	fmt.Fprintf(&b, "isogate/receipt/v1\nlanding %s\ndestination %s\ntenant %s\nnumber %d\nprevious %s\ntime %s\n",
		r.Landing, r.Destination, r.Tenant, r.Number, previous, r.Time.Format(time.RFC3339Nano))
	for i := range r.Events {
		line, err := r.Events[i].line()
		if err != nil {
			return "", err
		}
		b.Write(line)
	}
	return b.String(), nil
}

// Sign checks the receipt and returns it as a signed note. The same receipt under
// the same Ed25519 key gives the same bytes.
func (r *Receipt) Sign(signer note.Signer) ([]byte, error) {
	if err := r.Check(); err != nil {
		return nil, fmt.Errorf("seal: receipt: %w", err)
	}
	text, err := r.text()
	if err != nil {
		return nil, fmt.Errorf("seal: receipt: %w", err)
	}
	b, err := sign(text, r.Landing, signer)
	if err == nil && len(b) > MaxReceipt { // no event that Check lets pass is that long
		return nil, fmt.Errorf("seal: receipt: %d bytes; use %d at the most", len(b), MaxReceipt)
	}
	return b, err
}

// OpenReceipt reads a receipt, verifies its signature and that the landing side
// named in it is who signed. Whether it continues the chain is for the caller to see.
func OpenReceipt(b []byte, v note.Verifier) (*Receipt, error) {
	text, err := open(b, MaxReceipt, v)
	if err != nil {
		return nil, fmt.Errorf("seal: receipt: %w", err)
	}
	r, err := parseReceipt(text, v.Name())
	if err != nil {
		return nil, fmt.Errorf("seal: receipt of %s: %w", v.Name(), err)
	}
	return r, nil
}

func parseReceipt(text, signer string) (*Receipt, error) {
	r := &Receipt{}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "{") {
			if len(r.Events) == MaxEvents {
				return nil, fmt.Errorf("more than %d events", MaxEvents)
			}
			var e Event
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				return nil, fmt.Errorf("event %d: not as a landing writes it", len(r.Events)+1)
			}
			e.At = e.At.UTC()
			r.Events = append(r.Events, e)
			continue
		}
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		var err error
		switch name {
		case "isogate/receipt/v1":
		case "landing":
			r.Landing = value
		case "destination":
			r.Destination = isogate.Destination(value)
		case "tenant":
			r.Tenant = isogate.Tenant(value)
		case "number":
			r.Number, err = strconv.ParseUint(value, 10, 64)
		case "previous":
			if r.Previous = value; value == "none" {
				r.Previous = ""
			}
		case "time":
			r.Time, err = time.Parse(time.RFC3339Nano, value)
			r.Time = r.Time.UTC()
		default:
			err = errors.New("an unknown line; both sides must speak the same version")
		}
		if err != nil {
			return nil, fmt.Errorf("%.20q: not as a landing writes it", name)
		}
	}
	if err := r.Check(); err != nil {
		return nil, err
	}
	if again, err := r.text(); err != nil || again != text {
		return nil, errors.New("not as a landing writes it: its lines in their order, each as it is written")
	}
	if r.Landing != signer {
		return nil, fmt.Errorf("it says to be of landing %.100q", r.Landing)
	}
	return r, nil
}

// Digest is how a receipt is named by the next one: SHA-256 over the whole note,
// signature included, in hexadecimal.
func Digest(receipt []byte) string {
	sum := sha256.Sum256(receipt)
	return hex.EncodeToString(sum[:])
}
