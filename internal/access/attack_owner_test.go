package access

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// ATTACK: two owners remove each other at the same time on two gateways, or somebody
// acts on others on one gateway while they are removed on another. THIS TEST VERIFIES
// that the journal's order decides, so that an owner is left and nobody acts after their end.
func TestAttackOwnersWhoRemoveEachOther(t *testing.T) {
	at, seq := time.Now(), uint64(0)
	act := func(a Act) Act {
		a.Seq, a.At, a.Until = seq, at, at.Add(time.Hour)
		seq++
		return a
	}
	state, why := (&State{}).Fold(act(Act{What: RoleGiven, Person: "ada", Roles: []Role{Owner}}), act(Act{What: RoleGiven, Person: "bob", Roles: []Role{Owner}}))
	if errors.Join(why...) != nil {
		t.Fatal(why)
	}
	_, link := newSecret("")
	bob := Actor{Name: "bob"}
	for what, first := range map[string]Act{"removed": {What: PersonRemoved, Person: "bob", Actor: Actor{Name: "ada"}}, "not an owner": {What: RoleTaken, Person: "bob", Roles: []Role{Owner}, Actor: Actor{Name: "ada"}}} {
		for _, then := range []Act{{What: PersonRemoved, Person: "ada", Actor: bob}, {What: RoleTaken, Person: "ada", Roles: []Role{Owner}, Actor: bob},
			{What: RoleGiven, Person: "eve", Roles: []Role{Owner}, Actor: bob}, {What: LinkMade, Person: "bob", Link: link, Roles: []Role{Owner}, Actor: bob}} {
			next, why := state.Fold(act(first), act(then))
			if why[0] != nil || !errors.Is(why[1], ErrNoEffect) {
				t.Errorf("%s, then %s: %v", what, then.What, why)
			}
			if p, _ := next.Person("ada"); p.Removed || len(p.Given) != 1 {
				t.Errorf("%s, then %s: ada is %+v", what, then.What, p)
			}
		}
	}
}

// ATTACK: an owner makes a link for somebody who is here already and opens it themself,
// to act as a second person; or a program whose API token may own does, to have a session
// with every right of its person. THIS TEST VERIFIES that every act of a session by a
// link says who made the link, and that an API token makes one for nobody who was here.
func TestAttackALinkForSomebodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newMemory()
		d := start(t, j, ada)
		owner := who(t, d, must(t)(d.SignInByToken(t.Context(), adaToken, Visitor{})))
		invited(t, d, "bob", ConsentAdministrator)
		asBob := who(t, d, invited(t, d, "bob"))
		if asBob.Name != "bob" || asBob.SignedIn != "one-time link of ada" || !asBob.CameByLink() {
			t.Errorf("%+v", asBob)
		}
		if _, _, err := d.MakeToken(t.Context(), asBob, "ci", []Right{Read}, time.Hour); err != nil || !strings.Contains(j.text(), "signed_in:one-time link of ada token:") {
			t.Errorf("%v:\n%s", err, j.text())
		}
		secret, _, err := d.MakeToken(t.Context(), owner, "people", []Right{Own}, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		program, err := d.Bearer(secret)
		if err != nil {
			t.Fatal(err)
		}
		for name, ok := range map[string]bool{"ada": false, "bob": false, "carl": true} {
			if _, err := d.Invite(t.Context(), program, name, []Role{Viewer}); (err == nil) != ok || !ok && !errors.Is(err, ErrInvalid) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

// ATTACK: an API token that may only read was lost, and ends the other tokens of its
// person, on which programs depend. THIS TEST VERIFIES that it ends none but itself.
func TestAttackATokenThatEndsOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := start(t, newMemory(), ada)
		owner, _ := d.Bearer(adaToken)
		bob := who(t, d, invited(t, d, "bob", Viewer))
		lost, its, err1 := d.MakeToken(t.Context(), bob, "lost", []Right{Read}, time.Hour)
		_, other, err2 := d.MakeToken(t.Context(), bob, "other", []Right{Read}, time.Hour)
		_, second, err3 := d.MakeToken(t.Context(), owner, "lost", []Right{Read}, time.Hour)
		if err := errors.Join(err1, err2, err3); err != nil {
			t.Fatal(err)
		}
		by, _ := d.Bearer(lost)
		for _, id := range []Digest{other.ID, second.ID} {
			if err := d.RevokeToken(t.Context(), by, id); !errors.Is(err, ErrNotYours) {
				t.Errorf("it ends another token: %v", err)
			}
		}
		if err := d.RevokeToken(t.Context(), by, its.ID); err != nil {
			t.Errorf("it does not end itself: %v", err)
		}
		if err := d.RevokeToken(t.Context(), bob, other.ID); err != nil {
			t.Error(err)
		}
	})
}
