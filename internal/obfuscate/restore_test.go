package obfuscate

import (
	"bytes"
	"encoding/json"
	"errors"
	"html"
	"io"
	"math/rand/v2"
	"net/url"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/isogate/isogate"
)

// tokenOf makes the text token of a value of any kind.
func tokenOf(tb testing.TB, o *Obfuscator, kind isogate.Kind, text string) string {
	tb.Helper()
	out, as, applied, err := o.Replace(nil, verdict(isogate.Token, "text"), isogate.Value{Kind: kind, Text: []byte(text)})
	if err != nil || as != isogate.String || applied != isogate.Token {
		tb.Fatal(as, applied, err)
	}
	return string(out)
}

// promise: P37
func TestRestore(t *testing.T) {
	o := mustNew(t)
	mia := token(t, o, "Mia")
	awkward := token(t, o, "a\"b\\c\n\r\t\x01<&>'é€")
	binary := token(t, o, "\xff\xfe")
	address := replace(t, o, verdict(isogate.Token, "email"), "mia@example.com")
	long := replace(t, o, verdict(isogate.Token, "email"), strings.Repeat("m", 60)+"@example.com")
	number, yes := tokenOf(t, o, isogate.Number, "12480498776781"), tokenOf(t, o, isogate.Bool, "true")
	foreign := token(t, mustNew(t, func(c *Config) { c.Tenant = "umbrella" }), "Mia")
	elsewhere := token(t, mustNew(t, func(c *Config) { c.Destination = "billing" }), "Mia")
	name, _, err := o.ReplaceName(nil, verdictToken, []byte("customer name"))
	if err != nil {
		t.Fatal(err)
	}
	damaged := mia[:30] + strings.Map(func(r rune) rune { return 'a' + (r-'a'+1)%20 }, mia[30:31]) + mia[31:]

	for what, c := range map[string]struct {
		esc       Escape
		src, want string
		n         int
	}{
		"nothing":                {JSON, `{"a":1}`, `{"a":1}`, 0},
		"empty":                  {JSON, ``, ``, 0},
		"alone":                  {Plain, mia, "Mia", 1},
		"upper case":             {Plain, strings.ToUpper(mia), "Mia", 1},
		"in a sentence":          {Plain, "Hello " + mia + "!", "Hello Mia!", 1},
		"stuck to words":         {Plain, "xigt1" + mia + "s", "xigt1Mias", 1},
		"twice":                  {Plain, mia + mia, "MiaMia", 2},
		"a string of JSON":       {JSON, `{"name":"` + mia + `"}`, `{"name":"Mia"}`, 1},
		"escaped for JSON":       {JSON, `["` + awkward + `"]`, `["a\"b\\c\n\r\t\u0001<&>'é€"]`, 1},
		"escaped for HTML":       {HTML, "<b>" + awkward + "</b>", "<b>a&#34;b\\c\n\r\t\x01&lt;&amp;&gt;&#39;é€</b>", 1},
		"escaped for a URL":      {URL, "/u/" + awkward + "?x", "/u/a%22b%5Cc%0A%0D%09%01%3C%26%3E%27%C3%A9%E2%82%AC?x", 1},
		"unreserved in a URL":    {URL, token(t, o, "aZ09-._~"), "aZ09-._~", 1},
		"not UTF-8 in JSON":      {JSON, `["` + binary + `"]`, `["` + binary + `"]`, 0},
		"not UTF-8 as it is":     {Plain, binary, "\xff\xfe", 1},
		"behind a quoted quote":  {JSON, `["{\"name\":\"` + mia + `\"}"]`, `["{\"name\":\"Mia\"}"]`, 1},
		"perhaps JSON in JSON":   {JSON, `["{\"name\":\"` + awkward + `\"}"]`, `["{\"name\":\"` + awkward + `\"}"]`, 0},
		"a quote long ago":       {JSON, `["\"` + mia + ` ` + awkward + `"]`, `["\"Mia ` + awkward + `"]`, 1},
		"a quote in another":     {JSON, `["\"","` + awkward + `"]`, `["\"","a\"b\\c\n\r\t\u0001<&>'é€"]`, 1},
		"an escaped backslash":   {JSON, `["\\","` + number + `"]`, `["\\",12480498776781]`, 1},
		"a number":               {JSON, `{"id":"` + number + `"}`, `{"id":12480498776781}`, 1},
		"a number, spaced":       {JSON, "[ \"" + number + "\" \n\t, 1 ]", "[ 12480498776781 \n\t, 1 ]", 1},
		"a bool":                 {JSON, `["` + yes + `"]`, `[true]`, 1},
		"two numbers":            {JSON, `["` + number + `","` + number + `"]`, `[12480498776781,12480498776781]`, 2},
		"a number as a document": {JSON, `"` + number + `"`, `12480498776781`, 1},
		"a number in a sentence": {JSON, `["No. ` + number + `"]`, `["No. 12480498776781"]`, 1},
		"a number, then text":    {JSON, `["` + number + `."]`, `["12480498776781."]`, 1},
		"a number as a name":     {JSON, `{"` + number + `": 1}`, `{"12480498776781": 1}`, 1},
		"a name far from its colon": {JSON, `{"` + number + `"` + strings.Repeat(" ", 100) + `: 1}`,
			`{"12480498776781"` + strings.Repeat(" ", 100) + `: 1}`, 1},
		"a number, quoted":        {JSON, `["\"` + number + `\""]`, `["\"12480498776781\""]`, 1},
		"half quoted":             {JSON, `["\"` + number + `"]`, `["\"12480498776781"]`, 1},
		"a number cut off":        {JSON, `["` + number, `["12480498776781`, 1},
		"a bare number":           {JSON, number, `12480498776781`, 1},
		"a number, not JSON":      {Plain, `"` + number + `"`, `"12480498776781"`, 1},
		"a member name":           {JSON, `{"` + string(name) + `":1}`, `{"customer name":1}`, 1},
		"an address":              {JSON, `["` + address + `"]`, `["mia@example.com"]`, 1},
		"a long address":          {Plain, "<" + long + ">", "<" + strings.Repeat("m", 60) + "@example.com>", 1},
		"an upper-case address":   {Plain, strings.ToUpper(long), strings.Repeat("m", 60) + "@example.com", 1},
		"an address in a URL":     {URL, strings.Replace(address, "@", "%40", 1), "mia%40example.com", 1},
		"an address in HTML":      {HTML, strings.Replace(long, "@", "&#64;", 1), strings.Repeat("m", 60) + "@example.com", 1},
		"an address in JSON":      {JSON, strings.Replace(long, "@", `\u0040`, 1), strings.Repeat("m", 60) + "@example.com", 1},
		"a local part":            {Plain, mia + "@example.org", "Mia@example.org", 1},
		"a local part at the end": {Plain, mia + "@", "Mia@", 1},
		"an address of another":   {Plain, strings.Replace(long, "invalid", "example", 1), strings.Replace(long, "invalid", "example", 1), 0},
		"forged":                  {JSON, tokenPrefix + strings.Repeat("a", 80), tokenPrefix + strings.Repeat("a", 80), 0},
		"damaged":                 {JSON, damaged, damaged, 0},
		"cut":                     {JSON, mia[:len(mia)-1], mia[:len(mia)-1], 0},
		"cut behind the prefix":   {JSON, mia[:4], mia[:4], 0},
		"another tenant":          {JSON, foreign, foreign, 0},
		"another destination":     {JSON, elsewhere, elsewhere, 0},
		"a hash":                  {JSON, replace(t, o, verdictHash, "Mia"), replace(t, o, verdictHash, "Mia"), 0},
		"damaged, then whole":     {Plain, damaged + mia, damaged + "Mia", 1},
		"a prefix before":         {Plain, "igt1igt1" + mia, "igt1igt1Mia", 1},
	} {
		got, n := o.Restore([]byte("dst "), []byte(c.src), c.esc)
		if string(got) != "dst "+c.want || n != c.n {
			t.Errorf("%s: %q\n got %q, %d\nwant %q, %d", what, c.src, got, n, c.want, c.n)
		}
		// However the text is cut into pieces, the same comes out.
		for size := 1; size <= min(len(c.src)+1, 90); size++ {
			r := o.RestoreReader(&pieces{src: []byte(c.src), size: func() int { return size }}, c.esc)
			streamed, err := io.ReadAll(r)
			if err != nil || string(streamed) != c.want || r.Restored() != c.n {
				t.Fatalf("%s, in pieces of %d: %q, %d, %v; want %q, %d", what, size, streamed, r.Restored(), err, c.want, c.n)
			}
		}
	}
	if got, n := new(Obfuscator).Restore(nil, []byte(mia), JSON); string(got) != mia || n != 0 {
		t.Errorf("the zero Obfuscator: %q, %d", got, n)
	}
}

