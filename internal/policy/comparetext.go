package policy

import (
	"fmt"
	"strings"
	"time"
)

// Word is the effect in a word or two, as entries have it.
func (e *Effect) Word() string {
	switch {
	case e.MoreExposing:
		return "more exposing"
	case e.None():
		return "nothing changes"
	}
	return "stricter or equal"
}

// Verdict is the effect in one sentence.
func (e *Effect) Verdict() string {
	switch {
	case e.MoreExposing:
		return "more exposing: something may leave that did not"
	case e.None():
		return "nothing changes for what leaves"
	}
	return "stricter or equal: nothing leaves that did not"
}

// String is the effect for people, one change on a line. What is looser has a + before it.
func (e *Effect) String() string {
	var b strings.Builder
	mark := func(looser bool) string {
		if looser {
			return "+"
		}
		return "-"
	}
	for _, t := range e.Transits {
		fmt.Fprintf(&b, "transit %s: %s\n", t.Transit, t.Standing)
		for _, c := range t.Ways {
			fmt.Fprintf(&b, "  %s %s\n", mark(c.Looser), c)
		}
		for _, f := range t.Fields {
			fmt.Fprintf(&b, "  %s %s\n", mark(f.Looser), f)
		}
	}
	for _, inv := range e.Invariants {
		fmt.Fprintf(&b, "invariant %s: never %s (%s)\n", inv.Standing, inv.Never, inv.At)
	}
	b.WriteString(e.Verdict())
	b.WriteByte('\n')
	return b.String()
}

func (c Change) String() string {
	s := c.What + ": "
	switch {
	case c.Before == "" && c.After == "":
	case c.Before == "":
		s += c.After + " is new"
	case c.After == "":
		s += c.Before + " is gone"
	default:
		s += c.Before + " becomes " + c.After
	}
	if c.Why != "" {
		s += " (" + c.Why + ")"
	}
	return s
}

func (f FieldChange) String() string {
	s := f.Field
	if f.Kind != "" {
		s += " as " + f.Kind
	}
	switch {
	case f.Before == (Answer{}):
		s += ": " + f.After.labelled()
	case f.After == (Answer{}):
		s += ": no more " + f.Before.labelled()
	default:
		s += ": " + f.Before.labelled() + " becomes " + f.After.labelled()
	}
	if f.From != nil {
		s += ", from " + f.From.UTC().Format(time.DateOnly)
	}
	if f.When != nil {
		s += ", when only these guards hold: " + strings.Join(f.When, " and ")
		if len(f.When) == 0 {
			s = strings.TrimSuffix(s, ", when only these guards hold: ") + ", when no guard holds"
		}
	}
	if f.Why != "" {
		s += " (" + f.Why + ")"
	}
	return s
}

// labelled is the answer with the label that decided.
func (a Answer) labelled() string {
	if a.Label == "" {
		return a.String()
	}
	return a.String() + " (" + string(a.Label) + ")"
}
