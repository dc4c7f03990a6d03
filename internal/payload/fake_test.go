package payload

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
	"testing"

	"github.com/isogate/isogate"
)

// fakeReplacer replaces as the real one does, with a key of the test's: text by
// a digest, numbers by a number, booleans and null by themselves.
type fakeReplacer struct{ key string }

func (r fakeReplacer) sum(v *isogate.Verdict, text []byte) []byte {
	m := hmac.New(sha256.New, []byte(r.key+string(v.Label)))
	m.Write(text)
	return m.Sum(nil)
}

func (r fakeReplacer) Replace(dst []byte, v *isogate.Verdict, val isogate.Value) ([]byte, isogate.Kind, isogate.Action, error) {
	sum := r.sum(v, val.Text)
	switch val.Kind {
	case isogate.Number:
		return strconv.AppendUint(dst, uint64(sum[0])<<8|uint64(sum[1]), 10), isogate.Number, min(v.Action, isogate.Hash), nil
	case isogate.Bool:
		return append(dst, "false"...), isogate.Bool, isogate.Redact, nil
	case isogate.Null:
		return append(dst, "null"...), isogate.Null, isogate.Redact, nil
	}
	dst = append(dst, "tok_"...)
	return hex.AppendEncode(dst, sum[:12]), isogate.String, v.Action, nil
}

func (r fakeReplacer) ReplaceName(dst []byte, v *isogate.Verdict, name []byte) ([]byte, isogate.Action, error) {
	return hex.AppendEncode(append(dst, "k_"...), r.sum(v, name)[:12]), isogate.Hash, nil
}

// noting is a fakeReplacer that remembers what it is told of.
type noting struct {
	fakeReplacer
	noted []string // kind, label, text
}

func (r *noting) Note(v *isogate.Verdict, val isogate.Value) error {
	r.noted = append(r.noted, val.Kind.String()+" "+string(v.Label)+" "+string(val.Text))
	return nil
}

// line reads one line of a contract: path, label and options.
func line(t testing.TB, path string, label isogate.Label, more ...func(*Spec)) Spec {
	t.Helper()
	p, err := ParsePath(path)
	if err != nil {
		t.Fatal(err)
	}
	s := Spec{Path: p, Label: label}
	for _, f := range more {
		f(&s)
	}
	return s
}

func parses(s *Spec) { s.Parse = true }

func keyed(l isogate.Label) func(*Spec) { return func(s *Spec) { s.Key = l } }

func takes(k ...isogate.Kind) func(*Spec) { return func(s *Spec) { s.Types = TypesOf(k...) } }

func compile(t testing.TB, specs ...Spec) *Tree {
	t.Helper()
	tree, err := Compile(specs)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// verdictsFor judges the sets of a contract: the first segment of a label names
// its action, and one whose second is registered has its values registered;
// unclassified has the action given.
func verdictsFor(sets [][]isogate.Label, unclassified isogate.Action) []isogate.Verdict {
	out := make([]isogate.Verdict, len(sets))
	for i, labels := range sets {
		for j, l := range labels {
			v := isogate.Verdict{Action: unclassified, Label: l}
			if l != isogate.Unclassified {
				head := l
				for head.Parent() != "" {
					head = head.Parent()
				}
				if err := v.Action.UnmarshalText([]byte(head)); err != nil {
					panic(err)
				}
				v.Rule = "rules.yaml:1"
				v.Register = strings.Contains(string(l), ".registered")
			}
			if j == 0 {
				out[i] = v
			} else {
				out[i] = out[i].Strictest(v)
			}
		}
	}
	return out
}

func rulesFor(tree *Tree, unclassified isogate.Action) *Rules {
	return &Rules{Tree: tree, Verdicts: verdictsFor(tree.Sets(), unclassified)}
}

func format(t testing.TB, name string) Format {
	t.Helper()
	f, ok := FormatNamed(name)
	if !ok {
		t.Fatalf("no format %q", name)
	}
	return f
}
