package hub

import (
	"context"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/access"
	"github.com/isogate/isogate/internal/consent"
	"github.com/isogate/isogate/internal/remote"
	"github.com/isogate/isogate/internal/trail"
)

// hostile is text that others write: it must stay text, on one line, left to right.
const hostile = `<script>alert(1)</script>"' onx=1><img src=x onerror=alert(1)>` + "\u202emoc.elpmaxe\u2066 {{.}} javascript:alert(1)"

// counted is a trail over entries in memory.
type counted struct {
	rows     []trail.Row
	standing trail.Standing
	fails    error
}

func (c *counted) selected(q trail.Query) (out []trail.Row) {
	for _, r := range c.rows {
		e := r.Entry
		if e.Time.Before(q.Since) || q.Kind != "" && e.Kind != q.Kind || q.Decision != "" && e.Decision != q.Decision {
			continue
		}
		if q.Label != "" && !slices.ContainsFunc(e.Fields, func(f isogate.Field) bool { return f.Label == isogate.Label(q.Label) }) {
			continue
		}
		out = append(out, r)
	}
	return out
}

func (c *counted) List(_ context.Context, q trail.Query, p trail.Paging) (trail.Page, error) {
	rows := c.selected(q)
	slices.Reverse(rows)
	if p.Limit > 0 && len(rows) > p.Limit {
		rows = rows[:p.Limit]
	}
	return trail.Page{Rows: rows}, c.fails
}

func (c *counted) Get(_ context.Context, id isogate.EntryID) (trail.Row, error) {
	for _, r := range c.rows {
		if r.Entry.ID == id {
			return r, nil
		}
	}
	return trail.Row{}, fmt.Errorf("no such entry")
}

func (c *counted) Count(ctx context.Context, q trail.Query) (trail.Count, error) {
	groups, err := c.Tally(ctx, q)
	if err != nil || len(groups) == 0 {
		return trail.Count{}, err
	}
	return groups[0].Count, nil
}

func (c *counted) Tally(_ context.Context, q trail.Query, by ...trail.By) ([]trail.Group, error) {
	found := map[string]*trail.Group{}
	for _, r := range c.selected(q) {
		e := r.Entry
		counted := map[string]bool{}
		add := func(f *isogate.Field) {
			var key []string
			for _, b := range by {
				key = append(key, keyOf(e, f, b))
			}
			id := strings.Join(key, "\x00")
			g := found[id]
			if g == nil {
				g = &trail.Group{Key: key}
				found[id] = g
			}
			if f != nil {
				g.Values[f.Action] += uint64(f.N)
			}
			if counted[id] {
				return
			}
			counted[id] = true
			g.Rows++
			g.BytesOut += e.BytesOut
			g.Last = e.Time
			switch {
			case e.Decision == "refused":
				g.Refused++
			case e.Decision == "released":
				g.Released++
				if r.End == nil {
					g.Open++
				} else if g.Took += r.End.Took; r.End.Status >= 500 {
					g.Failed++
				}
			}
		}
		for i := range e.Fields {
			if q.Label == "" || e.Fields[i].Label == isogate.Label(q.Label) {
				add(&e.Fields[i])
			}
		}
		if len(e.Fields) == 0 {
			add(nil)
		}
	}
	var out []trail.Group
	for _, g := range found {
		out = append(out, *g)
	}
	slices.SortFunc(out, func(a, b trail.Group) int { return slices.Compare(a.Key, b.Key) })
	return out, c.fails
}

func keyOf(e isogate.Entry, f *isogate.Field, b trail.By) string {
	switch b {
	case trail.ByHour:
		return e.Time.UTC().Truncate(time.Hour).Format(time.RFC3339)
	case trail.ByDay:
		return e.Time.UTC().Format(time.DateOnly)
	case trail.ByPurpose:
		return e.Purpose
	case trail.ByTransit:
		return string(e.Transit)
	case trail.ByDestination:
		return string(e.Destination)
	case trail.ByDecision:
		return e.Decision
	case trail.ByPack:
		return e.Pack
	case trail.ByFamily:
		if f != nil {
			family, _, _ := strings.Cut(string(f.Label), ".")
			return family
		}
	case trail.ByPath:
		if f != nil {
			return f.Path
		}
	}
	return ""
}

func (c *counted) Facets(context.Context, trail.Query) (trail.Facets, error) {
	return trail.Facets{}, c.fails
}
func (c *counted) Usage(context.Context, trail.Query) (trail.Usage, error) {
	return trail.Usage{}, c.fails
}
func (c *counted) Standing() trail.Standing         { return c.standing }
func (c *counted) Watch() (uint64, <-chan struct{}) { return c.standing.Next, nil }

// add appends an entry.
func (c *counted) add(e isogate.Entry, end *trail.End) {
	e.Seq = uint64(len(c.rows))
	e.ID = isogate.EntryID(fmt.Sprintf("01ARZ3NDEKTSV4RRFFQ69G5%03d", len(c.rows)))
	c.rows = append(c.rows, trail.Row{Entry: e, End: end})
	c.standing = trail.Standing{Next: e.Seq + 1, Of: e.Seq + 1, At: e.Time}
}

