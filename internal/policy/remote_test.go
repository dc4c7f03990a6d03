package policy

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/remote"
)

// apps is the pack of apps that most tests of remotes begin with.
func apps(t testing.TB) files { return archive(t, "apps.txtar") }

func TestAppsAreGood(t *testing.T) {
	if got := apps(t).mistakes(t); got != "" {
		t.Fatal(got)
	}
	report, err := apps(t).load(t).Test(instantOfTests)
	if err != nil || len(report.Cases) < 12 {
		t.Fatalf("%d cases, %v", len(report.Cases), err)
	}
	for _, c := range report.Cases {
		for _, f := range c.Failures {
			t.Errorf("%s: %s", c.Name, f)
		}
	}
}

func TestParseRemote(t *testing.T) {
	for s, want := range map[string]RemoteHost{
		"api.example.com":            {"api.example.com", 443},
		"api.example.com:8443":       {"api.example.com", 8443},
		"api.example.com:1":          {"api.example.com", 1},
		"*.example.com":              {"*.example.com", 443},
		"*.a.example.com:65535":      {"*.a.example.com", 65535},
		"xn--bcher-kva.example":      {"xn--bcher-kva.example", 443},
		"*.xn--bcher-kva.example:99": {"*.xn--bcher-kva.example", 99},
	} {
		got, err := parseRemote(s)
		if err != nil || got != want {
			t.Errorf("%q: %+v, %v; want %+v", s, got, err, want)
		}
		if again, err := parseRemote(got.String()); err != nil || again != got {
			t.Errorf("%q does not read what it writes: %+v, %v", got, again, err)
		}
	}
	for s, want := range map[string]string{
		"https://api.example.com": "more than a host", "api.example.com/v1": "more than a host", "api.example.com?x": "more than a host", "api.example.com#x": "more than a host", "//api.example.com": "more than a host",
		"*": "nobody can consent", "*:443": "nobody can consent", "*.com": "one label only", "localhost": "one label only", "*.": "is not understood", "**.example.com": "not its whole first label",
		"a*.example.com": "not its whole first label", "*a.example.com": "not its whole first label", "*.*.example.com": "not its whole first label", "a.*.example.com": "not its whole first label", "api.*": "not its whole first label",
		"192.0.2.7": "is an address", "192.0.2.7:443": "is an address", "2001:db8::1": "is an address", "[2001:db8::1]:443": "is an address", "::1": "is an address", "*.192.0.2.7": "is an address",
		"0x7f.1": "ends in a number", "2130706433": "ends in a number", "api.example.com.": "leave it out", ".example.com": "leave it out", "*..example.com": "leave it out",
		"API.example.com": "write api.example.com", "*.Example.com": "write example.com", "bücher.example": "write xn--bcher-kva.example", "user@api.example.com": "user information", "a b.example": "has the character",
		"a_b.example": "has the character", "api%2e.example": "escape", "api.example.com:": "no plain port", "api.example.com:0": "no plain port", "api.example.com:0443": "no plain port", "api.example.com:+443": "no plain port",
		"api.example.com:65536": "no plain port", "api.example.com:https": "no plain port", "api.example.com:443:1": "is an address", `api\.example.com`: "has the character", ":443": "is empty", "": "is empty",
	} {
		if got, err := parseRemote(s); err == nil || !strings.Contains(err.Error(), want) || got != (RemoteHost{}) {
			t.Errorf("%q: %+v, %v; want an error with %q", s, got, err, want)
		}
	}
}

