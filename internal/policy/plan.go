package policy

import (
	"net/url"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/payload"
	"github.com/isogate/isogate/internal/taxonomy"
)

// Plan is a pack compiled into what the gateway judges by. It is immutable and
// serves any number of requests at once; to change the policy, load another.
type Plan struct {
	Name    string
	Version int
	Digest  string // "sha256:…" over the pack's files; see [Load]
	// Description is what the pack says of itself; "" if nothing.
	Description string

	taxonomy     *taxonomy.Taxonomy
	destinations map[isogate.Destination]*Destination
	transits     []*Transit // sorted by name
	routes       map[way]*routes
	tunnels      map[way]*Transit
	remotes      map[isogate.Source]*remotes
	invariants   []Invariant
}

// way is one source's way to one destination.
type way struct {
	source      isogate.Source
	destination isogate.Destination
}

// Destination is a named outside service of ours, or the remote of an app. One of
// URL and Remote is set.
type Destination struct {
	Name isogate.Destination
	// URL is where a service of ours is: https, a host name, no user, query or
	// fragment. The path of a request is appended to its path, which has no final
	// slash. It is nil for an app's remote.
	URL *url.URL
	// Remote is where an app's remote is; nil for a service of ours. A remote is
	// reached by apps only, and a service of ours by no app.
	Remote *RemoteHost
	// LandingKey is the public key of the destination's landing as the pack states
	// it; "" without a landing.
	LandingKey string
	// Landing verifies what the landing signs; nil without a landing.
	Landing note.Verifier

	at      position
	kind    destinationKind
	landing bool // it has one, even where its key is mistaken
}

// destinationKind is what a destination is as far as its keys say, even where
// their values are mistaken. The zero value is not known.
type destinationKind uint8

const (
	toUnknown destinationKind = iota
	toOurs
	toRemote
)

// Consent is the act of the customer that a transit waits for.
type Consent uint8

const (
	// AdminConsent: an administrator has granted the transit.
	AdminConsent Consent = iota
	// UserConsent: the request is itself the user's own action.
	UserConsent
	// NoConsent: the transit is part of running the product.
	NoConsent
)

var consentWords = [...]string{"admin", "user-action", "none"}

func (c Consent) String() string { return consentWords[c] }

// Response says what may come back over a transit.
type Response struct {
	Restore bool  // tokens of this tenant and destination are turned back into the originals
	Max     int64 // bytes of the largest response body
}

// DefaultResponseMax is the largest response where a transit does not say.
const DefaultResponseMax = 4 << 20

// Transit is one allowed way out.
type Transit struct {
	Name        isogate.Transit
	Description string // what the pack says it is for; "" if nothing
	Purpose     isogate.Purpose
	Sources     []isogate.Source
	Destination *Destination
	Consent     Consent
	// UserAction is where requests tell of the user's act; nil unless Consent is
	// [UserConsent].
	UserAction *UserAction
	// Mode is how the traffic passes; [Inspect] towards services of ours.
	Mode Mode
	// Budget bounds what leaves to an app's remote.
	Budget Budget
	// SessionHeader names the header whose value is the session that transit-only
	// data lives in; "" when the request itself is the session.
	SessionHeader string
	// Subject is the label whose value in a request names the person or account
	// that the request's identifiers belong to; "" when each stands for itself.
	Subject  isogate.Label
	Response Response
	// Format is that of the request's body; nil when the transit has no contract, so
	// that a request with a body is refused.
	Format payload.Format

	at         position
	incomplete bool // something of it could not be read, so that its labels are not all known
	patterns   []*pattern
	contract   *contract // nil without one
	rules      []rule
	tunnel     *rule // what a tunnel amounts to; nil for a transit that inspects
	parts      [len(partNames)]part
	headers    []string // those named, in lower case, sorted: what guards may read
	guards     []*guard
	taxonomy   *taxonomy.Taxonomy

	// Decide's tables, one for each combination of a stretch of time without an
	// end date inside and of guards. Each is made when first asked for.
	ends   []time.Time // the instants at which rules end, sorted
	tables []atomic.Pointer[Rules]
	// narrowed is what Narrow has made of them, the newest first.
	narrowed atomic.Pointer[[]narrowed]
}

// The parts of a request beside its body whose values a transit labels by name.
const (
	partQuery = iota
	partPath
	partHeaders
	partCookies
	partTrailers
)

var partNames = [...]string{"query", "path", "headers", "cookies", "trailers"}

// payloadParts are the parts' names as payload counts them.
var payloadParts = [...]string{"query", "path", "header", "cookie", "trailer"}

// part is the names of one part with their labels.
type part struct {
	labels map[string]isogate.Label
	at     map[string]position
	names  *payload.Names
}

// Rules is what one request is judged by: a verdict for every set of labels that
// the transit's contract and names lead to. It is immutable and shared.
type Rules struct {
	Body                                    payload.Rules // of no use when the transit's Format is nil
	Query, Path, Headers, Cookies, Trailers payload.NameRules

	// What values of the body and the trailers may ask of the destination's landing,
	// which has to be known before the head of a streamed request leaves. Both are
	// empty without a landing.

	Seals     []Lifetime // those for which a value may be sealed, sorted
	Registers bool       // a value may have to be registered
}

