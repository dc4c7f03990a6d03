package trail

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/journal"
)

// history is a real journal that grows at random.
type history struct {
	t    testing.TB
	r    *rand.Rand
	j    *journal.Journal
	dir  string
	open []isogate.Entry // releases that have not ended, oldest first
	ids  []isogate.EntryID
	// grants are consents that requests go by.
	grants []isogate.EntryID
	// wild has more methods and hosts than are told apart.
	wild bool

	mu  sync.Mutex
	now time.Time
}

func newHistory(t testing.TB, seed uint64) *history {
	t.Helper()
	h := &history{t: t, r: rand.New(rand.NewPCG(seed, 1)), dir: t.TempDir(), now: time.Date(2026, 11, 26, 5, 0, 0, 0, time.UTC)}
	skey, vkey, err := note.GenerateKey(nil, "isogate/acme")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	h.j, err = journal.Open(t.Context(), journal.Config{Dir: filepath.Join(h.dir, "journal"), Tenant: "acme", Signer: signer, Verifier: vkey, Now: h.clock})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- h.j.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		_ = h.j.Close()
	})
	return h
}

func (h *history) clock() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now
}

func (h *history) later(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now = h.now.Add(d)
}

func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

var (
	labelsOf = []isogate.Label{"personal.contact.email", "personal.contact.phone", "personal.name", "system.metadata", "ugc.title", isogate.Unclassified, isogate.Opaque}
	pathsOf  = []string{"user.email", "user.phone", "user.name", "meta.*", "title", "**", "Raw"}
	rulesOf  = []string{"", "transits/a.yaml:7", "transits/a.yaml:9", "transits/b.yaml:3"}
)

func (h *history) fields() (fields []isogate.Field) {
	for i := range labelsOf {
		if h.r.IntN(3) > 0 {
			continue
		}
		f := isogate.Field{Path: pathsOf[i], Label: labelsOf[i], Action: isogate.Action(1 + h.r.IntN(8)), Rule: pick(h.r, rulesOf...), N: 1}
		if h.r.IntN(4) == 0 {
			f.N = uint32(h.r.IntN(5))
		}
		if f.Rule != "" {
			f.Handling = pick(h.r, "transit-only", "persisted")
		}
		fields = append(fields, f)
	}
	if len(fields) > 0 && h.r.IntN(10) == 0 {
		again := fields[0]
		again.TTL = "1h0m0s"
		fields = append(fields, again)
	}
	return fields
}

func (h *history) egress() *isogate.Entry {
	e := &isogate.Entry{Kind: isogate.KindEgress, Method: pick(h.r, "GET", "POST", "POST"), Pack: pick(h.r, "sha256:aa", "sha256:bb")}
	if h.r.IntN(3) == 0 {
		e.Source, e.Remote, e.Purpose = pick[isogate.Source](h.r, "app/triage-bot", "app/crm"), pick(h.r, "api.example", "files.example"), "app"
		e.Destination = pick[isogate.Destination](h.r, "", "crm")
	} else {
		e.Source, e.Purpose = "product/help-center", pick(h.r, "support", "billing")
		e.Transit = pick[isogate.Transit](h.r, "support-session", "invoice")
		e.Destination, e.URL = pick[isogate.Destination](h.r, "support-portal", "books"), pick(h.r, "/v1/sessions", "/v1/users/{accountId}")
	}
	if len(h.grants) > 0 && h.r.IntN(2) == 0 {
		e.Consent = h.grants[h.r.IntN(len(h.grants))]
	}
	if h.r.IntN(5) == 0 {
		e.Stage, e.Decision, e.Reason, e.Status, e.DurationUS = isogate.StageRefused, "refused", "no consent", 403, int64(h.r.IntN(1000))
		if h.r.IntN(3) == 0 {
			e.Remote, e.Method = fmt.Sprintf("x%d.evil.example", h.r.IntN(12)), pick(h.r, "GET", "CONNECT")
			if h.wild {
				e.Method = fmt.Sprintf("BREW%d", h.r.IntN(9))
			}
		}
		return e
	}
	e.Stage, e.Decision, e.BytesIn, e.BytesOut = isogate.StageOpened, "released", int64(h.r.IntN(5000)), int64(h.r.IntN(100_000))
	if e.Streamed = h.r.IntN(4) == 0; !e.Streamed {
		e.Fields = h.fields()
	}
	return e
}

