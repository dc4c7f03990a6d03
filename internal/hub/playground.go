package hub

import (
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/access"
	"github.com/isogate/isogate/internal/consent"
	"github.com/isogate/isogate/internal/payload"
	"github.com/isogate/isogate/internal/policy"
)

// maxSpecimen is the largest body that is tried out, in bytes.
const maxSpecimen = 1 << 20

// Specimen is a request that somebody tries out. It is in memory while it is answered, and
// nowhere else: not in a log, the journal, an address or a file.
type Specimen struct {
	Pack        string         `json:"pack"` // digest; "" is the one in force
	Transit     string         `json:"transit"`
	Source      string         `json:"source"`
	Method      string         `json:"method"`
	Path        string         `json:"path"`
	Query       string         `json:"query"`
	Headers     []policy.Named `json:"headers"`
	Cookies     []policy.Named `json:"cookies"`
	ContentType string         `json:"content_type"`
	Body        string         `json:"body"`
	At          string         `json:"at"` // an instant or a day; "" is now
}

// Preview is what would leave of a specimen.
type Preview struct {
	Pack     string           `json:"pack"`
	Transit  isogate.Transit  `json:"transit"`
	At       time.Time        `json:"at"`
	Decision isogate.Decision `json:"decision"` // released or refused
	// Reason is why it is refused, and Line and Column where in the body that is, from 1.
	Reason string `json:"reason,omitempty"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`

	Template string         `json:"template,omitempty"` // the pattern that the path matched
	Path     string         `json:"path,omitempty"`
	Query    string         `json:"query,omitempty"`
	Headers  []policy.Named `json:"headers,omitempty"`
	Cookies  []policy.Named `json:"cookies,omitempty"`
	Body     string         `json:"body,omitempty"`
	Tunnel   string         `json:"tunnel,omitempty"` // file:line of the tunnel over which all this leaves unread
	Fields   []TriedField   `json:"fields"`
}

// TriedField is what happened to a field, and why.
type TriedField struct {
	isogate.Field
	Because string   `json:"because,omitempty"`
	SaidBy  []string `json:"said_by,omitempty"`        // who gave it its label, file:line
	WhyNot  []string `json:"why_not_looser,omitempty"` // what keeps more from leaving
}

// preview says what would leave of a specimen: by the walkers and verdicts that the
// gateway judges with, and with keys that are made for it and thrown away.
func (h *Hub) preview(s *Specimen, now time.Time) (Preview, error) {
	if err := h.noPolicies(); err != nil {
		return Preview{}, err
	}
	pack := h.policies.InForce()
	if s.Pack != "" {
		digest, err := digestOf(s.Pack)
		if err != nil {
			return Preview{}, about("pack", err)
		}
		if pack, err = h.packOf(digest); err != nil {
			return Preview{}, about("pack", err)
		}
	}
	plan := pack.Plan()
	t, ok := plan.Transit(isogate.Transit(s.Transit))
	if !ok {
		return Preview{}, about("transit", notFound("the pack has no transit %q; choose one of it", consent.Shown(s.Transit)))
	}
	req, err := s.request(now)
	if err != nil {
		return Preview{}, err
	}
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails
	rep, err := plan.Obfuscator("playground", t.Destination.Name, policy.ThrowawayKeys(secret))
	if err != nil {
		return Preview{}, fmt.Errorf("hub: %w", err)
	}
	out := Preview{Pack: plan.Digest, Transit: t.Name, At: req.Time, Decision: isogate.Released, Fields: []TriedField{}}
	made, err := t.Preview(req, rep)
	var refused *policy.RefusedError
	if errors.As(err, &refused) {
		out.refuse(refused, s.Body)
		return out, nil
	} else if err != nil {
		return Preview{}, fmt.Errorf("hub: %w", err)
	}
	out.Template, out.Path, out.Query, out.Headers, out.Cookies, out.Body, out.Tunnel = made.Template, made.Path, made.Query, made.Headers, made.Cookies, string(made.Body), made.Tunnel
	for _, f := range made.Fields {
		out.Fields = append(out.Fields, tried(t, f, req.Time))
	}
	return out, nil
}

