package custody

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/isogatetest/pgtest"
	"github.com/isogate/isogate/internal/seal"
)

// A key's whole way: it is made from the statement, recorded before the request that
// it leaves with, held, and settled by the landing's receipt.
//
// promise: P41
func TestAKeyGoesAndItsReceiptComes(t *testing.T) {
	f := newFar(t)
	in := f.gateway(t.TempDir())
	digest := in.custody.SessionDigest(support, "session-1")
	if len(digest) != 26 || digest == in.custody.SessionDigest(support, "session-2") || strings.Contains(digest, "session") {
		t.Fatalf("digest %q", digest)
	}
	s := in.key(in.session(digest))
	if again := in.key(in.session(digest)); again != s {
		t.Error("one session has two keys")
	}
	if other := in.key(temporary(5 * time.Minute)); other.ID() == s.ID() {
		t.Error("two uses share a key")
	}
	if len(in.acts(ActSent)) != 0 {
		t.Error("a key that was only made is recorded as sent")
	}
	e := in.sends(f, s, isogate.Field{Path: "user.name", Label: name, Action: isogate.Seal, Handling: "transit-only", N: 2, Sealed: true})
	in.sends(f, s)
	sent := in.acts(ActSent)
	if len(sent) != 1 || sent[0].Seq >= e.Seq || sent[0].Detail[inKey] != s.ID().String() || sent[0].Detail[inSession] != digest || sent[0].Transit != login {
		t.Fatalf("got %+v, before entry %d", sent, e.Seq)
	}
	if !s.Held() {
		t.Error("the key is not known to be held")
	}
	eventually(t, "the key to be out", func() bool { return in.standing().KeysOut == 1 })
	if st := in.standing(); !st.Valid || st.KeysOverdue != 0 || st.NextDue.IsZero() || st.Landing != "support-landing+"+hash(f) {
		t.Errorf("got %+v", st)
	}
	f.states(seal.Event{Kind: seal.RevealedTo, Key: s.ID(), Request: 1, Label: name, Viewer: "bob", N: 2}, seal.Event{Kind: seal.RevealedTo, Key: s.ID(), Request: 2, Label: name, Viewer: "bob", N: 1})
	f.states(seal.Event{Kind: seal.RevealedTo, Key: s.ID(), Request: 1, Label: name, Viewer: "eve", N: 1})
	eventually(t, "the receipts", func() bool { return in.standing().Receipt == 2 })
	l, err := ReadLife(t.Context(), in.journal, &e)
	if err != nil {
		t.Fatal(err)
	}
	if len(l.Fields) != 1 || l.Fields[0].Kept != KeptSealed || l.Fields[0].Revealed != 3 || !slices.Equal(l.Fields[0].Viewers, []string{"bob", "eve"}) || l.Fields[0].Key != 0 {
		t.Errorf("got %+v", l.Fields)
	}
	if k := l.Keys[0]; k.Sent != sent[0].ID || k.Due.IsZero() || !k.Ended.IsZero() {
		t.Errorf("got %+v", k)
	}
	if err := in.custody.EndSession(t.Context(), "session-1"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the receipt of the end", func() bool { return in.standing().KeysOut == 0 })
	if l, err = ReadLife(t.Context(), in.journal, &e); err != nil || l.Keys[0].Cause != seal.CauseEnded || l.Keys[0].Receipt != 3 {
		t.Errorf("got %+v, %v", l.Keys, err)
	}
	if ended := in.acts(ActEnded); len(ended) != 1 || ended[0].Detail[inSession] != digest {
		t.Errorf("got %+v", ended)
	}
	if next := in.key(in.session(digest)); next.ID() == s.ID() {
		t.Error("the key of an ended session is used again")
	}
	// What is recorded is what the landing signed: an auditor can verify it.
	for i, r := range in.acts(ActReceipt) {
		text, err := NoteOf(&r)
		if err != nil || string(text) != string(f.receipts[i]) {
			t.Errorf("receipt %d is not recorded as it was signed: %v", i+1, err)
		}
	}
}

func hash(f *far) string { return fmt.Sprintf("%08x", f.signer.KeyHash()) }

// A receipt of the largest size fits into an entry.
func TestTheLargestReceiptIsRecorded(t *testing.T) {
	f := newFar(t)
	in := f.gateway(t.TempDir())
	long := strings.Repeat("x", seal.MaxViewer)
	var events []seal.Event
	for i := range seal.MaxEvents {
		label := isogate.Label("a" + strings.Repeat("b", 180))
		events = append(events, seal.Event{Kind: seal.RevealedTo, Key: seal.ID{1, byte(i)}, Request: 1 << 60, Label: label, Viewer: long, N: 1 << 60})
	}
	text := f.states(events...)
	eventually(t, "the receipt", func() bool { return in.standing().Receipt == 1 })
	got := in.acts(ActReceipt)
	if note, err := NoteOf(&got[0]); err != nil || string(note) != string(text) || len(text) < 40<<10 {
		t.Errorf("%d bytes, %v", len(text), err)
	}
}

// Accident: a gateway is killed with its keys in memory. This test verifies that the
// next one still waits for their receipts, and takes them.
//
// promise: P41
func TestARestartForgetsNoKey(t *testing.T) {
	f, dir := newFar(t), t.TempDir()
	in := f.gateway(dir)
	s := in.key(in.session(in.custody.SessionDigest(support, "s")))
	tmp := in.key(temporary(time.Minute))
	in.sends(f, s)
	in.sends(f, tmp)
	digest := in.custody.SessionDigest(support, "s")
	in.stop()
	in = f.gateway(dir)
	if again := in.custody.SessionDigest(support, "s"); again != digest {
		t.Errorf("the session is called %s, and was %s", again, digest)
	}
	eventually(t, "the keys that are out", func() bool { return in.standing().KeysOut == 2 })
	if next := in.key(in.session(digest)); next.ID() == s.ID() {
		t.Error("a key survived in memory")
	}
	f.states(destroyed(s.ID(), seal.CauseRestart))
	eventually(t, "one receipt", func() bool { return in.standing().KeysOut == 1 })
	f.states(destroyed(tmp.ID(), seal.CauseExpired))
	eventually(t, "both receipts", func() bool { return in.standing().KeysOut == 0 })
	if n := len(in.acts(ActReceipt)); n != 2 {
		t.Errorf("%d receipts", n)
	}
}

// Summaries are written as entries are, and a start uses the last one: it reads a few
// entries and knows what is open, and where the chain of receipts stands.
func TestAStartReadsFromASummary(t *testing.T) {
	f, dir := newFar(t), t.TempDir()
	often := func(c *Config) { c.summaryEvery = 10 }
	in := f.gateway(dir, often)
	open := in.key(in.session(in.custody.SessionDigest(support, "stays")))
	for range 25 {
		s := in.key(seal.Context{Tenant: acme, Destination: support, Transit: login, Handling: isogate.TransitOnly, ByRequest: true})
		in.sends(f, s)
		f.states(destroyed(s.ID(), seal.CauseRequest))
	}
	in.sends(f, open)
	eventually(t, "the receipts", func() bool { return in.standing().Receipt == 25 && in.standing().KeysOut == 1 })
	eventually(t, "summaries", func() bool { return len(in.acts(ActSummary)) >= 2 })
	in.stop()
	in = f.gateway(dir, often)
	eventually(t, "the state", func() bool { return in.standing().KeysOut == 1 })
	if st := in.standing(); st.Receipt != 25 {
		t.Errorf("got %+v", st)
	}
	in.custody.read(func(s *State) {
		if s.known == 0 {
			t.Error("no summary was used")
		}
	})
	f.states(destroyed(open.ID(), seal.CauseMax))
	eventually(t, "the last receipt", func() bool { return in.standing().KeysOut == 0 })
}

// Two gateways of one tenant ask the same landing. Each receipt counts once, and a
// session that one of them ends is ended for both.
func TestTwoGateways(t *testing.T) {
	f, dir := newFar(t), t.TempDir()
	a := f.gateway(dir)
	// The second is another custody over the same journal, as over a shared database.
	second := a.custody.cfg
	other, err := New(second, f.landing(a.obf))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := other.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	defer wg.Wait()
	defer stop()
	b := &inside{t: t, journal: a.journal, custody: other, obf: a.obf}
	digest := a.custody.SessionDigest(support, "s")
	if digest != other.SessionDigest(support, "s") {
		t.Fatal("the gateways call one session differently")
	}
	ka, kb := a.key(a.session(digest)), b.key(b.session(digest))
	if ka.ID() == kb.ID() {
		t.Fatal("two gateways have one key")
	}
	a.sends(f, ka)
	b.sends(f, kb)
	for i := range 20 {
		f.states(destroyed(seal.ID{9, byte(i)}, seal.CauseIdle))
	}
	eventually(t, "the receipts", func() bool { return a.standing().Receipt == 20 && b.standing().Receipt == 20 })
	if err := a.custody.EndSession(t.Context(), "s"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "no key to be out", func() bool { return a.standing().KeysOut == 0 && b.standing().KeysOut == 0 })
	eventually(t, "the other gateway to have heard", func() bool { return b.key(b.session(digest)).ID() != kb.ID() })
	if a.standing().Broken != "" || len(a.acts(ActBroken)) > 0 {
		t.Errorf("the chain is said to be broken: %+v", a.standing())
	}
}

// Two gateways share a journal in PostgreSQL, and one ends while the landing goes on:
// the other takes its receipts, and every one is recorded as often as it must be.
//
// promise: P41
func TestTwoGatewaysShareADatabase(t *testing.T) {
	f := newFar(t)
	f.database = pgtest.Database(t)
	dir := t.TempDir()
	a := f.gateway(dir)
	b := f.gateway(dir)
	digest := a.custody.SessionDigest(support, "s")
	ka, kb := a.key(a.session(digest)), b.key(temporary(time.Minute))
	a.sends(f, ka)
	b.sends(f, kb)
	eventually(t, "both to know of both keys", func() bool { return a.standing().KeysOut == 2 && b.standing().KeysOut == 2 })
	for i := range 10 {
		f.states(destroyed(seal.ID{9, byte(i)}, seal.CauseIdle))
	}
	eventually(t, "the receipts", func() bool { return a.standing().Receipt == 10 && b.standing().Receipt == 10 })
	a.stop()
	f.states(destroyed(ka.ID(), seal.CauseIdle), destroyed(kb.ID(), seal.CauseExpired))
	eventually(t, "no key to be out", func() bool { return b.standing().KeysOut == 0 })
	if st := b.standing(); st.Broken != "" || len(b.acts(ActBroken)) != 0 {
		t.Errorf("got %+v", st)
	}
	if n := len(b.acts(ActReceipt)); n < 11 || n > 22 {
		t.Errorf("%d entries for 11 receipts", n)
	}
}

// Without a statement nothing can be sealed; it is fetched again, at once when a
// landing says that it began a new epoch.
//
// promise: P41
func TestTheStatement(t *testing.T) {
	f := newFar(t)
	f.set(func() { f.down = true })
	in := f.gateway(t.TempDir())
	eventually(t, "the trouble", func() bool { return strings.Contains(in.standing().Trouble, "draining") })
	if _, err := in.custody.Key(support, temporary(time.Minute)); err == nil || !strings.Contains(err.Error(), "no statement in force") {
		t.Errorf("a key without a statement: %v", err)
	}
	if in.custody.Acknowledged(support, email) {
		t.Error("acknowledged without a statement")
	}
	f.set(func() { f.down = false })
	old := in.key(temporary(time.Minute))
	if !in.custody.Acknowledged(support, email) || in.custody.Acknowledged(support, name) || in.custody.Acknowledged("elsewhere", email) {
		t.Error("acknowledged: not as stated")
	}
	f.renew() // the landing was started anew
	in.sends(f, old)
	fresh := in.key(temporary(time.Minute))
	if fresh.ID() == old.ID() {
		t.Fatal("a key for an epoch that is over is used again")
	}
	in.sends(f, fresh)
	if !fresh.Held() {
		t.Error("the key of the new epoch is not held")
	}
	// The landing never had the first one: no receipt is waited for.
	eventually(t, "one key to be out", func() bool { return in.standing().KeysOut == 1 })
	if r := in.acts(ActRefused); len(r) != 1 || r[0].Detail[inKeys] != old.ID().String() || r[0].Detail[inCode] != seal.CodeUnknownEpoch {
		t.Errorf("got %+v", r)
	}
	if _, err := in.custody.Key("elsewhere", temporary(time.Minute)); err == nil || !strings.Contains(err.Error(), "has no landing") {
		t.Errorf("a destination without a landing: %v", err)
	}
	if err := in.custody.Sending(support, []seal.ID{{7}}); err == nil {
		t.Error("a key that nobody made was recorded")
	}
	byRequest := seal.Context{Tenant: acme, Destination: support, Transit: login, Handling: isogate.TransitOnly, ByRequest: true}
	one, two := in.key(byRequest), in.key(byRequest)
	if one.ID() == two.ID() {
		t.Error("two requests without a session share a key")
	}
	in.sends(f, one)
	if n := len(in.acts(ActSent)); n != 3 {
		t.Errorf("%d keys were recorded", n)
	}
}

// A key that a landing will soon give up, because its session rests, is given up
// before; a key that was pushed out by newer ones is not used again.
func TestKeysGiveWay(t *testing.T) {
	f := newFar(t)
	f.set(func() { f.idle = time.Second })
	var mu sync.Mutex
	var ahead time.Duration
	in := f.gateway(t.TempDir(), func(c *Config) {
		c.MaxKeys = 3
		c.Now = func() time.Time {
			mu.Lock()
			defer mu.Unlock()
			return time.Now().Add(ahead)
		}
	})
	first := in.key(in.session("aaaaaaaaaaaaaaaaaaaaaaaaaa"))
	mu.Lock()
	ahead = 950 * time.Millisecond
	mu.Unlock()
	second := in.key(in.session("aaaaaaaaaaaaaaaaaaaaaaaaaa"))
	if first.ID() == second.ID() {
		t.Error("a session that rested has its key still")
	}
	for i := range 3 {
		in.key(in.session(in.custody.SessionDigest(support, fmt.Sprint(i))))
	}
	if third := in.key(in.session("aaaaaaaaaaaaaaaaaaaaaaaaaa")); third.ID() == second.ID() {
		t.Error("more keys are kept than may be")
	}
	h := (*in.custody.sites.Load())[support].hold
	if n := h.order.Len(); n != 3 {
		t.Errorf("%d keys in use", n)
	}
	mu.Lock()
	ahead += retirement + time.Minute
	mu.Unlock()
	h.sweep()
	count := func() [3]int {
		h.mu.Lock()
		defer h.mu.Unlock()
		return [3]int{len(h.byID), len(h.retired), len(h.sessions)}
	}
	if got := count(); got != [3]int{3, 3, 0} { // those that were in use have just been retired
		t.Errorf("keys kept, keys retired, sessions: %v", got)
	}
	last := h.retired[0].sealer
	mu.Lock()
	ahead += retirement + time.Minute
	mu.Unlock()
	h.sweep()
	if got := count(); got != [3]int{} {
		t.Errorf("keys kept, keys retired, sessions: %v", got)
	}
	p := last.Passage()
	if _, ok := p.Append(nil, email, isogate.Value{Kind: isogate.String, Text: []byte("a")}); ok {
		t.Error("a key that nobody can use any more is not wiped")
	}
}

// promise: P41
func TestAReceiptThatDoesNotComeIsAnAlarm(t *testing.T) {
	f := newFar(t)
	f.set(func() { f.max, f.idle = time.Second, time.Second })
	in := f.gateway(t.TempDir(), func(c *Config) { c.Grace = time.Millisecond })
	s := in.key(in.session("aaaaaaaaaaaaaaaaaaaaaaaaaa"))
	e := in.sends(f, s)
	in.custody.Held(support, []seal.ID{s.ID()})
	eventually(t, "the alarm", func() bool { return len(in.acts(ActOverdue)) > 0 })
	if o := in.acts(ActOverdue); len(o) != 1 || o[0].Detail[inKeys] != s.ID().String() {
		t.Errorf("got %+v", o)
	}
	// The landing is asked about it, and states that it never had the key.
	eventually(t, "the receipt", func() bool { return in.standing().KeysOut == 0 })
	if n := len(in.acts(ActOverdue)); n != 1 {
		t.Errorf("%d alarms for one key", n)
	}
	l, err := ReadLife(t.Context(), in.journal, &e)
	if err != nil || l.Keys[0].Overdue == "" || l.Keys[0].Cause != seal.CauseNotHeld {
		t.Errorf("got %+v, %v", l, err)
	}
}

// An alarm is one entry for each key, however long the landing says nothing; after a
// month it is given up, so that what is waited for has an end.
func TestAnAlarmIsRecordedOnce(t *testing.T) {
	f := newFar(t)
	f.set(func() { f.max, f.idle, f.silent = time.Second, time.Second, true })
	var ahead atomic.Int64
	in := f.gateway(t.TempDir(), func(c *Config) {
		c.Grace = time.Millisecond
		c.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	})
	s := in.key(in.session(in.custody.SessionDigest(support, "s")))
	in.sends(f, s)
	eventually(t, "the alarm", func() bool { return len(in.acts(ActOverdue)) > 0 })
	looks := func() {
		for range 5 {
			eventually(t, "another look", func() bool { return len(in.custody.hold().ask) == 0 })
			signal(in.custody.hold().ask)
		}
	}
	looks()
	if st := in.standing(); len(in.acts(ActOverdue)) != 1 || st.KeysOverdue != 1 || len(st.Overdue) != 1 || !st.Overdue[0].Noted {
		t.Errorf("%d alarms, %+v", len(in.acts(ActOverdue)), st)
	}
	ahead.Store(int64(giveUp + time.Hour))
	eventually(t, "the end of waiting", func() bool { return in.standing().KeysOut == 0 })
	looks()
	if g := in.acts(ActGivenUp); len(g) != 1 || g[0].Detail[inKeys] != s.ID().String() {
		t.Errorf("got %+v", g)
	}
}

// Keys that are out to a destination which left the pack are an alarm too, and given
// up in the end; a new landing of the same destination does not answer for them.
func TestKeysOfALandingThatIsGone(t *testing.T) {
	f := newFar(t)
	f.set(func() { f.max, f.idle, f.silent = time.Second, time.Second, true })
	var ahead atomic.Int64
	metrics := NewMetrics()
	in := f.gateway(t.TempDir(), func(c *Config) {
		c.Grace, c.Metrics = time.Millisecond, metrics
		c.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	})
	registry := prometheus.NewRegistry()
	registry.MustRegister(metrics)
	overdue := func() (float64, bool) {
		all, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range all {
			if m.GetName() == "isogate_receipts_overdue" {
				return m.GetMetric()[0].GetGauge().GetValue(), true
			}
		}
		return 0, false
	}
	s := in.key(in.session(in.custody.SessionDigest(support, "s")))
	in.sends(f, s)
	if err := in.custody.Swap(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the alarm", func() bool { return len(in.acts(ActOverdue)) == 1 })
	eventually(t, "the metric", func() bool { v, there := overdue(); return there && v == 1 })
	ahead.Store(int64(giveUp + time.Hour))
	eventually(t, "the end of waiting", func() bool { return len(in.acts(ActGivenUp)) == 1 })
	eventually(t, "the metric to go", func() bool { _, there := overdue(); return !there })
}

// After a rotation of the tenant's keys a session is called differently; its end
// still ends what was sent under its old name.
//
// promise: P16
func TestAnEndAfterARotation(t *testing.T) {
	f := newFar(t)
	in := f.gateway(t.TempDir())
	old := in.custody.SessionDigest(support, "s")
	k := in.key(in.session(old))
	in.sends(f, k)
	if err := in.keys.Rotate(); err != nil {
		t.Fatal(err)
	}
	if err := in.custody.Swap(f.landing(in.obf)); err != nil {
		t.Fatal(err)
	}
	if in.custody.SessionDigest(support, "s") == old {
		t.Fatal("a rotation did not change what sessions are called")
	}
	eventually(t, "the key to be out", func() bool { return in.standing().KeysOut == 1 })
	if err := in.custody.EndSession(t.Context(), "s"); err != nil {
		t.Fatal(err)
	}
	if k.Sealing() {
		t.Error("the key of a session that is over seals")
	}
	eventually(t, "the receipt", func() bool { return in.standing().KeysOut == 0 })
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.ended) != 2 {
		t.Errorf("the landing was told of %d names", len(f.ended))
	}
}

// A session's end reaches a landing that was down when it came.
//
// promise: P16
func TestTheEndIsToldAgain(t *testing.T) {
	f := newFar(t)
	in := f.gateway(t.TempDir())
	digest := in.custody.SessionDigest(support, "s")
	s := in.key(in.session(digest))
	in.sends(f, s)
	f.set(func() { f.down = true })
	if err := in.custody.EndSession(t.Context(), "s"); err == nil || !strings.Contains(err.Error(), "told again") {
		t.Fatalf("an end that was not told: %v", err)
	}
	if s.Sealing() {
		t.Error("the key of a session that is over seals")
	}
	f.set(func() { f.down = false })
	eventually(t, "the end", func() bool { return in.standing().KeysOut == 0 })
	if err := in.custody.EndSession(t.Context(), ""); err == nil {
		t.Error("a session without a name was ended")
	}
}

// promise: P17
func TestSubjectsAreListedAndErased(t *testing.T) {
	f := newFar(t)
	in := f.gateway(t.TempDir(), func(c *Config) { c.Repeat = 10 * time.Millisecond })
	ada, ada2, bob := in.token(email, "ada@example.com"), in.token(email, "ada@work.example"), in.token(email, "bob@example.com")
	at := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	f.set(func() {
		for _, r := range []registerRow{{ID: ada, Subject: ada}, {ID: ada2, Subject: ada}, {ID: bob, Subject: bob}, {ID: "igt1aforeign", Subject: "igt1aforeign"}, {Label: "x.y", ID: ada, Subject: bob}} {
			if r.Label == "" {
				r.Label = string(email)
			}
			r.Because, r.Rule, r.Since, r.Last = "tickets", "t.yaml:3", at, at
			f.register = append(f.register, r)
		}
	})
	var all []Subject
	q := Query{Limit: 1}
	for n := 0; ; n++ {
		p, err := in.custody.Subjects(t.Context(), q)
		if err != nil || n > 10 {
			t.Fatal(n, err)
		}
		all = append(all, p.Subjects...)
		if q.After = p.Next; p.Next == "" {
			break
		}
	}
	if len(all) != 5 || all[0].Value != "ada@example.com" || all[1].Subject != "ada@example.com" || all[2].Value != "bob@example.com" || !all[3].Unreadable || !all[4].Unreadable || all[0].Since != at {
		t.Fatalf("got %+v", all)
	}
	if p, err := in.custody.Subjects(t.Context(), Query{Value: "ada@example.com", Destination: support}); err != nil || len(p.Subjects) != 2 {
		t.Errorf("got %+v, %v", p, err)
	}
	if _, err := in.custody.Subjects(t.Context(), Query{Destination: "elsewhere"}); !errors.Is(err, ErrUnknown) {
		t.Errorf("a destination without a landing: %v", err)
	}
	for _, after := range []string{"elsewhere/0/", "support", "support/x/", "support/-1/"} {
		if _, err := in.custody.Subjects(t.Context(), Query{After: after}); err == nil {
			t.Errorf("the cursor %q was taken", after)
		}
	}
	order := Order{Value: "ada@example.com", Reason: "she asked", By: Actor{"carol", "bearer token"}}
	list, err := in.custody.Erase(t.Context(), order)
	if err != nil || len(list) != 1 || len(list[0].Rows) != 2 || list[0].State != ErasureAsked || list[0].By != "carol" {
		t.Fatalf("got %+v, %v", list, err)
	}
	id := list[0].ID
	f.mu.Lock()
	rows := f.erasures[string(id)]
	delete(f.erasures, string(id))
	f.mu.Unlock()
	if len(rows) != 2 || rows[0] != (erasureRow{email, ada, "ada@example.com"}) || rows[1].Value != "ada@work.example" {
		t.Errorf("the landing was asked to erase %+v", rows)
	}
	// The journal has tokens and no value.
	entries := in.acts(ActErase)
	if text := fmt.Sprintf("%+v", entries); len(entries) != 1 || strings.Contains(text, "@") || !strings.Contains(text, ada) || entries[0].Actor != "carol" || entries[0].Detail[inSignedIn] != "bearer token" {
		t.Errorf("got %+v", entries)
	}
	eventually(t, "the erasure to be asked for again", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return len(f.erasures[string(id)]) == 2
	})
	f.states(seal.Event{Kind: seal.ErasureOverdue, Erasure: string(id)})
	eventually(t, "the state", func() bool { return in.custody.Erasures()[0].State == ErasureOverdue })
	f.states(seal.Event{Kind: seal.Erased, Erasure: string(id), N: 2})
	eventually(t, "the confirmation", func() bool { return in.custody.Erasures()[0].State == ErasureConfirmed })
	if x := in.custody.Erasures()[0]; x.Receipt != 2 || x.Settled.IsZero() {
		t.Errorf("got %+v", x)
	}
	order.Value = "nobody@example.com"
	if list, err := in.custody.Erase(t.Context(), order); err != nil || len(list) != 0 || len(in.acts(ActErase)) != 1 {
		t.Errorf("nothing to erase: %+v, %v", list, err)
	}
}