// pieces is a reader that gives its source in pieces of chosen sizes.
type pieces struct {
	src  []byte
	size func() int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.src) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.src[:min(p.size(), len(p.src))])
	p.src = p.src[n:]
	return n, nil
}

// What was in a document comes back as JSON, HTML and URL parsers read it.
//
// promise: P37
func TestRestoreRoundTrip(t *testing.T) {
	o := mustNew(t)
	rng := rand.New(rand.NewPCG(5, 6))
	letters := []rune("ab \"\\\n\x00<>&'%+/é€🦊igt1")
	for range 300 {
		var b strings.Builder
		for range rng.IntN(60) {
			b.WriteRune(letters[rng.IntN(len(letters))])
		}
		value := b.String()
		for _, form := range []string{"", "email"} {
			tok := replace(t, o, verdict(isogate.Token, form), value)
			if strings.HasPrefix(tok, hashPrefix) {
				continue
			}
			doc, _ := o.Restore(nil, []byte(`{"v":"`+tok+`"}`), JSON)
			var got struct{ V string }
			if err := json.Unmarshal(doc, &got); err != nil || got.V != value {
				t.Fatalf("JSON: %q: %q, %v", value, doc, err)
			}
			page, _ := o.Restore(nil, []byte(tok), HTML)
			if html.UnescapeString(string(page)) != value {
				t.Fatalf("HTML: %q: %q", value, page)
			}
			part, _ := o.Restore(nil, []byte(url.QueryEscape(tok)), URL)
			if back, err := url.QueryUnescape(string(part)); err != nil || back != value {
				t.Fatalf("URL: %q: %q, %v", value, part, err)
			}
		}
	}
}