// Envelope is what guards see of a request, and its time.
type Envelope struct {
	Method string
	Source isogate.Source
	Time   time.Time // the zero time is past every end date
	// Header is the value of a header, named in lower case; "" when it is absent.
	// It may be nil.
	Header func(name string) string
}

// Decide is the verdicts for one request. The same transit, instant and guards
// always give the same pointer.
//
// Between end dates and without guards it is a look-up that allocates nothing.
// Guards are evaluated once per call.
//
// promise: P10
func (t *Transit) Decide(env Envelope) *Rules {
	var guards uint32
	if len(t.guards) > 0 {
		guards = t.holding(env)
	}
	return t.table(t.stretch(env.Time), guards)
}

// holding evaluates the guards into the bits of a moment.
func (t *Transit) holding(env Envelope) (bits uint32) {
	for i, g := range t.guards {
		if g.holds(&env, t.headers) {
			bits |= 1 << i
		}
	}
	return bits
}

// stretch numbers the stretch of time that an instant falls into: how many end
// dates are past.
func (t *Transit) stretch(at time.Time) int {
	if at.IsZero() {
		return len(t.ends)
	}
	i := 0
	for i < len(t.ends) && !at.Before(t.ends[i]) {
		i++
	}
	return i
}

// moment is an instant inside a stretch, which stands for all of it.
func (t *Transit) moment(stretch int, guards uint32) moment {
	switch {
	case len(t.ends) == 0:
		return moment{guards: guards}
	case stretch == 0:
		return moment{time: t.ends[0].Add(-1), guards: guards}
	}
	return moment{time: t.ends[stretch-1], guards: guards}
}

// table is the verdicts of one stretch and one combination of guards.
func (t *Transit) table(stretch int, guards uint32) *Rules {
	slot := &t.tables[stretch<<len(t.guards)|int(guards)]
	if r := slot.Load(); r != nil {
		return r
	}
	r := t.resolve(t.moment(stretch, guards))
	slot.CompareAndSwap(nil, r) // unless another request was faster
	return slot.Load()
}

// resolve works out every verdict of the transit at a moment.
func (t *Transit) resolve(m moment) *Rules {
	known := make(map[isogate.Label]isogate.Verdict)
	verdicts := func(sets [][]isogate.Label) []isogate.Verdict {
		out := make([]isogate.Verdict, len(sets))
		var labels []isogate.Verdict // those of one set
		for i, set := range sets {
			labels = labels[:0]
			for _, l := range set {
				v, ok := known[l]
				if !ok {
					v = judge(t.taxonomy.Treatment(l), t.rules, m)
					known[l] = v
				}
				labels = append(labels, v)
			}
			out[i] = t.settle(labels)
		}
		return out
	}
	r := &Rules{}
	if t.contract != nil {
		r.Body = payload.Rules{Tree: t.contract.tree, Verdicts: verdicts(t.contract.tree.Sets())}
	}
	for i, nr := range []*payload.NameRules{&r.Query, &r.Path, &r.Headers, &r.Cookies, &r.Trailers} {
		*nr = payload.NameRules{Names: t.parts[i].names, Verdicts: verdicts(t.parts[i].names.Sets())}
	}
	r.sum()
	return r
}

// prepare makes room for the tables, once the rules are known.
func (t *Transit) prepare() {
	for i := range t.rules {
		if end := t.rules[i].end; !end.IsZero() {
			t.ends = append(t.ends, end)
		}
	}
	slices.SortFunc(t.ends, time.Time.Compare)
	t.ends = slices.CompactFunc(t.ends, time.Time.Equal)
	t.tables = make([]atomic.Pointer[Rules], (len(t.ends)+1)<<len(t.guards))
}

// Labels is every label that a value on the way to a destination may carry,
// sorted, unclassified among them.
func (p *Plan) Labels(dst isogate.Destination) []isogate.Label {
	all := []isogate.Label{isogate.Unclassified}
	for _, t := range p.transits {
		if t.Destination.Name == dst {
			all = append(all, t.labels()...)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// labels is every label that the transit's fields carry, sorted.
func (t *Transit) labels() []isogate.Label {
	var all []isogate.Label
	if t.contract != nil {
		all = append(all, t.contract.labels...)
	}
	for i := range t.parts {
		for _, l := range t.parts[i].labels {
			all = append(all, l)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Destinations are the plan's destinations, sorted by name.
func (p *Plan) Destinations() []*Destination {
	out := make([]*Destination, 0, len(p.destinations))
	for _, name := range sortedKeys(p.destinations) {
		out = append(out, p.destinations[name])
	}
	return out
}

// Transits are the plan's transits, sorted by name.
func (p *Plan) Transits() []*Transit { return slices.Clone(p.transits) }

// Transit is the transit of a name.
func (p *Plan) Transit(name isogate.Transit) (*Transit, bool) {
	for _, t := range p.transits {
		if t.Name == name {
			return t, true
		}
	}
	return nil, false
}
