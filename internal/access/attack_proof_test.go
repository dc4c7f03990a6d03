package access

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// ATTACK: the gateway's clock is put back, or another gateway's is ahead, and a proof of
// who somebody is holds for that much longer. THIS TEST VERIFIES that one of the future
// is none, but for what clocks may differ by.
func TestAttackAProofOfTheFuture(t *testing.T) {
	now := time.Now()
	for ahead, fresh := range map[time.Duration]bool{0: true, skew: true, skew + time.Nanosecond: false, time.Hour: false, -DefaultProof: false, -DefaultProof + 1: true} {
		if (Visitor{Proved: now.Add(ahead)}).Fresh(now, DefaultProof) != fresh {
			t.Errorf("proved %s ahead", ahead)
		}
	}
}

// ATTACK: whoever sits at an open session, or a mistake, removes the last passkey of the
// only owner, and nobody can own the Hub any more. THIS TEST VERIFIES that nobody removes
// their own only way in, that another owner can, and that one of two ways can go.
func TestAttackTheLastWayIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := start(t, newMemory(), ada)
		owner := who(t, d, must(t)(d.SignInByToken(t.Context(), adaToken, Visitor{})))
		bob := who(t, d, invited(t, d, "bob", Owner))
		add := func(v Visitor, id string) {
			if _, err := d.do(t.Context(), Act{What: PasskeyAdded, Actor: actorOf(v), Person: v.Name, Name: id, Passkey: Passkey{ID: id, Key: []byte{1}, Handle: []byte{2}}}); err != nil {
				t.Fatal(err)
			}
		}
		add(bob, "one")
		if err := d.RemovePasskey(t.Context(), bob, "one"); !errors.Is(err, ErrInvalid) {
			t.Errorf("the only way in: %v", err)
		}
		add(bob, "two")
		if err := d.RemovePasskey(t.Context(), bob, "one"); err != nil {
			t.Error(err)
		}
		if err := d.RemovePasskey(t.Context(), owner, "two"); err != nil {
			t.Errorf("by another owner: %v", err)
		}
		add(owner, "three")
		if err := d.RemovePasskey(t.Context(), owner, "three"); err != nil {
			t.Errorf("beside a token of the configuration: %v", err)
		}
	})
}
