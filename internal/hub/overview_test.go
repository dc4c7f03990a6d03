package hub

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/access"
	"github.com/isogate/isogate/internal/trail"
)

// over puts an office's Hub in front of a record and a gateway.
func over(o *office, r *record, g Running) {
	o.hub.trail, o.hub.running = r.trail, g
}

// TestOverviewCounts: what it says is what the journal has, figure by figure, and a
// refused request's values have not left in any form.
func TestOverviewCounts(t *testing.T) {
	now := time.Now()
	o, r := newOffice(t), newRecord(t)
	over(o, r, newStation(now))
	for i := range 5 {
		e := released("product/help-center", "support-portal", email, ticketTitle, isogate.Field{Path: "x", Label: "unclassified", Action: isogate.Drop, N: 2})
		if id := r.add(e); i < 3 {
			status := 200 + 302*(i/2) // the third fails with 502
			if err := r.journal.AppendClosing(isogate.Closing{Of: id, Status: status, DurationUS: 1500}); err != nil {
				t.Fatal(err)
			}
		}
	}
	no := refused("product/help-center", 422, "broken")
	no.Destination, no.Purpose, no.Fields = "support-portal", "support", []isogate.Field{email}
	r.add(no)
	r.settled()
	for _, span := range []string{"", "?span=day", "?span=month"} {
		v := into[Overview](o.call("ada", "GET", "/overview"+span, "").want(200))
		l := v.Left
		if l == nil || l.Released != 5 || l.Refused != 1 || l.Failed != 1 || l.Unended != 2 {
			t.Fatalf("%s: %+v", span, l)
		}
		if want := (Forms{Withheld: 10, Replaced: 15, Plain: 5}); l.Forms != want || l.Forms.Obfuscated() != 25 {
			t.Errorf("%s: forms %+v, want %+v", span, l.Forms, want)
		}
		if len(l.Families) != 3 || l.Families[0].Name != "ugc" || l.Families[0].Forms.Replaced != 15 {
			t.Errorf("%s: families %+v", span, l.Families)
		}
		if len(l.Destinations) != 1 || l.Destinations[0].Refused != 1 || l.Destinations[0].Released != 5 || l.Destinations[0].Forms != l.Forms {
			t.Errorf("%s: destinations %+v", span, l.Destinations)
		}
		if len(l.Unlabelled) != 1 || l.Unlabelled[0].Path != "x" || l.Unlabelled[0].Values != 10 {
			t.Errorf("%s: without a label %+v", span, l.Unlabelled)
		}
		var sum uint64
		for _, s := range l.Times {
			sum += s.Released + s.Refused
		}
		if want := map[string]int{"": 7, "?span=day": 24, "?span=month": 30}[span]; len(l.Times) != want || sum != 6 {
			t.Errorf("%s: %d slots with %d requests", span, len(l.Times), sum)
		}
		if len(v.Ending) != 2 || !v.Ending[0].Over || v.Ending[1].Over {
			t.Errorf("%s: ending %+v", span, v.Ending)
		}
	}
	o.call("ada", "GET", "/overview?span=year", "").want(400, "day, week and month")
	h := into[Health](o.call("ada", "GET", "/health", "").want(200))
	if len(h.Destinations) != 1 || h.Destinations[0].Failed != 1 || h.Destinations[0].MeanMS != 1.5 || !h.Ready || len(h.Certificates) != 2 {
		t.Errorf("health %+v", h)
	}
}

// TestOverviewLinksFind: each figure leads to the entries that it counts.
func TestOverviewLinksFind(t *testing.T) {
	r := newRecord(t)
	r.add(released("product/help-center", "support-portal", email, ticketTitle, isogate.Field{Path: "a", Label: "ugc.body", Action: isogate.Seal, N: 1},
		isogate.Field{Path: "b", Label: "personal.date.birth", Action: isogate.Generalise, N: 1}, isogate.Field{Path: "c", Label: "security.secret.key", Action: isogate.Drop, N: 1}))
	r.add(refused("product/help-center", 422, "broken"))
	r.settled()
	s := r.sit(as(access.Auditor), nil)
	_, body := look(t, s, "/")
	for _, to := range read(t, "/", body).links {
		if strings.HasPrefix(to, "/explore") {
			resp, page := look(t, s, to)
			if resp.StatusCode != 200 || strings.Contains(mainOf(page), `aria-invalid="true"`) {
				t.Errorf("%s: %d %s", to, resp.StatusCode, mainOf(page))
			}
			if !strings.Contains(to, "purpose") && rowsOf(page) == 0 {
				t.Errorf("%s finds nothing", to)
			}
		}
	}
}

// TestOverviewWithoutCounts: while the trail is being made the page says so, and what else it knows.
func TestOverviewWithoutCounts(t *testing.T) {
	s := rich(t, as(access.Viewer), func(c *Config) { c.Trail = behind{c.Trail} })
	for _, path := range []string{"/", "/health"} {
		resp, body := look(t, s, path)
		if resp.StatusCode != 200 || strings.Contains(body, "All is well") {
			t.Errorf("GET %s: %d %s", path, resp.StatusCode, mainOf(body))
		}
		read(t, path, body).wellMade()
		if path == "/" && (!strings.Contains(body, "not counted yet") || !strings.Contains(body, "app/bot0")) {
			t.Errorf("GET /: %s", mainOf(body))
		}
	}
}

// behind is a trail that is being made.
type behind struct{ Trail }

