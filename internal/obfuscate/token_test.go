package obfuscate

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/mail"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/isogate/isogate"
)

// promise: P37
func TestRoundTrip(t *testing.T) {
	o := mustNew(t)
	values := []string{"", "a", "mia.krystof@example.com", "Mïa ☃ Κρυστόφ 🦊", "\x00", "trailing zeros\x00\x00", "\x83", "\xff\xfe not UTF-8 \x80", strings.Repeat("long ", 20_000)}
	for n := range 70 {
		values = append(values, strings.Repeat("x", n))
	}
	for _, size := range buckets {
		values = append(values, strings.Repeat("y", size-1), strings.Repeat("y", size-2))
	}
	for _, v := range values {
		for _, shape := range []string{"", "text", "email"} {
			got := replace(t, o, verdict(isogate.Token, shape), v)
			if strings.HasPrefix(got, hashPrefix) && shape == "email" {
				continue // too long for an address
			}
			for _, spelled := range []string{got, strings.ToUpper(got), strings.ToLower(got)} {
				label, back, err := o.Reveal(spelled)
				if err != nil || string(back) != v || label != email {
					t.Fatalf("%d bytes, form %q: label %q, %d bytes back, %v", len(v), shape, label, len(back), err)
				}
			}
		}
	}
}

// A value longer than the longest token is hashed, and says so.
func TestTooLongForToken(t *testing.T) {
	o := mustNew(t)
	for n, want := range map[int]isogate.Action{MaxToken: isogate.Token, MaxToken + 1: isogate.Hash} {
		out, _, applied, err := o.Replace(nil, verdict(isogate.Token, ""), isogate.Value{Kind: isogate.String, Text: make([]byte, n)})
		if err != nil || applied != want {
			t.Errorf("%d bytes: %v, %v; want %v", n, applied, err, want)
		}
		if want == isogate.Token && len(out) != MaxTokenText {
			t.Errorf("the longest token has %d characters, MaxTokenText is %d", len(out), MaxTokenText)
		}
	}
}

// promise: P37 — what was minted before a rotation is still read after it.
func TestRoundTripAfterRotation(t *testing.T) {
	before := mustNew(t)
	after := mustNew(t, func(c *Config) { c.Keys = testKeys{primary: 2, ids: []uint32{2, 1}} })
	old, now := token(t, before, "mia"), token(t, after, "mia")
	if old == now {
		t.Fatal("rotation changed nothing")
	}
	for _, tok := range []string{old, now} {
		if label, v, err := after.Reveal(tok); err != nil || string(v) != "mia" || label != email {
			t.Errorf("%s: %q, %q, %v", tok, label, v, err)
		}
	}
	if _, _, err := before.Reveal(now); !errors.Is(err, ErrForeign) {
		t.Errorf("a key that is not there yet: %v", err)
	}
	gone := mustNew(t, func(c *Config) { c.Keys = testKeys{primary: 2, ids: []uint32{2}} })
	if _, _, err := gone.Reveal(old); !errors.Is(err, ErrForeign) {
		t.Errorf("a key that is gone: %v", err)
	}
}

// others are obfuscators of which exactly one thing differs.
func others(t *testing.T) map[string]func(value string, a isogate.Action, form string) string {
	t.Helper()
	with := func(l isogate.Label, change ...func(*Config)) func(string, isogate.Action, string) string {
		o := mustNew(t, change...)
		return func(value string, a isogate.Action, form string) string {
			return replace(t, o, labelled(l, a, form), value)
		}
	}
	return map[string]func(string, isogate.Action, string) string{
		"the same":          with(email),
		"another tenant":    with(email, func(c *Config) { c.Tenant = "umbrella" }),
		"a destination":     with(email, func(c *Config) { c.Destination = "billing" }),
		"another label":     with(name),
		"another key":       with(email, func(c *Config) { c.Keys = testKeys{primary: 2, ids: []uint32{1, 2}} }),
		"a label as tenant": with(email, func(c *Config) { c.Tenant, c.Destination = "acmesupport-portal", "x" }),
	}
}

