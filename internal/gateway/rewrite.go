package gateway

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"strings"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/http1"
	"github.com/isogate/isogate/internal/payload"
	"github.com/isogate/isogate/internal/policy"
)

// rewrite walks everything the request is made of, field by field: path, query,
// headers, cookies, body, trailers. What is not fully understood is refused; what
// is not named is removed or obfuscated.
//
// promise: P02
// promise: P03
// promise: P07
func (p *passage) rewrite() *refusal {
	req := &p.x.Request
	if r := p.decide(); r != nil {
		return r
	}
	if r := p.sealing.enter(p); r != nil {
		return r
	}
	p.out.Method, p.out.Scheme = req.Method, p.target.scheme
	p.out.Host, p.out.Port, p.out.ServerName = p.target.host, p.target.port, p.target.serverName
	for _, part := range [...]func() *refusal{p.rewriteTarget, p.rewriteHeader, p.rewriteBody} {
		if r := part(); r != nil {
			return cmp.Or(p.sealing.refused, r)
		}
	}
	p.entry.Fields = p.tally.Fields(p.entry.Fields[:0])
	p.declareHandling()
	var r *refusal
	p.out.Header, r = p.sealing.rows.appendHeader(p.out.Header)
	return r
}

// decide makes the request's verdicts. A header that guards may read is refused
// when it is there more than once: the receiver may act on another line than the
// guard judged, and neither its first line nor its absence is an answer. So is
// one without a value, which a guard takes for absent and a receiver may not.
func (p *passage) decide() *refusal {
	req := &p.x.Request
	unclear := false
	p.verdicts = p.transit.Decide(policy.Envelope{Method: req.Method, Source: p.source, Time: p.now, Header: func(name string) string {
		v, there := req.Header.Lookup(name)
		unclear = unclear || req.Header.Count(name) > 1 || there && v == ""
		return v
	}})
	if p.permit.Grant != nil {
		p.verdicts = p.transit.Narrow(p.verdicts, p.limit)
	}
	if unclear {
		return &refusal{status: 400, code: "header", detail: "a header that a condition of the transit reads is there more than once, or empty; send it once, with a value"}
	}
	return nil
}

// rewriteTarget makes the path and query to send.
func (p *passage) rewriteTarget() *refusal {
	p.url = append(p.url[:0], p.target.base...)
	var err error
	p.url, err = policy.AppendPath(p.url, p.path, p.params, func(dst []byte, param policy.Param) ([]byte, error) {
		out, keep, err := payload.RewriteNamed(dst, param.Name, param.Value, &p.verdicts.Path, p.replacer(), &p.tally)
		if err == nil && !keep {
			return dst, errors.New("a path parameter cannot be dropped; release it less strictly or refuse it")
		}
		return out, err
	})
	if err != nil {
		return contentRefused("path", err)
	}
	if p.target.landing && landingsOwn(p.url) {
		return &refusal{status: 403, code: "no-transit", detail: "the path is the landing's own, by which the gateway itself speaks with it; no transit leads there"}
	}
	if raw := p.x.Request.RawQuery; raw != "" {
		mark := len(p.url)
		p.url = append(p.url, '?')
		if p.url, err = payload.RewriteQuery(p.url, raw, &p.verdicts.Query, p.replacer(), &p.tally); err != nil {
			return contentRefused("query", err)
		}
		if len(p.url) == mark+1 {
			p.url = p.url[:mark]
		}
	}
	p.out.Target = string(p.url)
	return nil
}

// ours are the request fields that the line reads itself and never passes on by
// name. Whatever begins with Isogate- is ours too: one that comes in is forged.
func ours(name string) bool {
	switch name {
	case "Host", "Content-Length", "Transfer-Encoding", "Connection", "Keep-Alive", "Te", "Trailer", "Upgrade", "Expect",
		"Content-Type", "Content-Encoding", "Accept-Encoding", "Proxy-Authorization", "Proxy-Connection", "Proxy-Authenticate", "Cookie":
		return true
	}
	return strings.HasPrefix(name, "Isogate-")
}

