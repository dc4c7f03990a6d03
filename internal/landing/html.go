package landing

import (
	"bytes"
	"slices"
)

// markup reads HTML as a browser's tokenizer does (WHATWG HTML, 13.2.5), as far
// as is needed to know where a value is text to it and nothing else. There a seal
// may become a value: in text, in a title, and in those quoted attributes that
// people read. Everywhere else it stays a seal, for a value that was sent by
// somebody could there become a program, an address or a part of a form:
//
//   - scripts, styles and what else is not text (iframe, noscript, xmp, CDATA …)
//   - comments, tag and attribute names, attributes without quotes
//   - event handlers, addresses, styles, and all attributes but those of readAloud
//   - what a form would send back: values, text areas, options without a value.
//     The service would get in plaintext, and keep, what it only has under seal.
//
// Where it may be in doubt (CDATA, which HTML and SVG read differently) it says no.
type markup struct {
	state       state
	name        []byte // of the tag, in lower case, cut at maxName
	attr        []byte // of the attribute
	closing     bool   // it is an end tag
	valued      bool   // the tag has a value attribute
	read        bool   // the attribute's value is for people
	svg, mathml int    // how deep in them
	choosing    bool   // in a select
	choice      bool   // in an option whose text is its value

	raw    []byte // the end that a raw element waits for, such as "</script"
	at     int    // how much of it was seen
	cdata  int    // of "<![cdata[", how much was seen; all of it until "]]>"
	script int    // of "<script" inside a script, how much was seen
	escape uint8  // of a script: 1 behind <!--, 2 behind <script in that
	last   uint32 // the last four bytes, in lower case
	count  int    // of a comment: its bytes
}

type state uint8

const (
	inText state = iota
	tagOpen
	endTagOpen
	tagName
	selfClosing
	beforeAttr
	attrName
	afterAttrName
	beforeValue
	doubleQuoted
	singleQuoted
	unquoted
	afterQuoted
	declaration
	comment
	bogus
	rawText
	never // and nothing leads out of it
)

// maxName is how much of a name is looked at; longer ones are none that matter.
const maxName = 24

// readAloud are the attributes that are shown or read to people as they are.
var readAloud = []string{"abbr", "alt", "aria-description", "aria-label", "aria-placeholder", "aria-roledescription", "aria-valuetext",
	"label", "placeholder", "summary", "title"}

// isRaw reports whether an element holds text in which no tag begins until its own
// end.
func isRaw(name string) bool {
	switch name {
	case "iframe", "noembed", "noframes", "noscript", "script", "style", "textarea", "title", "xmp":
		return true
	}
	return false
}

// plain reports whether a seal at this place may become a value.
func (m *markup) plain() bool {
	switch m.state {
	case inText:
		return !m.choice
	case doubleQuoted, singleQuoted:
		return m.read
	case rawText:
		return !m.foreign() && !m.choice && string(m.raw) == "</title"
	}
	return false
}

// skip reads bytes at the beginning of b that lead to no other state, many of them
// at once, and returns how many.
func (m *markup) skip(b []byte) int {
	var end byte
	switch m.state {
	case inText:
		end = '<'
	case doubleQuoted:
		end = '"'
	case singleQuoted:
		end = '\''
	case tagName:
		n := 0
		for ; n < len(b) && letter(b[n]); n++ {
			m.name = appendName(m.name, b[n])
		}
		return n
	case attrName:
		n := 0
		for ; n < len(b) && letter(b[n]); n++ {
			m.attr = appendName(m.attr, b[n])
		}
		return n
	case never:
		return len(b)
	default:
		return 0
	}
	if i := bytes.IndexByte(b, end); i >= 0 {
		return i
	}
	return len(b)
}

// step reads one byte.
func (m *markup) step(c byte) {
	if c >= 'A' && c <= 'Z' {
		c |= 0x20
	}
	for again := true; again; {
		again = m.next(c)
	}
}

