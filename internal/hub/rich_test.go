package hub

import (
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/access"
	"github.com/isogate/isogate/internal/archive"
	"github.com/isogate/isogate/internal/change"
	"github.com/isogate/isogate/internal/consent"
	"github.com/isogate/isogate/internal/policy"
	"github.com/isogate/isogate/internal/remote"
)

// evil is text that others write: it must stay text, on one line, left to right.
const evil = `<script>alert(1)</script>"' onx=1><img src=x onerror=alert(1)>` + "\u202emoc.elpmaxe\u2066 {{.}} javascript:alert(1)"

// busy is a record of some weeks, to which a hostile source, transit, field and pack belong.
func busy(t *testing.T, now time.Time, digest string) *record {
	t.Helper()
	var at atomic.Int64
	r := newRecordAt(t, func() time.Time { return time.UnixMilli(at.Load()) })
	add := func(when time.Time, e isogate.Entry) isogate.EntryID {
		at.Store(when.UnixMilli())
		return r.add(e)
	}
	add(now.AddDate(0, 0, -40), isogate.Entry{Kind: isogate.KindKey, Act: "keys created", Actor: "isogate serve", Detail: map[string]string{"primary": "1a2b3c4d"}})
	for i, name := range []string{"gate-1", "gate-2", "gate-0" + evil} {
		add(now.AddDate(0, 0, -35+i), isogate.Entry{Kind: isogate.KindPack, Act: packLoaded, Actor: "isogate serve", Pack: digest, Detail: map[string]string{"gateway": name, "name": "acme" + evil, "version": "12"}})
	}
	ways := []struct {
		transit, purpose, to string
		labels               []isogate.Label
		actions              []isogate.Action
	}{
		{"support-session", "support", "support-portal", []isogate.Label{"personal.contact.email", "personal.name.display", "ugc.title"}, []isogate.Action{isogate.Allow, isogate.Seal, isogate.Token}},
		{"usage", "analytics", "warehouse", []isogate.Label{"usage.count", "identifier.user.account_id", "personal.location.city"}, []isogate.Action{isogate.Allow, isogate.Token, isogate.Generalise}},
		{"traces", "observability", "telemetry", []isogate.Label{"system.metadata", "unclassified", "security.secret.token"}, []isogate.Action{isogate.Allow, isogate.Hash, isogate.Drop}},
		{"bot" + evil, "app", "api.bot.example" + evil, []isogate.Label{"personal.contact.phone" + evil, "unclassified"}, []isogate.Action{isogate.Mask, isogate.Redact}},
	}
	const n = 600
	for i := range n {
		w := ways[i%7%len(ways)]
		e := isogate.Entry{Kind: isogate.KindEgress, Stage: isogate.StageOpened, Decision: "released", Source: "product/x" + evil, Purpose: w.purpose, Transit: isogate.Transit(w.transit),
			Destination: isogate.Destination(w.to), Pack: digest, Method: "POST", BytesOut: int64(900 + i)}
		for j, l := range w.labels {
			e.Fields = append(e.Fields, isogate.Field{Path: fmt.Sprintf("a[%d].%s", j, l), Label: l, Action: w.actions[j], N: uint32(1 + (i*7+j)%9)})
		}
		when := now.Add(-time.Duration(n-i) * 67 * time.Minute)
		if i%23 == 0 {
			e.Decision, e.Stage, e.Reason = "refused", isogate.StageRefused, evil
			add(when, e)
			continue
		}
		id := add(when, e)
		status := 200
		if i%19 == 0 {
			status = 502
		}
		if i != n-1 { // the last goes on
			if err := r.journal.AppendClosing(isogate.Closing{Of: id, Status: status, DurationUS: int64(3000 + i%40*1000)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	add(now.Add(-time.Minute), isogate.Entry{Kind: isogate.KindPack, Act: gatewayStopped, Actor: "isogate serve", Pack: digest, Detail: map[string]string{"gateway": "gate-2"}})
	at.Store(now.UnixMilli())
	r.settled()
	return r
}

// station is a gateway as it runs.
type station struct {
	pack  string // digest
	ready error
	keys  KeyStanding
	certs []Certificate
	ends  []Ending
	now   time.Time
}

func (s *station) Ready() error { return s.ready }
func (s *station) Pack() PackStanding {
	return PackStanding{Name: "acme" + evil, Version: 12, Digest: s.pack, Since: s.now.Add(-50 * time.Hour)}
}
func (s *station) Ends(time.Time) []Ending     { return s.ends }
func (s *station) Keys() KeyStanding           { return s.keys }
func (s *station) Certificates() []Certificate { return s.certs }
func (s *station) Gateway() string             { return "gate-1" }
func (s *station) Checkpoint(context.Context) (CheckpointStanding, error) {
	return CheckpointStanding{Origin: "isogate/acme", Size: 603, Root: strings.Repeat("ab", 32)}, nil
}

func newStation(now time.Time) *station {
	return &station{pack: "sha256:" + strings.Repeat("5e", 32), now: now, keys: KeyStanding{Primary: "1a2b3c4d", Older: []string{"0badcafe"}, Wrapped: true, Verifier: "isogate/acme+12345678+AAAA"},
		certs: []Certificate{{"hub.tls", "hub.acme.example" + evil, now.AddDate(0, 0, 12)}, {"gateway.transits.tls", "gate.acme.example", now.AddDate(0, 7, 0)}},
		ends: []Ending{{What: "rule", Transit: "support-session", Label: "personal.name.display", As: "allow", Owner: "team-support" + evil, Rule: "transits/support.yaml:12", At: now.AddDate(0, 0, -2)},
			{What: "tunnel", Transit: "bot", Owner: "team-apps", Rule: "transits/bot.yaml:3", At: now.AddDate(0, 0, 9)}}}
}

// rich is a Hub that has much to show, of which a good deal was written by somebody evil.
func rich(t *testing.T, who *access.Visitor, change func(*Config)) *httptest.Server {
	t.Helper()
	return served(t, richHub(t, who, change))
}

func richHub(t *testing.T, who *access.Visitor, change func(*Config)) *Hub {
	t.Helper()
	o := newOffice(t)
	now := time.Now()
	for i, name := range []string{"Triage <b>\"onx=1", "Notes"} {
		o.call("ada", "POST", "/apps", strings.Replace(strings.Replace(manifest("x", fmt.Sprintf("api%d.bot.example", i)), `app: bot`, fmt.Sprintf("app: bot%d", i), 1), "name: x", fmt.Sprintf("name: %q", consent.Shown(name)), 1)).want(200)
	}
	c := o.asked("files.bot.example")
	o.grant("ada", c, fmt.Sprintf(`,"until":%q`, now.AddDate(0, 0, 20).UTC().Format(time.RFC3339))).want(200)
	pack, kept, book := richPolicy(t, o.journal)
	r, g := busy(t, now, pack.Plan().Digest), newStation(now)
	g.pack = pack.Plan().Digest
	landings := fakeCustody{landings: []Landing{{Destination: "support-portal", Landing: "support+1234", Valid: true, NotAfter: instant(now.Add(time.Minute)), Receipt: 41, ReceiptAt: instant(now.Add(-time.Minute)), ReceiptEntry: "01ARZ3NDEKTSV4RRFFQ69G5004", KeysOut: 3, KeysOverdue: 2, ErasuresOpen: 1},
		{Destination: "billing", Trouble: evil}}}
	return hubFor(t, who, func(cfg *Config) {
		cfg.Desk = newDesk(t, o.journal)
		cfg.Tenant, cfg.Ledger, cfg.Trail, cfg.Journal, cfg.Running, cfg.Custody = "acme", o.ledger, r.trail, r.journal, g, landings
		cfg.Packs, cfg.Policies = kept, Policies{InForce: func() *policy.Pack { return pack }, Archive: kept, Changes: book, Approvals: 1}
		cfg.Describe = func(consent.Party, remote.Row) consent.Egress { return consent.Egress{} }
		if change != nil {
			change(cfg)
		}
	})
}

// richPolicy is the reference pack in force, another of which somebody hostile wrote the
// texts and which waits, and what is known of both.
func richPolicy(t *testing.T, j *memory) (*policy.Pack, *archive.Archive, *change.Book) {
	t.Helper()
	a, err := archive.New(filepath.Join(t.TempDir(), "packs"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../../packs/reference")); err != nil {
		t.Fatal(err)
	}
	var digests []string
	for i := range 2 {
		files, err := policy.ReadFiles(dir)
		if err == nil {
			var digest string
			digest, err = a.Put(files)
			digests = append(digests, digest)
		}
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			text := fmt.Sprintf("pack: acme\nversion: 99\ndescription: %q\n", consent.Shown(evil))
			if err := os.WriteFile(filepath.Join(dir, "pack.yaml"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	pack, err := a.Open(digests[0])
	if err != nil {
		t.Fatal(err)
	}
	book := change.New(changesIn{j})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- book.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	if _, err := book.Do(t.Context(), change.Act{What: change.Proposed, Pack: digests[1], Name: "acme", Version: 99, Against: digests[0], Effect: "no change", Reason: consent.Shown(evil), Actor: change.Actor{Name: "olga", SignedIn: "passkey"}}); err != nil {
		t.Fatal(err)
	}
	return pack, a, book
}

// changesIn is the journal as changes of policy see it: its pack entries.
type changesIn struct{ *memory }

func (j changesIn) Follow(ctx context.Context, from uint64, every time.Duration, f func(change.Batch) error) error {
	return j.memory.follow(ctx, isogate.KindPack, from, every, func(b consent.Batch) error { return f(change.Batch(b)) })
}

// fakeCustody knows where landings stand.
type fakeCustody struct {
	Custody
	landings []Landing
}

func (f fakeCustody) Landings() []Landing { return f.landings }
func (f fakeCustody) Erasures() []Erasure {
	return []Erasure{{ID: "01ARZ3NDEKTSV4RRFFQ69G5010", Destination: "support-portal", State: "overdue", By: "ada", Reason: evil, At: time.Now().Add(-50 * time.Hour), Labels: []isogate.Label{"personal.contact.email"}}}
}

func (f fakeCustody) Subjects(context.Context, SubjectQuery) (SubjectList, error) {
	return SubjectList{Subjects: []Subject{{Destination: "support-portal", Label: "personal.contact.email", Value: "ada@example.com" + evil, Subject: evil, Because: evil, Rule: "transits/support.yaml:12", Token: "igt1", Since: time.Now(), Last: time.Now()}}}, nil
}
