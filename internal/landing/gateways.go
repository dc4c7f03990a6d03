package landing

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/http1"
	"github.com/isogate/isogate/internal/seal"
	"github.com/isogate/isogate/internal/vault"
)

// gatewaysOf checks who may send. A certificate speaks for one tenant: two would
// let the tenant of a key be chosen by who sends it.
func gatewaysOf(list []Gateway) (by map[string]isogate.Tenant, tenants []isogate.Tenant, err error) {
	by = map[string]isogate.Tenant{}
	for i, g := range list {
		if err := isogate.CheckName(string(g.Tenant), false); err != nil {
			return nil, nil, fmt.Errorf("landing: tenants[%d].name: %w", i, err)
		}
		id, err := spiffeid.FromString(g.SPIFFE)
		if err != nil {
			return nil, nil, fmt.Errorf("landing: tenants[%d].spiffe: %q is not a SPIFFE id: %w; use spiffe://trust-domain/path", i, g.SPIFFE, err)
		}
		if other, ok := by[id.String()]; ok && other != g.Tenant {
			return nil, nil, fmt.Errorf("landing: tenants %s and %s have the same SPIFFE id %s; give each its own", other, g.Tenant, id)
		}
		by[id.String()] = g.Tenant
		if !slices.Contains(tenants, g.Tenant) {
			tenants = append(tenants, g.Tenant)
		}
	}
	return by, tenants, nil
}

// gatewayEdge answers gateways.
type gatewayEdge struct{ l *Landing }

// ServeFault implements [http1.Handler].
func (e gatewayEdge) ServeFault(x *http1.Exchange, f *http1.Fault) { e.l.fault(x, f) }

// ServeExchange implements [http1.Handler].
//
// promise: P16
func (e gatewayEdge) ServeExchange(x *http1.Exchange) {
	l := e.l
	tenant, r := l.tenantOf(x)
	if r == nil {
		if below, ok := ownPath(x); ok {
			r = l.gatewayCall(x, tenant, below)
		} else {
			r = l.pass(x, tenant)
		}
	}
	if r != nil {
		l.refuse(x, r)
	}
}

// tenantOf answers for whom a connection speaks.
func (l *Landing) tenantOf(x *http1.Exchange) (isogate.Tenant, *refusal) {
	state := x.Request.TLS
	if state == nil || len(state.VerifiedChains) == 0 {
		return "", &refusal{status: 401, code: codeUnknownGateway, detail: "a gateway shows its client certificate; see upstream.cert"}
	}
	leaf := state.VerifiedChains[0][0]
	if now := l.now(); now.After(leaf.NotAfter) || now.Before(leaf.NotBefore) {
		return "", &refusal{status: 401, code: codeUnknownGateway, detail: "the client certificate is not valid now; show a new one on a new connection"}
	}
	id, err := x509svid.IDFromCert(leaf)
	if err != nil {
		return "", &refusal{status: 401, code: codeUnknownGateway, detail: "the client certificate has no SPIFFE id"}
	}
	tenant, ok := l.gateways[id.String()]
	if !ok {
		return "", &refusal{status: 401, code: codeUnknownGateway, detail: "the client certificate's SPIFFE id is no tenant's; add it to tenants"}
	}
	if named, ok := x.Request.Header.Lookup("Isogate-Tenant"); ok && named != string(tenant) {
		return "", &refusal{status: 403, code: codeUnknownGateway, detail: "the client certificate is another tenant's than Isogate-Tenant names"}
	}
	return tenant, nil
}

// ownPath returns what follows /.isogate/ in the path. All of it is ours and
// nothing of it is ever passed on, whatever its spelling.
func ownPath(x *http1.Exchange) (below string, ok bool) {
	p := x.Request.Path
	const own = "/.isogate"
	if len(p) < len(own) || !strings.EqualFold(p[:len(own)], own) {
		return "", false
	}
	switch {
	case len(p) == len(own):
		return "", true
	case p[len(own)] != '/' && p[len(own)] != ';': // parameters of a segment are left out by some (RFC 3986, 3.3)
		return "", false
	case p[:len(own)] != own || p[len(own)] == ';':
		return "\x00", true // no path of ours
	}
	return p[len(own)+1:], true
}

