package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/consent"
	"github.com/isogate/isogate/internal/http1"
	"github.com/isogate/isogate/internal/payload"
	"github.com/isogate/isogate/internal/policy"
)

// passage is one request on its way: what each step of the line found out. It
// belongs to one goroutine and is reused, so that a request allocates little.
type passage struct {
	gate  *Gateway
	x     *http1.Exchange
	rules *Rules // a snapshot: the same for the whole request
	began time.Time
	now   time.Time       // what policy and certificates are judged by
	ctx   context.Context //nolint:containedctx // a passage is one request; it ends when the request or its grant does

	// Found by who and way.
	source  isogate.Source
	transit *policy.Transit
	params  []policy.Param
	path    string // below /to/<destination>, as sent
	target  *target

	// Found at door two, and of consent at either.
	remotes bool            // it came by door two
	via     *via            // the host that an app asks for
	tunnel  *policy.Transit // the pack lets it pass unread
	permit  consent.Permit
	limit   policy.Limit // what the grant lets out at the most
	once    bool         // the consent is for one use
	open    *open        // registered, to be cut when the grant ends

	// Made by rewrite.
	verdicts  *policy.Rules
	bodyRules payload.Rules // the body's rules with this gateway's limits
	tally     payload.Tally
	sealing   sealing
	out       http1.Outgoing
	url       []byte // path and query to send
	in, body  []byte // body as it came, body as it leaves
	scratch   []byte
	restored  []byte // an answer with its tokens turned back
	revealed  []byte // and with its seals
	streams   bool   // the body is larger than Hold and is judged while it leaves
	bytesIn   int64
	bytesOut  int64

	entry     isogate.Entry
	declared  map[*policy.Rules]declared // kept over a reset
	incoming  *http1.Incoming
	streaming *stream // the walker of a body that is judged while it leaves
	refused   *refusal
	status    int

	// Of a destination with a landing.
	second      bool // the landing has refused the request once, and it is sent again
	unconfirmed bool // keys were sent that the landing has not said to hold
}

func (p *passage) reset() {
	p.x, p.rules, p.transit, p.params, p.target, p.verdicts, p.incoming, p.streaming, p.refused = nil, nil, nil, nil, nil, nil, nil, nil, nil
	p.source, p.path, p.streams, p.status = "", "", false, 0
	p.ctx, p.remotes, p.via, p.tunnel, p.permit, p.limit, p.once = nil, false, nil, nil, consent.Permit{}, policy.Limit{}, false
	p.bytesIn, p.bytesOut = 0, 0
	p.bodyRules = payload.Rules{}
	p.tally.Reset()
	p.sealing.reset()
	p.second, p.unconfirmed = false, false
	clear(p.out.Header) // the strings of one request are not kept for the next
	p.out = http1.Outgoing{Header: p.out.Header[:0]}
	p.url, p.scratch = bounded(p.url), bounded(p.scratch)
	p.in, p.body = bounded(p.in), bounded(p.body)
	p.restored, p.revealed = bounded(p.restored), bounded(p.revealed)
}

// bounded empties a buffer and lets a large one go, so that one large body does
// not stay in memory for ever.
func bounded(b []byte) []byte {
	if cap(b) > 128<<10 {
		return nil
	}
	clear(b) // nor is a payload kept
	return b[:0]
}

func (p *passage) transitName() string {
	if p.transit == nil {
		return ""
	}
	return string(p.transit.Name)
}

