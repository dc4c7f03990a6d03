package policy

import (
	"errors"

	"github.com/isogate/isogate"
)

// Why a request has no way out. Each is the whole answer; the caller compares with ==.
var (
	// ErrNoDestination: the plan has no destination of that name.
	ErrNoDestination = errors.New("no such destination; declare it in destinations.yaml")
	// ErrNoSource: no transit lets the source send to the destination.
	ErrNoSource = errors.New("no transit from this source to this destination; add the source to a transit")
	// ErrTunnel: the source has a tunnel to the destination, and no transit that judges requests.
	ErrTunnel = errors.New("the way to this destination is a tunnel, over which no single request is judged; connect through it with CONNECT")
	// ErrNoPath: there are transits, but none has the path.
	ErrNoPath = errors.New("no transit has this path; add it to a transit's match")
	// ErrNoMethod: a transit has the path, with other methods.
	ErrNoMethod = errors.New("no transit has this path with this method; add the method to a transit's match")
	// ErrBadPath: the path can be read in more than one way, so that no pattern may judge it.
	ErrBadPath = errors.New("the path is ambiguous: a dot segment, an empty segment, an encoded slash, a backslash, or a broken escape; send it in its plain form")
)

// Match finds the transit of a request: path is the path of its URL as it was
// sent, percent-encoded, without the query. The parameters are in the order of
// the path. The error is one of the Err… values of this package.
func (p *Plan) Match(src isogate.Source, dst isogate.Destination, method, path string) (*Transit, []Param, error) {
	if p.destinations[dst] == nil {
		return nil, nil, ErrNoDestination
	}
	r := p.routes[way{src, dst}]
	if r == nil {
		if p.tunnels[way{src, dst}] != nil {
			return nil, nil, ErrTunnel
		}
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
