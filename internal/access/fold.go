package access

import (
	"maps"
	"slices"
)

// signIn begins a session. Everything that lets somebody in once is held against the
// state here, in the order of the journal: of two gateways that see the same link,
// or the same count of a passkey, one is too late.
func (s *State) signIn(a *Act) error {
	if CheckPerson(a.Person) != nil || len(a.Session) != 64 || s.sessions[a.Session] != nil {
		return noEffect("it is no sign-in of a person")
	}
	known, _ := s.Person(a.Person)
	if known.Removed {
		return noEffect("%s was removed; an owner must invite them anew", a.Person)
	}
	if a.Identity != (Identity{}) {
		if err := s.mayBe(&known, a); err != nil {
			return err
		}
	}
	roles, err := s.letsIn(a)
	if err != nil {
		return err
	}
	var key *Passkey
	if a.Passkey.ID != "" {
		if key, err = s.counted(a); err != nil {
			return err
		}
	}
	if old := s.sessions[a.Instead]; old != nil && a.What == Proved && old.Person != a.Person {
		return noEffect("the session is of somebody else")
	}

	delete(s.links, a.Link)
	delete(s.sessions, a.Instead)
	if key != nil {
		s.passkeys[key.ID] = key
	}
	p := s.of(a.Person)
	p.Entered, p.Last = true, a.At
	p.Given = union(p.Given, roles)
	p.Withheld = without(p.Withheld, roles)
	if a.Identity != (Identity{}) {
		delete(s.identities, p.Identity)
		p.Identity, p.Claimed, p.ClaimedAt = a.Identity, a.Claimed, a.At
		s.identities[a.Identity] = a.Person
	}
	s.makeRoom(a)
	s.sessions[a.Session] = &Session{ID: a.Session, Person: a.Person, How: a.Actor.SignedIn, Began: a.At, Until: a.Until, Proof: a.Proof, Entry: a.ID}
	return nil
}

// mayBe reports why an identity is not that person's: names are not merged. A name
// that an owner has given roles to, and that nobody has used, is the one that the
// provider has it for. What the configuration ties holds whatever was before, but
// takes nothing from somebody who is there.
func (s *State) mayBe(known *Person, a *Act) error {
	if a.Identity.Issuer == "" || a.Identity.Subject == "" {
		return noEffect("the provider did not say who it is")
	}
	if bound, is := s.identities[a.Identity]; is && bound != a.Person {
		if old := s.people[bound]; !a.Tied || old != nil && !old.Removed {
			return noEffect("the provider's account is that of %s; an owner must remove them before somebody else can have it", bound)
		}
		return nil
	} else if is || a.Tied {
		return nil
	}
	if known.Entered || known.Identity != (Identity{}) {
		return noEffect("the name %s is that of somebody else, who signs in by another way; names are not merged", a.Person)
	}
	for _, l := range s.links {
		if l.Person == a.Person && a.At.Before(l.Until) {
			return noEffect("the name %s is that of somebody who was invited by a link; they must use it", a.Person)
		}
	}
	return nil
}

// letsIn are the roles that come with the act's link, if it has one.
func (s *State) letsIn(a *Act) ([]Role, error) {
	if a.Link == "" {
		return nil, nil
	}
	l := s.links[a.Link]
	switch {
	case l == nil || !a.At.Before(l.Until):
		return nil, noEffect("the link was used already, or is over; ask for a new one")
	case l.Person != "" && l.Person != a.Person:
		return nil, noEffect("the link is for somebody else")
	case l.Person == "" && len(s.people) > 0:
		return nil, noEffect("the link was for an empty installation, and somebody has signed in since")
	}
	return l.Roles, nil
}

// counted is the act's passkey as it is after its use.
func (s *State) counted(a *Act) (*Passkey, error) {
	k := s.passkeys[a.Passkey.ID]
	if k == nil || k.Person != a.Person {
		return nil, noEffect("%s has no such passkey", a.Person)
	}
	if a.Passkey.Count <= k.Count && (a.Passkey.Count != 0 || k.Count != 0) {
		return nil, noEffect("the passkey has counted backwards: there may be a copy of it; remove it and add another")
	}
	used := *k
	used.Count = a.Passkey.Count
	return &used, nil
}

// makeRoom forgets the person's sessions that are over, and ends the oldest if there
// are too many.
func (s *State) makeRoom(a *Act) {
	maps.DeleteFunc(s.sessions, func(_ Digest, x *Session) bool { return !a.At.Before(x.Until) })
	if mine := s.Sessions(a.Person, a.At); len(mine) >= maxSessions {
		for _, x := range mine[maxSessions-1:] {
			delete(s.sessions, x.ID)
		}
	}
}

// endSession ends one session, or all of a person.
func (s *State) endSession(a *Act) error {
	if a.Session == "" {
		if a.Person == "" {
			return noEffect("it names neither a session nor a person")
		}
		before := len(s.sessions)
		maps.DeleteFunc(s.sessions, func(_ Digest, x *Session) bool { return x.Person == a.Person })
		if len(s.sessions) == before {
			return noEffect("%s has no session", a.Person)
		}
		return nil
	}
	if s.sessions[a.Session] == nil {
		return noEffect("there is no such session; it is over")
	}
	delete(s.sessions, a.Session)
	return nil
}

