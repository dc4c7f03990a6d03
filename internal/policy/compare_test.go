package policy

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/payload"
)

// plan compiles files, which must be good.
func (f files) plan(t testing.TB) *Plan {
	t.Helper()
	return f.load(t).Plan()
}

// edited is the pack with texts of one file replaced, each of which must be there.
func (f files) edited(t testing.TB, file string, pairs ...string) files {
	t.Helper()
	text := f[file]
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			t.Fatalf("%s has no %q", file, pairs[i])
		}
		text = strings.Replace(text, pairs[i], pairs[i+1], 1)
	}
	return f.with(files{file: text})
}

const (
	sessionTransit  = "transits/support-session.yaml"
	sessionContract = "contracts/support-session.yaml"
)

// TestCompareSaysWhatChanges goes through one edit after the other: is it more exposing,
// and what does the effect name?
func TestCompareSaysWhatChanges(t *testing.T) {
	base := good(t)
	for name, c := range map[string]struct {
		after  files
		looser bool
		words  []string // of the effect as text; none: nothing changes
	}{
		"nothing":          {base, false, nil},
		"a comment":        {base.edited(t, sessionTransit, "transit: support", "# why\ntransit: support"), false, nil},
		"another version":  {base.edited(t, "pack.yaml", "12", "13"), false, nil},
		"another reason":   {base.edited(t, sessionTransit, "Primary identifier", "Main identifier"), false, nil},
		"stricter":         {base.edited(t, sessionTransit, "display, as: allow, handling: transit-only", "display, as: mask, handling: transit-only"), false, []string{"user.displayName", "mask"}},
		"looser":           {base.edited(t, sessionTransit, "as: mask, form: last-2", "as: allow"), true, []string{"user.pager", "allow"}},
		"a looser form":    {base.edited(t, sessionTransit, "last-2", "last-4"), true, []string{"user.pager", "last-4"}},
		"a stricter form":  {base.edited(t, sessionTransit, "last-2", "last-1"), false, []string{"user.pager", "last-1"}},
		"kept for longer":  {base.edited(t, sessionTransit, "ttl: 5m", "ttl: 10m"), true, []string{"user.pager", "10m"}},
		"kept for good":    {base.edited(t, sessionTransit, "handling: transit-only", "handling: persisted"), true, []string{"user.displayName", "persisted"}},
		"a later end":      {base.edited(t, sessionTransit, "team-support, until: 2027-06-30}\n    - {label: personal.name", "team-support, until: 2027-12-31}\n    - {label: personal.name"), true, []string{"user.email", "2027-07-01"}},
		"an earlier end":   {base.edited(t, sessionTransit, "team-support, until: 2027-06-30}\n    - {label: personal.name", "team-support, until: 2027-01-31}\n    - {label: personal.name"), false, []string{"user.email", "2027-02-01"}},
		"a guard gone":     {base.edited(t, sessionTransit, `, when: 'method == "POST" && "x-urgent" in headers && headers["x-urgent"] == "1"'`, ""), true, []string{"user.pager"}},
		"another guard":    {base.edited(t, sessionTransit, `== "1"'`, `== "2"'`), true, []string{"user.pager"}},
		"a source":         {base.edited(t, sessionTransit, "[product/help-center]", "[product/help-center, product/x]"), true, []string{"source", "product/x"}},
		"a path":           {base.edited(t, sessionTransit, "POST /v1/sessions", "POST /v1/sessions, POST /v2/sessions"), true, []string{"match", "POST /v2/sessions"}},
		"no consent":       {base.edited(t, sessionTransit, "consent: user-action", "consent: none"), true, []string{"consent"}},
		"more consent":     {base.edited(t, sessionTransit, "consent: user-action", "consent: admin"), false, []string{"consent"}},
		"another place":    {base.edited(t, "destinations.yaml", "https://support.example", "https://other.example"), true, []string{"https://other.example"}},
		"no landing":       {base.edited(t, "destinations.yaml", `, landing: {public_key: landing.example+c5902534+Aa03HmV1jTEiiVqgP1xg45rBwlAnDJyy4C9MgRD2LVbO}`, ""), true, []string{"landing"}},
		"another label":    {base.edited(t, sessionContract, "tickets[].title: ugc.title", "tickets[].title: system.metadata"), true, []string{"tickets[].title", "allow"}},
		"no label":         {base.edited(t, sessionContract, "  tickets[].title: ugc.title\n", ""), false, []string{"tickets[].title", "redact"}},
		"not parsed":       {base.edited(t, sessionContract, "raw: {label: system.metadata, parse: json}", "raw: system.metadata", "  raw.user.email: personal.contact.email\n", ""), true, []string{"raw"}},
		"a named header":   {base.edited(t, sessionTransit, "X-Urgent: system.metadata", "X-Urgent: system.metadata, X-Name: system.metadata"), true, []string{"header:x-name"}},
		"other types":      {base.edited(t, sessionContract, "tickets[].id: {label: identifier.content.id, types: [string, number]}", "tickets[].id: {label: system.metadata, types: [string]}"), true, []string{"tickets[].id as number", "redact"}},
		"longer session":   {base.edited(t, "transits/signals.yaml", "session: request", "session: header X-Session"), true, []string{"session"}},
		"restore off":      {base.edited(t, sessionTransit, "restore: true", "restore: false"), false, []string{"restore"}},
		"one transit less": {base.with(files{"transits/signals.yaml": "", "contracts/signals.yaml": "", "tests/signals.yaml": ""}), false, []string{"signals", "removed"}},
		"no invariant":     {base.with(files{"never.yaml": ""}), false, []string{"personal.** as allow for observability"}},
	} {
		t.Run(name, func(t *testing.T) {
			after := c.after.with(files{"tests/session.yaml": "", "tests/signals.yaml": ""})
			for file := range after {
				if strings.HasPrefix(file, "tests/") {
					after = after.with(files{file: ""})
				}
			}
			e := Compare(base.plan(t), after.plan(t), instantOfTests)
			text := e.String()
			if e.MoreExposing != c.looser {
				t.Errorf("more exposing: %t\n%s", e.MoreExposing, text)
			}
			if (c.words == nil) != e.None() {
				t.Errorf("nothing changes: %t\n%s", e.None(), text)
			}
			for _, w := range c.words {
				if !strings.Contains(text, w) {
					t.Errorf("it does not say %q:\n%s", w, text)
				}
			}
		})
	}
}