// An erasure that was asked for before a restart is asked for again, with values
// turned back out of the tokens in the journal.
//
// promise: P17
func TestAnErasureOutlivesARestart(t *testing.T) {
	f, dir := newFar(t), t.TempDir()
	in := f.gateway(dir)
	var rows []registerRow
	for i := range maxErase + 5 {
		token := in.token(email, fmt.Sprintf("ada%d@example.com", i))
		rows = append(rows, registerRow{Label: string(email), ID: token, Subject: in.token(email, "ada@example.com")})
	}
	f.set(func() { f.register = rows })
	eventually(t, "the statement", func() bool { return in.standing().Valid })
	list, err := in.custody.Erase(t.Context(), Order{Value: "ada@example.com", Reason: "she asked", By: Actor{Name: "carol"}})
	if err != nil || len(list) < 2 {
		t.Fatalf("got %d erasures, %v", len(list), err)
	}
	in.stop()
	f.set(func() { clear(f.erasures) })
	f.gateway(dir)
	eventually(t, "the erasures to be asked for again", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		n := 0
		for _, rows := range f.erasures {
			n += len(rows)
		}
		return len(f.erasures) == len(list) && n == maxErase+5
	})
}

// A reload puts other landings in force and keeps what is known of one that stays.
func TestSwap(t *testing.T) {
	f, g := newFar(t), newFar(t)
	in := f.gateway(t.TempDir())
	s := in.key(temporary(time.Minute))
	if err := in.custody.Swap(f.landing(in.obf)); err != nil {
		t.Fatal(err)
	}
	if again := in.key(temporary(time.Minute)); again != s {
		t.Error("a reload lost the keys of a landing that stays")
	}
	if err := in.custody.Swap(f.landing(in.obf), g.landing(in.obf)); err == nil {
		t.Error("one destination has two landings")
	}
	if err := in.custody.Swap(g.landing(in.obf)); err != nil {
		t.Fatal(err)
	}
	if err := in.custody.Sending(support, []seal.ID{s.ID()}); err == nil {
		t.Error("a key of a landing that is none any more was sent")
	}
	if fresh := in.key(temporary(time.Minute)); fresh.ID() == s.ID() {
		t.Error("a key for another landing is used")
	}
	if err := in.custody.Swap(); err != nil {
		t.Fatal(err)
	}
	if _, err := in.custody.Key(support, temporary(time.Minute)); err == nil {
		t.Error("a key without a landing")
	}
	if in.custody.SessionDigest(support, "s") != "" {
		t.Error("a digest without a landing")
	}
}

// What cannot be recorded does not leave.
//
// promise: P23
func TestAKeyThatIsNotRecordedDoesNotLeave(t *testing.T) {
	f := newFar(t)
	var full *fullJournal
	in := f.gateway(t.TempDir(), func(c *Config) {
		full = &fullJournal{Journal: c.Journal}
		c.Journal = full
	})
	s := in.key(temporary(time.Minute))
	full.is.Store(true)
	if err := in.custody.Sending(support, []seal.ID{s.ID()}); err == nil {
		t.Error("a key leaves that is not recorded")
	}
	full.is.Store(false)
	if err := in.custody.Sending(support, []seal.ID{s.ID()}); err != nil {
		t.Error(err)
	}
}

// fullJournal is a journal that takes nothing while it is full.
type fullJournal struct {
	Journal
	is atomic.Bool
}

func (j *fullJournal) AppendLater(e *isogate.Entry) error {
	if j.is.Load() {
		return errors.New("no space left")
	}
	return j.Journal.AppendLater(e)
}
