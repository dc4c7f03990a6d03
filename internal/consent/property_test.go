package consent

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/remote"
)

// The world of these tests: two apps, a transit, four people, and rows of which
// some let out what others do.
var (
	parties = []Party{"app/a", "app/b", "transit/t"}
	people  = []string{"ada", "bob", "cy", ""}
	rows    = []remote.Row{
		{Kind: remote.Backend, Host: "api.example.com", Port: 443, EndUserData: true},
		{Kind: remote.Backend, Host: "api.example.com", Port: 443},
		{Kind: remote.Backend, Host: "api.example.com", Port: 8443},
		{Kind: remote.Backend, Host: "*.example.com", Port: 443, EndUserData: true},
		{Kind: remote.Backend, Host: "files.example.net", Port: 443, Operations: remote.Storage, EndUserData: true},
		{Kind: remote.Images, Host: "api.example.com", Port: 443},
		TransitRow("t"),
	}
	labels = [][]isogate.LabelPattern{nil, {}, {"ugc.**"}, {"ugc.title"}, {"personal.**", "ugc.**"}}
	epoch  = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
)

// history makes acts at random, most of them such as people would try, and many
// that they could not.
func history(r *rand.Rand, n int) []Act {
	var acts []Act
	state := &State{}
	at := epoch
	pick := func() []remote.Row {
		var out []remote.Row
		for _, row := range rows {
			if r.IntN(3) == 0 {
				out = append(out, row)
			}
		}
		return out
	}
	for i := range n {
		at = at.Add(time.Duration(r.IntN(20)) * time.Minute)
		a := Act{ID: isogate.EntryID(fmt.Sprintf("%026d", i)), Seq: uint64(i), At: at, What: What(1 + r.IntN(int(Unblocked))), Party: parties[r.IntN(len(parties))],
			Actor: Actor{people[r.IntN(len(people))], "bearer token"}, Rows: pick(), Reason: "because"}
		st := state.Party(a.Party)
		waits := slices.ContainsFunc(st.Requests, func(q *Request) bool { return q.Waits(at) })
		switch likely := r.IntN(10); { // mostly what would come next
		case likely < 6 && waits:
			a.What = []What{Granted, Granted, Approved}[r.IntN(3)]
		case likely < 6 && len(st.Declared) == 0 && a.Party != "transit/t":
			a.What = Declared
		case likely < 6:
			a.What = Requested
		}
		if a.Base = st.Last; r.IntN(8) == 0 {
			a.Base = uint64(r.IntN(n))
		}
		if a.Terms.Labels = labels[r.IntN(len(labels))]; r.IntN(3) == 0 {
			a.Terms.Until = at.Add(time.Duration(r.IntN(120)-10) * time.Minute)
		}
		switch a.What {
		case Declared:
			a.Manifest = Manifest{ID: "id of " + string(a.Party), Name: "An app", Version: fmt.Sprint(i), Digest: fmt.Sprintf("sha256:%d", i)}
			if r.IntN(10) == 0 {
				a.Manifest.ID = "another"
			}
		case Requested:
			a.Answer, a.Second = time.Hour, r.IntN(3) == 0
			if r.IntN(2) == 0 {
				a.Rows = st.Declared
			}
			if _, is := a.Party.Transit(); is && r.IntN(2) == 0 {
				a.Rows = []remote.Row{TransitRow("t")}
			}
		case Revoked:
			switch r.IntN(6) {
			case 0:
				a.Party = Everybody
			case 1, 2:
				a.Rows = nil
			default:
			}
		default:
		}
		if len(st.Requests) > 0 && slices.Contains([]What{Deferred, Approved, Granted, Denied, Expired}, a.What) {
			q := st.Requests[len(st.Requests)-1-r.IntN(min(len(st.Requests), 2))]
			a.Of = q.ID
			if r.IntN(3) > 0 {
				a.Rows = q.Rows
			}
			if len(q.Approvals) > 0 && r.IntN(2) == 0 {
				a.Rows, a.Terms = q.Approvals[0].Rows, q.Approvals[0].Terms
			}
		}
		if len(st.Grants) > 0 && (a.What == Modified || a.What == Expired && r.IntN(2) == 0 || a.What == Revoked && r.IntN(2) == 0) {
			a.Of = st.Grants[len(st.Grants)-1-r.IntN(min(len(st.Grants), 3))].ID
		}
		acts = append(acts, a)
		state, _ = state.Fold(a)
	}
	return acts
}

