package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/payload"
)

// Explanation is why one field of a transit is treated as it is.
type Explanation struct {
	Transit isogate.Transit `json:"transit"`
	Field   string          `json:"field"` // a path of the body, or query:NAME, path:NAME, header:NAME, cookie:NAME, trailer:NAME
	At      time.Time       `json:"at"`
	Labels  []LabelReason   `json:"labels"`
	// Verdict is what happens to the value while every guard holds; Otherwise, when it
	// differs, while none does.
	Verdict   Answer  `json:"verdict"`
	Otherwise *Answer `json:"otherwise,omitempty"`
	// WhyNot says what keeps more from leaving, and what to write to change that.
	WhyNot []string `json:"why_not_looser,omitempty"`
	// Tunnel is set for a transit that is one: there are no labels then, and every
	// byte passes unread.
	Tunnel *RuleReason `json:"tunnel,omitempty"`
}

// LabelReason is one label of a field: who said so, and what every rule that
// selects it says.
type LabelReason struct {
	Label   isogate.Label `json:"label"`
	SaidBy  []string      `json:"said_by"` // file:line of the contract or transit
	Default Answer        `json:"default"`
	Rules   []RuleReason  `json:"rules,omitempty"`
}

// RuleReason is one rule that selects a label.
type RuleReason struct {
	Rule     string         `json:"rule"` // file:line
	As       isogate.Action `json:"as"`
	Form     string         `json:"form,omitempty"`
	Handling string         `json:"handling"`
	TTL      string         `json:"ttl,omitempty"`
	Until    string         `json:"until,omitempty"` // the last day on which it is in force
	When     string         `json:"when,omitempty"`
	InForce  bool           `json:"in_force"` // as far as the date says; a guard may still turn it off
	Owner    string         `json:"owner,omitempty"`
	Because  string         `json:"because,omitempty"`
}

// Answer is a verdict in words.
type Answer struct {
	Action   isogate.Action `json:"action"`
	Form     string         `json:"form,omitempty"`
	Handling string         `json:"handling,omitempty"` // of what a rule lets out
	TTL      string         `json:"ttl,omitempty"`
	// Enforced says how a landing keeps the handling; "" where it is declared only, or
	// none is asked for.
	Enforced string        `json:"enforced,omitempty"`
	Label    isogate.Label `json:"label"`          // the label that decided
	Rule     string        `json:"rule,omitempty"` // "" when a default treatment decided
}

func answerOf(v isogate.Verdict) Answer {
	a := Answer{Action: v.Action, Form: v.Form.String(), Label: v.Label, Rule: v.Rule}
	if v.Rule != "" || v.Sealed || v.Register {
		a.Handling = v.Handling.String()
	}
	if v.TTL > 0 {
		a.TTL = v.TTL.String()
	}
	return a
}

// answer is a verdict of the transit in words.
func (t *Transit) answer(v isogate.Verdict) Answer {
	a := answerOf(v)
	a.Enforced = t.enforced(v)
	return a
}

func (a Answer) String() string {
	s := a.Action.String()
	if a.Form != "" {
		s += " " + a.Form
	}
	if a.Handling != "" {
		s += ", " + a.Handling
	}
	if a.TTL != "" {
		s += " for " + a.TTL
	}
	if a.Enforced != "" {
		s += ": " + a.Enforced
	}
	return s
}

// Fields lists every field that the transit's contract and names label, as
// [Transit.Explain] takes them. Of a tunnel it is ** alone, which is everything.
func (t *Transit) Fields() []string {
	if t.Mode == Tunnel {
		return []string{everything}
	}
	var fields []string
	if t.contract != nil {
		for _, place := range t.contract.tree.Places() {
			if !slices.Contains(fields, place.Path) {
				fields = append(fields, place.Path)
			}
		}
	}
	for i := range t.parts {
		for _, name := range sortedKeys(t.parts[i].labels) {
			fields = append(fields, payloadParts[i]+":"+name)
		}
	}
	return fields
}

