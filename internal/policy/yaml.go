package policy

import (
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// shape is what a node of a file is.
type shape uint8

const (
	empty  shape = iota // nothing written, or null
	scalar              // text, a number, true or false
	mapping
	list
)

var shapeNames = [...]string{"nothing", "a single value", "a mapping", "a list"}

func (s shape) String() string { return shapeNames[s] }

// node is one value of a file with its place. Only the part of YAML that means
// one thing to every reader exists: scalars, mappings with scalar keys, lists.
type node struct {
	at     position
	shape  shape
	text   string // of a scalar, decoded; numbers and booleans as spelled
	quoted bool   // the scalar is a string whatever it looks like
	pairs  []pair // of a mapping, in the order of the file
	items  []*node
}

// pair is one key of a mapping with its value.
type pair struct {
	key   *node
	value *node
}

// Limits of one file, generous to any pack and small to any bomb.
const (
	maxYAML   = 512 << 10 // bytes: the parser takes time that grows faster than the text
	maxDepth  = 32        // brackets inside brackets, or dashes in one line
	maxIndent = 256       // spaces before the deepest block
)

// refusedTokens are the parts of YAML that let one text mean another than it
// shows, each with the words of its refusal.
var refusedTokens = map[token.Type]string{
	token.AnchorType:     "anchors (&) are not part of a pack; write the value where it is needed",
	token.AliasType:      "aliases (*) are not part of a pack; write the value where it is needed, or quote a text that begins with *",
	token.MergeKeyType:   "merge keys (<<) are not part of a pack; write the keys where they are needed",
	token.TagType:        "tags (!) are not part of a pack; leave the tag out, or quote a text that begins with !",
	token.DirectiveType:  "directives (%) are not part of a pack; remove the line",
	token.MappingKeyType: "complex keys (?) are not part of a pack; write key: value",
}

// parseYAML reads one file into nodes. What is refused is noted and nil is
// returned; a file without content is an empty node.
func parseYAML(file string, src []byte, found *findings) *node {
	start := position{file: file, line: 1, column: 1}
	if len(src) > maxYAML {
		found.add(start, "the file is larger than %d KiB; split it", maxYAML>>10)
		return nil
	}
	if !checkText(start, src, found) {
		return nil
	}
	tokens := lexer.Tokenize(string(src))
	if !checkTokens(file, tokens, found) {
		return nil
	}
	f, err := parseTokens(tokens)
	if err != nil {
		noteSyntax(start, src, err, found)
		return nil
	}
	root := &node{at: start}
	for i, doc := range f.Docs {
		if i > 0 {
			found.add(positionOf(file, doc.Start), "a file of a pack holds one document; put the second one into a file of its own")
			return nil
		}
		if doc.Body != nil {
			r := yamlReader{file: file, found: found, ok: true}
			root = r.node(doc.Body)
			if !r.ok {
				return nil
			}
		}
	}
	return root
}

// parseTokens runs the parser. A panic of the parser, which no input should
// cause, is an error of the file and not the end of the process.
func parseTokens(tokens token.Tokens) (f *ast.File, err error) {
	defer func() {
		if r := recover(); r != nil {
			f, err = nil, errUnreadable
		}
	}()
	return parser.Parse(tokens, 0, parser.AllowDuplicateMapKey()) // duplicates are noted by us, all of them
}

var errUnreadable = errors.New("is not YAML that can be read")

// checkText refuses bytes that different readers read differently.
func checkText(at position, src []byte, found *findings) bool {
	if strings.HasPrefix(string(src), "\uFEFF") {
		found.add(at, "the file begins with a byte order mark; save it as UTF-8 without one")
		return false
	}
	for i, line, col := 0, 1, 1; i < len(src); {
		r, n := utf8.DecodeRune(src[i:])
		here := position{file: at.file, line: line, column: col}
		switch {
		case r == utf8.RuneError && n == 1:
			found.add(here, "the byte 0x%02x is not UTF-8; save the file as UTF-8", src[i])
			return false
		case r == '\r' && (i+1 >= len(src) || src[i+1] != '\n'), r == '\u0085', r == '\u2028', r == '\u2029':
			found.add(here, "the line break U+%04X is read differently by different programs; end lines with a newline", r)
			return false
		case r < ' ' && r != '\n' && r != '\t' && r != '\r', r == 0x7f, r == '\uFEFF':
			found.add(here, "the character U+%04X is not allowed in a pack; remove it", r)
			return false
		}
		i, col = i+n, col+1
		if r == '\n' {
			line, col = line+1, 1
		}
	}
	return true
}

// checkTokens refuses what must not reach the parser: the parts of YAML that a
// pack does not have, and nesting deep enough to exhaust its stack.
func checkTokens(file string, tokens token.Tokens, found *findings) bool {
	ok := true
	flow, dashes, dashLine := 0, 0, 0
	for _, tk := range tokens {
		if why, refused := refusedTokens[tk.Type]; refused {
			found.add(positionOf(file, tk), "%s", why)
			ok = false
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
		}
		if flow > maxDepth || dashes > maxDepth || tk.Position.IndentNum > maxIndent {
			found.add(positionOf(file, tk), "the file nests too deep; no part of a pack is nested more than %d times", maxDepth)
			return false
		}
	}
	return ok
}

// noteSyntax turns a parser's error into a finding.
func noteSyntax(start position, src []byte, err error, found *findings) {
	var ye yaml.Error
	if !errors.As(err, &ye) || ye.GetToken() == nil {
		found.add(start, "the file %v; check its quotes, brackets and indentation", errUnreadable)
		return
	}
	at, msg := positionOf(start.file, ye.GetToken()), ye.GetMessage()
	hint := "check the quotes, brackets and indentation"
	if lines := strings.Split(string(src), "\n"); at.line <= len(lines) {
		if l := lines[at.line-1]; strings.Contains(l, "[") && strings.Contains(l, "/{") {
			hint = "quote a path with {parameters} when it stands inside [ ], or write one per line: - GET /v1/users/{id}"
		}
	}
	found.add(at, "%s; %s", strings.ReplaceAll(msg, "; ", ", "), hint)
}

func positionOf(file string, tk *token.Token) position {
	p := position{file: file, line: 1, column: 1}
	if tk != nil && tk.Position != nil {
		p.line, p.column = max(1, tk.Position.Line), max(1, tk.Position.Column)
	}
	return p
}

// yamlReader turns the parser's tree into nodes.
type yamlReader struct {
	file  string
	found *findings
	ok    bool
}

func (r *yamlReader) refuse(n ast.Node, format string, args ...any) *node {
	at := positionOf(r.file, n.GetToken())
	r.found.add(at, format, args...)
	r.ok = false
	return &node{at: at}
}

func (r *yamlReader) node(n ast.Node) *node {
	out := &node{at: positionOf(r.file, n.GetToken())}
	switch n := n.(type) {
	case *ast.NullNode:
	case *ast.StringNode:
		out.shape, out.text = scalar, n.Value
		out.quoted = n.Token.Type == token.SingleQuoteType || n.Token.Type == token.DoubleQuoteType
	case *ast.LiteralNode:
		out.shape, out.text, out.quoted = scalar, n.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		out.shape, out.text = scalar, n.GetToken().Value
	case *ast.SequenceNode:
		out.shape = list
		for _, item := range n.Values {
			out.items = append(out.items, r.node(item))
		}
	case *ast.MappingNode:
		r.mapping(out, n.Values, n.IsFlowStyle)
	default:
		return r.refuse(n, "%s is not part of a pack; write plain keys, values and lists", n.Type())
	}
	return out
}

func (r *yamlReader) mapping(out *node, values []*ast.MappingValueNode, flow bool) {
	out.shape = mapping
	first := make(map[string]position, len(values))
	for i, v := range values {
		key := r.node(v.Key)
		if i == 0 && !flow {
			out.at = key.at // the parser points at the first colon
		}
		if key.shape != scalar {
			if r.ok {
				r.refuse(v.Key, "a key must be a single value, not %s; quote it", key.shape)
			}
			continue
		}
		if at, twice := first[key.text]; twice {
			// The pack is refused for it; the first of the two serves to find the other mistakes.
			r.found.add(key.at, "the key %q is there twice, first in line %d; keep one", key.text, at.line)
			continue
		}
		first[key.text] = key.at
		out.pairs = append(out.pairs, pair{key: key, value: r.node(v.Value)})
	}
}

// inside is the place of the character at a byte offset of the scalar's text,
// exact for a scalar on one line without escapes.
func (n *node) inside(offset int) position {
	at := n.at
	at.column += utf8.RuneCountInString(n.text[:min(offset, len(n.text))])
	if n.quoted {
		at.column++
	}
	return at
}

// kind is what the node is, in the words of a message.
func (n *node) kind() string {
	if n.shape == scalar && n.text == "" || n.shape == mapping && len(n.pairs) == 0 || n.shape == list && len(n.items) == 0 {
		return "empty"
	}
	return n.shape.String()
}
