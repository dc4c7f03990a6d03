package policy

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// routed is a pack with one transit that has these patterns.
func routed(t testing.TB, patterns ...string) *Plan {
	quoted := make([]string, len(patterns))
	for i, p := range patterns {
		quoted[i] = fmt.Sprintf("%q", p)
	}
	return good(t).with(files{"never.yaml": "", "tests/session.yaml": "", "tests/form.yaml": "", "tests/file.yaml": "",
		"transits/signals.yaml": `
transit: signals
purpose: anti-abuse
source: [product/gate]
destination: metrics
consent: none
match: [` + strings.Join(quoted, ", ") + `]
request: {contract: signals}
`}).load(t).Plan()
}

// TestMatchPaths: the most specific pattern wins, and every path that could be
// read as another one is refused.
func TestMatchPaths(t *testing.T) {
	plan := routed(t, "GET /", "POST /v1/users/{id}", "POST /v1/users/me", "GET /v1/users/{id}/tickets", "GET /v1/**", "PUT /v1/{a}/{b}", "POST /files/**")
	for _, c := range []struct {
		method, path string
		err          error
		template     string
		params       string
	}{
		{"GET", "/", nil, "/", ""},
		{"POST", "/", ErrNoMethod, "", ""},
		{"POST", "/v1/users/7", nil, "/v1/users/{id}", "id=7@2"},
		{"POST", "/v1/users/me", nil, "/v1/users/me", ""},
		{"POST", "/v1/users/%6de", nil, "/v1/users/me", ""},
		{"POST", "/%761/users/a%20b", nil, "/v1/users/{id}", "id=a b@2"},
		{"POST", "/v1/users/100%25", nil, "/v1/users/{id}", "id=100%@2"},
		{"GET", "/v1/users/7/tickets", nil, "/v1/users/{id}/tickets", "id=7@2"},
		{"GET", "/v1/users/7/ticket", nil, "/v1/**", "**=users@1 **=7@2 **=ticket@3"},
		{"GET", "/v1/x", nil, "/v1/**", "**=x@1"},
		{"GET", "/v1", ErrNoPath, "", ""},
		{"PUT", "/v1/x/y", nil, "/v1/{a}/{b}", "a=x@1 b=y@2"},
		{"PUT", "/v1/users/me", nil, "/v1/{a}/{b}", "a=users@1 b=me@2"},
		{"DELETE", "/v1/users/me", ErrNoMethod, "", ""},
		{"PATCH", "/files/a", ErrNoMethod, "", ""},
		{"POST", "/files/a/b/c", nil, "/files/**", "**=a@1 **=b@2 **=c@3"},
		{"POST", "/nothing", ErrNoPath, "", ""},
		{"POST", "/V1/users/me", ErrNoPath, "", ""},
		{"POST", "v1", ErrBadPath, "", ""},
		{"POST", "", ErrBadPath, "", ""},
		{"POST", "//", ErrBadPath, "", ""},
		{"POST", "/v1//users", ErrBadPath, "", ""},
		{"POST", "/v1/users/", ErrBadPath, "", ""},
		{"POST", "/v1/users/.", ErrBadPath, "", ""},
		{"POST", "/v1/users/..", ErrBadPath, "", ""},
		{"POST", "/v1/users/%2e%2E", ErrBadPath, "", ""},
		{"POST", "/v1/users/%2e", ErrBadPath, "", ""},
		{"POST", "/v1/users/a%2Fb", ErrBadPath, "", ""},
		{"POST", "/v1/users/a%5cb", ErrBadPath, "", ""},
		{"POST", `/v1/users/a\b`, ErrBadPath, "", ""},
		{"POST", "/v1/users/%zz", ErrBadPath, "", ""},
		{"POST", "/v1/users/%4", ErrBadPath, "", ""},
		{"POST", "/v1/users/%00", ErrBadPath, "", ""},
		{"POST", "/v1/users/a\x00", ErrBadPath, "", ""},
		{"POST", "/v1/users/a b", ErrBadPath, "", ""},
		{"POST", "/v1/users/ä", ErrBadPath, "", ""},
		{"POST", "/v1/users/a?b", ErrBadPath, "", ""},
		{"POST", "/v1/users/a#b", ErrBadPath, "", ""},
		{"POST", "/files" + strings.Repeat("/a", maxSegments), ErrBadPath, "", ""},
	} {
		tr, params, err := plan.Match("product/gate", "metrics", c.method, c.path)
		if !errors.Is(err, c.err) || (err == nil) != (tr != nil) {
			t.Errorf("%s %s: %v, want %v", c.method, c.path, err, c.err)
			continue
		}
		var got []string
		for _, p := range params {
			got = append(got, fmt.Sprintf("%s=%s@%d", p.Name, p.Value, p.Segment))
		}
		if s := strings.Join(got, " "); s != c.params {
			t.Errorf("%s %s: parameters %s, want %s", c.method, c.path, s, c.params)
		}
		if err == nil && Template(c.path, params) != c.template {
			t.Errorf("%s %s: template %s, want %s", c.method, c.path, Template(c.path, params), c.template)
		}
	}
	if _, _, err := plan.Match("product/gate", "nowhere", "GET", "/"); !errors.Is(err, ErrNoDestination) {
		t.Error(err)
	}
	if _, _, err := plan.Match("product/nobody", "metrics", "GET", "/"); !errors.Is(err, ErrNoSource) {
		t.Error(err)
	}
	if _, _, err := plan.Match("product/gate", "support-portal", "POST", "/v1/sessions"); !errors.Is(err, ErrNoSource) {
		t.Error(err)
	}
}

