package http1

import (
	"strings"
	"time"
)

// statusParser reads the head of a response line by line as it comes in.
type statusParser struct {
	lines
	fieldLines

	status   int
	minor    int
	haveLine bool
	closing  bool          // the connection cannot be used again
	keep     time.Duration // how long the server keeps it, if it says so
}

func (p *statusParser) reset() {
	p.fieldLines.reset()
	p.lines = lines{}
	p.status, p.minor, p.haveLine, p.closing, p.keep = 0, 0, false, false, 0
}

// parse is like headParser.parse.
func (p *statusParser) parse(b []byte, lim *Limits) (int, *Fault) {
	for {
		from, to, ok, f := p.next(b)
		switch {
		case f != nil:
			return 0, f
		case !ok && len(b)-p.start > lim.Line+2:
			return 0, fault(LineTooLong)
		case !ok && len(b) >= lim.Header:
			return 0, fault(HeaderTooLarge)
		case !ok:
			return 0, nil
		case to+2 > lim.Header:
			return 0, fault(HeaderTooLarge)
		case to-from > lim.Line:
			return 0, fault(LineTooLong)
		case !p.haveLine:
			f = p.statusLine(b[from:to])
			p.haveLine = true
		case from == to:
			return to + 2, nil
		default:
			f = p.add(b[from:to], from, lim.Fields)
		}
		if f != nil {
			return 0, f
		}
	}
}

// statusLine reads "HTTP/1.1 200 reason" (RFC 9112, 4). The space after the
// status is part of it even where the reason is empty.
func (p *statusParser) statusLine(line []byte) *Fault {
	const prefix = "HTTP/1."
	if len(line) == 0 {
		return fault(LeadingEmptyLine)
	}
	if len(line) < len("HTTP/1.1 200 ") || string(line[:len(prefix)]) != prefix || line[7] != '1' && line[7] != '0' {
		return fault(BadVersion)
	}
	if line[8] != ' ' || line[12] != ' ' || !all(line[9:12], isDigit) || line[9] < '1' || line[9] > '5' {
		return fault(BadStatusLine)
	}
	for _, c := range line[13:] {
		if !is(c, isValue) {
			return fault(BadStatusLine)
		}
	}
	p.minor = int(line[7] - '0')
	p.status = int(line[9]-'0')*100 + int(line[10]-'0')*10 + int(line[11]-'0')
	p.closing = p.minor == 0
	return nil
}

// response fills in from a complete head and returns the length of the body, or
// -1 for chunks (RFC 9112, 6.3).
func (p *statusParser) response(in *Incoming, head, method string, closeDelimited bool, lim *Limits) (int64, *Fault) {
	in.Status = p.status
	p.connection(head)
	length, hasLength := p.value(kContentLength, head)
	coding, hasCoding := p.value(kTransferEncoding, head)
	n, ok := parseLength(length)
	switch {
	case p.status == 101:
		return 0, fault(SwitchedProtocol)
	case hasLength && hasCoding:
		return 0, fault(LengthAndCoding)
	case hasLength && !ok:
		return 0, fault(BadContentLength)
	case hasCoding && p.minor == 0:
		return 0, fault(CodingInHTTP10)
	case hasCoding && coding != "chunked":
		return 0, fault(BadTransferCoding)
	case p.status < 200 || p.status == 204:
		// RFC 9110, 8.6 and RFC 9112, 6.1: neither field may be there, and some would
		// read a body all the same.
		if hasCoding || n != 0 {
			return 0, fault(BodyNotAllowed)
		}
		n = 0
	case method == "HEAD" || p.status == 304:
		// The length is that of what is not sent.
		in.Header = p.endToEnd(in.Header[:0], head)
		in.ContentLength = 0
		return 0, nil
	case hasCoding:
		n = -1
	case hasLength:
		if n > lim.Body {
			return 0, fault(BodyTooLarge)
		}
	case !closeDelimited:
		return 0, fault(NoLength)
	default:
		in.CloseDelimited = true
		n = -1
	}
	in.ContentLength = n
	if p.status >= 200 {
		in.Header = p.endToEnd(in.Header[:0], head)
	}
	return n, nil
}

// connection reads what the server says of the connection.
func (p *statusParser) connection(head string) {
	if v, ok := p.value(kConnection, head); ok {
		for opt := range strings.SplitSeq(v, ",") {
			if equalFold(strings.Trim(opt, " \t"), "close") {
				p.closing = true
			}
		}
	}
	if v, ok := p.value(kKeepAlive, head); ok {
		for param := range strings.SplitSeq(v, ",") {
			name, val, _ := strings.Cut(strings.Trim(param, " \t"), "=")
			if n, ok := parseLength(val); ok && equalFold(name, "timeout") && n < 1<<20 {
				p.keep = max(time.Duration(n)*time.Second-time.Second, time.Nanosecond)
			}
		}
	}
}

// endToEnd makes the fields that are not for the connection alone. What the
// server nominates in Connection is left out, unless this package knows better:
// then the nomination is a mistake or a trick.
func (p *statusParser) endToEnd(dst Fields, head string) Fields {
	if dst == nil {
		dst = make(Fields, 0, len(p.spans))
	}
	nominated, _ := p.value(kConnection, head)
	for _, s := range p.spans {
		name := head[s.n0:s.n1]
		k := knownOf(name)
		if k.in(framing) && k != kContentLength || k == unknown && nominated != "" && nominates(nominated, name) {
			continue
		}
		dst = append(dst, Field{name, head[s.v0:s.v1]})
	}
	return dst
}

func nominates(connection, name string) bool {
	for opt := range strings.SplitSeq(connection, ",") {
		if equalFold(strings.Trim(opt, " \t"), name) {
			return true
		}
	}
	return false
}
