package custody

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/seal"
)

func sprint(v any) string { return fmt.Sprintf("%v %+v %#v", v, v, v) }

// plain is the state as anybody would write it down: every key and what became of it.
type plain struct {
	out      map[seal.ID]int64 // when it is due
	noted    map[seal.ID]bool
	number   uint64
	erasures map[isogate.EntryID]string
}

// history is a random sequence of landing entries that gateways may have written, and
// what is open after it.
func history(t *testing.T, f *far, rng *rand.Rand, n int) ([]isogate.Entry, *plain) {
	t.Helper()
	var list []isogate.Entry
	p := &plain{out: map[seal.ID]int64{}, noted: map[seal.ID]bool{}, erasures: map[isogate.EntryID]string{}}
	sessions := map[seal.ID]string{}
	began := time.Now().UTC().Truncate(time.Millisecond)
	add := func(e *isogate.Entry) *isogate.Entry {
		e.Seq, e.Tenant, e.ID, e.Time = uint64(3*len(list)), acme, isogate.EntryID(fmt.Sprintf("%026d", len(list))), began.Add(time.Duration(len(list))*time.Second)
		list = append(list, *e)
		return e
	}
	some := func() []seal.ID {
		ids := slices.SortedFunc(maps.Keys(p.out), func(a, b seal.ID) int { return slices.Compare(a[:], b[:]) })
		rng.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
		return ids[:min(len(ids), 1+rng.IntN(3))]
	}
	forget := func(ids []seal.ID) {
		for _, id := range ids {
			delete(p.out, id)
			delete(p.noted, id)
			delete(sessions, id)
		}
	}
	for len(list) < n {
		switch rng.IntN(10) {
		case 0, 1, 2, 3:
			id := seal.ID{byte(rng.IntN(256)), byte(rng.IntN(256)), byte(len(list)), byte(len(list) >> 8)}
			cx := seal.Context{Tenant: acme, Destination: support, Transit: login, Handling: isogate.Temporary, TTL: time.Minute}
			if rng.IntN(2) == 0 {
				cx.Handling, cx.TTL, cx.Session = isogate.TransitOnly, 0, fmt.Sprintf("session%d", rng.IntN(5))
				sessions[id] = cx.Session
			}
			due := began.Add(time.Duration(rng.IntN(1000)) * time.Second)
			add(sentEntry(id, &cx, due))
			p.out[id] = due.UnixMilli()
		case 4, 5:
			ids := some()
			events := []seal.Event{{Kind: seal.RevealedTo, Key: seal.ID{1}, Request: 1, Label: name, Viewer: "bob", N: 1}}
			for _, id := range ids {
				events = append(events, destroyed(id, seal.CauseIdle))
			}
			text := f.states(events...)
			e, err := receiptEntry(f.landing(registrars{}), f.last, text)
			if err != nil {
				t.Fatal(err)
			}
			add(e)
			if rng.IntN(3) == 0 { // another gateway recorded it as well
				again := *e
				add(&again)
			}
			forget(ids)
			p.number++
		case 6:
			ids := some()
			add(keysEntry(ActOverdue, support, append(ids, seal.ID{2}), ""))
			for _, id := range ids {
				p.noted[id] = true
			}
		case 7:
			ids := some()
			add(keysEntry([]string{ActRefused, ActGivenUp}[rng.IntN(2)], support, ids, ""))
			forget(ids)
		case 8:
			digest := fmt.Sprintf("session%d", rng.IntN(5))
			e := add(&isogate.Entry{Kind: isogate.KindLanding, Act: ActEnded, Destination: support, Detail: map[string]string{inSession: digest}})
			for id, s := range sessions {
				if s == digest {
					p.out[id] = min(p.out[id], e.Time.UnixMilli())
				}
			}
		case 9:
			e := add(eraseEntry(Actor{Name: "carol"}, support, "", []Identifier{{email, "igt1a"}}, "why"))
			p.erasures[e.ID] = ErasureAsked
			if rng.IntN(2) == 0 {
				text := f.states(seal.Event{Kind: seal.Erased, Erasure: string(e.ID)})
				r, err := receiptEntry(f.landing(registrars{}), f.last, text)
				if err != nil {
					t.Fatal(err)
				}
				add(r)
				p.number++
				p.erasures[e.ID] = ErasureConfirmed
			}
		}
	}
	return list, p
}