// longestCommon is the length of the longest string that both hold.
func longestCommon(a, b string) int {
	best := 0
	row := make([]int, len(b)+1)
	for i := range len(a) {
		diagonal := 0
		for j := range len(b) {
			diagonal, row[j+1] = row[j+1], diagonal
			if a[i] != b[j] {
				row[j+1] = 0
				continue
			}
			row[j+1]++
			best = max(best, row[j+1])
		}
	}
	return best
}

func TestLongestCommon(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "x", 0}, {"abc", "xbcd", 2}, {"abcdef", "abcdef", 6}, {"aab", "aaab", 3}} {
		if got := longestCommon(c.a, c.b); got != c.want {
			t.Errorf("%q %q: %d", c.a, c.b, got)
		}
	}
}

// promise: P38 — equal value, tenant, destination and label give an equal
// replacement; with any of them different, the two have no more in common than
// random text has.
func TestEqualAndUnlinkable(t *testing.T) {
	makers := others(t)
	for _, value := range []string{"", "mia.krystof@example.com", strings.Repeat("a", 200)} {
		for _, c := range []struct {
			action isogate.Action
			form   string
			strip  func(string) string
		}{
			{isogate.Token, "", func(s string) string { return s[len(tokenPrefix)+1:] }},
			{isogate.Hash, "", func(s string) string { return s[len(hashPrefix):] }},
			{isogate.Token, "email", func(s string) string {
				return strings.TrimSuffix(s, DefaultEmailDomain)[len(tokenPrefix)+1:]
			}},
		} {
			same := makers["the same"](value, c.action, c.form)
			if again := makers["the same"](value, c.action, c.form); again != same {
				t.Errorf("%v: %s, and again: %s", c.action, same, again)
			}
			for what, other := range makers {
				got := other(value, c.action, c.form)
				if what == "the same" {
					if got != same {
						t.Errorf("%v: equal, but %s and %s", c.action, same, got)
					}
					continue
				}
				if n := longestCommon(c.strip(same), c.strip(got)); n > 7 {
					t.Errorf("%v of %q under %s: %d characters in common: %s %s", c.action, value, what, n, same, got)
				}
			}
		}
	}
}

