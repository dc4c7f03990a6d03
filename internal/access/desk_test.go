package access

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/isogate/isogate"
)

// Somebody signs in, is known by their secret on every gateway, and after they have
// signed out on none; the journal says how they signed in, and has no secret.
//
// promise: P15
func TestASessionOnEveryGateway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newMemory()
		one, two := start(t, j, ada), start(t, j, ada)
		secret := must(t)(one.SignInByToken(t.Context(), adaToken, Visitor{}))
		synctest.Wait()
		for _, d := range []*Desk{one, two} {
			v := who(t, d, secret)
			if v.Name != "ada" || v.SignedIn != ByBearer || !v.May(Own) || v.Session == "" || !v.Fresh(time.Now(), d.Proof()) {
				t.Errorf("the visitor is %+v", v)
			}
		}
		if text := j.text(); strings.Contains(text, secret) || strings.Contains(text, adaToken) || !strings.Contains(text, "signed_in:bearer token") {
			t.Errorf("the journal has:\n%s", text)
		}
		if err := two.SignOut(t.Context(), who(t, two, secret)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		for _, d := range []*Desk{one, two} {
			if _, err := d.Visitor(secret); !errors.Is(err, ErrNobody) {
				t.Errorf("after signing out: %v", err)
			}
		}
		if j.acts(SignedIn) != 1 || j.acts(SignedOut) != 1 {
			t.Errorf("the journal has:\n%s", j.text())
		}
	})
}

// A session ends when it is not used, when its time is over, and not before; after a
// restart what was not used lately is not used again.
func TestSessionsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newMemory()
		d := start(t, j, ada)
		idle, used := must(t)(d.SignInByToken(t.Context(), adaToken, Visitor{})), must(t)(d.SignInByToken(t.Context(), adaToken, Visitor{}))
		for range 23 {
			if _, err := d.Visitor(used); err != nil {
				t.Fatal(err)
			}
			time.Sleep(DefaultIdle - time.Nanosecond) //nolint:forbidigo // of a bubble's clock
		}
		if _, err := d.Visitor(idle); !errors.Is(err, ErrOver) {
			t.Errorf("what was not used for long: %v", err)
		}
		again := start(t, j, ada) // as after a restart
		if _, err := again.Visitor(used); !errors.Is(err, ErrOver) {
			t.Errorf("what nobody here has seen used: %v", err)
		}
		for began := time.Now(); time.Since(began) < DefaultMax-23*DefaultIdle; time.Sleep(DefaultIdle / 2) { //nolint:forbidigo // of a bubble's clock
			if _, err := d.Visitor(used); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second) //nolint:forbidigo // of a bubble's clock
		if _, err := d.Visitor(used); !errors.Is(err, ErrOver) {
			t.Errorf("after the longest time: %v", err)
		}
	})
}

// A proof of who somebody is holds for minutes; proving it again begins a new
// session, and ends the one before.
func TestProofHoldsForMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := start(t, newMemory(), ada)
		first := must(t)(d.SignInByToken(t.Context(), adaToken, Visitor{}))
		time.Sleep(DefaultProof - time.Nanosecond) //nolint:forbidigo // of a bubble's clock
		if !who(t, d, first).Fresh(time.Now(), d.Proof()) {
			t.Error("it does not hold for as long as it says")
		}
		time.Sleep(time.Nanosecond) //nolint:forbidigo // of a bubble's clock
		v := who(t, d, first)
		if v.Fresh(time.Now(), d.Proof()) {
			t.Error("it holds for longer than it says")
		}
		second := must(t)(d.SignInByToken(t.Context(), adaToken, v))
		if second == first || !who(t, d, second).Fresh(time.Now(), d.Proof()) {
			t.Error("it was not proved again")
		}
		if _, err := d.Visitor(first); !errors.Is(err, ErrNobody) {
			t.Errorf("the session before: %v", err)
		}
		bob := who(t, d, invited(t, d, "bob", Viewer))
		if _, err := d.SignInByToken(t.Context(), adaToken, bob); err == nil {
			t.Error("ada's token proves that somebody is bob")
		}
	})
}

