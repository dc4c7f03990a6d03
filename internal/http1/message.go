// Package http1 is a strict HTTP/1.1 (RFC 9110, RFC 9112) for a gateway that
// must not be talked past: a server side and a client side, both of our own
// because net/http accepts, repairs or hides from its handlers much of what
// request smuggling is made of (Content-Length beside Transfer-Encoding,
// folded lines, bare line feeds).
//
// One rule decides every case: a message that another program might read
// differently from us is not a message. It is a [Fault], which the handler sees,
// records and answers; then the connection ends, because nobody can say where
// its next message would begin. What is accepted is a subset of what RFC 9112
// allows, read as every implementation reads it:
//
//   - lines end with CR LF, heads with an empty line; nothing comes before the first line
//   - methods are GET, HEAD, POST, PUT, PATCH, DELETE and OPTIONS; HTTP/1.1, or HTTP/1.0 for one exchange
//   - the target is a path without dot segments, empty segments, encoded slashes or backslashes, and a query
//   - exactly one Host; no field that has one meaning is there twice
//   - a body is framed by one Content-Length or by "Transfer-Encoding: chunked", never both, whatever the method
//   - chunks have no extensions; trailer fields that could change the message's meaning are refused
//   - Connection names nothing but close and keep-alive; there are no upgrades, WebSocket and h2c among them
//
// A forward proxy sets [Server.Forms] to what it takes instead: absolute targets
// with a path, and CONNECT with host and port, which must agree with Host. CONNECT
// has no body, and nothing may follow it before its answer. What then goes through
// an [Exchange.Tunnel] is not looked at, unless the caller takes the TLS inside off
// and has [Exchange.Serve] read the requests. Other protocols, HTTP/2 above all,
// are agreed on by TLS alone and served by functions of the caller's
// ([Server.NextProto]).
package http1

import (
	"context"
	"crypto/tls"
	"io"
	"net/netip"
	"time"
)

// Field is one header or trailer field line. A Name that was read is in its
// canonical spelling, such as Content-Type or X-Request-Id; a Value has no
// white space around it and no control character but HTAB in it.
type Field struct {
	Name, Value string
}

// Fields are field lines in their order.
type Fields []Field

// Get returns the first value of the field, or "". Case does not matter in name.
func (f Fields) Get(name string) string {
	v, _ := f.Lookup(name)
	return v
}

// Lookup returns the first value of the field and whether there is one.
func (f Fields) Lookup(name string) (string, bool) {
	for i := range f {
		if equalFold(f[i].Name, name) {
			return f[i].Value, true
		}
	}
	return "", false
}

// Count returns how many lines of that name there are.
func (f Fields) Count(name string) int {
	n := 0
	for i := range f {
		if equalFold(f[i].Name, name) {
			n++
		}
	}
	return n
}

// Form is a set of the four spellings of a request target (RFC 9112, 3.2). A
// request has one of them.
type Form uint8

// The forms of a request target.
const (
	OriginForm    Form = 1 << iota // /path?query
	AbsoluteForm                   // http://host/path?query
	AuthorityForm                  // host:port, of CONNECT alone
	AsteriskForm                   // *, of OPTIONS alone
)

// Request is what a client asked. Its strings stay valid; its slices and Body
// are only valid until the handler returns.
type Request struct {
	Method    string
	Target    string // as it was received
	Form      Form
	Scheme    string // of absolute form: "http" or "https"; otherwise ""
	Authority string // host[:port]: of the target in absolute and authority form, where Host must repeat it, otherwise of Host
	Path      string // decoded, UTF-8, beginning with "/"; split at "/" it yields the segments; "" in authority and asterisk form
	RawQuery  string // without "?", as received; every percent escape is valid
	Minor     int    // 1 for HTTP/1.1, 0 for HTTP/1.0
	Header    Fields

	// ContentLength is the length of the body in bytes, 0 when there is none and
	// -1 when it comes in chunks.
	ContentLength int64
	// Body is never nil. It reads from the connection as it is read; an error that
	// is not io.EOF is a *Fault whose Status answers it. A "100 Continue" that the
	// client waits for is sent by the first Read.
	Body io.Reader
	// Trailer is what followed a chunked body; set once Body has returned io.EOF.
	Trailer Fields

	TLS      *tls.ConnectionState // nil without TLS; shared by the connection's requests
	Remote   netip.AddrPort       // zero when the peer has no IP address
	Received time.Time            // when the head was complete
}

// Limits bound one message. A zero field means its default.
type Limits struct {
	Line   int   // bytes of one field line; 16 KiB
	Header int   // bytes of the whole head, and of a trailer section; 64 KiB
	Fields int   // field lines of a head, and of a trailer section; 100, at the most 1000
	Target int   // bytes of a request target; 8 KiB
	Body   int64 // bytes of a body, decoded; 8 MiB
}

// The defaults of [Limits].
const (
	DefaultLine   = 16 << 10
	DefaultHeader = 64 << 10
	DefaultFields = 100
	DefaultTarget = 8 << 10
	DefaultBody   = 8 << 20

	maxFields = 1000
)

func (l Limits) orDefaults() Limits {
	return Limits{
		Line:   or(l.Line, DefaultLine),
		Header: or(l.Header, DefaultHeader),
		Fields: min(or(l.Fields, DefaultFields), maxFields),
		Target: or(l.Target, DefaultTarget),
		Body:   or(l.Body, DefaultBody),
	}
}

func or[T int | int64 | time.Duration](v, def T) T {
	if v <= 0 {
		return def
	}
	return v
}

// Handler answers what a [Server] reads. Its methods run on the connection's
// goroutine, one at a time per connection, in the order of the requests.
type Handler interface {
	// ServeExchange answers a well-formed request. Returning without an answer
	// answers 500 and ends the connection.
	ServeExchange(x *Exchange)
	// ServeFault records and answers a malformed request. x.Request has what was
	// read before the fault, and its Body is empty: Target may not have been
	// checked, and has any bytes but CR, LF, tab and space; Path is "" unless it was.
	// The connection ends afterwards; returning without an answer answers f.Status
	// without a body.
	ServeFault(x *Exchange, f *Fault)
}

// Exchange is one request and the answer to it. It is only valid until the
// handler returns, and its methods are for one goroutine at a time, but for
// Close and Request.Body, which may be used beside the others.
type Exchange struct {
	Request Request

	c       *conn
	ctx     context.Context //nolint:containedctx // an exchange is the scope of its context, like http.Request
	phase   phase
	closing bool // the connection ends after this exchange
	out     response
}

// Context ends when the connection does, or when the server gives up draining.
// It does not end by itself when the client goes away in silence.
func (x *Exchange) Context() context.Context { return x.ctx }