// refuse answers and records a refusal; it reports whether there was one. What
// was opened in the journal before is closed by it.
func (p *passage) refuse(r *refusal) bool {
	if r == nil {
		return false
	}
	p.endStream() // before its counts are read
	switch {
	case p.entry.Stage == isogate.StageOpened:
		p.close(r.status, r.detail)
	case p.source == "" || p.remotes:
		knocks := p.gate.strangers
		if p.source != "" {
			knocks = p.gate.knocks(p.source)
		}
		ok, detail := knocks.admit()
		if p.entry.Detail = detail; ok {
			p.recordRefusal(r)
		} else {
			r = tooManyStrangers()
			p.x.Close()
		}
	default:
		p.recordRefusal(r)
	}
	if p.remotes && r.status == 401 { // to a proxy a caller proves itself otherwise (RFC 9110, 15.5.8)
		r.status = 407
	}
	p.refused, p.status = r, r.status
	if p.x.Answered() { // too late for words: the caller sees the answer cut off
		p.x.Close()
		return true
	}
	header := http1.Fields{{Name: "Content-Type", Value: problemType}, {Name: "Cache-Control", Value: "no-store"}}
	if p.entry.ID != "" {
		header = append(header, http1.Field{Name: "Isogate-Entry", Value: string(p.entry.ID)})
	}
	if r.again {
		header = append(header, http1.Field{Name: "Retry-After", Value: "1"})
	}
	switch r.status {
	case 401:
		header = append(header, http1.Field{Name: "WWW-Authenticate", Value: "Bearer"})
	case 407:
		header = append(header, http1.Field{Name: "Proxy-Authenticate", Value: "Bearer"}, http1.Field{Name: "Proxy-Authenticate", Value: `Basic realm="isogate"`})
	}
	if err := p.x.Respond(r.status, header, r.problem(p.entry.ID)); err != nil {
		p.gate.cfg.Logger.Debug("a refusal did not reach the caller", slog.Any("error", err))
	}
	return true
}

// recordRefusal makes the entry of a refusal. Where the journal does not take it
// the refusal still stands: nothing left, so that nothing is unrecorded.
func (p *passage) recordRefusal(r *refusal) {
	p.entry.Stage, p.entry.Decision = isogate.StageRefused, isogate.Refused.String()
	p.entry.Reason, p.entry.Status = r.detail, r.status
	p.entry.DurationUS = time.Since(p.began).Microseconds()
	p.entry.Fields, p.entry.BytesIn = p.entry.Fields[:0], p.bytesIn // no field was released
	p.entry.Seals = p.entry.Seals[:0]
	if err := p.gate.cfg.Journal.Append(p.x.Context(), &p.entry); err != nil {
		p.gate.cfg.Logger.Error("a refusal could not be recorded", slog.String("code", r.code), slog.Any("error", err))
		p.entry.ID = ""
	}
}

// who authenticates the caller.
//
// promise: P04
func (p *passage) who() *refusal {
	authorization, name := p.x.Request.Header.Get("Proxy-Authorization"), ""
	if p.remotes {
		authorization, name = appBearer(authorization)
	}
	source, r := p.rules.sources.identify(p.x.Request.TLS, authorization, p.now)
	if r != nil {
		return r
	}
	if name != "" && name != string(source) && "app/"+name != string(source) {
		return unknownCaller("the name and the token in Proxy-Authorization are not of one source")
	}
	p.source, p.entry.Source = source, source
	if t := p.x.Request.TLS; t != nil {
		p.entry.TLS = tls.VersionName(t.Version)
	}
	return nil
}

// doorOne is the prefix of every path of the first door.
const doorOne = "/to/"

// way finds the transit that the request may leave by.
//
// promise: P05
func (p *passage) way() *refusal {
	target, _, _ := strings.Cut(p.x.Request.Target, "?")
	rest, ok := strings.CutPrefix(target, doorOne)
	if !ok {
		return &refusal{status: 403, code: "no-transit", detail: "the path does not begin with /to/<destination>/"}
	}
	slash := strings.IndexByte(rest, '/')
	if slash < 0 {
		return &refusal{status: 403, code: "no-transit", detail: "the path names no path at the destination; use /to/<destination>/<path>"}
	}
	name, path := rest[:slash], rest[slash:]
	t, params, err := p.rules.plan.Match(p.source, isogate.Destination(name), p.x.Request.Method, path)
	if err != nil {
		return unmatched(err)
	}
	if t.Destination.Remote != nil {
		return &refusal{status: 403, code: "no-transit", detail: "the destination is an app's remote; use door two"}
	}
	p.transit, p.params, p.path = t, params, path
	p.target = p.rules.targets[t.Destination.Name]
	p.entry.Transit, p.entry.Purpose, p.entry.Destination = t.Name, t.Purpose.String(), t.Destination.Name
	p.entry.URL = policy.Template(p.path, params)
	return nil
}

