package consent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/remote"
)

// memory is a journal in memory that can be cut off from those who follow it.
type memory struct {
	mu      sync.Mutex // guards what follows
	entries []isogate.Entry
	news    chan struct{}
	away    bool // followers hear nothing
	full    bool // Append fails
}

func newMemory() *memory { return &memory{news: make(chan struct{})} }

func (m *memory) Append(_ context.Context, e *isogate.Entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.full {
		return errors.New("the disk is full")
	}
	e.Seq, e.Time = uint64(len(m.entries)), time.Now()
	e.ID = isogate.EntryID(fmt.Sprintf("%026d", e.Seq))
	m.entries = append(m.entries, *e)
	close(m.news)
	m.news = make(chan struct{})
	return nil
}

func (m *memory) Follow(ctx context.Context, from uint64, every time.Duration, f func(Batch) error) error {
	for {
		m.mu.Lock()
		b := Batch{UpTo: uint64(len(m.entries)), At: time.Now()}
		if from < b.UpTo {
			b.Entries = slices.Clone(m.entries[from:])
		}
		news, away := m.news, m.away
		m.mu.Unlock()
		if !away {
			if err := f(b); err != nil {
				return err
			}
			from = b.UpTo
		}
		t := time.NewTimer(every)
		select {
		case <-news:
		case <-t.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		t.Stop()
	}
}

func (m *memory) set(change func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change()
}

// start runs a ledger in a bubble until the test ends.
func start(t *testing.T, cfg Config) *Ledger {
	t.Helper()
	cfg.Logger = slog.New(slog.DiscardHandler)
	l, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	synctest.Wait()
	return l
}

var (
	api  = remote.Row{Kind: remote.Backend, Host: "api.example.com", Port: 443, EndUserData: true}
	wild = remote.Row{Kind: remote.Backend, Host: "*.example.net", Port: 443, EndUserData: true}
	ada  = Actor{"ada", "bearer token"}
	bob  = Actor{"bob", "bearer token"}
)

// install imports an app that declares rows.
func install(t *testing.T, l *Ledger, rows ...remote.Row) {
	t.Helper()
	act(t, l, Act{What: Declared, Party: "app/a", Actor: ada, Rows: rows, Manifest: Manifest{ID: "a", Name: "A", Digest: "sha256:1"}})
}

func act(t *testing.T, l *Ledger, a Act) Act {
	t.Helper()
	a, err := l.Do(t.Context(), a)
	if err != nil {
		t.Fatalf("%s: %v", a.What, err)
	}
	return a
}

// yes has everything granted that a request asks for.
func yes(t *testing.T, l *Ledger, request isogate.EntryID, terms Terms) Act {
	t.Helper()
	r, ok := l.State().Request(request)
	if !ok {
		t.Fatalf("there is no request %s", request)
	}
	return act(t, l, Act{What: Granted, Party: r.Party, Of: r.ID, Rows: r.Rows, Terms: terms, Actor: ada, Base: l.State().Party(r.Party).Last})
}

func toAPI() Ask {
	return Ask{Party: "app/a", Kinds: []remote.Kind{remote.Backend}, Host: "api.example.com", Port: 443}
}

// ATTACK: whoever can cut the gateway off from the ledger keeps a grant alive that
// was revoked.
// THIS TEST VERIFIES that the ledger's word holds for one lease after the last
// read of the journal, not a moment longer, and again after the next.
//
// promise: P14
func TestTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		l := start(t, Config{Journal: m, Lease: time.Second})
		if err := l.InTouch(); err != nil {
			t.Fatal(err)
		}
		m.set(func() { m.away = true })
		time.Sleep(time.Second) //nolint:forbidigo // the bubble's clock, not the machine's
		if err := l.InTouch(); err != nil {
			t.Fatalf("after one lease: %v", err)
		}
		time.Sleep(time.Nanosecond) //nolint:forbidigo // the bubble's clock
		if l.InTouch() == nil {
			t.Fatal("the ledger's word holds longer than its lease")
		}
		m.set(func() { m.away = false })
		time.Sleep(time.Second) //nolint:forbidigo // the bubble's clock
		synctest.Wait()
		if err := l.InTouch(); err != nil {
			t.Fatalf("in touch again: %v", err)
		}
	})
	l, err := New(Config{Journal: newMemory(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if l.InTouch() == nil {
		t.Error("a ledger that never read the journal says that it is in touch")
	}
}

// A refused attempt asks an administrator, the next one does not, and a denial
// keeps attempts from asking again.
//
// promise: P12
func TestAnAttemptAsksOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := start(t, Config{Journal: newMemory(), Answer: time.Hour})
		ask := func() No {
			t.Helper()
			p, no := l.State().Allows(toAPI(), time.Now())
			if p.Grant != nil {
				t.Fatal("it is granted")
			}
			return no
		}
		if no := ask(); no.Why != NoManifest || no.MayAsk() {
			t.Fatalf("before an import: %+v", no)
		}
		install(t, l, wild)
		if no := ask(); no.Why != Undeclared || no.MayAsk() {
			t.Fatalf("undeclared: %+v", no)
		}
		install(t, l, api, wild)
		first, err := l.Attempted(t.Context(), "app/a", ask(), "isogate serve")
		if err != nil || first == "" {
			t.Fatal(first, err)
		}
		if no := ask(); no.Why != Pending || no.Request != first {
			t.Fatalf("while it waits: %+v", no)
		}
		if again, err := l.Attempted(t.Context(), "app/a", ask(), "isogate serve"); err != nil || again != first {
			t.Fatalf("a second attempt asked again: %s, %v", again, err)
		}
		act(t, l, Act{What: Denied, Party: "app/a", Of: first, Actor: ada, Reason: "no"})
		if no := ask(); no.Why != Decided || no.MayAsk() {
			t.Fatalf("after a denial: %+v", no)
		}
		if n := len(l.State().Party("app/a").Requests); n != 1 {
			t.Fatalf("%d requests", n)
		}
		// Somebody may ask on purpose, and then it can be granted after all.
		q := act(t, l, l.NewRequest("app/a", []remote.Row{api}, bob, "it is needed after all"))
		yes(t, l, q.ID, Terms{})
		if p, _ := l.State().Allows(toAPI(), time.Now()); p.Grant == nil {
			t.Fatal("not granted")
		}
	})
}