func TestRemote(t *testing.T) {
	plan := apps(t).load(t).Plan()
	for _, c := range []struct {
		src  isogate.Source
		host string
		port uint16
		want isogate.Destination
	}{
		{"app/triage", "api.triage.example", 443, "triage-api"},
		{"app/notes", "api.triage.example", 443, "notes-api"}, // a destination of its own for the same host
		{"app/triage", "api.triage.example", 8443, "triage-alt"},
		{"app/triage", "api.triage.example", 8444, ""},
		{"app/triage", "cdn.triage.example", 443, "triage-any"},
		{"app/triage", "cdn.triage.example", 8443, ""},
		{"app/triage", "a.b.c.triage.example", 443, "triage-any"},
		{"app/triage", "x.eu.triage.example", 443, "triage-eu"},
		{"app/triage", "y.x.eu.triage.example", 443, "triage-eu"},
		{"app/triage", "eu.triage.example", 443, "triage-any"},
		{"app/triage", "x.api.triage.example", 443, "triage-any"},
		{"app/triage", "triage.example", 443, ""},
		{"app/triage", "eviltriage.example", 443, ""},
		{"app/triage", "triage.example.evil.example", 443, ""},
		{"app/triage", ".triage.example", 443, ""},
		{"app/triage", "*.triage.example", 443, ""},
		{"app/triage", "a*.triage.example", 443, ""},
		{"app/triage", "", 443, ""},
		{"app/triage", "up.files.example", 443, ""},
		{"app/notes", "cdn.triage.example", 443, ""},
		{"app/files", "up.files.example", 443, "files"},
		{"app/nobody", "api.triage.example", 443, ""},
		{"product/help-center", "support.example", 443, ""}, // ours is never a remote
		{"product/help-center", "api.triage.example", 443, ""},
	} {
		d, ok := plan.Remote(c.src, c.host, c.port)
		if ok != (c.want != "") || ok && d.Name != c.want || !ok && d != nil {
			t.Errorf("%s to %q:%d: %+v, want %q", c.src, c.host, c.port, d, c.want)
		}
	}
	d, _ := plan.Remote("app/triage", "a.b.triage.example", 443)
	if d.URL != nil || *d.Remote != (RemoteHost{"*.triage.example", 443}) || !d.Remote.Wildcard() {
		t.Errorf("%+v", d)
	}
	if n := testing.AllocsPerRun(100, func() { plan.Remote("app/triage", "a.b.c.triage.example", 443) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	// The whole of an app's API is two patterns to each method.
	for _, path := range []string{"/", "/a", "/a/b%20c"} {
		tr, _, err := plan.Match("app/triage", "triage-any", "POST", path)
		if err != nil || tr.Name != "triage-other" || tr.Mode != Inspect {
			t.Errorf("%s: %v %v", path, tr, err)
		}
	}
}

// TestMostSpecificRemote compares the look-up with looking at every remote: the
// most specific that contains the host is found, whatever others there are.
func TestMostSpecificRemote(t *testing.T) {
	w := rand.New(rand.NewPCG(7, 1))
	label := func() string { return []string{"a", "b", "c"}[w.IntN(3)] }
	host := func(most int) string {
		h := "example"
		for range 1 + w.IntN(most) {
			h = label() + "." + h
		}
		return h
	}
	for range 2000 {
		m := &remotes{exact: map[RemoteHost]*Destination{}, below: map[RemoteHost]*Destination{}}
		var all []*Destination
		for range w.IntN(6) {
			h := RemoteHost{host(3), uint16(443 + w.IntN(2))}
			d := &Destination{Remote: &h}
			if w.IntN(2) == 0 {
				m.exact[h] = d
			} else {
				m.below[RemoteHost{"." + h.Host, h.Port}] = d
				h.Host = "*." + h.Host
			}
			all = append(all, d)
		}
		x := RemoteHost{host(4), uint16(443 + w.IntN(2))}
		var want *Destination
		for _, d := range all {
			if x.within(*d.Remote) && (want == nil || d.Remote.within(*want.Remote)) {
				want = d
			}
		}
		got := m.find(x.Host, x.Port)
		if (got == nil) != (want == nil) || got != nil && *got.Remote != *want.Remote {
			t.Fatalf("%s: %+v, want %+v", x, got, want)
		}
	}
}

// FuzzParseRemote: what is read is canonical and reads again; nothing else is.
func FuzzParseRemote(f *testing.F) {
	for _, s := range []string{"api.example.com", "*.example.com:8443", "*", "xn--bcher-kva.example", "1.2.3.4", "a:b:c", "*.*.a", "0x7f.1:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		h, err := parseRemote(s)
		if err != nil {
			return
		}
		base := strings.TrimPrefix(h.Host, "*.")
		if c, err := remote.CanonicalHost(base); err != nil || c != base || h.Port == 0 || !strings.Contains(base, ".") {
			t.Fatalf("%q is read as %+v: %v", s, h, err)
		}
		if again, err := parseRemote(h.String()); err != nil || again != h {
			t.Fatalf("%q, %q: %+v, %v", s, h, again, err)
		}
	})
}

// TestAppsGoToRemotesOnly:
// ATTACK: an app is named as the source of a transit of ours, or a workload of
// ours as the source of a way to an app's host, so that data leaves without the
// administrator's consent for it, or for another purpose.
// THIS TEST VERIFIES that no pack holds such a transit. promise: P12
func TestAppsGoToRemotesOnly(t *testing.T) {
	pack := apps(t)
	const issues, ticket = "transits/triage-issues.yaml", "transits/ticket.yaml"
	for name, c := range map[string]struct{ file, old, by, want string }{
		"no consent":         {issues, "consent: admin", "consent: none", issues + ":5:10: consent is none, but triage-api is the remote of an app: without an administrator's consent no app sends anything out; write consent: admin"},
		"a user's consent":   {issues, "consent: admin", "consent: user-action", issues + ":5:10: consent is user-action, but "},
		"a purpose of ours":  {issues, "purpose: app", "purpose: support", issues + ":2:10: the purpose is support, but triage-api is the remote of an app"},
		"a workload of ours": {issues, "[app/triage]", "[app/triage, product/x]", issues + ":3:22: the source \"product/x\" is no app"},
		"an app to us":       {ticket, "[product/help-center]", "[product/help-center, app/triage]", ticket + ":3:31: the source \"app/triage\" is an app, but portal is a service of ours"},
		"an app's purpose":   {ticket, "purpose: support", "purpose: app", ticket + ":2:10: the purpose app is for remotes of apps, but portal is a service of ours"},
		"a tunnel to us":     {ticket, "user_action:", "mode: tunnel\nuser_action:", ticket + ":6:7: mode is for remotes of apps, but portal is a service of ours; remove it"},
		"a budget to us":     {ticket, "user_action:", "budget: {requests: 1, bytes: 1, per: 1s}\nuser_action:", ticket + ":6:9: budget is for remotes of apps, but portal is a service of ours; remove it"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := pack.replace(t, c.file, c.old, c.by).mistakes(t); !strings.Contains(got, c.want) {
				t.Errorf("%s\nwant %s", got, c.want)
			}
		})
	}
}

