package policy

import (
	"slices"
	"strings"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/payload"
)

// readNames reads the labels of one part of the request beside the body.
func (r *reader) readNames(n *node, which int, t *Transit) {
	p := &t.parts[which]
	p.labels, p.at = map[string]isogate.Label{}, map[string]position{}
	defer func() { p.names = payload.CompileNames(payloadParts[which], p.labels) }()
	if n == nil {
		return
	}
	what := "request." + partNames[which]
	if n.shape != mapping || len(n.pairs) == 0 {
		r.add(n.at, "%s is %s; write a mapping from names to labels: {name: system.metadata}", what, n.kind())
		return
	}
	if len(n.pairs) > maxNames {
		r.add(n.at, "%s has more than %d names; split the transit", what, maxNames)
		return
	}
	for _, pr := range n.pairs {
		name, ok := r.partName(pr.key, which, t)
		l, labelled := r.label(pr.value, what+"."+pr.key.text)
		if !ok || !labelled {
			continue
		}
		if at, twice := p.at[name]; twice {
			r.add(pr.key.at, "%s names %q twice, first in line %d; case makes no difference here, keep one", what, pr.key.text, at.line)
			continue
		}
		p.labels[name], p.at[name] = l, pr.key.at
		if which == partHeaders {
			t.headers = append(t.headers, name)
		}
	}
	slices.Sort(t.headers)
}

// partName checks a name and gives it the spelling it is looked up by.
func (r *reader) partName(key *node, which int, t *Transit) (string, bool) {
	name := key.text
	switch which {
	case partPath:
		if len(t.patterns) > 0 && !slices.ContainsFunc(t.patterns, func(p *pattern) bool { return slices.Contains(p.params(), name) }) {
			r.add(key.at, "no pattern of match has the parameter {%s}; add it there, or remove the line", name)
			return "", false
		}
	case partHeaders, partTrailers:
		lower := strings.ToLower(name)
		if !headerName(name) {
			r.add(key.at, "%q is not the name of a header; use letters, digits and -", name)
			return "", false
		}
		if why := unnameable(lower, which); why != "" {
			r.add(key.at, "the header %s cannot be named: %s", name, why)
			return "", false
		}
		return lower, true
	case partCookies:
		if !headerToken(name) {
			r.add(key.at, "%q is not the name of a cookie; use letters, digits and the characters of a token", name)
			return "", false
		}
	}
	return name, true
}

// headerName reports whether s may name a header: a token of RFC 9110 without
// the characters that some programs take for a dash.
func headerName(s string) bool {
	return headerToken(s) && len(s) <= maxHeaderName && !strings.ContainsAny(s, "_.!#$%&'*+^`|~")
}

// headerToken reports whether s is a token of RFC 9110, section 5.6.2.
func headerToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		alnum := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !alnum && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}

// unnameable says why a header, in lower case, is not a transit's to name; ""
// when it is.
func unnameable(name string, which int) string {
	switch name {
	case "connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade":
		return "it belongs to one connection and never crosses the gateway; remove it (RFC 9110, 7.6.1)"
	case "host", "content-length", "content-type", "content-encoding", "accept-encoding", "expect", "date":
		return "the gateway writes it by itself; remove it"
	case "cookie", "set-cookie":
		return "cookies are judged one by one; name them under request.cookies"
	}
	if strings.HasPrefix(name, "isogate-") {
		return "headers that begin with Isogate- are the gateway's own; remove it"
	}
	if which == partTrailers && (name == "authorization" || strings.HasPrefix(name, "content-") || strings.HasPrefix(name, "if-") || name == "range" || name == "cache-control") {
		return "it must not stand in a trailer (RFC 9110, 6.5.1); name it under request.headers"
	}
	return ""
}
