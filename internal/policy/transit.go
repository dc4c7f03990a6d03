package policy

import (
	"slices"
	"strings"

	"github.com/isogate/isogate"
)

// Limits of one transit.
const (
	maxRules      = 256
	maxPatterns   = 256
	maxSources    = 256
	maxNames      = 256 // in one part beside the body
	maxResponse   = 1 << 30
	maxHeaderName = 128
)

// readTransit reads transits/*.yaml.
func (r *reader) readTransit(root *node) {
	o, ok := r.object(root, "a transit", "transit", "description", "purpose", "source", "destination", "consent", "user_action",
		"mode", "because", "owner", "until", "budget", "match", "session", "subject", "request", "response")
	if !ok {
		return
	}
	before := r.n
	t := &Transit{at: o.at, taxonomy: r.taxonomy, Response: Response{Max: DefaultResponseMax}}
	nameNode := o.need("transit", "name the transit")
	name, named := r.name(nameNode, "transit", false)
	t.Description, _ = r.optional(o, "description")
	r.readPurpose(o, t)
	r.readSources(o, t)
	r.readWhere(o, t)
	r.readConsent(o, t)
	r.checkWay(o, t)
	known := r.readMode(o, t)
	r.readBudget(o, t)
	r.readTunnel(o, t)
	read := o
	if t.Mode == Tunnel {
		read = object{} // readTunnel has noted what it must not have
	} else {
		r.readMatch(o, t, known)
	}
	r.readSession(read, t)
	r.readRequest(read, t)
	r.readResponse(read, t)
	r.readUserAction(o, t)
	t.prepare()
	t.incomplete = r.n > before || !r.known("taxonomy") || t.contract != nil && t.contract.tree == nil
	r.readSubject(read, t)
	t.incomplete = t.incomplete || r.n > before
	if !named {
		return
	}
	t.Name, t.at = isogate.Transit(name), nameNode.at
	if first := r.transits[t.Name]; first != nil {
		r.add(t.at, "the transit %q is there twice, first in %s; give one another name", name, first.at)
		return
	}
	r.transits[t.Name] = t
}

func (r *reader) readPurpose(o object, t *Transit) {
	n := o.need("purpose", "say why data leaves: "+strings.Join(purposeWords(), ", "))
	s, ok := r.text(n, "purpose")
	if !ok {
		return
	}
	var err error
	if t.Purpose, err = isogate.ParsePurpose(s); err != nil {
		r.add(n.at, "unknown purpose %q; %s", s, didYouMean(s, purposeWords()))
	}
}

func purposeWords() []string {
	var words []string
	for p := isogate.Support; p <= isogate.App; p++ {
		words = append(words, p.String())
	}
	return words
}

func (r *reader) readSources(o object, t *Transit) {
	items := r.items(o.need("source", "list the workloads that may send: source: [product/help-center]"), "source")
	if len(items) > maxSources {
		r.add(items[maxSources].at, "the transit has more than %d sources; split it", maxSources)
		return
	}
	for _, n := range items {
		s, ok := r.name(n, "source", true)
		if !ok {
			continue
		}
		if slices.Contains(t.Sources, isogate.Source(s)) {
			r.add(n.at, "the source %q is there twice; keep one", s)
			continue
		}
		t.Sources = append(t.Sources, isogate.Source(s))
	}
}

func (r *reader) readWhere(o object, t *Transit) {
	n := o.need("destination", "name one of destinations.yaml")
	if s, ok := r.text(n, "destination"); ok {
		t.Destination = r.destination(n, s)
	}
}

// destination finds one that is declared.
func (r *reader) destination(n *node, name string) *Destination {
	d := r.destinations[isogate.Destination(name)]
	if d == nil && r.known("destinations") {
		r.add(n.at, "unknown destination %q; %s Otherwise declare it in destinations.yaml", name, sentence(didYouMean(name, sortedKeys(r.destinations))))
	}
	return d
}

func sentence(s string) string {
	if strings.HasSuffix(s, "?") {
		return s
	}
	return s + "."
}

func (r *reader) readConsent(o object, t *Transit) {
	n := o.need("consent", "say what the customer does first: none, user-action or admin")
	s, ok := r.text(n, "consent")
	if !ok {
		return
	}
	i := slices.Index(consentWords[:], s)
	if i < 0 {
		r.add(n.at, "unknown consent %q; %s", s, didYouMean(s, consentWords[:]))
		return
	}
	t.Consent = Consent(i) //nolint:gosec // there are three words
}

// appPrefix begins the name of every source that is an app.
const appPrefix = "app/"

