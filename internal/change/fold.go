package change

import (
	"maps"
	"slices"
)

// Fold is the state after some acts, in their order, and for each why it has no effect,
// or nil. It is the whole law: whoever wrote an entry, what does not fit the state
// that it meets changes nothing.
//
//   - A proposal opens a round, and makes its actor an author of the pack for good.
//   - An approval counts if its actor is no author, for the round in which it was given.
//   - A rejection ends the round, and so does the withdrawal of an author: approvals of before
//     count no more. Once the pack was loaded in the round neither can be: what is in force is
//     ended by another pack.
func (s *State) Fold(acts ...Act) (*State, []error) {
	next := &State{Revision: s.Revision, changes: maps.Clone(s.changes)}
	if next.changes == nil {
		next.changes = map[string]*Change{}
	}
	why := make([]error, len(acts))
	for i := range acts {
		a := &acts[i]
		next.Revision = a.Seq + 1
		c := &Change{Pack: a.Pack}
		if was := next.changes[a.Pack]; was != nil {
			*c = *was
		}
		if why[i] = c.apply(a); why[i] == nil {
			next.changes[a.Pack] = c
		}
	}
	return next, why
}

// apply changes c, which nobody else has yet. Its lists are others' too.
func (c *Change) apply(a *Act) error {
	if a.Name != "" {
		c.Name, c.Version = a.Name, a.Version
	}
	switch a.What {
	case Loaded:
		c.Loads++
		c.Last, c.loaded = a, true
		if c.First == nil {
			c.First = a
		}
		return nil
	case Proposed:
		return c.propose(a)
	case Approved:
		return c.approve(a)
	case Rejected, Withdrawn:
		return c.end(a)
	case NoAct:
	}
	return noEffect("it is no act")
}

func (c *Change) propose(a *Act) error {
	open := len(c.Proposals) > 0 && c.Ended == nil
	if open && c.author(a.Actor) {
		return noEffect("you have proposed this pack already, and it was neither rejected nor withdrawn since")
	}
	if !open {
		c.Approvals, c.Ended, c.loaded = nil, nil, false
	}
	c.Proposals = append(slices.Clip(c.Proposals), *a)
	return nil
}

func (c *Change) approve(a *Act) error {
	switch {
	case len(c.Proposals) == 0:
		return noEffect("nobody has proposed this pack")
	case c.author(a.Actor):
		return noEffect("you have proposed this pack; somebody else must approve it")
	case c.Ended != nil:
		return noEffect("the proposal was %s by %s; somebody must propose the pack again first", map[bool]string{true: "withdrawn", false: "rejected"}[c.Ended.What == Withdrawn], c.Ended.Actor.Name)
	case slices.ContainsFunc(c.Approvals, func(o Act) bool { return o.Actor.is(a.Actor) }):
		return noEffect("you have approved it already; it may take somebody else as well")
	}
	c.Approvals = append(slices.Clip(c.Approvals), *a)
	return nil
}

func (c *Change) end(a *Act) error {
	switch {
	case len(c.Proposals) == 0:
		return noEffect("nobody has proposed this pack")
	case a.What == Withdrawn && !c.author(a.Actor):
		return noEffect("only those who proposed the pack can withdraw it; reject it")
	case c.Ended != nil:
		return noEffect("the proposal has ended already")
	case c.loaded:
		return noEffect("the pack has been in force since it was proposed; to end that, have another one in its place")
	}
	c.Ended = a
	return nil
}