// What an owner takes from somebody is gone from their session at once, whoever says
// that they have it: the journal, the configuration or the provider.
func TestRolesAreOfNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := start(t, newMemory(), ada, Configured{Name: "cy", Roles: []Role{Auditor}, TokenSHA256: string(DigestOf("cy"))})
		owner, _ := d.Bearer(adaToken)
		dee := Identity{"https://id.example", "1"}
		sessions := map[string]string{
			"bob": invited(t, d, "bob", Auditor),
			"cy":  must(t)(d.SignInByToken(t.Context(), "cy", Visitor{})),
			"dee": must(t)(d.signInBy(t.Context(), known{Identity: dee, name: "dee", roles: []Role{Auditor}}, Visitor{})),
		}
		for name, secret := range sessions {
			if !who(t, d, secret).May(Export) {
				t.Errorf("%s may not export", name)
			}
			if err := d.TakeRoles(t.Context(), owner, name, []Role{Auditor}, "left the team"); err != nil {
				t.Fatal(err)
			}
			if v := who(t, d, secret); v.May(Export) || v.May(Read) {
				t.Errorf("%s has %v", name, v.Roles)
			}
			if err := d.GiveRoles(t.Context(), owner, name, []Role{Auditor}, "is back"); err != nil {
				t.Fatal(err)
			}
			if !who(t, d, secret).May(Export) {
				t.Errorf("%s does not have it again", name)
			}
			if err := d.Remove(t.Context(), owner, name, "left"); err != nil {
				t.Fatal(err)
			}
			if _, err := d.Visitor(secret); !errors.Is(err, ErrNobody) {
				t.Errorf("%s was removed, and still sits there: %v", name, err)
			}
		}
		if _, err := d.Bearer("cy"); !errors.Is(err, ErrNobody) {
			t.Errorf("a removed person's token: %v", err)
		}
		if _, err := d.SignInByToken(t.Context(), "cy", Visitor{}); err == nil {
			t.Error("a removed person signs in by their token")
		}
		if _, err := d.signInBy(t.Context(), known{Identity: dee, name: "dee", roles: []Role{Auditor}}, Visitor{}); err == nil {
			t.Error("a removed person signs in by the provider")
		}
	})
}

// An API token does what it is for, as its person, until its time, its person's
// roles or somebody ends it.
func TestAPITokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newMemory()
		d := start(t, j, ada)
		owner, _ := d.Bearer(adaToken)
		bob := who(t, d, invited(t, d, "bob", Auditor))
		for _, c := range []struct {
			name   string
			rights []Right
			holds  time.Duration
		}{{"", []Right{Read}, time.Hour}, {"ci", nil, time.Hour}, {"ci", []Right{Decide}, time.Hour}, {"ci", []Right{Read, Own}, time.Hour}, {"ci", []Right{Read}, 0},
			{"ci", []Right{Read}, MaxToken + 1}, {"ci\n", []Right{Read}, time.Hour}, {"ci\u202e", []Right{Read}, time.Hour}, {strings.Repeat("x", 61), []Right{Read}, time.Hour}} {
			if _, _, err := d.MakeToken(t.Context(), bob, c.name, c.rights, c.holds); !errors.Is(err, ErrInvalid) {
				t.Errorf("%+v: %v", c, err)
			}
		}
		secret, token, err := d.MakeToken(t.Context(), bob, "ci", []Right{Read}, time.Hour)
		if err != nil || !strings.HasPrefix(secret, TokenPrefix) || strings.Contains(j.text(), secret) {
			t.Fatalf("%v %s", err, secret)
		}
		v, err := d.Bearer(secret)
		if err != nil || v.Name != "bob" || v.SignedIn != "API token ci" || !v.May(Read) || v.May(Export) || v.Session != "" {
			t.Errorf("%+v %v", v, err)
		}
		if _, err := d.Visitor(secret); err == nil {
			t.Error("a token is a session")
		}
		if _, err := d.SignInByToken(t.Context(), secret, Visitor{}); err == nil {
			t.Error("a token signs in")
		}
		if _, _, err := d.MakeToken(t.Context(), v, "more", []Right{Read}, time.Hour); err == nil {
			t.Error("a token makes tokens")
		}
		if _, _, err := d.MakeToken(t.Context(), bob, "ci", []Right{Read}, time.Hour); err == nil {
			t.Error("two tokens have one name")
		}
		if err := d.TakeRoles(t.Context(), owner, "bob", []Role{Auditor}, ""); err != nil {
			t.Fatal(err)
		}
		if v, _ := d.Bearer(secret); v.May(Read) {
			t.Error("a token outlives its person's roles")
		}
		if err := d.RevokeToken(t.Context(), bob, token.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Bearer(secret); !errors.Is(err, ErrNobody) {
			t.Errorf("a revoked token: %v", err)
		}
		if secret, _, err = d.MakeToken(t.Context(), owner, "short", []Right{Read}, time.Hour); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour) //nolint:forbidigo // of a bubble's clock
		if _, err := d.Bearer(secret); !errors.Is(err, ErrNobody) {
			t.Errorf("a token whose time is over: %v", err)
		}
	})
}

