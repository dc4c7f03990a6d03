package policy

import (
	"strings"
	"time"

	"github.com/isogate/isogate"
)

// rule is one line under request.release: what may leave of the labels it
// selects, why, on whose word and until when.
type rule struct {
	label    isogate.LabelPattern
	as       isogate.Action
	form     isogate.Form
	handling isogate.Handling
	ttl      time.Duration
	because  string
	owner    string
	end      time.Time // the first instant at which the rule is over; zero for a rule without an end
	guard    int       // index into the transit's guards, or noGuard
	at       position  // of the rule
	until    position  // of its end date
	text     string    // the label pattern as written
}

const noGuard = -1

// moment is what rules are judged at: an instant and the guards that hold.
type moment struct {
	time   time.Time
	guards uint32 // bit i: guard i holds
}

// allGuards is the moment at which every guard holds, for the analyses of a pack.
func allGuards(at time.Time) moment { return moment{time: at, guards: ^uint32(0)} }

// inForce reports whether the rule releases anything at a moment. It is the one
// place where an end date and a guard are applied: the gateway, pack explain,
// pack test, preview and the invariants all come through here. A rule with an end is
// never in force at the zero time, so that a forgotten clock releases nothing.
//
// promise: P09
func (r *rule) inForce(m moment) bool {
	if r.overAt(m.time) {
		return false
	}
	return r.guard == noGuard || m.guards&(1<<r.guard) != 0
}

// overAt reports whether the rule's end is past, as it always is at the zero time.
func (r *rule) overAt(at time.Time) bool {
	return !r.end.IsZero() && (at.IsZero() || !at.Before(r.end))
}

// verdict is what the rule by itself says about a label.
func (r *rule) verdict(l isogate.Label) isogate.Verdict {
	return isogate.Verdict{Action: r.as, Handling: r.handling, TTL: r.ttl, Form: r.form, Label: l, Rule: r.at.rule()}
}

// judge is the verdict on one label: base, its default treatment, unless a rule
// that selects it is in force; then the strictest that any rule which selects it
// says. A rule that is over or guarded off releases nothing any more and
// still restricts, so that the passing of time never makes anything more exposing.
//
// The handling is the strictest of those rules too. The rule that is named is
// the strictest one in force: it is the one that lets the value out.
//
// promise: P03
func judge(base isogate.Verdict, rules []rule, m moment) isogate.Verdict {
	if base.Label.Reserved() {
		return atMostToken(base)
	}
	var all, active isogate.Verdict
	var handling isogate.Handling
	var ttl time.Duration
	matched, released := false, false
	for i := range rules {
		r := &rules[i]
		if !r.label.Match(base.Label) {
			continue
		}
		v := r.verdict(base.Label)
		if r.inForce(m) {
			active, released = strictest(active, v, released), true
		}
		if !matched || v.Handling < handling || v.Handling == handling && v.TTL < ttl {
			handling, ttl = v.Handling, v.TTL
		}
		all, matched = strictest(all, v, matched), true
	}
	v := all
	switch {
	case !matched:
		return base
	case released:
		v.Rule = active.Rule
	case all.Action >= base.Action: // the default decides
		v = base.Strictest(all)
		v.Rule, handling, ttl = "", isogate.TransitOnly, 0
	}
	v.Handling, v.TTL = handling, ttl
	return v
}

// strictest is the strictest of two verdicts; without any before, it is the second.
func strictest(v, w isogate.Verdict, any bool) isogate.Verdict {
	if !any {
		return w
	}
	return v.Strictest(w)
}

// atMostToken keeps what nobody has judged from ever being more than a token.
//
// promise: P02
func atMostToken(v isogate.Verdict) isogate.Verdict {
	if v.Action > isogate.Token {
		v.Action, v.Form = isogate.Token, isogate.Form{}
	}
	return v
}

// plaintext reports whether an action lets people outside see of the value, so
// that a rule needs a reason, an owner and an end. A seal does: nothing is stored
// that could be read, but while its key lives, viewers see the value.
func plaintext(a isogate.Action) bool { return a > isogate.Token }

// maxTTL is the longest life of temporary data.
const maxTTL = 24 * time.Hour

