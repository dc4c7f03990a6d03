package policy

import (
	"cmp"
	"errors"
	"fmt"
	"mime"
	"strings"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/obfuscate"
	"github.com/isogate/isogate/internal/payload"
)

// Named is one header, cookie or trailer.
type Named struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Request is one request to try a transit with. What is left out is not part of
// the request: without a path, path and query are not judged.
type Request struct {
	Source      isogate.Source // for guards; "" is the transit's first
	Method      string         // "" is the method of the transit's first pattern
	Path        string         // percent-encoded, without the query
	Query       string         // as it is sent
	Headers     []Named
	Cookies     []Named
	Trailers    []Named
	ContentType string // "" is that of the contract
	Body        []byte
	Time        time.Time
	Grant       *Limit // what the consent in force is limited to; nil is one for everything
}

// Outcome is what would leave of a request.
type Outcome struct {
	Template string          `json:"template,omitempty"` // the pattern that the path matched
	Path     string          `json:"path,omitempty"`
	Query    string          `json:"query,omitempty"`
	Headers  []Named         `json:"headers,omitempty"`
	Cookies  []Named         `json:"cookies,omitempty"`
	Trailers []Named         `json:"trailers,omitempty"`
	Body     []byte          `json:"-"`
	Tunnel   string          `json:"tunnel,omitempty"` // file:line of the tunnel over which all this leaves unread
	Fields   []isogate.Field `json:"fields"`
}

// RefusedError is why nothing of a request would leave.
type RefusedError struct{ Reason error }

func (e *RefusedError) Error() string { return "refused: " + e.Reason.Error() }

func (e *RefusedError) Unwrap() error { return e.Reason }

// Obfuscator makes the replacements on the way to a destination of the plan.
func (p *Plan) Obfuscator(tenant isogate.Tenant, dst isogate.Destination, keys obfuscate.Deriver) (*obfuscate.Obfuscator, error) {
	return obfuscate.New(obfuscate.Config{Tenant: tenant, Destination: dst, Labels: p.Labels(dst), Keys: keys})
}

// specimens makes texts with the form of seals; an Obfuscator does.
type specimens interface {
	Specimen(dst []byte, v *isogate.Verdict, val isogate.Value) (out []byte, ok bool)
}

// sampler stands in for a gateway with a landing. There is no landing to hold a
// key while a pack is tried out, so a value that would be sealed becomes a
// specimen, which is a seal in form and length but the same for the same value.
// Nothing is registered.
type sampler struct{ payload.Replacer }

// Note implements [payload.Noter].
func (sampler) Note(*isogate.Verdict, isogate.Value) error { return nil }

// Replace implements [payload.Replacer].
func (s sampler) Replace(dst []byte, v *isogate.Verdict, val isogate.Value) ([]byte, isogate.Kind, isogate.Action, error) {
	if !v.Sealed {
		return s.Replacer.Replace(dst, v, val)
	}
	hash := *v // what becomes of null, and of what is too long for a seal
	hash.Action = isogate.Hash
	if v.Action != isogate.Seal {
		made, kind, applied, err := s.Replacer.Replace(nil, v, val)
		if err != nil || !plaintext(applied) {
			return append(dst, made...), kind, applied, err
		}
		val = isogate.Value{Kind: kind, Text: made}
	}
	if maker, ok := s.Replacer.(specimens); ok && val.Kind != isogate.Null {
		if out, ok := maker.Specimen(dst, v, val); ok {
			return out, isogate.String, v.Action, nil
		}
	}
	return s.Replacer.Replace(dst, &hash, val)
}

// Preview says what would leave of a request over the transit. It judges with
// the same walkers and verdicts as the gateway. What would be sealed is a
// specimen of a seal: its form is right, its text is not what would leave. The error is a [*RefusedError]
// when the answer is that nothing leaves.
func (t *Transit) Preview(req Request, rep payload.Replacer) (*Outcome, error) {
	if t.Mode == Tunnel {
		return t.previewTunnel(&req)
	}
	req.Method = cmp.Or(req.Method, t.patterns[0].method)
	p := preview{rep: sampler{rep}, out: &Outcome{}, rules: t.rulesFor(&req)}
	if err := p.run(t, &req); err != nil {
		return nil, &RefusedError{Reason: err}
	}
	p.out.Fields = p.tally.Fields(nil)
	return p.out, nil
}