// lines are the values of all field lines of a name.
func lines(h http1.Fields, name string) (values []string) {
	for _, f := range h {
		if strings.EqualFold(f.Name, name) {
			values = append(values, f.Value)
		}
	}
	return values
}

// pass takes the keys that a request brings, registers what stays, and passes it on.
func (l *Landing) pass(x *http1.Exchange, tenant isogate.Tenant) *refusal {
	ctx := x.Context()
	h := x.Request.Header
	if err := l.cfg.Vault.Ready(); err != nil {
		l.logger.Error("a request was refused, for what was done with it could not be written down", slog.Any("error", err))
		return &refusal{status: 503, code: codeNotReady, detail: "the landing side cannot write down what it does; see its /readyz", retry: 5}
	}
	arrivals, err := seal.ParseHeader(lines(h, seal.HeaderSeal), tenant, l.cfg.Destination)
	if err != nil {
		return malformed(err.Error())
	}
	rows, r := l.parseRows(lines(h, seal.HeaderRegister))
	if r != nil {
		return r
	}
	ids := make([]seal.ID, 0, len(arrivals))
	session := ""
	// A key that is by request ends with this one whatever becomes of it.
	defer func() { l.cfg.Vault.RequestDone(ids) }()
	for _, a := range arrivals {
		if err := l.cfg.Vault.Arrive(a); err != nil {
			return arrivalRefused(err)
		}
		ids = append(ids, a.ID)
		if a.Context.Session != "" {
			session = a.Context.Session
		}
	}
	if len(rows) > 0 && !plainEntry(h.Get("Isogate-Entry")) {
		return malformed("Isogate-Entry is not one journal entry's id, which registered identifiers name")
	}
	defer l.register.landed(tenant, rows)
	if r := l.registerRows(ctx, tenant, h.Get("Isogate-Entry"), rows); r != nil {
		return r
	}
	var add http1.Fields
	for _, name := range []string{"Isogate-Entry", "Isogate-Handling"} {
		for _, v := range lines(h, name) {
			add = append(add, http1.Field{Name: name, Value: v})
		}
	}
	if session != "" {
		add = append(add, http1.Field{Name: seal.HeaderSession, Value: session})
	}
	return l.forward(x, tenant, ids, add)
}

// forward sends the request to the service and its answer back.
func (l *Landing) forward(x *http1.Exchange, tenant isogate.Tenant, ids []seal.ID, add http1.Fields) *refusal {
	ctx := x.Context()
	in, err := l.service.client.Do(ctx, l.service.outgoing(x, nil, add...))
	held := l.held(ctx, ids)
	if err != nil {
		l.logger.Warn("the service failed", slog.String("tenant", string(tenant)), slog.Any("error", err))
		l.refuse(x, failed(err), held...)
		return nil
	}
	defer func() { _ = in.Body.Close() }()
	l.sessionsEnded(in.Header, tenant)
	header := append(l.service.answer(in), held...)
	if err := relay(x, in, header); err != nil {
		l.logger.Warn("an answer to a gateway was cut off", slog.String("tenant", string(tenant)), slog.Any("error", err))
		x.Close()
	}
	return nil
}

// held is the field that names the keys that are held, once that is written down:
// the gateway forgets how to bring them again.
func (l *Landing) held(ctx context.Context, ids []seal.ID) http1.Fields {
	if len(ids) == 0 || l.cfg.Vault.Settled(ctx) != nil {
		return nil
	}
	return http1.Fields{{Name: seal.HeaderHeld, Value: string(seal.AppendHeld(nil, ids))}}
}

// relay answers with the service's answer as it comes. After an error the answer
// is cut off.
func relay(x *http1.Exchange, in *http1.Incoming, header http1.Fields) error {
	w, err := x.Stream(in.Status, header, lengthOf(x, in))
	if err != nil {
		return err
	}
	buf := make([]byte, pieceSize)
	for {
		n, err := in.Body.Read(buf)
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return err
			}
			if in.ContentLength < 0 {
				if err := w.Flush(); err != nil { // events are meant for when they happen
					return err
				}
			}
		}
		switch {
		case err == io.EOF:
			return w.Close()
		case err != nil:
			return err
		}
	}
}