// asks is every question of this world.
func asks() (all []Ask) {
	for _, p := range parties[:2] {
		for _, host := range []string{"api.example.com", "x.y.example.com", "example.com", "files.example.net", "elsewhere.example"} {
			for _, port := range []uint16{443, 8443} {
				all = append(all, Ask{Party: p, Kinds: []remote.Kind{remote.Backend, remote.Remote}, Host: host, Port: port},
					Ask{Party: p, Kinds: []remote.Kind{remote.Images}, Host: host, Port: port, Path: "/a"})
			}
		}
	}
	return all
}

// open is everything that a state lets out, each with the permit.
func openNow(s *State, at time.Time) map[string]Permit {
	out := map[string]Permit{}
	for _, q := range asks() {
		if p, _ := s.Allows(q, at); p.Grant != nil {
			out[fmt.Sprintf("%+v", q)] = p
		}
	}
	if p, _ := s.AllowsTransit("t", at); p.Grant != nil {
		out["transit t"] = p
	}
	return out
}

// granted answers, from the acts alone and without the fold, whether a permit has
// a grant behind it that nothing has ended since.
func granted(acts []Act, effect []error, p Permit, at time.Time) error {
	find := func(id isogate.EntryID) int { return slices.IndexFunc(acts, func(a Act) bool { return a.ID == id }) }
	covers := func(rs []remote.Row) bool {
		return slices.ContainsFunc(rs, func(r remote.Row) bool { return r.Covers(p.Row) })
	}
	g := find(p.Grant.ID)
	if g < 0 || acts[g].What != Granted || acts[g].Actor.Name == "" || !covers(acts[g].Rows) {
		return errors.New("there is no act that grants it")
	}
	q := find(acts[g].Of)
	if q < 0 || q > g || acts[q].What != Requested || effect[q] != nil || acts[q].Party != acts[g].Party || !covers(acts[q].Rows) || !acts[g].At.Before(acts[q].At.Add(acts[q].Answer)) {
		return errors.New("nobody had asked for it in time")
	}
	second := false
	for i := q + 1; i < g; i++ {
		a := acts[i]
		if a.Party != acts[g].Party || effect[i] != nil {
			continue
		}
		if a.What == Blocked || a.What == Declared || (a.What == Denied || a.What == Granted || a.What == Expired) && a.Of == acts[q].ID {
			return fmt.Errorf("its request had ended by %s", a.What)
		}
		second = second || a.What == Approved && a.Of == acts[q].ID && a.Actor.Name != acts[g].Actor.Name && a.Actor.Name != ""
	}
	if acts[q].Second && !second {
		return errors.New("nobody else had approved it")
	}
	until := acts[g].Terms.Until
	for i := g + 1; i < len(acts); i++ {
		a := acts[i]
		if a.What == Revoked && (a.Party == Everybody || a.Party == acts[g].Party || a.Party == "") && (a.Of == "" || a.Of == acts[g].ID) && (len(a.Rows) == 0 || covers(a.Rows)) {
			return fmt.Errorf("it was revoked by %s", a.ID)
		}
		if a.Party != acts[g].Party || effect[i] != nil {
			continue
		}
		switch {
		case a.What == Blocked:
			return errors.New("the party was blocked since")
		case a.What == Expired && a.Of == acts[g].ID:
			return errors.New("it expired")
		case a.What == Modified && a.Of == acts[g].ID && !covers(a.Rows):
			return errors.New("it was narrowed")
		case a.What == Modified && a.Of == acts[g].ID:
			until = a.Terms.Until
		case a.What == Declared && !covers(a.Rows):
			return errors.New("the manifest does not declare it any more")
		}
	}
	if !until.IsZero() && !at.Before(until) {
		return errors.New("its time is over")
	}
	return nil
}

