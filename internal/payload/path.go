package payload

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Path names a place of a body, or many of them when it has wildcards. The zero
// value is the body itself, "$".
type Path struct {
	segs []segment
}

// segKind is what one step of a path goes through.
type segKind uint8

const (
	segKey   segKind = iota // the member with this name
	segAny                  // *: one member, any name
	segDeep                 // **: any number of members and elements, none included
	segElem                 // []: every element
	segWhere                // [key=value]: the elements whose member key is the string value
)

// segment is one step of a path.
type segment struct {
	kind  segKind
	key   string // segKey, segWhere
	value string // segWhere
}

// PathError says what is wrong with a path, and where.
type PathError struct {
	Offset int    // in bytes, from 0
	Msg    string // cause and next step
}

func (e *PathError) Error() string {
	return fmt.Sprintf("path: character %d: %s", e.Offset+1, e.Msg)
}

// ParsePath reads a path:
//
//	path    = "$" / step *( "." step / bracket )
//	step    = name / quoted / "*" / "**" / bracket     (bracket only at the beginning)
//	bracket = "[]" / "[" (name / quoted) "=" (text / quoted) "]"
//	quoted  = "'" any text, with ' written twice "'"
//
// A name is written without quotes when it has none of . [ ] ' * = # and no
// space or control character; ” is the empty name, '$' and '?' are the names $
// and ?. In a bracket, text runs to the closing bracket. "*" stands for one member of any name, "**" for
// any number of members and elements, none included, so that meta.** is meta
// too. "**" does not follow "**". An error is a [*PathError].
func ParsePath(s string) (Path, error) {
	p := pathParser{s: s}
	return p.parse()
}

// String writes the path in the form that [ParsePath] reads.
func (p Path) String() string {
	if len(p.segs) == 0 {
		return "$"
	}
	var b strings.Builder
	for i, seg := range p.segs {
		b.WriteString(seg.joined(i == 0))
	}
	return b.String()
}

// joined writes a step as it follows another, or begins a path.
func (s segment) joined(first bool) string {
	dot := "."
	if first {
		dot = ""
	}
	switch s.kind {
	case segAny:
		return dot + "*"
	case segDeep:
		return dot + "**"
	case segElem:
		return "[]"
	case segWhere:
		return "[" + quoteKey(s.key) + "=" + quoteText(s.value) + "]"
	}
	return dot + quoteKey(s.key)
}

// quoteKey writes a name as a path does.
func quoteKey(key string) string {
	plain := key != "" && key != "?" && key != "$"
	for i := 0; i < len(key) && plain; i++ {
		plain = !special(key[i])
	}
	if plain {
		return key
	}
	return "'" + strings.ReplaceAll(key, "'", "''") + "'"
}

func quoteText(text string) string {
	if text != "" && !strings.ContainsAny(text, "]'") && !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' }) {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", "''") + "'"
}

// special reports whether a name with c in it must be quoted.
func special(c byte) bool {
	switch c {
	case '.', '[', ']', '\'', '*', '=', '#':
		return true
	}
	return c <= ' ' || c == 0x7f
}

type pathParser struct {
	s    string
	i    int
	segs []segment
}

func (p *pathParser) parse() (Path, error) {
	switch {
	case p.s == "":
		return Path{}, p.fail(0, "the path is empty; use $ for the body itself and '' for the empty name")
	case !utf8.ValidString(p.s):
		return Path{}, p.fail(0, "the path is not valid UTF-8")
	case p.s == "$":
		return Path{}, nil
	case strings.HasPrefix(p.s, "$.") || strings.HasPrefix(p.s, "$["):
		return Path{}, p.fail(0, "a path begins with its first step; leave out the $")
	}
	for first := true; first || p.i < len(p.s); first = false {
		var err error
		switch {
		case p.s[p.i] == '[':
			err = p.bracket()
		case first:
			err = p.step()
		case p.s[p.i] == '.':
			p.i++
			err = p.step()
		default:
			err = p.fail(p.i, "a step ends here; use . or [ before the next one")
		}
		if err != nil {
			return Path{}, err
		}
	}
	return Path{segs: p.segs}, nil
}