// Two gateways that refuse the same attempt in the same moment ask once.
func TestTwoGatewaysAskOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		l1, l2 := start(t, Config{Journal: m}), start(t, Config{Journal: m})
		install(t, l1, api)
		synctest.Wait()
		_, no1 := l1.State().Allows(toAPI(), time.Now())
		_, no2 := l2.State().Allows(toAPI(), time.Now())
		id1, err1 := l1.Attempted(t.Context(), "app/a", no1, "one")
		id2, err2 := l2.Attempted(t.Context(), "app/a", no2, "two")
		if err1 != nil || err2 != nil || id1 != id2 || id1 == "" {
			t.Fatalf("%s %v, %s %v", id1, err1, id2, err2)
		}
	})
}

// Where a tenant wants two administrators, one is not two, whatever he calls
// himself, and the two must have seen and said the same.
//
// promise: P12
func TestTwoAdministrators(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := start(t, Config{Journal: newMemory(), Second: []Risk{RiskWildcard}})
		install(t, l, api, wild)
		q := act(t, l, l.NewRequest("app/a", []remote.Row{api, wild}, ada, ""))
		say := func(what What, who Actor, rows []remote.Row, terms Terms) error {
			_, err := l.Do(t.Context(), Act{What: what, Party: "app/a", Of: q.ID, Rows: rows, Terms: terms, Actor: who, Base: l.State().Party("app/a").Last})
			return err
		}
		both, month := []remote.Row{wild, api}, Terms{Until: time.Now().Add(30 * 24 * time.Hour)}
		if err := say(Granted, ada, both, month); !errors.Is(err, ErrNoEffect) {
			t.Fatalf("one administrator alone: %v", err)
		}
		if err := say(Approved, ada, both, month); err != nil {
			t.Fatal(err)
		}
		for what, err := range map[string]error{
			"the same one twice": say(Granted, ada, both, month),
			"other rows":         say(Granted, bob, []remote.Row{api}, month),
			"for longer":         say(Granted, bob, both, Terms{}),
			"nobody":             say(Granted, Actor{}, both, month),
			"with fewer labels":  say(Granted, bob, both, Terms{Until: month.Until, Labels: []isogate.LabelPattern{}}),
		} {
			if !errors.Is(err, ErrNoEffect) {
				t.Errorf("%s: %v", what, err)
			}
		}
		if err := say(Granted, bob, []remote.Row{api, wild}, month); err != nil {
			t.Fatal(err)
		}
		g := l.State().Party("app/a").Grants[0]
		if len(g.By) != 2 || g.By[0] != ada || g.By[1] != bob {
			t.Errorf("granted by %v", g.By)
		}
		// An app without a wildcard needs one.
		if q := l.NewRequest("app/a", []remote.Row{api}, ada, ""); q.Second {
			t.Error("a second administrator for a row without risk")
		}
	})
}

// What is over by itself is over at its instant, and is recorded after it.
//
// promise: P15
func TestExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		l := start(t, Config{Journal: m, Answer: time.Hour})
		install(t, l, api, wild)
		q := act(t, l, l.NewRequest("app/a", []remote.Row{api}, bob, ""))
		act(t, l, l.NewRequest("app/a", []remote.Row{wild}, bob, ""))
		until := time.Now().Add(30 * time.Minute)
		yes(t, l, q.ID, Terms{Until: until})
		if p, _ := l.State().Allows(toAPI(), until.Add(-1)); p.Grant == nil {
			t.Error("over one instant too early")
		}
		p, no := l.State().Allows(toAPI(), until)
		if p.Grant != nil || no.Why != Over || !no.MayAsk() {
			t.Errorf("at its end: %+v", no)
		}
		time.Sleep(2 * time.Hour) //nolint:forbidigo // the bubble's clock
		synctest.Wait()
		st := l.State().Party("app/a")
		if st.Grants[0].Status != Lapsed || st.Requests[1].Status != Lapsed {
			t.Errorf("grant %s, request %s", st.Grants[0].Status, st.Requests[1].Status)
		}
		expired := 0
		for _, e := range m.entries {
			if e.Act == "expired" {
				expired++
			}
		}
		if expired != 2 {
			t.Errorf("%d entries of expiry", expired)
		}
	})
}