// TestAttackTakingARemoteAwayOpens: attack: a change takes the transit to one host away, so that
// what the app sends there goes over a wildcard that was there all the time, a tunnel; each
// transit by itself is stricter or equal. The comparison must call that more exposing.
func TestAttackTakingARemoteAwayOpens(t *testing.T) {
	base := files{
		"pack.yaml":            "pack: a\nversion: 1\n",
		"destinations.yaml":    "destinations:\n  - {name: all, remote: \"*.example.com\"}\n  - {name: one, remote: api.example.com}\n",
		"contracts/c.yaml":     "contract: c\nformat: json\nfields: {a: ugc.title}\n",
		"transits/tunnel.yaml": "transit: tunnel\npurpose: app\nsource: [app/x]\ndestination: all\nconsent: admin\nmode: tunnel\nbecause: b\nowner: o\nuntil: 2027-01-01\n",
		"transits/one.yaml":    "transit: one\npurpose: app\nsource: [app/x, app/y]\ndestination: one\nconsent: admin\nmatch: [POST /v1]\nrequest: {contract: c}\n",
	}
	for name, after := range map[string]files{
		"the transit": base.with(files{"transits/one.yaml": "", "contracts/c.yaml": ""}),
		"the source":  base.edited(t, "transits/one.yaml", "app/x, ", ""),
	} {
		if e := Compare(base.plan(t), after.plan(t), instantOfTests); !e.MoreExposing || !strings.Contains(e.String(), "judged by the transit tunnel") {
			t.Errorf("%s: %s", name, e.String())
		}
	}
	for name, after := range map[string]files{
		"the tunnel":     base.with(files{"transits/tunnel.yaml": ""}),
		"another source": base.edited(t, "transits/one.yaml", ", app/y", ""),
	} {
		if e := Compare(base.plan(t), after.plan(t), instantOfTests); e.MoreExposing {
			t.Errorf("%s: %s", name, e.String())
		}
	}
}