// rewriteHeader makes the header fields to send: those that the transit names,
// each by its verdict, and our own.
func (p *passage) rewriteHeader() *refusal {
	var cookies []byte
	var r *refusal
	for _, f := range p.x.Request.Header {
		if f.Name == "Cookie" {
			var err error
			if cookies, err = p.rewriteCookies(cookies, f.Value); err != nil {
				return contentRefused("cookie", err)
			}
			continue
		}
		if ours(f.Name) {
			continue
		}
		if p.scratch, r = p.rewriteField(&p.out.Header, p.scratch, f, &p.verdicts.Headers); r != nil {
			return r
		}
	}
	if len(cookies) > 0 {
		p.out.Header = append(p.out.Header, http1.Field{Name: "Cookie", Value: string(cookies)})
	}
	// What comes back must be readable, so that names can be turned back.
	p.out.Header = append(p.out.Header, http1.Field{Name: "Accept-Encoding", Value: "identity"})
	return nil
}

// rewriteField appends the field to dst as its verdict says, if it leaves at all.
func (p *passage) rewriteField(dst *http1.Fields, buf []byte, f http1.Field, rules *payload.NameRules) ([]byte, *refusal) {
	out, keep, err := payload.RewriteNamed(buf[:0], f.Name, f.Value, rules, p.replacer(), &p.tally)
	if err != nil {
		return buf, contentRefused("header", err)
	}
	if keep {
		*dst = append(*dst, http1.Field{Name: f.Name, Value: string(out)})
	}
	return out, nil
}

// rewriteCookies appends the cookies that the transit names. A part that is not
// NAME=VALUE is removed like one that nobody named.
func (p *passage) rewriteCookies(dst []byte, line string) ([]byte, error) {
	for more := true; more; {
		var pair string
		pair, line, more = strings.Cut(line, ";")
		name, value, ok := strings.Cut(strings.TrimSpace(pair), "=")
		if !ok || name == "" {
			continue
		}
		out, keep, err := payload.RewriteNamed(p.scratch[:0], name, value, &p.verdicts.Cookies, p.replacer(), &p.tally)
		if err != nil {
			return dst, err
		}
		p.scratch = out
		if !keep {
			continue
		}
		if len(dst) > 0 {
			dst = append(dst, "; "...)
		}
		dst = append(dst, name...)
		dst = append(dst, '=')
		dst = append(dst, out...)
	}
	return dst, nil
}

// rewriteBody judges the body, whole where it can be held.
func (p *passage) rewriteBody() *refusal {
	req := &p.x.Request
	if req.ContentLength == 0 {
		return nil
	}
	if p.transit.Format == nil {
		return &refusal{status: 415, code: "no-body", detail: "the transit takes no body; give it a contract or send none"}
	}
	if r := p.mediaType(); r != nil {
		return r
	}
	p.bodyRules = p.verdicts.Body
	p.bodyRules.Limits = p.gate.cfg.Limits
	whole, r := p.hold()
	if r != nil {
		return r
	}
	p.out.Header = append(p.out.Header, http1.Field{Name: "Content-Type", Value: p.transit.Format.MediaType()})
	if !whole {
		p.streams = true // send judges it while it leaves
		if p.target.landing {
			return p.sealing.settle(p.verdicts)
		}
		return nil
	}
	if len(p.in) == 0 { // chunked, and empty after all
		p.out.Header = p.out.Header[:len(p.out.Header)-1]
		return nil
	}
	var err error
	p.body, err = p.transit.Format.Rewrite(p.body[:0], p.in, &p.bodyRules, p.replacer(), &p.tally)
	p.bytesIn = int64(len(p.in))
	if err != nil {
		return contentRefused("body", err)
	}
	p.bytesOut = int64(len(p.body))
	p.entry.DigestIn = p.rules.keys.Digest(p.in)
	sum := sha256.Sum256(p.body)
	p.entry.DigestOut = "sha256:" + hex.EncodeToString(sum[:])
	p.out.Body = p.body
	trailer, r := p.rewriteTrailer()
	if len(trailer) > 0 { // they need a body in chunks
		p.out.Stream, p.out.Length, p.out.Body = bytes.NewReader(p.body), -1, nil
		p.out.Trailer = func() http1.Fields { return trailer }
	}
	return r
}