func (p *pathParser) step() error {
	start := p.i
	switch {
	case p.i == len(p.s) || p.s[p.i] == '.':
		return p.fail(start, "a step is empty; use '' for the empty name")
	case p.s[p.i] == '\'':
		key, err := p.quoted()
		p.segs = append(p.segs, segment{kind: segKey, key: key})
		return err
	case p.s[p.i] == '[':
		return p.fail(start, "a bracket follows its array without a dot")
	}
	for p.i < len(p.s) && p.s[p.i] != '.' && p.s[p.i] != '[' {
		p.i++
	}
	switch text := p.s[start:p.i]; text {
	case "*":
		p.segs = append(p.segs, segment{kind: segAny})
	case "**":
		if n := len(p.segs); n > 0 && p.segs[n-1].kind == segDeep {
			return p.fail(start, "** follows **; one is enough")
		}
		p.segs = append(p.segs, segment{kind: segDeep})
	default:
		if err := p.name(start, text); err != nil {
			return err
		}
		p.segs = append(p.segs, segment{kind: segKey, key: text})
	}
	return nil
}

// name checks that text, which begins at start, may stand without quotes.
func (p *pathParser) name(start int, text string) error {
	if text == "?" {
		return p.fail(start, "? stands for the members that no contract names; use '?' for the name")
	}
	for i := range len(text) {
		if special(text[i]) {
			return p.fail(start+i, fmt.Sprintf("a name with %q in it must be quoted; use '%s'", text[i], strings.ReplaceAll(text, "'", "''")))
		}
	}
	return nil
}

func (p *pathParser) bracket() error {
	p.i++
	if strings.HasPrefix(p.s[p.i:], "]") {
		p.i++
		p.segs = append(p.segs, segment{kind: segElem})
		return nil
	}
	seg := segment{kind: segWhere}
	var err error
	if strings.HasPrefix(p.s[p.i:], "'") {
		seg.key, err = p.quoted()
	} else {
		start := p.i
		for p.i < len(p.s) && p.s[p.i] != '=' && p.s[p.i] != ']' {
			p.i++
		}
		if seg.key = p.s[start:p.i]; seg.key == "" {
			return p.fail(start, "the member to select by is missing; use [key=value], or [] for every element")
		}
		err = p.name(start, seg.key)
	}
	if err != nil {
		return err
	}
	if p.i == len(p.s) || p.s[p.i] != '=' {
		return p.fail(p.i, "a selector compares one member with a text; use [key=value], or [] for every element")
	}
	p.i++
	if strings.HasPrefix(p.s[p.i:], "'") {
		if seg.value, err = p.quoted(); err != nil {
			return err
		}
	} else {
		start := p.i
		for p.i < len(p.s) && p.s[p.i] != ']' {
			if p.s[p.i] == '\'' || p.s[p.i] < ' ' {
				return p.fail(p.i, "a text with quotes or control characters must be quoted; use [key='text']")
			}
			p.i++
		}
		if seg.value = p.s[start:p.i]; seg.value == "" {
			return p.fail(start, "the text to select by is missing; use [key='']")
		}
	}
	if p.i == len(p.s) || p.s[p.i] != ']' {
		return p.fail(p.i, "the bracket is not closed")
	}
	p.i++
	p.segs = append(p.segs, seg)
	return nil
}

// quoted reads a quoted text; p.i is at the opening quote.
func (p *pathParser) quoted() (string, error) {
	start := p.i
	p.i++
	var b strings.Builder
	for p.i < len(p.s) {
		c := p.s[p.i]
		p.i++
		switch {
		case c != '\'':
			b.WriteByte(c)
		case strings.HasPrefix(p.s[p.i:], "'"):
			b.WriteByte('\'')
			p.i++
		default:
			return b.String(), nil
		}
	}
	return "", p.fail(start, "the quote is not closed")
}

func (p *pathParser) fail(offset int, msg string) error {
	return &PathError{Offset: offset, Msg: msg}
}
