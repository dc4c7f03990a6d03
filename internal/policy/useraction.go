package policy

import (
	"slices"
	"strings"
	"time"
)

// UserAction is what a transit with the consent user-action takes for the user's
// own act: a statement of one user about one thing, made within a short time
// before the request.
type UserAction struct {
	User    Place         // where the request says whose act it is
	Subject Place         // where it says what the act was about, such as the number of a ticket
	TTL     time.Duration // how long after the act a request may follow
	Once    bool          // one act lets one request out
}

// Place is where in a request a word stands: one of the two is set.
type Place struct {
	Header string // the name of a header, as the pack spells it
	Path   string // the name of a path parameter
}

func (p Place) String() string {
	if p.Path != "" {
		return "path " + p.Path
	}
	return "header " + p.Header
}

// The parts of a [UserAction] that a pack does not state.
const (
	DefaultUserHeader    = "Isogate-User"
	DefaultSubjectHeader = "Isogate-Subject"
	DefaultActionTTL     = 5 * time.Minute
	maxActionTTL         = time.Hour
)

// readUserAction reads where the user's act is told of. A header that is named
// here is not released by it: Isogate- headers never leave, and any other
// follows its label, without one of which it is removed.
//
// promise: P11
func (r *reader) readUserAction(o object, t *Transit) {
	if t.Consent == UserConsent {
		t.UserAction = &UserAction{
			User: Place{Header: DefaultUserHeader}, Subject: Place{Header: DefaultSubjectHeader}, TTL: DefaultActionTTL, Once: true,
		}
	}
	n := o.get("user_action")
	if n == nil {
		return
	}
	if t.Consent != UserConsent {
		if r.consentKnown(o) {
			r.add(o.place("user_action"), "user_action belongs to consent: user-action, but consent is %s; remove it, or change the consent", t.Consent)
		}
		return
	}
	u, ok := r.object(n, "user_action", "user", "subject", "ttl", "once")
	if !ok {
		return
	}
	a := t.UserAction
	r.readPlaceOf(u, "user", t, &a.User)
	r.readPlaceOf(u, "subject", t, &a.Subject)
	if strings.EqualFold(a.User.Header, a.Subject.Header) && a.User.Path == a.Subject.Path {
		r.add(u.place("subject"), "user and subject are both the %s; name where the request says what the act was about", a.User)
	}
	if l := u.get("ttl"); l != nil {
		a.TTL = r.span(l, "ttl", maxActionTTL)
	}
	if l := u.get("once"); l != nil {
		a.Once = r.boolean(l, "once")
	}
}

// consentKnown reports whether the transit's consent was read.
func (r *reader) consentKnown(o object) bool {
	n := o.get("consent")
	return n != nil && slices.Contains(consentWords[:], n.text)
}

// readPlaceOf reads header NAME or path NAME.
func (r *reader) readPlaceOf(o object, key string, t *Transit, out *Place) {
	n := o.get(key)
	s, ok := r.text(n, key)
	if !ok {
		return
	}
	kind, name, _ := strings.Cut(s, " ")
	switch {
	case kind == "path":
		missing := slices.IndexFunc(t.patterns, func(p *pattern) bool { return name == catchAll || !slices.Contains(p.params(), name) })
		switch {
		case !parameterName(name):
			r.add(n.inside(len("path ")), "%q is not the name of a path parameter; write path accountId for {accountId}", name)
		case missing >= 0:
			r.add(n.inside(len("path ")), "the pattern %q has no parameter {%s}; add it there, so that every request says its %s", t.patterns[missing].text, name, key)
		}
		*out = Place{Path: name}
	case kind != "header":
		r.add(n.at, "%s is %q; write header and the name of a header, or path and the name of a path parameter", key, s)
	case !headerName(name):
		r.add(n.inside(len("header ")), "%q is not the name of a header; use letters, digits and -", name)
	default:
		lower := strings.ToLower(name)
		if lower == "authorization" {
			r.add(n.inside(len("header ")), "the header %s carries a credential, which must not be written down as a name; name another", name)
		} else if why := unnameable(lower, partHeaders); why != "" && !strings.HasPrefix(lower, "isogate-") {
			r.add(n.inside(len("header ")), "the header %s cannot be named: %s", name, strings.Replace(why, "remove it", "name another", 1))
		}
		*out = Place{Header: name}
	}
}
