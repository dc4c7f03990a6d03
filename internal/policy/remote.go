package policy

import (
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/remote"
)

// RemoteHost is where a destination of apps is: a host that an app declared, or
// all that are below a domain. It is comparable. The zero value is nowhere.
type RemoteHost struct {
	// Host is canonical ASCII ([remote.CanonicalHost]), or "*." before such a name:
	// every subdomain at any depth, not the name itself.
	Host string
	Port uint16
}

// Wildcard reports whether it stands for more than one host.
func (h RemoteHost) Wildcard() bool { return strings.HasPrefix(h.Host, "*.") }

// String is host:port, with the port even where it is 443.
func (h RemoteHost) String() string { return h.Host + ":" + strconv.Itoa(int(h.Port)) }

// within reports whether every host that h stands for is one that o stands for.
func (h RemoteHost) within(o RemoteHost) bool {
	return h == o || h.Port == o.Port && o.Wildcard() && strings.HasSuffix(h.Host, o.Host[1:])
}

// defaultPort is that of https.
const defaultPort = 443

// parseRemote reads HOST, HOST:PORT or a wildcard. Policy is code and is read by
// people, so only the one spelling of a host is taken; the error says it.
func parseRemote(s string) (RemoteHost, error) {
	host, port, hasPort := strings.Cut(s, ":")
	switch {
	case strings.ContainsAny(s, "/?#"):
		return RemoteHost{}, errors.New("is more than a host; write the host alone, as api.example.com or api.example.com:8443")
	case host == "*":
		return RemoteHost{}, errors.New("is every host there is, to which nobody can consent; name the hosts, or a domain as \"*.example.com\"")
	case strings.Contains(port, ":"), strings.HasPrefix(s, "["):
		return RemoteHost{}, errAddress
	}
	h := RemoteHost{Port: defaultPort}
	if hasPort {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 || strconv.FormatUint(n, 10) != port {
			return RemoteHost{}, errors.New("has no plain port; write 1 to 65535, or none for 443")
		}
		h.Port = uint16(n)
	}
	name, wildcard := strings.CutPrefix(host, "*.")
	if strings.Contains(name, "*") {
		return RemoteHost{}, errors.New("has a * that is not its whole first label; write \"*.example.com\", which is every subdomain at any depth")
	}
	canonical, err := remote.CanonicalHost(name)
	if err != nil {
		return RemoteHost{}, errors.New("is not understood: " + withHint(err.Error(), "write it as api.example.com"))
	}
	if _, err := netip.ParseAddr(canonical); err == nil {
		return RemoteHost{}, errAddress
	}
	switch {
	case canonical != name:
		return RemoteHost{}, errors.New("is not the host's one spelling; write " + canonical)
	case !strings.Contains(canonical, "."):
		return RemoteHost{}, errors.New("has one label only, so that it is no host of an app or a whole top-level domain; write it as api.example.com")
	}
	if h.Host = canonical; wildcard {
		h.Host = "*." + canonical
	}
	return h, nil
}

var errAddress = errors.New("is an address, for which no certificate vouches and to which nobody can consent; write a host name")

// readRemote reads where an app's remote is.
func (r *reader) readRemote(n *node) *RemoteHost {
	s, ok := r.text(n, "remote")
	if !ok {
		return nil
	}
	h, err := parseRemote(s)
	if err != nil {
		r.add(n.at, "the remote %q %v", s, err)
		return nil
	}
	return &h
}

// remotes is the remotes that one source has transits to.
type remotes struct {
	exact map[RemoteHost]*Destination
	below map[RemoteHost]*Destination // wildcards, by their host without the *: ".example.com"
}

// find is the most specific remote for a host, nil for none.
func (m *remotes) find(host string, port uint16) *Destination {
	if m == nil || strings.Contains(host, "*") {
		return nil
	}
	if d := m.exact[RemoteHost{host, port}]; d != nil {
		return d
	}
	for {
		i := strings.IndexByte(host, '.')
		if i < 1 {
			return nil
		}
		if d := m.below[RemoteHost{host[i:], port}]; d != nil {
			return d
		}
		host = host[i+1:]
	}
}

// Remote finds the destination of apps that a connection of src to host and port
// goes to: among those that src has a transit to the most specific, an exact host
// before a wildcard, a longer domain before a shorter one. host is canonical
// ([remote.CanonicalHost]). It allocates nothing.
//
// promise: P12
func (p *Plan) Remote(src isogate.Source, host string, port uint16) (*Destination, bool) {
	d := p.remotes[src].find(host, port)
	return d, d != nil
}

// reach gathers the remotes of every source, and notes a source for which one
// host is two destinations: which one judges must never be a question.
func (r *reader) reach(transits []*Transit) map[isogate.Source]*remotes {
	all := map[isogate.Source]*remotes{}
	for _, t := range transits {
		if t.Destination == nil || t.Destination.Remote == nil {
			continue
		}
		h := *t.Destination.Remote
		for _, s := range t.Sources {
			m := all[s]
			if m == nil {
				m = &remotes{exact: map[RemoteHost]*Destination{}, below: map[RemoteHost]*Destination{}}
				all[s] = m
			}
			to, key := m.exact, h
			if h.Wildcard() {
				to, key = m.below, RemoteHost{h.Host[1:], h.Port}
			}
			if other := to[key]; other != nil && other != t.Destination {
				r.add(t.at, "the source %s reaches %s as the destination %s already (%s), and %s would be a second name for it; use the same destination",
					s, h, other.Name, other.at, t.Destination.Name)
				continue
			}
			to[key] = t.Destination
		}
	}
	return all
}

// checkRestore notes apps that share a destination over which tokens come back:
// with the far side's help, what one app sent as a token would reach another as
// the original.
//
// promise: P37
func (r *reader) checkRestore(transits []*Transit) {
	senders := map[*Destination][]isogate.Source{}
	for _, t := range transits {
		if t.Destination != nil && t.Destination.Remote != nil {
			senders[t.Destination] = append(senders[t.Destination], t.Sources...)
		}
	}
	for _, t := range transits {
		all := senders[t.Destination]
		if t.Destination == nil || !t.Response.Restore || len(all) == 0 {
			continue
		}
		slices.Sort(all)
		if all = slices.Compact(all); len(all) > 1 {
			r.add(t.at, "restore would hand %s what %s sent to %s as a token, for both use that destination; give each app a destination of its own for the host, or remove restore",
				all[1], all[0], t.Destination.Name)
		}
	}
}

// reaches reports whether a transit's requests can arrive at a host of dst: the
// destination itself, or another that stands for some of the same hosts, unless
// each of the transit's sources has a more specific way there.
func (r *reader) reaches(t *Transit, dst isogate.Destination) bool {
	if t.Destination == nil {
		return false
	}
	if t.Destination.Name == dst {
		return true
	}
	to := r.destinations[dst]
	if to == nil || to.Remote == nil || t.Destination.Remote == nil {
		return false
	}
	if t.Destination.Remote.within(*to.Remote) {
		return true
	}
	return to.Remote.within(*t.Destination.Remote) && slices.ContainsFunc(t.Sources, func(s isogate.Source) bool {
		return !slices.ContainsFunc(r.all, func(o *Transit) bool {
			return o.Destination != nil && o.Destination.Remote != nil && slices.Contains(o.Sources, s) &&
				to.Remote.within(*o.Destination.Remote) && *o.Destination.Remote != *t.Destination.Remote && o.Destination.Remote.within(*t.Destination.Remote)
		})
	})
}