// next reads one byte, in lower case, and reports whether the state it led to
// must read it as well.
func (m *markup) next(c byte) (again bool) {
	switch m.state {
	case inText:
		if c == '<' {
			m.state = tagOpen
		}
	case tagOpen, endTagOpen:
		return m.open(c)
	case tagName, selfClosing, beforeAttr, attrName, afterAttrName, afterQuoted:
		return m.tag(c)
	case beforeValue, doubleQuoted, singleQuoted, unquoted:
		return m.value(c)
	case declaration:
		return m.declare(c)
	case comment:
		m.comment(c)
	case bogus:
		if c == '>' {
			m.state = inText
		}
	case rawText:
		return m.rawText(c)
	}
	return false
}

func (m *markup) open(c byte) (again bool) {
	switch {
	case letter(c):
		m.closing = m.state == endTagOpen
		m.name, m.attr, m.valued = m.name[:0], m.attr[:0], false
		m.state = tagName
		return true
	case m.state == endTagOpen && c == '>':
		m.state = inText
	case m.state == endTagOpen || c == '?':
		m.state = bogus
		return c == '>'
	case c == '!':
		m.name = m.name[:0]
		m.state = declaration
	case c == '/':
		m.state = endTagOpen
	default:
		m.state = inText // it was a mere less-than sign
		return true
	}
	return false
}

func (m *markup) tag(c byte) (again bool) {
	switch m.state {
	case tagName:
		switch {
		case space(c):
			m.state = beforeAttr
		case c == '/':
			m.state = selfClosing
		case c == '>':
			m.endTag()
		default:
			m.name = appendName(m.name, c)
		}
	case selfClosing:
		if c == '>' {
			m.endTag()
			return false
		}
		m.state = beforeAttr
		return true
	case beforeAttr, afterAttrName:
		switch {
		case space(c):
		case c == '>':
			m.endTag()
		case c == '/':
			m.state = selfClosing
		case c == '=' && m.state == afterAttrName:
			m.state = beforeValue
		default:
			m.attr = appendName(m.attr[:0], c)
			m.state = attrName
		}
	case attrName:
		switch {
		case space(c):
			m.state = afterAttrName
		case c == '/' || c == '>':
			m.state = afterAttrName
			return true
		case c == '=':
			m.state = beforeValue
		default:
			m.attr = appendName(m.attr, c)
			return false
		}
		m.valued = m.valued || string(m.attr) == "value"
	case afterQuoted:
		m.state = beforeAttr
		return true
	}
	return false
}

func (m *markup) value(c byte) (again bool) {
	switch m.state {
	case beforeValue:
		_, m.read = slices.BinarySearch(readAloud, string(m.attr))
		switch {
		case space(c):
		case c == '"':
			m.state = doubleQuoted
		case c == '\'':
			m.state = singleQuoted
		case c == '>':
			m.endTag()
		default:
			m.state = unquoted
			return true
		}
	case doubleQuoted:
		if c == '"' {
			m.state = afterQuoted
		}
	case singleQuoted:
		if c == '\'' {
			m.state = afterQuoted
		}
	case unquoted:
		switch {
		case space(c):
			m.state = beforeAttr
		case c == '>':
			m.endTag()
		}
	}
	return false
}

// endTag is the end of a tag, and the beginning of what it holds.
func (m *markup) endTag() {
	selfClosed := m.state == selfClosing
	m.state = inText
	name := string(m.name)
	switch name {
	case "option":
		// In a select not every end tag ends one.
		m.choice = !m.closing && !m.valued || m.closing && m.choosing && m.choice
	case "applet", "marquee", "object", "table", "template":
		if m.choosing { // its end tag does not end it from in there
			m.state = never
			return
		}
	case "frameset":
		m.state = never // all tags but a few mean nothing
		return
	case "select":
		if m.closing && m.foreign() {
			m.state = never // as above
			return
		}
		m.choosing = !m.closing
		m.choice = m.choice && m.choosing
	case "svg":
		m.svg = depth(m.svg, m.closing, selfClosed)
	case "math":
		m.mathml = depth(m.mathml, m.closing, selfClosed)
	}
	if m.closing {
		return
	}
	if name == "plaintext" {
		m.state = never
	}
	if isRaw(name) {
		m.state = rawText
		m.raw = append(append(m.raw[:0], "</"...), name...)
		m.at, m.cdata, m.script, m.escape, m.last = 0, 0, 0, 0, 0
	}
}