// A text whose pieces end anywhere, with tokens of every size in it.
func TestRestoreReaderLong(t *testing.T) {
	o := mustNew(t)
	rng := rand.New(rand.NewPCG(7, 8))
	var src, want strings.Builder
	n := 0
	for range 60 {
		filler := strings.Repeat("igt1 \"i", rng.IntN(20))
		value := strings.Repeat("v", rng.IntN(3000))
		src.WriteString(filler + token(t, o, value))
		want.WriteString(filler + value)
		n++
	}
	big := strings.Repeat("w", 300_000)
	src.WriteString(token(t, o, big))
	want.WriteString(big)
	n++
	for what, r := range map[string]io.Reader{
		"at once":           strings.NewReader(src.String()),
		"in random pieces":  &pieces{src: []byte(src.String()), size: func() int { return 1 + rng.IntN(200) }},
		"with its last EOF": iotest.DataErrReader(strings.NewReader(src.String())),
		"byte by byte":      iotest.OneByteReader(strings.NewReader(src.String())),
	} {
		restorer := o.RestoreReader(r, Plain)
		got, err := io.ReadAll(iotest.OneByteReader(restorer))
		if err != nil || string(got) != want.String() || restorer.Restored() != n {
			t.Errorf("%s: %d bytes, %d tokens, %v; want %d, %d", what, len(got), restorer.Restored(), err, want.Len(), n)
		}
	}
}

// A stream is not held up: what cannot become a token is handed on at once.
func TestRestoreReaderHoldsNothingBack(t *testing.T) {
	o := mustNew(t)
	tok := token(t, o, "Mia")
	event := `data: {"name":"` + tok + `","price":"igt"}` + "\n\n"
	for _, text := range []string{event, "retry: 1\n\n", "igt1 \n", "igt1abc.\n", tok[:20] + ".\n"} {
		in, out := io.Pipe()
		r := o.RestoreReader(in, JSON)
		go func() { _, _ = out.Write([]byte(text)) }()
		want := strings.ReplaceAll(text, tok, "Mia")
		got := make([]byte, len(want))
		if _, err := io.ReadFull(r, got); err != nil || string(got) != want {
			t.Errorf("%q: %q, %v", text, got, err)
		}
		_ = out.Close()
	}
}

// What is held back is bounded by one token, and only if its tag is ours.
func TestRestoreReaderIsBounded(t *testing.T) {
	o := mustNew(t)
	ours := token(t, o, strings.Repeat("x", 200_000))
	for what, c := range map[string]struct {
		begin string
		most  int
	}{
		"no tag of ours": {tokenPrefix + "7" + strings.Repeat("a", 7), 2 * pieceSize},
		"a tag of ours":  {ours[:12], tokenLen(Bucket(base32Value(ours[4]))) + 4*pieceSize},
	} {
		r := o.RestoreReader(io.MultiReader(strings.NewReader(c.begin), io.LimitReader(endless('a'), 8<<20)), Plain)
		n, err := io.Copy(io.Discard, r)
		if err != nil || n != int64(len(c.begin))+8<<20 {
			t.Errorf("%s: %d bytes, %v", what, n, err)
		}
		if cap(r.sieve.in) > 2*c.most || cap(r.sieve.out) > 2*c.most {
			t.Errorf("%s: %d and %d bytes were held, more than twice %d", what, cap(r.sieve.in), cap(r.sieve.out), c.most)
		}
	}
}

type endless byte

func (e endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(e)
	}
	return len(b), nil
}

