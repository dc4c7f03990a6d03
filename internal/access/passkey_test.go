package access

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
)

// device is an authenticator, which says what a test wants it to.
type device struct {
	key    *ecdsa.PrivateKey
	id     string
	handle []byte
	// Of the next assertion.
	origin, party, kind string
	flags               byte
	count               uint32
	wrongKey            bool
}

func newDevice(t *testing.T) *device {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &device{key: key, id: rand.Text(), handle: []byte(rand.Text()), origin: "https://hub.acme.example", party: "hub.acme.example", kind: "webauthn.get",
		flags: byte(protocol.FlagUserPresent | protocol.FlagUserVerified)}
}

// public is the key in COSE form (RFC 9053): EC2, ES256, P-256.
func (d *device) public(t *testing.T) []byte {
	t.Helper()
	point, err := d.key.PublicKey.Bytes() // 4, x, y
	if err != nil {
		t.Fatal(err)
	}
	out := []byte{0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21, 0x58, 0x20}
	out = append(out, point[1:33]...)
	return append(append(out, 0x22, 0x58, 0x20), point[33:]...)
}

// answer is what a browser sends for a question.
func (d *device) answer(t *testing.T, options any) []byte {
	t.Helper()
	text, err := json.Marshal(options)
	if err != nil {
		t.Fatal(err)
	}
	var asked struct {
		PublicKey struct {
			Challenge string `json:"challenge"`
		} `json:"publicKey"`
	}
	if err := json.Unmarshal(text, &asked); err != nil {
		t.Fatal(err)
	}
	client, err := json.Marshal(map[string]any{"type": d.kind, "challenge": asked.PublicKey.Challenge, "origin": d.origin, "crossOrigin": false})
	if err != nil {
		t.Fatal(err)
	}
	rp := sha256.Sum256([]byte(d.party))
	data := binary.BigEndian.AppendUint32(append(rp[:], d.flags), d.count)
	hash := sha256.Sum256(client)
	digest := sha256.Sum256(append(append([]byte{}, data...), hash[:]...))
	key := d.key
	if d.wrongKey {
		key = newDevice(t).key
	}
	sig, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	e := base64.RawURLEncoding.EncodeToString
	body, err := json.Marshal(map[string]any{"id": e([]byte(d.id)), "rawId": e([]byte(d.id)), "type": "public-key",
		"response": map[string]string{"authenticatorData": e(data), "clientDataJSON": e(client), "signature": e(sig), "userHandle": e(d.handle)}})
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// ATTACK: an answer to a question for a passkey is sent a second time, is an answer to
// another question, was given to another site or for another one, by another key, for
// another person, without the device having verified its user, or by a copy of the
// passkey. THIS TEST VERIFIES that each opens nothing, and that the one that is right
// opens one session.
func TestAttackForgedPasskeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at, err := url.Parse("https://hub.acme.example")
		if err != nil {
			t.Fatal(err)
		}
		keys, err := NewPasskeys(at, "Isogate", nil)
		if err != nil {
			t.Fatal(err)
		}
		j := newMemory()
		d := start(t, j, ada)
		grace := who(t, d, invited(t, d, "grace", Viewer))
		dev := newDevice(t)
		add := func(dev *device, person string) {
			if _, err := d.do(t.Context(), Act{What: PasskeyAdded, Actor: Actor{Name: person}, Person: person, Name: "x",
				Passkey: Passkey{ID: dev.id, Key: dev.public(t), Handle: dev.handle, Count: dev.count}}); err != nil {
				t.Fatal(err)
			}
		}
		dev.count = 7
		add(dev, "grace")
		try := func(again Visitor, change func(*device)) (string, error) {
			options, kept, err := d.AskPasskey(keys)
			if err != nil {
				t.Fatal(err)
			}
			bad := *dev
			bad.count++
			if change != nil {
				change(&bad)
			}
			return d.SignInByPasskey(t.Context(), keys, kept, bad.answer(t, options), again)
		}
		for what, change := range map[string]func(*device){
			"another site's":     func(d *device) { d.origin = "https://evil.example" },
			"another port's":     func(d *device) { d.origin = "https://hub.acme.example:8443" },
			"another party's":    func(d *device) { d.party = "evil.example" },
			"another ceremony":   func(d *device) { d.kind = "webauthn.create" },
			"another key":        func(d *device) { d.wrongKey = true },
			"an unknown passkey": func(d *device) { d.id = "x" },
			"another's handle":   func(d *device) { d.handle = []byte("x") },
			"no handle":          func(d *device) { d.handle = nil },
			"not verified":       func(d *device) { d.flags = byte(protocol.FlagUserPresent) },
			"nobody there":       func(d *device) { d.flags = byte(protocol.FlagUserVerified) },
			"the same count":     func(d *device) { d.count = 7 },
			"a smaller count":    func(d *device) { d.count = 3 },
			"no count":           func(d *device) { d.count = 0 },
		} {
			if _, err := try(Visitor{}, change); err == nil {
				t.Errorf("%s: somebody is signed in", what)
			}
		}
		_, kept, err := d.AskPasskey(keys)
		if err != nil {
			t.Fatal(err)
		}
		options, _, err := d.AskPasskey(keys)
		if err != nil {
			t.Fatal(err)
		}
		dev.count++
		body := dev.answer(t, options)
		if _, err := d.SignInByPasskey(t.Context(), keys, kept, body, Visitor{}); err == nil {
			t.Error("it answers another question")
		}
		elsewhere, err := NewPasskeys(at, "Isogate", nil)
		if err != nil {
			t.Fatal(err)
		}
		options, kept, err = d.AskPasskey(keys)
		if err != nil {
			t.Fatal(err)
		}
		body = dev.answer(t, options)
		if _, err := d.SignInByPasskey(t.Context(), elsewhere, kept, body, Visitor{}); err == nil {
			t.Error("another gateway takes a ticket that it did not write")
		}
		if n := j.acts(SignedIn); n != 1 {
			t.Errorf("%d sign-ins before the right one", n)
		}
		secret := must(t)(d.SignInByPasskey(t.Context(), keys, kept, body, Visitor{}))
		if v := who(t, d, secret); v.Name != "grace" || v.SignedIn != ByPasskey || !v.Fresh(time.Now(), time.Minute) {
			t.Errorf("%+v", v)
		}
		if _, err := d.SignInByPasskey(t.Context(), keys, kept, body, Visitor{}); err == nil {
			t.Error("an answer opens two sessions")
		}
		// A device that does not count is no copy, but its answers are taken once, too.
		quiet := newDevice(t)
		add(quiet, "grace")
		dev = quiet
		for range 2 {
			if _, err := try(Visitor{}, func(d *device) { d.count = 0 }); err != nil {
				t.Errorf("a device that does not count: %v", err)
			}
		}
		options, kept, err = d.AskPasskey(keys)
		if err != nil {
			t.Fatal(err)
		}
		body = dev.answer(t, options)
		must(t)(d.SignInByPasskey(t.Context(), keys, kept, body, Visitor{}))
		if _, err := d.SignInByPasskey(t.Context(), keys, kept, body, Visitor{}); err == nil {
			t.Error("an answer of a device that does not count opens two sessions")
		}
		owner := who(t, d, must(t)(d.SignInByToken(t.Context(), adaToken, Visitor{})))
		if _, err := try(owner, nil); err == nil {
			t.Error("grace's passkey proves that somebody is ada")
		}
		if err := d.Remove(t.Context(), owner, "grace", ""); err != nil {
			t.Fatal(err)
		}
		if _, err := try(Visitor{}, nil); err == nil {
			t.Error("a removed person's passkey signs in")
		}
		if _, err := d.Visitor(secret); err == nil || len(d.State().Passkeys("grace")) != 0 {
			t.Errorf("grace is gone, and %+v is not", grace)
		}
	})
}

