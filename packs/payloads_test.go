package packs_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/policy"
)

// payloads reads every body below the folder that ISOGATE_PAYLOADS names: real
// payloads of real services, which are not part of this repository.
func payloads(t *testing.T) map[string][]byte {
	t.Helper()
	dir := os.Getenv("ISOGATE_PAYLOADS")
	if dir == "" {
		t.Skip("ISOGATE_PAYLOADS is not set; name a folder of JSON bodies to run over")
	}
	bodies := map[string][]byte{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(p) != ".json" {
			return err
		}
		rel, _ := filepath.Rel(dir, p)
		bodies[rel], err = os.ReadFile(p)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(bodies) == 0 {
		t.Fatalf("%s holds no .json file", dir)
	}
	return bodies
}

// world is a pack with keys to try it with.
type world struct {
	*policy.Plan
	t *testing.T
}

func open(t *testing.T, dir string) world {
	t.Helper()
	p, err := policy.Check(dir, now)
	if err != nil {
		t.Fatal(err)
	}
	return world{p.Plan(), t}
}

// transit is how a pack's transit is found: by what it matches, from whichever
// source it lets send.
type transit struct {
	destination  isogate.Destination
	method, path string
}

func (w world) find(via transit) *policy.Transit {
	w.t.Helper()
	for _, candidate := range w.Transits() {
		if tr, _, err := w.Match(candidate.Sources[0], via.destination, via.method, via.path); err == nil {
			return tr
		}
	}
	w.t.Fatalf("no transit for %v", via)
	return nil
}

func (w world) preview(via transit, req policy.Request) (*policy.Outcome, error) {
	w.t.Helper()
	tr := w.find(via)
	o, err := w.Obfuscator("test", via.destination, policy.ThrowawayKeys([]byte("secret")))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Time, req.Method = now, via.method
	return tr.Preview(req, o)
}

var supportTransits = []transit{
	{"support-portal", "POST", "/v1/sessions"},
	{"support-portal", "POST", "/v1/logins"},
	{"support-portal", "POST", "/v1/tickets"},
	{"support-portal", "POST", "/v1/requests"},
	{"support-portal", "POST", "/v1/tickets/7/comments"},
	{"support-portal", "POST", "/v1/users"},
}

// Every field of every real support body has a label in some transit's contract.
//
// promise: P24
func TestRealSupportBodiesAreWhollyLabelled(t *testing.T) {
	w := open(t, "reference")
	n := 0
	for name, body := range payloads(t) {
		if !strings.Contains(name, "support") {
			continue
		}
		n++
		best := []string{"no transit takes it"}
		for i, via := range supportTransits {
			out, err := w.preview(via, policy.Request{Body: body})
			if err != nil {
				t.Errorf("%s: %s: %v", name, via.path, err)
				continue
			}
			var unlabelled []string
			for _, f := range out.Fields {
				if f.Label == isogate.Unclassified {
					unlabelled = append(unlabelled, f.Path)
				}
			}
			if i == 0 || len(unlabelled) < len(best) {
				best = unlabelled
			}
		}
		if len(best) > 0 {
			t.Errorf("%s: not labelled: %v", name, best)
		}
	}
	if n == 0 {
		t.Error("no support body among the payloads")
	}
}

// leaf is one scalar of a JSON body and where it stands: [] for every element.
type leaf struct{ path, text string }

// leaves lists the texts and numbers of a JSON body that are long enough not to
// turn up in another text by chance.
func leaves(t *testing.T, body []byte) []leaf {
	t.Helper()
	var out []leaf
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for name, x := range v {
				walk(path+"."+name, x)
			}
		case []any:
			for _, x := range v {
				walk(path+"[]", x)
			}
		case string:
			if len(v) >= 5 {
				out = append(out, leaf{strings.TrimPrefix(path, "."), v})
			}
		case json.Number:
			if len(v) >= 6 {
				out = append(out, leaf{strings.TrimPrefix(path, "."), v.String()})
			}
		}
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	walk("", v)
	return out
}

// leaks lists the leaves whose text turns up in a value of the output though
// nothing releases it: no field of such a path was allowed, and it is not a part
// of a text that was.
func leaks(in []leaf, out []byte, fields []isogate.Field) []leaf {
	var open []*regexp.Regexp
	for _, f := range fields {
		if f.Action == isogate.Allow {
			open = append(open, pathPattern(f.Path))
		}
	}
	var released, kept, leaked []leaf
	for _, l := range in {
		if slices.ContainsFunc(open, func(r *regexp.Regexp) bool { return r.MatchString(l.path) }) {
			released = append(released, l)
		} else {
			kept = append(kept, l)
		}
	}
	seen := texts(out)
	for _, l := range kept {
		if !strings.Contains(seen, l.text) {
			continue
		}
		if !slices.ContainsFunc(released, func(r leaf) bool { return strings.Contains(r.text, l.text) }) {
			leaked = append(leaked, l)
		}
	}
	return leaked
}

