package payload

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/isogate/isogate"
)

// Names says which label each named value of one part of a request has: its
// query parameters, path parameters, headers, cookies or trailers. It is
// immutable.
type Names struct {
	ledger
	part   string
	places map[string]uint32
	sets   [][]isogate.Label
	pool   sync.Pool // of *queryScratch
}

// CompileNames compiles the labels of a part: "query", "path", "header",
// "cookie" or "trailer". The names of headers and trailers match in any case. A
// part that is none of these is treated as the strictest, a header. Two names
// that differ in case only must carry one label; otherwise both labels apply.
func CompileNames(part string, m map[string]isogate.Label) *Names {
	n := &Names{part: part, places: map[string]uint32{}, sets: [][]isogate.Label{{isogate.Unclassified}}}
	n.add("?", 0)
	labels := map[string][]isogate.Label{}
	for name, l := range m {
		if l == "" {
			l = isogate.Unclassified
		}
		name = n.fold(name)
		labels[name] = union(labels[name], l)
	}
	sets := map[string]int32{string(isogate.Unclassified): 0}
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		var id strings.Builder
		for i, l := range labels[name] {
			if i > 0 {
				id.WriteByte(0)
			}
			id.WriteString(string(l))
		}
		set, ok := sets[id.String()]
		if !ok {
			set = int32(len(n.sets)) //nolint:gosec // one for each name at the most
			sets[id.String()] = set
			n.sets = append(n.sets, labels[name])
		}
		n.places[name] = n.add(quoteKey(name), set)
	}
	return n
}

// Sets returns the distinct combinations of labels; the first is unclassified alone.
func (n *Names) Sets() [][]isogate.Label { return n.sets }

func (n *Names) add(name string, set int32) uint32 {
	i := len(n.paths)
	path := n.part + ":" + name
	n.paths = append(n.paths, path, path+nameSuffix)
	n.defs = append(n.defs, set, set)
	return uint32(i) //nolint:gosec // twice the number of names at the most
}

func (n *Names) fold(name string) string {
	if n.part == "query" || n.part == "path" || n.part == "cookie" {
		return name
	}
	return strings.ToLower(name)
}

// removes reports whether what the part does not name is taken out, as opposed
// to obfuscated.
func (n *Names) removes() bool { return n.part != "query" && n.part != "path" }

// NameRules is what a part of a request is judged by.
type NameRules struct {
	Names    *Names
	Verdicts []isogate.Verdict // by Names.Sets(); see Rules.Verdicts
}

// RewriteNamed appends to dst what may leave of one path parameter, header,
// cookie or trailer value, and says whether it is kept at all. Value and result
// are the text itself: the caller decodes the one and encodes the other for its
// place. A value that is not named is removed from headers, cookies and
// trailers, and treated as unclassified in a path, where a verdict of drop
// refuses: a path without its parameter is another path. Refused with a
// [*Refusal] are values with control characters or invalid UTF-8, non-ASCII
// header and trailer values, cookie values with characters RFC 6265 does not
// allow, and path parameters that are empty, "." or "..", or have a slash or
// backslash in them.
//
// promise: P03
func RewriteNamed(dst []byte, name, value string, r *NameRules, rep Replacer, tally *Tally) (out []byte, keep bool, err error) {
	n := r.Names
	if err := checkUnclassified(r.Verdicts); err != nil {
		return dst, false, err
	}
	p := tally.part(&n.ledger, r.Verdicts)
	place, named := n.places[n.fold(name)]
	if !named && n.removes() {
		p.count(0, 0, false, isogate.Drop)
		return dst, false, nil
	}
	refuse := func(reason string) ([]byte, bool, error) {
		return dst, false, &Refusal{Path: n.paths[place], Reason: reason}
	}
	if fault := n.fault(value); fault != "" {
		return refuse(fault)
	}
	set := n.defs[place]
	v := judge(r.Verdicts, set, false)
	if v.Action == isogate.Allow {
		if v.Register {
			if err := note(rep, &v, isogate.Value{Kind: isogate.String, Text: []byte(value)}); err != nil {
				return dst, false, atPlace(n.paths[place], err)
			}
		}
		p.count(place, set, false, v.Action)
		return append(dst, value...), true, nil
	}
	out, applied, err := replaceText(dst, &v, []byte(value), rep)
	switch {
	case err != nil:
		return dst, false, atPlace(n.paths[place], err)
	case applied == isogate.Refuse:
		return refuse(reasonRefused(&v))
	case applied == isogate.Drop && n.part == "path":
		return refuse("a path parameter cannot be dropped; use redact or token")
	case applied == isogate.Drop:
		p.count(place, set, false, applied)
		return dst, false, nil
	case n.fault(string(out[len(dst):])) != "":
		return dst, false, atPlace(n.paths[place], errReplacement)
	}
	p.count(place, set, false, applied)
	return out, true, nil
}

// fault says why a value cannot stand in the part, or "".
func (n *Names) fault(value string) string {
	if !utf8.ValidString(value) {
		return "the value is not valid UTF-8"
	}
	for i := range len(value) {
		if c := value[i]; c < ' ' && (c != '\t' || !n.removes() || n.part == "cookie") || c == 0x7f {
			return "the value has a control character"
		}
	}
	switch n.part {
	case "query":
	case "path":
		if value == "" || value == "." || value == ".." || strings.ContainsAny(value, `/\`) {
			return "the value cannot be one segment of a path"
		}
	case "cookie":
		for i := range len(value) {
			if c := value[i]; c >= utf8.RuneSelf || strings.IndexByte(" \",;\\", c) >= 0 {
				return "the value has a character that cookies do not allow"
			}
		}
	default:
		for i := range len(value) {
			if value[i] >= utf8.RuneSelf {
				return "the value is not ASCII"
			}
		}
	}
	return ""
}