// promise: P38 — numbers and names alike.
func TestNumbersAndNamesUnlinkable(t *testing.T) {
	number := func(change func(*Config), l isogate.Label) string {
		out, _, _, err := mustNew(t, change).Replace(nil, labelled(l, isogate.Token, ""), isogate.Value{Kind: isogate.Number, Text: []byte("12480498776781")})
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	pseudonym := func(change func(*Config), l isogate.Label, a isogate.Action) string {
		out, _, err := mustNew(t, change).ReplaceName(nil, labelled(l, a, ""), []byte("mia@example.com"))
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	nothing := func(*Config) {}
	billing := func(c *Config) { c.Destination = "billing" }
	umbrella := func(c *Config) { c.Tenant = "umbrella" }
	once := number(nothing, email)
	if again := number(nothing, email); again != once {
		t.Error("equal numbers differ")
	}
	seen := map[string]bool{once: true}
	for what, n := range map[string]string{"destination": number(billing, email), "tenant": number(umbrella, email), "label": number(nothing, name)} {
		if seen[n] {
			t.Errorf("another %s, the same number", what)
		}
		seen[n] = true
	}
	for _, a := range []isogate.Action{isogate.Token, isogate.Hash} {
		same := pseudonym(nothing, email, a)
		if pseudonym(nothing, name, a) != same {
			t.Error("a name depends on the label of its value")
		}
		for _, other := range []func(*Config){billing, umbrella} {
			if n := longestCommon(same[5:], pseudonym(other, email, a)[5:]); n > 7 {
				t.Errorf("%v: %d characters in common", a, n)
			}
		}
	}
}

// Of the length of a value nothing shows but its bucket, and buckets are few.
func TestLengthHidden(t *testing.T) {
	o := mustNew(t)
	lengths := map[int]int{}
	for n := range 256 {
		lengths[len(token(t, o, strings.Repeat("z", n)))]++
	}
	if len(lengths) != 8 {
		t.Errorf("256 lengths show as %d: %v", len(lengths), lengths)
	}
	for i := 1; i < len(buckets); i++ {
		if buckets[i] <= buckets[i-1] || buckets[i]%16 != 0 {
			t.Errorf("bucket %d is %d", i, buckets[i])
		}
	}
	if token(t, o, "x")[:5] != token(t, o, "another")[:5] {
		t.Error("two values of one bucket differ before the tag")
	}
}

var addressShape = regexp.MustCompile(`^[a-z0-9]{1,64}@([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9]*$`)

func TestEmailShape(t *testing.T) {
	o := mustNew(t, func(c *Config) { c.EmailDomain = "mail.acme.invalid" })
	for n := range 300 {
		value := strings.Repeat("m", n)
		out, kind, applied, err := o.Replace(nil, verdict(isogate.Token, "email"), isogate.Value{Kind: isogate.String, Text: []byte(value)})
		if err != nil || kind != isogate.String {
			t.Fatalf("%d bytes: %v, %v", n, kind, err)
		}
		s := string(out)
		if a, err := mail.ParseAddress(s); err != nil || a.Address != s {
			t.Fatalf("%d bytes: %s: %v", n, s, err)
		}
		if !addressShape.MatchString(s) || len(s) > 254 || !strings.HasSuffix(s, ".mail.acme.invalid") && !strings.HasSuffix(s, "@mail.acme.invalid") {
			t.Fatalf("%d bytes: %s", n, s)
		}
		if want := n <= 95; want != (applied == isogate.Token) {
			t.Fatalf("%d bytes: applied %v", n, applied)
		}
		if applied == isogate.Token {
			if _, back, err := o.Reveal(strings.ToUpper(s)); err != nil || string(back) != value {
				t.Fatalf("%s: %q, %v", s, back, err)
			}
		}
	}
}

func TestRevealErrors(t *testing.T) {
	o := mustNew(t)
	good := token(t, o, "mia.krystof@example.com")
	address := replace(t, o, verdict(isogate.Token, "email"), "mia.krystof@example.com")
	foreign := token(t, mustNew(t, func(c *Config) { c.Tenant = "umbrella" }), "mia")
	flip := func(s string, i int) string {
		c := byte('a')
		if s[i] == 'a' {
			c = 'b'
		}
		return s[:i] + string(c) + s[i+1:]
	}
	for what, c := range map[string]struct {
		token string
		want  error
	}{
		"nothing":             {"", ErrNotToken},
		"a prefix":            {"igt1", ErrNotToken},
		"no room for a tag":   {"igt1abcdef", ErrNotToken},
		"another mark":        {"igh1" + good[4:], ErrNotToken},
		"another version":     {"igt8" + good[4:], ErrNotToken},
		"not base32":          {"igt1b8" + good[6:], ErrNotToken},
		"more behind it":      {good + "x", ErrNotToken},
		"a space before it":   {" " + good, ErrNotToken},
		"another tenant":      {foreign, ErrForeign},
		"another tag":         {flip(good, 7), ErrForeign},
		"cut":                 {good[:len(good)-1], ErrDamaged},
		"cut behind the tag":  {good[:12], ErrDamaged},
		"a changed character": {flip(good, 40), ErrDamaged},
		"the last character":  {flip(good, len(good)-1), ErrDamaged},
		"another bucket":      {good[:4] + "a" + good[5:], ErrNotToken},
		"a larger bucket":     {good[:4] + "c" + good[5:], ErrDamaged},
		"spare bits set":      {good[:len(good)-1] + string(good[len(good)-1]+1), ErrDamaged},
		"a cut address":       {address[:len(address)-3], ErrDamaged},
		"another domain":      {strings.TrimSuffix(address, "invalid") + "example", ErrDamaged},
		"no dot":              {strings.Replace(address, ".", "-", 1), ErrDamaged},
		"no domain":           {address[:65], ErrDamaged},
	} {
		_, v, err := o.Reveal(c.token)
		if what == "another bucket" && errors.Is(err, ErrDamaged) {
			continue // read as the shorter token, it is damaged
		}
		if !errors.Is(err, c.want) || v != nil {
			t.Errorf("%s: %q, %v; want %v", what, v, err, c.want)
		}
	}
	if _, _, err := new(Obfuscator).Reveal(good); !errors.Is(err, ErrForeign) {
		t.Errorf("the zero Obfuscator: %v", err)
	}
}

// Two keys may happen to have the same tag; then both are tried.
func TestSameTag(t *testing.T) {
	o := mustNew(t)
	first := o.labels[email].token
	second := o.labels[name].token
	first.tag = second.tag
	for k := range o.tags {
		delete(o.tags, k)
	}
	tag := uint32(first.tag[0])<<24 | uint32(first.tag[1])<<16 | uint32(first.tag[2])<<8 | uint32(first.tag[3])
	first.next, second.next = second, nil
	o.tags[tag] = first
	for _, l := range []isogate.Label{email, name} {
		tok := replace(t, o, labelled(l, isogate.Token, ""), "mia")
		if got, v, err := o.Reveal(tok); err != nil || got != l || string(v) != "mia" {
			t.Errorf("%s: %q, %q, %v", l, got, v, err)
		}
	}
}

// A token that opens but was not padded as ours are was not minted by this code.
func TestUnpad(t *testing.T) {
	for _, p := range [][]byte{nil, make([]byte, 16), append([]byte("abc"), 0x80), append([]byte("abc"), 0x84), []byte("abc\x00\x00")} {
		if v, kind, ok := Unpad(p); ok {
			t.Errorf("%x: %q, %v", p, v, kind)
		}
	}
	o := mustNew(t)
	k := o.labels[email].token
	s := o.borrow()
	k.seal(s, 0, []byte("x"), isogate.String)
	p := make([]byte, 16)
	var iv block
	k.siv.seal(&s.blocks, &iv, p)
	body := AppendBase32(nil, append(append(append([]byte(nil), k.tag[:]...), iv[:]...), p...))
	if _, _, err := o.Reveal(tokenPrefix + "a" + string(body)); !errors.Is(err, ErrDamaged) {
		t.Errorf("nothing but zeros: %v", err)
	}
}

func TestNewRefuses(t *testing.T) {
	keys := testKeys{primary: 1, ids: []uint32{1}}
	for what, c := range map[string]struct {
		change func(*Config)
		say    string
	}{
		"no tenant":          {func(c *Config) { c.Tenant = "" }, "tenant"},
		"a bad tenant":       {func(c *Config) { c.Tenant = "A/b" }, "tenant"},
		"no destination":     {func(c *Config) { c.Destination = "" }, "destination"},
		"no keys":            {func(c *Config) { c.Keys = nil }, "keyring"},
		"no primary":         {func(c *Config) { c.Keys = testKeys{primary: 3, ids: []uint32{1}} }, "primary key 3"},
		"an empty label":     {func(c *Config) { c.Labels = []isogate.Label{""} }, "label"},
		"a bad label":        {func(c *Config) { c.Labels = []isogate.Label{"A b"} }, "label"},
		"an upper domain":    {func(c *Config) { c.EmailDomain = "Example.invalid" }, "e-mail domain"},
		"a dash":             {func(c *Config) { c.EmailDomain = "-example.invalid" }, "e-mail domain"},
		"two dots":           {func(c *Config) { c.EmailDomain = "a..b" }, "e-mail domain"},
		"a long domain":      {func(c *Config) { c.EmailDomain = strings.Repeat("a", 64) }, "longer than 63"},
		"token keys fail":    {func(c *Config) { k := keys; k.fail = "token"; c.Keys = k }, "withdrawn"},
		"hash keys fail":     {func(c *Config) { k := keys; k.fail = "hash"; c.Keys = k }, "withdrawn"},
		"keys of names fail": {func(c *Config) { k := keys; k.fail = "name"; c.Keys = k }, "withdrawn"},
	} {
		cfg := config()
		c.change(&cfg)
		o, err := New(cfg)
		if err == nil || o != nil || !strings.Contains(err.Error(), c.say) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// The keys are in no way of printing an Obfuscator.
func TestNeverPrinted(t *testing.T) {
	o := mustNew(t)
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		if got := fmt.Sprintf(format, o); got != redacted {
			t.Errorf("%s: %.80s", format, got)
		}
	}
	if got := o.LogValue().String(); got != redacted {
		t.Error(got)
	}
	if got, err := o.MarshalText(); err != nil || string(got) != redacted {
		t.Error(got, err)
	}
}

func TestConcurrent(t *testing.T) {
	o := mustNew(t)
	want := token(t, o, "mia.krystof@example.com")
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(i), 0))
			for range 300 {
				other := strings.Repeat("q", rng.IntN(400))
				out, _, _, err := o.Replace(nil, verdict(isogate.Token, "email"), isogate.Value{Kind: isogate.String, Text: []byte(other)})
				if err != nil || len(out) == 0 {
					t.Error(err)
				}
				if got := token(t, o, "mia.krystof@example.com"); got != want {
					t.Errorf("%s, want %s", got, want)
				}
				if got, n := o.Restore(nil, []byte(want), Plain); n != 1 || string(got) != "mia.krystof@example.com" {
					t.Errorf("%q, %d", got, n)
				}
			}
		})
	}
	wg.Wait()
}