// TestOneHostOneDestination: for one source, one host is never two destinations,
// and one way never both read and unread.
func TestOneHostOneDestination(t *testing.T) {
	pack := apps(t)
	got := pack.replace(t, "transits/notes.yaml", "app/notes", "app/notes, app/triage").mistakes(t)
	const want = `transits/triage-issues.yaml:1:10: the source app/triage reaches api.triage.example:443 as the destination notes-api already (destinations.yaml:7:5), and triage-api would be a second name for it; use the same destination
`
	if got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	tunnel := func(name, src, dst string) files {
		return files{"transits/" + name + ".yaml": fmt.Sprintf("transit: %s\npurpose: app\nsource: [%s]\ndestination: %s\nconsent: admin\nmode: tunnel\nbecause: b\nowner: o\nuntil: 2027-01-01\n", name, src, dst)}
	}
	for name, c := range map[string]struct {
		files files
		want  string
	}{
		"two tunnels":             {tunnel("zzz", "app/files, app/backup", "files"), "transits/zzz.yaml:1:10: the tunnel zzz and the transit files-upload (transits/files-upload.yaml:1:10) both lead from app/files to files, and a tunnel must be alone"},
		"a tunnel after another":  {tunnel("zzz", "app/triage", "triage-api"), "transits/zzz.yaml:1:10: the tunnel zzz and the transit triage-issues (transits/triage-issues.yaml:1:10) both lead from app/triage to triage-api"},
		"a tunnel before another": {tunnel("aaa", "app/triage", "triage-api"), "transits/triage-issues.yaml:1:10: the transit triage-issues and the transit aaa (transits/aaa.yaml:1:10) both lead from app/triage to triage-api"},
		"another app's tunnel":    {tunnel("aaa", "app/other", "triage-api"), "restore would hand app/triage what app/other sent to triage-api as a token"},
		"below a wildcard":        {tunnel("aaa", "app/other", "triage-any"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := pack.with(files{"never.yaml": ""}).with(c.files).mistakes(t)
			if c.want == "" && got != "" || !strings.Contains(got, c.want) || strings.Count(got, "\n") > 1 {
				t.Errorf("%s\nwant %s", got, c.want)
			}
		})
	}
}