// request is what a specimen describes.
func (s *Specimen) request(now time.Time) (policy.Request, error) {
	req := policy.Request{Source: isogate.Source(s.Source), Method: s.Method, Path: s.Path, Query: s.Query, Headers: s.Headers, Cookies: s.Cookies,
		ContentType: s.ContentType, Body: []byte(s.Body), Time: now}
	switch {
	case len(s.Body) > maxSpecimen:
		return req, about("body", problem(413, "too-large", fmt.Sprintf("the body is larger than %d MiB; try a part of it", maxSpecimen>>20)))
	case s.Query != "" && s.Path == "":
		return req, about("path", badRequest("a query is judged with a path only; give the path too"))
	case s.Path != "" && !strings.HasPrefix(s.Path, "/"):
		return req, about("path", badRequest("the path does not begin with /"))
	case len(s.Headers)+len(s.Cookies) > 100:
		return req, about("headers", badRequest("there are more than 100 headers; try some of them"))
	}
	if s.At != "" {
		at, err := time.Parse(time.DateOnly, s.At)
		if err != nil {
			at, err = time.Parse(time.RFC3339, s.At)
		}
		if err != nil {
			return req, about("at", badRequest("the instant is not understood; write it as 2026-11-02 or 2026-11-02T12:00:00Z"))
		}
		req.Time = at
	}
	return req, nil
}

// refuse says why nothing would leave, and where in the body that is.
func (p *Preview) refuse(err *policy.RefusedError, body string) {
	p.Decision, p.Reason = isogate.Refused, err.Reason.Error()
	var r *payload.Refusal
	if !errors.As(err, &r) || r.Offset < 0 || r.Offset > int64(len(body)) || beside(r.Path) {
		return
	}
	before := body[:r.Offset]
	p.Line = 1 + strings.Count(before, "\n")
	p.Column = 1 + utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:])
}

// beside reports whether a path is of a part of the request beside the body.
func beside(path string) bool {
	part, _, named := strings.Cut(path, ":")
	return named && slices.Contains([]string{"query", "path", "header", "cookie", "trailer"}, part)
}

// tried explains what happened to a field.
func tried(t *policy.Transit, f isogate.Field, at time.Time) TriedField {
	out := TriedField{Field: f, Because: t.Because(f.Rule)}
	x, err := t.Explain(strings.TrimSuffix(f.Path, "#name"), at)
	if err != nil {
		return out // a place that only a body has, such as a.?
	}
	for _, l := range x.Labels {
		if l.Label == f.Label {
			out.SaidBy = l.SaidBy
		}
	}
	if f.Action != isogate.Allow {
		out.WhyNot = x.WhyNot
	}
	return out
}

// namedLines reads NAME: VALUE on each line, and Cookie lines as cookies.
func namedLines(text string) (headers, cookies []policy.Named, err error) {
	for i, line := range strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n") {
		if strings.TrimSpace(line) == "" {
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if name = strings.TrimSpace(name); !ok || name == "" {
			return nil, nil, about("headers", badRequest("line %d of the headers is not NAME: VALUE", i+1))
		}
		value = strings.TrimSpace(value)
		if !strings.EqualFold(name, "Cookie") {
			headers = append(headers, policy.Named{Name: name, Value: value})
			continue
		}
		for pair := range strings.SplitSeq(value, ";") {
			if k, v, ok := strings.Cut(strings.TrimSpace(pair), "="); ok {
				cookies = append(cookies, policy.Named{Name: k, Value: v})
			}
		}
	}
	return headers, cookies, nil
}

var playgroundPages = []page{
	{pattern: "GET /playground", need: access.Values, stale: true, do: (*Hub).playground},
	{pattern: "POST /playground", need: access.Values, stale: true, do: (*Hub).tryOut},
}