func TestNoAllocations(t *testing.T) {
	o := mustNew(t)
	val := isogate.Value{Kind: isogate.String, Text: []byte("mia.krystof@example.com")}
	number := isogate.Value{Kind: isogate.Number, Text: []byte("12480498776781")}
	dst := make([]byte, 0, 4096)
	name := []byte("customfield_10042")
	tok := []byte(token(t, o, "mia.krystof@example.com"))
	for what, f := range map[string]func(){
		"token":   func() { _, _, _, _ = o.Replace(dst, verdictToken, val) },
		"email":   func() { _, _, _, _ = o.Replace(dst, verdictEmail, val) },
		"hash":    func() { _, _, _, _ = o.Replace(dst, verdictHash, val) },
		"number":  func() { _, _, _, _ = o.Replace(dst, verdictToken, number) },
		"mask":    func() { _, _, _, _ = o.Replace(dst, verdictMask, val) },
		"name":    func() { _, _, _ = o.ReplaceName(dst, verdictToken, name) },
		"restore": func() { _, _ = o.Restore(dst, tok, JSON) },
	} {
		if n := testing.AllocsPerRun(200, f); n != 0 && !raceEnabled {
			t.Errorf("%s: %v allocations", what, n)
		}
	}
}

var (
	verdictToken = verdict(isogate.Token, "")
	verdictEmail = verdict(isogate.Token, "email")
	verdictHash  = verdict(isogate.Hash, "")
	verdictMask  = verdict(isogate.Mask, "email")
)

