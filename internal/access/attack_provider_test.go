package access

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/isogate/isogate/internal/isogatetest/oidctest"
)

// ATTACK: an account of the provider is called like somebody else but for a letter that
// only lower case makes the same, such as the sign for kelvin, and gets the roles that an
// owner gave to that name. THIS TEST VERIFIES that such a name is nobody's.
func TestAttackNamesAlikeInLowerCase(t *testing.T) {
	a := newAbroad(t, oidctest.Config{Users: []oidctest.User{
		{Name: "kate", Subject: "k1", Email: "\u212aate@acme.example"}, {Name: "Kate", Subject: "k2", Email: "Kate@acme.example"}}}, nil)
	if err := a.desk.GiveRoles(t.Context(), Visitor{Name: "olga", Roles: []Role{Owner}}, "kate@acme.example", []Role{Owner}, ""); err != nil {
		t.Fatal(err)
	}
	_, err := a.signIn("kate")
	wantRefusal(t, err, "no-name")
	if v, err := a.signIn("Kate"); err != nil || !v.May(Own) {
		t.Errorf("whose name it is: %+v %v", v, err)
	}
}

// ATTACK: somebody who has an account of the provider calls it like somebody who is here,
// and signs in again and again. THIS TEST VERIFIES that they are refused without any
// entry which says that the other signed in.
func TestAttackRefusedAccountsFillTheJournal(t *testing.T) {
	a := newAbroad(t, oidctest.Config{}, nil)
	if _, err := a.signIn("grace"); err != nil {
		t.Fatal(err)
	}
	a.idp.Change(oidctest.User{Name: "mallory", Subject: "m1", Email: "grace@acme.example", Groups: []string{"isogate-owners"}})
	before := a.journal.text()
	for range 3 {
		_, err := a.signIn("mallory")
		wantRefusal(t, err, "name-taken")
	}
	if a.journal.text() != before {
		t.Errorf("the journal has:\n%s", a.journal.text())
	}
}

// ATTACK: a stranger has the Hub ask a provider that does not answer. THIS TEST VERIFIES
// that nothing which does not need the answer waits for it: not the page on which
// somebody signs in by another way, nor, where the provider was asked before, who is sent
// there; and that who needs it waits no longer than they like.
func TestAttackASlowProvider(t *testing.T) {
	a := newAbroad(t, oidctest.Config{}, nil)
	next := a.provider.fence.next
	asked, answer := make(chan struct{}, 1), make(chan struct{})
	hang := spyFunc(func(r *http.Request) (*http.Response, error) {
		asked <- struct{}{}
		<-answer
		return next.RoundTrip(r)
	})
	for _, known := range []bool{false, true} {
		a.provider.fence.next = hang
		a.now = a.now.Add(discoverEvery)
		begun := make(chan error, 1)
		go func() {
			_, _, err := a.provider.Begin(context.Background(), "/", false)
			begun <- err
		}()
		<-asked
		ctx, stop := context.WithTimeout(t.Context(), 5*time.Second)
		done := make(chan error, 1)
		go func() {
			a.provider.Logout("https://hub.acme.example/signin")
			ctx, stop := ctx, stop
			if !known {
				ctx, stop = context.WithCancel(ctx)
				stop()
			}
			_, _, err := a.provider.Begin(ctx, "/", false)
			stop()
			done <- err
		}()
		select {
		case err := <-done:
			if (err == nil) != known {
				t.Errorf("known before: %v: %v", known, err)
			}
		case <-ctx.Done():
			if !errors.Is(ctx.Err(), context.Canceled) {
				t.Fatalf("known before: %v: somebody waits for the provider", known)
			}
		}
		answer <- struct{}{}
		a.provider.fence.next = next
		if err := <-begun; err != nil {
			t.Fatal(err)
		}
	}
}