// TestAppendPath: what goes out is canonical, each parameter replaced by one segment.
func TestAppendPath(t *testing.T) {
	plan := routed(t, "POST /v1/users/{id}/x", "POST /files/**")
	for _, c := range []struct {
		path string
		with string // in the place of each parameter
		want string
		err  error
	}{
		{"/%761/users/a%20b/x", "", "/v1/users/a%20b/x", nil}, // unchanged, but canonical
		{"/v1/users/7/x", "a/b ?#%ä", "/v1/users/a%2Fb%20%3F%23%25%C3%A4/x", nil},
		{"/v1/users/7/x", "..", "", ErrBadPath},
		{"/v1/users/7/x", ".", "", ErrBadPath},
		{"/files/a/b", "z", "/files/z/z", nil},
	} {
		_, params, err := plan.Match("product/gate", "metrics", "POST", c.path)
		if err != nil {
			t.Fatal(err)
		}
		got, err := AppendPath([]byte("https://x"), c.path, params, func(dst []byte, p Param) ([]byte, error) {
			if c.with == "" {
				return append(dst, p.Value...), nil
			}
			return append(dst, c.with...), nil
		})
		if !errors.Is(err, c.err) || err == nil && string(got) != "https://x"+c.want {
			t.Errorf("%s: %s %v", c.path, got, err)
		}
	}
	_, params, _ := plan.Match("product/gate", "metrics", "POST", "/files/a")
	if _, err := AppendPath(nil, "/files/a", params, func(dst []byte, _ Param) ([]byte, error) { return dst, nil }); !errors.Is(err, ErrBadPath) {
		t.Errorf("an empty segment: %v", err)
	}
	broken := errors.New("broken")
	if _, err := AppendPath(nil, "/files/a", params, func(dst []byte, _ Param) ([]byte, error) { return dst, broken }); !errors.Is(err, broken) {
		t.Errorf("an error: %v", err)
	}
	if _, err := AppendPath(nil, "/a/../b", nil, nil); !errors.Is(err, ErrBadPath) {
		t.Errorf("a path that was never matched: %v", err)
	}
	if got := Template("/a/../b", nil); got != "" {
		t.Errorf("a path that was never matched: %s", got)
	}
}

