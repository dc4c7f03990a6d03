package gateway_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/isogatetest"
)

// budgeted is the pack of apps with budgets for the ways to some of its hosts.
func budgeted(port uint16, budgets map[string]string) map[string]string {
	files := appPack(port)
	for transit, budget := range budgets {
		files["transits/"+transit+".yaml"] += "budget: " + budget + "\n"
	}
	return files
}

// spend swaps in a pack with budgets.
func (w *appWorld) spend(budgets map[string]string) {
	w.WritePack(budgeted(w.out.port, budgets))
	w.Gateway.Swap(w.Rules())
}

// ATTACK: an app sends more often than its budget for a host allows: one by one,
// all at once, under a new name each time, and by setting the hour.
// THIS TEST VERIFIES that exactly the budget arrives in each period, however many
// try, and that what is over is refused with 429 and an entry, and never looked up.
//
// promise: P05
func TestAttackBudgetOfRequests(t *testing.T) {
	c := newClock()
	w := newAppWorld(t, func(cfg *isogatetest.Config) { cfg.Now = c.now })
	w.grant(apiHost, wildHost, fileHost)
	w.spend(map[string]string{"api": "{requests: 10, bytes: 1GiB, per: 1h}", "wild": "{requests: 3, bytes: 1GiB, per: 1h}", "files": "{requests: 2, bytes: 1GiB, per: 1h}"})

	try := func(n int) (passed, over int64) {
		var ok, no atomic.Int64
		var all sync.WaitGroup
		for range n {
			send := w.openInspected(t, apiHost)
			all.Go(func() {
				res, text, err := send("POST", "/v1/items", `{"title":"x"}`)
				switch {
				case err != nil:
					t.Error(err)
				case res.StatusCode == 200:
					ok.Add(1)
				case res.StatusCode == 429 && strings.Contains(text, "urn:isogate:problem:budget"):
					no.Add(1)
				default:
					t.Errorf("%d %s", res.StatusCode, text)
				}
			})
		}
		all.Wait()
		return ok.Load(), no.Load()
	}
	// Each name below a wildcard is spent from the same budget.
	for i, host := range []string{"a.wild.example.com", "b.c.wild.example.com", "1.wild.example.com", "wild.wild.example.com", "x.y.z.wild.example.com"} {
		res, text, err := w.openInspected(t, host)("GET", "/v1/items", "")
		if err != nil || (res.StatusCode == 200) != (i < 3) {
			t.Errorf("name %d: %v %v %s", i, res, err, text)
		}
	}
	for _, name := range w.dns.Names() {
		if name == "wild.wild.example.com" || name == "x.y.z.wild.example.com" {
			t.Errorf("%s was looked up", name)
		}
	}

	w.out.received()

	for period := range 2 {
		if ok, no := try(30); ok != 10 || no != 20 {
			t.Errorf("period %d: %d passed and %d were over", period, ok, no)
		}
		if n := len(w.out.received()); n != 10 {
			t.Errorf("period %d: %d arrived", period, n)
		}
		c.set(c.now().Add(time.Hour - 1))
		if ok, _ := try(1); ok != 0 {
			t.Errorf("period %d: one passed before its end", period)
		}
		c.set(c.now().Add(1))
	}
	over := 0
	for _, e := range w.Entries() {
		if e.Status == 429 && e.Stage == isogate.StageRefused && e.Transit == "bot-api" {
			over++
		}
	}
	if over != 42 {
		t.Errorf("%d entries of what was over", over)
	}

	// A tunnel is a request.
	for i := range 4 {
		_, res := w.Apps.Connect(bot, w.at(fileHost))
		if (res.StatusCode == 200) != (i < 2) || i >= 2 && res.StatusCode != 429 {
			t.Errorf("tunnel %d: %d", i, res.StatusCode)
		}
	}
}