// TestAttackWildcardsThatCross: attack: paths of the two contracts match one value by
// wildcards that no path of either spells out, so that a comparison path by path
// misses it.
func TestAttackWildcardsThatCross(t *testing.T) {
	with := func(fields string) files {
		return files{
			"pack.yaml":         "pack: a\nversion: 1\n",
			"destinations.yaml": "destinations:\n  - {name: far, url: https://far.example}\n",
			"contracts/c.yaml":  "contract: c\nformat: json\nfields:\n" + fields,
			"transits/t.yaml":   "transit: t\npurpose: support\nsource: [product/x]\ndestination: far\nconsent: none\nmatch: [POST /v1]\nrequest: {contract: c}\n",
		}
	}
	// A value at a.b.c is a password before, and afterwards a title, which leaves as a token.
	before, after := with("  a.*.c: security.secret.password\n  x: ugc.title\n"), with("  a.b.*: ugc.title\n  x: ugc.title\n")
	if e := Compare(before.plan(t), after.plan(t), instantOfTests); !strings.Contains(e.String(), "a.b.c") || !e.MoreExposing {
		t.Errorf("%s", e.String())
	}
}

// packs draws packs at random, small enough that their parts meet.
type packs struct{ *rand.Rand }

func one[T any](p packs, from ...T) T { return from[p.IntN(len(from))] }

func (p packs) path() string {
	segs := []string{one(p, "a", "b", "*")}
	for p.IntN(2) == 0 && len(segs) < 3 {
		segs = append(segs, one(p, ".a", ".b", ".*", "[]", "[k=v]", ".**"))
	}
	return strings.ReplaceAll(strings.Join(segs, ""), ".**.**", ".**")
}

var labelsOfPacks = []string{"personal.contact.email", "personal.name.display", "ugc.title", "system.metadata", "identifier.content.id"}

// draft is a pack that can be changed a little.
type draft struct {
	fields  []string
	rules   []string
	query   string
	header  string
	sources string
	match   string
	consent string
	landing bool
}

func (p packs) field() string {
	path := p.path()
	opts := "label: " + one(p, labelsOfPacks...)
	switch p.IntN(6) {
	case 0:
		opts += ", types: [string]"
	case 1:
		opts += ", parse: json"
	case 2:
		if strings.Contains(path, "*") {
			opts += ", key: " + one(p, "system.metadata", "personal.name.display")
		}
	}
	return fmt.Sprintf("  %q: {%s}\n", path, opts)
}

func (p packs) rule() string {
	as := one(p, "allow", "mask", "mask, form: last-2", "token", "redact", "allow", "drop")
	s := fmt.Sprintf("    - {label: %s, as: %s, handling: %s, because: b, owner: o, until: %s", one(p, append(labelsOfPacks, "personal.**")...), as,
		one(p, "transit-only", "persisted", "temporary, ttl: 5m", "temporary, ttl: 1h"), one(p, "2027-01-01", "2027-02-01"))
	if p.IntN(3) == 0 {
		s += fmt.Sprintf(", when: 'method == %q'", one(p, "POST", "PUT"))
	}
	return s + "}\n"
}

func (p packs) draft() draft {
	d := draft{query: one(p, labelsOfPacks...), header: one(p, labelsOfPacks...), sources: "product/x", match: "POST /v1, PUT /v1", consent: one(p, "admin", "none"), landing: p.IntN(2) == 0}
	for range 1 + p.IntN(4) {
		d.fields = append(d.fields, p.field())
	}
	for range p.IntN(4) {
		d.rules = append(d.rules, p.rule())
	}
	return d
}

// changed is the draft with one thing or two otherwise.
func (p packs) changed(d draft) draft {
	d.fields, d.rules = slices.Clone(d.fields), slices.Clone(d.rules)
	for range 1 + p.IntN(2) {
		switch p.IntN(9) {
		case 0:
			d.fields = append(d.fields, p.field())
		case 1:
			d.fields[p.IntN(len(d.fields))] = p.field()
		case 2:
			if len(d.fields) > 1 {
				d.fields = slices.Delete(d.fields, 0, 1)
			}
		case 3:
			d.rules = append(d.rules, p.rule())
		case 4, 5:
			if len(d.rules) > 0 {
				d.rules = slices.Delete(d.rules, 0, 1)
			}
		case 6:
			d.query = one(p, labelsOfPacks...)
		case 7:
			d.landing = !d.landing
		case 8:
			d.consent = one(p, "admin", "none")
		}
	}
	return d
}

