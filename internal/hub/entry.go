package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/consent"
	"github.com/isogate/isogate/internal/custody"
	"github.com/isogate/isogate/internal/journal"
	"github.com/isogate/isogate/internal/policy"
	"github.com/isogate/isogate/internal/trail"
)

// Journal is where entries are looked up one by one, and where what people do at the
// Hub beside consents is recorded; [journal.Journal] is one.
type Journal interface {
	List(ctx context.Context, f journal.Filter) ([]isogate.Entry, error)
	Get(ctx context.Context, id isogate.EntryID) (isogate.Entry, error)
	// Find returns an entry's seq and exact bytes; the error is [journal.ErrNotFound]
	// where there is none.
	Find(ctx context.Context, id isogate.EntryID) (uint64, []byte, error)
	Pick(ctx context.Context, seqs []uint64, do func(seq uint64, body []byte) error) error
	Checkpoint(ctx context.Context) (journal.Checkpoint, error)
	Verifier(ctx context.Context) (string, error)
	Prove(ctx context.Context, id isogate.EntryID) (journal.Proof, error)
	Append(ctx context.Context, e *isogate.Entry) error
}

// Packs are the packs that were ever in force, by their digest; [archive.Archive] is one.
type Packs interface {
	Open(digest string) (*policy.Pack, error)
}

// lifeFor is how long the page of an entry may look for what became of what left.
const lifeFor = 2 * time.Second

// entryView is what the page of one entry shows.
type entryView struct {
	Entry    isogate.Entry
	Sentence string // what happened, in one sentence
	Row      shownRow
	// End is how a release ended, and EndedBy the entry that says so.
	End     *trail.End
	EndedBy isogate.EntryID
	Open    bool
	// Closes are the releases whose end this entry is.
	Closes []isogate.Closing
	// Stray says that the trail could not tell how it ended.
	Stray   string
	Facts   []fact
	Details []fact
	Fields  []fieldView
	Kept    []keyView
	// LifeTrouble says why it is not known what became of what left.
	LifeTrouble string
	Judged      *judgedBy
	Consent     *consentFacts
	Refusal     *refusalView
	JSON        string // the bytes, with what does not print escaped
	Sealed      bool   // it is under a checkpoint
	Size        uint64 // of the newest checkpoint
	Now         time.Time
}

// fact is one thing about an entry.
type fact struct {
	Name, Value string
	Href        string // where more of it is; "" for nowhere
	Code        bool   // a digest or the like
	Long        bool   // of several lines
}

// entryPage explains one entry in full.
//
// promise: P21
func (h *Hub) entryPage(v *visit) error {
	ctx, stop := context.WithTimeout(v.Context(), lookFor)
	defer stop()
	seq, body, err := h.findEntry(ctx, v.PathValue("id"))
	if err != nil {
		return err
	}
	view, err := h.viewEntry(ctx, v, seq, body)
	if err != nil {
		return err
	}
	return v.show("entry", view.Heading()+" "+string(view.Entry.ID), view)
}

// entryJSON is the entry's exact bytes, over which proofs are made.
func (h *Hub) entryJSON(v *visit) error {
	_, body, err := h.findEntry(v.Context(), v.PathValue("id"))
	if err != nil {
		return err
	}
	return v.download("application/json", v.PathValue("id")+".json", body)
}

// download answers with a file to keep.
func (v *visit) download(mediaType, name string, body []byte) error {
	v.w.Header().Set("Content-Type", mediaType)
	v.w.Header().Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": name}))
	_, err := v.w.Write(body)
	return err
}

// findEntry looks an entry up.
func (h *Hub) findEntry(ctx context.Context, id string) (seq uint64, body []byte, err error) {
	if h.journal == nil {
		return 0, nil, problem(http.StatusNotFound, "no-journal", "this Hub has no journal to look in")
	}
	seq, body, err = h.journal.Find(ctx, isogate.EntryID(id))
	if errors.Is(err, journal.ErrNotFound) {
		return 0, nil, notFound("the journal has no entry %s; copy its ID whole, it has 26 characters", consent.Shown(id))
	}
	return seq, body, err
}