func depth(n int, closing, selfClosed bool) int {
	switch {
	case closing:
		return max(n-1, 0)
	case selfClosed:
		return n
	}
	return n + 1
}

// foreign reports whether this is inside SVG or MathML.
func (m *markup) foreign() bool { return m.svg+m.mathml > 0 }

// declare reads what follows "<!".
func (m *markup) declare(c byte) (again bool) {
	m.name = append(m.name, c)
	switch s := string(m.name); {
	case s == "--":
		m.state = comment
		m.count, m.last = 0, 0
	case s == "[cdata[":
		m.state = never
	case s == "doctype":
		m.state = bogus
	case bytes.HasPrefix([]byte("--"), m.name), bytes.HasPrefix([]byte("[cdata["), m.name), bytes.HasPrefix([]byte("doctype"), m.name):
	default:
		m.state = bogus
		return true
	}
	return false
}

func (m *markup) comment(c byte) {
	if c == '>' {
		switch {
		case m.count == 0, // <!-->
			m.count == 1 && m.last&0xff == '-', // <!--->
			m.last&0xffff == '-'<<8|'-',
			m.last&0xffffff == '-'<<16|'-'<<8|'!':
			m.state = inText
			return
		}
	}
	m.count++
	m.last = m.last<<8 | uint32(c)
}

// rawText reads what only its own end tag ends. In a script that has a comment
// with another script's beginning in it, the next end is that one's (13.2.5.17 ff.).
func (m *markup) rawText(c byte) (again bool) {
	script := string(m.raw) == "</script"
	delimiter := space(c) || c == '/' || c == '>'
	if delimiter && m.at == len(m.raw) {
		if m.escape < 2 {
			m.name = append(m.name[:0], m.raw[2:]...)
			m.closing, m.state = true, beforeAttr
			return true
		}
		m.escape = 1
	}
	if delimiter && m.script == len("<script") && m.escape == 1 {
		m.escape = 2
	}
	m.last = m.last<<8 | uint32(c)
	if m.foreign() && m.differs(c) {
		m.state = never
		return false
	}
	m.at = match(string(m.raw), m.at, c)
	if !script {
		return false
	}
	m.script = match("<script", m.script, c)
	switch {
	case m.last == '<'<<24|'!'<<16|'-'<<8|'-' && m.escape == 0:
		m.escape = 1
	case m.last&0xffffff == '-'<<16|'-'<<8|'>':
		m.escape = 0
	}
	return false
}

// cdataBegin begins what is text in SVG and MathML, and in HTML something else.
const cdataBegin = "<![cdata["

// differs reports whether what is read in a raw element's text may be read in
// another way. Within SVG and MathML browsers take the same names for elements
// that have others in them, but for parts of them that are HTML again. The two
// agree as long as no tag and no comment begins there.
func (m *markup) differs(c byte) bool {
	if m.cdata == len(cdataBegin) {
		if m.last&0xffffff == ']'<<16|']'<<8|'>' {
			m.cdata = 0
		}
		return c == '<'
	}
	open := m.at > 0 || m.cdata > 0
	m.cdata = match(cdataBegin, m.cdata, c)
	return open && m.cdata == 0 && match(string(m.raw), m.at, c) == 0
}

// match says how much of word has been seen behind c. Its first byte is nowhere
// else in it.
func match(word string, seen int, c byte) int {
	switch {
	case seen < len(word) && word[seen] == c:
		return seen + 1
	case c == word[0]:
		return 1
	}
	return 0
}

func appendName(name []byte, c byte) []byte {
	if len(name) > maxName {
		return name
	}
	return append(name, c)
}

func letter(c byte) bool { return c >= 'a' && c <= 'z' }

func space(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\f' || c == '\r' }
