package access

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// ErrInvalid says that an act was not recorded, as what it is about is not
// well-formed or not allowed to anybody.
var ErrInvalid = errors.New("it was not done")

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrInvalid, fmt.Errorf(format, args...))
}

// GiveRoles gives a person roles. Only an owner may.
func (d *Desk) GiveRoles(ctx context.Context, by Visitor, person string, roles []Role, reason string) error {
	return d.change(ctx, by, Act{What: RoleGiven, Person: person, Roles: roles, Reason: reason})
}

// TakeRoles takes roles from a person, whoever else says that they have them. Only an
// owner may, and nobody takes the role of owner from themself: so there always is one.
func (d *Desk) TakeRoles(ctx context.Context, by Visitor, person string, roles []Role, reason string) error {
	if person == by.Name && slices.Contains(roles, Owner) {
		return invalid("another owner must take that role from you: so there always is one")
	}
	return d.change(ctx, by, Act{What: RoleTaken, Person: person, Roles: roles, Reason: reason})
}

// Remove takes every way in from a person: sessions, tokens, passkeys, links, roles.
// Only an owner may, and nobody removes themself.
func (d *Desk) Remove(ctx context.Context, by Visitor, person, reason string) error {
	if person == by.Name {
		return invalid("another owner must remove you: so there always is one")
	}
	return d.change(ctx, by, Act{What: PersonRemoved, Person: person, Reason: reason})
}

func (d *Desk) change(ctx context.Context, by Visitor, a Act) error {
	if !by.May(Own) {
		return ErrNotYours
	}
	if err := CheckPerson(a.Person); err != nil {
		return invalid("%w", err)
	}
	if a.What != PersonRemoved && len(a.Roles) == 0 {
		return invalid("choose at least one role")
	}
	a.Actor = actorOf(by)
	_, err := d.do(ctx, a)
	return err
}

// Member is a person as owners see them.
type Member struct {
	Person
	Roles      []Role // that they have now
	Configured bool   // they are listed in the configuration
	Bearer     bool   // and have a token there
	Passkeys   int
	Sessions   int
	Tokens     int
}

// Members are everybody who is known, by name: those of the configuration, and those
// of the journal.
func (d *Desk) Members() []Member {
	state, now := d.State(), d.cfg.Now()
	var names []string
	for name := range d.people.people {
		names = append(names, name)
	}
	for name := range state.people {
		if _, twice := d.people.people[name]; !twice {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	out := make([]Member, len(names))
	for i, name := range names {
		p, _ := state.Person(name)
		c, configured := d.people.people[name]
		out[i] = Member{Person: p, Roles: d.people.rolesOf(&p, now), Configured: configured, Bearer: c.TokenSHA256 != "", Passkeys: len(state.Passkeys(name)),
			Sessions: len(state.Sessions(name, now)), Tokens: len(state.Tokens(name, now))}
	}
	return out
}