// rewriteTrailer makes the trailer fields to send: those that the transit names.
func (p *passage) rewriteTrailer() (trailer http1.Fields, r *refusal) {
	var buf []byte
	for _, f := range p.x.Request.Trailer {
		if ours(f.Name) {
			continue
		}
		if buf, r = p.rewriteField(&trailer, buf, f, &p.verdicts.Trailers); r != nil {
			return nil, r
		}
	}
	return trailer, nil
}

// mediaType checks that the body is what the contract says, in UTF-8 and not
// encoded: a label only means something where the format is sure.
func (p *passage) mediaType() *refusal {
	h := p.x.Request.Header
	if enc, ok := h.Lookup("Content-Encoding"); ok && !strings.EqualFold(enc, "identity") {
		return &refusal{status: 415, code: "content-encoding", detail: "the body is encoded; send it without Content-Encoding"}
	}
	text, ok := h.Lookup("Content-Type")
	if !ok {
		return &refusal{status: 415, code: "content-type", detail: "the body has no Content-Type; send " + p.transit.Format.MediaType()}
	}
	media, params, _ := strings.Cut(text, ";")
	media = strings.ToLower(strings.TrimSpace(media))
	if !p.transit.Format.Accepts(media) {
		return &refusal{status: 415, code: "content-type", detail: "the transit's contract is for " + p.transit.Format.MediaType() + "; the body says it is something else"}
	}
	if params = strings.TrimSpace(params); params != "" {
		name, value, _ := strings.Cut(params, "=")
		if !strings.EqualFold(strings.TrimSpace(name), "charset") || !strings.EqualFold(strings.Trim(strings.TrimSpace(value), `"`), "utf-8") {
			return &refusal{status: 415, code: "content-type", detail: "Content-Type may have no parameter but charset=utf-8"}
		}
	}
	return nil
}

// hold reads the body up to Hold bytes and reports whether that was all of it.
func (p *passage) hold() (whole bool, _ *refusal) {
	if p.second { // it is there already
		return true, nil
	}
	p.in = p.in[:0]
	// Memory follows what has arrived, not what was announced.
	if n := min(p.x.Request.ContentLength, p.gate.cfg.Hold, 64<<10); int64(cap(p.in)) <= n {
		p.in = make([]byte, 0, n+1)
	}
	for int64(len(p.in)) <= p.gate.cfg.Hold {
		if len(p.in) == cap(p.in) {
			p.in = append(p.in, 0)[:len(p.in)]
		}
		n, err := p.x.Request.Body.Read(p.in[len(p.in):cap(p.in)])
		p.in = p.in[:len(p.in)+n]
		p.bytesIn = int64(len(p.in))
		if err == io.EOF {
			return true, nil
		}
		if err != nil {
			return false, bodyFault(err)
		}
	}
	return false, nil
}

// declareHandling tells the far side how it must treat what it gets.
//
// promise: P16
// promise: P17
// promise: P18
func (p *passage) declareHandling() {
	fields := p.entry.Fields
	if p.streams { // not counted yet: declare all that the rules may release
		for _, place := range p.verdicts.Body.Tree.Places() {
			v := p.verdicts.Body.Verdicts[place.Set]
			fields = append(fields, isogate.FieldOf(place.Path, v, v.Action, 1))
		}
	}
	if value := p.handling(fields); value != "" {
		p.out.Header = append(p.out.Header, http1.Field{Name: "Isogate-Handling", Value: value})
	}
}

func bodyFault(err error) *refusal {
	var f *http1.Fault
	if errors.As(err, &f) {
		return &refusal{status: f.Status, code: "body", detail: f.Error()}
	}
	return &refusal{status: 400, code: "body", detail: "the body could not be read to its end"}
}

// contentRefused explains a walker's refusal. Other errors are our own
// sentences, which name labels and places and never hold what was sent.
func contentRefused(part string, err error) *refusal {
	var r *payload.Refusal
	if errors.As(err, &r) {
		return &refusal{status: 422, code: "content", detail: part + ": " + r.Error()}
	}
	return &refusal{status: 422, code: "content", detail: part + ": " + err.Error()}
}