// A hash without a key is worse than none.
func TestZeroPRFPanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("the zero prf hashed")
		}
	}()
	s := &scratch{sha: newSHA()}
	new(prf).sum(s, 0, []byte("mia"))
}

// What was handed out belongs to the caller.
func TestTokenBuffersAreNotShared(t *testing.T) {
	o := mustNew(t)
	src := []byte("mia")
	first := []byte(token(t, o, "mia"))
	keep := bytes.Clone(first)
	_ = token(t, o, "someone else altogether")
	if !bytes.Equal(first, keep) || string(src) != "mia" {
		t.Error("a later call changed an earlier result")
	}
}

// ATTACK: a token that was minted to one end is presented where another is expected.
// THIS TEST VERIFIES that no use turns back what another has minted, and that equal
// values under two uses have nothing in common.
//
// promise: P38
func TestAttackTokenOfAnotherUse(t *testing.T) {
	uses := []Use{"", Identifiers, Subjects}
	for _, mint := range uses {
		token, _, _, err := mustNew(t, func(c *Config) { c.Use = mint }).Replace(nil, labelled(email, isogate.Token, ""), isogate.Value{Kind: isogate.String, Text: []byte("mia@example.com")})
		if err != nil {
			t.Fatal(err)
		}
		for _, read := range uses {
			_, value, err := mustNew(t, func(c *Config) { c.Use = read }).Reveal(string(token))
			if mint == read && (err != nil || string(value) != "mia@example.com") || mint != read && err == nil {
				t.Errorf("minted for %q, read for %q: %q, %v", mint, read, value, err)
			}
		}
	}
}
