package isogate

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Form says how an action shapes its replacement. Each action has forms of its
// own; the zero value is the action's plain form, which lets out the least.
//
//	token       text, or email for receivers that validate e-mail addresses
//	mask        first-N, last-N, email
//	generalise  year month day hour · network-N (bits) · step-N · prefix-N · geo-N (decimals)
type Form struct {
	Name string
	N    int
}

// formRule says which action a form belongs to and what its number means.
type formRule struct {
	action   Action
	number   bool
	min, max int
	family   string
	coarse   func(n int) int // how much is let out; larger is more
}

var formRules = map[string]formRule{
	"text":    {action: Token, family: "text"},
	"email":   {action: Token, family: "email"},
	"first":   {action: Mask, number: true, min: 1, max: 8, family: "first", coarse: func(n int) int { return n }},
	"last":    {action: Mask, number: true, min: 1, max: 8, family: "last", coarse: func(n int) int { return n }},
	"year":    {action: Generalise, family: "date", coarse: func(int) int { return 1 }},
	"month":   {action: Generalise, family: "date", coarse: func(int) int { return 2 }},
	"day":     {action: Generalise, family: "date", coarse: func(int) int { return 3 }},
	"hour":    {action: Generalise, family: "date", coarse: func(int) int { return 4 }},
	"network": {action: Generalise, number: true, min: 8, max: 64, family: "network", coarse: func(n int) int { return n }},
	"step":    {action: Generalise, number: true, min: 2, max: 1_000_000_000, family: "step", coarse: func(n int) int { return -n }},
	"prefix":  {action: Generalise, number: true, min: 1, max: 6, family: "prefix", coarse: func(n int) int { return n }},
	"geo":     {action: Generalise, number: true, min: 0, max: 3, family: "geo", coarse: func(n int) int { return n }},
}

// ParseForm reads a form for an action, such as "last-4" for mask. The empty
// string is the plain form, which generalise does not have.
func ParseForm(a Action, s string) (Form, error) {
	if s == "" {
		if a == Generalise {
			return Form{}, fmt.Errorf("generalise needs a form; use year, month, day, hour, network-N, step-N, prefix-N or geo-N")
		}
		return Form{}, nil
	}
	name, num, hasNum := strings.Cut(s, "-")
	if name == "email" && a == Mask && !hasNum {
		return Form{Name: name}, nil
	}
	r, ok := formRules[name]
	switch {
	case !ok:
		return Form{}, fmt.Errorf("unknown form %q", s)
	case r.action != a:
		return Form{}, fmt.Errorf("form %q belongs to %s, not to %s", s, r.action, a)
	case hasNum != r.number && r.number:
		return Form{}, fmt.Errorf("form %q needs a number, such as %s-%d", s, name, r.min)
	case hasNum != r.number:
		return Form{}, fmt.Errorf("form %q takes no number", name)
	case !hasNum:
		return Form{Name: name}, nil
	}
	n, err := strconv.Atoi(num)
	if err != nil || n < r.min || n > r.max {
		return Form{}, fmt.Errorf("form %q: the number must be %d to %d", s, r.min, r.max)
	}
	return Form{Name: name, N: n}, nil
}

func (f Form) String() string {
	if r, ok := formRules[f.Name]; ok && r.number {
		return f.Name + "-" + strconv.Itoa(f.N)
	}
	return f.Name
}

// strictest returns the form of action a that lets out no more than f and g do.
func (f Form) strictest(g Form, a Action) Form {
	rf, rg := formRules[f.Name], formRules[g.Name]
	switch {
	case f == g:
		return f
	case f == (Form{}) || g == (Form{}):
		return Form{}
	case a == Token:
		// Token's forms differ in looks only: any fixed choice will do.
		return Form{Name: min(f.Name, g.Name)}
	case rf.family != rg.family || rf.coarse == nil:
		return Form{}
	case rf.coarse(f.N) > rg.coarse(g.N):
		return g
	}
	return f
}

// Verdict is the answer for one field. The zero value refuses the request.
type Verdict struct {
	Action   Action
	Handling Handling
	TTL      time.Duration // how long Temporary data may live; 0 otherwise
	Form     Form
	Label    Label  // the label that decided
	Rule     string // file:line of the rule that decided; "" when the label's default treatment did

	// How the handling is enforced, which follows from Action, Handling and
	// whether the destination has a landing side. It is computed last. Where both
	// are false and Action lets out more than a token, handling is declared only.

	Sealed   bool // what Action leaves of the value leaves sealed; with Action Seal, the value itself
	Register bool // the value may leave only once the landing side has it in its register
}

// Strictest returns the verdict that lets out less of v and w. Over any number
// of verdicts its answer depends neither on their order nor on how they are
// grouped. Two forms of one action that cannot be compared (the month of a date,
// the network of an address) give way to the plain form, which lets out no more
// than either: a plain mask shows no character, and a plain generalisation, which
// no rule can ask for, leaves nothing of the value.
func (v Verdict) Strictest(w Verdict) Verdict {
	switch {
	case v.Action != w.Action:
		if w.Action < v.Action {
			v = w
		}
		return v
	case v.less(w):
		// v is already the one whose label and rule are named.
	default:
		v, w = w, v
	}
	v.Form = v.Form.strictest(w.Form, v.Action)
	return v
}

// less orders two verdicts of the same action by what they ask of the far side,
// and, so that the order of their coming never shows, by name.
func (v Verdict) less(w Verdict) bool {
	switch {
	case v.Handling != w.Handling:
		return v.Handling < w.Handling
	case v.TTL != w.TTL:
		return v.TTL < w.TTL
	case v.Sealed != w.Sealed:
		return v.Sealed
	case v.Register != w.Register:
		return v.Register
	case v.Label != w.Label:
		return v.Label < w.Label
	}
	return v.Rule < w.Rule
}
