package hub

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/archive"
	"github.com/isogate/isogate/internal/change"
	"github.com/isogate/isogate/internal/consent"
	"github.com/isogate/isogate/internal/custody"
	"github.com/isogate/isogate/internal/policy"
	"github.com/isogate/isogate/internal/trail"
)

// fieldView is one field of an entry, with all that is known of why and of what
// became of it.
type fieldView struct {
	isogate.Field
	Path string // as it is shown
	Did  string // what its action does, in words
	Note string // what the path stands for, where it is no field of the contract

	// What the pack that judged says of the field; empty where that is not known.

	SaidBy  []placeView // who gave it its label
	Place   placeView   // of the rule
	Default string      // what happens to the label where no rule speaks
	Because string
	Owner   string
	Until   string
	When    string
	WhyNot  []string // what keeps more of it from leaving
	// Stricter says that less left than the rule lets out, and why that may be.
	Stricter string

	// What keeps its handling, and what became of it.

	Kept     string
	Key      string // the id of the seal key, where there is one
	Revealed uint64
	Viewers  []string
	First    time.Time
	Last     time.Time
}

// Segments are the path in pieces between which a line may break.
func (f *fieldView) Segments() []string { return strings.SplitAfter(f.Path, ".") }

// placeView is a place in a pack's files.
type placeView struct {
	Text string // file:line
	Href string // where the line can be read; "" where the pack is not kept
}

// placeOf is a place of the pack that judged.
func (j *judgedBy) placeOf(place string) placeView {
	v := placeView{Text: consent.Shown(place)}
	i := strings.LastIndexByte(place, ':')
	if j == nil || j.plan == nil || i < 0 || !ruleForm.MatchString(place) {
		return v
	}
	segments := strings.Split(place[:i], "/")
	for n := range segments {
		segments[n] = url.PathEscape(segments[n])
	}
	v.Href = "/policies/" + j.Digest + "/files/" + strings.Join(segments, "/") + "#L" + place[i+1:]
	return v
}

// did says what an action does to a value.
var did = map[isogate.Action]string{
	isogate.Refuse:     "had the whole request refused",
	isogate.Drop:       "was removed",
	isogate.Redact:     "was replaced by a constant",
	isogate.Hash:       "was replaced by a keyed digest that nobody can turn back",
	isogate.Token:      "was replaced by a token that only the inside can turn back",
	isogate.Mask:       "left with most of its characters hidden",
	isogate.Generalise: "left in a coarser form",
	isogate.Seal:       "left sealed, to be opened outside only while its key lives",
	isogate.Allow:      "left as it is",
}

// keptWords say how a handling is kept.
var keptWords = map[string]string{
	custody.KeptSealed:     "a seal key that ends",
	custody.KeptRegistered: "the landing's register, which can list and erase it",
	custody.KeptDeclared:   "the far side's word, and nothing else",
}

// judgedBy is the pack that judged an entry.
type judgedBy struct {
	Digest  string
	Name    string
	Version int
	Transit isogate.Transit // as the entry has it, if the pack has it; else ""
	// Trouble is why the pack cannot be looked into; "" if it can.
	Trouble string
	// Acts are the entries about this pack, the newest first: who approved it, and
	// when it was loaded.
	Acts []shownRow

	plan *policy.Plan
	way  *policy.Transit
}

// packActs is how many entries about a pack are shown, and packLook how many of them
// are looked at: a gateway that starts often says each time that it loaded the pack.
const packActs, packLook = 20, 500

// judged finds the pack that judged an entry; nil where none did. It is the pack of
// then, not today's.
func (h *Hub) judged(ctx context.Context, e *isogate.Entry) *judgedBy {
	if e.Pack == "" {
		return nil
	}
	j := &judgedBy{Digest: consent.Shown(e.Pack)}
	if h.trail != nil {
		if list, err := h.trail.List(ctx, trail.Query{Kind: isogate.KindPack, Pack: e.Pack}, trail.Paging{Limit: packLook}); err == nil {
			j.Acts = actsOf(list.Rows)
		}
	}
	if h.packs == nil {
		j.Trouble = "This Hub keeps no archive of packs, so that it cannot explain by the pack of then."
		return j
	}
	pack, err := h.packs.Open(e.Pack)
	switch {
	case errors.Is(err, archive.ErrNotKept):
		j.Trouble = "The pack that judged this is not in the archive: it was in force before packs were kept, or its file was removed. What follows is what the entry itself says. Put the pack back from your version control to see its rules."
		return j
	case err != nil:
		j.Trouble = "The pack that judged this cannot be read: " + consent.Shown(err.Error())
		return j
	}
	j.plan = pack.Plan()
	j.Name, j.Version = j.plan.Name, j.plan.Version
	if t, found := j.plan.Transit(e.Transit); found {
		j.way, j.Transit = t, e.Transit
	}
	return j
}

// actsOf are the acts on a pack, with of its loadings only the last.
func actsOf(rows []trail.Row) (out []shownRow) {
	loaded := false
	for i := range rows {
		if rows[i].Entry.Act == change.Loaded.String() {
			if loaded {
				continue
			}
			loaded = true
		}
		if len(out) < packActs {
			out = append(out, showRow(&rows[i]))
		}
	}
	return out
}

