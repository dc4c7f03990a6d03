package landing

import (
	"strings"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/http1"
	"github.com/isogate/isogate/internal/seal"
)

// serviceEdge answers the service's own programs: they open seals with a viewer's
// token, and end sessions and confirm erasures with the service's.
type serviceEdge struct{ l *Landing }

// ServeFault implements [http1.Handler].
func (e serviceEdge) ServeFault(x *http1.Exchange, f *http1.Fault) { e.l.fault(x, f) }

// ServeExchange implements [http1.Handler].
func (e serviceEdge) ServeExchange(x *http1.Exchange) {
	below, ok := ownPath(x)
	if !ok {
		below = "\x00" // no path of ours
	}
	if r := e.l.serviceCall(x, below); r != nil {
		e.l.refuse(x, r)
	}
}

func (l *Landing) serviceCall(x *http1.Exchange, path string) *refusal {
	erasure, rest, one := strings.Cut(strings.TrimPrefix(path, "erasures/"), "/")
	confirm := strings.HasPrefix(path, "erasures/") && one && rest == "confirm" && validErasure(erasure)
	switch {
	case path != "open" && path != "sessions/end" && !confirm:
		return notFound()
	case x.Request.Method != "POST":
		return wrongMethod()
	case path == "open":
		return l.openByToken(x)
	}
	if r := l.asService(x); r != nil {
		return r
	}
	if confirm {
		var body struct {
			Tenant isogate.Tenant `json:"tenant"`
		}
		if r := readJSON(x, &body); r != nil {
			return r
		}
		if !l.erasures.confirmed(x.Context(), body.Tenant, erasure) {
			return notFound()
		}
		respondEmpty(x, 204)
		return nil
	}
	var body struct {
		Session string `json:"session"`
	}
	if r := readJSON(x, &body); r != nil {
		return r
	}
	if !validSession(body.Session) {
		return malformed("session is not the digest that Isogate-Session had")
	}
	n := 0
	for _, t := range l.tenants {
		n += l.cfg.Vault.EndSession(t, body.Session, seal.CauseEnded)
	}
	return respondJSON(x, map[string]int{"ended": n})
}

// asService refuses who does not have the service's token.
func (l *Landing) asService(x *http1.Exchange) *refusal {
	from := x.Request.Remote.Addr()
	if l.viewers.failed.Reached(from) {
		return &refusal{status: 429, code: codeTooMany, detail: "too many wrong tokens came from this address; wait a second and use the right one", retry: 1}
	}
	token := bearerOf(x.Request.Header)
	if find(l.tokens, token) >= 0 {
		return nil
	}
	if token != "" {
		l.viewers.failed.Wrong(from)
	}
	return &refusal{status: 401, code: codeUnauthorised, detail: "this needs the service's token as Authorization: Bearer TOKEN; its SHA-256 is in service.token_sha256"}
}

// openByToken opens seals for a program with a viewer's token.
func (l *Landing) openByToken(x *http1.Exchange) *refusal {
	w, tooMany := l.viewers.byToken(bearerOf(x.Request.Header), x.Request.Remote.Addr())
	switch {
	case tooMany:
		return &refusal{status: 429, code: codeTooMany, detail: "too many wrong tokens came from this address; wait a second and use the right one", retry: 1}
	case w == nil:
		return &refusal{status: 401, code: codeUnauthorised, detail: "this needs a viewer's token as Authorization: Bearer TOKEN"}
	}
	return l.open(x, w)
}

// openBySession opens seals for a page's script, as whoever is signed in.
func (l *Landing) openBySession(x *http1.Exchange) *refusal {
	c := l.who(x)
	switch {
	case c.viewer == nil:
		return &refusal{status: 401, code: codeUnauthorised, detail: "this needs a browser that is signed in at " + signInPath}
	case c.session != "" && !sameOrigin(x):
		return &refusal{status: 403, code: codeCrossSite, detail: "a page of another site sent this"}
	}
	return l.open(x, c.viewer)
}

// maxOpen is how many seals one call opens.
const maxOpen = 1000

// open answers with the values of seals, as far as the viewer may see them, and
// has it recorded before.
//
// promise: P41
func (l *Landing) open(x *http1.Exchange, w *Viewer) *refusal {
	var body struct {
		Seals []string `json:"seals"`
	}
	if r := readJSON(x, &body); r != nil {
		return r
	}
	if len(body.Seals) == 0 || len(body.Seals) > maxOpen {
		return malformed("seals must be 1 to 1000")
	}
	size := 64
	for _, s := range body.Seals {
		size += 6*len(s) + 64 // a value is shorter than its seal, and escaped at the most six times as long
	}
	out := make([]byte, 0, size) // never grows, so that it can be wiped
	defer func() { clear(out[:cap(out)]) }()
	v := l.view(w)
	defer v.Forget()
	v.aheadOf(x.Context(), body.Seals)
	var scratch []byte
	defer func() { clear(scratch[:cap(scratch)]) }()
	out = append(out, `{"values":[`...)
	for i, s := range body.Seals {
		if i > 0 {
			out = append(out, ',')
		}
		if cap(scratch) < len(s) {
			clear(scratch[:cap(scratch)])
			scratch = make([]byte, 0, len(s))
		}
		out = v.appendValue(out, scratch, s)
	}
	out = append(out, "]}\n"...)
	if err := v.record(x.Context()); err != nil {
		return l.broken("what is shown cannot be written down, so that it is not shown", err)
	}
	respond(x, "application/json", out)
	return nil
}

// appendValue appends what became of one seal.
func (v *view) appendValue(out, scratch []byte, s string) []byte {
	id, raw, ok := seal.Parse([]byte(s))
	if !ok {
		return append(out, `{"state":"sealed"}`...)
	}
	o, outcome := v.OpenSeal(scratch, id, raw)
	defer clear(o.Value)
	switch outcome {
	case seal.Revealed:
	case seal.Expired:
		return append(out, `{"state":"expired"}`...)
	default:
		return append(out, `{"state":"sealed"}`...)
	}
	out = append(out, `{"state":"revealed","kind":"`...)
	out = append(out, o.Kind.String()...)
	out = append(out, `","value":`...)
	out = appendString(out, o.Value)
	return append(out, '}')
}
