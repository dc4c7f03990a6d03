package evidence

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/isogate/isogate"
)

// Summary is what the report says: figures and lists that follow from the entries
// alone, and from which of the packs that they name are here.
type Summary struct {
	Tenant isogate.Tenant `json:"tenant"`
	Log    string         `json:"log"`
	Key    string         `json:"key"`
	Period Period         `json:"period"`
	// First is the seq of the first entry, Count how many there are, and Size how many
	// the checkpoint covers.
	First  uint64                       `json:"first"`
	Count  uint64                       `json:"count"`
	Size   uint64                       `json:"size"`
	From   time.Time                    `json:"from"` // of the first entry
	To     time.Time                    `json:"to"`   // of the last
	Kinds  map[isogate.EntryKind]uint64 `json:"kinds"`
	Egress Egress                       `json:"egress"`

	Consents []Consent         `json:"consents"`
	Acts     []ConsentAct      `json:"acts"`    // of parties, not of one consent
	Actions  map[string]uint64 `json:"actions"` // users' own, by transit
	Earlier  int               `json:"earlier,omitempty"`
	// MoreActs is how many acts on consents there were beyond those that are listed.
	MoreActs uint64 `json:"more_acts,omitempty"`

	Packs []Pack `json:"packs"`
	// Changes are the entries about packs and keys, and Admin those about people and
	// their acts at the Hub.
	Changes List `json:"changes"`
	Admin   List `json:"admin"`

	Outside Outside `json:"outside"`
}

// End is the seq behind the last entry.
func (s *Summary) End() uint64 { return s.First + s.Count }

// Egress is what left and what did not.
type Egress struct {
	Released uint64 `json:"released"`
	Refused  uint64 `json:"refused"`
	BytesOut int64  `json:"bytes_out"`
	// Rows are by label family, purpose and destination; More is how many values are in
	// none of them, because there are too many.
	Rows     []Row     `json:"rows"`
	More     uint64    `json:"more,omitempty"`
	Refusals []Refusal `json:"refusals"`
	// MoreRefusals is how many refusals had other reasons than those that are listed.
	MoreRefusals uint64 `json:"more_refusals,omitempty"`
	// Unclosed are the releases of which no end is recorded in the period, the first of
	// UnclosedCount.
	Unclosed      []isogate.EntryID `json:"unclosed"`
	UnclosedCount uint64            `json:"unclosed_count"`
	// ByOther is how many releases went by a consent that is not listed: a user's own
	// action, or one from before.
	ByOther uint64 `json:"by_other"`
}

// Row is what left of one family of labels, for one purpose, to one destination, in
// values by how much of them was left.
type Row struct {
	Family      string `json:"family"` // first segment of the label; "" where no field is recorded
	Purpose     string `json:"purpose"`
	Destination string `json:"destination"`
	Requests    uint64 `json:"requests"`
	Plain       uint64 `json:"plain"`  // as they are
	Sealed      uint64 `json:"sealed"` // under a key that ends
	Part        uint64 `json:"part"`   // masked or generalised
	Hidden      uint64 `json:"hidden"` // token, hash or redacted
	Gone        uint64 `json:"gone"`   // dropped
}

// Refusal is how often was refused for one reason.
type Refusal struct {
	Reason string `json:"reason"`
	Status int    `json:"status"`
	Source string `json:"source"`
	N      uint64 `json:"n"`
}

// List is entries that are told one by one, the first of Count.
type List struct {
	Entries []Told `json:"entries"`
	Count   uint64 `json:"count"`
}

// Told is one entry that the report tells.
type Told struct {
	ID       isogate.EntryID `json:"id"`
	At       time.Time       `json:"at"`
	Act      string          `json:"act"`
	By       string          `json:"by"`
	SignedIn string          `json:"signed_in,omitempty"`
	About    string          `json:"about,omitempty"`
	Reason   string          `json:"reason,omitempty"`
	Before   bool            `json:"before,omitempty"` // the period
}

// How long lists are at the most.
const (
	maxRows     = 5_000
	maxRefusals = 500
	maxUnclosed = 1_000
	maxTold     = 5_000
)

func (l *List) add(e *isogate.Entry, about string, before bool) {
	if l.Count++; len(l.Entries) < maxTold {
		l.Entries = append(l.Entries, Told{e.ID, e.Time, e.Act, e.Actor, e.Detail["signed_in"], about, e.Reason, before})
	}
}

type rowKey struct{ family, purpose, destination string }

type refusalKey struct {
	reason, source string
	status         int
}

// tally makes a summary of entries, which it is given in their order.
type tally struct {
	sum      Summary
	rows     map[rowKey]*Row
	refusals map[refusalKey]uint64
	open     map[isogate.EntryID]string // releases without an end, and their purpose
	consents consents
	packs    map[string]*Pack
}

func newTally() *tally {
	return &tally{sum: Summary{Kinds: map[isogate.EntryKind]uint64{}}, rows: map[rowKey]*Row{}, refusals: map[refusalKey]uint64{},
		open: map[isogate.EntryID]string{}, consents: newConsents(), packs: map[string]*Pack{}}
}

