package remote

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Limits of a manifest's text, generous to any app and small to any bomb.
const (
	maxManifest = 512 << 10 // bytes
	maxNesting  = 64        // brackets inside brackets, or dashes in one line
	maxIndent   = 512       // spaces before the deepest block
	maxKeys     = 10_000    // keys: the parser takes time that grows with their square
)

// refusedTokens are the parts of YAML that let one text mean another than it
// shows, or grow. They are refused in the whole file, and before it is parsed.
var refusedTokens = map[token.Type]string{
	token.AnchorType:     "there is an anchor (&); write the value where it is needed, or quote a text that begins with &",
	token.AliasType:      "there is an alias (*); write the value where it is needed, or quote an address that begins with *",
	token.MergeKeyType:   "there is a merge key (<<); write the keys where they are needed",
	token.DirectiveType:  "there is a directive (%); remove the line",
	token.MappingKeyType: "there is a complex key (?); write key: value",
}

// reader reads the YAML of one manifest and collects what there is to say about
// it.
type reader struct {
	file     string
	mistakes []Finding
	warnings []Finding
}

// place is where something stands: line and column, from 1.
type place struct{ line, column int }

func placeOf(n ast.Node) place { return placeOfToken(n.GetToken()) }

func placeOfToken(tk *token.Token) place {
	if tk == nil || tk.Position == nil {
		return place{1, 1}
	}
	return place{max(1, tk.Position.Line), max(1, tk.Position.Column)}
}

func (r *reader) finding(at place, format string, args ...any) Finding {
	msg, hint, _ := strings.Cut(fmt.Sprintf(format, args...), "; ")
	return Finding{File: r.file, Line: at.line, Column: at.column, Message: msg, Hint: hint}
}

// fail notes a mistake. What comes after the first "; " is the next step.
func (r *reader) fail(at place, format string, args ...any) {
	if len(r.mistakes) < maxFindings {
		r.mistakes = append(r.mistakes, r.finding(at, format, args...))
	}
}

// warn notes what is understood and should not be as it is.
func (r *reader) warn(at place, format string, args ...any) {
	if len(r.warnings) < maxFindings {
		r.warnings = append(r.warnings, r.finding(at, format, args...))
	}
}

func (r *reader) err() error {
	if len(r.mistakes) == 0 {
		return nil
	}
	return &ManifestError{Findings: sorted(r.mistakes)}
}

// parse returns the file's one document, or nil if it has a mistake.
func (r *reader) parse(src []byte) ast.Node {
	start := place{1, 1}
	if len(src) > maxManifest {
		r.fail(start, "the manifest is larger than %d KiB; leave out what is not a manifest's", maxManifest>>10)
		return nil
	}
	if !r.checkText(src) {
		return nil
	}
	tokens := lexer.Tokenize(string(src))
	if !r.checkTokens(tokens) {
		return nil
	}
	f, err := parseTokens(tokens)
	var ye yaml.Error
	switch {
	case errors.As(err, &ye) && ye.GetToken() != nil:
		r.fail(placeOfToken(ye.GetToken()), "the YAML cannot be read: %s; check the quotes, brackets and indentation", strings.ReplaceAll(ye.GetMessage(), "; ", ", "))
		return nil
	case err != nil:
		r.fail(start, "the YAML cannot be read; check its quotes, brackets and indentation")
		return nil
	}
	var body ast.Node
	for _, doc := range f.Docs {
		switch {
		case doc.Body == nil:
		case body != nil:
			r.fail(placeOf(doc.Body), "there is a second YAML document; a manifest is one")
			return nil
		default:
			body = doc.Body
		}
	}
	if body == nil {
		r.fail(start, "the manifest is empty; write the app's manifest into it")
		return nil
	}
	r.refuseTwice(body)
	return body
}

// parseTokens runs the parser. A panic of the parser, which no input should
// cause, is an error of the file and not the end of the process.
func parseTokens(tokens token.Tokens) (f *ast.File, err error) {
	defer func() {
		if recover() != nil {
			f, err = nil, errors.New("the parser failed")
		}
	}()
	return parser.Parse(tokens, 0, parser.AllowDuplicateMapKey()) // refuseTwice finds them all
}

// checkText refuses bytes that different readers read differently.
func (r *reader) checkText(src []byte) bool {
	for i, at := 0, (place{1, 1}); i < len(src); {
		c, n := utf8.DecodeRune(src[i:])
		switch {
		case c == utf8.RuneError && n == 1:
			r.fail(at, "the byte 0x%02x is not UTF-8; save the file as UTF-8", src[i])
			return false
		case c == '\r' && (i+1 >= len(src) || src[i+1] != '\n'), c == '\u0085', c == '\u2028', c == '\u2029':
			r.fail(at, "the line break U+%04X is read differently by different programs; end lines with a newline", c)
			return false
		case c < ' ' && c != '\n' && c != '\t' && c != '\r', c == 0x7f, c == '\uFEFF':
			r.fail(at, "the character U+%04X has no place in a manifest; remove it", c)
			return false
		}
		i, at.column = i+n, at.column+1
		if c == '\n' {
			at = place{at.line + 1, 1}
		}
	}
	return true
}