func (d draft) files() files {
	landing := ""
	if d.landing {
		landing = ", landing: {public_key: landing.example+c5902534+Aa03HmV1jTEiiVqgP1xg45rBwlAnDJyy4C9MgRD2LVbO}"
	}
	release := ""
	if len(d.rules) > 0 {
		release = "  release:\n" + strings.Join(d.rules, "")
	}
	return files{
		"pack.yaml":         "pack: a\nversion: 1\n",
		"destinations.yaml": "destinations:\n  - {name: far, url: https://far.example" + landing + "}\n",
		"contracts/c.yaml":  "contract: c\nformat: json\nfields:\n" + strings.Join(d.fields, ""),
		"transits/t.yaml": "transit: t\npurpose: support\nsource: [" + d.sources + "]\ndestination: far\nconsent: " + d.consent + "\nmatch: [" + d.match + "]\n" +
			"request:\n  contract: c\n  query: {q: " + d.query + "}\n  headers: {X-H: " + d.header + "}\n" + release,
	}
}

// body draws a body in which every text and every name that no contract spells is there
// once. It adds them to seen.
func (p packs) body(depth int, seen *[]string) string {
	fresh := func() string {
		s := fmt.Sprintf("u%08d", p.IntN(100_000_000))
		*seen = append(*seen, s)
		return s
	}
	switch k := p.IntN(7); {
	case depth == 0 || k < 2:
		switch p.IntN(5) {
		case 0:
			n := fmt.Sprint(100_000_000 + p.IntN(800_000_000))
			*seen = append(*seen, n)
			return n
		case 1:
			return fmt.Sprintf("%q", fmt.Sprintf(`{"a": "%s", "b": {"a": "%s"}, "%s": 1}`, fresh(), fresh(), fresh()))
		}
		return fmt.Sprintf("%q", fresh())
	case k == 2:
		return "[" + p.body(depth-1, seen) + ", {\"k\": \"v\", \"a\": " + p.body(depth-1, seen) + "}]"
	}
	return fmt.Sprintf(`{"a": %s, "b": %s, %q: %s}`, p.body(depth-1, seen), p.body(depth-1, seen), fresh(), p.body(depth-1, seen))
}

// eye sees what a request comes out as: by each text, the action that was applied to it.
type eye struct{ by map[string]isogate.Action }

func (e *eye) Replace(dst []byte, v *isogate.Verdict, val isogate.Value) ([]byte, isogate.Kind, isogate.Action, error) {
	for text := range e.by {
		if strings.Contains(string(val.Text), text) {
			e.by[text] = max(e.by[text], v.Action)
		}
	}
	return fmt.Appendf(dst, "x%d", len(e.by)), isogate.String, v.Action, nil
}

func (e *eye) ReplaceName(dst []byte, v *isogate.Verdict, name []byte) ([]byte, isogate.Action, error) {
	if _, ok := e.by[string(name)]; ok {
		e.by[string(name)] = max(e.by[string(name)], min(v.Action, isogate.Token))
		if v.Action > isogate.Drop { // pseudonyms are all alike
			e.by[string(name)] = max(e.by[string(name)], isogate.Token)
		}
	}
	return fmt.Appendf(dst, "y%x", name), max(v.Action, isogate.Hash), nil
}

func (*eye) Note(*isogate.Verdict, isogate.Value) error { return nil }

// seen is what leaves of a request over t; nil where it is refused.
func seen(t *testing.T, tr *Transit, req Request, texts []string) map[string]isogate.Action {
	t.Helper()
	e := &eye{map[string]isogate.Action{}}
	for _, s := range texts {
		e.by[s] = isogate.Drop
	}
	p := preview{rep: e, out: &Outcome{}, rules: tr.rulesFor(&req)}
	if err := p.run(tr, &req); err != nil {
		var refusal *payload.Refusal
		if !errors.As(err, &refusal) {
			t.Fatal(err)
		}
		return nil
	}
	all := p.out.Query + string(p.out.Body)
	for _, h := range p.out.Headers {
		all += h.Value
	}
	for s := range e.by {
		if strings.Contains(all, s) {
			e.by[s] = isogate.Allow
		}
	}
	return e.by
}

