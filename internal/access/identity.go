package access

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"time"
)

// known is somebody as a provider has just said who they are.
type known struct {
	Identity
	name  string    // by the claim for names, checked; "" if it has none that can be used
	roles []Role    // that their groups give them
	proof time.Time // when they proved it to the provider; zero if it does not say

	noRole string // why roles is empty, for them
}

// Finish signs in whoever the provider has sent back, and says where they were going.
// Kept is what the browser has kept of [Provider.Begin], and q the query that it came
// back with. Who wanted to prove again who they are does so for the session of again.
func (d *Desk) Finish(ctx context.Context, p *Provider, kept string, q url.Values, again Visitor) (secret, to string, err error) {
	k, w, err := p.finish(ctx, kept, q)
	if err == nil {
		if !w.Again {
			again = Visitor{}
		}
		secret, err = d.signInBy(ctx, k, again)
	}
	if err != nil {
		d.Wrong(ByOIDC)
	}
	return secret, w.To, err
}

// signInBy begins the session of somebody whom the provider knows. Their name is the
// one that their account has had here before, else that of the configuration, else
// the one that the provider says: if nobody else has it.
func (d *Desk) signInBy(ctx context.Context, k known, again Visitor) (string, error) {
	state := d.State()
	name, tied := d.people.subjects[k.Subject], true
	if name == "" {
		tied = false
		if name = state.identities[k.Identity]; name == "" {
			name = k.name
		}
		if _, is := d.people.people[name]; is {
			return "", refused("name-taken", "the provider calls you %s, which is the name of an administrator of the configuration that is not tied to your account; whoever keeps the configuration adds oidc: SUBJECT there, if it is you", name)
		}
	}
	if name == "" {
		return "", refused("no-name", "the provider says no name of yours that can be used here: its claim for it is missing, has other characters than a-z 0-9 . - _ + @, or is an e-mail address that it has not verified (email_verified)")
	}
	p, _ := state.Person(name)
	p.Claimed, p.ClaimedAt = k.roles, d.cfg.Now()
	if len(d.people.rolesOf(&p, d.cfg.Now())) == 0 {
		// What it said before must not hold any longer than what it says now.
		if before, there := state.Person(name); there && len(before.Claimed) > 0 && before.Identity == k.Identity {
			if _, err := d.do(ctx, Act{What: RolesLost, Actor: Actor{name, ByOIDC}, Person: name, Identity: k.Identity}); err != nil {
				return "", err
			}
		}
		return "", refused("no-role", "you are %s, and nothing gives you a role here: %s. An owner can give you one under People, or whoever keeps the provider can add you to a group", name, k.noRole)
	}
	act := Act{At: d.cfg.Now(), Actor: Actor{name, ByOIDC}, Person: name, Identity: k.Identity, Claimed: slices.Clone(k.roles), Tied: tied, Proof: k.proof}
	// Known to have no effect, it is not recorded: an entry would say that somebody signed
	// in whose name a stranger has given themself, as often as they like.
	before, _ := state.Person(name)
	var secret string
	err := state.mayBe(&before, &act)
	if err == nil {
		secret, err = d.begin(ctx, act, again)
	}
	if errors.Is(err, ErrNoEffect) {
		return "", &Refusal{Code: "name-taken", Detail: err.Error(), Cause: err}
	}
	return secret, err
}