// TestTokensComeBackToTheirApp:
// ATTACK: a far side that two apps talk to hands one of them the tokens of what
// the other sent, and the gateway turns them back into the originals.
// THIS TEST VERIFIES that no pack lets tokens come back over a destination that
// two apps share. promise: P37
func TestTokensComeBackToTheirApp(t *testing.T) {
	got := apps(t).replace(t, "transits/triage-issues.yaml", "[app/triage]", "[app/triage, app/zebra]").mistakes(t)
	const want = "transits/triage-issues.yaml:1:10: restore would hand app/zebra what app/triage sent to triage-api as a token, for both use that destination; give each app a destination of its own for the host, or remove restore\n"
	if got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	if got := apps(t).replace(t, "transits/triage-issues.yaml", "[app/triage]", "[app/triage, app/zebra]").
		replace(t, "transits/triage-issues.yaml", "restore: true, ", "").mistakes(t); got != "" {
		t.Error(got)
	}
}

func TestTunnel(t *testing.T) {
	plan := apps(t).load(t).Plan()
	tr := plan.Tunnel("app/backup", "files")
	if tr == nil || tr.Name != "files-upload" || tr.Mode != Tunnel || tr.Mode.String() != "tunnel" || tr != plan.Tunnel("app/files", "files") {
		t.Fatalf("%+v", tr)
	}
	if want := (Budget{Requests: 60, Bytes: 1 << 30, Per: 24 * time.Hour}); tr.Budget != want || !tr.Budget.Stated() {
		t.Errorf("%+v, want %+v", tr.Budget, want)
	}
	end := time.Date(2027, 4, 1, 0, 0, 0, 0, time.UTC)
	if !tr.TunnelEnds().Equal(end) {
		t.Errorf("ends %v", tr.TunnelEnds())
	}
	for at, want := range map[time.Time]bool{{}: false, end.AddDate(-10, 0, 0): true, end.Add(-1): true, end: false, end.Add(1): false} {
		if tr.OpenAt(at) != want {
			t.Errorf("open at %v: %v", at, !want)
		}
	}
	for _, w := range []way{{"app/triage", "triage-api"}, {"app/triage", "files"}, {"app/files", "nowhere"}, {"", ""}} {
		if got := plan.Tunnel(w.source, w.destination); got != nil {
			t.Errorf("%v: %s", w, got.Name)
		}
	}
	inspects, _ := plan.Transit("triage-issues")
	if inspects.OpenAt(instantOfTests) || !inspects.TunnelEnds().IsZero() || inspects.Mode != Inspect || inspects.Budget != (Budget{600, 64 << 20, time.Hour}) {
		t.Errorf("%+v", inspects)
	}
	if notes, _ := plan.Transit("notes"); notes.Budget.Stated() {
		t.Errorf("%+v", notes.Budget)
	}
	if _, _, err := plan.Match("app/files", "files", "GET", "/"); err != ErrTunnel { //nolint:errorlint // documented to be the whole answer
		t.Errorf("a request over a tunnel: %v", err)
	}
	// A tunnel that was made by hand has no end, and is never open.
	if (&Transit{Mode: Tunnel}).OpenAt(instantOfTests) || (&Transit{Mode: Tunnel, tunnel: &rule{guard: noGuard}}).OpenAt(instantOfTests) {
		t.Error("a tunnel without an end is open")
	}
	var zero Mode
	if zero != Inspect || Mode(9).String() != "invalid(9)" {
		t.Error("the zero mode is not the strictest")
	}
}

