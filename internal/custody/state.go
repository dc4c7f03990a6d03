package custody

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/seal"
)

// State is the fold of the journal's landing entries: which seal keys are out, what
// the landings have stated, which erasures are open. The same entries in the same
// order give the same state on every gateway, however they are cut into batches;
// a receipt that two gateways recorded counts once. What is settled leaves it, so
// that it grows with what is open alone; the life of one release is read from the
// journal ([ReadLife]). It is not safe for concurrent use.
type State struct {
	// Revision is the seq behind the last entry folded in.
	Revision uint64

	keys     map[seal.ID]key
	sessions map[string][]seal.ID // keys that are out, by the session that ends them
	places   map[place]*place
	chains   map[Chain]*Head
	erasures map[isogate.EntryID]*Erasure
	done     []isogate.EntryID // erasures that are settled, oldest first

	known   uint64 // entries below it were known to the summary that the state began with
	unsaved int    // entries since the last summary
}

// keptErasures is how many settled erasures are remembered; the journal has them all.
const keptErasures = 256

// place is what many keys have in common.
type place struct {
	destination isogate.Destination
	transit     isogate.Transit
	handling    string
}

// key is a seal key that is out: there is no receipt of its destruction yet.
type key struct {
	*place
	session string
	due     int64 // Unix milliseconds
	seq     uint64
	noted   bool // that its receipt is overdue is recorded
}

// Key is a seal key that is out.
type Key struct {
	ID          seal.ID
	Destination isogate.Destination
	Transit     isogate.Transit
	Handling    string
	Due         time.Time // when it must be destroyed at the latest
	Noted       bool      // an entry says that its receipt is overdue
}

// Chain names a landing's receipts: the landing by the key that signs.
type Chain struct {
	Destination isogate.Destination
	Landing     string // NAME+HASH
}

// Head is where a chain of receipts stands.
type Head struct {
	Number uint64
	Digest string          // of the receipt with that number
	At     time.Time       // when the landing signed it
	Entry  isogate.EntryID // that recorded it
	Broken string          // what is wrong with what the landing gives as its next receipt; "" if nothing
	Events uint64          // in all of them
}

// The states of an erasure.
const (
	ErasureAsked     = "asked"
	ErasureConfirmed = "confirmed" // the service erased, or never had, the identifiers
	ErasureOverdue   = "overdue"   // the landing states that the service does not confirm
)

// Erasure is identifiers that are to be erased.
type Erasure struct {
	ID          isogate.EntryID
	Destination isogate.Destination
	By          string
	Reason      string
	At          time.Time
	Rows        []Identifier
	State       string
	Settled     time.Time // when the service confirmed it, as the landing states
	Receipt     uint64    // number of the receipt that says so
	seq         uint64
}

// news is what a batch brought that others than the state must know.
type news struct {
	ended []string // sessions
}

// Fold takes entries in, in the order of the journal. An entry that was folded
// before, or that is of another kind, changes nothing. One that cannot be read
// changes nothing either, and is an error; the others still count.
func (s *State) Fold(entries ...isogate.Entry) []error {
	_, errs := s.fold(entries)
	return errs
}

func (s *State) fold(entries []isogate.Entry) (n news, errs []error) {
	s.init()
	for i := range entries {
		e := &entries[i]
		if e.Seq < s.Revision || e.Kind != isogate.KindLanding {
			continue
		}
		s.Revision = e.Seq + 1
		if err := s.one(e, &n); err != nil {
			errs = append(errs, fmt.Errorf("entry %s (%s): %w", e.ID, e.Act, err))
		}
	}
	return n, errs
}

func (s *State) init() {
	if s.keys == nil {
		s.keys, s.sessions, s.places = map[seal.ID]key{}, map[string][]seal.ID{}, map[place]*place{}
		s.chains, s.erasures = map[Chain]*Head{}, map[isogate.EntryID]*Erasure{}
	}
}

func (s *State) one(e *isogate.Entry, n *news) error {
	s.unsaved++
	switch e.Act {
	case ActSent:
		return s.sent(e)
	case ActReceipt:
		return s.receipt(e)
	case ActOverdue:
		return s.each(e, func(id seal.ID, k key) {
			k.noted = true
			s.keys[id] = k
		})
	case ActRefused, ActGivenUp:
		return s.each(e, func(id seal.ID, _ key) { s.settle(id) })
	case ActBroken:
		s.head(Chain{e.Destination, e.Detail[inLanding]}).Broken = e.Reason
	case ActEnded:
		// From now on the landing has no reason to keep the session's keys.
		for _, id := range s.sessions[e.Detail[inSession]] {
			k := s.keys[id]
			k.due = min(k.due, e.Time.UnixMilli())
			s.keys[id] = k
		}
		n.ended = append(n.ended, e.Detail[inSession])
	case ActErase:
		rows, err := readIdentifiers(e)
		if err != nil {
			return err
		}
		if s.erasures[e.ID] == nil {
			s.erasures[e.ID] = &Erasure{ID: e.ID, Destination: e.Destination, By: e.Actor, Reason: e.Reason, At: e.Time, Rows: rows, State: ErasureAsked, seq: e.Seq}
		}
	case ActSummary:
		s.unsaved = 0
	}
	// What a newer release records beside these is not for this one to know.
	return nil
}

func (s *State) sent(e *isogate.Entry) error {
	id, err := seal.ParseID(e.Detail[inKey])
	if err != nil {
		return err
	}
	due, err := time.Parse(time.RFC3339Nano, e.Detail[inDue])
	if err != nil {
		return err
	}
	at := place{e.Destination, e.Transit, e.Detail[inHandling]}
	if s.places[at] == nil {
		s.places[at] = &at
	}
	k := key{place: s.places[at], session: e.Detail[inSession], due: due.UnixMilli(), seq: e.Seq}
	if _, twice := s.keys[id]; !twice && k.session != "" {
		s.sessions[k.session] = append(s.sessions[k.session], id)
	}
	s.keys[id] = k
	return nil
}