// TestNoMoreExposingIsTrue: where Compare says that a pack is no more exposing than
// another, no text of any request leaves in a looser form by it, at any time, with any
// method and under any consent. The requests really go through the walkers.
//
// promise: P09
// promise: P40
func TestNoMoreExposingIsTrue(t *testing.T) {
	t.Parallel()
	p := packs{rand.New(rand.NewPCG(99, 5))}
	pairs, exposing, same := 0, 0, 0
	for pairs < 1500 {
		d := p.draft()
		before, err := compile(d.files().list(), findings{}, time.Time{})
		if err != nil {
			continue
		}
		next := p.changed(d)
		after, err := compile(next.files().list(), findings{}, time.Time{})
		if err != nil {
			continue
		}
		pairs++
		e := Compare(before.plan, after.plan, instantOfTests)
		if e.MoreExposing {
			exposing++
			continue
		}
		if e.None() {
			same++
		}
		was, _ := before.plan.Transit("t")
		is, _ := after.plan.Transit("t")
		for range 25 {
			var texts []string
			req := Request{Method: one(p, "POST", "PUT"), Path: "/v1", Query: "q=uq1234567&r=ur1234567", Headers: []Named{{"X-H", "uh1234567"}},
				Body: []byte(p.body(3, &texts)), Time: instantOfTests.AddDate(0, p.IntN(5), 0)}
			texts = append(texts, "uq1234567", "ur1234567", "uh1234567")
			if was.Consent == AdminConsent && p.IntN(2) == 0 {
				req.Grant = &Limit{Labels: []isogate.LabelPattern{isogate.LabelPattern(one(p, labelsOfPacks...))}, Persist: p.IntN(2) == 0, EndUserData: p.IntN(2) == 0}
			}
			left, leaves := seen(t, was, req, texts), seen(t, is, req, texts)
			if left == nil && leaves == nil {
				continue
			}
			for text, action := range leaves {
				if left == nil || action > left[text] {
					t.Fatalf("%s leaves as %s, and was %v; Compare says:\n%s\nbody %s, grant %+v, at %s\nbefore %v\nafter %v", text, action, left[text], e.String(), req.Body, req.Grant, req.Time,
						d.files(), next.files())
				}
			}
		}
	}
	t.Logf("%d pairs of packs: %d more exposing, %d without a change", pairs, exposing, same)
	if exposing < pairs/10 || pairs-exposing-same < pairs/10 {
		t.Errorf("of %d pairs, %d are more exposing and %d without a change: they do not show much", pairs, exposing, same)
	}
}

// list is the files as a pack has them.
func (f files) list() (out []packFile) {
	for _, name := range sortedKeys(f) {
		out = append(out, packFile{name, []byte(f[name])})
	}
	return out
}

// TestCompareWithItself: a pack is no change from itself, and one that is read again neither.
func TestCompareWithItself(t *testing.T) {
	p := packs{rand.New(rand.NewPCG(7, 7))}
	for range 300 {
		f := p.draft().files()
		a, err := compile(f.list(), findings{}, time.Time{})
		if err != nil {
			continue
		}
		b, err := compile(f.list(), findings{}, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		if e := Compare(a.plan, b.plan, instantOfTests); !e.None() || e.MoreExposing {
			t.Fatalf("%s", e.String())
		}
	}
}

// TestAttackUnderALimitedConsent: attack: a change gives a field another label, or asks for
// less to be kept, and under a consent for everything nothing leaves that did not; but
// consents that withhold the old label, or what is kept, do not withhold it any more.
func TestAttackUnderALimitedConsent(t *testing.T) {
	with := func(label, handling, consent string) *Plan {
		return files{
			"pack.yaml":         "pack: a\nversion: 1\n",
			"destinations.yaml": "destinations:\n  - {name: far, url: https://far.example}\n",
			"contracts/c.yaml":  "contract: c\nformat: json\nfields: {a: " + label + ", b: ugc.title, c: personal.name.display}\n",
			"transits/t.yaml": "transit: t\npurpose: support\nsource: [product/x]\ndestination: far\nconsent: " + consent + "\nmatch: [POST /v1]\nrequest:\n  contract: c\n  release:\n" +
				"    - {label: ugc.title, as: allow, handling: " + handling + ", because: b, owner: o, until: 2027-01-01}\n" +
				"    - {label: personal.name.display, as: allow, handling: " + handling + ", because: b, owner: o, until: 2027-01-01}\n",
		}.plan(t)
	}
	for _, consent := range []string{"admin", "none"} {
		relabelled := Compare(with("personal.name.display", "persisted", consent), with("ugc.title", "persisted", consent), instantOfTests)
		if want := consent == "admin"; relabelled.MoreExposing != want || want != strings.Contains(relabelled.String(), "withholds personal.name.display") {
			t.Errorf("another label, consent %s: %s", consent, relabelled.String())
		}
		unkept := Compare(with("ugc.title", "persisted", consent), with("ugc.title", "transit-only", consent), instantOfTests)
		if want := consent == "admin"; unkept.MoreExposing != want || want != strings.Contains(unkept.String(), "nothing that is kept") {
			t.Errorf("nothing kept, consent %s: %s", consent, unkept.String())
		}
	}
}
