package seal

import (
	"bytes"
	"encoding/json"
	"errors"
	"html"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/obfuscate"
)

// fixed is a sealer of a key that is the same each time, and who holds the key;
// another one is Withheld from everybody.
func fixed(tb testing.TB) (open, shut Passage, h Opener) {
	tb.Helper()
	s := newSide(tb)
	var ks [2]*Sealer
	for i := range ks {
		c := transitOnly()
		c.Made = start
		var err error
		if ks[i], err = newSealer(c, s.statement, at(start), start, &[keySize]byte{byte(i) + 1}); err != nil {
			tb.Fatal(err)
		}
	}
	inner := hold(tb, s, ks[0])
	return ks[0].Passage(), ks[1].Passage(), openerFunc(func(scratch []byte, id ID, raw []byte) (Opened, Outcome) {
		if id == ks[1].ID() {
			return Opened{}, Withheld
		}
		return inner.OpenSeal(scratch, id, raw)
	})
}

type openerFunc func(scratch []byte, id ID, raw []byte) (Opened, Outcome)

func (f openerFunc) OpenSeal(scratch []byte, id ID, raw []byte) (Opened, Outcome) {
	return f(scratch, id, raw)
}

// promise: P16
func TestReveal(t *testing.T) {
	p, q, h := fixed(t)
	mia := sealed(t, &p, email, text("Mia"))
	awkward := sealed(t, &p, email, text("a\"b\\c\n<&>'é€"))
	binary := sealed(t, &p, email, text("\xff\xfe"))
	number := sealed(t, &p, account, isogate.Value{Kind: isogate.Number, Text: []byte("12480498776781")})
	yes := sealed(t, &p, account, isogate.Value{Kind: isogate.Bool, Text: []byte("true")})
	long := sealed(t, &p, email, text(strings.Repeat("long ", 2000)))
	withheld := sealed(t, &q, email, text("Mia"))
	gone := mustSealer(t, transitOnly(), newSide(t)).Passage()
	expired := sealed(t, &gone, email, text("Mia"))
	damaged := mia[:60] + strings.Map(func(r rune) rune { return 'a' + (r-'a'+1)%20 }, mia[60:61]) + mia[61:]

	for what, c := range map[string]struct {
		esc        obfuscate.Escape
		src        string
		want, left string // left: with leave; "" is src
		n          Counts
	}{
		"nothing":                 {obfuscate.JSON, `{"a":1}`, `{"a":1}`, "", Counts{}},
		"empty":                   {obfuscate.JSON, ``, ``, "", Counts{}},
		"alone":                   {obfuscate.Plain, mia, "Mia", "Mia", Counts{Revealed: 1}},
		"upper case":              {obfuscate.Plain, strings.ToUpper(mia), "Mia", "Mia", Counts{Revealed: 1}},
		"in a sentence":           {obfuscate.Plain, "Hello " + mia + "!", "Hello Mia!", "Hello Mia!", Counts{Revealed: 1}},
		"stuck to words":          {obfuscate.Plain, "xigs1" + mia + "s", "xigs1Mias", "xigs1Mias", Counts{Revealed: 1}},
		"twice":                   {obfuscate.Plain, mia + mia, "MiaMia", "MiaMia", Counts{Revealed: 2}},
		"long":                    {obfuscate.Plain, long, strings.Repeat("long ", 2000), strings.Repeat("long ", 2000), Counts{Revealed: 1}},
		"a string of JSON":        {obfuscate.JSON, `{"n":"` + mia + `"}`, `{"n":"Mia"}`, `{"n":"Mia"}`, Counts{Revealed: 1}},
		"escaped for JSON":        {obfuscate.JSON, `["` + awkward + `"]`, `["a\"b\\c\n<&>'é€"]`, `["a\"b\\c\n<&>'é€"]`, Counts{Revealed: 1}},
		"escaped for HTML":        {obfuscate.HTML, `<b title="` + awkward + `">`, "<b title=\"a&#34;b\\c\n&lt;&amp;&gt;&#39;é€\">", "<b title=\"a&#34;b\\c\n&lt;&amp;&gt;&#39;é€\">", Counts{Revealed: 1}},
		"a number":                {obfuscate.JSON, `{"id":"` + number + `"}`, `{"id":12480498776781}`, `{"id":12480498776781}`, Counts{Revealed: 1}},
		"a number, spaced":        {obfuscate.JSON, "[ \"" + number + "\" \n\t, 1 ]", "[ 12480498776781 \n\t, 1 ]", "[ 12480498776781 \n\t, 1 ]", Counts{Revealed: 1}},
		"a bool":                  {obfuscate.JSON, `["` + yes + `"]`, `[true]`, `[true]`, Counts{Revealed: 1}},
		"a number as a name":      {obfuscate.JSON, `{"` + number + `": 1}`, `{"12480498776781": 1}`, `{"12480498776781": 1}`, Counts{Revealed: 1}},
		"a number, not JSON":      {obfuscate.HTML, number, `12480498776781`, `12480498776781`, Counts{Revealed: 1}},
		"behind a quoted quote":   {obfuscate.JSON, `["{\"name\":\"` + mia + `\"}"]`, `["{\"name\":\"Mia\"}"]`, `["{\"name\":\"Mia\"}"]`, Counts{Revealed: 1}},
		"perhaps JSON in JSON":    {obfuscate.JSON, `["{\"name\":\"` + awkward + `\"}"]`, `["{\"name\":\"[sealed]\"}"]`, "", Counts{Withheld: 1}},
		"not UTF-8 in JSON":       {obfuscate.JSON, `["` + binary + `"]`, `["[sealed]"]`, "", Counts{Withheld: 1}},
		"not UTF-8 as it is":      {obfuscate.Plain, binary, "\xff\xfe", "\xff\xfe", Counts{Revealed: 1}},
		"withheld":                {obfuscate.JSON, `["` + withheld + `"]`, `["[sealed]"]`, "", Counts{Withheld: 1}},
		"expired":                 {obfuscate.HTML, `<i>` + expired + `</i>`, `<i>[expired]</i>`, "", Counts{Expired: 1}},
		"all of them":             {obfuscate.Plain, mia + " " + withheld + " " + expired, "Mia [sealed] [expired]", "Mia " + withheld + " " + expired, Counts{1, 1, 1}},
		"damaged":                 {obfuscate.Plain, damaged, "[sealed]", "", Counts{Withheld: 1}},
		"damaged, then whole":     {obfuscate.Plain, damaged + mia, "[sealed]Mia", damaged + "Mia", Counts{Revealed: 1, Withheld: 1}},
		"cut":                     {obfuscate.Plain, mia[:len(mia)-1], "[sealed]", "", Counts{Withheld: 1}},
		"cut in the middle":       {obfuscate.Plain, mia[:100] + "…", "[sealed]…", "", Counts{Withheld: 1}},
		"cut, then whole":         {obfuscate.Plain, mia[:100] + mia, "[sealed]" + "Mia", mia[:100] + "Mia", Counts{Revealed: 1, Withheld: 1}},
		"a bit cut, then whole":   {obfuscate.Plain, mia[:len(mia)-2] + mia, "[sealed]" + "Mia", mia[:len(mia)-2] + "Mia", Counts{Revealed: 1, Withheld: 1}},
		"cut, then a token":       {obfuscate.Plain, mia[:100] + "igt1aaaa", "[sealed]igt1aaaa", "", Counts{Withheld: 1}},
		"cut before its id ends":  {obfuscate.Plain, mia[:30], mia[:30], "", Counts{}},
		"cut behind the prefix":   {obfuscate.Plain, mia[:4], mia[:4], "", Counts{}},
		"a prefix before":         {obfuscate.Plain, "igs1igs1" + mia, "igs1igs1Mia", "igs1igs1Mia", Counts{Revealed: 1}},
		"a token":                 {obfuscate.Plain, "igt1" + mia[4:], "igt1" + mia[4:], "", Counts{}},
		"spelled in a second way": {obfuscate.Plain, mia[:len(mia)-1] + string(mia[len(mia)-1]+1), "[sealed]", "", Counts{Withheld: 1}},
		"a number, quoted":        {obfuscate.JSON, `["\"` + number + `\""]`, `["\"12480498776781\""]`, `["\"12480498776781\""]`, Counts{Revealed: 1}},
		"a number at the end":     {obfuscate.JSON, `"` + number + `"`, `12480498776781`, `12480498776781`, Counts{Revealed: 1}},
	} {
		if c.left == "" {
			c.left = c.src
		}
		for _, leave := range []bool{false, true} {
			want := c.want
			if leave {
				want = c.left
			}
			got, n := Reveal([]byte("dst "), []byte(c.src), c.esc, h, leave)
			if string(got) != "dst "+want || n != c.n {
				t.Errorf("%s, leave %v: %q\n got %q, %+v\nwant %q, %+v", what, leave, c.src, got, n, want, c.n)
			}
			for size := 1; size <= min(len(c.src)+1, 200); size++ {
				opened := 0
				count := openerFunc(func(scratch []byte, id ID, raw []byte) (Opened, Outcome) {
					opened++
					return h.OpenSeal(scratch, id, raw)
				})
				r := RevealReader(&pieces{src: []byte(c.src), size: size}, c.esc, count, leave)
				streamed, err := io.ReadAll(r)
				if err != nil || string(streamed) != want || r.Counts() != c.n {
					t.Fatalf("%s, leave %v, in pieces of %d: %q, %+v, %v; want %q, %+v", what, leave, size, streamed, r.Counts(), err, want, c.n)
				}
				if most := strings.Count(strings.ToLower(c.src), prefix); opened > most {
					t.Fatalf("%s, in pieces of %d: %d were opened, and there are %d", what, size, opened, most)
				}
			}
		}
	}
}