// mayOwn reports why whoever acts on others cannot have been an owner any more: of two
// who remove each other on two gateways, one is too late, so that one is left.
func (s *State) mayOwn(a *Act) error {
	if p := s.people[a.Actor.Name]; p != nil && (p.Removed || slices.Contains(p.Withheld, Owner)) {
		return noEffect("%s was an owner no more when the act was recorded", a.Actor.Name)
	}
	return nil
}

func (s *State) makeLink(a *Act) error {
	if err := s.mayOwn(a); err != nil {
		return err
	}
	maps.DeleteFunc(s.links, func(_ Digest, l *Link) bool { return !a.At.Before(l.Until) })
	switch {
	case len(a.Link) != 64 || s.links[a.Link] != nil || a.Person != "" && CheckPerson(a.Person) != nil:
		return noEffect("it is no link for a person")
	case a.Person == "" && len(s.people) > 0:
		return noEffect("the installation is not empty: a link must be for a person")
	case len(s.links) >= maxLinks:
		return noEffect("there are %d links that nobody has used; revoke some", maxLinks)
	}
	if a.Person != "" {
		s.of(a.Person).Removed = false
	}
	s.links[a.Link] = &Link{ID: a.Link, Person: a.Person, Roles: a.Roles, By: a.Actor.Name, Made: a.At, Until: a.Until}
	return nil
}

func (s *State) addPasskey(a *Act) error {
	k := a.Passkey
	p, known := s.Person(a.Person)
	switch {
	case !known || p.Removed:
		return noEffect("%s is nobody here", a.Person)
	case k.ID == "" || len(k.Key) == 0 || len(k.Handle) == 0:
		return noEffect("it is no passkey")
	case s.passkeys[k.ID] != nil:
		return noEffect("the passkey is there already")
	case len(s.Passkeys(a.Person)) >= maxPasskeys:
		return noEffect("%s has %d passkeys; remove one first", a.Person, maxPasskeys)
	}
	k.Person, k.Name, k.Added = a.Person, a.Name, a.At
	s.passkeys[k.ID] = &k
	return nil
}

func (s *State) makeToken(a *Act) error {
	maps.DeleteFunc(s.tokens, func(_ Digest, t *Token) bool { return !a.At.Before(t.Until) })
	switch {
	case CheckPerson(a.Person) != nil || len(a.Token) != 64 || s.tokens[a.Token] != nil || a.Until.IsZero():
		return noEffect("it is no token of a person")
	case s.people[a.Person] != nil && s.people[a.Person].Removed:
		return noEffect("%s was removed", a.Person)
	case len(s.Tokens(a.Person, a.At)) >= maxTokens:
		return noEffect("%s has %d tokens; revoke one first", a.Person, maxTokens)
	}
	rights := a.Rights
	if rights == nil {
		rights = []Right{} // none at all, and not all of them
	}
	s.tokens[a.Token] = &Token{ID: a.Token, Person: a.Person, Name: a.Name, Rights: rights, Made: a.At, Until: a.Until, Entry: a.ID}
	return nil
}

func (s *State) changeRoles(a *Act) error {
	if CheckPerson(a.Person) != nil || len(a.Roles) == 0 {
		return noEffect("it names no person, or no role")
	}
	if err := s.mayOwn(a); err != nil {
		return err
	}
	p := s.of(a.Person)
	if a.What == RoleGiven {
		p.Removed, p.Given, p.Withheld = false, union(p.Given, a.Roles), without(p.Withheld, a.Roles)
	} else {
		p.Given, p.Withheld = without(p.Given, a.Roles), union(p.Withheld, a.Roles)
	}
	return nil
}

// remove takes every way in from a person. Their name and account stay theirs.
func (s *State) remove(a *Act) error {
	if CheckPerson(a.Person) != nil {
		return noEffect("it names no person")
	}
	if err := s.mayOwn(a); err != nil {
		return err
	}
	p := s.of(a.Person)
	p.Removed, p.Given, p.Withheld, p.Claimed = true, nil, nil, nil
	maps.DeleteFunc(s.sessions, func(_ Digest, x *Session) bool { return x.Person == a.Person })
	maps.DeleteFunc(s.tokens, func(_ Digest, x *Token) bool { return x.Person == a.Person })
	maps.DeleteFunc(s.links, func(_ Digest, x *Link) bool { return x.Person == a.Person })
	maps.DeleteFunc(s.passkeys, func(_ string, x *Passkey) bool { return x.Person == a.Person })
	return nil
}

func union(a, b []Role) []Role {
	out := slices.Clone(a)
	for _, r := range b {
		if !slices.Contains(out, r) {
			out = append(out, r)
		}
	}
	return out
}

func without(from, roles []Role) []Role {
	return slices.DeleteFunc(slices.Clone(from), func(r Role) bool { return slices.Contains(roles, r) })
}
