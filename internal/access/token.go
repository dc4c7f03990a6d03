package access

import (
	"context"
	"fmt"
	"time"
)

// maxWay bounds what a person calls a token or a passkey, in bytes.
const maxWay = 60

// MakeToken makes an API token that acts as the visitor, with rights of theirs, and
// returns it: nobody can be shown it again.
func (d *Desk) MakeToken(ctx context.Context, by Visitor, name string, rights []Right, holds time.Duration) (string, Token, error) {
	if err := checkWay(name); err != nil {
		return "", Token{}, invalid("the token's name: %w", err)
	}
	if by.Only != nil {
		return "", Token{}, invalid("an API token makes no API tokens; sign in for that")
	}
	if len(rights) == 0 {
		return "", Token{}, invalid("choose at least one right")
	}
	for _, r := range rights {
		if !by.May(r) {
			return "", Token{}, invalid("you do not have the right to %s, so that no token of yours can have it", r)
		}
	}
	if holds <= 0 || holds > MaxToken {
		return "", Token{}, invalid("a token holds for up to %d days", int(MaxToken.Hours()/24))
	}
	for _, t := range d.State().Tokens(by.Name, d.cfg.Now()) {
		if t.Name == name {
			return "", Token{}, invalid("you have a token %s already; choose another name, or revoke that one", name)
		}
	}
	secret, id := newSecret(TokenPrefix)
	a, err := d.do(ctx, Act{What: TokenMade, Actor: actorOf(by), Person: by.Name, Name: name, Token: id, Rights: rights, Until: d.cfg.Now().Add(holds)})
	if err != nil {
		return "", Token{}, err
	}
	return secret, Token{ID: id, Person: by.Name, Name: name, Rights: rights, Made: a.At, Until: a.Until, Entry: a.ID}, nil
}

// RevokeToken ends a token: the visitor's own, or anybody's for an owner. Who comes with
// an API token that is not an owner's ends that one alone.
func (d *Desk) RevokeToken(ctx context.Context, by Visitor, id Digest) error {
	t := d.State().tokens[id]
	if t == nil || t.Person != by.Name && !by.May(Own) {
		return ErrNotYours
	}
	if by.Only != nil && by.Session == "" && !by.May(Own) && by.SignedIn != ByToken+t.Name {
		return ErrNotYours
	}
	_, err := d.do(ctx, Act{What: TokenRevoked, Actor: actorOf(by), Person: t.Person, Token: id, Name: t.Name})
	return err
}

// checkWay reports what is wrong with what a person calls a token or a passkey.
func checkWay(s string) error {
	if s == "" || len(s) > maxWay {
		return fmt.Errorf("it has 1 to %d characters", maxWay)
	}
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || (c == ' ' && (i == 0 || i == len(s)-1)) {
			return fmt.Errorf("use letters, digits, signs and, inside, spaces of ASCII")
		}
	}
	return nil
}