// Explain says why a field is treated as it is at an instant. A field that
// nobody names is explained too: as unclassified. The error is a
// [*payload.PathError].
func (t *Transit) Explain(name string, at time.Time) (Explanation, error) {
	if t.Mode == Tunnel {
		return t.explainTunnel(name, at), nil
	}
	labels, err := t.labelled(name)
	if err != nil {
		return Explanation{}, err
	}
	e := Explanation{Transit: t.Name, Field: name, At: at}
	m := moment{time: at, guards: ^uint32(0)}
	var with, without []isogate.Verdict // of the labels, while every guard holds and while none does
	for _, l := range labels {
		base := t.treatment(name, l)
		reason := LabelReason{Label: l, SaidBy: t.saidBy(name, l), Default: answerOf(base)}
		for j := range t.rules {
			if r := &t.rules[j]; r.label.Match(l) {
				reason.Rules = append(reason.Rules, t.explainRule(r, m))
			}
		}
		e.Labels = append(e.Labels, reason)
		with = append(with, judge(base, t.rules, m))
		without = append(without, judge(base, t.rules, moment{time: at}))
	}
	v, w := t.settle(with), t.settle(without)
	e.Verdict = t.answer(v)
	if v != w {
		otherwise := t.answer(w)
		e.Otherwise = &otherwise
	}
	if v.Action != isogate.Allow {
		if unsealed, _ := together(with); unsealed.Action == isogate.Allow {
			e.WhyNot = append(e.WhyNot, fmt.Sprintf("the landing of %s keeps handling: %s by holding the key, so that no plaintext is stored; a value that the service has to store leaves with handling: persisted, which is approved anew",
				t.Destination.Name, v.Handling))
		}
		for i := range e.Labels {
			e.WhyNot = append(e.WhyNot, t.whyNot(name, &e.Labels[i], m)...)
		}
	}
	return e, nil
}

func (t *Transit) explainRule(r *rule, m moment) RuleReason {
	a := answerOf(r.verdict(""))
	out := RuleReason{Rule: a.Rule, As: a.Action, Form: a.Form, Handling: a.Handling, TTL: a.TTL, InForce: r.inForce(m), Owner: r.owner, Because: r.because}
	if !r.end.IsZero() {
		out.Until = r.lastDay()
	}
	if r.guard != noGuard {
		out.When = t.guards[r.guard].text
	}
	return out
}

// lastDay is the date that the rule's until gives.
func (r *rule) lastDay() string { return r.end.AddDate(0, 0, -1).Format(time.DateOnly) }

// splitField tells the part of a request that a field is in; -1 is the body.
func splitField(field string) (which int, name string) {
	for i, p := range payloadParts {
		if name, ok := strings.CutPrefix(field, p+":"); ok {
			if i == partHeaders || i == partTrailers {
				name = strings.ToLower(name)
			}
			return i, name
		}
	}
	return -1, field
}

// labelled is the labels that the transit gives a field.
func (t *Transit) labelled(field string) ([]isogate.Label, error) {
	which, name := splitField(field)
	if which >= 0 {
		if l, ok := t.parts[which].labels[name]; ok {
			return []isogate.Label{l}, nil
		}
		return []isogate.Label{isogate.Unclassified}, nil
	}
	if t.contract == nil {
		return []isogate.Label{isogate.Opaque}, nil // no body is understood
	}
	place, err := t.contract.tree.Find(name)
	return place.Labels, err
}

// treatment is what happens to a label of a field when no rule says otherwise.
// Headers, cookies and trailers that nobody names are removed.
func (t *Transit) treatment(field string, l isogate.Label) isogate.Verdict {
	v := t.taxonomy.Treatment(l)
	if which, _ := splitField(field); which >= partHeaders && l == isogate.Unclassified {
		v = isogate.Verdict{Action: isogate.Drop, Label: l}
	}
	return v
}

// saidBy is the lines that give a field one of its labels.
func (t *Transit) saidBy(field string, l isogate.Label) []string {
	which, name := splitField(field)
	if which >= 0 {
		if at, ok := t.parts[which].at[name]; ok {
			return []string{at.rule()}
		}
	} else if t.contract != nil {
		var lines []string
		path, err := payload.ParsePath(name)
		for i := range t.contract.fields {
			f := &t.contract.fields[i]
			if f.spec.Label != l {
				continue
			}
			// A path of the contract itself may have wildcards; any other is of one value.
			alone := t.contract.lines()[i]
			if alone == nil {
				continue
			}
			named := f.path == name || err == nil && alone.Names(path)
			if !named && err != nil {
				place, err := alone.Find(name)
				named = err == nil && place.Declared
			}
			if named {
				lines = append(lines, f.at.rule())
			}
		}
		if lines != nil {
			return lines
		}
	}
	return []string{"nobody"}
}

