package seal

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/isogate/isogate"
)

func TestHeaderRoundTrip(t *testing.T) {
	s := newSide(t)
	byRequest := transitOnly()
	byRequest.Session, byRequest.ByRequest = "", true
	var line []byte
	var want []Arrival
	for i, c := range []Context{transitOnly(), temporary(5 * time.Minute), temporary(time.Millisecond), byRequest} {
		now := start
		k, err := NewSealer(c, s.statement, func() time.Time { return now })
		if err != nil {
			t.Fatal(err)
		}
		now = now.Add(1234*time.Millisecond + time.Microsecond)
		if i == 1 {
			k.SetHeld()
		}
		if k.Held() != (i == 1) {
			t.Error(i, k.Held())
		}
		if i > 0 {
			line = append(line, ", "...)
		}
		line = k.AppendHeader(line)
		a := Arrival{ID: k.ID(), Epoch: s.epoch.ID(), Context: k.Context(), Age: 1235 * time.Millisecond}
		if c.Made = start; !a.Context.Made.Equal(start) {
			t.Error(a.Context.Made)
		}
		want = append(want, a)
	}
	got, err := ParseHeader([]string{"", string(line)}, "acme", "support-portal")
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	for i := range got {
		if (got[i].Wrapped == nil) != (i == 1) {
			t.Errorf("%d: wrapped: %d bytes", i, len(got[i].Wrapped))
		}
		got[i].Wrapped = nil
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("\n got %+v\nwant %+v", got, want)
	}
	parts := strings.Split(string(line), ", ")
	if again, err := ParseHeader(parts, "acme", "support-portal"); err != nil || len(again) != 4 {
		t.Errorf("as lines of their own: %d, %v", len(again), err)
	}
	if none, err := ParseHeader(nil, "acme", "support-portal"); err != nil || len(none) != 0 {
		t.Error(none, err)
	}
}

func TestHeaderRefuses(t *testing.T) {
	s := newSide(t)
	k := mustSealer(t, transitOnly(), s)
	whole := string(k.AppendHeader(nil))
	k.SetHeld()
	good := string(k.AppendHeader(nil))
	if _, err := ParseHeader([]string{good}, "acme", "support-portal"); err != nil {
		t.Fatal(err)
	}
	var many []string
	for range MaxKeys + 1 {
		k := mustSealer(t, transitOnly(), s)
		k.SetHeld()
		many = append(many, string(k.AppendHeader(nil)))
	}
	if got, err := ParseHeader(many[1:], "acme", "support-portal"); err != nil || len(got) != MaxKeys {
		t.Errorf("%d keys: %v", len(got), err)
	}
	replace := func(from, to string) []string {
		if !strings.Contains(good, from) {
			t.Fatalf("%s has no %s", good, from)
		}
		return []string{strings.Replace(good, from, to, 1)}
	}
	for what, c := range map[string]struct {
		lines []string
		says  string
	}{
		"too many":              {many, "17 keys"},
		"too long":              {[]string{strings.Repeat("a", 70_000)}, "longer than"},
		"one twice":             {[]string{good + ", " + good}, "members 1 and 2 are of one key"},
		"an empty member":       {[]string{good + ", , " + good}, "empty member"},
		"no id":                 {replace(`"`+k.ID().String()+`"`, ""), "no id of a seal key"},
		"a token for an id":     {replace(`"`+k.ID().String()+`"`, k.ID().String()), "no id of a seal key"},
		"upper case":            {[]string{strings.ToUpper(good[:28]) + good[28:]}, "no id of a seal key"},
		"an epoch of others":    {replace(`;epoch="`, `;epoch="a`), "parameter epoch"},
		"no epoch":              {replace(`;epoch="`+s.epoch.ID().String()+`"`, ""), "not as a gateway writes it"},
		"no transit":            {replace(`;transit="support-session"`, ""), "transit"},
		"another handling":      {replace(`handling=transit-only`, `handling=forever`), "parameter handling"},
		"persisted":             {replace(`handling=transit-only`, `handling=persisted`), "not sealed"},
		"no session":            {replace(`;session="`+session+`"`, ""), "not a digest"},
		"a session of others":   {replace(`;session="`, `;session="A`), "not a digest"},
		"session and request":   {replace(`;made`, `;by-request;made`), "ends with its request"},
		"by-request with value": {replace(`;session="`+session+`"`, `;by-request=?0`), "not as a gateway writes it"},
		"a ttl as well":         {replace(`;made`, `;ttl=1000;made`), "has no ttl"},
		"a negative age":        {replace(`;age=0`, `;age=-1`), "parameter age"},
		"an age of ages":        {replace(`;age=0`, `;age=99999999999999`), "parameter age"},
		"a signed age":          {replace(`;age=0`, `;age=+0`), "not as a gateway writes it"},
		"no age":                {replace(`;age=0`, ``), "not as a gateway writes it"},
		"not made":              {replace(`;made=`, `;mad=`), "is unknown"},
		"made in 1970":          {replace(`;made=1`, `;made=0;x=1`), "is unknown"},
		"a parameter twice":     {replace(`;age=0`, `;age=0;age=0`), "not as a gateway writes it"},
		"another order":         {replace(`;handling=transit-only`, ``), ""},
		"space":                 {replace(`;age=0`, `; age=0`), "is unknown"},
		"many parameters":       {[]string{good + strings.Repeat(";a", 20)}, "too many parameters"},
		"a key that is none":    {[]string{good + `;key=:AAAA:`}, "has 3 bytes"},
		"a key not in base64":   {[]string{good + `;key=:A*AA:`}, "parameter key"},
		"a key without colons":  {[]string{strings.NewReplacer(`=:`, `=`).Replace(whole)}, "not as a gateway writes it"},
		"an inner list":         {[]string{"(" + good + ")"}, "no id of a seal key"},
		"a trailing comma":      {[]string{good + ","}, "empty member"},
	} {
		got, err := ParseHeader(c.lines, "acme", "support-portal")
		if err == nil || got != nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v; want %q", what, err, c.says)
		}
	}
	if _, err := ParseHeader([]string{good}, "", "support-portal"); err == nil {
		t.Error("of no tenant")
	}
}