// busy is a trail of some weeks, to which a hostile source, transit, field and pack belong.
func busy(now time.Time) *counted {
	c := &counted{}
	digest := "sha256:" + strings.Repeat("5e", 32)
	c.add(isogate.Entry{Time: now.AddDate(0, 0, -40), Kind: isogate.KindKey, Act: "keys created", Actor: "isogate serve", Detail: map[string]string{"primary": "1a2b3c4d"}}, nil)
	for i, name := range []string{"gate-1", "gate-2", "gate-0" + hostile} {
		c.add(isogate.Entry{Time: now.AddDate(0, 0, -3+i), Kind: isogate.KindPack, Act: packLoaded, Actor: "isogate serve", Pack: digest, Detail: map[string]string{"gateway": name, "name": "acme" + hostile, "version": "12"}}, nil)
	}
	c.add(isogate.Entry{Time: now.Add(-time.Hour), Kind: isogate.KindPack, Act: gatewayStopped, Actor: "isogate serve", Pack: digest, Detail: map[string]string{"gateway": "gate-2"}}, nil)
	ways := []struct {
		transit, purpose, to string
		labels               []isogate.Label
		actions              []isogate.Action
	}{
		{"support-session", "support", "support-portal", []isogate.Label{"personal.contact.email", "personal.name.display", "ugc.title"}, []isogate.Action{isogate.Allow, isogate.Seal, isogate.Token}},
		{"usage", "analytics", "warehouse", []isogate.Label{"usage.count", "identifier.user.account_id", "personal.location.city"}, []isogate.Action{isogate.Allow, isogate.Token, isogate.Generalise}},
		{"traces", "observability", "telemetry", []isogate.Label{"system.metadata", "unclassified", "security.secret.token"}, []isogate.Action{isogate.Allow, isogate.Hash, isogate.Drop}},
		{"bot" + hostile, "app", "api.bot.example" + hostile, []isogate.Label{"personal.contact.phone" + hostile, "unclassified"}, []isogate.Action{isogate.Mask, isogate.Redact}},
	}
	for i := range 600 {
		w := ways[i%7%len(ways)]
		at := now.Add(-time.Duration(600-i) * 67 * time.Minute)
		e := isogate.Entry{Time: at, Kind: isogate.KindEgress, Stage: isogate.StageOpened, Decision: "released", Source: isogate.Source("product/x" + hostile), Purpose: w.purpose, Transit: isogate.Transit(w.transit),
			Destination: isogate.Destination(w.to), Pack: digest, BytesOut: int64(900 + i)}
		for j, l := range w.labels {
			e.Fields = append(e.Fields, isogate.Field{Path: fmt.Sprintf("a[%d].%s", j, l), Label: l, Action: w.actions[j], N: uint32(1 + (i*7+j)%9)})
		}
		end := &trail.End{Status: 200, Took: time.Duration(3+i%40) * time.Millisecond}
		switch {
		case i%23 == 0:
			e.Decision, e.Stage, e.Reason, end = "refused", isogate.StageRefused, hostile, nil
		case i%57 == 0:
			end.Status = 502
		}
		c.add(e, end)
	}
	return c
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
	return PackStanding{Name: "acme" + hostile, Version: 12, Digest: "sha256:" + strings.Repeat("5e", 32), Since: s.now.Add(-50 * time.Hour)}
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
		certs: []Certificate{{"hub.tls", "hub.acme.example" + hostile, now.AddDate(0, 0, 12)}, {"gateway.transits.tls", "gate.acme.example", now.AddDate(0, 7, 0)}},
		ends: []Ending{{What: "rule", Transit: "support-session", Label: "personal.name.display", As: "allow", Owner: "team-support" + hostile, Rule: "transits/support.yaml:12", At: now.AddDate(0, 0, -2)},
			{What: "tunnel", Transit: "bot", Owner: "team-apps", Rule: "transits/bot.yaml:3", At: now.AddDate(0, 0, 9)}}}
}

// rich is a Hub that has much to show, of which a good deal was written by somebody hostile.
func rich(t *testing.T, who *access.Visitor, change func(*Config)) *httptest.Server {
	t.Helper()
	o := newOffice(t)
	now := time.Now()
	for i, name := range []string{"Triage <b>\"onx=1", "Notes"} {
		o.call("ada", "POST", "/apps", strings.Replace(strings.Replace(manifest("x", fmt.Sprintf("api%d.bot.example", i)), `app: bot`, fmt.Sprintf("app: bot%d", i), 1), "name: x", fmt.Sprintf("name: %q", consent.Shown(name)), 1)).want(200)
	}
	c := o.asked("files.bot.example")
	o.grant("ada", c, fmt.Sprintf(`,"until":%q`, now.AddDate(0, 0, 20).UTC().Format(time.RFC3339))).want(200)
	landings := fakeCustody{landings: []Landing{{Destination: "support-portal", Landing: "support+1234", Valid: true, NotAfter: instant(now.Add(time.Minute)), Receipt: 41, ReceiptAt: instant(now.Add(-time.Minute)), ReceiptEntry: "01ARZ3NDEKTSV4RRFFQ69G5004", KeysOut: 3, KeysOverdue: 2, ErasuresOpen: 1},
		{Destination: "billing", Trouble: hostile}}}
	return sitting(t, who, func(cfg *Config) {
		cfg.Desk = newDesk(t, o.journal)
		cfg.Tenant, cfg.Ledger, cfg.Trail, cfg.Running, cfg.Custody = "acme", o.ledger, busy(now), newStation(now), landings
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
	return []Erasure{{ID: "01ARZ3NDEKTSV4RRFFQ69G5010", Destination: "support-portal", State: "overdue", By: "ada", Reason: hostile, At: time.Now().Add(-50 * time.Hour), Labels: []isogate.Label{"personal.contact.email"}}}
}

func (f fakeCustody) Subjects(context.Context, SubjectQuery) (SubjectList, error) {
	return SubjectList{Subjects: []Subject{{Destination: "support-portal", Label: "personal.contact.email", Value: "ada@example.com" + hostile, Subject: hostile, Because: hostile, Rule: "transits/support.yaml:12", Token: "igt1", Since: time.Now(), Last: time.Now()}}}, nil
}