// covers is matching as one would write it at leisure.
func (p *pattern) covers(method string, path []string) bool {
	if p.method != method || len(path) < len(p.segments) || !p.rest && len(path) > len(p.segments) || p.rest && len(path) == len(p.segments) {
		return false
	}
	for i, s := range p.segments {
		if s.param == "" && s.literal != path[i] {
			return false
		}
	}
	return true
}

// before reports whether p is more specific than q: at the first segment where
// they differ, a literal goes before a parameter and that before a catch-all.
func (p *pattern) before(q *pattern) bool {
	rank := func(p *pattern, i int) int {
		switch {
		case i >= len(p.segments):
			return 2
		case p.segments[i].param != "":
			return 1
		}
		return 0
	}
	for i := range max(len(p.segments), len(q.segments)) + 1 {
		if a, b := rank(p, i), rank(q, i); a != b {
			return a < b
		}
	}
	return false
}

// randomPattern is over two literals, so that many overlap.
func (w *world) pattern() *pattern {
	p := &pattern{method: pick(w, "GET", "POST")}
	for range w.IntN(4) {
		if name := pick(w, "a", "b", "{"); name == "{" {
			p.segments = append(p.segments, segment{param: "p" + fmt.Sprint(len(p.segments))})
		} else {
			p.segments = append(p.segments, segment{literal: name})
		}
	}
	p.rest = w.IntN(4) == 0
	return p
}

// allPaths are those of up to five segments over the literals and one more.
func allPaths() [][]string {
	paths := [][]string{{}}
	for i := 0; i < len(paths); i++ {
		if len(paths[i]) < 5 {
			for _, s := range []string{"a", "b", "c"} {
				paths = append(paths, append(slices.Clone(paths[i]), s))
			}
		}
	}
	return paths
}

// TestTrieIsMatching compares the trie with matching every pattern: what is found,
// that the most specific wins, and that overlap is found exactly where a path has
// two patterns.
func TestTrieIsMatching(t *testing.T) {
	w := newWorld(5)
	paths := allPaths()
	for range 500 {
		var trie routes
		var patterns []*pattern
		for range 1 + w.IntN(6) {
			p := w.pattern()
			_, overlaps := trie.overlap(p, p.segments, func(route) bool { return true })
			shared := slices.ContainsFunc(patterns, func(q *pattern) bool {
				return slices.ContainsFunc(paths, func(path []string) bool { return p.covers(p.method, path) && q.covers(p.method, path) })
			})
			if overlaps != shared {
				t.Fatalf("%+v with %+v: overlap %v, want %v", p, patterns, overlaps, shared)
			}
			if _, same := trie.overlap(p, p.segments, func(r route) bool { return r.pattern.shape() == p.shape() }); !same {
				patterns = append(patterns, p)
				trie.add(p, nil)
			}
		}
		for _, path := range paths {
			for _, method := range []string{"GET", "POST"} {
				var want *pattern
				known := false
				for _, p := range patterns {
					known = known || p.covers(p.method, path)
					if p.covers(method, path) && (want == nil || p.before(want)) {
						want = p
					}
				}
				var seen bool
				got, ok := trie.find(method, path, &seen)
				if ok != (want != nil) || got.pattern != want {
					t.Fatalf("%s %v over %+v: %+v, want %+v", method, path, patterns, got.pattern, want)
				}
				if !ok && seen != known {
					t.Fatalf("%s %v over %+v: path seen %v, want %v", method, path, patterns, seen, known)
				}
			}
		}
	}
}