// Whatever gateways and landings do, the fold says what anybody would who reads the
// entries one by one, however they are cut into batches, and however often a batch is
// delivered.
//
// promise: P41
func TestFoldIsWhatTheEntriesSay(t *testing.T) {
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 1))
		f := newFar(t)
		list, want := history(t, f, rng, 120)
		var first *State
		for range 3 {
			s := &State{}
			for i := 0; i < len(list); {
				n := min(len(list)-i, 1+rng.IntN(20))
				if errs := s.Fold(list[i : i+n]...); errs != nil {
					t.Fatal(seed, errs)
				}
				if rng.IntN(3) == 0 { // delivered again
					from := max(0, i-rng.IntN(10))
					if errs := s.Fold(list[from : i+n]...); errs != nil {
						t.Fatal(seed, errs)
					}
				}
				i += n
			}
			if len(s.keys) != len(want.out) || s.Head(Chain{support, signerOf(f.landing(registrars{}).Key)}).Number != want.number {
				t.Fatalf("seed %d: %d keys out and receipt %d, want %d and %d", seed, len(s.keys), s.Head(Chain{support, signerOf(f.landing(registrars{}).Key)}).Number, len(want.out), want.number)
			}
			for id, due := range want.out {
				if k, out := s.keys[id]; !out || k.due != due || k.noted != want.noted[id] {
					t.Fatalf("seed %d: key %s is %+v, want due %d, noted %t", seed, id, k, due, want.noted[id])
				}
			}
			for id, state := range want.erasures {
				if s.erasures[id] == nil || s.erasures[id].State != state {
					t.Fatalf("seed %d: erasure %s is %+v, want %s", seed, id, s.erasures[id], state)
				}
			}
			n := 0
			for session, ids := range s.sessions {
				n += len(ids)
				for _, id := range ids {
					if s.keys[id].session != session {
						t.Fatalf("seed %d: key %s is in the session %s, and not out in it", seed, id, session)
					}
				}
			}
			for _, k := range s.keys {
				if k.session != "" {
					n--
				}
			}
			if n != 0 {
				t.Fatalf("seed %d: the index of sessions has %d keys too many", seed, n)
			}
			if first == nil {
				first = s
			} else if !reflect.DeepEqual(first.Erasures(), s.Erasures()) || !reflect.DeepEqual(first.Late(support, time.Now().Add(time.Hour), 1000, nil), s.Late(support, time.Now().Add(time.Hour), 1000, nil)) {
				t.Fatalf("seed %d: the same entries gave two states", seed)
			}
		}
	}
}

// What is settled is forgotten: a state grows with what is open, not with what was.
func TestAHundredThousandKeysOut(t *testing.T) {
	s := &State{}
	const n = 100_000
	cx := seal.Context{Tenant: acme, Destination: support, Transit: login, Handling: isogate.TransitOnly}
	began := time.Now()
	id := func(i int) seal.ID { return seal.ID{1, byte(i), byte(i >> 8), byte(i >> 16)} }
	for i := range n {
		cx.Session = fmt.Sprintf("session%d", i/2)
		e := sentEntry(id(i), &cx, began.Add(time.Duration(i)*time.Second))
		e.Seq, e.Tenant = uint64(i), acme
		if errs := s.Fold(*e); errs != nil {
			t.Fatal(errs)
		}
	}
	if out, late, next := s.Out(support, began.Add(10*time.Second)); out != n || late != 10 && late != 11 || next.Before(began.Add(-time.Second)) {
		t.Errorf("%d out, %d late, next %s", out, late, next)
	}
	if late := s.Late(support, began.Add(n*time.Second), 5, nil); len(late) != 5 || late[0].ID != id(0) || late[4].ID != id(4) {
		t.Errorf("got %+v", late)
	}
	for i := 0; i < n; i += keysPerEntry {
		ids := make([]seal.ID, keysPerEntry)
		for j := range ids {
			ids[j] = id(i + j)
		}
		e := keysEntry(ActGivenUp, support, ids, "")
		e.Seq, e.Tenant = uint64(n+i), acme
		if errs := s.Fold(*e); errs != nil {
			t.Fatal(errs)
		}
	}
	if len(s.keys) != 0 || len(s.sessions) != 0 || len(s.places) != 1 {
		t.Errorf("%d keys, %d sessions and %d places are left", len(s.keys), len(s.sessions), len(s.places))
	}
}