// rulesFor is what a request is judged by.
func (t *Transit) rulesFor(req *Request) *Rules {
	rules := t.Decide(t.envelope(req))
	if req.Grant != nil {
		rules = t.Narrow(rules, *req.Grant)
	}
	return rules
}

// envelope is what guards see of a request.
func (t *Transit) envelope(req *Request) Envelope {
	return Envelope{
		Method: cmp.Or(req.Method, t.patterns[0].method),
		Source: cmp.Or(req.Source, t.Sources[0]),
		Time:   req.Time,
		Header: func(name string) string {
			for _, h := range req.Headers {
				if strings.EqualFold(h.Name, name) {
					return h.Value
				}
			}
			return ""
		},
	}
}

type preview struct {
	rep   payload.Replacer
	rules *Rules
	tally payload.Tally
	out   *Outcome
}

func (p *preview) run(t *Transit, req *Request) error {
	if req.Path != "" {
		if err := p.target(t, req); err != nil {
			return err
		}
	}
	for _, part := range []struct {
		in    []Named
		out   *[]Named
		rules *payload.NameRules
	}{
		{req.Headers, &p.out.Headers, &p.rules.Headers},
		{req.Cookies, &p.out.Cookies, &p.rules.Cookies},
		{req.Trailers, &p.out.Trailers, &p.rules.Trailers},
	} {
		for _, v := range part.in {
			out, keep, err := payload.RewriteNamed(nil, v.Name, v.Value, part.rules, p.rep, &p.tally)
			if err != nil {
				return err
			}
			if keep {
				*part.out = append(*part.out, Named{v.Name, string(out)})
			}
		}
	}
	return p.body(t, req)
}

func (p *preview) target(t *Transit, req *Request) error {
	params, err := t.matchPath(req.Method, req.Path)
	if err != nil {
		return err
	}
	p.out.Template = Template(req.Path, params)
	path, err := AppendPath(nil, req.Path, params, func(dst []byte, param Param) ([]byte, error) {
		dst, _, err := payload.RewriteNamed(dst, param.Name, param.Value, &p.rules.Path, p.rep, &p.tally)
		return dst, err
	})
	if err != nil {
		return err
	}
	p.out.Path = string(path)
	if req.Query == "" {
		return nil
	}
	query, err := payload.RewriteQuery(nil, req.Query, &p.rules.Query, p.rep, &p.tally)
	p.out.Query = string(query)
	return err
}

// matchPath matches a path against the patterns of this transit alone.
func (t *Transit) matchPath(method, path string) ([]Param, error) {
	segments, ok := splitPath(nil, path)
	if !ok {
		return nil, ErrBadPath
	}
	var trie routes
	for _, p := range t.patterns {
		trie.add(p, t)
	}
	var seen bool
	found, ok := trie.find(method, segments, &seen)
	switch {
	case ok:
		return found.pattern.take(segments), nil
	case seen:
		return nil, ErrNoMethod
	}
	return nil, ErrNoPath
}

func (p *preview) body(t *Transit, req *Request) error {
	if len(req.Body) == 0 {
		return nil
	}
	if t.Format == nil {
		return errors.New("the transit takes no body; give it a contract")
	}
	if req.ContentType != "" {
		media, params, err := mime.ParseMediaType(req.ContentType)
		charset, given := params["charset"]
		if err != nil || !t.Format.Accepts(media) || given && !strings.EqualFold(charset, "utf-8") || len(params) > 1 || len(params) == 1 && !given {
			return fmt.Errorf("the content type %q is not %s in UTF-8; send %s", req.ContentType, t.Format.Name(), t.Format.MediaType())
		}
	}
	var err error
	p.out.Body, err = t.Format.Rewrite(nil, req.Body, &p.rules.Body, p.rep, &p.tally)
	return err
}