// fieldsOf explains the fields of an entry.
func (h *Hub) fieldsOf(e *isogate.Entry, j *judgedBy, life *custody.Life) []fieldView {
	out := make([]fieldView, len(e.Fields))
	for i := range e.Fields {
		f := fieldView{Field: e.Fields[i], Path: consent.Shown(e.Fields[i].Path), Did: did[e.Fields[i].Action]}
		if i < len(life.Fields) {
			l := &life.Fields[i]
			f.Kept, f.Revealed, f.First, f.Last = keptWords[l.Kept], l.Revealed, l.First, l.Last
			for _, viewer := range l.Viewers {
				f.Viewers = append(f.Viewers, consent.Shown(viewer))
			}
			if l.Key >= 0 && l.Key < len(life.Keys) {
				f.Key = life.Keys[l.Key].ID
			}
		}
		f.Note, f.Place = pathNote(e.Fields[i].Path), j.placeOf(e.Fields[i].Rule)
		if j != nil && j.way != nil {
			f.explain(j, e.Time)
		}
		out[i] = f
	}
	// What left most readable first: that is what people look for.
	slices.SortStableFunc(out, func(a, b fieldView) int { return int(b.Action) - int(a.Action) })
	return out
}

// pathNote says what a path stands for that is no field of the contract.
func pathNote(path string) string {
	place, ofName := strings.CutSuffix(path, nameSuffix)
	last := place
	if i := strings.LastIndexAny(place, ".:"); i >= 0 {
		last = place[i+1:]
	}
	switch {
	case ofName && last == "?":
		return "names of members that no contract names: they are no text of ours, so they are replaced like values"
	case ofName:
		return "names of members, which are replaced like values"
	case last == "?":
		return "not named by the contract or transit: nobody has judged it, so no rule can let it out"
	}
	return ""
}

// nameSuffix marks the places that count member names.
const nameSuffix = "#name"

// explain says what the transit's pack says of the field.
func (f *fieldView) explain(j *judgedBy, at time.Time) {
	path, ofName := strings.CutSuffix(f.Field.Path, nameSuffix)
	x, err := j.way.Explain(path, at)
	if err != nil || ofName {
		return // the contract does not name it; the entry says all there is
	}
	for _, l := range x.Labels {
		if l.Label != f.Label {
			continue
		}
		f.Default = l.Default.String()
		for _, place := range l.SaidBy {
			f.SaidBy = append(f.SaidBy, j.placeOf(place))
		}
		for _, r := range l.Rules {
			if r.Rule == f.Rule {
				f.Because, f.Owner, f.Until, f.When = consent.Shown(r.Because), consent.Shown(r.Owner), r.Until, consent.Shown(r.When)
			}
		}
	}
	if f.Action < isogate.Allow {
		f.WhyNot = x.WhyNot
	}
	if f.Action < x.Verdict.Action {
		f.Stricter = fmt.Sprintf("The pack lets %s out by %s; less left here, because the consent is limited, a condition of the rule did not hold, or the value does not have the form that it needs.", x.Verdict.Label, x.Verdict.Action)
	}
}

// keyView is one seal key and its life.
type keyView struct {
	custody.KeyLife
	State string // in words
	Late  bool
}

func keysOf(life *custody.Life, now time.Time) []keyView {
	out := make([]keyView, len(life.Keys))
	for i, k := range life.Keys {
		v := keyView{KeyLife: k}
		switch {
		case k.Refused:
			v.State = "the landing did not take it, so that nothing of it can be opened"
		case !k.Ended.IsZero():
			v.State = "destroyed: nothing that left under it can be opened any more"
		case k.Overdue != "" || !k.Due.IsZero() && now.After(k.Due):
			v.State, v.Late = "overdue: the landing has not stated that it destroyed it", true
		case !k.Due.IsZero():
			v.State = "alive"
		default:
			v.State = "not known"
		}
		out[i] = v
	}
	return out
}

// consentFacts is by whose word an entry's request left, or whose is missing.
type consentFacts struct {
	ID      isogate.EntryID
	Href    string
	Kind    string // grant, request or action
	Status  string
	Party   consent.Party
	By      []string
	Reason  string
	Until   *time.Time
	Answers isogate.EntryID
}

// consentOf finds the consent of an entry; nil where it names none.
func (h *Hub) consentOf(e *isogate.Entry, s *consent.State, now time.Time) *consentFacts {
	if e.Consent == "" {
		return nil
	}
	c := &consentFacts{ID: e.Consent, Href: "/consents/" + string(e.Consent)}
	by := func(list ...consent.Actor) {
		for _, a := range list {
			if a.Name == "" {
				continue
			}
			s := consent.Shown(a.Name)
			if a.SignedIn != "" {
				s += ", signed in by " + consent.Shown(a.SignedIn)
			}
			c.By = append(c.By, s)
		}
	}
	if g, found := s.Grant(e.Consent); found {
		v := viewGrant(g, now)
		c.Kind, c.Status, c.Party, c.Reason, c.Until, c.Answers = KindGrant, v.Status, v.Party, v.Reason, v.Until, v.Request
		by(g.By...)
		return c
	}
	if r, found := s.Request(e.Consent); found {
		v := viewRequest(r, now)
		c.Kind, c.Status, c.Party, c.Reason, c.Answers = KindRequest, v.Status, v.Party, v.Reason, v.Answer
		by(r.By)
		return c
	}
	// A user's own action is no consent of the ledger's list; its entry says what it was.
	c.Kind, c.Href = "action", "/entries/"+string(e.Consent)
	return c
}