// Whatever people do, in whatever order: nothing is let out that nobody granted,
// or that something has ended since; only a grant opens anything, and no more than
// was asked for; folding in pieces, and by way of the journal, makes no difference.
//
// promise: P11
// promise: P13
// promise: P14
func TestNoOrderOfActsOpens(t *testing.T) {
	grants, opened := 0, 0
	for seed := range uint64(250) {
		r := rand.New(rand.NewPCG(seed, 1))
		acts := history(r, 80)
		state, whole := &State{}, &State{}
		var effects []error
		for i, a := range acts {
			before := openNow(state, a.At)
			next, why := state.Fold(a)
			effects = append(effects, why[0])
			after := openNow(next, a.At)
			for q, p := range after {
				if err := granted(acts[:i+1], effects, p, a.At); err != nil {
					t.Fatalf("seed %d, act %d (%s of %s): %s is let out, but %v", seed, i, a.What, a.Party, q, err)
				}
				if _, was := before[q]; !was && (a.What != Granted || why[0] != nil) {
					t.Fatalf("seed %d, act %d: %s opened %s (%v)", seed, i, a.What, q, why[0])
				}
			}
			if why[0] != nil && !errors.Is(why[0], ErrNoEffect) {
				t.Fatalf("seed %d, act %d: %v is no ErrNoEffect", seed, i, why[0])
			}
			if a.What == Granted && why[0] == nil {
				grants++
			}
			opened += len(after)
			for _, p := range before {
				if held, ok := next.Holds(p, a.At); ok != reflect.DeepEqual(held.Row, p.Row) {
					t.Fatalf("seed %d, act %d: Holds says %v of %s", seed, i, ok, p.Row)
				}
			}
			state = next
		}
		for rest := acts; len(rest) > 0; {
			n := min(1+r.IntN(9), len(rest))
			batch := make([]Act, n)
			for i, a := range rest[:n] {
				e := a.Entry()
				e.ID, e.Seq, e.Time = a.ID, a.Seq, a.At
				read, err := ReadAct(e)
				if err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
				batch[i] = read
			}
			whole, _ = whole.Fold(batch...)
			rest = rest[n:]
		}
		if !reflect.DeepEqual(describe(state), describe(whole)) {
			t.Fatalf("seed %d: folded in pieces it is\n%s\nand not\n%s", seed, describe(whole), describe(state))
		}
	}
	if grants < 300 || opened < 4000 {
		t.Fatalf("%d grants had an effect and %d questions were answered yes: this test shows little", grants, opened)
	}
}

// A revocation has its effect whatever came before it, and whoever was faster: no
// grant of something looked at before it counts after it.
//
// promise: P14
func TestARevocationBeatsAGrantUnderWay(t *testing.T) {
	for seed := range uint64(120) {
		r := rand.New(rand.NewPCG(seed, 2))
		acts := history(r, 60)
		state, _ := (&State{}).Fold(acts...)
		for _, p := range parties {
			st := state.Party(p)
			for _, q := range st.Requests {
				if !q.Waits(acts[len(acts)-1].At) {
					continue
				}
				at := acts[len(acts)-1].At.Add(time.Second)
				grant := Act{ID: "zz", Seq: state.Revision + 1, At: at, What: Granted, Party: p, Of: q.ID, Base: st.Last, Rows: q.Rows, Actor: Actor{Name: "dee"}}
				revoke := Act{ID: "zy", Seq: state.Revision, At: at, What: Revoked, Party: Everybody, Actor: Actor{Name: "eve"}}
				after, why := state.Fold(revoke, grant)
				if why[0] != nil || !errors.Is(why[1], ErrNoEffect) || len(openNow(after, at)) != 0 {
					t.Fatalf("seed %d: revoke then grant: %v, open %v", seed, why, openNow(after, at))
				}
				revoke.Seq, grant.Seq = grant.Seq, revoke.Seq
				if after, _ = state.Fold(grant, revoke); len(openNow(after, at)) != 0 {
					t.Fatalf("seed %d: grant then revoke: open %v", seed, openNow(after, at))
				}
			}
		}
	}
}

// describe is all of a state, as text.
func describe(s *State) string {
	var b strings.Builder
	fmt.Fprintln(&b, s.Revision)
	for _, st := range s.Parties() {
		fmt.Fprintf(&b, "%s %v blocked=%v last=%d\n declared %v\n decided %v\n", st.Party, st.Manifest, st.Blocked, st.Last, st.Declared, st.Decided)
		for _, r := range st.Requests {
			fmt.Fprintf(&b, " request %+v\n", *r)
		}
		for _, g := range st.Grants {
			fmt.Fprintf(&b, " grant %+v\n", *g)
		}
	}
	return b.String()
}
