package policy

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/isogate/isogate"
)

// Why a request has no way out. Each is the whole answer; the caller compares with ==.
var (
	// ErrNoDestination: the plan has no destination of that name.
	ErrNoDestination = errors.New("no such destination; declare it in destinations.yaml")
	// ErrNoSource: no transit lets the source send to the destination.
	ErrNoSource = errors.New("no transit from this source to this destination; add the source to a transit")
	// ErrNoPath: there are transits, but none has the path.
	ErrNoPath = errors.New("no transit has this path; add it to a transit's match")
	// ErrNoMethod: a transit has the path, with other methods.
	ErrNoMethod = errors.New("no transit has this path with this method; add the method to a transit's match")
	// ErrBadPath: the path can be read in more than one way, so that no pattern may judge it.
	ErrBadPath = errors.New("the path is ambiguous: a dot segment, an empty segment, an encoded slash, a backslash, or a broken escape; send it in its plain form")
)

// catchAll is the name of the parameters that a final /** takes.
const catchAll = "**"

// maxSegments bounds a path.
const maxSegments = 64

// Param is one path parameter of a matched request.
type Param struct {
	Name    string // as the pattern names it; "**" for each segment of a catch-all
	Value   string // the segment, percent-decoded
	Segment int    // which segment of the path it is, from 0
}

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

// routes is the trie of one source's ways to one destination. At each segment a
// literal goes before a parameter, a parameter before a catch-all.
type routes struct {
	literal map[string]*routes
	param   *routes
	here    map[string]route // by method: the path ends here
	rest    map[string]route // by method: one or more further segments
}

// route is where a pattern leads.
type route struct {
	transit *Transit
	pattern *pattern
}

// add puts a pattern in. The caller has asked overlap before.
func (r *routes) add(p *pattern, t *Transit) {
	for _, s := range p.segments {
		next := r.param
		if s.param == "" {
			next = r.literal[s.literal]
		}
		if next == nil {
			next = &routes{}
			switch {
			case s.param != "":
				r.param = next
			case r.literal == nil:
				r.literal = map[string]*routes{s.literal: next}
			default:
				r.literal[s.literal] = next
			}
		}
		r = next
	}
	ends := &r.here
	if p.rest {
		ends = &r.rest
	}
	if *ends == nil {
		*ends = map[string]route{}
	}
	(*ends)[p.method] = route{transit: t, pattern: p}
}

// overlap finds a route that some path shares with the pattern, among those
// that conflict accepts.
func (r *routes) overlap(p *pattern, segments []segment, conflict func(route) bool) (route, bool) {
	if r == nil {
		return route{}, false
	}
	hit := func(ends map[string]route) (route, bool) {
		found, ok := ends[p.method]
		return found, ok && conflict(found)
	}
	if len(segments) == 0 {
		if !p.rest {
			return hit(r.here)
		}
		return r.below(hit)
	}
	if found, ok := hit(r.rest); ok { // it takes one or more segments, and one at least is to come
		return found, true
	}
	if found, ok := r.param.overlap(p, segments[1:], conflict); ok {
		return found, true
	}
	if segments[0].param == "" {
		return r.literal[segments[0].literal].overlap(p, segments[1:], conflict)
	}
	for _, name := range sortedKeys(r.literal) {
		if found, ok := r.literal[name].overlap(p, segments[1:], conflict); ok {
			return found, true
		}
	}
	return route{}, false
}

// below finds a route that takes at least one segment more than has led here.
func (r *routes) below(hit func(map[string]route) (route, bool)) (route, bool) {
	if found, ok := hit(r.rest); ok {
		return found, true
	}
	next := make([]*routes, 0, len(r.literal)+1)
	for _, name := range sortedKeys(r.literal) {
		next = append(next, r.literal[name])
	}
	if r.param != nil {
		next = append(next, r.param)
	}
	for _, n := range next {
		if found, ok := hit(n.here); ok {
			return found, true
		}
		if found, ok := n.below(hit); ok {
			return found, true
		}
	}
	return route{}, false
}