// lengthOf is the length of the answer's body as it is announced. The client does
// not tell what HEAD would have.
func lengthOf(x *http1.Exchange, in *http1.Incoming) int64 {
	if x.Request.Method != "HEAD" {
		return in.ContentLength
	}
	return -1
}

// sessionsEnded ends the sessions that the service says are over.
func (l *Landing) sessionsEnded(h http1.Fields, tenants ...isogate.Tenant) {
	for _, session := range lines(h, seal.HeaderSessionEnd) {
		if !validSession(session) {
			l.logger.Warn("the service ends something that is no session; it gives the digest that Isogate-Session had")
			continue
		}
		for _, t := range tenants {
			l.cfg.Vault.EndSession(t, session, seal.CauseEnded)
		}
	}
}

// validSession reports whether s has the form of a session's digest.
func validSession(s string) bool {
	if len(s) != 26 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '2' || c > '7') {
			return false
		}
	}
	return true
}

// arrivalRefused says why a key was not taken.
func arrivalRefused(err error) *refusal {
	var v *vault.Refusal
	switch {
	case errors.As(err, &v):
		r := &refusal{status: 409, code: v.Code, detail: v.Error()}
		switch v.Code {
		case seal.CodeDamaged:
			r.status = 400
		case seal.CodeFull:
			r.status, r.retry = 503, 5
		}
		return r
	case errors.Is(err, vault.ErrClosed):
		return &refusal{status: 503, code: codeDraining, detail: "the landing side is stopping; send to another, or again soon", retry: 1}
	}
	return &refusal{status: 503, code: codeInternal, detail: "the landing side cannot take a seal key; see its log"}
}

// parseRows reads the identifiers that a request leaves outside.
func (l *Landing) parseRows(values []string) ([]seal.RegisterRow, *refusal) {
	if len(values) == 0 {
		return nil, nil
	}
	size := 0
	for _, v := range values {
		size += len(v)
	}
	if size > seal.MaxRegisterBytes {
		return nil, &refusal{status: 413, code: codeTooLarge, detail: fmt.Sprintf("the request registers identifiers in more than %d bytes; send them in several requests", seal.MaxRegisterBytes)}
	}
	rows, err := seal.ParseRegister(values)
	if err != nil {
		return nil, malformed(err.Error())
	}
	for i := range rows {
		if !slices.ContainsFunc(l.cfg.Acknowledges, func(p isogate.LabelPattern) bool { return p.Match(rows[i].Label) }) {
			return nil, &refusal{status: 403, code: codeNotAcknowledged,
				detail: fmt.Sprintf("this landing side keeps no register of %s; add the label to acknowledges once the service can erase it", rows[i].Label)}
		}
	}
	return rows, nil
}

// registerRows has identifiers durable in the register before they reach the service.
//
// promise: P17
func (l *Landing) registerRows(ctx context.Context, tenant isogate.Tenant, entry string, rows []seal.RegisterRow) *refusal {
	if len(rows) == 0 {
		return nil
	}
	switch err := l.register.put(ctx, tenant, entry, rows); {
	case errors.Is(err, errRegisterFull):
		return &refusal{status: 507, code: seal.CodeRegisterFull, detail: "the register has no room for more identifiers of this tenant; erase some, or raise limits.identifiers"}
	case err != nil:
		l.logger.Error("the register cannot be written", slog.Any("error", err))
		return &refusal{status: 503, code: codeRegisterFailed, detail: "the register cannot be written; see the landing side's log", retry: 5}
	}
	return nil
}

// plainEntry reports whether s may be an entry's id: up to 40 letters and digits.
func plainEntry(s string) bool {
	if s == "" || len(s) > 40 {
		return false
	}
	for i := range len(s) {
		if !inSeal(s[i]) {
			return false
		}
	}
	return true
}
