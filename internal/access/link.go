package access

import (
	"context"
	"errors"
)

// Empty reports whether nobody could sign in: nobody ever has, nobody is invited, and
// the configuration lists nobody who could. Whether there is a provider is not the
// desk's to know.
func (d *Desk) Empty() bool {
	return len(d.State().people) == 0 && len(d.people.people) == 0
}

// FirstLink makes a link for an empty installation, by which whoever has it becomes
// its owner. It lets nobody in once somebody was in.
func (d *Desk) FirstLink(ctx context.Context) (secret string, err error) {
	if !d.Empty() {
		return "", errors.New("access: the installation is not empty; an owner invites")
	}
	return d.link(ctx, Act{Actor: Actor{Name: system}, Roles: []Role{Owner}, Reason: "nobody could sign in"})
}

// Invite makes a link for a person, who has the roles from then on. Only an owner may.
func (d *Desk) Invite(ctx context.Context, by Visitor, person string, roles []Role) (secret string, err error) {
	if !by.May(Own) {
		return "", ErrNotYours
	}
	if err := CheckPerson(person); err != nil {
		return "", invalid("%w", err)
	}
	if known, _ := d.State().Person(person); by.Only != nil && (person == by.Name || known.Entered) {
		return "", invalid("an API token makes no link for somebody who has been here; sign in for that")
	}
	if p, configured := d.people.people[person]; configured && p.Subject != "" {
		return "", invalid("%s signs in by the provider, as the configuration says", person)
	}
	if len(roles) == 0 {
		p, _ := d.State().Person(person)
		if len(d.people.rolesOf(&p, d.cfg.Now())) == 0 {
			return "", invalid("choose at least one role: without any they could see nothing")
		}
	}
	return d.link(ctx, Act{Actor: actorOf(by), Person: person, Roles: roles})
}

// LinkFor makes a link for a person that whoever runs this process gives them, such
// as the demo. There is no visitor who could answer for it.
func (d *Desk) LinkFor(ctx context.Context, person string, roles []Role, why string) (secret string, err error) {
	return d.link(ctx, Act{Actor: Actor{Name: system}, Person: person, Roles: roles, Reason: why})
}

func (d *Desk) link(ctx context.Context, a Act) (string, error) {
	secret, id := newSecret("")
	a.What, a.Link, a.Until = LinkMade, id, d.cfg.Now().Add(LinkHolds)
	if _, err := d.do(ctx, a); err != nil {
		return "", err
	}
	return secret, nil
}

// Link is the link of a secret, if it still lets somebody in. Looking at it does not
// use it up.
func (d *Desk) Link(secret string) (Link, bool) {
	l := d.State().links[DigestOf(secret)]
	if l == nil || !d.cfg.Now().Before(l.Until) || d.InTouch() != nil {
		return Link{}, false
	}
	return *l, true
}

// RevokeLink makes a link let nobody in any more. Only an owner may.
func (d *Desk) RevokeLink(ctx context.Context, by Visitor, id Digest) error {
	l := d.State().links[id]
	if l == nil || !by.May(Own) {
		return ErrNotYours
	}
	_, err := d.do(ctx, Act{What: LinkRevoked, Actor: actorOf(by), Person: l.Person, Link: id})
	return err
}

// SignInByLink begins the session of whoever has a link, and uses it up. Who they are
// is asked for only where the link does not say.
func (d *Desk) SignInByLink(ctx context.Context, secret, name string) (string, error) {
	l, found := d.Link(secret)
	if !found {
		d.Wrong(ByLink)
		return "", ErrNobody
	}
	if l.Person != "" {
		name = l.Person
	} else if err := CheckPerson(name); err != nil {
		return "", invalid("%w", err)
	}
	how := ByLink
	if l.By != system {
		how += " of " + l.By
	}
	return d.begin(ctx, Act{Actor: Actor{name, how}, Person: name, Link: l.ID, Proof: d.cfg.Now()}, Visitor{})
}

// HasBearer reports whether somebody of the configuration has a token.
func (d *Desk) HasBearer() bool { return len(d.people.tokens) > 0 }