// each calls f with the keys that an entry names and that are out to its destination.
func (s *State) each(e *isogate.Entry, f func(seal.ID, key)) error {
	ids, err := readKeys(e)
	for _, id := range ids {
		if k, out := s.keys[id]; out && k.destination == e.Destination {
			f(id, k)
		}
	}
	return err
}

// settle forgets a key.
func (s *State) settle(id seal.ID) {
	k, out := s.keys[id]
	if !out {
		return
	}
	delete(s.keys, id)
	if k.session == "" {
		return
	}
	rest := slices.DeleteFunc(s.sessions[k.session], func(x seal.ID) bool { return x == id })
	if s.sessions[k.session] = rest; len(rest) == 0 {
		delete(s.sessions, k.session)
	}
}

func (s *State) head(c Chain) *Head {
	if s.chains[c] == nil {
		s.chains[c] = &Head{}
	}
	return s.chains[c]
}

// receipt takes a receipt in that continues its chain. Whoever recorded it had
// checked that; of two gateways that recorded the same one, the first counts.
func (s *State) receipt(e *isogate.Entry) error {
	r, err := readReceipt(e)
	if err != nil {
		return err
	}
	h := s.head(Chain{e.Destination, e.Detail[inLanding]})
	if e.Seq < s.known {
		// The chain was followed before the summary, which says where it stood; only what
		// became of keys sent since its beginning is read again.
		for i := range r.Events {
			s.event(e.Destination, r.Number, &r.Events[i])
		}
		return nil
	}
	switch {
	case r.Number <= h.Number:
		if r.Number == h.Number && e.Detail[inDigest] != h.Digest {
			return fmt.Errorf("the landing signed two receipts with number %d", r.Number)
		}
		return nil
	case r.Number != h.Number+1 || r.Previous != h.Digest:
		return fmt.Errorf("it is number %d and does not continue number %d", r.Number, h.Number)
	case r.Destination != e.Destination || r.Tenant != e.Tenant && e.Tenant != "":
		return fmt.Errorf("it is of another destination or tenant")
	}
	*h = Head{Number: r.Number, Digest: e.Detail[inDigest], At: r.Time, Entry: e.ID, Events: h.Events + uint64(len(r.Events))}
	for i := range r.Events {
		s.event(e.Destination, r.Number, &r.Events[i])
	}
	return nil
}

// event takes in what a landing states. It speaks for its own destination only.
func (s *State) event(d isogate.Destination, number uint64, ev *seal.Event) {
	switch ev.Kind {
	case seal.Destroyed:
		if k, out := s.keys[ev.Key]; out && k.destination == d {
			s.settle(ev.Key)
		}
	case seal.Erased:
		if x := s.erasures[isogate.EntryID(ev.Erasure)]; x != nil && x.Destination == d && x.State != ErasureConfirmed {
			x.State, x.Settled, x.Receipt = ErasureConfirmed, ev.At, number
			s.done = append(s.done, x.ID)
			if len(s.done) > keptErasures {
				delete(s.erasures, s.done[0])
				s.done = s.done[1:]
			}
		}
	case seal.ErasureOverdue:
		if x := s.erasures[isogate.EntryID(ev.Erasure)]; x != nil && x.Destination == d && x.State == ErasureAsked {
			x.State = ErasureOverdue
		}
	case seal.RevealedTo:
		// It changes nothing of what is out; the life of a release tells of it.
	}
}

// Head is where a chain stands; its zero value is before the first receipt.
func (s *State) Head(c Chain) Head {
	if h := s.chains[c]; h != nil {
		return *h
	}
	return Head{}
}

// Out is how many seal keys are out to a destination, how many of them are due by an
// instant, and when the next one is due ("" has none: the zero time).
func (s *State) Out(d isogate.Destination, by time.Time) (out, late int, next time.Time) {
	at, first := by.UnixMilli(), int64(0)
	for _, k := range s.keys {
		if k.destination != d {
			continue
		}
		out++
		if k.due <= at {
			late++
		}
		if first == 0 || k.due < first {
			first = k.due
		}
	}
	if first != 0 {
		next = time.UnixMilli(first).UTC()
	}
	return out, late, next
}

// Late is the keys out to a destination that were due by an instant, the oldest
// first, at most so many that f selects.
func (s *State) Late(d isogate.Destination, by time.Time, most int, f func(Key) bool) []Key {
	at := by.UnixMilli()
	var late []Key
	for id, k := range s.keys {
		if k.destination != d || k.due > at {
			continue
		}
		v := Key{id, d, k.transit, k.handling, time.UnixMilli(k.due).UTC(), k.noted}
		if f == nil || f(v) {
			late = append(late, v)
		}
	}
	slices.SortFunc(late, func(a, b Key) int { return cmp.Or(a.Due.Compare(b.Due), slices.Compare(a.ID[:], b.ID[:])) })
	return late[:min(len(late), most)]
}

// IsOut reports whether there is no receipt yet of a key's destruction.
func (s *State) IsOut(id seal.ID) bool {
	_, out := s.keys[id]
	return out
}

// Erasures are those that are open, and the settled ones that are remembered, the
// newest first.
func (s *State) Erasures() []Erasure {
	out := make([]Erasure, 0, len(s.erasures))
	for _, e := range s.erasures {
		out = append(out, *e)
	}
	slices.SortFunc(out, func(a, b Erasure) int { return cmp.Compare(b.ID, a.ID) })
	return out
}
