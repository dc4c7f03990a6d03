package landing

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// FuzzPage holds a page read in one piece against one read byte by byte, and looks
// whether a value ever brings a sign along that its place does not bear.
func FuzzPage(f *testing.F) {
	for _, page := range []string{"<p>§</p>", `<a title="§" href='§'>`, "<script><!-- <script>§</script> -->§</script>§", "<option>§<textarea>§</title>§", "igs1§igs1a§"} {
		f.Add(page)
	}
	k := newSealer(f)
	igs := sealed(f, k, `"><x y='z'>`)
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 4<<10 || strings.Contains(text, `"><x y='z'>`) {
			return
		}
		in := strings.ReplaceAll(text, "§", igs)
		whole, err := io.ReadAll(reveal(strings.NewReader(in), asPage, k))
		if err != nil {
			t.Fatal(err)
		}
		pieces, err := io.ReadAll(reveal(iotest.OneByteReader(strings.NewReader(in)), asPage, k))
		if err != nil || !bytes.Equal(whole, pieces) {
			t.Fatalf("whole %q\npieces %q %v", whole, pieces, err)
		}
		if bytes.Contains(whole, []byte(`"><x y='z'>`)) {
			t.Fatalf("the value stands there as it is: %q", whole)
		}
	})
}

// FuzzStrings looks whether JSON, or what is none, comes through as it is, and a
// value is shown alike however the text comes.
func FuzzStrings(f *testing.F) {
	for _, text := range []string{`{"a":"§","b":"x §","c":"\u003c§"}`, `{"a":"x §"}`, `{"a":"\u003c§"}`, `"\"§`, `["§§"]`, `"igs1§igs1`, `\"§"§`} {
		f.Add(text)
	}
	k := newSealer(f)
	igs := sealed(f, k, `<x y="z">`)
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 4<<10 {
			return
		}
		in := strings.ReplaceAll(text, "§", igs)
		for _, r := range []io.Reader{strings.NewReader(in), iotest.OneByteReader(strings.NewReader(in)), iotest.DataErrReader(strings.NewReader(in))} {
			out, err := io.ReadAll(newQuoted(r))
			if err != nil || string(out) != in {
				t.Fatalf("%q came through as %q, %v", in, out, err)
			}
		}
		if strings.Count(text, "§") > 1 {
			return // of equal seals the strictest standing among those that were read counts
		}
		whole, err := io.ReadAll(reveal(strings.NewReader(in), asJSON, k))
		if err != nil {
			t.Fatal(err)
		}
		pieces, err := io.ReadAll(reveal(iotest.OneByteReader(strings.NewReader(in)), asJSON, k))
		if err != nil || !bytes.Equal(whole, pieces) {
			t.Fatalf("whole %q\npieces %q %v", whole, pieces, err)
		}
	})
}
