package landing

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"golang.org/x/net/html"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/seal"
)

// newSealer makes a key of a landing that is nowhere.
func newSealer(t testing.TB) *seal.Sealer {
	t.Helper()
	e, err := seal.NewEpoch()
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	s, err := seal.NewSealer(seal.Context{Tenant: "acme", Destination: "support-portal", Transit: "support-session", ByRequest: true}, &seal.Statement{
		Destination: "support-portal", Landing: "support-portal", Epoch: e.ID(), Public: e.Public(), Home: [4]byte{1},
		NotBefore: now.Add(-time.Minute).Truncate(time.Second), NotAfter: now.Add(time.Hour).Truncate(time.Second), Idle: time.Minute, Max: time.Hour,
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func sealed(t testing.TB, s *seal.Sealer, value string) string {
	t.Helper()
	p := s.Passage()
	out, ok := p.Append(nil, "personal.name.display", isogate.Value{Kind: isogate.String, Text: []byte(value)})
	if !ok {
		t.Fatal("the value could not be sealed")
	}
	return string(out)
}

func shownPage(t testing.TB, in string, o seal.Opener) string {
	t.Helper()
	var outs []string
	for _, r := range []io.Reader{strings.NewReader(in), iotest.OneByteReader(strings.NewReader(in)), iotest.DataErrReader(strings.NewReader(in))} {
		p := reveal(r, asPage, o)
		out, err := io.ReadAll(p)
		if err != nil {
			t.Fatal(err)
		}
		_ = p.Close()
		outs = append(outs, string(out))
	}
	if outs[0] != outs[1] || outs[0] != outs[2] {
		t.Fatalf("the page depends on the pieces that it comes in:\n%q\n%q\n%q", outs[0], outs[1], outs[2])
	}
	for i := 0; i < len(in); i += 3 {
		p := reveal(io.MultiReader(strings.NewReader(in[:i]), strings.NewReader(in[i:])), asPage, o)
		if out, err := io.ReadAll(p); err != nil || string(out) != outs[0] {
			t.Fatalf("the page depends on where it is cut (%d): %q", i, out)
		}
	}
	return outs[0]
}

// ATTACK: somebody inside sets their display name to what would be a program, an
// end tag, or the end of an attribute in the agent's page.
//
// THIS TEST VERIFIES: a value is shown, escaped, in text, titles and quoted
// attributes that people read; in every other place its seal stays a seal.
//
// promise: P41
func TestValuesStandInTextOnly(t *testing.T) {
	s := newSealer(t)
	const value = `"><script>alert('1')</script> x=y`
	const shown = `&#34;&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt; x=y`
	for _, tc := range []struct {
		page  string // § is the seal
		plain bool
	}{
		{`§`, true},
		{`<p>Dear §, hello</p>`, true},
		{`<p>1 and § and §1</p>`, true},
		{`a < § b`, true},
		{`<title>§ – Tickets</title>`, true},
		{`<TITLE >§</TITLE >`, true},
		{`<p title="§">`, true},
		{`<img alt='by §'>`, true},
		{`<td aria-label = "§">`, true},
		{`<input placeholder="§">`, true},
		{`<option value="7">§</option>`, true},
		{`<option>x</option><p>§`, true},
		{`<!-- a --><p>§`, true},
		{`<!--><p>§`, true},
		{`<!---><p>§`, true},
		{`<!-- a --!><p>§`, true},
		{`<!doctype html><p>§`, true},
		{`<? xml ?><p>§`, true},
		{`<script>a</script><p>§`, true},
		{`<script><!-- a --></script><p>§`, true},
		{`<script><!-- <script>a</script> --></script><p>§`, true},
		{`<style></style ><p>§`, true},
		{`<textarea></textarea/><p>§`, true},
		{`<svg><path d="M0"/></svg><p>§`, true},
		{`<svg><style>a > b {}</style><title>x</title></svg><p>§`, true},
		{`<svg><style><![CDATA[ a > b {} ]]></style></svg><p>§`, true},
		{`<svg/><script>if (a<b) {}</script><p>§`, true},
		{`<svg></svg><script>"</b>"</script><p>§`, true},
		{`<datalist><option>x</option></datalist><p>§`, true},
		{`<select><option>x</select><p>§`, true},
		{`</><p>§`, true},

		{`<script>var a = "§"</script>`, false},
		{`<script type="application/json">{"a":"§"}</script>`, false},
		{`<SCRIPT>§</SCRIPT>`, false},
		{`<script>a</scriptx>§`, false},
		{`<script>"</style>"; §`, false},
		{`<script><!-- <script>a</script> § --></script>`, false},
		{`<script><!-- <script> </script>§</script>`, false},
		{`<style>p{content:"§"}</style>`, false},
		{`<noscript>§</noscript>`, false},
		{`<iframe>§</iframe>`, false},
		{`<xmp>§</xmp>`, false},
		{`<plaintext>a</plaintext>§`, false},
		{`<textarea>§</textarea>`, false},
		{`<option>§</option>`, false},
		{`<select><option><b>§</b></option></select>`, false},
		{`<svg><title><script>§</script></title></svg>`, false},
		{`<svg><title><script></title>§</script></title></svg>`, false},
		{`<svg><style><a onclick="</style>§">`, false},
		{`<math><title><!--</title>§-->`, false},
		{`<svg><style><![CDATA[ <a onclick="</style>§">`, false},
		{`<svg><![CDATA[ > § ]]></svg>`, false},
		{`<select><option><p>x</option>§`, false},
		{`<select><option>x</optgroup>§`, false},
		{`<select><option><title>§</title>`, false},
		{`<select><option><table></select>§`, false},
		{`<select><option><svg><desc></select>§`, false},
		{`<frameset><title><!--</title>§`, false},
		{`<p title=§>`, false},
		{`<p title= §>`, false},
		{`<p §>`, false},
		{`<p §="">`, false},
		{`<§>`, false},
		{`</p §>`, false},
		{`<a href="§">`, false},
		{`<a href='mailto:§'>`, false},
		{`<img src="/a?b=§">`, false},
		{`<p onclick="a('§')">`, false},
		{`<p style="§">`, false},
		{`<p ONCLICK="§">`, false},
		{`<p title"="§">`, false},
		{`<p data-x="§">`, false},
		{`<iframe srcdoc="§">`, false},
		{`<input value="§">`, false},
		{`<meta content="0;url=§">`, false},
		{`<!-- § -->`, false},
		{`<!-- a -> § -->`, false},
		{`<!doctype §>`, false},
		{`<?§>`, false},
		{`<![CDATA[ > § ]]>`, false},
		{`</ §>`, false},
	} {
		igs := sealed(t, s, value)
		want := igs
		if tc.plain {
			want = shown
		}
		want = strings.ReplaceAll(tc.page, "§", want)
		if got := shownPage(t, strings.ReplaceAll(tc.page, "§", igs), s); got != want {
			t.Errorf("%s\n got %s\nwant %s", tc.page, got, want)
		}
	}
}

// THIS TEST VERIFIES: wherever markup says that a place is text, an independent
// tokenizer reads it as text or as the value of such an attribute.
func TestMarkupAgreesWithAnotherTokenizer(t *testing.T) {
	parts := []string{"<", ">", "/", "\"", "'", "=", " ", "\n", "!", "--", "-", "?", "a", "p", "<p", "<a ", "</p", "<script", "</script", "<!--", "-->", "--!>",
		"title", "<title>", "</title>", "<style>", "</style>", "<textarea>", "</textarea>", "href=", "onclick=\"", "title=\"", "alt='", "value=", "<svg>", "<option>", "</option>",
		"<xmp>", "</xmp >", "<noscript>", "</noscript>", "<!doctype html>", "§", "§", "§", "S§T", "<iframe>", "</iframe>", "&lt;"}
	rng := rand.New(rand.NewPCG(1, 2))
	plainOnes := 0
	for range 30_000 {
		var b strings.Builder
		for range 1 + rng.IntN(14) {
			b.WriteString(parts[rng.IntN(len(parts))])
		}
		page := b.String()
		var ours []bool
		var m markup
		for i := range len(page) {
			if page[i] == 0xc2 { // of §
				ours = append(ours, m.plain())
			}
			m.step(page[i])
		}
		theirs := theirReading(page)
		if len(theirs) != len(ours) {
			continue // dropped by the other tokenizer at the end of input
		}
		for i := range ours {
			if ours[i] {
				plainOnes++
				if !theirs[i] {
					t.Fatalf("%q: the place %d is taken for text, and is not", page, i)
				}
			}
		}
	}
	if plainOnes < 5_000 {
		t.Fatalf("only %d places were taken for text; the test tests nothing", plainOnes)
	}
}

// ATTACK: a page has markup that a browser's tree makes another thing of than its
// tags alone say: raw elements within SVG, whose tags are tags there, or options
// that an end tag does not end. A value in it would be a program, or go back to the
// service with a form.
//
// THIS TEST VERIFIES: wherever markup says that a place is text, a parser that builds
// the tree, as a browser does, has it in text that is shown, or in such an attribute.
func TestMarkupAgreesWithATree(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	plainOnes := 0
	for range 100_000 {
		page, ours := nasty(rng)
		doc, err := html.ParseWithOptions(strings.NewReader(page), html.ParseOptionEnableScripting(true))
		if err != nil {
			continue
		}
		see := func(text string, ok bool) {
			for i, plain := range ours {
				if plain && strings.Contains(strings.ToLower(text), strings.ToLower(placeName(i))) {
					if plainOnes++; !ok {
						t.Fatalf("%q: the place %d is taken for text, and is not", page, i)
					}
				}
			}
		}
		for nd := range doc.Descendants() {
			see(nd.Data, nd.Type == html.TextNode && isShown(nd))
			for _, a := range nd.Attr {
				_, read := slices.BinarySearch(readAloud, a.Key)
				see(a.Key, false)
				see(a.Val, read)
			}
		}
	}
	if plainOnes < 5_000 {
		t.Fatalf("only %d places were taken for text; the test tests nothing", plainOnes)
	}
}

// placeName marks a place in a page; nothing around it can look like another one.
func placeName(i int) string { return "Qz" + string(rune('a'+i)) + "j" }

// nasty is a page that nobody writes, with places, and which of them markup takes
// for text.
func nasty(rng *rand.Rand) (page string, plain []bool) {
	const parts = "< > / = ! -- - ? a p> <p> <p_ <a_ </p> <script> </script> <!-- --> --!> title=\" alt=' value=\" href=\" onclick=\" \"> '> " +
		"<title> </title> <style> </style> <textarea> </textarea> <svg> </svg> <svg/> <math> </math> <select> </select> <option> </option> <optgroup> </optgroup> " +
		"<foreignObject> </foreignObject> <desc> <mtext> <template> </template> <xmp> </xmp_> <iframe> </iframe> <plaintext> <datalist> <button> <hr> <td> <frameset> " +
		"<!doctype_html> <![CDATA[ ]]> &lt; <style/> <svg><style> <svg><title> <math><title> <svg><script> <select><option> <a_onclick=\" <?x_?> \x00 § § § §"
	list := strings.Split(parts, " ")
	var b strings.Builder
	n := 0
	for range 1 + rng.IntN(10) {
		part := strings.ReplaceAll(list[rng.IntN(len(list))], "_", " ")
		if part == "§" {
			part = placeName(n)
			n++
		}
		b.WriteString(part)
	}
	page, plain = b.String(), make([]bool, n)
	var m markup
	for i := range len(page) {
		if page[i] == 'Q' && strings.HasPrefix(page[i:], "Qz") {
			plain[page[i+2]-'a'] = m.plain()
		}
		m.step(page[i])
	}
	return page, plain
}

// isShown reports whether a text is shown, and not what a form sends.
func isShown(nd *html.Node) bool {
	if p := nd.Parent.Data; p != "title" && isRaw(p) || p == "plaintext" {
		return false
	}
	for o := range nd.Ancestors() {
		if o.Data != "option" {
			continue
		}
		for s := range o.Ancestors() {
			if s.Data == "select" && s.Namespace == "" {
				return slices.ContainsFunc(o.Attr, func(a html.Attribute) bool { return a.Key == "value" })
			}
		}
	}
	return true
}

// theirReading says of each mark whether golang.org/x/net/html has it in text or in
// the value of a readable attribute.
func theirReading(page string) (plain []bool) {
	z := html.NewTokenizer(strings.NewReader(page))
	raw := ""
	for {
		tt := z.Next()
		if tt == html.ErrorToken {
			return plain
		}
		text := slices.Clone(z.Raw())
		n := bytes.Count(text, []byte("§"))
		switch tt {
		case html.TextToken:
			for range n {
				plain = append(plain, raw == "" || raw == "title")
			}
		case html.StartTagToken, html.SelfClosingTagToken:
			name, more := z.TagName()
			marks := slices.Repeat([]bool{false}, bytes.Count(name, []byte("§")))
			for more {
				var k, v []byte
				k, v, more = z.TagAttr()
				marks = append(marks, make([]bool, bytes.Count(k, []byte("§")))...)
				_, ok := slices.BinarySearch(readAloud, string(k))
				for range bytes.Count(v, []byte("§")) {
					marks = append(marks, ok)
				}
			}
			for len(marks) < n {
				marks = append(marks, false)
			}
			plain = append(plain, marks[:n]...)
			raw = ""
			if s := string(name); isRaw(s) || s == "plaintext" {
				raw = s
			}
		default:
			for range n {
				plain = append(plain, false)
			}
			if tt == html.EndTagToken {
				raw = ""
			}
		}
	}
}

// ATTACK: a hostile service sends a page that is made to be slow to read: marks
// without end, in pieces of one byte.
//
// THIS TEST VERIFIES: it is read in one go, what is held back is bounded, and an
// error of the service comes behind what it had sent.
func TestPageOfMarks(t *testing.T) {
	s := newSealer(t)
	page := strings.Repeat("igs1", 200_000)
	p := reveal(iotest.OneByteReader(strings.NewReader("<p>"+page+"</p>"+sealed(t, s, "Ada"))), asPage, s)
	out, err := io.ReadAll(p)
	if err != nil || !strings.HasSuffix(string(out), "</p>Ada") {
		t.Fatalf("got %d bytes and %v", len(out), err)
	}
	broken := errors.New("broken")
	p = reveal(io.MultiReader(strings.NewReader("<p>"+sealed(t, s, "Ada")+" and "+sealed(t, s, "Bob")[:40]), iotest.ErrReader(broken)), asPage, s)
	out, err = io.ReadAll(p)
	if !errors.Is(err, broken) || !strings.HasPrefix(string(out), "<p>Ada and ") {
		t.Fatalf("got %q and %v", out, err)
	}
}

// THIS TEST VERIFIES: what a page has of revealed text is wiped once it was read,
// and when the page is closed.
func TestPageIsWiped(t *testing.T) {
	s := newSealer(t)
	p := &page{src: strings.NewReader("<p>" + sealed(t, s, "Ada Lovelace") + "</p>"), opener: s, in: make([]byte, pieceSize)}
	b := make([]byte, 8)
	if _, err := io.ReadFull(p, b); err != nil {
		t.Fatal(err)
	}
	out := p.out[:cap(p.out)]
	if !bytes.Contains(out, []byte("Ada Lovelace")) {
		t.Fatal("the test looks in the wrong place")
	}
	_ = p.Close()
	if bytes.Contains(out, []byte("Lovelace")) {
		t.Error("a closed page still has what was revealed")
	}
	if _, err := p.Read(b); err == nil {
		t.Error("a closed page can be read")
	}
}

func BenchmarkPage(b *testing.B) {
	s := newSealer(b)
	page := strings.Repeat(`<tr class="row"><td title="x">Some text of a ticket</td><td><a href="/t/1">`+sealed(b, s, "Ada Lovelace")+"</a></td></tr>\n<script>let a = 1;</script>", 200)
	b.SetBytes(int64(len(page)))
	buf := make([]byte, pieceSize)
	for b.Loop() {
		p := reveal(strings.NewReader(page), asPage, s)
		for {
			if _, err := p.Read(buf); err != nil {
				break
			}
		}
		_ = p.Close()
	}
}
