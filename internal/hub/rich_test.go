package hub

import (
	"context"
	"fmt"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/access"
	"github.com/isogate/isogate/internal/consent"
	"github.com/isogate/isogate/internal/remote"
)

// evil is text that others write: it must stay text, on one line, left to right.
const evil = `<script>alert(1)</script>"' onx=1><img src=x onerror=alert(1)>` + "\u202emoc.elpmaxe\u2066 {{.}} javascript:alert(1)"

// busy is a record of some weeks, to which a hostile source, transit, field and pack belong.
func busy(t *testing.T, now time.Time) *record {
	t.Helper()
	var at atomic.Int64
	r := newRecordAt(t, func() time.Time { return time.UnixMilli(at.Load()) })
	add := func(when time.Time, e isogate.Entry) isogate.EntryID {
		at.Store(when.UnixMilli())
		return r.add(e)
	}
	digest := "sha256:" + strings.Repeat("5e", 32)
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
	ready error
	keys  KeyStanding
	certs []Certificate
	ends  []Ending
	now   time.Time
}

func (s *station) Ready() error { return s.ready }
func (s *station) Pack() PackStanding {
	return PackStanding{Name: "acme" + evil, Version: 12, Digest: "sha256:" + strings.Repeat("5e", 32), Since: s.now.Add(-50 * time.Hour)}
}
func (s *station) Ends(time.Time) []Ending     { return s.ends }
func (s *station) Keys() KeyStanding           { return s.keys }
func (s *station) Certificates() []Certificate { return s.certs }
func (s *station) Gateway() string             { return "gate-1" }
func (s *station) Checkpoint(context.Context) (CheckpointStanding, error) {
	return CheckpointStanding{Origin: "isogate/acme", Size: 603, Root: strings.Repeat("ab", 32)}, nil
}

func newStation(now time.Time) *station {
	return &station{now: now, keys: KeyStanding{Primary: "1a2b3c4d", Older: []string{"0badcafe"}, Wrapped: true, Verifier: "isogate/acme+12345678+AAAA"},
		certs: []Certificate{{"hub.tls", "hub.acme.example" + evil, now.AddDate(0, 0, 12)}, {"gateway.transits.tls", "gate.acme.example", now.AddDate(0, 7, 0)}},
		ends: []Ending{{What: "rule", Transit: "support-session", Label: "personal.name.display", As: "allow", Owner: "team-support" + evil, Rule: "transits/support.yaml:12", At: now.AddDate(0, 0, -2)},
			{What: "tunnel", Transit: "bot", Owner: "team-apps", Rule: "transits/bot.yaml:3", At: now.AddDate(0, 0, 9)}}}
}

// rich is a Hub that has much to show, of which a good deal was written by somebody evil.
func rich(t *testing.T, who *access.Visitor, change func(*Config)) *httptest.Server {
	t.Helper()
	o := newOffice(t)
	now := time.Now()
	for i, name := range []string{"Triage <b>\"onx=1", "Notes"} {
		o.call("ada", "POST", "/apps", strings.Replace(strings.Replace(manifest("x", fmt.Sprintf("api%d.bot.example", i)), `app: bot`, fmt.Sprintf("app: bot%d", i), 1), "name: x", fmt.Sprintf("name: %q", consent.Shown(name)), 1)).want(200)
	}
	c := o.asked("files.bot.example")
	o.grant("ada", c, fmt.Sprintf(`,"until":%q`, now.AddDate(0, 0, 20).UTC().Format(time.RFC3339))).want(200)
	r := busy(t, now)
	landings := fakeCustody{landings: []Landing{{Destination: "support-portal", Landing: "support+1234", Valid: true, NotAfter: instant(now.Add(time.Minute)), Receipt: 41, ReceiptAt: instant(now.Add(-time.Minute)), ReceiptEntry: "01ARZ3NDEKTSV4RRFFQ69G5004", KeysOut: 3, KeysOverdue: 2, ErasuresOpen: 1},
		{Destination: "billing", Trouble: evil}}}
	return sitting(t, who, func(cfg *Config) {
		cfg.Desk = newDesk(t, o.journal)
		cfg.Tenant, cfg.Ledger, cfg.Trail, cfg.Journal, cfg.Running, cfg.Custody = "acme", o.ledger, r.trail, r.journal, newStation(now), landings
		cfg.Describe = func(consent.Party, remote.Row) consent.Egress { return consent.Egress{} }
		if change != nil {
			change(cfg)
		}
	})
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