// FuzzMatch: no path makes the matcher fail, and what goes out matches again,
// unchanged and with the same values.
func FuzzMatch(f *testing.F) {
	plan := routed(f, "GET /v1/users/{id}/x", "GET /files/**", "GET /", "PUT /")
	for _, s := range []string{"/", "/v1/users/a%20b/x", "/files/%25/..", "/files/%e2%80%ae/a;b=c/~", "//", "/files/%2f"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		_, params, err := plan.Match("product/gate", "metrics", "GET", path)
		if err != nil {
			return
		}
		same := func(dst []byte, p Param) ([]byte, error) { return append(dst, p.Value...), nil }
		out, err := AppendPath(nil, path, params, same)
		if err != nil {
			t.Fatalf("%q matches, but cannot be written: %v", path, err)
		}
		_, again, err := plan.Match("product/gate", "metrics", "GET", string(out))
		if err != nil || !slices.Equal(params, again) {
			t.Fatalf("%q went out as %q: %v, %+v, %+v", path, out, err, params, again)
		}
		if Template(path, params) != Template(string(out), again) {
			t.Fatalf("%q and %q have two templates", path, out)
		}
		if u, err := url.Parse("https://x" + string(out)); err != nil || u.RawQuery != "" || u.Fragment != "" {
			t.Fatalf("%q went out as %q", path, out)
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	plan := good(b).load(b).Plan()
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := plan.Match("product/help-center", "support-portal", "POST", "/v1/sessions"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecide(b *testing.B) {
	plan := good(b).load(b).Plan()
	for _, name := range []string{"support-session", "signals"} {
		b.Run(map[string]string{"support-session": "guard", "signals": "plain"}[name], func(b *testing.B) {
			tr, _ := plan.Transit("support-session")
			if name == "signals" {
				tr, _ = plan.Transit("signals")
			}
			env := Envelope{Method: "POST", Source: "product/gate", Time: instantOfTests, Header: func(string) string { return "1" }}
			b.ReportAllocs()
			for b.Loop() {
				tr.Decide(env)
			}
		})
	}
	b.Run("ends", func(b *testing.B) {
		p := good(b).replace(b, "transits/support-session.yaml", `until: 2026-12-31, when: 'method == "POST" && "x-urgent" in headers && headers["x-urgent"] == "1"'`, "until: 2026-12-31").load(b)
		tr, _ := p.Plan().Transit("support-session")
		env := Envelope{Method: "POST", Source: "product/gate", Time: instantOfTests}
		b.ReportAllocs()
		for b.Loop() {
			tr.Decide(env)
		}
	})
}

// BenchmarkLoad: 1,000 transits, 20,000 labelled fields.
func BenchmarkLoad(b *testing.B) {
	dir := large(1000).write(b)
	b.ReportAllocs()
	for b.Loop() {
		p, err := Load(dir)
		if err != nil {
			b.Fatal(err)
		}
		if n := len(p.plan.transits); n != 1000 {
			b.Fatal(n)
		}
	}
}

// large is a pack of n transits with 20 labelled fields each.
func large(n int) files {
	labels := []string{"personal.contact.email", "personal.name.display", "ugc.title", "system.metadata", "identifier.user.account_id"}
	f := files{"pack.yaml": "pack: large\nversion: 1\n", "destinations.yaml": "destinations:\n  - {name: d, url: https://d.example}\n"}
	for i := range n {
		var fields strings.Builder
		for j := range 20 {
			fmt.Fprintf(&fields, "  group%d.items[].field%d: %s\n", j%4, j, labels[j%len(labels)])
		}
		f[fmt.Sprintf("contracts/c%d.yaml", i)] = fmt.Sprintf("contract: c%d\nformat: json\nfields:\n%s", i, fields.String())
		f[fmt.Sprintf("transits/t%d.yaml", i)] = fmt.Sprintf(`transit: t%d
purpose: support
source: [product/help-center]
destination: d
consent: none
match:
  - POST /v1/t%d/{id}
  - PUT /v1/t%d/{id}/x
request:
  contract: c%d
  release:
    - {label: personal.contact.email, as: allow, handling: persisted, because: Primary identifier, owner: team-support, until: 2027-06-30}
    - {label: personal.name.display, as: allow, handling: transit-only, because: Shown in the UI, owner: team-support, until: 2027-07-31}
  path: {id: identifier.user.account_id}
`, i, i, i, i)
	}
	return f
}