// A reader that fails: what came before the error comes out before the error.
func TestRestoreReaderErrors(t *testing.T) {
	o := mustNew(t)
	tok := token(t, o, "Mia")
	broken := errors.New("the line broke")
	r := o.RestoreReader(io.MultiReader(strings.NewReader(tok+tok[:20]), iotest.ErrReader(broken)), Plain)
	if n, err := r.Read(nil); n != 0 || err != nil {
		t.Error(n, err)
	}
	got, err := io.ReadAll(r)
	if !errors.Is(err, broken) || string(got) != "Mia"+tok[:20] {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := r.Read(make([]byte, 1)); !errors.Is(err, broken) {
		t.Errorf("and again: %v", err)
	}
	if _, err := io.ReadAll(o.RestoreReader(silent{}, Plain)); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("a reader that never gives anything: %v", err)
	}
	if got, err := io.ReadAll(new(Obfuscator).RestoreReader(strings.NewReader(tok), JSON)); err != nil || string(got) != tok {
		t.Errorf("the zero Obfuscator: %q, %v", got, err)
	}
}

type silent struct{}

func (silent) Read([]byte) (int, error) { return 0, nil }

// A mebibyte of text made to be looked at again and again. Were the cost
// quadratic in any of these, the test would not end within its time limit.
func TestRestoreHostile(t *testing.T) {
	o := mustNew(t)
	ours := token(t, o, strings.Repeat("x", 5000))
	for what, unit := range map[string]string{
		"prefixes":            "igt1",
		"prefixes and sizes":  "igt17",
		"ones":                "1",
		"beginnings of ours":  ours[:12],
		"ours, all but whole": ours[:len(ours)-1] + ".",
		"quotes":              `"`,
		"escaped quotes":      `\"`,
		"backslashes":         `\`,
		"quoted prefixes":     `"igt1`,
		"addresses":           ours[:64] + "@",
	} {
		src := []byte(strings.Repeat(unit, 1<<20/len(unit)))
		for _, esc := range []Escape{Plain, JSON, HTML, URL} {
			got, n := o.Restore(nil, src, esc)
			if n != 0 || !bytes.Equal(got, src) {
				t.Errorf("%s: %d restored", what, n)
			}
			streamed, err := io.ReadAll(o.RestoreReader(iotest.HalfReader(bytes.NewReader(src)), esc))
			if err != nil || !bytes.Equal(streamed, src) {
				t.Errorf("%s: the stream is another", what)
			}
		}
	}
}

func TestEscapeUnknown(t *testing.T) {
	if out, ok := Escape(9).append(nil, []byte(`a"b`), true); !ok || string(out) != `a"b` {
		t.Errorf("%s, %v", out, ok)
	}
}

// FuzzRestore: nothing of ours in the text, nothing happens; and however the
// text is cut, the same comes out.
func FuzzRestore(f *testing.F) {
	o := mustNew(f)
	tok := token(f, o, `Mia "the" \`)
	number := tokenOf(f, o, isogate.Number, "17")
	address := replace(f, o, verdictEmail, strings.Repeat("m", 50))
	for _, s := range []string{"", tok, `["` + number + `"]`, address, `"\"` + tok + `\""`, "igt1igt1" + tok[:40] + tok, strings.ToUpper(address)} {
		f.Add([]byte(s), 3)
		f.Add([]byte(`{"a":"`+s+`" }`), 1)
	}
	f.Fuzz(func(t *testing.T, src []byte, size int) {
		size = 1 + (size%50+50)%50
		for _, esc := range []Escape{Plain, JSON, HTML, URL} {
			whole, n := o.Restore(nil, src, esc)
			if n == 0 && !bytes.Equal(whole, src) {
				t.Fatalf("nothing was restored, but %q became %q", src, whole)
			}
			if json.Valid(src) && esc == JSON && !json.Valid(whole) {
				t.Fatalf("%q became %q", src, whole)
			}
			r := o.RestoreReader(&pieces{src: src, size: func() int { return size }}, esc)
			streamed, err := io.ReadAll(r)
			if err != nil || !bytes.Equal(streamed, whole) || r.Restored() != n {
				t.Fatalf("%q, %v, in pieces of %d: %q, %d, %v; want %q, %d", src, esc, size, streamed, r.Restored(), err, whole, n)
			}
		}
	})
}

// FuzzReveal: only what was minted is revealed, and in one spelling.
func FuzzReveal(f *testing.F) {
	o := mustNew(f)
	for _, s := range []string{"", "igt1", token(f, o, "Mia"), replace(f, o, verdictEmail, strings.Repeat("m", 50)), replace(f, o, verdictHash, "Mia")} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		label, value, err := o.Reveal(s)
		if err != nil {
			if label != "" || value != nil {
				t.Fatalf("%q: %q and %v", s, value, err)
			}
			return
		}
		again := ""
		for _, form := range []string{"", "email"} {
			if v := labelled(label, isogate.Token, form); label != "" {
				again += replace(t, o, v, string(value)) + " "
			}
		}
		if label == email && !strings.Contains(again, strings.ToLower(s)) {
			t.Fatalf("%q was revealed as %q, which makes %q", s, value, again)
		}
	})
}
