package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// catchAll is the name of the parameters that a final /** takes.
const catchAll = "**"

// maxSegments bounds a path.
const maxSegments = 64

// pattern is one line of a transit's match: a method and a path.
type pattern struct {
	method   string
	segments []segment
	rest     bool // ends in /**: one or more further segments
	at       position
	text     string
}

// segment is a literal, or a parameter when param is not empty.
type segment struct{ literal, param string }

// methods are those a transit may have. CONNECT and TRACE are not requests to a
// resource of the destination, and OPTIONS tells about the server, not the way.
var methods = []string{"DELETE", "GET", "HEAD", "PATCH", "POST", "PUT"}

// parsePattern reads METHOD /literal/{param}/…/**.
func parsePattern(n *node) (p pattern, err *placed) {
	method, path, ok := strings.Cut(n.text, " ")
	p = pattern{method: method, at: n.at, text: n.text}
	switch {
	case !ok:
		return p, placedf(0, "match %q is not a method and a path; write it as: POST /v1/tickets/{id}", n.text)
	case !slices.Contains(methods, method):
		return p, placedf(0, "method %q cannot be matched; use one of %s", method, strings.Join(methods, ", "))
	}
	offset := len(method) + 1
	if !strings.HasPrefix(path, "/") {
		return p, placedf(offset, "the path %q does not begin with /; write it as: %s /v1/tickets", path, method)
	}
	if path == "/" {
		return p, nil // no segment at all
	}
	seen := map[string]bool{}
	parts := strings.Split(path[1:], "/")
	if len(parts) > maxSegments {
		return p, placedf(offset, "the path has more than %d segments; shorten it", maxSegments)
	}
	for i, s := range parts {
		offset++
		if s == catchAll && i == len(parts)-1 {
			p.rest = true
			return p, nil
		}
		seg, err := parseSegment(s)
		if err == nil && seg.param != "" && seen[seg.param] {
			err = fmt.Errorf("the parameter {%s} is there twice; give each a name of its own", seg.param)
		}
		if err != nil {
			return p, &placed{offset: offset, err: err}
		}
		seen[seg.param] = true
		p.segments = append(p.segments, seg)
		offset += len(s)
	}
	return p, nil
}

func parseSegment(s string) (segment, error) {
	name, isParam := strings.CutPrefix(s, "{")
	if isParam {
		name, closed := strings.CutSuffix(name, "}")
		if !closed || !parameterName(name) {
			return segment{}, fmt.Errorf("the parameter %q is not a whole segment with a name of letters, digits and _; write it as {accountId}", s)
		}
		return segment{param: name}, nil
	}
	switch {
	case s == "":
		return segment{}, errors.New("the path has an empty segment; remove the extra /")
	case s == "." || s == "..":
		return segment{}, errors.New("the path has a dot segment; write the path it stands for")
	case strings.Contains(s, "*"):
		return segment{}, fmt.Errorf("%q has a * that means nothing here; use {name} for one segment, or a final /** for all that follow", s)
	}
	for i := range len(s) {
		c := s[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`%?#\{}<>"^|`+"`", c) >= 0 {
			return segment{}, fmt.Errorf("%q has the character %q; write segments decoded, in ASCII, without ? # %% and quotes", s, c)
		}
	}
	return segment{literal: s}, nil
}

func parameterName(s string) bool {
	for i := range len(s) {
		c := s[i] | 0x20
		if (c < 'a' || c > 'z') && s[i] != '_' && (i == 0 || s[i] < '0' || s[i] > '9') {
			return false
		}
	}
	return s != "" && len(s) <= 63
}

// params are the names that the pattern takes from a path.
func (p *pattern) params() []string {
	var names []string
	for _, s := range p.segments {
		if s.param != "" {
			names = append(names, s.param)
		}
	}
	if p.rest {
		names = append(names, catchAll)
	}
	return names
}

// take picks the parameters out of a path that the pattern matched.
func (p *pattern) take(segments []string) []Param {
	var params []Param
	for i, s := range segments {
		name := catchAll
		if i < len(p.segments) {
			if name = p.segments[i].param; name == "" {
				continue
			}
		}
		if params == nil {
			params = make([]Param, 0, len(segments)-i)
		}
		params = append(params, Param{Name: name, Value: s, Segment: i})
	}
	return params
}