// pieces is a reader that gives its source in pieces of one size.
type pieces struct {
	src  []byte
	size int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.src) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.src[:min(p.size, len(p.src))])
	p.src = p.src[n:]
	return n, nil
}

// ATTACK: a service answers with a text that is made to be looked at again and
// again: prefixes, halves of seals, seals in pieces of one byte.
//
// THIS TEST VERIFIES: the cost is linear. Were it quadratic in any of these, the
// test would not end within its time limit.
func TestAttackHostileText(t *testing.T) {
	p, _, h := fixed(t)
	seal := sealed(t, &p, email, text(strings.Repeat("x", 5000)))
	number := sealed(t, &p, email, isogate.Value{Kind: isogate.Number, Text: []byte("17")})
	big := sealed(t, &p, email, text(strings.Repeat("x", 600_000)))
	for what, unit := range map[string]string{
		"prefixes":             "igs1",
		"prefixes and sizes":   "igs17",
		"ones":                 "1",
		"quoted prefixes":      `"igs1`,
		"ids":                  seal[:31],
		"halves":               seal[:len(seal)/2] + ".",
		"all but whole":        seal[:len(seal)-1] + ".",
		"largest, never whole": "igs17" + strings.Repeat("a", 300_000) + " ",
		"after a large one":    big + strings.Repeat(number, 2000),
		"numbers and spaces":   `"` + number + `"` + strings.Repeat(" ", 60),
		"backslashes":          `\`,
		"alphabet":             "a",
	} {
		src := []byte(strings.Repeat(unit, 1+(1<<17)/len(unit)))
		for _, esc := range []obfuscate.Escape{obfuscate.Plain, obfuscate.JSON, obfuscate.HTML} {
			whole, n := Reveal(nil, src, esc, h, false)
			r := RevealReader(iotest.OneByteReader(bytes.NewReader(src)), esc, h, false)
			streamed, err := io.ReadAll(r)
			if err != nil || !bytes.Equal(streamed, whole) || r.Counts() != n {
				t.Errorf("%s: the stream is another, or %v", what, err)
			}
		}
	}
}

// What is held back is bounded by one seal.
func TestRevealerIsBounded(t *testing.T) {
	_, _, h := fixed(t)
	r := RevealReader(io.MultiReader(strings.NewReader("igs1l"), io.LimitReader(endless{}, 8<<20)), obfuscate.Plain, h, true)
	most := 0
	for n := 0; ; {
		b := make([]byte, 4096)
		m, err := r.Read(b)
		n += m
		if err != nil {
			if n != 5+8<<20 || !errors.Is(err, io.EOF) {
				t.Error(n, err)
			}
			break
		}
		most = max(most, 5+n)
	}
	first := textLen(11) // of the bucket "l"
	e := &counting{}
	r = RevealReader(io.TeeReader(io.MultiReader(strings.NewReader("igs1l"), io.LimitReader(endless{}, 8<<20)), e), obfuscate.Plain, h, true)
	if _, err := r.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if e.n > first+64<<10 {
		t.Errorf("%d bytes were read before the first was handed on; a seal of this size has %d", e.n, first)
	}
}

type endless struct{}

func (endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = 'a'
	}
	return len(b), nil
}

type counting struct{ n int }

func (c *counting) Write(b []byte) (int, error) { c.n += len(b); return len(b), nil }

// ATTACK: memory that a page went through is read later, or comes to be used for
// another's page.
//
// THIS TEST VERIFIES: a buffer that has to grow is wiped, and so is all that a
// Revealer has when it is closed.
//
// promise: P16
func TestAttackPlaintextStaysInBuffers(t *testing.T) {
	p, _, h := fixed(t)
	seal := sealed(t, &p, email, text("Mia"))
	dst := make([]byte, 0, 100)
	dst = append(dst, "revealed before, "...)
	old := dst[:cap(dst)]
	out, _ := Reveal(dst, []byte(seal+strings.Repeat(" ", 90)+seal), obfuscate.Plain, h, false)
	if !strings.HasPrefix(string(out), "revealed before, Mia ") || bytes.Contains(old, []byte("Mia")) || bytes.Contains(old, []byte("before")) {
		t.Errorf("%.30q, and the old array %q", out, old)
	}
	// A value of which a part was written before it turned out that it cannot be.
	half := sealed(t, &p, email, text(`secret "`))
	dst = make([]byte, 0, 1000)
	out, n := Reveal(dst, []byte(`"\"`+half+`"`), obfuscate.JSON, h, false)
	if string(out) != `"\"[sealed]"` || n.Withheld != 1 || bytes.Contains(dst[:1000], []byte("ecret")) {
		t.Errorf("%q, %q", out, dst[:200])
	}

	r := RevealReader(strings.NewReader(strings.Repeat(seal+"\n", 1000)), obfuscate.Plain, h, false)
	if _, err := r.Read(make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	scratch := r.f.scratch
	if !bytes.Contains(scratch, []byte("Mia")) {
		t.Fatal("no value in the scratch: the test looks at the wrong place")
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(scratch, []byte("Mia")) {
		t.Error("Close leaves a value in the scratch")
	}
	if n, err := r.Read(make([]byte, 10)); n != 0 || err == nil || errors.Is(err, io.EOF) {
		t.Errorf("after Close: %d, %v", n, err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

func TestRevealerErrors(t *testing.T) {
	p, _, h := fixed(t)
	seal := sealed(t, &p, email, text("Mia"))
	broken := errors.New("the line broke")
	r := RevealReader(io.MultiReader(strings.NewReader(seal+seal[:20]), iotest.ErrReader(broken)), obfuscate.Plain, h, false)
	got, err := io.ReadAll(r)
	if !errors.Is(err, broken) || string(got) != "Mia"+seal[:20] {
		t.Errorf("%q, %v", got, err)
	}
}

// An opener that says Revealed of nothing reveals nothing.
func TestRevealNothing(t *testing.T) {
	p, _, _ := fixed(t)
	seal := sealed(t, &p, email, text("Mia"))
	out, n := Reveal(nil, []byte(seal), obfuscate.Plain, openerFunc(func([]byte, ID, []byte) (Opened, Outcome) { return Opened{}, Revealed }), false)
	if string(out) != TextWithheld || n.Withheld != 1 {
		t.Errorf("%q, %+v", out, n)
	}
}

// The time to live is counted from the sealing.
func TestSealerOpensWithinTTL(t *testing.T) {
	now := start
	k, err := NewSealer(temporary(10*time.Second), newSide(t).statement, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	p := k.Passage()
	first := []byte(sealed(t, &p, email, text("first")))
	now = now.Add(900 * time.Millisecond)
	second := []byte(sealed(t, &p, email, text("second")))
	for after, want := range map[time.Duration]string{0: "first second", 9999 * time.Millisecond: "first second", 10 * time.Second: "[expired] second",
		10899 * time.Millisecond: "[expired] second", 10900 * time.Millisecond: "[expired] [expired]"} {
		now = start.Add(after)
		if out, _ := Reveal(nil, slices.Concat(first, []byte(" "), second), obfuscate.Plain, k, false); string(out) != want {
			t.Errorf("after %s: %q, want %q", after, out, want)
		}
	}
}

// FuzzReveal compares with an account of its own, and however a text is cut, the
// same comes out.
func FuzzReveal(f *testing.F) {
	p, q, h := fixed(f)
	mia := sealed(f, &p, email, text(`Mia "the" \`))
	number := sealed(f, &p, account, isogate.Value{Kind: isogate.Number, Text: []byte("17")})
	withheld := sealed(f, &q, email, text("Mia"))
	for _, s := range []string{"", mia, `["` + number + `"]`, withheld, `"\"` + mia + `"`, "igs1igs1" + mia[:40] + mia, strings.ToUpper(number), mia[:60] + "b" + mia[61:]} {
		f.Add([]byte(s), 3)
		f.Add([]byte(`{"a":"`+s+`" }`), 1)
	}
	f.Fuzz(func(t *testing.T, src []byte, size int) {
		size = 1 + (size%50+50)%50
		for _, esc := range []obfuscate.Escape{obfuscate.Plain, obfuscate.JSON, obfuscate.HTML, obfuscate.URL} {
			for _, leave := range []bool{false, true} {
				whole, n := Reveal(nil, src, esc, h, leave)
				if n.Revealed == 0 && (leave || n == Counts{}) && !bytes.Equal(whole, src) {
					t.Fatalf("nothing was replaced, but %q became %q", src, whole)
				}
				if esc == obfuscate.JSON && json.Valid(src) && !json.Valid(whole) {
					t.Fatalf("%q became %q", src, whole)
				}
				r := RevealReader(&pieces{src: src, size: size}, esc, h, leave)
				streamed, err := io.ReadAll(r)
				if err != nil || !bytes.Equal(streamed, whole) || r.Counts() != n {
					t.Fatalf("%q, %v, in pieces of %d: %q, %+v, %v; want %q, %+v", src, esc, size, streamed, r.Counts(), err, whole, n)
				}
				if esc == obfuscate.Plain || esc == obfuscate.HTML {
					if want, m := simply(src, esc, h, leave); !bytes.Equal(whole, want) || n != m {
						t.Fatalf("%q, %v, leave %v\n got %q, %+v\nwant %q, %+v", src, esc, leave, whole, n, want, m)
					}
				}
			}
		}
	})
}

var sealForm = regexp.MustCompile(`(?i)igs1[a-z2-7][a-z2-7]{26,}`)

var nextForm = regexp.MustCompile(`^(?i)ig[sth]1`)

// simply is Reveal, told in another way and for texts without types.
func simply(src []byte, esc obfuscate.Escape, o Opener, leave bool) (out []byte, n Counts) {
	for {
		at := sealForm.FindIndex(src)
		if at == nil {
			return append(out, src...), n
		}
		out = append(out, src[:at[0]]...)
		whole := src[at[0]:at[1]]
		size := map[byte]int{}
		for i, c := range []byte("abcdefghijklmnopqrstuvwxyz234567") {
			size[c] = 5 + (8*(16+12+obfuscate.Bucket(i).Size()+16)+4)/5
		}
		whole = whole[:min(len(whole), size[bytes.ToLower(whole[4:5])[0]])]
		value := TextWithheld
		outcome := Withheld
		if id, raw, ok := Parse(whole); ok {
			var opened Opened
			switch opened, outcome = o.OpenSeal(nil, id, raw); outcome {
			case Revealed:
				value = string(opened.Value)
			case Expired:
				value = TextExpired
			}
		}
		if end := at[0] + len(whole); outcome != Revealed {
			for k := 1; k <= 3; k++ {
				if nextForm.Match(src[end-k:]) {
					whole = whole[:len(whole)-k]
					break
				}
			}
		}
		src = src[at[0]+len(whole):]
		switch outcome {
		case Revealed:
			n.Revealed++
		case Expired:
			n.Expired++
		default:
			n.Withheld++
		}
		if outcome != Revealed && leave {
			out = append(out, whole...)
			continue
		}
		if esc == obfuscate.HTML {
			value = html.EscapeString(value)
		}
		out = append(out, value...)
	}
}