// checkTokens refuses what must not reach the parser: references, and nesting deep
// enough to exhaust its stack.
func (r *reader) checkTokens(tokens token.Tokens) bool {
	flow, dashes, dashLine, keys := 0, 0, 0, 0
	for _, tk := range tokens {
		if why, refused := refusedTokens[tk.Type]; refused {
			r.fail(placeOfToken(tk), "%s", why)
		}
		switch tk.Type {
		case token.MappingStartType, token.SequenceStartType:
			flow++
		case token.MappingEndType, token.SequenceEndType:
			flow--
		case token.SequenceEntryType:
			if tk.Position.Line != dashLine {
				dashes, dashLine = 0, tk.Position.Line
			}
			dashes++
		case token.MappingValueType:
			if keys++; keys == maxKeys+1 {
				r.fail(placeOfToken(tk), "the file has more than %d keys; leave out what is not a manifest's", maxKeys)
			}
		}
		if flow > maxNesting || dashes > maxNesting || tk.Position.IndentNum > maxIndent {
			r.fail(placeOfToken(tk), "the file nests too deep; a manifest is nested %d times at the most", maxNesting)
			break
		}
	}
	return len(r.mistakes) == 0
}

// refuseTwice refuses a key that a mapping has twice, anywhere: two readers keep
// two different ones.
func (r *reader) refuseTwice(n ast.Node) {
	if s, ok := n.(*ast.SequenceNode); ok {
		for _, item := range s.Values {
			r.refuseTwice(item)
		}
	}
	first := map[string]int{}
	for _, p := range pairsOf(n) {
		key := textOf(p.Key)
		if line, twice := first[key]; twice {
			r.fail(placeOf(p.Key), "the key %.40q is there twice, first in line %d; keep one", key, line)
		} else {
			first[key] = placeOf(p.Key).line
		}
		r.refuseTwice(p.Value)
	}
	if t, ok := n.(*ast.TagNode); ok && t.Value != nil {
		r.refuseTwice(t.Value)
	}
}

// pairsOf returns the pairs of a mapping, nil of anything else.
func pairsOf(n ast.Node) []*ast.MappingValueNode {
	switch n := n.(type) {
	case *ast.MappingNode:
		return n.Values
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}
	}
	return nil
}

// textOf returns a scalar as the file means it if it is text, and as it is
// spelled otherwise.
func textOf(n ast.Node) string {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value
	case *ast.LiteralNode:
		return n.Value.Value
	case nil:
		return ""
	}
	if tk := n.GetToken(); tk != nil {
		return tk.Value
	}
	return ""
}

// kindOf says what a node is, in the words of a message.
func kindOf(n ast.Node) string {
	switch n.(type) {
	case nil, *ast.NullNode:
		return "empty"
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	case *ast.SequenceNode:
		return "a list"
	case *ast.StringNode, *ast.LiteralNode:
		return "text"
	case *ast.BoolNode:
		return "true or false"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "a number"
	}
	return "written with a tag"
}

func isEmpty(n ast.Node) bool {
	_, null := n.(*ast.NullNode)
	return n == nil || null
}

// value is the value of a key, with the key's place for what has none itself.
type value struct {
	ast.Node
	at   place
	path string // of keys, for messages
}

// mapping calls f for each key of v that keys has, and refuses the others unless
// keys is nil. A value that is empty is left out as if its key were not there.
func (r *reader) mapping(v value, keys []string, f func(key string, v value)) {
	if isEmpty(v.Node) {
		return
	}
	pairs := pairsOf(v.Node)
	if pairs == nil && kindOf(v.Node) != "a mapping" {
		r.fail(v.at, "%s is %s; write a mapping of key: value", v.path, kindOf(v.Node))
		return
	}
	for _, p := range pairs {
		key := textOf(p.Key)
		if keys != nil && !slices.Contains(keys, key) {
			hint := nearMiss(key, keys)
			if hint == "" {
				hint = "; use " + strings.Join(keys, ", ")
			}
			r.fail(placeOf(p.Key), "%s has the unknown key %.40q%s", v.path, key, hint)
			continue
		}
		inner := value{p.Value, placeOf(p.Key), strings.TrimPrefix(v.path+"."+key, ".")}
		if !isEmpty(p.Value) {
			if kindOf(p.Value) != "a mapping" && kindOf(p.Value) != "a list" {
				inner.at = placeOf(p.Value)
			}
			f(key, inner)
		}
	}
}

// list calls f for each item of v.
func (r *reader) list(v value, f func(v value)) {
	s, ok := v.Node.(*ast.SequenceNode)
	if !ok {
		r.fail(v.at, "%s is %s; write a list, one item in a line after a dash", v.path, kindOf(v.Node))
		return
	}
	for i, item := range s.Values {
		inner := value{item, v.at, fmt.Sprintf("%s[%d]", v.path, i)}
		switch pairs := pairsOf(item); {
		case len(pairs) > 0:
			inner.at = placeOf(pairs[0].Key) // the parser points at the first colon
		case item != nil:
			inner.at = placeOf(item)
		}
		if isEmpty(item) {
			r.fail(inner.at, "%s is empty; remove the dash or write a value", inner.path)
			continue
		}
		f(inner)
	}
}

// text returns the text of a scalar. What only looks like a number counts as
// text; true and false do not.
func (r *reader) text(v value) (string, bool) {
	switch v.Node.(type) {
	case *ast.StringNode, *ast.LiteralNode, *ast.IntegerNode, *ast.FloatNode:
		return textOf(v.Node), true
	}
	r.fail(v.at, "%s is %s; write text", v.path, kindOf(v.Node))
	return "", false
}

// boolean returns true or false; anything else is a mistake, "yes" and "true" in
// quotes too.
func (r *reader) boolean(v value) (b, ok bool) {
	if n, is := v.Node.(*ast.BoolNode); is {
		return n.Value, true
	}
	r.fail(v.at, "%s is %s; write true or false", v.path, kindOf(v.Node))
	return false, false
}