// checkWay keeps two kinds of ways apart: apps go to remotes, for their own
// purpose and with an administrator's consent, and our workloads to services of ours.
//
// promise: P12
func (r *reader) checkWay(o object, t *Transit) {
	if t.Destination == nil {
		return
	}
	name := t.Destination.Name
	sources := o.get("source")
	switch t.Destination.kind {
	case toRemote:
		if t.Purpose != isogate.NoPurpose && t.Purpose != isogate.App {
			r.add(o.place("purpose"), "the purpose is %s, but %s is the remote of an app; write purpose: app, or send to a service of ours", t.Purpose, name)
		}
		r.eachSource(sources, func(n *node) {
			if !strings.HasPrefix(n.text, appPrefix) {
				r.add(n.at, "the source %q is no app, but %s is the remote of an app; list sources that begin with %s, or send to a service of ours", n.text, name, appPrefix)
			}
		})
		if t.Consent != AdminConsent {
			r.add(o.place("consent"), "consent is %s, but %s is the remote of an app: without an administrator's consent no app sends anything out; write consent: admin", t.Consent, name)
		}
	case toOurs:
		if t.Purpose == isogate.App {
			r.add(o.place("purpose"), "the purpose app is for remotes of apps, but %s is a service of ours; name the purpose of the service, or declare the app's host with remote: in destinations.yaml", name)
		}
		r.eachSource(sources, func(n *node) {
			if strings.HasPrefix(n.text, appPrefix) {
				r.add(n.at, "the source %q is an app, but %s is a service of ours; apps send to remotes only: declare the host with remote: in destinations.yaml", n.text, name)
			}
		})
		for _, key := range []string{"mode", "budget"} {
			if o.has(key) {
				r.add(o.place(key), "%s is for remotes of apps, but %s is a service of ours; remove it", key, name)
			}
		}
	case toUnknown:
	}
}

// eachSource goes through the sources that are names, all mistakes of which are
// noted elsewhere.
func (r *reader) eachSource(n *node, do func(*node)) {
	if n == nil || n.shape != list || len(n.items) > maxSources {
		return
	}
	for _, item := range n.items {
		if item.shape == scalar && isogate.CheckName(item.text, true) == nil {
			do(item)
		}
	}
}

// readMatch reads the patterns; needed says that there must be some.
func (r *reader) readMatch(o object, t *Transit, needed bool) {
	n := o.get("match")
	if needed {
		n = o.need("match", "list methods with paths: match: [POST /v1/tickets]")
	}
	items := r.items(n, "match")
	if len(items) > maxPatterns {
		r.add(items[maxPatterns].at, "the transit matches more than %d patterns; split it", maxPatterns)
		return
	}
	for _, n := range items {
		if _, ok := r.text(n, "a pattern"); !ok {
			continue
		}
		p, err := parsePattern(n)
		if err != nil {
			r.add(n.inside(err.offset), "%v", err.err)
			continue
		}
		t.patterns = append(t.patterns, &p)
	}
}

func (r *reader) readSession(o object, t *Transit) {
	n := o.get("session")
	s, ok := r.text(n, "session")
	if !ok || s == "request" {
		return
	}
	name, isHeader := strings.CutPrefix(s, "header ")
	switch {
	case !isHeader:
		r.add(n.at, "session is %q; write request, or header and the name of the header that carries the session", s)
	case !headerName(name):
		r.add(n.inside(len("header ")), "%q is not the name of a header; use letters, digits and -", name)
	default:
		t.SessionHeader = name
	}
}

func (r *reader) readRequest(o object, t *Transit) {
	n := o.get("request")
	var req object
	if n != nil {
		var ok bool
		if req, ok = r.object(n, "request", "contract", "release", "query", "path", "headers", "cookies", "trailers"); !ok {
			r.unknowable("contracts")
		}
	}
	r.readUse(req, t)
	for i, key := range partNames {
		r.readNames(req.get(key), i, t)
	}
	release := req.get("release")
	if release == nil {
		return
	}
	items := r.items(release, "release")
	if len(items) > maxRules {
		r.add(items[maxRules].at, "the transit has more than %d rules; split it", maxRules)
		return
	}
	for _, item := range items {
		if out, ok := r.readRule(item, t); ok {
			t.rules = append(t.rules, out)
		}
	}
}

// readUse reads which contract the body has.
func (r *reader) readUse(req object, t *Transit) {
	n := req.get("contract")
	s, ok := r.text(n, "contract")
	if !ok {
		return
	}
	c := r.contracts[s]
	if c == nil {
		if r.known("contracts") {
			r.add(n.at, "unknown contract %q; %s Otherwise write it under contracts/", s, sentence(didYouMean(s, sortedKeys(r.contracts))))
		}
		return
	}
	c.used = true
	t.contract, t.Format = c, c.format
	bodyless := len(t.patterns) > 0 && !slices.ContainsFunc(t.patterns, func(p *pattern) bool {
		return p.method != "GET" && p.method != "HEAD"
	})
	if bodyless {
		r.add(n.at, "the transit has a contract, but matches GET and HEAD only, which carry no body; remove the contract")
	}
}

func (r *reader) readResponse(o object, t *Transit) {
	n := o.get("response")
	if n == nil {
		return
	}
	res, ok := r.object(n, "response", "restore", "max")
	if !ok {
		return
	}
	t.Response.Restore = r.boolean(res.get("restore"), "restore")
	if m := res.get("max"); m != nil {
		t.Response.Max = r.size(m, "max", maxResponse)
	}
}

// readGuard compiles a rule's condition; the answer is its index in the
// transit's guards.
func (r *reader) readGuard(n *node, t *Transit) int {
	text, ok := r.text(n, "when")
	if !ok {
		return noGuard
	}
	if i := slices.IndexFunc(t.guards, func(g *guard) bool { return g.text == text }); i >= 0 {
		return i
	}
	if len(t.guards) == maxGuards {
		r.add(n.at, "the transit has more than %d different guards; split it", maxGuards)
		return noGuard
	}
	g, bad := compileGuard(text, t.headers)
	if bad != nil {
		r.add(n.inside(bad.offset), "%v", bad.err)
		return noGuard
	}
	t.guards = append(t.guards, g)
	return len(t.guards) - 1
}