// ATTACK: an app sends more than its budget of bytes: in bodies that are held, in
// one that is judged while it leaves, through a tunnel, by many at once.
// THIS TEST VERIFIES that what arrives never exceeds the budget, and that a body for
// the rest of which there is none never arrives as complete.
//
// promise: P05
func TestAttackBudgetOfBytes(t *testing.T) {
	c := newClock()
	w := newAppWorld(t, func(cfg *isogatetest.Config) { cfg.Now, cfg.Hold = c.now, 16<<10 })
	w.grant(apiHost, fileHost)
	const budget = 256 << 10
	w.spend(map[string]string{"api": "{requests: 1000, bytes: 256KiB, per: 1h}", "files": "{requests: 1000, bytes: 256KiB, per: 1h}"})
	arrived := func() (n int, whole int) {
		for _, r := range w.out.received() {
			n += len(r.Body)
			if !r.Broken {
				whole++
			}
		}
		return n, whole
	}
	tags := func(n int) string {
		var b strings.Builder
		b.WriteString(`{"tags":["x"`)
		for b.Len() < n {
			b.WriteString(`,"0123456789abcdef0123456789abcdef"`)
		}
		b.WriteString("]}")
		return b.String()
	}

	t.Run("held", func(t *testing.T) {
		var all sync.WaitGroup
		body := tags(10 << 10)
		for range 40 {
			send := w.openInspected(t, apiHost)
			all.Go(func() {
				if res, text, err := send("POST", "/v1/items", body); err != nil || res.StatusCode != 200 && res.StatusCode != 429 {
					t.Errorf("%v %v %s", res, err, text)
				}
			})
		}
		all.Wait()
		n, whole := arrived()
		if want := budget / len(body); n > budget || whole != want {
			t.Errorf("%d bytes in %d bodies arrived; %d bodies are within the budget", n, whole, want)
		}
	})

	t.Run("streamed", func(t *testing.T) {
		c.set(c.now().Add(time.Hour))
		if res, text, err := w.openInspected(t, apiHost)("POST", "/v1/items", tags(200<<10)); err != nil || res.StatusCode != 200 {
			t.Fatalf("%v %v %s", res, err, text)
		}
		if n, whole := arrived(); whole != 1 || n < 200<<10 {
			t.Errorf("%d bytes in %d bodies arrived within the budget", n, whole)
		}
		res, text, err := w.openInspected(t, apiHost)("POST", "/v1/items", tags(200<<10))
		if err != nil || res.StatusCode != 429 || !strings.Contains(text, "urn:isogate:problem:budget") {
			t.Errorf("over: %v %v %s", res, err, text)
		}
		// What was let out of it arrives, as a part that says so.
		w.Apps.Await(func() bool {
			n, whole := arrived()
			if whole != 0 || n > 56<<10 {
				t.Fatalf("%d bytes in %d whole bodies arrived over the budget", n, whole)
			}
			return n > 0
		})
		w.reasons(t, "budget is spent", 1)
		// Several at once.
		c.set(c.now().Add(time.Hour))
		var all sync.WaitGroup
		for range 6 {
			send := w.openInspected(t, apiHost)
			all.Go(func() { _, _, _ = send("POST", "/v1/items", tags(100<<10)) })
		}
		all.Wait()
		if n, whole := arrived(); n > budget || whole > 2 {
			t.Errorf("%d bytes in %d bodies arrived of several at once", n, whole)
		}
	})

	t.Run("through a tunnel", func(t *testing.T) {
		got := &atomic.Int64{}
		w.out.early.Store(handler(func(_ http.ResponseWriter, r *http.Request) {
			n, _ := io.Copy(io.Discard, r.Body)
			got.Add(n)
		}))
		defer w.out.early.Store(nil)
		conn, res := w.Apps.Connect(bot, w.at(fileHost))
		if res.StatusCode != 200 {
			t.Fatal(res.StatusCode)
		}
		s, in := w.toHost(conn, fileHost)
		_, err := fmt.Fprintf(s, "POST /x HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n%s", w.at(fileHost), 1<<20, strings.Repeat("x", 1<<20))
		if err == nil {
			_, err = in.ReadByte()
		}
		if err == nil || timeout(err) {
			t.Errorf("the tunnel goes on: %v", err)
		}
		w.reasons(t, "cut: the transit's budget is spent", 1)
		if n := got.Load(); n > budget {
			t.Errorf("%d bytes arrived", n)
		}
		// A tunnel that lives into the next period has the next budget.
		conn, res = w.Apps.Connect(bot, w.at(fileHost))
		if res.StatusCode != 200 {
			t.Fatal(res.StatusCode)
		}
		s, in = w.toHost(conn, fileHost)
		for period := range 3 {
			c.set(c.now().Add(time.Hour))
			_, err := fmt.Fprintf(s, "POST /x HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n%s", w.at(fileHost), 200<<10, strings.Repeat("x", 200<<10))
			if err == nil {
				res, err = http.ReadResponse(in, nil)
			}
			if err != nil || res.StatusCode != 200 {
				t.Fatalf("period %d: %v %v", period, res, err)
			}
		}
	})
}
