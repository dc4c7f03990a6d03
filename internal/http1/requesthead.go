package http1

import (
	"bytes"
	"strconv"
)

// methods are those that a gateway lets through; their strings are shared so
// that reading one allocates nothing.
var methods = [...]string{"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"}

// headParser reads the head of a request line by line as it comes in.
type headParser struct {
	lines
	fieldLines

	method           string
	target0, target1 int // where it lies in the head
	minor            int
	haveLine         bool
	expect           bool // the client waits for "100 Continue"
	closing          bool // "Connection: close", or HTTP/1.0
}

func (p *headParser) reset() {
	p.fieldLines.reset()
	p.lines = lines{}
	p.method, p.target0, p.target1, p.minor = "", 0, 0, 1
	p.haveLine, p.expect, p.closing = false, false, false
}

// parse reads on in b, which is all that was received of the head so far, and
// then of what follows it. It returns how long the head is once it is complete, or 0.
func (p *headParser) parse(b []byte, lim *Limits, accept Form) (int, *Fault) {
	if len(b) > 0 && !p.haveLine && !is(b[0], isToken) {
		// Neither an empty line nor the start of some other protocol is worth waiting for.
		if b[0] == '\r' || b[0] == '\n' {
			return 0, fault(LeadingEmptyLine)
		}
		return 0, fault(BadMethod)
	}
	for {
		from, to, ok, f := p.next(b)
		if f != nil {
			return 0, f
		}
		if !ok {
			break
		}
		if to+2 > lim.Header {
			return 0, fault(HeaderTooLarge)
		}
		switch {
		case !p.haveLine:
			if f := p.requestLine(b[from:to], lim, accept); f != nil {
				return 0, f
			}
			p.haveLine = true
		case from == to:
			return to + 2, nil
		default:
			if to-from > lim.Line {
				return 0, fault(LineTooLong)
			}
			if f := p.add(b[from:to], from, lim.Fields); f != nil {
				return 0, f
			}
		}
	}
	// What is incomplete may already be too large.
	switch part := len(b) - p.start; {
	case !p.haveLine && part > lim.Target+maxMethod+len(" HTTP/1.1\r\n")+1:
		return 0, fault(TargetTooLong)
	case p.haveLine && part > lim.Line+2:
		return 0, fault(LineTooLong)
	case len(b) >= lim.Header:
		return 0, fault(HeaderTooLarge)
	}
	return 0, nil
}

// preface is the first line of a client that speaks HTTP/2 without having agreed
// on it (RFC 9113, 3.4). Its PRI is no method.
const preface = "PRI * HTTP/2.0"

// maxMethod is longer than every method that is let through.
const maxMethod = 16

// requestLine reads method SP target SP version (RFC 9112, 3).
func (p *headParser) requestLine(line []byte, lim *Limits, accept Form) *Fault {
	i := bytes.IndexByte(line, ' ')
	if i <= 0 {
		if bytes.IndexByte(line, '\r') >= 0 {
			return fault(BareCR)
		}
		return fault(BadRequestLine)
	}
	if !all(line[:i], isToken) {
		return fault(BadMethod)
	}
	rest := line[i+1:]
	j := bytes.IndexByte(rest, ' ')
	if j < 0 {
		return fault(BadRequestLine) // HTTP/0.9 among others
	}
	version := rest[j+1:]
	p.target0, p.target1 = i+1, i+1+j
	for _, m := range methods {
		if m == string(line[:i]) {
			p.method = m
		}
	}
	switch {
	case bytes.IndexByte(line, '\r') >= 0:
		return fault(BareCR)
	case j == 0 || bytes.IndexByte(version, ' ') >= 0 || bytes.IndexByte(line, '\t') >= 0:
		return fault(BadRequestLine)
	case string(version) == "HTTP/1.1":
	case string(version) == "HTTP/1.0":
		p.minor, p.closing = 0, true
	case string(line) == preface:
		return fault(HTTP2Preface)
	case len(version) == 8 && string(version[:5]) == "HTTP/" && is(version[5], isDigit) && version[6] == '.' && is(version[7], isDigit):
		return fault(VersionUnsupported)
	default:
		return fault(BadVersion)
	}
	if p.method == "" {
		switch m := string(line[:i]); m {
		case "CONNECT":
			if accept&AuthorityForm == 0 {
				return fault(MethodNotAllowed)
			}
			p.method = "CONNECT"
		case "TRACE", "TRACK":
			return fault(MethodNotAllowed)
		default:
			return fault(MethodUnknown)
		}
	}
	if j > lim.Target {
		return fault(TargetTooLong)
	}
	return nil
}

