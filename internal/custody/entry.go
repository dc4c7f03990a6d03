package custody

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/seal"
)

// The acts of landing entries.
const (
	ActSent    = "seal key sent"    // a seal key leaves, wrapped to its landing: a receipt is due for it
	ActRefused = "seal key refused" // the landing did not take it: no receipt will come
	ActReceipt = "receipt"          // a landing states what it did; verified when it was recorded
	ActBroken  = "receipt refused"  // what a landing gave as its next receipt is none
	ActOverdue = "receipt overdue"  // the receipt of keys' destruction has not come in time
	ActGivenUp = "receipt given up" // and is not waited for any more
	ActEnded   = "session ended"    // the landing was told that a session is over
	ActErase   = "erasure asked"    // an administrator wants identifiers erased
	ActSummary = "custody summary"  // where a gateway that starts may begin to read
)

// The members of an entry's detail.
const (
	inKey      = "key"
	inKeys     = "keys"
	inHandling = "handling"
	inSession  = "session"
	inDue      = "due"
	inCode     = "code"
	inLanding  = "landing" // NAME+HASH of the key that signs
	inNumber   = "number"
	inDigest   = "digest"
	inNote     = "note"
	inDeflated = "note_deflated" // base64 (RFC 4648) of the note, deflated (RFC 1951), where it is long
	inRows     = "identifiers"   // one a line: label, space, token
	inSignedIn = "signed_in"
	inLabel    = "label"
	inFrom     = "from"     // the seq of the oldest entry about what is open
	inUpTo     = "up_to"    // the seq behind the last entry that the summary knows
	inChains   = "chains"   // one a line: destination, landing, number, digest, time, entry, events
	inErasures = "erasures" // settled ones, one a line: entry, receipt, time
)

// actor is who writes what happens by itself.
const actor = "isogate serve"

// plainNote is how long a note may be, in bytes, to stand in its entry as it is. An
// entry has at most 64 KiB, and quotes are escaped in it.
const plainNote = 16 << 10

// keysPerEntry is how many keys one entry names at the most.
const keysPerEntry = 500

func sentEntry(id seal.ID, c *seal.Context, due time.Time) *isogate.Entry {
	d := map[string]string{inKey: id.String(), inHandling: c.Handling.String(), inDue: stamp(due)}
	if c.Session != "" {
		d[inSession] = c.Session
	}
	return &isogate.Entry{Kind: isogate.KindLanding, Actor: actor, Act: ActSent, Destination: c.Destination, Transit: c.Transit, Detail: d}
}

// stamp writes a time in whole milliseconds, never an earlier one.
func stamp(t time.Time) string {
	if up := t.Truncate(time.Millisecond); !up.Equal(t) {
		t = up.Add(time.Millisecond)
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z07:00")
}

// keysEntry names keys of one destination.
func keysEntry(act string, d isogate.Destination, ids []seal.ID, reason string) *isogate.Entry {
	words := make([]string, len(ids))
	for i, id := range ids {
		words[i] = id.String()
	}
	return &isogate.Entry{Kind: isogate.KindLanding, Actor: actor, Act: act, Destination: d, Reason: reason,
		Detail: map[string]string{inKeys: strings.Join(words, " ")}}
}

func readKeys(e *isogate.Entry) ([]seal.ID, error) {
	var ids []seal.ID
	for w := range strings.FieldsSeq(e.Detail[inKeys]) {
		id, err := seal.ParseID(w)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// receiptEntry records a receipt as it is, so that an auditor can verify it by the
// landing's public key.
func receiptEntry(by Landing, r *seal.Receipt, text []byte) (*isogate.Entry, error) {
	d := map[string]string{inLanding: by.signer(), inNumber: strconv.FormatUint(r.Number, 10), inDigest: seal.Digest(text)}
	if len(text) <= plainNote {
		d[inNote] = string(text)
	} else {
		var b bytes.Buffer
		w, err := flate.NewWriter(&b, flate.BestCompression)
		if err != nil {
			return nil, err
		}
		if _, err := w.Write(text); err != nil {
			return nil, err
		}
		if err := w.Close(); err != nil {
			return nil, err
		}
		d[inDeflated] = base64.StdEncoding.EncodeToString(b.Bytes())
	}
	return &isogate.Entry{Kind: isogate.KindLanding, Actor: actor, Act: ActReceipt, Destination: by.Destination, Detail: d}, nil
}

// recorded is the verifier of a note that was verified when it was recorded: it
// lends name and hash, and looks at no signature.
type recorded struct {
	name string
	hash uint32
}

func (r recorded) Name() string          { return r.name }
func (r recorded) KeyHash() uint32       { return r.hash }
func (recorded) Verify(_, _ []byte) bool { return true }
func (r recorded) String() string        { return signerOf(r) }
func signerOf(v note.Verifier) string    { return fmt.Sprintf("%s+%08x", v.Name(), v.KeyHash()) }
func readSigner(s string) (recorded, error) {
	i := strings.LastIndexByte(s, '+')
	if i < 0 {
		return recorded{}, errors.New("it names no landing's key")
	}
	hash, err := strconv.ParseUint(s[i+1:], 16, 32)
	return recorded{s[:i], uint32(hash)}, err
}

// NoteOf returns the note of a receipt's entry as the landing signed it.
func NoteOf(e *isogate.Entry) ([]byte, error) {
	if e.Kind != isogate.KindLanding || e.Act != ActReceipt {
		return nil, fmt.Errorf("entry %s is no receipt", e.ID)
	}
	if text := e.Detail[inNote]; text != "" {
		return []byte(text), nil
	}
	raw, err := base64.StdEncoding.DecodeString(e.Detail[inDeflated])
	if err != nil {
		return nil, fmt.Errorf("entry %s: its note: %w", e.ID, err)
	}
	text, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(raw)), seal.MaxReceipt+1))
	if err != nil || len(text) > seal.MaxReceipt {
		return nil, fmt.Errorf("entry %s: its note cannot be inflated", e.ID)
	}
	return text, nil
}

// readReceipt reads a receipt from its entry.
func readReceipt(e *isogate.Entry) (*seal.Receipt, error) {
	by, err := readSigner(e.Detail[inLanding])
	if err != nil {
		return nil, err
	}
	text, err := NoteOf(e)
	if err != nil {
		return nil, err
	}
	return seal.OpenReceipt(text, by)
}

// Identifier is one identifier outside, by the tenant's token for it.
type Identifier struct {
	Label isogate.Label
	Token string
}

func eraseEntry(by Actor, d isogate.Destination, label isogate.Label, rows []Identifier, reason string) *isogate.Entry {
	lines := make([]string, len(rows))
	for i, r := range rows {
		lines[i] = string(r.Label) + " " + r.Token
	}
	detail := map[string]string{inRows: strings.Join(lines, "\n")}
	if by.SignedIn != "" {
		detail[inSignedIn] = by.SignedIn
	}
	if label != "" {
		detail[inLabel] = string(label)
	}
	return &isogate.Entry{Kind: isogate.KindLanding, Actor: by.Name, Act: ActErase, Destination: d, Reason: reason, Detail: detail}
}

func readIdentifiers(e *isogate.Entry) ([]Identifier, error) {
	var rows []Identifier
	for line := range strings.SplitSeq(e.Detail[inRows], "\n") {
		label, token, ok := strings.Cut(line, " ")
		l, err := isogate.ParseLabel(label)
		if !ok || err != nil {
			return nil, errors.New("its identifiers cannot be read")
		}
		rows = append(rows, Identifier{l, token})
	}
	return rows, nil
}
