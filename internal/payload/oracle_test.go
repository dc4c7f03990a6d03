package payload

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/isogate/isogate"
)

// The oracle: a second, slow implementation of what the package promises. It
// builds trees of values, matches every path against every place one by one, and
// shares no code with the walker but the parser of paths.

// val is a value as the oracle reads it.
type val struct {
	kind    isogate.Kind
	text    string // decoded
	object  bool
	array   bool
	names   []string
	members []*val // of an object, or the elements of an array
}

func (v *val) scalar() bool { return !v.object && !v.array }

var errNot = errors.New("not I-JSON")

// readJSON reads strict I-JSON. encoding/json judges the grammar first; what it
// lets pass is checked while the tree is built.
func readJSON(src []byte, depth int, lim Limits) (*val, error) {
	if !json.Valid(src) || !utf8.Valid(src) {
		return nil, errNot
	}
	r := &oracleReader{s: string(src), lim: lim}
	r.space()
	v, err := r.value(depth)
	return v, err
}

type oracleReader struct {
	s   string
	i   int
	lim Limits
}

func (r *oracleReader) space() {
	r.i += len(r.s[r.i:]) - len(strings.TrimLeft(r.s[r.i:], " \t\r\n"))
}

func (r *oracleReader) value(depth int) (*val, error) {
	switch c := r.s[r.i]; c {
	case '{', '[':
		if depth == r.lim.Depth {
			return nil, errNot
		}
		v := &val{object: c == '{', array: c == '['}
		r.i++
		for r.space(); r.s[r.i] != '}' && r.s[r.i] != ']'; r.space() {
			if r.s[r.i] == ',' {
				r.i++
				r.space()
			}
			if v.object {
				name, err := r.text()
				if err != nil || slices.Contains(v.names, name) || len(v.names) == r.lim.Members {
					return nil, errNot
				}
				v.names = append(v.names, name)
				r.space()
				r.i++
				r.space()
			}
			m, err := r.value(depth + 1)
			if err != nil {
				return nil, err
			}
			v.members = append(v.members, m)
		}
		r.i++
		return v, nil
	case '"':
		text, err := r.text()
		return &val{kind: isogate.String, text: text}, err
	}
	end := r.i
	for end < len(r.s) && !strings.ContainsRune(" \t\r\n,]}", rune(r.s[end])) {
		end++
	}
	v := &val{text: r.s[r.i:end]}
	r.i = end
	switch v.text {
	case "null":
	case "true", "false":
		v.kind = isogate.Bool
	default:
		v.kind = isogate.Number
		if f, err := strconv.ParseFloat(v.text, 64); err != nil && math.IsInf(f, 0) || len(v.text) > r.lim.Number {
			return nil, errNot
		}
	}
	return v, nil
}

func (r *oracleReader) text() (string, error) {
	end := r.i + 1
	for r.s[end] != '"' {
		if r.s[end] == '\\' {
			end++
		}
		end++
	}
	raw := r.s[r.i : end+1]
	r.i = end + 1
	var text string
	if err := json.Unmarshal([]byte(raw), &text); err != nil || len(raw)-2 > r.lim.Value {
		return "", errNot
	}
	// encoding/json writes U+FFFD for a surrogate without its other half.
	if strings.Count(text, "\uFFFD") != strings.Count(raw, "\uFFFD")+strings.Count(strings.ToLower(strings.ReplaceAll(raw, `\\`, "__")), `\ufffd`) {
		return "", errNot
	}
	for _, c := range text {
		if c >= 0xfdd0 && c <= 0xfdef || c&0xfffe == 0xfffe {
			return "", errNot
		}
	}
	return text, nil
}

// at is one step down a body.
type at struct {
	key  string
	elem *val // the element, for one of an array
}

// matches reports whether a path leads to a place.
func matches(segs []segment, pos []at) bool {
	if len(segs) == 0 {
		return len(pos) == 0
	}
	s := segs[0]
	if s.kind == segDeep {
		return matches(segs[1:], pos) || len(pos) > 0 && matches(segs, pos[1:])
	}
	if len(pos) == 0 {
		return false
	}
	p := pos[0]
	ok := false
	switch s.kind {
	case segKey:
		ok = p.elem == nil && p.key == s.key
	case segAny:
		ok = p.elem == nil
	case segElem:
		ok = p.elem != nil
	case segWhere:
		if p.elem != nil && p.elem.object {
			i := slices.Index(p.elem.names, s.key)
			ok = i >= 0 && p.elem.members[i].kind == isogate.String && p.elem.members[i].scalar() && p.elem.members[i].text == s.value
		}
	}
	return ok && matches(segs[1:], pos[1:])
}