// request fills r from a head that is complete. What was understood before a
// fault stays in r.
func (p *headParser) request(r *Request, head string, lim *Limits, accept Form) *Fault {
	p.partial(r, head)
	r.Header = p.fields(r.Header[:0], head)
	host, hasHost := p.value(kHost, head)
	if f := p.framing(r, head); f != nil {
		return f
	}
	if f := p.connection(r, head); f != nil {
		return f
	}
	if f := parseTarget(r, accept); f != nil {
		return f
	}
	switch {
	case !hasHost:
		return fault(MissingHost)
	case !validHost(host):
		return faultAt(BadHost, whyHost(host))
	case r.Authority == "":
		r.Authority = host
	case !sameHost(r, host):
		return fault(HostMismatch)
	}
	if r.ContentLength > lim.Body {
		return fault(BodyTooLarge)
	}
	return nil
}

// partial fills in what a head that is not complete, or not sound, has told.
func (p *headParser) partial(r *Request, head string) {
	r.Method, r.Minor = p.method, p.minor
	if p.haveLine {
		r.Target = head[p.target0:p.target1]
	}
}

// framing decides where the body ends (RFC 9112, 6.3), or that nobody can say.
func (p *headParser) framing(r *Request, head string) *Fault {
	length, hasLength := p.value(kContentLength, head)
	coding, hasCoding := p.value(kTransferEncoding, head)
	switch {
	case (hasCoding || hasLength) && p.method == "CONNECT":
		return fault(ConnectBody)
	case hasCoding && hasLength:
		return fault(LengthAndCoding)
	case hasCoding && p.minor == 0:
		return fault(CodingInHTTP10)
	case hasCoding && coding != "chunked":
		return fault(BadTransferCoding)
	case hasCoding:
		r.ContentLength = -1
	case hasLength:
		n, ok := parseLength(length)
		if !ok {
			if all(length, isDigit) && length != "" && length[0] != '0' {
				return fault(BodyTooLarge) // a plain number, only larger than any limit
			}
			return fault(BadContentLength)
		}
		r.ContentLength = n
	}
	return nil
}

// connection reads what the client wants of the connection.
func (p *headParser) connection(r *Request, head string) *Fault {
	upgrade, hasUpgrade := p.value(kUpgrade, head)
	switch {
	case kHTTP2Settings.in(p.seen) || hasUpgrade && equalFold(upgrade, "h2c"):
		return fault(H2CRefused)
	case hasUpgrade && equalFold(upgrade, "websocket"):
		return fault(WebSocketRefused)
	case hasUpgrade:
		return fault(UpgradeRefused)
	}
	if v, ok := p.value(kConnection, head); ok {
		switch {
		case equalFold(v, "close"):
			p.closing = true
		case equalFold(v, "keep-alive"):
		default:
			// It would take fields away from the request on its next hop, such as the
			// ones that a policy relies on (CVE-2021-33197).
			return fault(BadConnection)
		}
	}
	if v, ok := p.value(kExpect, head); ok {
		if v != "100-continue" {
			return fault(BadExpect)
		}
		// HTTP/1.0 clients do not know interim responses (RFC 9110, 10.1.1).
		p.expect = p.minor == 1 && r.ContentLength != 0
	}
	return nil
}

// position describes where a fault was found, without quoting it.
func (p *headParser) position() string {
	if !p.haveLine {
		return ""
	}
	return "header line " + strconv.Itoa(len(p.spans)+1)
}