// whyNot says what keeps one label from leaving as it is.
func (t *Transit) whyNot(field string, l *LabelReason, m moment) []string {
	if l.Label.Reserved() {
		return []string{t.nameIt(field)}
	}
	if judge(t.treatment(field, l.Label), t.rules, m).Action == isogate.Allow {
		return nil
	}
	var why []string
	released := slices.ContainsFunc(l.Rules, func(r RuleReason) bool { return r.InForce })
	for _, r := range l.Rules {
		switch {
		case !released && plaintext(r.As):
			why = append(why, fmt.Sprintf("the rule at %s (%s) ended after %s; to go on, have it approved anew with a later until", r.Rule, r.As, r.Until))
		case r.As != isogate.Allow && r.InForce:
			why = append(why, fmt.Sprintf("the rule at %s says %s for %s, and the strictest rule wins; change it there", r.Rule, r.As, l.Label))
		case r.As != isogate.Allow:
			why = append(why, fmt.Sprintf("the rule at %s says %s for %s, which still holds after its end: time never loosens anything; remove it there", r.Rule, r.As, l.Label))
		}
	}
	if why == nil {
		why = append(why, fmt.Sprintf("no rule releases %s over %s, so that its default holds: %s; to release it, write under request.release of %s: - {label: %s, as: allow, handling: transit-only, because: WHY, owner: WHO, until: YYYY-MM-DD}",
			l.Label, t.Name, l.Default, t.at.file, l.Label))
	}
	return why
}

// nameIt says how to give an unclassified field a label.
func (t *Transit) nameIt(field string) string {
	which, name := splitField(field)
	const never = "no rule can release what nobody has named"
	switch {
	case which >= 0:
		return fmt.Sprintf("%s; to name it, write under request of %s: %s: {%s: LABEL}", never, t.at.file, partNames[which], name)
	case t.contract == nil:
		return fmt.Sprintf("the transit has no contract, so that a body is refused; write one under contracts/, and name it under request of %s", t.at.file)
	}
	return fmt.Sprintf("%s; to name it, write under fields of %s: %s: LABEL", never, t.contract.at.file, name)
}

// verdict is the verdict that rules has for a field.
func (t *Transit) verdict(field string, rules *Rules) (isogate.Verdict, error) {
	labels, err := t.labelled(field)
	if err != nil {
		return isogate.Verdict{}, err
	}
	which, _ := splitField(field)
	if labels[0].Reserved() && (which >= partHeaders || t.contract == nil) {
		return t.treatment(field, labels[0]), nil // no table has it: the walkers remove or refuse it by themselves
	}
	var sets [][]isogate.Label
	var verdicts []isogate.Verdict
	if which < 0 {
		sets, verdicts = t.contract.tree.Sets(), rules.Body.Verdicts
	} else {
		nr := [...]*payload.NameRules{&rules.Query, &rules.Path, &rules.Headers, &rules.Cookies, &rules.Trailers}[which]
		sets, verdicts = nr.Names.Sets(), nr.Verdicts
	}
	i := slices.IndexFunc(sets, func(set []isogate.Label) bool { return slices.Equal(set, labels) })
	return verdicts[i], nil
}

// String is the explanation for people, one fact on a line.
func (e Explanation) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s", e.Field, e.Verdict)
	if len(e.Labels) > 1 {
		fmt.Fprintf(&b, " (of %d labels, %s decides)", len(e.Labels), e.Verdict.Label)
	}
	b.WriteByte('\n')
	if e.Otherwise != nil {
		fmt.Fprintf(&b, "  while no guard holds: %s\n", e.Otherwise)
	}
	for _, l := range e.Labels {
		fmt.Fprintf(&b, "  %s, said by %s; default: %s\n", l.Label, strings.Join(l.SaidBy, ", "), l.Default)
		for _, r := range l.Rules {
			fmt.Fprintf(&b, "    %s\n", r)
		}
	}
	if e.Tunnel != nil {
		fmt.Fprintf(&b, "  the transit is a tunnel: every byte passes unread, whatever its label; no contract, rule or replacement applies\n    %s\n", e.Tunnel)
	}
	for _, w := range e.WhyNot {
		fmt.Fprintf(&b, "  why not more: %s\n", w)
	}
	return b.String()
}

func (r RuleReason) String() string {
	s := fmt.Sprintf("rule %s: %s", r.Rule, Answer{Action: r.As, Form: r.Form, Handling: r.Handling, TTL: r.TTL})
	if r.Until != "" {
		s += ", until " + r.Until
		if !r.InForce {
			s += " (over)"
		}
	}
	if r.When != "" {
		s += ", when " + r.When
	}
	if r.Owner != "" {
		s += ", owner " + r.Owner
	}
	if r.Because != "" {
		s += ": " + r.Because
	}
	return s
}
