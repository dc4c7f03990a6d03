package consent

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/remote"
)

// What is what an act does. The zero value does nothing.
type What uint8

// The acts. Declared to Unblocked concern a party's ways out; Given and Used a
// user's own action.
const (
	NoAct     What = iota
	Declared       // an app's manifest was imported: what it may ask for
	Requested      // somebody asks for rows
	Deferred       // not now
	Approved       // the first of two administrators agrees
	Granted        // rows may be used
	Denied         // they may not
	Modified       // a grant was narrowed
	Revoked        // rows, a grant, all of a party, or everything is over
	Expired        // a request nobody answered, or a grant whose time is over
	Blocked        // everything is over, and nothing more may be asked
	Unblocked      // it may be asked again
	Given          // a user's own action lets one thing out
	Used           // and it was
)

var whatNames = [...]string{"none", "declared", "requested", "deferred", "approved", "granted", "denied", "modified", "revoked", "expired", "blocked", "unblocked", "given", "used"}

func (w What) String() string {
	if int(w) < len(whatNames) {
		return whatNames[w]
	}
	return fmt.Sprintf("invalid(%d)", uint8(w))
}

// ParseWhat reads the name of an act.
func ParseWhat(s string) (What, error) {
	for i, n := range whatNames[1:] {
		if n == s {
			return What(i + 1), nil
		}
	}
	return NoAct, fmt.Errorf("unknown act %.40q", s)
}

// Manifest is which app asks, by what manifest.
type Manifest struct {
	ID      string `json:"id,omitempty"` // of the app, as its manifest says: ari:cloud:ecosystem::app/…
	Name    string `json:"name,omitempty"`
	Vendor  string `json:"vendor,omitempty"`
	Version string `json:"version,omitempty"`
	Digest  string `json:"digest,omitempty"` // sha256:… over the manifest's bytes
}

// Terms limit a grant beyond its rows. The zero value has no limit, and so it is
// for acts that close only; a grant's limits are stated in its entry.
type Terms struct {
	// Labels may leave as policy says; any other gets its default treatment. Nil is
	// all that policy lets out.
	Labels []isogate.LabelPattern
	// Until is when the grant is over; the zero time is: until it is revoked.
	Until time.Time
}

// Act is one act of the ledger, as its entry has it.
type Act struct {
	// Set by the journal.
	ID  isogate.EntryID
	Seq uint64
	At  time.Time

	What  What
	Actor Actor
	Party Party
	Of    isogate.EntryID // the request or grant that it is about
	// Base is the seq of the last act that had changed the party's state when the
	// actor looked. A grant counts only if that is still so.
	Base     uint64
	Rows     []remote.Row // declared, asked for, granted, denied or revoked
	Terms    Terms
	Manifest Manifest
	// Written is, of an imported manifest, how it writes each of Rows, as [Shown] has
	// it. Nil is not known.
	Written []string
	Second  bool          // of a request: two administrators must agree
	Answer  time.Duration // of a request: how long it may stay unanswered
	Prompt  string        // digest of what the actor was shown
	Before  []remote.Row  // what the party might use before; for the reader of the journal
	After   []remote.Row  // and after
	Reason  string

	// Of a user's action. User and Subject are keyed digests, never the values.
	Transit isogate.Transit
	Source  isogate.Source
	User    string
	Subject string
	Once    bool
}

// The members of an entry's detail.
const (
	inSignedIn = "signed_in"
	inParty    = "party"
	inBase     = "base"
	inRows     = "rows"
	inLabels   = "labels"
	inUntil    = "until"
	inApp      = "app"
	inName     = "name"
	inVendor   = "vendor"
	inVersion  = "version"
	inManifest = "manifest"
	inWritten  = "written"
	inSecond   = "second_administrator"
	inAnswer   = "answer_within"
	inPrompt   = "prompt"
	inBefore   = "before"
	inAfter    = "after"
	inUser     = "user"
	inSubject  = "subject"
	inOnce     = "once"
)