// unmatched explains why no transit of the plan fits.
func unmatched(err error) *refusal {
	status := 403
	if errors.Is(err, policy.ErrBadPath) {
		status = 400
	}
	return &refusal{status: status, code: "no-transit", detail: err.Error()}
}

// record makes the entry durable. Only after it may a byte leave.
//
// promise: P21
// promise: P23
func (p *passage) record() *refusal {
	p.entry.Stage, p.entry.Decision = isogate.StageOpened, isogate.Released.String()
	p.entry.BytesIn, p.entry.BytesOut, p.entry.Streamed = p.bytesIn, p.bytesOut, p.streams
	p.entry.Seals = p.sealing.uses(p.entry.Seals[:0])
	err := p.gate.cfg.Journal.Ready()
	if err == nil {
		err = p.sealing.announce() // of a key that is not recorded nobody would ask for the receipt
	}
	if err == nil {
		err = p.gate.cfg.Journal.Append(p.x.Context(), &p.entry)
	}
	if err != nil {
		p.gate.cfg.Logger.Error("nothing leaves: the journal did not take an entry", slog.String("transit", p.transitName()), slog.Any("error", err))
		p.entry.Stage = ""
		return &refusal{status: 503, code: "cannot-record", detail: "the journal cannot take the entry of this request; try again later"}
	}
	p.out.Header = append(p.out.Header, http1.Field{Name: "Isogate-Entry", Value: string(p.entry.ID)})
	p.out.Header = p.sealing.appendHeader(p.out.Header)
	return nil
}

// close writes the entry that ends what record began.
func (p *passage) close(status int, reason string) {
	if reason == "" && !p.streams {
		c := isogate.Closing{Of: p.entry.ID, Status: status, DurationUS: time.Since(p.began).Microseconds()}
		p.stillOpen(p.gate.cfg.Journal.AppendClosing(c))
		return
	}
	e := isogate.Entry{
		Kind: isogate.KindEgress, Stage: isogate.StageClosed, Of: p.entry.ID,
		Source: p.entry.Source, Transit: p.entry.Transit, Remote: p.entry.Remote, Destination: p.entry.Destination, Consent: p.entry.Consent,
		Decision: isogate.Released.String(), Reason: reason,
		Status: status, DurationUS: time.Since(p.began).Microseconds(),
	}
	if p.streams {
		e.Fields, e.BytesIn, e.BytesOut = p.tally.Fields(nil), p.bytesIn, p.bytesOut
		e.DigestOut = p.entry.DigestOut
	}
	p.stillOpen(p.gate.cfg.Journal.AppendLater(&e))
}

// stillOpen says that the journal did not take the end of an entry.
func (p *passage) stillOpen(err error) {
	if err != nil {
		p.gate.cfg.Logger.Error("an entry stays open: the journal did not take its end", slog.String("entry", string(p.entry.ID)), slog.Any("error", err))
	}
}

// trace hands over the request's span, when somebody asked for spans.
func (p *passage) trace() {
	if p.gate.cfg.Tracer == nil {
		return
	}
	_, span := p.gate.cfg.Tracer.Start(context.Background(), "transit "+p.transitName(),
		trace.WithTimestamp(p.began), trace.WithSpanKind(trace.SpanKindServer))
	span.SetAttributes(
		attribute.String("isogate.entry", string(p.entry.ID)),
		attribute.String("isogate.source", string(p.source)),
		attribute.String("isogate.destination", string(p.entry.Destination)),
		attribute.String("isogate.decision", p.entry.Decision),
		attribute.String("http.request.method", p.entry.Method),
		attribute.Int("http.response.status_code", p.status),
	)
	span.End()
}