func (b behind) Standing() trail.Standing {
	return trail.Standing{Next: 5, Of: 50, Rebuilding: true}
}
func (b behind) List(context.Context, trail.Query, trail.Paging) (trail.Page, error) {
	return trail.Page{}, trail.ErrBehind
}
func (b behind) Count(context.Context, trail.Query) (trail.Count, error) {
	return trail.Count{}, trail.ErrBehind
}
func (b behind) Tally(context.Context, trail.Query, ...trail.By) ([]trail.Group, error) {
	return nil, trail.ErrBehind
}

// TestAllIsWellOnlyIfItIs: each thing that may be wrong is said, and nothing is said of
// what is as it should be.
func TestAllIsWellOnlyIfItIs(t *testing.T) {
	now := time.Now()
	well := func() (*station, *fakeCustody, trail.Standing) {
		g := newStation(now)
		g.certs = g.certs[1:]
		return g, &fakeCustody{landings: []Landing{{Destination: "billing", Valid: true}}}, trail.Standing{Next: 5, Of: 5, At: now}
	}
	for _, c := range []struct {
		name   string
		change func(g *station, c *fakeCustody, st *trail.Standing)
		grave  bool
		say    string
	}{
		{"well", func(*station, *fakeCustody, *trail.Standing) {}, false, ""},
		{"not ready", func(g *station, _ *fakeCustody, _ *trail.Standing) { g.ready = errors.New("disk full") }, true, "disk full"},
		{"keys", func(g *station, _ *fakeCustody, _ *trail.Standing) { g.keys.Trouble = "withdrawn" }, true, "withdrawn"},
		{"stale keys", func(g *station, _ *fakeCustody, _ *trail.Standing) { g.keys.Stale = true }, false, "SIGHUP"},
		{"ended certificate", func(g *station, _ *fakeCustody, _ *trail.Standing) { g.certs[0].NotAfter = now }, true, "ended on"},
		{"certificate ends", func(g *station, _ *fakeCustody, _ *trail.Standing) { g.certs[0].NotAfter = now.AddDate(0, 0, 29) }, false, "ends on"},
		{"missing", func(_ *station, _ *fakeCustody, st *trail.Standing) { st.Missing = 1 }, true, "journal verify"},
		{"unreadable", func(_ *station, _ *fakeCustody, st *trail.Standing) { st.Unreadable = 1 }, true, "journal verify"},
		{"behind", func(_ *station, _ *fakeCustody, st *trail.Standing) { st.Next, st.Behind = 1, now.Add(-2*time.Minute) }, false, "lack the newest 4"},
		{"rebuilding", func(_ *station, _ *fakeCustody, st *trail.Standing) { st.Rebuilding = true }, false, "made anew"},
		{"fault", func(_ *station, _ *fakeCustody, st *trail.Standing) { st.Fault = errors.New("x") }, false, "could not be read"},
		{"overdue", func(_ *station, c *fakeCustody, _ *trail.Standing) { c.landings[0].KeysOverdue = 1 }, true, "1 seal key was destroyed"},
		{"broken", func(_ *station, c *fakeCustody, _ *trail.Standing) { c.landings[0].Broken = "forked" }, true, "forked"},
		{"no statement", func(_ *station, c *fakeCustody, _ *trail.Standing) { c.landings[0].Valid = false }, false, "nothing can be sealed"},
	} {
		g, cu, st := well()
		c.change(g, cu, &st)
		h := &Hub{running: g, custody: cu, trail: stands{at: st}}
		got, err := h.notices(t.Context(), now)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case c.say == "" && len(got) != 0, c.say != "" && len(got) != 1:
			t.Errorf("%s: %+v", c.name, got)
		case c.say != "" && (got[0].Grave != c.grave || !strings.Contains(got[0].What, c.say) || got[0].Path == ""):
			t.Errorf("%s: %+v", c.name, got[0])
		}
	}
}

// stands is a trail of no entries that stands somewhere.
type stands struct {
	Trail
	at trail.Standing
}

func (s stands) Standing() trail.Standing { return s.at }
func (s stands) List(context.Context, trail.Query, trail.Paging) (trail.Page, error) {
	return trail.Page{}, nil
}

// TestGatewaysThatDisagreeAreSeen: the newest word of each gateway counts, one that has
// stopped does not, and two packs in use are a grave matter.
//
// promise: P10
func TestGatewaysThatDisagreeAreSeen(t *testing.T) {
	r := newRecord(t)
	say := func(gateway, act, pack string) {
		r.add(isogate.Entry{Kind: isogate.KindPack, Act: act, Pack: pack, Detail: map[string]string{"gateway": gateway, "name": "acme", "version": "1"}})
	}
	h := &Hub{trail: r.trail, running: newStation(time.Now())}
	noticed := func() (found bool) {
		r.settled()
		var all []Notice
		if err := h.noticeGateways(t.Context(), func(grave bool, path, format string, _ ...any) { all = append(all, Notice{grave, format, path}) }); err != nil {
			t.Fatal(err)
		}
		return len(all) == 1 && all[0].Grave
	}
	say("gate-1", packLoaded, "sha256:01")
	say("gate-2", packLoaded, "sha256:01")
	if noticed() {
		t.Error("two that agree")
	}
	say("gate-1", packLoaded, "sha256:02")
	if !noticed() {
		t.Error("gate-2 still judges by the older pack, and nobody says so")
	}
	say("gate-2", packRefused, "sha256:01")
	if !noticed() {
		t.Error("gate-2 refused the new pack, and nobody says so")
	}
	say("gate-2", gatewayStopped, "sha256:01")
	if noticed() {
		t.Error("gate-2 has stopped")
	}
	all, err := h.gateways(t.Context())
	if err != nil || len(all) != 2 || !all[0].Here || all[0].Name != "gate-1" || !all[1].Stopped {
		t.Errorf("%+v, %v", all, err)
	}
}