func TestHeld(t *testing.T) {
	ids := []ID{{1}, {2, 3}}
	line := string(AppendHeld(nil, ids))
	got, err := ParseHeld([]string{line})
	if err != nil || !reflect.DeepEqual(got, ids) {
		t.Errorf("%s: %v, %v", line, got, err)
	}
	if got, err := ParseHeld(nil); err != nil || len(got) != 0 {
		t.Error(got, err)
	}
	for _, s := range []string{"x", ids[0].String(), `"` + ids[0].String() + `";a`, `"", ""`, strings.Repeat("a", 2000), line + ",",
		strings.Repeat(`"`+ids[0].String()+`",`, MaxKeys) + `"` + ids[0].String() + `"`} {
		if got, err := ParseHeld([]string{s}); err == nil {
			t.Errorf("%.40s: %v", s, got)
		}
	}
}

func TestIDs(t *testing.T) {
	id := ID{1, 2, 3, 4, 5, 255}
	s := id.String()
	back, err := ParseID(s)
	if err != nil || back != id || len(s) != IDChars || id.Home() != [4]byte{1, 2, 3, 4} {
		t.Errorf("%s: %s, %v", s, back, err)
	}
	for _, bad := range []string{"", s[1:], s + "a", strings.ToUpper(s), "1" + s[1:], s[:25] + "b"} {
		if _, err := ParseID(bad); err == nil {
			t.Errorf("%q is an id", bad)
		}
	}
	e, err := ParseEpochID(EpochID{9}.String())
	if err != nil || e != (EpochID{9}) {
		t.Error(e, err)
	}
	if _, err := ParseEpochID("x"); err == nil {
		t.Error("x is an epoch")
	}
}

// No two contexts make the same bytes, and each valid one can be told from every other.
func TestContextIsInjective(t *testing.T) {
	seen := map[string]string{}
	add := func(c Context) {
		t.Helper()
		enc := string(c.append(nil))
		if was, ok := seen[enc]; ok && was != fmt.Sprint(c) {
			t.Errorf("%+v and %s make the same bytes", c, was)
		}
		seen[enc] = fmt.Sprint(c)
		if len(enc)+len(ID{}) > maxContext {
			t.Errorf("%d bytes", len(enc))
		}
	}
	for _, tenant := range []isogate.Tenant{"a", "ab", "a.b"} {
		for _, d := range []isogate.Destination{"b", "bc", "c"} {
			for _, tr := range []isogate.Transit{"c", "b", "bc/d"} {
				for what, change := range changes() {
					c := Context{Tenant: tenant, Destination: d, Transit: tr, Session: session, Made: start}
					add(c)
					if what != "tenant" && what != "destination" && what != "transit" {
						change(&c)
						add(c)
					}
				}
			}
		}
	}
	n := strings.Repeat("n", 63)
	add(Context{Tenant: isogate.Tenant(n), Destination: isogate.Destination(n), Transit: isogate.Transit(n), Session: session, Made: start})
	if len(seen) < 100 {
		t.Error(len(seen))
	}
}