// oracle rewrites trees.
type oracle struct {
	specs   []Spec
	rules   *Rules
	unnamed isogate.Verdict
	rep     Replacer
	lim     Limits
	plain   []string // texts of the values that left as they were
	noted   []string // of those, and of names, what must be registered
	names   int      // of which names
}

// note remembers what must be registered.
func (o *oracle) note(v *isogate.Verdict, kind isogate.Kind, text string) {
	if v.Register && kind != isogate.Null && text != "" {
		o.noted = append(o.noted, kind.String()+" "+string(v.Label)+" "+text)
	}
}

// opened is a parsed string around a place.
type opened struct {
	at    int      // steps to it
	paths []string // that parse it
}

func loops(path string) bool { return path == "**" || strings.HasSuffix(path, ".**") }

// labels returns what a place carries, the types it takes, whether a line names
// it, and the paths by which a string there is parsed.
func (o *oracle) labels(pos []at, in []opened) (labels []isogate.Label, types Types, parse []string) {
	types = allTypes
	var matched []string
	isParse := map[string]bool{}
	for _, s := range o.specs {
		if s.Parse {
			isParse[s.Path.String()] = true
		}
	}
	spent := func(path string) bool {
		return slices.ContainsFunc(in, func(b opened) bool {
			return slices.Contains(b.paths, path) && (b.at == len(pos) || loops(path))
		})
	}
	for _, s := range o.specs {
		if !matches(s.Path.segs, pos) {
			continue
		}
		path := s.Path.String()
		matched = append(matched, path)
		labels = union(labels, s.Label)
		if !spent(path) {
			if s.Types != 0 {
				types &= s.Types
			}
			if isParse[path] && !slices.Contains(parse, path) {
				parse = append(parse, path)
			}
		}
	}
	for k, b := range in {
		for _, p := range b.paths {
			below := slices.ContainsFunc(matched, func(m string) bool { return strictlyBelow(m, p) })
			for _, later := range in[k+1:] {
				below = below || slices.ContainsFunc(later.paths, func(m string) bool { return strictlyBelow(m, p) })
			}
			if below {
				continue
			}
			for _, s := range o.specs {
				if s.Path.String() == p {
					labels = union(labels, s.Label)
				}
			}
		}
	}
	return labels, types, parse
}

// strictlyBelow reports whether path m goes on after path p.
func strictlyBelow(m, p string) bool {
	a, _ := ParsePath(m)
	b, _ := ParsePath(p)
	return len(a.segs) > len(b.segs) && slices.Equal(a.segs[:len(b.segs)], b.segs)
}

func (o *oracle) verdict(labels []isogate.Label) isogate.Verdict {
	if len(labels) == 0 {
		return o.unnamed
	}
	for i, set := range o.rules.Tree.Sets() {
		if slices.Equal(set, labels) {
			return o.rules.Verdicts[i]
		}
	}
	panic(fmt.Sprintf("no set %v", labels))
}

var errRefused = errors.New("refused")

// rewrite returns what leaves of v; nil when it is dropped.
func (o *oracle) rewrite(v *val, pos []at, in []opened, muted bool) (*val, error) {
	labels, types, parse := o.labels(pos, in)
	if v.scalar() {
		verdict := o.verdict(labels)
		mixed := types>>v.kind&1 == 0
		if mixed {
			verdict = verdict.Strictest(o.unnamed)
		}
		if v.kind == isogate.String && parse != nil && !mixed {
			inner, err := readJSON([]byte(v.text), len(pos)+len(in)+1, o.lim)
			if err != nil {
				return nil, errRefused
			}
			out, err := o.rewrite(inner, pos, append(slices.Clip(in), opened{len(pos), parse}), muted)
			if err != nil {
				return nil, err
			}
			if muted || out == nil {
				return nil, nil
			}
			return &val{kind: isogate.String, text: out.String()}, nil
		}
		switch {
		case verdict.Action == isogate.Refuse:
			return nil, errRefused
		case muted || verdict.Action == isogate.Drop:
			if !muted && (len(pos) == 0 || len(in) > 0 && in[len(in)-1].at == len(pos)) {
				return nil, errRefused
			}
			return nil, nil
		case verdict.Action == isogate.Allow:
			o.plain = append(o.plain, v.kind.String()+v.text)
			o.note(&verdict, v.kind, v.text)
			return v, nil
		case verdict.Action == isogate.Redact:
			text := redacted[v.kind]
			if v.kind == isogate.String {
				text = redactedString
			}
			return &val{kind: v.kind, text: text}, nil
		}
		text, kind, _, err := o.rep.Replace(nil, &verdict, isogate.Value{Kind: v.kind, Text: []byte(v.text)})
		return &val{kind: kind, text: string(text)}, err
	}
	out := &val{object: v.object, array: v.array}
	for i, m := range v.members {
		step := at{elem: m}
		if v.object {
			step = at{key: v.names[i]}
		}
		below := append(slices.Clip(pos), step)
		name, drop := "", muted
		var keys *isogate.Verdict
		if v.object && !muted {
			n, own, err := o.name(v.names[i], m, pos, below, in)
			keys = own
			if err != nil {
				return nil, err
			}
			name, drop = n, n == ""
			if v.names[i] == "" && o.spelled("", pos, in) {
				drop = false
			}
		}
		left, err := o.rewrite(m, below, in, drop)
		if err != nil {
			return nil, err
		}
		if left == nil || drop {
			continue
		}
		if v.object {
			if slices.Contains(out.names, name) {
				return nil, errRefused
			}
			out.names = append(out.names, name)
			if keys != nil && keys.Register {
				o.names++
				o.note(keys, isogate.String, name)
			}
		}
		out.members = append(out.members, left)
	}
	return out, nil
}

