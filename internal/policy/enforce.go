package policy

import (
	"cmp"
	"slices"
	"time"

	"github.com/isogate/isogate"
)

// How a handling is kept. Towards a destination without a landing it is declared:
// the far side is told, and believed. A landing keeps it, and what a verdict then
// becomes is decided here and nowhere else, after everything else is.

// together is the verdict on a value that carries labels with these verdicts, of
// which there is one at least: the strictest. The handling is the strictest that
// any rule among them asks, whichever label decides the action: a value that
// leaves by one label's default is still the value that another's rule lets out
// for a session only. Bound reports whether a rule asks for any.
func together(verdicts []isogate.Verdict) (v isogate.Verdict, bound bool) {
	v = verdicts[0]
	for _, w := range verdicts[1:] {
		v = v.Strictest(w)
	}
	if len(verdicts) == 1 || !plaintext(v.Action) {
		return v, v.Rule != ""
	}
	var least, named isogate.Verdict
	for _, w := range verdicts {
		if w.Rule == "" {
			continue
		}
		if !bound || w.Handling < least.Handling || w.Handling == least.Handling && w.TTL < least.TTL {
			least = w
		}
		bound = true
		if w.Action == v.Action {
			named = strictest(named, w, named.Rule != "")
		}
	}
	if !bound {
		return v, false
	}
	if v.Rule == "" && named.Rule != "" { // a default lets out as much, and asks nothing
		v.Label, v.Rule = named.Label, named.Rule
	}
	v.Handling, v.TTL = least.Handling, least.TTL
	return v, true
}

// enforce is what becomes of a verdict where the destination has a landing, given
// whether a rule asks for its handling; without a landing, and where no more than
// a token leaves, it is as it was. What would be allowed for a session or a time
// is sealed; what is masked or generalised for as long is, and what is left of it
// is sealed. What stays outside as it is must be registered. It is a function of
// its arguments alone, never loosens, and changes nothing the second time.
//
// promise: P16, P17, P18, P41
func enforce(v isogate.Verdict, bound, landing bool) isogate.Verdict {
	v.Sealed, v.Register = false, false
	switch {
	case !landing || !plaintext(v.Action):
		return v
	case v.Action == isogate.Seal:
		if v.Handling == isogate.Persisted { // no rule says so; a key that is kept would be no seal
			v.Handling, v.TTL = isogate.TransitOnly, 0
		}
	case !bound:
		return v
	case v.Handling == isogate.Persisted:
		v.Register = v.Action == isogate.Allow
		return v
	case v.Action == isogate.Allow:
		v.Action, v.Form = isogate.Seal, isogate.Form{}
	}
	v.Sealed = true
	return v
}

// bound reports whether a rule asks for the handling of a verdict that has been
// through [enforce].
func bound(v isogate.Verdict) bool {
	return v.Rule != "" || v.Sealed || v.Register || v.Handling != isogate.TransitOnly
}

// landed reports whether the transit's destination has a landing.
func (t *Transit) landed() bool { return t.Destination != nil && t.Destination.landing }

// settle is the verdict of the transit on a value that carries labels with these
// verdicts.
func (t *Transit) settle(verdicts []isogate.Verdict) isogate.Verdict {
	v, bound := together(verdicts)
	return enforce(v, bound, t.landed())
}

// enforced says how the handling of a verdict is kept, in words; "" where it is
// declared, or none is asked for.
func (t *Transit) enforced(v isogate.Verdict) string {
	switch {
	case v.Register:
		return "registered with the landing, which can have it erased"
	case !v.Sealed:
		return ""
	case v.Handling == isogate.Temporary:
		return "sealed to the landing, which forgets the key after that"
	case t.SessionHeader != "":
		return "sealed to the landing until the session ends"
	}
	return "sealed to the landing until the request is answered"
}

// Lifetime is how long what is sealed under one key may live: for the session, or
// for a time.
type Lifetime struct {
	Handling isogate.Handling // TransitOnly or Temporary
	TTL      time.Duration    // of Temporary; 0 otherwise
}

// sum works out what the tables ask of a landing once the head of a request has
// left.
func (r *Rules) sum() {
	r.Seals, r.Registers = nil, false
	for _, verdicts := range [][]isogate.Verdict{r.Body.Verdicts, r.Trailers.Verdicts} {
		for _, v := range verdicts {
			r.Registers = r.Registers || v.Register
			if l := (Lifetime{v.Handling, v.TTL}); v.Sealed && !slices.Contains(r.Seals, l) {
				r.Seals = append(r.Seals, l)
			}
		}
	}
	slices.SortFunc(r.Seals, func(a, b Lifetime) int {
		return cmp.Or(cmp.Compare(a.Handling, b.Handling), cmp.Compare(a.TTL, b.TTL))
	})
}

// Because is the reason that the rule of a verdict gives; "" when no rule has
// that place.
func (t *Transit) Because(rule string) string {
	for i := range t.rules {
		if r := &t.rules[i]; rule != "" && r.at.rule() == rule {
			return r.because
		}
	}
	return ""
}

// readSubject reads whom the identifiers of a request belong to: the label whose
// value names the person or account. A landing lists and erases by it.
//
// promise: P17
func (r *reader) readSubject(o object, t *Transit) {
	n := o.get("subject")
	if n == nil {
		return
	}
	if t.Destination != nil && t.Destination.kind == toRemote {
		r.add(n.at, "subject says whose the identifiers are that a landing registers, and an app's remote has none; remove it")
		return
	}
	l, ok := r.label(n, "subject")
	if !ok {
		return
	}
	t.Subject = l
	if t.incomplete {
		return // its labels or rules are not all known
	}
	if !slices.Contains(t.labels(), l) {
		r.add(n.at, "no field of the transit carries the label %q of subject; label one, or name a label that is carried", l)
		return
	}
	for _, m := range []moment{t.moment(0, ^uint32(0)), {}} {
		switch v := t.settle([]isogate.Verdict{judge(t.taxonomy.Treatment(l), t.rules, m)}); {
		case v.Action <= isogate.Redact:
			r.add(n.at, "the subject %q leaves with %s, which no two requests can be told apart by; name a label that leaves as a hash, token or more", l, v.Action)
			return
		case v.Action == isogate.Allow && !v.Register && v.Rule == "":
			r.add(n.at, "the subject %q leaves in plaintext by its default treatment, and names no person or account; name a label that does", l)
			return
		}
	}
}