// Two gateways let somebody in by the same link, by the same answer of a passkey, or
// give one name to two accounts, before either has heard of the other. Of the two acts
// the second in the journal has no effect.
func TestOnceOnAllGateways(t *testing.T) {
	at := time.Now()
	next := uint64(0)
	act := func(a Act) Act {
		a.Seq, a.At, a.Until = next, at, at.Add(time.Hour)
		next++
		if a.What == SignedIn {
			_, a.Session = newSecret("")
		}
		return a
	}
	_, link := newSecret("")
	_, first := newSecret("")
	key := Passkey{ID: "k", Key: []byte{1}, Handle: []byte{2}, Count: 7}
	used := Passkey{ID: "k", Count: 8}
	empty, why := (&State{}).Fold(act(Act{What: LinkMade, Link: first, Roles: []Role{Owner}}))
	if why[0] != nil {
		t.Fatal(why)
	}
	state, why := (&State{}).Fold(act(Act{What: LinkMade, Person: "grace", Link: link, Roles: []Role{Viewer}}), act(Act{What: RoleGiven, Person: "ada", Roles: []Role{Owner}}),
		act(Act{What: PasskeyAdded, Person: "ada", Passkey: key}))
	for _, err := range why {
		if err != nil {
			t.Fatal(err)
		}
	}
	for what, c := range map[string]struct {
		state    *State
		one, two Act
	}{
		"a link":          {state, Act{What: SignedIn, Person: "grace", Link: link}, Act{What: SignedIn, Person: "grace", Link: link}},
		"a first link":    {empty, Act{What: SignedIn, Person: "ada", Link: first}, Act{What: SignedIn, Person: "eve", Link: first}},
		"a passkey":       {state, Act{What: SignedIn, Person: "ada", Passkey: used}, Act{What: SignedIn, Person: "ada", Passkey: used}},
		"a name":          {state, Act{What: SignedIn, Person: "dee", Identity: Identity{"i", "1"}}, Act{What: SignedIn, Person: "dee", Identity: Identity{"i", "2"}}},
		"an account":      {state, Act{What: SignedIn, Person: "dee", Identity: Identity{"i", "1"}}, Act{What: SignedIn, Person: "eve", Identity: Identity{"i", "1"}}},
		"a removal":       {state, Act{What: PersonRemoved, Person: "ada"}, Act{What: SignedIn, Person: "ada"}},
		"a link's end":    {state, Act{What: LinkRevoked, Link: link}, Act{What: SignedIn, Person: "grace", Link: link}},
		"another's link":  {state, Act{What: SignedOut, Person: "ada"}, Act{What: SignedIn, Person: "ada", Link: link}},
		"a passkey's end": {state, Act{What: PasskeyRemoved, Person: "ada", Passkey: Passkey{ID: "k"}}, Act{What: SignedIn, Person: "ada", Passkey: used}},
	} {
		next, why := c.state.Fold(act(c.one), act(c.two))
		if what != "another's link" && why[0] != nil || !errors.Is(why[1], ErrNoEffect) {
			t.Errorf("%s: %v", what, why)
		}
		if n := len(next.Sessions(c.two.Person, at)); c.two.Person == c.one.Person && c.one.What == SignedIn && n != 1 || c.one.What != SignedIn && n != 0 {
			t.Errorf("%s: %d sessions", what, n)
		}
	}
	before := len(state.Sessions("", at))
	if _, _ = state.Fold(act(Act{What: SignedIn, Person: "ada"})); len(state.Sessions("", at)) != before {
		t.Error("a state has changed")
	}
}