// Entry writes the act for the journal.
//
// promise: P15
func (a *Act) Entry() *isogate.Entry {
	d := map[string]string{}
	set := func(name, value string) {
		if value != "" {
			d[name] = value
		}
	}
	set(inSignedIn, a.Actor.SignedIn)
	set(inParty, string(a.Party))
	if a.Base > 0 {
		d[inBase] = strconv.FormatUint(a.Base, 10)
	}
	set(inRows, joinRows(a.Rows))
	if a.Terms.Labels != nil {
		d[inLabels] = joinLabels(a.Terms.Labels)
	}
	if !a.Terms.Until.IsZero() {
		d[inUntil] = a.Terms.Until.UTC().Format(time.RFC3339Nano)
	}
	set(inApp, a.Manifest.ID)
	set(inName, a.Manifest.Name)
	set(inVendor, a.Manifest.Vendor)
	set(inVersion, a.Manifest.Version)
	set(inManifest, a.Manifest.Digest)
	set(inWritten, strings.Join(a.Written, "\n"))
	if a.Second {
		d[inSecond] = "required"
	}
	if a.Answer > 0 {
		d[inAnswer] = a.Answer.String()
	}
	set(inPrompt, a.Prompt)
	set(inBefore, joinRows(a.Before))
	set(inAfter, joinRows(a.After))
	set(inUser, a.User)
	set(inSubject, a.Subject)
	if a.Once {
		d[inOnce] = "true"
	}
	return &isogate.Entry{Kind: isogate.KindConsent, Act: a.What.String(), Actor: a.Actor.Name, Consent: a.Of, Source: a.Source,
		Transit: a.Transit, Reason: a.Reason, Detail: d}
}

// ReadAct reads an act from its entry. An entry that is not one in every part is
// an error: what cannot be understood opens nothing.
func ReadAct(e *isogate.Entry) (Act, error) {
	a := Act{ID: e.ID, Seq: e.Seq, At: e.Time, Actor: Actor{e.Actor, e.Detail[inSignedIn]}, Of: e.Consent, Source: e.Source, Transit: e.Transit,
		Reason: e.Reason, Party: Party(e.Detail[inParty]), Prompt: e.Detail[inPrompt], User: e.Detail[inUser], Subject: e.Detail[inSubject],
		Once: e.Detail[inOnce] == "true", Second: e.Detail[inSecond] != "",
		Manifest: Manifest{e.Detail[inApp], e.Detail[inName], e.Detail[inVendor], e.Detail[inVersion], e.Detail[inManifest]}}
	if e.Kind != isogate.KindConsent {
		return Act{}, fmt.Errorf("entry %s is of kind %s, not consent", e.ID, e.Kind)
	}
	var err error
	fail := func(err error) (Act, error) { return Act{}, fmt.Errorf("entry %s: %w", e.ID, err) }
	if a.What, err = ParseWhat(e.Act); err != nil {
		return fail(err)
	}
	if s, ok := e.Detail[inBase]; ok {
		if a.Base, err = strconv.ParseUint(s, 10, 64); err != nil {
			return fail(err)
		}
	}
	if a.Rows, err = splitRows(e.Detail[inRows]); err != nil {
		return fail(err)
	}
	if a.Before, err = splitRows(e.Detail[inBefore]); err != nil {
		return fail(err)
	}
	if a.After, err = splitRows(e.Detail[inAfter]); err != nil {
		return fail(err)
	}
	if s, ok := e.Detail[inLabels]; ok {
		if a.Terms.Labels, err = splitLabels(s); err != nil {
			return fail(err)
		}
	}
	if s, ok := e.Detail[inUntil]; ok {
		if a.Terms.Until, err = time.Parse(time.RFC3339Nano, s); err != nil {
			return fail(err)
		}
	}
	if s, ok := e.Detail[inWritten]; ok {
		if a.Written = strings.Split(s, "\n"); len(a.Written) != len(a.Rows) {
			return fail(fmt.Errorf("%d rows are written in %d ways", len(a.Rows), len(a.Written)))
		}
	}
	if s, ok := e.Detail[inAnswer]; ok {
		if a.Answer, err = time.ParseDuration(s); err != nil {
			return fail(err)
		}
	}
	return a, nil
}

func joinRows(rows []remote.Row) string {
	var lines []string
	for _, r := range rows {
		lines = append(lines, r.String())
	}
	return strings.Join(lines, "\n")
}

func splitRows(s string) ([]remote.Row, error) {
	if s == "" {
		return nil, nil
	}
	var rows []remote.Row
	for line := range strings.SplitSeq(s, "\n") {
		r, err := remote.ParseRow(line)
		if err != nil {
			return nil, err
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// joinLabels writes label patterns; none at all, which lets no label out, is "none".
func joinLabels(labels []isogate.LabelPattern) string {
	if len(labels) == 0 {
		return "none"
	}
	words := make([]string, len(labels))
	for i, l := range labels {
		words[i] = string(l)
	}
	slices.Sort(words)
	return strings.Join(words, ",")
}

func splitLabels(s string) ([]isogate.LabelPattern, error) {
	labels := []isogate.LabelPattern{}
	if s == "none" {
		return labels, nil
	}
	for word := range strings.SplitSeq(s, ",") {
		p, err := isogate.ParseLabelPattern(word)
		if err != nil {
			return nil, err
		}
		labels = append(labels, p)
	}
	return labels, nil
}

// ErrNoEffect says that an act was recorded, but changed nothing, and why.
var ErrNoEffect = errors.New("the act has no effect")

func noEffect(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrNoEffect, fmt.Errorf(format, args...))
}
