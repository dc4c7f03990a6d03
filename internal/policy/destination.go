package policy

import (
	"net/netip"
	"net/url"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/isogate/isogate"
)

// readDestinations reads destinations.yaml.
func (r *reader) readDestinations(root *node, present bool) {
	if !present {
		r.add(position{file: "destinations.yaml", line: 1, column: 1}, "the file is missing; list the outside services: destinations: [{name: support, url: https://support.example}]")
		return
	}
	o, ok := r.object(root, "destinations.yaml", "destinations")
	if !ok {
		r.unknowable("destinations")
		return
	}
	for _, n := range r.items(o.need("destinations", "list the outside services"), "destinations") {
		r.readDestination(n)
	}
}

func (r *reader) readDestination(n *node) {
	o, ok := r.object(n, "a destination", "name", "url", "remote", "landing", "description")
	if !ok {
		r.unknowable("destinations")
		return
	}
	d := &Destination{at: n.at}
	nameNode := o.need("name", "name the destination")
	name, named := r.name(nameNode, "name", false)
	r.optional(o, "description")
	r.readPlace(o, d)
	if l := o.get("landing"); l != nil {
		if d.kind == toRemote {
			r.add(l.at, "an app's remote has no landing of ours; remove it")
		}
		d.landing = d.kind != toRemote
		r.readLanding(l, d)
	}
	if !named {
		r.unknowable("destinations")
		return
	}
	d.Name = isogate.Destination(name)
	if first := r.destinations[d.Name]; first != nil {
		r.add(nameNode.at, "the destination %q is there twice, first in line %d; keep one", name, first.at.line)
		return
	}
	r.destinations[d.Name] = d
}

// readLanding reads the key that the landing signs with: a verifier key of a
// signed note (C2SP signed-note), which is name, hash and key.
//
// promise: P41
func (r *reader) readLanding(n *node, d *Destination) {
	o, ok := r.object(n, "landing", "public_key")
	if !ok {
		return
	}
	key := o.need("public_key", "give the public key that the landing prints at its start")
	s, ok := r.text(key, "public_key")
	if !ok {
		return
	}
	v, err := note.NewVerifier(s)
	if err != nil {
		r.add(key.at, "public_key is not the verifier key of a signed note (%v); copy the line that the landing prints at its start, which is NAME+HASH+KEY, whole", err)
		return
	}
	d.LandingKey, d.Landing = s, v
}

// readPlace reads where a destination is: one of ours has a url, an app's a remote.
func (r *reader) readPlace(o object, d *Destination) {
	u, rem := o.get("url"), o.get("remote")
	switch {
	case o.has("url") && o.has("remote"):
		r.add(o.at, "the destination has url and remote; keep url for a service of ours, remote for the host of an app")
	case o.has("remote"):
		d.kind = toRemote
		if rem != nil {
			d.Remote = r.readRemote(rem)
		}
	case o.has("url"):
		d.kind = toOurs
		if u != nil {
			d.URL = r.readURL(u)
		}
	default:
		r.add(o.at, "url is missing; say where it is: url: https://support.example, or for an app's host, remote: api.example.com")
	}
}

// readURL reads where a destination is. Only https and host names are: an
// address has no name that a certificate could vouch for.
//
// promise: P04
func (r *reader) readURL(n *node) *url.URL {
	s, ok := r.text(n, "url")
	if !ok {
		return nil
	}
	u, err := url.Parse(s)
	if err != nil {
		r.add(n.at, "the url cannot be read; write https://host.example or https://host.example/path")
		return nil
	}
	host := u.Hostname()
	bad := func(format string, args ...any) { r.add(n.at, format, args...) }
	switch {
	case u.User != nil:
		bad("the url has a user or password in it; remove it, and let the product send credentials in a header that the transit names")
	case u.Scheme != "https":
		bad("the url %q is not https; write https://host.example", s)
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.Contains(s, "#"):
		bad("the url %q has a query or fragment; remove it", s)
	case addressLike(host):
		bad("the url %q names an address, for which no certificate vouches; write a host name", s)
	case !hostName(host):
		bad("the url %q has no plain host name; write it in lower case, in ASCII, without a final dot: https://host.example", s)
	case u.Port() == "" && strings.HasSuffix(u.Host, ":") || u.Port() == "0" || strings.HasPrefix(u.Port(), "0") || len(u.Port()) > 5 || len(u.Port()) == 5 && u.Port() > "65535":
		bad("the url %q has no plain port; write 1 to 65535, or none for 443", s)
	default:
		path := strings.TrimSuffix(u.EscapedPath(), "/")
		if _, ok := splitPath(nil, path); path != "" && !ok {
			bad("the url %q has an ambiguous path; write it without dot segments, empty segments and encoded slashes", s)
			return nil
		}
		u.Path, u.RawPath = strings.TrimSuffix(u.Path, "/"), ""
		return u
	}
	return nil
}

// addressLike reports whether some program could read a host as an IP address:
// in plain, bracketed, decimal, octal or hexadecimal spelling.
func addressLike(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil || strings.Contains(host, ":") {
		return true
	}
	last := host[strings.LastIndexByte(host, '.')+1:]
	return last != "" && last[0] >= '0' && last[0] <= '9' // a top-level domain never begins with a digit
}

// hostName reports whether a host is a name of DNS in its plain spelling.
func hostName(host string) bool {
	if host == "" || len(host) > 253 {
		return false
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			if c := label[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
				return false
			}
		}
	}
	return true
}