// texts is every scalar of a JSON body, decoded, one to a line.
func texts(body []byte) string {
	var b strings.Builder
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for _, x := range v {
				walk(x)
			}
		case []any:
			for _, x := range v {
				walk(x)
			}
		default:
			fmt.Fprintln(&b, v)
		}
	}
	for {
		var v any
		if err := d.Decode(&v); err != nil {
			return b.String()
		}
		walk(v)
	}
}

// pathPattern turns a contract's path into what matches the paths of leaves.
func pathPattern(path string) *regexp.Regexp {
	var b strings.Builder
	for _, step := range regexp.MustCompile(`\*\*|\*|\[[^]]*\]|[^*[]+`).FindAllString(path, -1) {
		switch {
		case step == "**":
			b.WriteString(".*")
		case step == "*":
			b.WriteString(`[^.]*`)
		case step[0] == '[':
			b.WriteString(`\[\]`)
		default:
			b.WriteString(regexp.QuoteMeta(step))
		}
	}
	return regexp.MustCompile("^" + b.String() + "$")
}

// The oracle of the tests below can tell a leak from a release.
func TestLeaks(t *testing.T) {
	in := leaves(t, []byte(`{"user":{"email":"ada@example.com","note":"calls often"},"items":[{"n":1234567,"m":{"x":"abcdef"}}]}`))
	fields := []isogate.Field{{Path: "user.email", Action: isogate.Allow}, {Path: "items[].m.*", Action: isogate.Allow}, {Path: "user.note", Action: isogate.Token}}
	if got := leaks(in, []byte(`{"user":{"email":"ada@example.com"},"items":[{"m":{"x":"abcdef"}}]}`), fields); len(got) != 0 {
		t.Errorf("released values are called leaks: %v", got)
	}
	if got := leaks(in, []byte(`{"a":"it says calls often"}`), fields); len(got) != 1 || got[0].path != "user.note" {
		t.Errorf("a leaked text is not seen: %v", got)
	}
	if got := leaks(in, []byte(`{"a":91234567}`), fields); len(got) != 1 || got[0].path != "items[].n" {
		t.Errorf("a leaked number is not seen: %v", got)
	}
}

// With the reference pack, a value of a real body leaves as it is only when a
// label or rule allows it; all others are gone.
//
// promise: P03
func TestRealBodiesLeaveOnlyWhatIsReleased(t *testing.T) {
	bodies := payloads(t)
	for what, dir := range map[string]string{"declared": "reference", "with a landing": landed(t)} {
		w := open(t, dir)
		enforced := 0
		for name, body := range bodies {
			for _, via := range supportTransits {
				t.Run(fmt.Sprintf("%s: %s over %s", what, name, via.path), func(t *testing.T) {
					enforced += leavesOnlyWhatIsReleased(t, w, name, via, body)
				})
			}
		}
		if (enforced > 0) != (dir != "reference") {
			t.Errorf("%s: the handling of %d fields was enforced", what, enforced)
		}
	}
}

// leavesOnlyWhatIsReleased previews one body, and says of how many fields the landing keeps the handling.
func leavesOnlyWhatIsReleased(t *testing.T, w world, name string, via transit, body []byte) (enforced int) {
	t.Helper()
	out, err := w.preview(via, policy.Request{Body: body})
	var refused *policy.RefusedError
	if errors.As(err, &refused) {
		if strings.Contains(name, "support") {
			t.Errorf("refused: %v", err)
		}
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range leaks(leaves(t, body), out.Body, out.Fields) {
		t.Errorf("%s: %q left, and nothing releases it", l.path, l.text)
	}
	for _, f := range out.Fields {
		if f.Label == isogate.Unclassified && f.Action > isogate.Hash {
			t.Errorf("unclassified %s left as %s", f.Path, f.Action)
		}
		if f.Sealed || f.Registered {
			enforced++
		}
	}
	return enforced
}

// compact writes a JSON body in one line.
func compact(t *testing.T, body []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := json.Compact(&b, body); err != nil {
		t.Fatal(err)
	}
	return append(b.Bytes(), '\n')
}

// names is every member name of a JSON body, once.
func names(t *testing.T, body []byte) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for name, x := range v {
				out[name] = true
				walk(x)
			}
		case []any:
			for _, x := range v {
				walk(x)
			}
		}
	}
	var v any
	if err := json.Unmarshal(body, &v); err != nil {
		t.Fatal(err)
	}
	walk(v)
	return out
}

func asItIs(_ *testing.T, body []byte) []byte { return body }

// form writes the leaves of a JSON body as a form, each under a name of its own.
func form(t *testing.T, body []byte) []byte {
	t.Helper()
	v := url.Values{}
	for i, l := range leaves(t, body) {
		v.Set(fmt.Sprintf("%s-%d", l.path, i), l.text)
	}
	if len(v) == 0 {
		t.Skip("the body has no value that is long enough to look for")
	}
	return []byte(v.Encode())
}

// decoded writes a form as the JSON object that says the same.
func decoded(t *testing.T, body []byte) []byte {
	t.Helper()
	v, err := url.ParseQuery(string(body))
	if err != nil {
		t.Fatal(err)
	}
	out, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
