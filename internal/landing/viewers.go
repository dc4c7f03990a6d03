package landing

import (
	"bytes"
	"io"
	"log/slog"
	"mime"
	"net/url"
	"slices"
	"strings"

	"github.com/isogate/isogate/internal/http1"
	"github.com/isogate/isogate/internal/seal"
)

// viewerEdge answers people's browsers and their programs.
type viewerEdge struct{ l *Landing }

// ServeFault implements [http1.Handler].
func (e viewerEdge) ServeFault(x *http1.Exchange, f *http1.Fault) { e.l.fault(x, f) }

// ServeExchange implements [http1.Handler].
func (e viewerEdge) ServeExchange(x *http1.Exchange) {
	l := e.l
	var r *refusal
	if below, ok := ownPath(x); ok {
		r = l.viewerCall(x, below)
	} else {
		r = l.show(x)
	}
	if r != nil {
		l.refuse(x, r)
	}
}

// caller is who sent a request, as far as it can be told.
type caller struct {
	viewer  *Viewer // nil is nobody who is known
	session string  // the cookie's value; "" is none of ours, or several
	tooMany bool    // wrong tokens came from there
	bearer  string  // what Authorization has
}

// cookieName is that of our cookie. Over TLS its prefix keeps other hosts and
// plain HTTP from setting it (RFC 6265bis, 4.1.3.2).
func cookieName(x *http1.Exchange) string {
	if x.Request.TLS != nil {
		return "__Host-isogate"
	}
	return "isogate-session"
}

// who finds out who sent a request, by cookie and then by token.
func (l *Landing) who(x *http1.Exchange) caller {
	var c caller
	h := x.Request.Header
	c.session, _ = splitCookies(h.Get("Cookie"), cookieName(x))
	c.bearer = bearerOf(h)
	if c.viewer = l.viewers.bySession(c.session); c.viewer == nil && c.bearer != "" {
		c.viewer, c.tooMany = l.viewers.byToken(c.bearer, x.Request.Remote.Addr())
	}
	return c
}