func TestContextCheck(t *testing.T) {
	good := transitOnly()
	good.Made = start
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	if new(Context).Check() == nil {
		t.Error("the zero context is valid")
	}
	for what, change := range map[string]func(*Context){
		"no tenant": func(c *Context) { c.Tenant = "" }, "a tenant of others": func(c *Context) { c.Tenant = "A" },
		"no destination": func(c *Context) { c.Destination = "" }, "no transit": func(c *Context) { c.Transit = "" },
		"a window": func(c *Context) { c.Window = time.Second }, "no session": func(c *Context) { c.Session = "" },
		"a nanosecond": func(c *Context) { c.Made = c.Made.Add(1) }, "never made": func(c *Context) { c.Made = time.Time{} },
		"no ttl":        func(c *Context) { c.Session, c.Handling = "", isogate.Temporary },
		"half a ms":     func(c *Context) { *c = temporary(1500 * time.Microsecond); c.Made, c.Window = start, time.Second },
		"a long window": func(c *Context) { *c = temporary(time.Minute); c.Made, c.Window = start, time.Minute },
		"years":         func(c *Context) { *c = temporary(2 * maxTTL); c.Made, c.Window = start, Window(2*maxTTL) },
		"a session too": func(c *Context) {
			s := c.Session
			*c = temporary(time.Minute)
			c.Made, c.Window, c.Session = start, Window(time.Minute), s
		},
	} {
		c := good
		if change(&c); c.Check() == nil {
			t.Errorf("%s: %+v is valid", what, c)
		}
	}
	for ttl, want := range map[time.Duration]time.Duration{time.Millisecond: time.Second, 10 * time.Second: time.Second, 15 * time.Second: 1500 * time.Millisecond,
		10001 * time.Millisecond: time.Second, 5 * time.Minute: 30 * time.Second, time.Hour: 30 * time.Second} {
		if got := Window(ttl); got != want {
			t.Errorf("Window(%s) = %s, want %s", ttl, got, want)
		}
	}
}

// What a Sealer says of its own life, on clocks that stand still or are set.
//
// promise: P16
func TestSealerLife(t *testing.T) {
	s := newSide(t)
	for what, c := range map[string]struct {
		c       Context
		held    bool
		sealing time.Duration // from then on no more
		due     time.Duration
	}{
		"transit-only":            {transitOnly(), true, 8 * time.Hour, 8 * time.Hour},
		"transit-only, not held":  {transitOnly(), false, 20*time.Minute - 456*time.Millisecond, 8 * time.Hour},
		"temporary":               {temporary(time.Minute), true, 6 * time.Second, 66 * time.Second},
		"temporary, of an hour":   {temporary(time.Hour), false, 30 * time.Second, time.Hour + 30*time.Second},
		"temporary, of a glimpse": {temporary(10 * time.Millisecond), true, time.Second, 1010 * time.Millisecond},
	} {
		now := start
		k, err := NewSealer(c.c, s.statement, func() time.Time { return now })
		if err != nil {
			t.Fatal(err)
		}
		if c.held {
			k.SetHeld()
		}
		for after, want := range map[time.Duration]bool{0: true, c.sealing - 1: true, c.sealing: false, c.sealing + time.Hour: false} {
			if now = start.Add(after); k.Sealing() != want {
				t.Errorf("%s: after %s sealing is %v", what, after, !want)
			}
		}
		if got := k.Due().Sub(start); got != c.due {
			t.Errorf("%s: due after %s, want %s", what, got, c.due)
		}
	}
	now := start
	k, err := NewSealer(transitOnly(), s.statement, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	now = start.Add(-time.Hour)
	p := k.Passage()
	_, raw, _ := Parse([]byte(sealed(t, &p, email, text("Mia"))))
	if o, outcome := k.OpenSeal(nil, k.ID(), raw); outcome != Revealed || o.Age != 0 || !strings.Contains(string(k.AppendHeader(nil)), ";age=0;") {
		t.Errorf("a clock that was set back: %d", o.Age)
	}
	if p.Sealer() != k || !p.Used() {
		t.Error("the passage is of another, or was not used")
	}
	fresh := k.Passage()
	if fresh.Used() {
		t.Error("a passage was used before it was")
	}
	var zero Passage
	if _, ok := zero.Append(nil, email, text("Mia")); ok || zero.Number() != 0 || zero.Used() {
		t.Error("the zero passage seals")
	}
	if out, ok := fresh.Append(nil, email, isogate.Value{}); !ok || string(out) != "null" || fresh.Used() {
		t.Errorf("null: %q", out)
	}
}

func TestNewSealerRefuses(t *testing.T) {
	s := newSide(t)
	for what, c := range map[string]struct {
		change func(*Context, *Statement)
		now    time.Time
		says   string
	}{
		"another destination": {func(_ *Context, s *Statement) { s.Destination = "billing" }, start, "of the landing of billing"},
		"not yet":             {func(*Context, *Statement) {}, start.Add(-2 * time.Minute), "fetch a new one"},
		"no more":             {func(*Context, *Statement) {}, start.Add(20 * time.Minute), "fetch a new one"},
		"persisted":           {func(c *Context, _ *Statement) { c.Handling = isogate.Persisted }, start, "not sealed"},
		"a key that is none":  {func(_ *Context, s *Statement) { s.Public = s.Public[1:] }, start, "epoch key of landing"},
		"no session":          {func(c *Context, _ *Statement) { c.Session = "" }, start, "session"},
	} {
		ctx, st := transitOnly(), *s.statement
		c.change(&ctx, &st)
		k, err := NewSealer(ctx, &st, at(c.now))
		if err == nil || k != nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v; want %q", what, err, c.says)
		}
	}
	if _, err := NewSealer(transitOnly(), nil, nil); err == nil || !strings.Contains(err.Error(), "no statement") {
		t.Error(err)
	}
}