// viewEntry puts together what is known of an entry.
func (h *Hub) viewEntry(ctx context.Context, v *visit, seq uint64, body []byte) (*entryView, error) {
	var e isogate.Entry
	if err := json.Unmarshal(body, &e); err != nil {
		return nil, fmt.Errorf("entry %d: %w", seq, err)
	}
	row := trail.Row{Entry: e}
	view := &entryView{Entry: e, JSON: printableJSON(body), Now: v.now}
	if e.Stage == isogate.StageOpened {
		if h.trail == nil {
			view.Stray = noTrail
		} else if found, err := h.trail.Get(ctx, e.ID); err == nil {
			row = found
			view.End, view.Open = row.End, row.Open()
		} else {
			view.Stray = "It is not known yet how it ended: the trail of the journal is behind. Load the page again in a moment."
		}
	}
	if view.End != nil {
		// The entry that closed it, by its place in the journal.
		if err := h.journal.Pick(ctx, []uint64{view.End.Seq}, func(_ uint64, body []byte) error {
			closing, err := journal.Decode(body)
			view.EndedBy = closing.ID
			return err
		}); err != nil {
			return nil, err
		}
	}
	if view.Closes = e.Closes; e.Of != "" && e.Kind == isogate.KindEgress {
		view.Closes = append(view.Closes, isogate.Closing{Of: e.Of, Status: e.Status, DurationUS: e.DurationUS})
	}
	view.Row = showRow(&row)
	shown := row.Entry // with the fields that came with its end, where it was streamed
	view.Sentence = sentence(&row)
	view.Facts = facts(&row)
	for _, name := range slices.Sorted(maps.Keys(e.Detail)) {
		view.Details = append(view.Details, detailFact(name, e.Detail[name]))
	}
	cp, err := h.journal.Checkpoint(ctx)
	if err != nil {
		return nil, err
	}
	view.Sealed, view.Size = seq < cp.Size, cp.Size
	if e.Kind != isogate.KindEgress {
		return view, nil
	}
	view.Consent = h.consentOf(&shown, v.state, v.now)
	view.Judged = h.judged(ctx, &shown)
	soon, stop := context.WithTimeout(ctx, lifeFor)
	defer stop()
	life, err := custody.ReadLife(soon, h.journal, &shown)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		view.LifeTrouble = "What became of it outside is not shown: there is too much to read. The command reads all of it: isogate journal show " + string(e.ID) + "."
	case err != nil:
		view.LifeTrouble = "What became of it outside could not be read: " + consent.Shown(err.Error())
	}
	if err != nil {
		life = &custody.Life{}
	}
	view.Fields = h.fieldsOf(&shown, view.Judged, life)
	view.Kept = keysOf(life, v.now)
	if e.Stage == isogate.StageRefused {
		view.Refusal = refusalOf(&e, view.Judged)
	}
	return view, nil
}

// kindTitles begin the headings of entries that are no egress.
var kindTitles = map[isogate.EntryKind]string{isogate.KindConsent: "Consent: ", isogate.KindPack: "Policy: ", isogate.KindKey: "Keys: ",
	isogate.KindLanding: "Outside: ", isogate.KindAdmin: "Hub: ", isogate.KindUpdate: "Update: "}

// Heading is what kind of entry it is.
func (x *entryView) Heading() string {
	switch {
	case x.Entry.Kind != isogate.KindEgress:
		return kindTitles[x.Entry.Kind] + orUnknown(consent.Shown(x.Entry.Act))
	case x.Entry.Stage == isogate.StageOpened:
		return "Release"
	case x.Entry.Stage == isogate.StageRefused:
		return "Refusal"
	case x.Entry.Stage == isogate.StageClosed && len(x.Closes) > 1:
		return "Ends of releases"
	case x.Entry.Stage == isogate.StageClosed:
		return "End of a release"
	}
	return "Entry"
}

