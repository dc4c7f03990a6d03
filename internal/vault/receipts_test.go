package vault

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/seal"
)

// TestReceipts: every event is in a receipt of its tenant, once and in order, and no
// receipt has more than it may.
//
// promise: P41, P06
func TestReceipts(t *testing.T) {
	f := newFar(t, nil)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 160 {
				of := acme
				if w == 7 {
					of = other
				}
				if err := f.Note(t.Context(), of, seal.Event{Kind: seal.Erased, At: f.clock.Now(), Erasure: fmt.Sprintf("%d-%d", w, i)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got := len(f.receipts(acme)); got != 0 {
		t.Errorf("%d events have receipts before any was cut", got)
	}
	f.turnOver()
	for of, workers := range map[isogate.Tenant][]int{acme: {0, 1, 2, 3, 4, 5, 6}, other: {7}} {
		next := map[string]int{}
		for _, e := range f.receipts(of) {
			w, i, _ := strings.Cut(e.Erasure, "-")
			if i != fmt.Sprint(next[w]) {
				t.Fatalf("of %s: event %s comes when %d is next", of, e.Erasure, next[w])
			}
			next[w]++
		}
		if len(next) != len(workers) {
			t.Errorf("%s has events of %d workers, want %d", of, len(next), len(workers))
		}
		for w, n := range next {
			if n != 160 {
				t.Errorf("of worker %s: %d events", w, n)
			}
		}
	}
	if _, _, err := f.Receipts(t.Context(), "third", 0, 1); err == nil {
		t.Error("receipts of a tenant that is not served are handed out")
	}
	if err := f.Note(t.Context(), acme, seal.Event{Kind: seal.Erased, Viewer: "x", Erasure: "y"}); err == nil {
		t.Error("an event that no receipt can have is taken")
	}
	if err := f.Note(t.Context(), "third", seal.Event{Kind: seal.Erased}); err == nil {
		t.Error("an event of a tenant that is not served is taken")
	}
	f.clock.pass(31 * 24 * time.Hour)
	f.turnOver()
	if err := f.Note(t.Context(), acme, seal.Event{Kind: seal.Erased, At: f.clock.Now(), Erasure: "last"}); err != nil {
		t.Fatal(err)
	}
	f.turnOver()
	notes, more, err := f.Receipts(t.Context(), acme, 0, 500)
	if err != nil || more || len(notes) != 1 {
		t.Fatalf("after a month: %d receipts, %v, %v; want the newest", len(notes), more, err)
	}
	if r, err := seal.OpenReceipt(notes[0], f.verifier()); err != nil || r.Number != 13 || r.Previous == "" {
		t.Errorf("the chain does not go on: %+v, %v", r, err)
	}
}

// TestDiskFull: what cannot be written down is not shown, is told, and is written
// once it can be.
//
// promise: P23, P41
func TestDiskFull(t *testing.T) {
	f := newFar(t, nil)
	s := f.arrive(bySession(sessionA))
	text := sealed(t, s, "x")
	if err := f.Settled(t.Context()); err != nil {
		t.Fatal(err)
	}
	limit := func(pages int) {
		t.Helper()
		if _, err := f.ledger.(*ledger).writer.ExecContext(t.Context(), fmt.Sprintf("PRAGMA max_page_count = %d", pages)); err != nil {
			t.Fatal(err)
		}
	}
	limit(1)
	vw := f.View(Viewer{Name: strings.Repeat("a long name", 11), Allows: everybody})
	var failed error
	shown := 0
	for failed == nil && shown < 1000 {
		if got := show(t, vw, text); got != "x" {
			t.Fatalf("got %s", got)
		}
		if failed = vw.Record(t.Context()); failed == nil {
			shown++
		}
	}
	if failed == nil || !strings.Contains(failed.Error(), "free space") {
		t.Fatalf("a full disk: %v", failed)
	}
	if !vw.Pending() {
		t.Error("nothing is pending after a record that failed")
	}
	if err := f.Ready(); err == nil {
		t.Error("the vault is ready though nothing can be written down")
	}
	if err := vw.Record(t.Context()); err == nil {
		t.Error("the same record succeeds though nothing was written down")
	}
	limit(1 << 20)
	if err := vw.Record(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := f.Ready(); err != nil {
		t.Errorf("after it was mended: %v", err)
	}
	f.turnOver()
	var n uint64
	for _, e := range f.receipts(acme) {
		n += e.N
	}
	if n != uint64(shown)+1 {
		t.Errorf("receipts tell of %d reveals, and there were %d", n, shown+1)
	}
}

// TestRecord: what one view revealed is counted by key, request and label.
//
// promise: P21
func TestRecord(t *testing.T) {
	f := newFar(t, nil)
	s := f.arrive(bySession(sessionA))
	vw := f.View(Viewer{Name: "agent", Allows: everybody})
	if vw.Pending() {
		t.Error("a new view has something pending")
	}
	first, second := sealed(t, s, "x"), sealed(t, s, "y")
	for range 3 {
		show(t, vw, first)
	}
	show(t, vw, second)
	if !vw.Pending() {
		t.Error("nothing is pending after reveals")
	}
	if err := vw.Record(t.Context()); err != nil {
		t.Fatal(err)
	}
	if vw.Pending() {
		t.Error("something is pending after the record")
	}
	done, cancel := context.WithCancel(t.Context())
	cancel()
	if err := vw.Record(done); err != nil {
		t.Errorf("with nothing to record: %v", err)
	}
	f.turnOver()
	got := map[uint64]uint64{}
	for _, e := range f.receipts(acme) {
		if e.Kind != seal.RevealedTo || e.Key != s.ID() || e.Viewer != "agent" || e.Label != email {
			t.Errorf("unexpected event %+v", e)
		}
		got[e.Request] += e.N
	}
	if len(got) != 2 || got[1] != 3 || got[2] != 1 {
		t.Errorf("reveals by request: %v, want 3 of the first and 1 of the second", got)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	vw = f.View(Viewer{Name: "agent", Allows: everybody})
	if got := show(t, vw, first); got != seal.TextExpired {
		t.Errorf("after the end: got %s", got)
	}
	if err := f.Note(t.Context(), acme, seal.Event{Kind: seal.Erased, Erasure: "x"}); !errors.Is(err, ErrClosed) {
		t.Errorf("an event after the end: %v", err)
	}
	if err := f.Arrive(header(t, s)); !errors.Is(err, ErrClosed) {
		t.Errorf("a key after the end: %v", err)
	}
	if err := f.Ready(); !errors.Is(err, ErrClosed) {
		t.Errorf("ready after the end: %v", err)
	}
}

// TestOfAnother: the directory of another landing side is not gone on with.
func TestOfAnother(t *testing.T) {
	f := newFar(t, nil)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	skey, _, err := note.GenerateKey(nil, f.cfg.Signer.Name())
	if err != nil {
		t.Fatal(err)
	}
	cfg := f.cfg
	if cfg.Signer, err = note.NewSigner(skey); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(cfg); err == nil || !strings.Contains(err.Error(), "key") {
		t.Errorf("with another key: %v", err)
	}
	cfg = f.cfg
	cfg.Destination = "another"
	if _, err := Open(cfg); err == nil || !strings.Contains(err.Error(), "destination") {
		t.Errorf("for another destination: %v", err)
	}
}

// TestShare: a tenant that uses up all the room that it can get leaves the other's.
//
// promise: P06
func TestShare(t *testing.T) {
	f := newFar(t, func(c *Config) { c.MaxKeys = 40 })
	n := 0
	var last *seal.Sealer
	for ; n <= 40; n++ {
		s := f.sealer(temporary(time.Minute))
		if err := f.Arrive(header(t, s)); err != nil {
			refused(t, err, seal.CodeFull)
			break
		}
		last = s
	}
	if n != 30 {
		t.Errorf("one of two tenants has room for %d of 40 keys, want 30", n)
	}
	c := temporary(time.Minute)
	c.Tenant = other
	for range 10 {
		f.arrive(c)
	}
	refused(t, f.Arrive(header(t, f.sealer(c))), seal.CodeFull)
	f.EndKeys(acme, []seal.ID{last.ID()})
	f.arrive(temporary(time.Minute))
	f.clock.pass(time.Hour)
	f.turnOver()
	for range 30 {
		f.arrive(c)
	}
}