func TestRegister(t *testing.T) {
	rows := []RegisterRow{
		{Label: account, ID: "igt1abcdefgh", Subject: "igt1abcdefgh", Because: "billing", Rule: "transits/billing.yaml:12"},
		{Label: email, ID: "igt1bcdefg7", Subject: "igt1abcdefgh", Because: `so "that", and; that: 100 % – é` + "\n", Rule: "a,b;c\":1"},
	}
	line := AppendRegister(nil, &rows[0])
	line = AppendRegister(append(line, ", "...), &rows[1])
	got, err := ParseRegister([]string{string(line)})
	if err != nil || !reflect.DeepEqual(got, rows) {
		t.Fatalf("%s\n got %+v, %v\nwant %+v", line, got, err, rows)
	}
	for _, b := range line {
		if b < ' ' || b > '~' {
			t.Errorf("%q in a header", b)
		}
	}
	good := string(AppendRegister(nil, &rows[0]))
	full := strings.TrimSuffix(strings.Repeat(good+", ", MaxRegisterRows), ", ")
	if got, err := ParseRegister([]string{full}); err != nil || len(got) != MaxRegisterRows {
		t.Error(len(got), err)
	}
	for what, c := range map[string]struct{ line, says string }{
		"too many":          {full + ", " + good, "201 identifiers"},
		"too long":          {strings.Repeat("a", MaxRegisterBytes+1), "longer than"},
		"no label":          {strings.Replace(good, "account.id", "", 1), "label"},
		"unclassified":      {strings.Replace(good, "account.id", "unclassified", 1), "nothing unclassified"},
		"a value":           {strings.Replace(good, `id="igt1abcdefgh`, `id="mia@example.com`, 1), "id: not a token"},
		"upper case":        {strings.Replace(good, `id="igt1abcdefgh`, `id="igt1ABCDEFGH`, 1), "id: not a token"},
		"a hash":            {strings.Replace(good, `id="igt1`, `id="igh1`, 1), "id: not a token"},
		"a token too long":  {strings.Replace(good, `id="igt1`, `id="igt1`+strings.Repeat("a", MaxRegisterToken), 1), "id: not a token"},
		"a label too long":  {strings.Replace(good, "account.id", "account."+strings.Repeat("a", 300), 1), "label"},
		"a seal":            {strings.Replace(good, `subject="igt1`, `subject="igs1`, 1), "subject: not a token"},
		"no reason":         {strings.Replace(good, `"billing"`, `""`, 1), "because"},
		"a reason too long": {strings.Replace(good, `billing`, strings.Repeat("b", 501), 1), "because"},
		"not UTF-8":         {strings.Replace(good, `billing`, "%ff", 1), "because"},
		"a plain string":    {strings.Replace(good, `%"billing"`, `"billing"`, 1), "because: not a display string"},
		"half an escape":    {strings.Replace(good, `billing`, "b%4", 1), "because: not a display string"},
		"no escape":         {strings.Replace(good, `billing`, "b%zz", 1), "because: not a display string"},
		"a needless escape": {strings.Replace(good, `billing`, "%62illing", 1), "not as a gateway writes it"},
		"unknown":           {good + `;x=1`, "is unknown"},
		"twice":             {good + `;rule=%"a:1"`, "not as a gateway writes it"},
		"no rule":           {strings.Replace(good, `;rule=%"transits/billing.yaml:12"`, "", 1), "rule"},
		"an empty member":   {good + ",", "empty member"},
		"many parameters":   {good + strings.Repeat(";x", 20), "too many"},
	} {
		got, err := ParseRegister([]string{c.line})
		if err == nil || got != nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v; want %q", what, err, c.says)
		}
		if err != nil && strings.Contains(err.Error(), "mia@") {
			t.Errorf("%s: the error tells a value: %v", what, err)
		}
	}
}

