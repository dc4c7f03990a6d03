package access

import (
	"context"
	"errors"
	"time"
)

// How somebody signed in, as entries say it.
const (
	ByOIDC    = "OpenID Connect"
	ByPasskey = "passkey"
	ByLink    = "one-time link" // with who made it, as they could have used it themself
	ByBearer  = "bearer token"
	ByToken   = "API token " // with its name
)

// Why a secret lets nobody in.
var (
	// ErrNobody says that it is none, or not any more.
	ErrNobody = errors.New("nobody is signed in")
	// ErrOver says that it was a session's, which is over.
	ErrOver = errors.New("the session is over; sign in again")
	// ErrOutOfTouch says that it cannot be known now.
	ErrOutOfTouch = errors.New("it cannot be known now who is signed in")
)

// Visitor is whose session a browser's secret is of, with the roles that they have
// now. The error is [ErrNobody], [ErrOver] or [ErrOutOfTouch].
func (d *Desk) Visitor(secret string) (Visitor, error) {
	if secret == "" {
		return Visitor{}, ErrNobody
	}
	if err := d.InTouch(); err != nil {
		return Visitor{}, errors.Join(ErrOutOfTouch, err)
	}
	state, now := d.State(), d.cfg.Now()
	s := state.sessions[DigestOf(secret)]
	if s == nil {
		return Visitor{}, ErrNobody
	}
	if !now.Before(s.Until) || !d.use(s.ID, s.Began, now, d.cfg.Idle) {
		return Visitor{}, ErrOver
	}
	return d.visitor(state, s, now), nil
}

func (d *Desk) visitor(state *State, s *Session, now time.Time) Visitor {
	p, _ := state.Person(s.Person)
	return Visitor{Name: p.Name, SignedIn: s.How, Roles: d.people.rolesOf(&p, now), Session: string(s.ID), Proved: s.Proof}
}

// use notes that a session or token is used, unless it was unused for longer than
// idle. What was used before this process ran is not known, so that its beginning
// counts.
func (d *Desk) use(id Digest, began, now time.Time, idle time.Duration) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	last, known := d.seen[id]
	if !known {
		last = began
	}
	if idle > 0 && now.Sub(last) >= idle {
		return false
	}
	d.seen[id] = now
	return true
}

// LastUsed is when a session or token was last used with this gateway, since it
// started; zero if it was not.
func (d *Desk) LastUsed(id Digest) time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.seen[id]
}

// Bearer is whose token a program has sent: that of somebody in the configuration,
// or an API token. The error is [ErrNobody] or [ErrOutOfTouch]. A token of the
// configuration needs no journal: what shuts must be possible without one.
func (d *Desk) Bearer(token string) (Visitor, error) {
	if token == "" {
		return Visitor{}, ErrNobody
	}
	state, now, id := d.State(), d.cfg.Now(), DigestOf(token)
	if name := d.people.tokens[id]; name != "" {
		p, _ := state.Person(name)
		if p.Removed {
			return Visitor{}, ErrNobody
		}
		return Visitor{Name: name, SignedIn: ByBearer, Roles: d.people.rolesOf(&p, now)}, nil
	}
	if err := d.InTouch(); err != nil {
		return Visitor{}, errors.Join(ErrOutOfTouch, err)
	}
	t := state.tokens[id]
	if t == nil || !now.Before(t.Until) {
		d.Wrong(ByBearer)
		return Visitor{}, ErrNobody
	}
	d.use(id, t.Made, now, 0)
	p, _ := state.Person(t.Person)
	return Visitor{Name: p.Name, SignedIn: ByToken + t.Name, Roles: d.people.rolesOf(&p, now), Only: t.Rights}, nil
}

// begin signs somebody in. The session's secret is always a new one, so that nobody
// sits in a session that somebody else has put into their browser. Where again is
// somebody, they prove again who they are, and their session gives way to the new
// one.
func (d *Desk) begin(ctx context.Context, a Act, again Visitor) (string, error) {
	now := d.cfg.Now()
	a.What = SignedIn
	if again.Session != "" {
		if again.Name != a.Person {
			return "", errOtherPerson
		}
		a.What = Proved
		a.Instead = Digest(again.Session)
	}
	p, _ := d.State().Person(a.Person)
	if p.Removed {
		return "", ErrNobody
	}
	secret, id := newSecret("")
	a.Session, a.Until = id, now.Add(d.cfg.Max)
	if _, err := d.do(ctx, a); err != nil {
		return "", err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.seen[id] = now
	return secret, nil
}

// errOtherPerson says that a proof is somebody else's.
var errOtherPerson = refused("other-person", "that proves that you are somebody else than whose session this is; sign out first")

// SignInByToken begins a session of somebody who has a token in the configuration.
// An API token begins none: it is for programs, and has fewer rights than its person.
func (d *Desk) SignInByToken(ctx context.Context, token string, again Visitor) (string, error) {
	name := d.people.tokens[DigestOf(token)]
	if name == "" {
		d.Wrong(ByBearer)
		return "", ErrNobody
	}
	return d.begin(ctx, Act{Actor: Actor{name, ByBearer}, Person: name, Proof: d.cfg.Now()}, again)
}

// SignOut ends the visitor's own session.
func (d *Desk) SignOut(ctx context.Context, v Visitor) error {
	if v.Session == "" {
		return ErrNobody
	}
	_, err := d.do(ctx, Act{What: SignedOut, Actor: Actor{v.Name, v.SignedIn}, Person: v.Name, Session: Digest(v.Session)})
	return err
}

// ErrNotYours says that there is no such thing, or that it is somebody else's: who
// may not know is not told which.
var ErrNotYours = errors.New("there is none such of yours; it may be over already")

// RevokeSession ends a session: the visitor's own, or anybody's for an owner.
func (d *Desk) RevokeSession(ctx context.Context, by Visitor, id Digest) error {
	s := d.State().sessions[id]
	if s == nil || s.Person != by.Name && !by.May(Own) {
		return ErrNotYours
	}
	_, err := d.do(ctx, Act{What: SessionRevoked, Actor: actorOf(by), Person: s.Person, Session: id})
	return err
}

// RevokeSessions ends all sessions of a person, as RevokeSession does one.
func (d *Desk) RevokeSessions(ctx context.Context, by Visitor, person string) error {
	if CheckPerson(person) != nil || person != by.Name && !by.May(Own) {
		return ErrNotYours
	}
	_, err := d.do(ctx, Act{What: SessionRevoked, Actor: actorOf(by), Person: person})
	return err
}

func actorOf(v Visitor) Actor { return Actor{v.Name, v.SignedIn} }
