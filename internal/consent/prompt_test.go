package consent

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/remote"
)

var noon = time.Date(2026, 11, 2, 12, 0, 0, 0, time.UTC)

func row(t *testing.T, s string) remote.Row {
	t.Helper()
	r, err := remote.ParseRow(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

const (
	apiRow  = "backend api.example.com:443 operations=storage end-user-data"
	wildRow = "backend *.example.org:443 operations=storage end-user-data tokens=app-user"
)

// folded folds acts, giving each the next seq, an ID made of it, and a minute more.
func folded(t *testing.T, acts ...Act) *State {
	t.Helper()
	s := &State{}
	for i := range acts {
		a := &acts[i]
		a.Seq, a.ID, a.At = uint64(i), isogate.EntryID(fmt.Sprintf("act-%d", i)), noon.Add(time.Duration(i)*time.Minute)
		if a.What == Granted || a.What == Approved {
			a.Base = s.Party(a.Party).Last
		}
		next, why := s.Fold(*a)
		if why[0] != nil {
			t.Fatalf("act %d: %v", i, why[0])
		}
		s = next
	}
	return s
}

var bot = App("app/bot")

func declare(name string, rows ...remote.Row) Act {
	return Act{What: Declared, Party: bot, Actor: Actor{"ada", "bearer token"}, Rows: rows,
		Manifest: Manifest{ID: "bot", Name: name, Vendor: "Bots", Version: "1", Digest: "sha256:00"}}
}

func ask(rows ...remote.Row) Act {
	return Act{What: Requested, Party: bot, Actor: Actor{"ada", "bearer token"}, Rows: rows, Answer: time.Hour, Reason: "wanted"}
}

func grant(of isogate.EntryID, rows ...remote.Row) Act {
	return Act{What: Granted, Party: bot, Of: of, Actor: Actor{"bob", "bearer token"}, Rows: rows}
}

func nothingLeaves(Party, remote.Row) Egress {
	return Egress{Pack: "sha256:01", Words: "nothing leaves"}
}

func promptOf(t *testing.T, s *State, id isogate.EntryID) *Prompt {
	t.Helper()
	r, ok := s.Request(id)
	if !ok {
		t.Fatalf("no request %s", id)
	}
	return s.Prompt(r, nothingLeaves, noon.Add(30*time.Minute))
}

func digestOf(t *testing.T, p *Prompt) string {
	t.Helper()
	d, err := p.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// promise: P12
func TestPromptSaysWhatIsAsked(t *testing.T) {
	wild := row(t, wildRow)
	p := promptOf(t, folded(t, declare("Bot", wild), ask(wild)), "act-1")
	if p.App == nil || p.App.Name != "Bot" || p.App.Vendor != "Bots" || p.By.Name != "ada" || p.Default != "deny" || len(p.Rows) != 1 {
		t.Fatalf("got %+v", p)
	}
	r := p.Rows[0]
	if r.Words != "every subdomain of example.org, not example.org itself" || r.Registrable != "example.org" || r.Class != "added" {
		t.Errorf("got %+v", r)
	}
	if len(r.Risks) != 3 || len(r.Tokens) != 1 || len(r.Operations) != 1 || !r.EndUserData {
		t.Errorf("got %+v", r)
	}
	var codes []string
	for _, w := range r.Warnings {
		codes = append(codes, w.Code)
	}
	if got := strings.Join(codes, " "); got != "wildcard new-domain" {
		t.Errorf("warnings: %s", got)
	}
	if len(p.Stops) != 1 || !strings.Contains(p.Stops[0], "*.example.org") {
		t.Errorf("stops: %q", p.Stops)
	}
}

// promise: P13
func TestPromptAfterAnUpdateShowsWhatIsNew(t *testing.T) {
	api, wild := row(t, apiRow), row(t, "backend *.example.com:443 operations=storage end-user-data")
	s := folded(t, declare("Bot", api), ask(api), grant("act-1", api), declare("Bot", api, wild), ask(wild))
	p := promptOf(t, s, "act-4")
	if len(p.Rows) != 1 || p.Rows[0].Row != wild.String() || p.Rows[0].Class != "widened" || len(p.Rows[0].Why) == 0 {
		t.Fatalf("got %+v", p.Rows)
	}
	for _, w := range p.Rows[0].Warnings {
		if w.Code == "new-domain" {
			t.Errorf("a domain that was granted is new: %+v", w)
		}
	}
	if last := p.Stops[len(p.Stops)-1]; !strings.Contains(last, "goes on working: 1") {
		t.Errorf("stops: %q", p.Stops)
	}
}

// ATTACK: an administrator looks at a prompt; before they answer, what it says
// changes. THIS TEST VERIFIES that the digest is another after every change that
// they could see, and the same while there is none.
func TestPromptDigestIsOfWhatIsShown(t *testing.T) {
	api, wild := row(t, apiRow), row(t, wildRow)
	acts := func() []Act { return []Act{declare("Bot", api, wild), ask(api)} }
	first := digestOf(t, promptOf(t, folded(t, acts()...), "act-1"))
	if again := digestOf(t, promptOf(t, folded(t, acts()...), "act-1")); again != first {
		t.Errorf("the same prompt has two digests: %s, %s", first, again)
	}
	seen := map[string]string{first: "as it was"}
	note := func(what string, p *Prompt) {
		d := digestOf(t, p)
		if was, ok := seen[d]; ok {
			t.Errorf("%s: the digest is that of: %s", what, was)
		}
		seen[d] = what
	}
	note("another row", promptOf(t, folded(t, declare("Bot", api, wild), ask(api, wild)), "act-1"))
	note("another name", promptOf(t, folded(t, declare("B0t", api, wild), ask(api)), "act-1"))
	note("something else was granted", promptOf(t, folded(t, append(acts(), ask(wild), grant("act-2", wild))...), "act-1"))
	second := ask(api)
	second.Second = true
	note("two are needed", promptOf(t, folded(t, declare("Bot", api, wild), second), "act-1"))
	yes := grant("act-1", api)
	yes.What = Approved
	note("somebody approved", promptOf(t, folded(t, declare("Bot", api, wild), second, yes), "act-1"))

	s := folded(t, acts()...)
	r, _ := s.Request("act-1")
	note("another pack", s.Prompt(r, func(Party, remote.Row) Egress { return Egress{Pack: "sha256:02", Words: "nothing leaves"} }, noon))
}

// ATTACK: an app's name turns the direction of writing, moves the cursor, or
// pushes the rest out of sight. THIS TEST VERIFIES that a prompt has none of that.
func TestPromptShowsNothingThatActs(t *testing.T) {
	api := row(t, apiRow)
	hostile := "\x1b[2J\u202eB\u200bot\u2028\x00\u0085" + strings.Repeat("x", 10_000)
	p := promptOf(t, folded(t, declare(hostile, api), ask(api)), "act-1")
	if want := `\u{1b}[2J\u{202e}B\u{200b}ot\u{2028}\u{0}\u{85}xxx`; !strings.HasPrefix(p.App.Name, want) {
		t.Errorf("got %q, want it to begin with %q", p.App.Name, want)
	}
	if len(p.App.Name) > 3*maxShown {
		t.Errorf("the name is %d bytes long", len(p.App.Name))
	}
	if Shown("Bot für <b>alle</b> 🤖") != "Bot für <b>alle</b> 🤖" {
		t.Error("an ordinary name is not shown as it is")
	}
	if got := Shown("\xff\xfe"); got != "\uFFFD\uFFFD" {
		t.Errorf("got %q", got)
	}
}

func TestPromptOfATransit(t *testing.T) {
	party := OfTransit("usage")
	s := folded(t, Act{What: Requested, Party: party, Actor: Actor{Name: "isogate serve"}, Rows: []remote.Row{TransitRow("usage")}, Answer: time.Hour})
	p := promptOf(t, s, "act-0")
	if p.App != nil || len(p.Rows) != 1 || p.Rows[0].Words != "the transit usage of the pack" || p.Rows[0].Warnings != nil {
		t.Errorf("got %+v", p)
	}
}

// TestPromptShowsTheAddressAsWritten: what the manifest says stands beside what it
// was taken for, also after the act went through its entry, and what would turn the
// direction of writing does not.
//
// promise: P12
func TestPromptShowsTheAddressAsWritten(t *testing.T) {
	api, wild := row(t, apiRow), row(t, wildRow)
	d := declare("Bot", api, wild)
	d.Written = []string{Shown("HTTPS://API.example.com/v1/\u202e"), wild.Host}
	read, err := ReadAct(d.Entry())
	if err != nil {
		t.Fatal(err)
	}
	p := promptOf(t, folded(t, read, ask(api, wild)), "act-1")
	if got := p.Rows[0].Written; got != `HTTPS://API.example.com/v1/\u{202e}` {
		t.Errorf("written: %q", got)
	}
	if got := p.Rows[1].Written; got != "" {
		t.Errorf("the host is said twice: %q", got)
	}
	// Fewer texts than rows would put one beside the wrong row.
	e := d.Entry()
	e.Detail[inWritten] = "one"
	if _, err := ReadAct(e); err == nil {
		t.Error("one text of two rows is taken")
	}
}
