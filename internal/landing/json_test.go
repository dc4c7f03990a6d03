package landing

import (
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
)

// ATTACK: somebody inside sets their display name to markup; the service renders
// parts of pages into strings of JSON, which its script puts into the page.
//
// THIS TEST VERIFIES: a value that is a whole string is shown whatever it is; one
// inside a longer string brings no tag along, and one in markup nothing but letters,
// digits and the like. This does not depend on the pieces that the body comes in.
//
// promise: P41
func TestValuesInsideStrings(t *testing.T) {
	k := newSealer(t)
	const (
		bad   = `<img src=x onerror=alert(1)>`
		quote = `x" onclick="a()`
		name  = `Zoë O'Brien-Łukasz, 2nd`
	)
	esc := strings.NewReplacer(`"`, `\"`).Replace
	for _, tc := range []struct {
		text, value, want string // § is the seal, and the value
	}{
		{`{"a":"§"}`, bad, bad},
		{`["§","§"]`, bad, bad},
		{`{"§":1}`, bad, bad},
		{`"§"`, quote, esc(quote)},
		{`{"a":"Dear §,"}`, bad, "[sealed]"},
		{`{"a":"§ x"}`, bad, "[sealed]"},
		{`{"a":"x§"}`, bad, "[sealed]"},
		{`{"a":"§§"}`, bad, "[sealed]"},
		{`{"a":"§x"}`, bad, "[sealed]"},
		{`{"a":"Dear §,"}`, quote, esc(quote)},
		{`{"a":"Dear §,"}`, name, name},
		{`{"a":"<p>§</p>"}`, bad, "[sealed]"},
		{`{"a":"<p>§</p>"}`, quote, "[sealed]"},
		{`{"a":"<p>§</p>"}`, name, name},
		{`{"a":"\u003Cp>§"}`, quote, "[sealed]"},
		{`{"a":"\u003cp>§"}`, quote, "[sealed]"},
		{`{"a":"<a href=\"§\">"}`, "javascript:alert(1)", "[sealed]"},
		{`{"a":"<p>","b":"§"}`, bad, bad},
		{`{"a":"<p>","b":"x §"}`, quote, esc(quote)},
		{`{"a":"\\","b":"§"}`, bad, bad},
		{`{"a":"\"§"}`, bad, "[sealed]"},
		{`{"a":"{\"b\":\"§\"}"}`, "Ada", "Ada"},
		{`{"a":"{\"b\":\"§\"}"}`, `A"b`, "[sealed]"},
		{`{"a":"\n§"}`, bad, "[sealed]"},
		{"{\"a\":\"§\"}\n{\"a\":\"<§\"}", name, name},
	} {
		igs := sealed(t, k, tc.value)
		in, want := strings.ReplaceAll(tc.text, "§", igs), strings.ReplaceAll(tc.text, "§", tc.want)
		readers := []io.Reader{strings.NewReader(in), iotest.OneByteReader(strings.NewReader(in)), iotest.DataErrReader(strings.NewReader(in)), iotest.HalfReader(strings.NewReader(in))}
		for range 20 {
			i := rand.IntN(len(in))
			readers = append(readers, io.MultiReader(strings.NewReader(in[:i]), strings.NewReader(in[i:])))
		}
		for _, r := range readers {
			body := reveal(r, asJSON, k)
			out, err := io.ReadAll(iotest.OneByteReader(body))
			if err != nil || string(out) != want {
				t.Errorf("%s with %s\n got %s %v\nwant %s", tc.text, tc.value, out, err, want)
				break
			}
			_ = body.Close()
		}
	}
}

// ATTACK: a hostile service sends strings that are made to be slow to read.
//
// THIS TEST VERIFIES: what is held back is bounded, what is remembered is gone once
// it is shown, and nothing of the text is lost.
func TestStringsWithoutEnd(t *testing.T) {
	k := newSealer(t)
	long := `{"a":"` + strings.Repeat("a", 100_000) + "igs1" + strings.Repeat("b", maxHeld+10_000) + strings.Repeat("igs1", 50_000) + `","b":["` + sealed(t, k, "Ada") + `"]}`
	s := newQuoted(strings.NewReader(long))
	out, err := io.ReadAll(s)
	if err != nil || string(out) != long {
		t.Fatalf("%d of %d bytes came through, %v", len(out), len(long), err)
	}
	many := `["` + strings.Repeat(sealed(t, k, "Ada")+`","`, 2000) + `"]`
	s = newQuoted(iotest.OneByteReader(strings.NewReader(many)))
	body := reveal(strings.NewReader(many), asJSON, k)
	if out, err = io.ReadAll(body); err != nil || strings.Count(string(out), "Ada") != 2000 {
		t.Errorf("%d values are shown, %v", strings.Count(string(out), "Ada"), err)
	}
	if out, err = io.ReadAll(s); err != nil || string(out) != many {
		t.Errorf("%d of %d bytes came through, %v", len(out), len(many), err)
	}
}

func BenchmarkJSON(b *testing.B) {
	k := newSealer(b)
	text := `[` + strings.Repeat(`{"id":1234,"title":"Some text of a ticket","user":"`+sealed(b, k, "Ada Lovelace")+`","state":"open"},`, 500) + `0]`
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		body := reveal(strings.NewReader(text), asJSON, k)
		_, _ = io.Copy(io.Discard, body)
		_ = body.Close()
	}
}