// before takes in an entry from before the period.
func (t *tally) before(e *isogate.Entry) {
	if e.Kind == isogate.KindConsent {
		t.consents.add(e, true)
		return
	}
	t.pack(e)
	t.sum.Changes.add(e, e.Pack, true)
}

// add takes in an entry of the period.
func (t *tally) add(e *isogate.Entry) {
	if t.sum.Count++; t.sum.Count == 1 {
		t.sum.First, t.sum.From = e.Seq, e.Time
	}
	t.sum.To = e.Time
	t.sum.Kinds[e.Kind]++
	switch e.Kind {
	case isogate.KindEgress:
		t.egress(e)
	case isogate.KindConsent:
		t.consents.add(e, false)
	case isogate.KindPack:
		t.pack(e)
		t.sum.Changes.add(e, e.Pack, false)
	case isogate.KindKey, isogate.KindUpdate:
		t.sum.Changes.add(e, "", false)
	case isogate.KindAdmin:
		t.sum.Admin.add(e, e.Detail["person"], false)
	}
}

func (t *tally) egress(e *isogate.Entry) {
	if e.Pack != "" {
		t.judged(e.Pack).Judged++
	}
	switch e.Stage {
	case isogate.StageRefused:
		t.sum.Egress.Refused++
		k := refusalKey{e.Reason, string(e.Source), e.Status}
		if _, known := t.refusals[k]; !known && len(t.refusals) == maxRefusals {
			t.sum.Egress.MoreRefusals++
			return
		}
		t.refusals[k]++
	case isogate.StageOpened:
		t.sum.Egress.Released++
		t.sum.Egress.BytesOut += e.BytesOut
		t.open[e.ID] = e.Purpose
		if e.Consent != "" && !t.consents.used(e.Consent) {
			t.sum.Egress.ByOther++
		}
		if !e.Streamed {
			t.left(e, e.Purpose)
		}
	case isogate.StageClosed:
		t.sum.Egress.BytesOut += e.BytesOut
		if len(e.Fields) > 0 {
			t.left(e, t.open[e.Of])
		}
		delete(t.open, e.Of)
		for _, c := range e.Closes {
			delete(t.open, c.Of)
		}
	}
}

// left counts the values of a release.
func (t *tally) left(e *isogate.Entry, purpose string) {
	destination := cmp.Or(string(e.Destination), e.Remote)
	seen := map[*Row]bool{}
	for i := range e.Fields {
		f := &e.Fields[i]
		r := t.row(rowKey{family(f.Label), purpose, destination})
		if r == nil {
			t.sum.Egress.More += uint64(f.N)
			continue
		}
		if !seen[r] {
			r.Requests++
			seen[r] = true
		}
		n := uint64(f.N)
		switch f.Action {
		case isogate.Allow:
			if f.Sealed {
				r.Sealed += n
			} else {
				r.Plain += n
			}
		case isogate.Seal:
			r.Sealed += n
		case isogate.Mask, isogate.Generalise:
			r.Part += n
		case isogate.Token, isogate.Hash, isogate.Redact:
			r.Hidden += n
		case isogate.Drop, isogate.Refuse:
			r.Gone += n
		}
	}
	if len(e.Fields) == 0 {
		if r := t.row(rowKey{"", purpose, destination}); r != nil {
			r.Requests++
		}
	}
}

func (t *tally) row(k rowKey) *Row {
	r := t.rows[k]
	if r == nil && len(t.rows) < maxRows {
		r = &Row{Family: k.family, Purpose: k.purpose, Destination: k.destination}
		t.rows[k] = r
	}
	return r
}

// end is the summary of all that was taken in.
func (t *tally) end() *Summary {
	s := &t.sum
	e := &s.Egress
	e.Rows = []Row{}
	for _, r := range t.rows {
		e.Rows = append(e.Rows, *r)
	}
	slices.SortFunc(e.Rows, func(a, b Row) int {
		return cmp.Or(cmp.Compare(a.Family, b.Family), cmp.Compare(a.Purpose, b.Purpose), cmp.Compare(a.Destination, b.Destination))
	})
	e.Refusals = []Refusal{}
	for k, n := range t.refusals {
		e.Refusals = append(e.Refusals, Refusal{k.reason, k.status, k.source, n})
	}
	slices.SortFunc(e.Refusals, func(a, b Refusal) int {
		return cmp.Or(cmp.Compare(b.N, a.N), cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Source, b.Source), cmp.Compare(a.Status, b.Status))
	})
	e.Unclosed = slices.Sorted(maps.Keys(t.open))
	e.UnclosedCount = uint64(len(e.Unclosed))
	e.Unclosed = e.Unclosed[:min(len(e.Unclosed), maxUnclosed)]
	t.consents.end(s)
	s.Packs = []Pack{}
	for _, digest := range sorted(t.packs) {
		s.Packs = append(s.Packs, *t.packs[digest])
	}
	return s
}

// family is a label's first segment.
func family(l isogate.Label) string {
	first, _, _ := strings.Cut(string(l), ".")
	return first
}