// act lets one thing happen.
func (h *history) act() {
	r := h.r
	switch n := r.IntN(100); {
	case n < 55:
		e := h.egress()
		h.append(e)
		if e.Stage == isogate.StageOpened {
			h.open = append(h.open, *e)
		}
	case n < 70 && len(h.open) > 0:
		o := h.leave()
		e := &isogate.Entry{Kind: isogate.KindEgress, Stage: isogate.StageClosed, Of: o.ID, Source: o.Source, Transit: o.Transit, Remote: o.Remote,
			Destination: o.Destination, Consent: o.Consent, Decision: "released", Reason: pick(r, "", "cut"), Status: pick(r, 200, 404, 502), DurationUS: int64(r.IntN(1 << 30))}
		if o.Streamed {
			e.Fields, e.BytesIn, e.BytesOut = h.fields(), int64(r.IntN(1<<40)), int64(r.IntN(1<<20))
		}
		h.append(e)
		if r.IntN(20) == 0 {
			e.ID, e.Seq, e.Time = "", 0, time.Time{}
			e.Status = 599
			h.append(e) // said twice
		}
	case n < 85 && len(h.open) > 0:
		e := &isogate.Entry{Kind: isogate.KindEgress, Stage: isogate.StageClosed}
		for range 1 + r.IntN(min(3, len(h.open))) {
			e.Closes = append(e.Closes, isogate.Closing{Of: h.leave().ID, Status: pick(r, 200, 500), DurationUS: int64(r.IntN(5000))})
		}
		if r.IntN(10) == 0 {
			e.Closes = append(e.Closes, isogate.Closing{Of: "01ARZ3NDEKTSV4RRFFQ69G5FAV", Status: 200}) // of nothing
		}
		if r.IntN(10) == 0 && len(h.ids) > 0 {
			e.Closes = append(e.Closes, isogate.Closing{Of: h.ids[r.IntN(len(h.ids))], Status: 200}) // of anything
		}
		h.append(e)
	case n < 95:
		e := &isogate.Entry{Kind: isogate.KindConsent, Act: "granted", Actor: pick(r, "ada", "Eve")}
		if len(h.grants) > 0 && r.IntN(2) == 0 {
			e.Consent, e.Act = h.grants[r.IntN(len(h.grants))], "revoked"
		}
		h.append(e)
		if r.IntN(3) > 0 {
			h.grants = append(h.grants, e.ID)
		}
	case n < 98:
		h.append(&isogate.Entry{Kind: pick(r, isogate.KindPack, isogate.KindKey, isogate.KindAdmin, isogate.KindLanding), Actor: "isogate serve", Act: "pack loaded", Pack: "sha256:aa"})
	default:
		h.later(time.Duration(r.IntN(int(9 * time.Hour))))
	}
	h.later(time.Duration(r.IntN(int(20 * time.Second))))
}

// leave takes one of the open releases, mostly a new one.
func (h *history) leave() isogate.Entry {
	i := len(h.open) - 1
	if h.r.IntN(4) == 0 {
		i = h.r.IntN(len(h.open))
	}
	o := h.open[i]
	h.open = slices.Delete(h.open, i, i+1)
	return o
}

func (h *history) append(e *isogate.Entry) {
	h.t.Helper()
	if err := h.j.Append(h.t.Context(), e); err != nil {
		h.t.Fatal(err)
	}
	h.ids = append(h.ids, e.ID)
}

// all is every entry of the journal.
func (h *history) all() []isogate.Entry {
	h.t.Helper()
	entries, err := h.j.List(h.t.Context(), journal.Filter{Limit: 1 << 30})
	if err != nil {
		h.t.Fatal(err)
	}
	return entries
}

// query asks for something that there may be, at random.
func (h *history) query() (q Query) {
	r := h.r
	some := func(n int, set func()) {
		if r.IntN(n) == 0 {
			set()
		}
	}
	at := func() time.Time {
		begin := time.Date(2026, 11, 26, 5, 0, 0, 0, time.UTC)
		t := begin.Add(time.Duration(r.Int64N(int64(h.clock().Sub(begin)) + 1)))
		if r.IntN(2) == 0 {
			t = t.Truncate(time.Hour)
		}
		return t
	}
	some(3, func() { q.Since = at() })
	some(4, func() { q.Before = at() })
	some(6, func() { q.Kind = pick(r, isogate.KindEgress, isogate.KindConsent, isogate.KindAdmin) })
	some(8, func() { q.Source = pick[isogate.Source](r, "product/help-center", "app/crm", "nobody") })
	some(8, func() { q.App = "triage-bot" })
	some(8, func() { q.Purpose = pick(r, "support", "app") })
	some(8, func() { q.Transit = "invoice" })
	some(6, func() {
		q.Destination = pick[isogate.Destination](r, "books", "crm", "api.example", "x3.evil.example", "x7.evil.example")
	})
	some(6, func() { q.Decision = pick(r, "released", "refused") })
	some(5, func() {
		if q.Consent = "01ARZ3NDEKTSV4RRFFQ69G5FAV"; len(h.grants) > 0 {
			q.Consent = h.grants[r.IntN(len(h.grants))]
		}
	})
	some(8, func() { q.Pack = "sha256:bb" })
	some(12, func() { q.Acts = []string{"granted", "pack loaded"} })
	some(5, func() {
		q.Label = pick[isogate.LabelPattern](r, "personal.**", "personal.*.email", "personal.name", "unclassified", "opaque", "system.metadata", "**")
	})
	some(8, func() { q.Path = pick(r, pathsOf...) })
	some(6, func() { q.Actions = []isogate.Action{isogate.Allow, isogate.Token}[:1+r.IntN(2)] })
	some(8, func() { q.Handling = "persisted" })
	some(8, func() { q.Rule = rulesOf[1+r.IntN(3)] })
	some(8, func() { q.Open = true })
	some(5, func() {
		q.Text = pick(r, "EMAIL", "triage", "b.yaml", "evil", "post", "ada", "books", "no such", "session", "load")
	})
	return q
}

var bys = []By{ByHour, ByDay, ByKind, BySource, ByPurpose, ByTransit, ByDestination, ByRemote, ByDecision, ByConsent, ByPack, ByMethod, ByActor, ByAct,
	ByFamily, ByBranch, ByLabel, ByPath, ByAction, ByHandling, ByRule}