// find matches a path's segments, the most specific first. seen reports that
// some pattern has the path with another method.
func (r *routes) find(method string, segments []string, seen *bool) (route, bool) {
	if len(segments) == 0 {
		found, ok := r.here[method]
		*seen = *seen || len(r.here) > 0
		return found, ok
	}
	if next := r.literal[segments[0]]; next != nil {
		if found, ok := next.find(method, segments[1:], seen); ok {
			return found, true
		}
	}
	if r.param != nil {
		if found, ok := r.param.find(method, segments[1:], seen); ok {
			return found, true
		}
	}
	found, ok := r.rest[method]
	*seen = *seen || len(r.rest) > 0
	return found, ok
}

// splitPath cuts a path as it stands in a request line (percent-encoded,
// without query) into decoded segments, of which "/" has none. ok is false for
// every path that another program might read as another one.
func splitPath(dst []string, path string) (segments []string, ok bool) {
	if len(path) == 0 || path[0] != '/' {
		return nil, false
	}
	if path == "/" {
		return dst, true
	}
	for rest, more := path[1:], true; more; {
		var s string
		s, rest, more = strings.Cut(rest, "/")
		if len(dst) == maxSegments || s == "" {
			return nil, false
		}
		plain, ok := decodeSegment(s)
		if !ok {
			return nil, false
		}
		dst = append(dst, plain)
	}
	return dst, true
}

func decodeSegment(s string) (string, bool) {
	encoded := false
	for i := range len(s) {
		switch c := s[i]; {
		case c == '%':
			encoded = true
		case c <= ' ', c >= 0x7f, c == '\\', c == '?', c == '#':
			return "", false
		}
	}
	if encoded {
		var err error
		if s, err = url.PathUnescape(s); err != nil {
			return "", false
		}
		for i := range len(s) {
			if c := s[i]; c < ' ' || c == 0x7f || c == '/' || c == '\\' {
				return "", false
			}
		}
	}
	return s, s != "." && s != ".."
}

// Match finds the transit of a request: path is the path of its URL as it was
// sent, percent-encoded, without the query. The parameters are in the order of
// the path. The error is one of the Err… values of this package.
func (p *Plan) Match(src isogate.Source, dst isogate.Destination, method, path string) (*Transit, []Param, error) {
	if p.destinations[dst] == nil {
		return nil, nil, ErrNoDestination
	}
	r := p.routes[way{src, dst}]
	if r == nil {
		return nil, nil, ErrNoSource
	}
	var buf [16]string
	segments, ok := splitPath(buf[:0], path)
	if !ok {
		return nil, nil, ErrBadPath
	}
	var seen bool
	found, ok := r.find(method, segments, &seen)
	switch {
	case !ok && seen:
		return nil, nil, ErrNoMethod
	case !ok:
		return nil, nil, ErrNoPath
	}
	return found.transit, found.pattern.take(segments), nil
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

// AppendPath appends the path of a matched request to dst, in canonical
// percent-encoding, with what replace appends in the place of each parameter.
func AppendPath(dst []byte, path string, params []Param, replace func(dst []byte, p Param) ([]byte, error)) ([]byte, error) {
	var buf [16]string
	segments, ok := splitPath(buf[:0], path)
	if !ok {
		return dst, ErrBadPath
	}
	if len(segments) == 0 {
		return append(dst, '/'), nil
	}
	var plain []byte
	for i, s := range segments {
		dst = append(dst, '/')
		if len(params) > 0 && params[0].Segment == i {
			var err error
			if plain, err = replace(plain[:0], params[0]); err != nil {
				return dst, err
			}
			s, params = string(plain), params[1:]
			if s == "" || s == "." || s == ".." {
				return dst, ErrBadPath // a replacement must stay one segment
			}
		}
		dst = append(dst, url.PathEscape(s)...)
	}
	return dst, nil
}

// Template is the pattern's view of a matched path: each parameter as {name}, a
// catch-all as one **. It holds nothing that a caller chose.
func Template(path string, params []Param) string {
	var buf [16]string
	segments, ok := splitPath(buf[:0], path)
	if !ok {
		return ""
	}
	if len(segments) == 0 {
		return "/"
	}
	var b strings.Builder
	for i, s := range segments {
		b.WriteByte('/')
		switch {
		case len(params) == 0 || params[0].Segment != i:
			b.WriteString(s)
		case params[0].Name == catchAll:
			b.WriteString(catchAll)
			return b.String()
		default:
			b.WriteString("{" + params[0].Name + "}")
			params = params[1:]
		}
	}
	return b.String()
}