// TestTunnelEndsEverywhereAlike: what the gateway asks, preview, explain and pack
// test all change at one instant. promise: P09
func TestTunnelEndsEverywhereAlike(t *testing.T) {
	before := time.Date(2027, 3, 31, 23, 59, 59, 999_999_999, time.UTC)
	for at, open := range map[time.Time]bool{before: true, before.Add(1): false} {
		expect := "{refused: the tunnel is over}"
		if open {
			expect = "{tunnel: true, output: x}"
		}
		p := apps(t).with(files{"tests/apps.yaml": fmt.Sprintf("test: x\ntransit: files-upload\nat: %s\ninput: x\nexpect: %s\n", at.Format(time.RFC3339Nano), expect)}).load(t)
		tr, _ := p.Plan().Transit("files-upload")
		if tr.OpenAt(at) != open {
			t.Errorf("open at %v: %v", at, !open)
		}
		out, err := tr.Preview(Request{Time: at, Path: "/p", Query: "q", Headers: []Named{{"A", "b"}}, Body: []byte("x")}, nil)
		if (err == nil) != open {
			t.Errorf("preview at %v: %+v %v", at, out, err)
		}
		if open && (string(out.Body) != "x" || out.Path != "/p" || out.Query != "q" || len(out.Headers) != 1 || out.Tunnel != "transits/files-upload.yaml:7" ||
			len(out.Fields) != 1 || out.Fields[0] != isogate.Field{Path: "**", Label: isogate.Opaque, Action: isogate.Allow, Handling: "persisted", Rule: out.Tunnel, N: 1}) {
			t.Errorf("preview at %v: %+v", at, out)
		}
		x, err := tr.Explain("user.email", at)
		if err != nil || (x.Verdict.Action == isogate.Allow) != open || x.Tunnel == nil || x.Tunnel.InForce != open || (len(x.WhyNot) == 0) != open {
			t.Errorf("explain at %v: %+v %v", at, x, err)
		}
		report, err := p.Test(instantOfTests)
		if err != nil || report.Failed() > 0 {
			t.Errorf("test at %v: %+v %v", at, report, err)
		}
	}
	if got := apps(t).with(files{"tests/apps.yaml": ""}).replace(t, "transits/files-upload.yaml", "2027-03-31", "2026-11-01").mistakes(t); got != "transits/files-upload.yaml:10:8: the tunnel ended after 2026-11-01 and lets nothing pass any more; remove it, or have it approved anew with a later date\n" {
		t.Error(got)
	}
}

// TestExplainTunnel: what a tunnel means is said in words.
func TestExplainTunnel(t *testing.T) {
	tr, _ := apps(t).load(t).Plan().Transit("files-upload")
	if got := tr.Fields(); !slices.Equal(got, []string{"**"}) {
		t.Errorf("%v", got)
	}
	x, err := tr.Explain("**", instantOfTests)
	if err != nil {
		t.Fatal(err)
	}
	const want = `**: allow, persisted
  the transit is a tunnel: every byte passes unread, whatever its label; no contract, rule or replacement applies
    rule transits/files-upload.yaml:7: allow, persisted, until 2027-03-31, owner team-apps: The upload protocol is not HTTP, and its client pins the certificate
`
	if x.String() != want {
		t.Errorf("%s\nwant %s", x, want)
	}
	x, _ = tr.Explain("**", time.Time{})
	if got := x.String(); !strings.HasPrefix(got, "**: refuse\n") || !strings.Contains(got, "why not more: the tunnel at transits/files-upload.yaml:7 ended after 2027-03-31; to go on,") {
		t.Errorf("%s", got)
	}
}