// bearerOf is the token in Authorization, or "".
func bearerOf(h http1.Fields) string {
	scheme, token, ok := strings.Cut(h.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// splitCookies takes ours out of a Cookie field. Of two of that name neither is
// believed, and neither is handed on.
func splitCookies(header, name string) (ours, rest string) {
	if header == "" {
		return "", ""
	}
	var kept []string
	n := 0
	for part := range strings.SplitSeq(header, ";") {
		part = strings.TrimSpace(part)
		key, value, _ := strings.Cut(part, "=")
		if strings.EqualFold(strings.TrimSpace(key), name) {
			n++
			ours = strings.TrimSpace(value)
			continue
		}
		if part != "" {
			kept = append(kept, part)
		}
	}
	if n != 1 {
		ours = ""
	}
	return ours, strings.Join(kept, "; ")
}

// show passes a viewer's request on and shows what their rights say of the answer.
//
// promise: P41
func (l *Landing) show(x *http1.Exchange) *refusal {
	if x.Request.Header.Count("Service-Worker") > 0 {
		return &refusal{status: 403, code: codeWorker, detail: "pages with sealed values have no service worker, which could keep them beyond the values' lives"}
	}
	c := l.who(x)
	if c.viewer == nil && !l.cfg.Anonymous {
		return l.askWho(x, c)
	}
	in, err := l.service.client.Do(x.Context(), l.asked(x, c))
	if err != nil {
		l.logger.Warn("the service failed", slog.Any("error", err))
		return failed(err)
	}
	defer func() { _ = in.Body.Close() }()
	l.sessionsEnded(in.Header, l.tenants...)
	header := l.shown(in)
	if c.viewer != nil && c.session != "" {
		header = noWayBack(x, header)
	}
	s := shapeOf(header)
	switch {
	case s == asItIs, in.Status == 204, in.Status == 304:
	case encoded(header) || in.Status == 206:
		// It was asked to be neither. Seals in it would not be seen, or be cut.
		l.metrics.unread.Inc()
		l.logger.Warn("a page is shown with its seals, for the service encoded it or sent a part of it although it was asked not to")
		header = append(header, http1.Field{Name: seal.HeaderLanding, Value: "encoded"})
	default:
		l.reveal(x, in, header, s, l.view(c.viewer))
		return nil
	}
	if err := relay(x, in, header); err != nil {
		l.cutOff(x, err)
	}
	return nil
}

func (l *Landing) cutOff(x *http1.Exchange, err error) {
	l.logger.Warn("an answer to a viewer was cut off", slog.Any("error", err))
	x.Close()
}

// asked is the viewer's request as the service gets it: without what is for us,
// and so that its answer can be read.
func (l *Landing) asked(x *http1.Exchange, c caller) *http1.Outgoing {
	h := x.Request.Header
	_, cookies := splitCookies(h.Get("Cookie"), cookieName(x))
	_, cookies = splitCookies(cookies, backCookie(x))
	own := c.bearer != "" && l.viewers.isToken(c.bearer)
	scheme := "http"
	if x.Request.TLS != nil {
		scheme = "https"
	}
	add := http1.Fields{
		{Name: "Accept-Encoding", Value: "identity"},
		{Name: "X-Forwarded-For", Value: x.Request.Remote.Addr().String()},
		{Name: "X-Forwarded-Host", Value: x.Request.Authority},
		{Name: "X-Forwarded-Proto", Value: scheme},
	}
	if cookies != "" {
		add = append(add, http1.Field{Name: "Cookie", Value: cookies})
	}
	return l.service.outgoing(x, func(name string) bool {
		switch name {
		case "Accept-Encoding", "Cookie", "Forwarded", "X-Real-Ip", "Range", "If-Range":
			return true
		case "Authorization":
			return own
		}
		return strings.HasPrefix(name, "X-Forwarded-")
	}, add...)
}

// shown is the service's response head for a viewer. The service cannot set our
// cookie: it would choose as whom somebody is signed in.
func (l *Landing) shown(in *http1.Incoming) http1.Fields {
	return slices.DeleteFunc(l.service.answer(in), func(f http1.Field) bool {
		switch f.Name {
		case "Accept-Ranges":
			return true
		case "Set-Cookie":
			// A cookie without a name is sent as its value alone, which may look like ours.
			name, _, _ := strings.Cut(strings.TrimLeft(f.Value, "= \t"), "=")
			name = strings.TrimSpace(name)
			return strings.EqualFold(name, "__Host-isogate") || strings.EqualFold(name, "isogate-session")
		}
		return false
	})
}

// holdPage is the largest answer that is shown in one piece.
const holdPage = 256 << 10

// reveal answers with the body's seals replaced. What is revealed is recorded
// before it leaves; if it cannot be, nothing of it does.
func (l *Landing) reveal(x *http1.Exchange, in *http1.Incoming, header http1.Fields, s shape, v *view) {
	defer v.Forget()
	if in.ContentLength >= 0 && in.ContentLength <= holdPage && x.Request.Method != "HEAD" {
		l.revealWhole(x, in, header, s, v)
		return
	}
	body := reveal(v.ahead(x.Context(), in.Body), s, v)
	defer func() { _ = body.Close() }()
	w, err := x.Stream(in.Status, revealedHeader(header, s), -1)
	if err != nil {
		l.cutOff(x, err)
		return
	}
	buf := make([]byte, pieceSize)
	defer clear(buf)
	for {
		n, err := body.Read(buf)
		if n > 0 {
			if err := v.record(x.Context()); err != nil {
				l.cutOff(x, err)
				return
			}
			if _, err := w.Write(buf[:n]); err != nil {
				l.cutOff(x, err)
				return
			}
			clear(buf[:n])
			if err := w.Flush(); err != nil {
				l.cutOff(x, err)
				return
			}
		}
		if err == io.EOF { //nolint:errorlint // readers return it as it is
			err = w.Close()
			if err == nil {
				return
			}
		}
		if err != nil {
			l.cutOff(x, err)
			return
		}
	}
}

func (l *Landing) revealWhole(x *http1.Exchange, in *http1.Incoming, header http1.Fields, s shape, v *view) {
	// Nothing is opened before all of it is there: a service that takes its time could
	// else have a value shown long after its key was destroyed.
	sealed, err := io.ReadAll(in.Body)
	if err != nil {
		l.refuse(x, failed(err))
		return
	}
	body := reveal(v.ahead(x.Context(), bytes.NewReader(sealed)), s, v)
	defer func() { _ = body.Close() }()
	out := make([]byte, 0, 2*in.ContentLength+512)
	defer func() { clear(out[:cap(out)]) }()
	for {
		if len(out) == cap(out) {
			grown := make([]byte, len(out), 2*cap(out))
			copy(grown, out)
			clear(out)
			out = grown
		}
		n, err := body.Read(out[len(out):cap(out)])
		out = out[:len(out)+n]
		if err == io.EOF { //nolint:errorlint // readers return it as it is
			break
		}
		if err != nil {
			l.refuse(x, failed(err))
			return
		}
	}
	if err := v.record(x.Context()); err != nil {
		r := l.broken("what is shown cannot be written down, so that it is not shown", err)
		r.passed = true
		l.refuse(x, r)
		return
	}
	if body.Counts() != (seal.Counts{}) {
		header = revealedHeader(header, s)
	}
	if err := x.Respond(in.Status, header, out); err != nil {
		l.cutOff(x, err)
	}
}

// revealedHeader makes the head that of a body with values in it: no cache keeps
// it past their lives, nothing validates it, and no browser takes it for another
// type than the values were escaped for, or lets another site's page have it.
func revealedHeader(h http1.Fields, s shape) http1.Fields {
	out := make(http1.Fields, 0, len(h)+4)
	for _, f := range h {
		switch f.Name {
		case "Cache-Control", "Pragma", "Expires", "Age", "Etag", "Last-Modified", "Digest", "Content-Digest", "Repr-Digest", "Content-Md5",
			"X-Content-Type-Options", "Vary", "Cross-Origin-Resource-Policy":
			continue
		case "Content-Type":
			if media, params, err := mime.ParseMediaType(f.Value); err == nil && s != asJSON && params["charset"] == "" {
				// Values are UTF-8, and escaped as such.
				f.Value = mime.FormatMediaType(media, merge(params, "charset", "utf-8"))
			}
		}
		out = append(out, f)
	}
	return append(out,
		http1.Field{Name: "Cache-Control", Value: "no-store"},
		http1.Field{Name: "Cross-Origin-Resource-Policy", Value: "same-origin"},
		http1.Field{Name: "Vary", Value: "*"},
		http1.Field{Name: "X-Content-Type-Options", Value: "nosniff"})
}

func merge(params map[string]string, name, value string) map[string]string {
	params[name] = value
	return params
}

// askWho sends somebody who is not known to sign in.
func (l *Landing) askWho(x *http1.Exchange, c caller) *refusal {
	h := x.Request.Header
	if m := x.Request.Method; (m == "GET" || m == "HEAD") && c.bearer == "" && strings.Contains(h.Get("Accept"), "text/html") {
		respondEmpty(x, 303, http1.Field{Name: "Location", Value: signInPath + "?next=" + url.QueryEscape(x.Request.Target)})
		return nil
	}
	if c.tooMany {
		return &refusal{status: 429, code: codeTooMany, detail: "too many wrong tokens came from this address; wait a second and use the right one", retry: 1}
	}
	l.refuse(x, &refusal{status: 401, code: codeUnauthorised, detail: "this needs a viewer's token as Authorization: Bearer TOKEN, or a browser that is signed in at " + signInPath},
		http1.Field{Name: "Www-Authenticate", Value: `Bearer realm="isogate"`})
	return nil
}

func respondEmpty(x *http1.Exchange, status int, header ...http1.Field) {
	_ = x.Respond(status, append(header, http1.Field{Name: "Cache-Control", Value: "no-store"}), nil) // whoever asked is gone
}
