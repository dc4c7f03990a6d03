package packs_test

import (
	"fmt"
	"testing"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/policy"
)

func TestExamplePacksPassTheirOwnTests(t *testing.T) {
	for _, dir := range []string{"../examples/minimal/pack", "../examples/catch-all", "../examples/apps"} {
		t.Run(dir, func(t *testing.T) {
			if runCases(t, dir) == 0 {
				t.Error("no case passed")
			}
		})
	}
}

// Over the catch-all pack, which labels nothing, no value of any real body
// leaves, and no member's name that could be one.
//
// promise: P02
func TestTheCatchAllReleasesNothing(t *testing.T) {
	w := open(t, "../examples/catch-all")
	for name, body := range payloads(t) {
		for _, format := range []string{"json", "ndjson", "form"} {
			t.Run(fmt.Sprintf("%s as %s", name, format), func(t *testing.T) {
				in := map[string]func(*testing.T, []byte) []byte{"json": asItIs, "ndjson": compact, "form": form}[format](t, body)
				out, err := w.preview(transit{"outside", "POST", "/" + format + "/x"}, policy.Request{Body: in})
				if err != nil {
					t.Fatal(err)
				}
				if len(out.Body) == 0 || len(out.Fields) == 0 {
					t.Fatal("nothing left: the test looks at nothing")
				}
				for _, f := range out.Fields {
					if f.Label != isogate.Unclassified && f.Label != "ugc.body" || f.Action > isogate.Token {
						t.Errorf("%s: %s left as %s", f.Path, f.Label, f.Action)
					}
				}
				sent, seen := body, out.Body
				if format == "form" {
					sent, seen = decoded(t, in), decoded(t, out.Body)
				}
				for _, l := range leaks(leaves(t, body), seen, nil) {
					t.Errorf("%s: %q left", l.path, l.text)
				}
				left := names(t, seen)
				for n := range names(t, sent) {
					if left[n] {
						t.Errorf("the name %q left", n)
					}
				}
			})
		}
	}
}
