package seal

import (
	"bytes"
	"crypto/ed25519"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/isogate/isogate"
)

const (
	email   = isogate.Label("personal.contact.email")
	account = isogate.Label("account.id")
	session = "mfrggzdfmztwq2lknnwg23tpoa"
)

var start = time.Date(2026, 11, 26, 1, 2, 3, 456_000_000, time.UTC)

func text(s string) isogate.Value {
	return isogate.Value{Kind: isogate.String, Text: []byte(s)}
}

// transitOnly is a context as a gateway asks for it.
func transitOnly() Context {
	return Context{Tenant: "acme", Destination: "support-portal", Transit: "support-session", Session: session}
}

func temporary(ttl time.Duration) Context {
	c := transitOnly()
	c.Session, c.Handling, c.TTL = "", isogate.Temporary, ttl
	return c
}

// side is a landing side without anything but its keys.
type side struct {
	epoch     *Epoch
	statement *Statement
	signer    note.Signer
	verifier  note.Verifier
}

func newSide(tb testing.TB) *side {
	tb.Helper()
	e, err := NewEpoch()
	if err != nil {
		tb.Fatal(err)
	}
	s, v := keys(tb, 7, "desk.example/landing-1")
	return &side{epoch: e, signer: s, verifier: v, statement: &Statement{
		Destination: "support-portal", Landing: s.Name(), Home: [4]byte{1, 2, 3, 4}, Epoch: e.ID(), Public: e.Public(),
		NotBefore: start.Truncate(time.Second).Add(-time.Minute), NotAfter: start.Truncate(time.Second).Add(20 * time.Minute),
		Idle: 15 * time.Minute, Max: 8 * time.Hour, Acknowledges: []isogate.LabelPattern{"account.**", "personal.contact.email"},
	}}
}

// noteKeys are a signing key that is the same each time for one seed.
func noteKeys(tb testing.TB, seed byte, name string) (skey, vkey string) {
	tb.Helper()
	skey, vkey, err := note.GenerateKey(bytes.NewReader(bytes.Repeat([]byte{seed}, ed25519.SeedSize)), name)
	if err != nil {
		tb.Fatal(err)
	}
	return skey, vkey
}

func keys(tb testing.TB, seed byte, name string) (note.Signer, note.Verifier) {
	tb.Helper()
	skey, vkey := noteKeys(tb, seed, name)
	s, err := note.NewSigner(skey)
	if err != nil {
		tb.Fatal(err)
	}
	v, err := note.NewVerifier(vkey)
	if err != nil {
		tb.Fatal(err)
	}
	return s, v
}

func at(t time.Time) func() time.Time { return func() time.Time { return t } }

func mustSealer(tb testing.TB, c Context, s *side) *Sealer {
	tb.Helper()
	k, err := NewSealer(c, s.statement, at(start))
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

// arrive is what the landing side gets of k, through the header.
func arrive(tb testing.TB, k *Sealer) Arrival {
	tb.Helper()
	as, err := ParseHeader([]string{string(k.AppendHeader(nil))}, k.Context().Tenant, k.Context().Destination)
	if err != nil {
		tb.Fatal(err)
	}
	if len(as) != 1 {
		tb.Fatal(len(as))
	}
	return as[0]
}

func unwrap(tb testing.TB, s *side, a Arrival) *[32]byte {
	tb.Helper()
	key := new([32]byte)
	if err := s.epoch.Unwrap(a, key); err != nil {
		tb.Fatal(err)
	}
	return key
}

func sealed(tb testing.TB, p *Passage, l isogate.Label, v isogate.Value) string {
	tb.Helper()
	out, ok := p.Append(nil, l, v)
	if !ok {
		tb.Fatal("not sealed")
	}
	return string(out)
}

// holder opens with the keys that it has, as a landing side does.
type holder map[ID]held

type held struct {
	key *[32]byte
	c   Context
}

func hold(tb testing.TB, s *side, ks ...*Sealer) holder {
	tb.Helper()
	h := holder{}
	for _, k := range ks {
		a := arrive(tb, k)
		h[a.ID] = held{unwrap(tb, s, a), a.Context}
	}
	return h
}

func (h holder) OpenSeal(scratch []byte, id ID, raw []byte) (Opened, Outcome) {
	k, ok := h[id]
	if !ok {
		return Opened{}, Expired
	}
	o, err := OpenKey(k.key, &k.c, raw, scratch)
	if err != nil {
		return Opened{}, Withheld
	}
	return o, Revealed
}

func TestTrip(t *testing.T) {
	s := newSide(t)
	for _, c := range []Context{transitOnly(), temporary(5 * time.Minute)} {
		k := mustSealer(t, c, s)
		h := hold(t, s, k)
		p := k.Passage()
		_ = k.Passage()
		q := k.Passage()
		if p.Number() != 1 || q.Number() != 3 {
			t.Fatal(p.Number(), q.Number())
		}
		for _, v := range []isogate.Value{text(""), text("Mia"), text("mia@example.com"), text(strings.Repeat("é", 40_000)), text("\x00\x80\x83\x00"),
			{Kind: isogate.Number, Text: []byte("-12.5e+3")}, {Kind: isogate.Bool, Text: []byte("false")}} {
			got := sealed(t, &q, email, v)
			id, raw, ok := Parse([]byte(got))
			if !ok || id != k.ID() || !strings.HasPrefix(got, "igs1") {
				t.Fatalf("%.60q: %s, %v", got, id, ok)
			}
			o, outcome := h.OpenSeal(nil, id, raw)
			if outcome != Revealed || o.Kind != v.Kind || !bytes.Equal(o.Value, v.Text) || o.Label != email || o.Request != 3 || o.Age != 0 {
				t.Fatalf("%d bytes: %d, %d bytes, %s, %d", len(v.Text), outcome, len(o.Value), o.Label, o.Request)
			}
			if o, outcome := k.OpenSeal(nil, id, raw); outcome != Revealed || !bytes.Equal(o.Value, v.Text) {
				t.Fatal("the gateway's own")
			}
		}
	}
}