// Every member fits into a field line that a server takes.
func TestMembersFitALine(t *testing.T) {
	const line = 16 << 10
	token := "igt1" + strings.Repeat("a", MaxRegisterToken-4)
	row := RegisterRow{Label: isogate.Label("l" + strings.Repeat("a", 254)), ID: token, Subject: token, Because: strings.Repeat("é", MaxBecause/2), Rule: strings.Repeat("é", MaxRule/2)}
	if err := row.Check(); err != nil {
		t.Fatal(err)
	}
	if n := len(AppendRegister(nil, &row)) + len(HeaderRegister); n > line {
		t.Errorf("a row has %d bytes", n)
	}
	s := newSide(t)
	c := transitOnly()
	c.Transit = isogate.Transit(strings.Repeat("t", 63))
	k, err := NewSealer(c, s.statement, at(start))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(k.AppendHeader(nil)); n > maxMember {
		t.Errorf("a key has %d bytes", n)
	}
}

// FuzzParseHeader: what is taken is what a gateway writes, and nothing unwraps that
// was not wrapped.
func FuzzParseHeader(f *testing.F) {
	s := newSide(f)
	for _, c := range []Context{transitOnly(), temporary(5 * time.Minute)} {
		k := mustSealer(f, c, s)
		f.Add(string(k.AppendHeader(nil)))
		k.SetHeld()
		f.Add(string(k.AppendHeader(nil)))
		f.Add(string(k.AppendHeader(nil)) + ", " + string(k.AppendHeader(nil)))
	}
	f.Fuzz(func(t *testing.T, line string) {
		as, err := ParseHeader([]string{line}, "acme", "support-portal")
		if err != nil {
			return
		}
		var again []byte
		for i := range as {
			if i > 0 {
				again = append(again, ", "...)
			}
			again = appendAge(appendMember(again, &as[i]), as[i].Age.Milliseconds())
			if as[i].Wrapped != nil {
				again = appendKey(again, inBase64(as[i].Wrapped))
			}
			var key [32]byte
			if s.epoch.Unwrap(as[i], &key) == nil {
				if as[i].Context.Check() != nil || commit(&key, as[i].ID.Home(), as[i].Context.append(nil)) != as[i].ID {
					t.Fatalf("%+v was unwrapped", as[i])
				}
			}
		}
		if normal := strings.Join(membersOf(line), ", "); normal != string(again) {
			t.Fatalf("%q was read as %q", line, again)
		}
	})
}

// membersOf are the members of a list, whatever white space there is between them.
func membersOf(line string) []string {
	var out []string
	for _, m := range strings.Split(line, ",") {
		if m = strings.Trim(m, " \t"); m != "" {
			out = append(out, m)
		}
	}
	return out
}

// FuzzParseRegister: what is taken is what a gateway writes.
func FuzzParseRegister(f *testing.F) {
	f.Add(string(AppendRegister(nil, &RegisterRow{Label: account, ID: "igt1abcdefgh", Subject: "igt1abcdefgh", Because: "billing, é", Rule: "transits/billing.yaml:12"})))
	f.Add(`"account.id";id="igt1ab";subject="igt1ab";because=%"%2c";rule=%"a:1", "account.id";id="igt1ab";subject="igt1ab";because=%"b";rule=%"a:1"`)
	f.Fuzz(func(t *testing.T, line string) {
		rows, err := ParseRegister([]string{line})
		if err != nil {
			return
		}
		var again []byte
		for i := range rows {
			if err := rows[i].Check(); err != nil {
				t.Fatal(err)
			}
			if i > 0 {
				again = append(again, ", "...)
			}
			again = AppendRegister(again, &rows[i])
		}
		if normal := strings.Join(membersOf(line), ", "); normal != string(again) {
			t.Fatalf("%q was read as %q", line, again)
		}
		if bytes.ContainsAny(again, "\r\n\x00") {
			t.Fatalf("%q", again)
		}
	})
}