// An entry of consent that cannot be understood might have shut something: nothing
// goes on as if it were not there.
func TestAnUnreadableActStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		l, err := New(Config{Journal: m, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- l.Run(t.Context()) }()
		synctest.Wait()
		if err := m.Append(t.Context(), &isogate.Entry{Kind: isogate.KindConsent, Act: "revoked entirely"}); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err == nil || !strings.Contains(err.Error(), "unknown act") {
			t.Fatalf("%v", err)
		}
		time.Sleep(2 * time.Second) //nolint:forbidigo // the bubble's clock
		if l.InTouch() == nil {
			t.Error("the ledger goes on")
		}
	})
}

// A user's own action is for one thing, for a while, and where it says so for one use.
//
// promise: P11
func TestUserActions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := start(t, Config{Journal: newMemory()})
		give := Act{What: Given, Actor: Actor{Name: "product/desk"}, Source: "product/desk", Transit: "attach", User: "u", Subject: "s", Once: true,
			Terms: Terms{Until: time.Now().Add(5 * time.Minute)}}
		a := act(t, l, give)
		got, ok := l.Actions.Get(a.ID, time.Now())
		if !ok || got.Transit != "attach" || got.UsedBy != "" {
			t.Fatalf("%+v", got)
		}
		use := Act{What: Used, Of: a.ID, Actor: Actor{Name: "isogate serve"}}
		used := act(t, l, use)
		if _, err := l.Do(t.Context(), use); !errors.Is(err, ErrNoEffect) {
			t.Fatalf("a second use: %v", err)
		}
		if got, _ := l.Actions.Get(a.ID, time.Now()); got.UsedBy != used.ID {
			t.Errorf("used by %s", got.UsedBy)
		}
		if _, ok := l.Actions.Get(a.ID, give.Terms.Until); ok {
			t.Error("it lives beyond its end")
		}
		for what, change := range map[string]func(*Act){
			"without an end": func(a *Act) { a.Terms.Until = time.Time{} }, "over already": func(a *Act) { a.Terms.Until = time.Now() },
			"of nobody": func(a *Act) { a.User = "" }, "for nothing": func(a *Act) { a.Subject = "" }, "over no transit": func(a *Act) { a.Transit = "" },
		} {
			bad := give
			change(&bad)
			if _, err := l.Do(t.Context(), bad); !errors.Is(err, ErrNoEffect) {
				t.Errorf("%s: %v", what, err)
			}
		}
		time.Sleep(6 * time.Minute) //nolint:forbidigo // the bubble's clock
		give.Terms.Until = time.Now().Add(time.Minute)
		act(t, l, give)
		if n := l.Actions.Len(); n != 1 {
			t.Errorf("%d are kept, and one is live", n)
		}
	})
}

// What is not recorded does not count.
func TestNoActWithoutItsEntry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		l := start(t, Config{Journal: m})
		install(t, l, api)
		q := act(t, l, l.NewRequest("app/a", []remote.Row{api}, bob, ""))
		m.set(func() { m.full = true })
		_, err := l.Do(t.Context(), Act{What: Granted, Party: "app/a", Of: q.ID, Rows: []remote.Row{api}, Actor: ada, Base: l.State().Party("app/a").Last})
		if err == nil || errors.Is(err, ErrNoEffect) {
			t.Fatal(err)
		}
		if p, _ := l.State().Allows(toAPI(), time.Now()); p.Grant != nil {
			t.Fatal("granted without an entry")
		}
	})
}

// An entry says what the party might use before and after, for whoever reads the
// journal.
//
// promise: P15
func TestEntriesTellBeforeAndAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		l := start(t, Config{Journal: m})
		install(t, l, api, wild)
		q := act(t, l, l.NewRequest("app/a", []remote.Row{api, wild}, bob, "for reports"))
		g := yes(t, l, q.ID, Terms{})
		act(t, l, Act{What: Revoked, Party: "app/a", Of: g.ID, Rows: []remote.Row{wild}, Actor: bob, Reason: "too wide"})
		last := m.entries[len(m.entries)-1]
		if last.Detail["before"] != wild.String()+"\n"+api.String() || last.Detail["after"] != api.String() || last.Actor != "bob" ||
			last.Detail["signed_in"] != "bearer token" || last.Reason != "too wide" {
			t.Errorf("%+v", last)
		}
	})
}