// TestInvariantsSeeTunnels: a tunnel breaks every invariant that forbids
// plaintext where it leads, and the finding says where the tunnel is.
//
// ATTACK: an exemption that names no label lets out what never.yaml forbids, for
// no rule ever says the forbidden word.
// THIS TEST VERIFIES that a tunnel counts as releasing every label. promise: P39
func TestInvariantsSeeTunnels(t *testing.T) {
	const by = "by the tunnel at transits/files-upload.yaml:7, which this line forbids; let the transit inspect, or change this line"
	for never, want := range map[string]string{
		"{label: personal.contact.email, as: allow}":                               "lets personal.contact.email pass unread, as allow and persisted, " + by,
		"{label: security.secret.**, as: [mask, allow], destination: files}":       "lets security.secret (and 3 more labels) pass unread, as allow and persisted, " + by,
		"{label: personal.special.**, as: allow, purpose: app, source: app/files}": "pass unread",
		"{label: unclassified, as: allow}":                                         "lets unclassified pass unread",
		"{label: opaque, as: allow, destination: files}":                           "lets opaque pass unread",
		"{label: personal.contact.email, as: mask}":                                "",
		"{label: personal.contact.email, as: allow, destination: portal}":          "",
		"{label: personal.contact.email, as: allow, purpose: support}":             "",
		"{label: personal.contact.email, as: allow, source: app/triage}":           "",
		"{label: unclassified, as: allow, destination: triage-api}":                "",
		"{label: unclassified, as: redact, destination: triage-api}":               "the transit triage-issues treats unclassified with redact by the label's default treatment",
	} {
		got := apps(t).with(files{"never.yaml": "- never: " + never + "\n"}).mistakes(t)
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s: %s\nwant %s", never, got, want)
		}
	}
	// Whether it holds does not depend on the date.
	late := apps(t).with(files{"never.yaml": "- never: {label: ugc.title, as: allow, destination: files}\n", "tests/apps.yaml": ""}).replace(t, "transits/files-upload.yaml", "2027-03-31", "2020-03-31")
	if _, err := Load(late.write(t)); err == nil || !strings.Contains(err.Error(), by) {
		t.Errorf("a tunnel that is over: %v", err)
	}
}

// TestInvariantsSeeWildcards:
// ATTACK: what never.yaml forbids towards a host is released towards the
// wildcard above it, and the app connects to that very host.
// THIS TEST VERIFIES that an invariant about a remote covers every way to its
// hosts. promise: P39
func TestInvariantsSeeWildcards(t *testing.T) {
	released := func(dst, src string) files {
		return apps(t).with(files{"tests/apps.yaml": "", "transits/triage-other.yaml": "", "transits/more.yaml": fmt.Sprintf(`
transit: more
purpose: app
source: [%s]
destination: %s
consent: admin
match: [POST /x]
request:
  contract: issue
  release: [{label: usage.count, as: token}]
`, src, dst)})
	}
	const broken = "the transit more treats usage.count with token"
	for _, c := range []struct {
		dst, src, never string
		want            bool
	}{
		{"triage-any", "app/more", "triage-any", true},
		{"triage-any", "app/more", "triage-api", true},             // the wildcard is the only way of this app to that host
		{"triage-any", "app/more", "notes-api", true},              // the same host under another name
		{"triage-any", "app/triage", "triage-api", false},          // this app goes to that host another way
		{"triage-any", "app/triage, app/more", "triage-api", true}, // one of the two does not
		{"triage-any", "app/triage", "triage-eu", false},
		{"triage-any", "app/more", "triage-eu", true},
		{"triage-any", "app/more", "triage-alt", false}, // another port
		{"triage-any", "app/more", "files", false},
		{"triage-any", "app/more", "portal", false},
		{"triage-eu", "app/more", "triage-any", true}, // its hosts are among those of the wider one
		{"triage-eu", "app/more", "triage-api", false},
		{"triage-api", "app/more", "triage-any", true},
		{"triage-api", "app/more", "triage-eu", false},
		{"triage-alt", "app/more", "triage-any", false},
	} {
		got := released(c.dst, c.src).replace(t, "transits/triage-issues.yaml", "restore: true, ", "").
			with(files{"never.yaml": "- never: {label: usage.count, as: token, destination: " + c.never + "}\n"}).mistakes(t)
		if strings.Contains(got, broken) != c.want || !c.want && got != "" {
			t.Errorf("%s from %s, never to %s: broken %v, want %v\n%s", c.dst, c.src, c.never, !c.want, c.want, got)
		}
	}
}