// An entry that cannot be read settles nothing, and keeps nothing else from counting.
func TestEntriesThatCannotBeRead(t *testing.T) {
	s := &State{}
	cx := seal.Context{Tenant: acme, Destination: support, Transit: login, Handling: isogate.Temporary, TTL: time.Minute}
	good := *sentEntry(seal.ID{1}, &cx, time.Now())
	bad := []isogate.Entry{
		{Act: ActSent}, {Act: ActSent, Detail: map[string]string{inKey: seal.ID{3}.String(), inDue: "tomorrow"}}, {Act: ActReceipt, Detail: map[string]string{inLanding: "x"}},
		{Act: ActReceipt, Detail: map[string]string{inLanding: "x+00000000", inDeflated: "AAAA"}}, {Act: ActGivenUp, Detail: map[string]string{inKeys: "nothing"}},
		{Act: ActErase, Detail: map[string]string{inRows: "x"}},
	}
	list := append(slices.Clone(bad), good, isogate.Entry{Act: "of a newer release"})
	for i := range list {
		list[i].Kind, list[i].Seq, list[i].Destination = isogate.KindLanding, uint64(i), support
	}
	if errs := s.Fold(list...); len(errs) != len(bad) || !s.IsOut(seal.ID{1}) || len(s.keys) != 1 {
		t.Errorf("%d errors of %d, %d keys: %v", len(errs), len(bad), len(s.keys), errs)
	}
}

// A gateway that starts with a summary, taken at any moment and with entries behind it
// that the summary did not know, has the state of one that read everything.
func TestASummaryIsAsGoodAsTheWhole(t *testing.T) {
	for seed := range uint64(40) {
		rng := rand.New(rand.NewPCG(seed, 2))
		list, _ := history(t, newFar(t), rng, 150)
		whole := &State{}
		cut := 1 + rng.IntN(len(list)-1)
		if errs := whole.Fold(list[:cut]...); errs != nil {
			t.Fatal(errs)
		}
		save := whole.summary()
		later := min(len(list), cut+rng.IntN(10)) // recorded before the summary was
		save.Seq, save.Tenant = list[later-1].Seq+1, acme
		if errs := whole.Fold(list[cut:]...); errs != nil {
			t.Fatal(errs)
		}
		s, from, err := restored(save, func(id isogate.EntryID) (isogate.Entry, error) {
			i := slices.IndexFunc(list, func(e isogate.Entry) bool { return e.ID == id })
			return list[i], nil
		})
		if err != nil {
			t.Fatal(seed, err)
		}
		rest := slices.DeleteFunc(slices.Clone(list), func(e isogate.Entry) bool { return e.Seq < from })
		at := slices.IndexFunc(rest, func(e isogate.Entry) bool { return e.Seq > save.Seq })
		if at < 0 {
			at = len(rest)
		}
		if errs := s.Fold(slices.Insert(rest, at, *save)...); errs != nil {
			t.Fatal(seed, errs)
		}
		sameKeys := maps.EqualFunc(whole.keys, s.keys, func(a, b key) bool {
			return *a.place == *b.place && a.due == b.due && a.seq == b.seq && a.noted == b.noted && a.session == b.session
		})
		if !sameKeys || !reflect.DeepEqual(whole.Erasures(), s.Erasures()) || whole.Revision != s.Revision && save.Seq < whole.Revision {
			t.Fatalf("seed %d: cut at %d of %d, from seq %d: the states differ:\n%+v\n%+v", seed, cut, len(list), from, whole, s)
		}
		for c, h := range whole.chains {
			if got := s.Head(c); got.Number != h.Number || got.Digest != h.Digest || !got.At.Equal(h.At) || got.Events != h.Events || got.Entry != h.Entry {
				t.Fatalf("seed %d: the chain stands at %+v, want %+v", seed, got, *h)
			}
		}
	}
	// One that says what cannot be is not used.
	for _, bad := range []map[string]string{{}, {inFrom: "9", inUpTo: "5"}, {inFrom: "1", inUpTo: "999"}, {inFrom: "1", inUpTo: "5", inChains: "x\n"}, {inFrom: "1", inUpTo: "5", inErasures: "x\n"}} {
		if _, _, err := restored(&isogate.Entry{Seq: 10, Detail: bad}, nil); err == nil {
			t.Errorf("%v was used", bad)
		}
	}
}