// spelled reports whether some path that leads to pos goes on with the name.
func (o *oracle) spelled(name string, pos []at, in []opened) bool {
	return o.goesOn(pos, func(s segment) bool { return s.kind == segKey && s.key == name }) ||
		len(pos) > 0 && pos[len(pos)-1].elem != nil && o.goesOn(pos[:len(pos)-1], func(s segment) bool { return s.kind == segWhere && s.key == name })
}

// goesOn reports whether a path has a prefix that leads to pos and whose next step is as asked.
func (o *oracle) goesOn(pos []at, next func(segment) bool) bool {
	for _, s := range o.specs {
		for i, seg := range s.Path.segs {
			if next(seg) && matches(s.Path.segs[:i], pos) {
				return true
			}
		}
	}
	return false
}

// name returns what leaves of a member's name, "" when the member is dropped, and
// for a name that stays by a label of its own, the verdict of that.
func (o *oracle) name(name string, m *val, pos, below []at, in []opened) (string, *isogate.Verdict, error) {
	if o.spelled(name, pos, in) {
		return name, nil, nil
	}
	// Which wildcards let it in, and what do they say about names?
	wild, keys := len(in) > 0, []isogate.Label(nil)
	for _, s := range o.specs {
		for i, seg := range s.Path.segs {
			if seg.kind == segAny && matches(s.Path.segs[:i], pos) || seg.kind == segDeep && matches(s.Path.segs[:i+1], pos) {
				wild = true
				if s.Key != "" {
					keys = union(keys, s.Key)
				}
			}
		}
	}
	labels, types, parse := o.labels(below, in)
	v := o.verdict(labels)
	if m.scalar() && types>>m.kind&1 == 0 {
		v = v.Strictest(o.unnamed)
		parse = nil
	}
	if m.scalar() && v.Action == isogate.Refuse && (m.kind != isogate.String || parse == nil) {
		return "", nil, errRefused
	}
	if !wild {
		v = o.unnamed
	} else if keys != nil {
		v = o.verdict(keys)
	}
	if wild && v.Action == isogate.Allow {
		if NameLike([]byte(name)) {
			if keys == nil {
				return name, nil, nil
			}
			return name, &v, nil
		}
		v = o.unnamed
	}
	switch v.Action {
	case isogate.Refuse:
		return "", nil, errRefused
	case isogate.Drop:
		return "", nil, nil
	}
	out, _, err := o.rep.ReplaceName(nil, &v, []byte(name))
	return string(out), nil, err
}

// String writes a tree as compact JSON.
func (v *val) String() string {
	var b bytes.Buffer
	v.write(&b)
	return b.String()
}

func (v *val) write(b *bytes.Buffer) {
	if v.scalar() {
		if v.kind == isogate.String {
			writeText(b, v.text)
		} else {
			b.WriteString(v.text)
		}
		return
	}
	b.WriteByte("{["[map[bool]int{true: 0, false: 1}[v.object]])
	for i, m := range v.members {
		if i > 0 {
			b.WriteByte(',')
		}
		if v.object {
			writeText(b, v.names[i])
			b.WriteByte(':')
		}
		m.write(b)
	}
	b.WriteByte("}]"[map[bool]int{true: 0, false: 1}[v.object]])
}

func writeText(b *bytes.Buffer, s string) {
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s)
	b.Truncate(b.Len() - 1)
}
