package policy

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestGuards(t *testing.T) {
	headers := []string{"x-a", "x-long"}
	at := time.Date(2026, 11, 2, 12, 30, 0, 0, time.UTC)
	envelope := Envelope{Method: "POST", Source: "product/gate", Time: at, Header: func(name string) string {
		return map[string]string{"x-a": "1", "x-secret": "2", "x-long": strings.Repeat("ab", 1<<20)}[name]
	}}
	for text, want := range map[string]bool{
		`true`:              true,
		`method == "POST"`:  true,
		`method in ["PUT"]`: false,
		`source == "product/gate" && method != "GET"`:               true,
		`source.startsWith("product/")`:                             true,
		`time < timestamp("2026-11-02T13:00:00Z")`:                  true,
		`time.getHours() < 12`:                                      false,
		`time.getDayOfWeek() == 1`:                                  true,
		`time - timestamp("2026-11-02T12:00:00Z") > duration("1h")`: false,
		`headers["x-a"] == "1"`:                                     true,
		`"x-a" in headers`:                                          true,
		`"x-long" in headers ? headers["x-a"] == "2" : true`:        false,
		// What fails is false, whatever it is compared with.
		`timestamp(headers["x-a"]) < time`:    false,
		`!(timestamp(headers["x-a"]) < time)`: false,
		`int(headers["x-a"] + "x") != 7`:      false,
		`1 / size(method.substring(4)) == 1`:  false,
	} {
		g, bad := compileGuard(text, headers)
		if bad != nil {
			if strings.Contains(text, "substring") {
				continue // not a function of guards
			}
			t.Errorf("%s: %v", text, bad.err)
			continue
		}
		if got := g.holds(&envelope, headers); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
	absent, bad := compileGuard(`headers["x-a"] != "2"`, headers)
	if bad != nil {
		t.Fatal(bad.err)
	}
	for name, env := range map[string]Envelope{
		"no headers at all": {Method: "POST"},
		"header absent":     {Method: "POST", Header: func(string) string { return "" }},
	} {
		if absent.holds(&env, headers) {
			t.Errorf("%s: a comparison with what is not there holds", name)
		}
	}
}

// TestGuardsThatAreRefused: what could run long, see more than the envelope, or is
// no condition does not compile.
func TestGuardsThatAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		``:                                    "does not compile",
		`method`:                              "type string",
		`method.matches("(a+)+$")`:            "matches",
		`["a", "b"].exists(x, x == method)`:   "exists",
		`time.getHours("Europe/Berlin") == 1`: "getHours",
		`time.getSeconds("UTC") == 1`:         "getSeconds",
		`has(headers.a)`:                      "has",
		`dyn(method) == 1`:                    "dyn",
		`body == ""`:                          "body",
		`headers == {"a": "b"}`:               "uses all headers",
		`headers[method] == "x"`:              "uses all headers",
		`method in headers`:                   "uses all headers",
		`{"a": headers}.size() > 0`:           "uses all headers",
		`headers["x-b"] == "x"`:               `"x-b"`,
		`"x-b" in headers`:                    `"x-b"`,
		`headers.x == "1"`:                    "headers.x",
		strings.Repeat("(", 200) + "true" + strings.Repeat(")", 200): "does not compile",
		strings.Repeat("true || ", 200) + "true":                     "longer than",
		`true` + strings.Repeat(" || true", 120):                     "does not compile",
		strings.Join([]string{`headers["x-a"].contains(headers["x-a"])`, `headers["x-a"].contains(headers["x-a"])`}, " || "): "steps",
		"true &&\n  method = 2": "does not compile",
	} {
		g, bad := compileGuard(text, []string{"x-a"})
		if bad == nil {
			t.Errorf("%.60s compiles: %+v", text, g)
			continue
		}
		if !strings.Contains(bad.err.Error(), want) || bad.offset < 0 || bad.offset > len(text) {
			t.Errorf("%.60s: offset %d: %v", text, bad.offset, bad.err)
		}
	}
	_, bad := compileGuard("true &&\n  method = 2", nil)
	if bad == nil || bad.offset < len("true &&\n") {
		t.Errorf("the place in the second line: %+v", bad)
	}
}

// TestGuardCostsLittle: a guard that reads a header as long as a request may have
// ends at its limit, and is then false.
func TestGuardCostsLittle(t *testing.T) {
	g, bad := compileGuard(`headers["x-a"].startsWith("ab") || true`, []string{"x-a"})
	if bad != nil {
		t.Fatal(bad.err)
	}
	long := strings.Repeat("ab", 1<<20)
	env := Envelope{Header: func(string) string { return long }}
	if !g.holds(&env, []string{"x-a"}) {
		t.Error("a comparison with the beginning of a long header fails")
	}
	g, bad = compileGuard(`headers["x-a"] + headers["x-a"] + headers["x-a"] != ""`, []string{"x-a"})
	if bad != nil {
		t.Fatal(bad.err)
	}
	if g.holds(&env, []string{"x-a"}) {
		t.Error("joining long headers is not stopped")
	}
}

// TestGuardedRule: a guard is evaluated for the request at hand, and as often as
// the envelope is judged: once.
func TestGuardedRule(t *testing.T) {
	p := good(t).load(t)
	tr, _ := p.Plan().Transit("support-session")
	calls := 0
	for _, c := range []struct {
		method, header, want string
	}{{"POST", "1", "mask"}, {"POST", "0", "token"}, {"POST", "", "token"}, {"GET", "1", "token"}} {
		calls = 0
		rules := tr.Decide(Envelope{Method: c.method, Time: instantOfTests, Header: func(name string) string {
			if name == "x-urgent" {
				calls++
				return c.header
			}
			return ""
		}})
		v, err := tr.verdict("user.pager", rules)
		if err != nil || v.Action.String() != c.want {
			t.Errorf("%+v: %+v %v", c, v, err)
		}
		if calls != 1 {
			t.Errorf("the header was read %d times", calls)
		}
	}
}

func TestTooManyGuards(t *testing.T) {
	var rules strings.Builder
	for i := range maxGuards + 1 {
		rules.WriteString("\n    - {label: ugc.title, as: drop, when: 'method == \"" + strings.Repeat("X", i) + "\"'}")
		rules.WriteString("\n    - {label: ugc.title, as: redact, when: 'method == \"" + strings.Repeat("X", i) + "\"'}") // the same guard
	}
	got := good(t).replace(t, "transits/support-session.yaml", "\n    - {label: security.secret.**, as: refuse}", rules.String()).
		replace(t, "transits/support-session.yaml", `, when: 'method == "POST" && "x-urgent" in headers && headers["x-urgent"] == "1"'`, "").mistakes(t)
	if !strings.Contains(got, "more than 8 different guards; split it") || strings.Count(got, "\n") != 2 {
		t.Error(got)
	}
}

func TestFindingWithoutHint(t *testing.T) {
	f := findings{}
	f.add(position{"a", 1, 2}, "x")
	if got := f.err().Error(); got != "a:1:2: x" {
		t.Error(got)
	}
	if err := (&findings{}).err(); err != nil || errors.Is(err, errUnreadable) {
		t.Error(err)
	}
}
