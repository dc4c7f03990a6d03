package journal

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/isogate/isogate"
)

// testKey is a signer and its vkey.
type testKey struct {
	signer note.Signer
	vkey   string
}

func newKey(t testing.TB, name string) testKey {
	t.Helper()
	skey, vkey, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	return testKey{signer, vkey}
}

func (k testKey) config(dir string) Config {
	return Config{Dir: dir, Tenant: "acme", Signer: k.signer, Verifier: k.vkey, SealEvery: time.Millisecond}
}

// open opens the journal and runs it until stop is called or the test ends.
func open(t testing.TB, cfg Config) (j *Journal, stop func()) {
	t.Helper()
	j, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return j, run(t, j)
}

func run(t testing.TB, j *Journal) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- j.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		if err := j.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// eventually polls until ok, and fails the test after a generous time.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("timed out waiting for %s", what)
		}
	}
}

func egress(n int) *isogate.Entry {
	return &isogate.Entry{
		Kind: isogate.KindEgress, Stage: isogate.StageOpened, Source: "product/help-center", Purpose: "support",
		Transit: "support-session", Destination: "support-portal", Method: "POST", URL: "/v1/sessions",
		Pack: "sha256:6a5b", Decision: "released", BytesIn: int64(n), BytesOut: int64(n),
		Fields: []isogate.Field{
			{Path: "user.email", Label: "personal.contact.email", Action: isogate.Allow, Handling: "persisted", Rule: "transits/support-session.yaml:11", N: 1},
			{Path: "tickets[].title", Label: "ugc.title", Action: isogate.Token, N: 3},
		},
	}
}

func appendN(t testing.TB, j *Journal, n int) []isogate.Entry {
	t.Helper()
	entries := make([]isogate.Entry, n)
	for i := range n {
		e := egress(i)
		if err := j.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		entries[i] = *e
	}
	return entries
}

func sealedAll(t testing.TB, j *Journal) {
	t.Helper()
	eventually(t, "a checkpoint over every entry", func() bool {
		n, err := j.count(t.Context())
		return err == nil && j.seal.size() == n && j.seal.lastError() == nil
	})
}

func TestAppendIsDurableSealedAndReadable(t *testing.T) {
	conformance(t, func(t *testing.T, fresh func(testing.TB) site) { durableSealedReadable(t, fresh(t)) })
}

func durableSealedReadable(t *testing.T, at site) {
	key := newKey(t, "isogate/acme")
	cfg := at.config(key)
	cfg.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	j, stop := open(t, cfg)
	want := appendN(t, j, 20)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 50 {
				if err := j.Append(t.Context(), egress(i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	sealedAll(t, j)
	if err := j.Ready(); err != nil {
		t.Fatal(err)
	}
	for i, w := range want {
		got, err := j.Get(t.Context(), w.ID)
		if err != nil {
			t.Fatal(err)
		}
		if g, w := fmt.Sprint(got), fmt.Sprint(w); g != w || got.Seq != uint64(i) {
			t.Fatalf("entry %d:\n got %s\nwant %s", i, g, w)
		}
	}
	if _, err := j.Get(t.Context(), "01ARZ3NDEKTSV4RRFFQ69G5FAV"); !errors.Is(err, ErrNotFound) {
		t.Fatalf("an ID that is not there: %v", err)
	}
	stop()
	if err := j.Append(t.Context(), egress(0)); !errors.Is(err, ErrStopped) {
		t.Fatalf("Append after the end: %v", err)
	}
	if err := j.Ready(); !errors.Is(err, ErrStopped) {
		t.Fatalf("Ready after the end: %v", err)
	}
	j, _ = open(t, cfg)
	more := appendN(t, j, 1)
	if more[0].Seq != 420 || more[0].ID <= want[19].ID {
		t.Fatalf("after reopening: seq %d id %s", more[0].Seq, more[0].ID)
	}
	sealedAll(t, j)
}
