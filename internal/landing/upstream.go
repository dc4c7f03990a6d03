package landing

import (
	"errors"
	"fmt"
	"net/netip"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"

	"github.com/isogate/isogate/internal/http1"
)

// upstream is the service as requests are sent to it.
type upstream struct {
	client *http1.Client
	origin
}

// origin is where a service answers.
type origin struct {
	scheme, host string
	port         uint16 // 0 is the scheme's own
}

// ours begins the names of header fields that only the two halves may write.
const ours = "Isogate-"

func newUpstream(cfg *Config) (*upstream, error) {
	o, path, err := parseOrigin(cfg.Service)
	switch {
	case err != nil:
		return nil, fmt.Errorf("landing: the service's URL: %w", err)
	case path != "" && path != "/":
		return nil, fmt.Errorf("landing: the service's URL %q has a path; requests keep theirs, leave it out", cfg.Service)
	}
	return &upstream{origin: o, client: &http1.Client{
		Dial: cfg.Dial, TLS: cfg.ServiceTLS, Timeouts: cfg.Timeouts, CloseDelimited: true, Wipe: true,
		Limits: http1.Limits{Body: cfg.MaxResponse, Fields: 200},
	}}, nil
}

// parseOrigin reads an absolute URL. What it names without TLS must be this
// machine: seals are safe on the way, identifiers in plaintext and sessions are not.
func parseOrigin(s string) (o origin, target string, err error) {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return o, "", errors.New("is not a URL; use https://host[:port]")
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" || u.Opaque != "":
		return o, "", fmt.Errorf("%q is not of the form https://host[:port]", u.Redacted())
	}
	o = origin{scheme: u.Scheme, host: strings.ToLower(u.Hostname())}
	if p := u.Port(); p != "" {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n == 0 {
			return o, "", fmt.Errorf("the port %q is not a number from 1 to 65535", p)
		}
		o.port = uint16(n)
	}
	if a, err := netip.ParseAddr(o.host); o.scheme == "http" && (err != nil || !a.IsLoopback()) {
		return o, "", fmt.Errorf("%s is not an address of this machine; use https, or 127.0.0.1 or [::1]", o.host)
	}
	return o, u.RequestURI(), nil
}

// outgoing is the request of x for the service, with its body as it comes. Header
// has what is added; drop says what else is left out.
func (u *upstream) outgoing(x *http1.Exchange, drop func(name string) bool, add ...http1.Field) *http1.Outgoing {
	r := &x.Request
	out := &http1.Outgoing{Scheme: u.scheme, Host: u.host, Port: u.port, Method: r.Method, Target: r.Target}
	out.Header = make(http1.Fields, 0, len(r.Header)+len(add))
	for _, f := range r.Header {
		name := readAs(f.Name)
		if !withheld(name) && name != "Host" && name != "Expect" && (drop == nil || !drop(name)) {
			out.Header = append(out.Header, f)
		}
	}
	out.Header = append(out.Header, add...)
	if r.ContentLength != 0 {
		out.Stream, out.Length = r.Body, r.ContentLength
		if r.ContentLength < 0 {
			out.Trailer = func() http1.Fields { return clean(x.Request.Trailer) }
		}
	}
	return out
}

// readAs is the name that programs behind CGI and its heirs take a field's name for:
// to them all signs are one (RFC 3875, 4.1.18), and Isogate_Session is Isogate-Session.
func readAs(name string) string {
	b := []byte(name)
	for i, c := range b {
		if !inSeal(c) {
			b[i] = '-'
		}
	}
	return textproto.CanonicalMIMEHeaderKey(string(b))
}

// withheld reports whether a field is never handed on by either side: it belongs
// to one connection, or is ours and therefore forged.
func withheld(name string) bool {
	return http1.HopByHop(name) || name == "Content-Length" || strings.HasPrefix(name, ours)
}

// clean leaves out what is not handed on.
func clean(fields http1.Fields) http1.Fields {
	kept := make(http1.Fields, 0, len(fields)+4)
	for _, f := range fields {
		if !withheld(readAs(f.Name)) {
			kept = append(kept, f)
		}
	}
	return kept
}

// answer is the service's response head for the other side: what it says about
// where it runs is turned into what holds from outside.
func (u *upstream) answer(in *http1.Incoming) http1.Fields {
	kept := clean(in.Header)
	header := kept[:0]
	for _, f := range kept {
		switch f.Name {
		case "Alt-Svc":
			continue // would lead around us
		case "Location", "Content-Location":
			f.Value = u.relative(f.Value)
		}
		header = append(header, f)
	}
	return header
}

// relative makes a URL of the service's own origin one of whoever asks.
func (u *upstream) relative(location string) string {
	l, err := url.Parse(location)
	if err != nil || l.Host == "" || !strings.EqualFold(l.Hostname(), u.host) || l.Scheme != "" && l.Scheme != u.scheme {
		return location
	}
	if port := l.Port(); port != "" && port != strconv.Itoa(int(u.port)) || port == "" && u.port != 0 {
		return location
	}
	l.Scheme, l.Host = "", ""
	if !strings.HasPrefix(l.Path, "/") || strings.HasPrefix(l.Path, "//") {
		l.Path = "/" + strings.TrimLeft(l.Path, "/")
		l.RawPath = ""
	}
	return l.String()
}