// readRule reads one item of request.release.
func (r *reader) readRule(n *node, t *Transit) (rule, bool) {
	before := r.n
	o, ok := r.object(n, "the rule", "label", "as", "form", "handling", "ttl", "because", "owner", "until", "when")
	if !ok {
		return rule{}, false
	}
	out := rule{guard: noGuard, at: n.at}
	r.readRuleLabel(o, &out)
	r.readRuleAction(o, &out, t)
	r.readRuleHandling(o, &out)
	r.readExemption(o, &out)
	switch {
	case out.as == isogate.Seal:
		r.needExemption(o, "the rule for "+out.text+" lets people outside see the value while its key lives", n.at)
	case plaintext(out.as):
		r.needExemption(o, "the rule for "+out.text+" lets plaintext out", n.at)
	}
	if when := o.get("when"); when != nil {
		out.guard = r.readGuard(when, t)
	}
	return out, r.n == before
}

func (r *reader) optional(o object, key string) (string, bool) {
	return r.text(o.get(key), key)
}

func (r *reader) readRuleLabel(o object, out *rule) {
	n := o.need("label", "say which label the rule is for: personal.contact.email")
	s, ok := r.text(n, "label")
	if !ok {
		return
	}
	out.text = s
	p, err := isogate.ParseLabelPattern(s)
	if err != nil {
		r.add(n.at, "%v; write a label such as personal.contact.email, or a pattern such as personal.**", err)
		return
	}
	out.label = p
	if exact, ok := p.Exact(); ok {
		if exact.Reserved() {
			r.add(n.at, "no rule may name the label %q: it stands for what nobody has judged; name the field in the contract with a label that fits it", s)
			return
		}
		r.checkLabel(n, exact)
		return
	}
	if len(r.taxonomy.Match(p)) == 0 {
		r.add(n.at, "the pattern %q selects no label of the taxonomy; check its segments", s)
	}
}

func (r *reader) readRuleAction(o object, out *rule, t *Transit) {
	n := o.need("as", "say what may leave: allow, seal, mask, generalise, token, hash, redact or drop")
	s, ok := r.text(n, "as")
	if !ok {
		return
	}
	a, err := isogate.ParseAction(s)
	switch {
	case err != nil:
		r.add(n.at, "unknown action %q; %s", s, didYouMean(s, actionWords))
		return
	case a == isogate.Seal && t.Destination != nil && !t.landed():
		r.add(n.at, "seal needs a landing that holds its keys, and %s has none; add landing: {public_key: …} to it in destinations.yaml, or use token", t.Destination.Name)
		return
	}
	out.as = a
	form, fn := "", n
	if f := o.get("form"); f != nil {
		if form, ok = r.text(f, "form"); !ok {
			return
		}
		fn = f
	}
	if out.form, err = isogate.ParseForm(a, form); err != nil {
		r.add(fn.at, "%v", withHint(err.Error(), "see the forms of "+s+", or leave form out"))
	}
}

// actionWords are the actions that a rule may have.
var actionWords = []string{"refuse", "drop", "redact", "hash", "token", "mask", "generalise", "seal", "allow"}

func (r *reader) readRuleHandling(o object, out *rule) {
	if n := o.get("handling"); n != nil {
		if s, ok := r.text(n, "handling"); ok {
			h, err := isogate.ParseHandling(s)
			if err != nil {
				r.add(n.at, "unknown handling %q; %s", s, didYouMean(s, []string{"transit-only", "temporary", "persisted"}))
			}
			out.handling = h
			if out.as == isogate.Seal && h == isogate.Persisted {
				r.add(n.at, "what is sealed cannot be persisted, for its key is destroyed; write handling: transit-only, or temporary with a ttl, or as: allow")
			}
		}
	}
	ttl := o.get("ttl")
	out.ttl = r.span(ttl, "ttl", maxTTL)
	switch {
	case ttl != nil && out.handling != isogate.Temporary:
		r.add(ttl.at, "a ttl needs handling: temporary; change the handling, or remove the ttl")
	case ttl == nil && out.handling == isogate.Temporary && !o.has("ttl"):
		r.add(o.at, "handling: temporary needs a ttl; add ttl: 5m, or up to %s", maxTTL)
	}
}

// withHint gives an error a next step unless it has one.
func withHint(s, hint string) string {
	if strings.Contains(s, "; ") {
		return s
	}
	return s + "; " + hint
}