// facts are what an egress entry says of the request, and any of who acted.
func facts(r *trail.Row) (out []fact) {
	e := &r.Entry
	add := func(name, value, href string) {
		if value != "" {
			out = append(out, fact{Name: name, Value: consent.Shown(value), Href: href})
		}
	}
	code := func(name, value string) {
		if value != "" {
			out = append(out, fact{Name: name, Value: consent.Shown(value), Code: true})
		}
	}
	only := func(name, value string) string {
		f := filter{asked: map[string][]string{name: {value}}}
		return f.at("/explore")
	}
	add("Source", string(e.Source), only("source", string(e.Source)))
	add("Purpose", e.Purpose, only("purpose", e.Purpose))
	add("Transit", string(e.Transit), only("transit", string(e.Transit)))
	add("Destination", string(e.Destination), only("destination", string(e.Destination)))
	add("Remote", e.Remote, "")
	add("Request", strings.TrimSpace(e.Method+" "+e.URL), "")
	if e.BytesIn > 0 || e.BytesOut > 0 || e.Stage == isogate.StageOpened {
		add("Size", bytesOf(e.BytesIn)+" came, "+bytesOf(e.BytesOut)+" left", "")
	}
	if e.Streamed {
		add("Streamed", "yes: its fields are counted in the entry that closed it", "")
	}
	add("TLS of the caller", e.TLS, "")
	switch {
	case r.End != nil:
		if r.End.Status != 0 {
			add("Status", fmt.Sprint(r.End.Status), "")
		}
		add("Took", r.End.Took.String(), "")
	default:
		if e.Status != 0 {
			add("Status", fmt.Sprint(e.Status), "")
		}
		if e.DurationUS != 0 {
			add("Took", (time.Duration(e.DurationUS) * time.Microsecond).String(), "")
		}
	}
	code("Digest of what left", e.DigestOut)
	code("Keyed digest of what came", e.DigestIn)
	add("Actor", e.Actor, "")
	add("Act", e.Act, "")
	if e.Kind != isogate.KindEgress {
		add("Reason", e.Reason, "")
		add("About", string(e.Of), "/entries/"+string(e.Of))
		if e.Pack != "" {
			out = append(out, fact{Name: "Pack", Value: consent.Shown(e.Pack), Href: "/policies/" + e.Pack, Code: true})
		}
		if e.Consent != "" {
			href := "/consents/" + string(e.Consent)
			if e.Act == consent.Given.String() || e.Act == consent.Used.String() {
				href = "/entries/" + string(e.Consent) // a user's own action
			}
			add("Consent", string(e.Consent), href)
		}
	}
	return out
}

// detailFact is one member of an entry's detail.
func detailFact(name, value string) fact {
	f := fact{Name: consent.Shown(strings.ReplaceAll(name, "_", " ")), Value: wholeText(value)}
	f.Long = strings.Contains(f.Value, "\n") || len(f.Value) > 200
	f.Code = f.Long || strings.HasPrefix(value, "sha256:") || len(value) >= 32 && strings.Trim(value, "0123456789abcdef") == ""
	return f
}

// maxText is how many bytes of one text are shown.
const maxText = 64 << 10

// wholeText is a text as a page may show it: lines stay, and what does not print is escaped.
func wholeText(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case b.Len() > maxText:
			fmt.Fprintf(&b, "… (%d bytes in all)", len(s))
			return b.String()
		case r == '\n' || unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			fmt.Fprintf(&b, `\u{%x}`, r)
		}
	}
	return b.String()
}

// printableJSON is JSON in which what does not print is escaped as JSON has it.
func printableJSON(body []byte) string {
	var b strings.Builder
	for _, r := range string(body) {
		switch {
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r > 0xffff:
			r -= 0x10000
			fmt.Fprintf(&b, `\u%04x\u%04x`, 0xd800+(r>>10), 0xdc00+(r&0x3ff))
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// sentence says what happened.
func sentence(r *trail.Row) string {
	e := &r.Entry
	if e.Kind != isogate.KindEgress {
		s := orUnknown(consent.Shown(e.Act))
		if e.Actor != "" {
			s = consent.Shown(e.Actor) + ": " + s
		}
		if about := subjectOf(e); about != "" {
			s += " (" + consent.Shown(about) + ")"
		}
		return s
	}
	who, to := orUnknown(consent.Shown(string(e.Source))), orUnknown(consent.Shown(whereTo(e)))
	switch e.Stage {
	case isogate.StageRefused:
		return fmt.Sprintf("%s wanted to send to %s. It was refused: nothing of it left.", who, to)
	case isogate.StageClosed:
		if len(e.Closes) > 0 {
			return fmt.Sprintf("%d releases ended as they should.", len(e.Closes))
		}
		return fmt.Sprintf("A release from %s to %s ended.", who, to)
	}
	s := fmt.Sprintf("%s sent to %s", who, to)
	if e.Purpose != "" {
		s += " for " + consent.Shown(e.Purpose)
	}
	switch {
	case r.End == nil:
		return s + ". How it ended is not recorded: it goes on, or the gateway stopped while it did; all of it may have left."
	case r.End.Reason != "":
		return s + ". It did not end as it should."
	}
	return s + ". It ended as it should."
}