// Where the journal is not heard of, nobody has a session or an API token: it may
// have been revoked. The tokens of the configuration are known without it.
func TestOutOfTouchNobodySits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newMemory()
		d := start(t, j, ada)
		secret := must(t)(d.SignInByToken(t.Context(), adaToken, Visitor{}))
		token, _, err := d.MakeToken(t.Context(), who(t, d, secret), "ci", []Right{Read}, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		j.set(func() { j.away = true })
		time.Sleep(DefaultLease + 2*time.Second) //nolint:forbidigo // of a bubble's clock
		if _, err := d.Visitor(secret); !errors.Is(err, ErrOutOfTouch) {
			t.Errorf("a session: %v", err)
		}
		if _, err := d.Bearer(token); !errors.Is(err, ErrOutOfTouch) {
			t.Errorf("an API token: %v", err)
		}
		if _, err := d.Bearer(adaToken); err != nil {
			t.Errorf("a token of the configuration: %v", err)
		}
		j.set(func() { j.away = false })
		time.Sleep(2 * time.Second) //nolint:forbidigo // of a bubble's clock
		if _, err := d.Visitor(secret); err != nil {
			t.Errorf("heard of again: %v", err)
		}
		j.set(func() { j.full = true })
		if _, err := d.SignInByToken(t.Context(), adaToken, Visitor{}); err == nil {
			t.Error("a sign-in that was not recorded counts")
		}
	})
}

// An act of the journal that cannot be read ends the desk: it may have taken
// something from somebody. One of another room does not.
func TestWhatCannotBeRead(t *testing.T) {
	for _, c := range []struct {
		entry isogate.Entry
		fails bool
	}{
		{isogate.Entry{Kind: isogate.KindAdmin, Act: "the story ended"}, false},
		{isogate.Entry{Kind: isogate.KindAdmin, Act: "none"}, false},
		{isogate.Entry{Kind: isogate.KindAdmin, Act: "role taken", Detail: map[string]string{"person": "bob", "roles": "owner,root"}}, true},
		{isogate.Entry{Kind: isogate.KindAdmin, Act: "token made", Detail: map[string]string{"rights": "all"}}, true},
		{isogate.Entry{Kind: isogate.KindAdmin, Act: "signed in", Detail: map[string]string{"until": "soon"}}, true},
		{isogate.Entry{Kind: isogate.KindAdmin, Act: "passkey added", Detail: map[string]string{"public_key": "!"}}, true},
	} {
		d, err := New(Config{Journal: newMemory(), Logger: discard})
		if err != nil {
			t.Fatal(err)
		}
		if err := d.take(Batch{Entries: []isogate.Entry{c.entry}}); (err != nil) != c.fails {
			t.Errorf("%+v: %v", c.entry, err)
		}
	}
}

// Every act is read back as it was written.
func TestActsAreReadAsWritten(t *testing.T) {
	at := time.Date(2027, 1, 2, 3, 4, 5, 6, time.UTC)
	for w := SignedIn; int(w) < len(whatNames); w++ {
		a := Act{What: w, Actor: Actor{"ada", ByOIDC}, Person: "bob", Reason: "because", Session: "s", Instead: "i", Until: at, Proof: at.Add(1), Identity: Identity{"iss", "sub"},
			Claimed: []Role{Viewer, Owner}, Tied: true, Link: "l", Roles: []Role{Auditor}, Token: "t", Name: "n", Rights: []Right{Read, Own},
			Passkey: Passkey{ID: "\x00\xffid", Key: []byte{1, 2}, Handle: []byte{3}, AAGUID: []byte{4}, Count: 7, BackupEligible: true}}
		if w == PasskeyRemoved {
			a.Passkey.Count = 0
		}
		e := a.Entry()
		got, err := readAct(e)
		if err != nil {
			t.Fatal(err)
		}
		if back := got.Entry(); !equalEntries(e, back) || !slices.Equal(got.Rights, a.Rights) {
			t.Errorf("%s: wrote %+v, read %+v", w, e, back)
		}
	}
}

// ATTACK: a stranger tries sign-ins without an end, so that the journal fills. THIS
// TEST VERIFIES that what they tried is on record, with how often, as one entry for
// each minute that had any, and that none of it is what they sent.
func TestAttackFillTheJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newMemory()
		d := start(t, j, ada)
		for i := range 10_000 {
			_, _ = d.SignInByToken(t.Context(), "guess", Visitor{})
			_, _ = d.SignInByLink(t.Context(), "guess", "eve")
			_, _ = d.Bearer("guess")
			_, _ = d.Visitor("guess")
			if i == 5_000 {
				time.Sleep(countEvery) //nolint:forbidigo // of a bubble's clock
			}
		}
		time.Sleep(10 * countEvery) //nolint:forbidigo // of a bubble's clock
		synctest.Wait()
		if n := j.acts(Refused); n != 2 || len(j.entries) != 2 {
			t.Errorf("%d entries, %d of refused sign-ins", len(j.entries), n)
		}
		sum := 0
		for _, e := range j.entries {
			n, err := strconv.Atoi(e.Detail["count"])
			if err != nil || e.Actor != "isogate serve" {
				t.Errorf("%+v", e)
			}
			sum += n
		}
		if sum != 30_000 || strings.Contains(j.text(), "guess") || strings.Contains(j.text(), "eve") {
			t.Errorf("%d refusals are on record:\n%s", sum, j.text())
		}
	})
}
