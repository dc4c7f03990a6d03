package taxonomy

import (
	"fmt"
	"slices"

	"github.com/isogate/isogate"
)

// Extend returns the taxonomy with a pack's definitions added. The receiver is
// left as it is. What a pack may do:
//
//   - add a label, below a family of the taxonomy or in one of its own. Its
//     default may be no looser than token, and no looser than that of the nearest
//     key above it: plaintext needs a rule, with a reason, an owner and an end.
//   - make the default of a known label stricter. Of the definition, examples,
//     counter-example and mappings, those left out stay as they were.
//   - make unclassified stricter. Opaque is refused already.
//
// Every mistake is reported at once, as [Errors]; the taxonomy returned beside
// them has all that was right, so that whoever checks a whole pack can go on.
func (t *Taxonomy) Extend(defs []Definition) (*Taxonomy, error) {
	var errs Errors
	fail := func(d *Definition, hint, format string, args ...any) {
		errs = append(errs, &Error{File: d.File, Line: d.Line, Column: d.Column, Message: fmt.Sprintf(format, args...), Hint: hint})
	}
	defs = slices.Clone(defs)
	// Shorter labels first, so that an added key bounds those added below it
	// whatever their order in the file.
	slices.SortStableFunc(defs, func(a, b Definition) int {
		if a.Label != b.Label && len(a.Label) != len(b.Label) {
			return len(a.Label) - len(b.Label)
		}
		return compareDefinitions(a, b)
	})
	out := build(t.All())
	added := make(map[isogate.Label]*Definition, len(defs))
	for i := range defs {
		d := &defs[i]
		if first, ok := added[d.Label]; ok {
			fail(d, "remove one of the two", "label %s is defined twice, first at %s:%d:%d", d.Label, first.File, first.Line, first.Column)
			continue
		}
		added[d.Label] = d
		if old, ok := t.byLabel[d.Label]; ok {
			merged, why := old.stricter(d)
			if why != nil {
				fail(d, why.Hint, "%s", why.Message)
				continue
			}
			out.byLabel[d.Label] = merged
			continue
		}
		if err := d.complete(); err != nil {
			fail(d, err.Hint, "%s", err.Message)
			continue
		}
		bound, who := isogate.Token, "a label that a pack adds"
		if a := out.ancestor(d.Label); a != nil && a.Treat < bound {
			bound, who = a.Treat, "a label below "+string(a.Label)
		}
		if d.Treat > bound {
			fail(d, fmt.Sprintf("use treat: %s, and let it out of a transit by a rule with a reason, an owner and an end date", bound),
				"label %s: %s is looser than %s, the loosest default of %s", d.Label, d.Treat, bound, who)
			continue
		}
		out.byLabel[d.Label] = d
	}
	out = build(values(out.byLabel))
	for i := range defs {
		if d := &defs[i]; d.ReplacedBy != "" && added[d.Label] == d {
			out.checkReplaced(d, fail)
		}
	}
	return out, errs.err()
}

func values(m map[isogate.Label]*Definition) []Definition {
	out := make([]Definition, 0, len(m))
	for _, d := range m {
		out = append(out, *d)
	}
	return out
}

// stricter returns the definition of a known label as a pack restates it.
func (d *Definition) stricter(by *Definition) (*Definition, *Error) {
	out := *d
	out.File, out.Line, out.Column = by.File, by.Line, by.Column
	strictest := d.Verdict().Strictest(by.Verdict())
	switch {
	case d.Label == isogate.Opaque:
		return nil, &Error{Message: "label opaque is reserved and refused already", Hint: "remove it"}
	case by.Treat > d.Treat:
		return nil, &Error{
			Message: fmt.Sprintf("label %s: %s is looser than %s, its default in the taxonomy", d.Label, by.Treat, d.Treat),
			Hint:    fmt.Sprintf("use %s or stricter here, and let it out of a transit by a rule", d.Treat),
		}
	case by.Treat == d.Treat && by.Form != d.Form && strictest.Form != by.Form:
		return nil, &Error{
			Message: fmt.Sprintf("label %s: the form %q is looser than %q, its default in the taxonomy", d.Label, by.Form, d.Form),
			Hint:    "leave the form out, or use a coarser one",
		}
	case by.Types != nil && !slices.Equal(by.Types, d.Types):
		return nil, &Error{
			Message: fmt.Sprintf("label %s: a pack cannot change which types it takes", d.Label),
			Hint:    "leave types out, or add a label of your own",
		}
	case by.ReplacedBy != "" && by.ReplacedBy != d.ReplacedBy:
		return nil, &Error{
			Message: fmt.Sprintf("label %s: a pack cannot deprecate a key of the shipped taxonomy", d.Label),
			Hint:    "leave replaced_by out",
		}
	}
	out.Treat, out.Form = by.Treat, by.Form
	if by.Definition != "" {
		out.Definition = by.Definition
	}
	if by.Examples != nil {
		out.Examples = by.Examples
	}
	if by.Not != "" {
		out.Not = by.Not
	}
	if by.DPV != "" {
		out.DPV = by.DPV
	}
	if by.Fides != "" {
		out.Fides = by.Fides
	}
	return &out, nil
}

// complete reports what a definition that stands on its own still lacks.
func (d *Definition) complete() *Error {
	switch {
	case d.Definition == "":
		return &Error{Message: fmt.Sprintf("label %s has no definition", d.Label), Hint: "add definition: with one sentence that says what it means"}
	case len(d.Examples) != 2:
		return &Error{Message: fmt.Sprintf("label %s has %d examples", d.Label, len(d.Examples)), Hint: "give exactly two under examples:"}
	case d.Not == "":
		return &Error{Message: fmt.Sprintf("label %s has no counter-example", d.Label), Hint: "add not: with something that is easily taken for it"}
	case d.Treat < isogate.Redact && len(d.Types) > 0:
		// A value of a type that its label does not take is unclassified, which
		// may be redacted where the label itself would be dropped or refused.
		return &Error{Message: fmt.Sprintf("label %s is treated with %s and does not take every type", d.Label, d.Treat), Hint: "remove types, so that a value of another type is treated no better"}
	}
	return nil
}

// checkReplaced reports what is wrong with the successor that d names.
func (t *Taxonomy) checkReplaced(d *Definition, fail func(d *Definition, hint, format string, args ...any)) {
	by, ok := t.byLabel[d.ReplacedBy]
	switch {
	case !ok:
		fail(d, "name a key of the taxonomy", "label %s is replaced by %s, which is not a key", d.Label, d.ReplacedBy)
	case by.ReplacedBy != "":
		fail(d, "use "+string(by.ReplacedBy), "label %s is replaced by %s, which is deprecated itself", d.Label, d.ReplacedBy)
	case d.Treat > by.Treat:
		fail(d, fmt.Sprintf("use treat: %s", by.Treat), "label %s is treated with %s, looser than its successor %s with %s", d.Label, d.Treat, by.Label, by.Treat)
	}
}
