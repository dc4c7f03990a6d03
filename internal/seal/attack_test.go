package seal

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/obfuscate"
)

// ATTACK: a tenant who knows two keys makes one ciphertext that AES-GCM opens under
// both, to show one thing to the auditor and another to the support desk; or puts the
// id of one key before the ciphertext of another.
//
// THIS TEST VERIFIES: a seal opens under the key that its id names and no other,
// and an id names one key and one context.
//
// promise: P38
func TestAttackKeyConfusion(t *testing.T) {
	s := newSide(t)
	a, b := mustSealer(t, transitOnly(), s), mustSealer(t, transitOnly(), s)
	ha, hb := hold(t, s, a), hold(t, s, b)
	p := a.Passage()
	_, raw, _ := Parse([]byte(sealed(t, &p, email, text("Mia"))))
	if _, outcome := hb.OpenSeal(nil, a.ID(), raw); outcome != Expired {
		t.Errorf("unknown id: %d", outcome)
	}
	ctx := b.Context()
	if _, err := OpenKey(hb[b.ID()].key, &ctx, raw, nil); err == nil {
		t.Error("opened under another key")
	}
	moved := append(bytes.Clone(b.id[:]), raw[len(ID{}):]...)
	for what, h := range map[string]holder{"a": ha, "b": hb} {
		for id := range h {
			if o, outcome := h.OpenSeal(nil, id, moved); outcome == Revealed {
				t.Errorf("with the id of b, under the key of %s: %s", what, o.Label)
			}
		}
	}
	if _, outcome := a.OpenSeal(nil, a.ID(), moved); outcome == Revealed {
		t.Error("the gateway opened what is not of its key")
	}

	// A GCM ciphertext that opens under two keys can be made; the same id for both
	// cannot. Here a gateway wraps key 2 under the id of key 1.
	k1, k2 := [32]byte{1}, [32]byte{2}
	c := transitOnly()
	c.Made = start
	context := c.append(nil)
	id := commit(&k1, s.statement.Home, context)
	info := wrapInfo(append(context, id[:]...), s.epoch.ID())
	wrapped, err := s.statement.wrapTo(info, &k2)
	if err != nil {
		t.Fatal(err)
	}
	var key [32]byte
	if err := s.epoch.Unwrap(Arrival{ID: id, Epoch: s.epoch.ID(), Context: c, Wrapped: wrapped}, &key); err == nil || key != ([32]byte{}) {
		t.Errorf("unwrapped a key that the id does not commit to: %v", err)
	}
	wrapped, err = s.statement.wrapTo(info, &k1)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.epoch.Unwrap(Arrival{ID: id, Epoch: s.epoch.ID(), Context: c, Wrapped: wrapped}, &key); err != nil || key != k1 {
		t.Errorf("the key itself: %v", err)
	}
}

// changes are all the ways in which a context can be another.
func changes() map[string]func(*Context) {
	return map[string]func(*Context){
		"tenant":      func(c *Context) { c.Tenant = "umbrella" },
		"destination": func(c *Context) { c.Destination = "billing" },
		"transit":     func(c *Context) { c.Transit = "support-session2" },
		"session":     func(c *Context) { c.Session = "nnswy3dpebthe2lfnzsc4lroga" },
		"no session":  func(c *Context) { c.Session, c.ByRequest = "", true },
		"handling": func(c *Context) {
			c.Session, c.ByRequest, c.Handling, c.TTL, c.Window = "", false, isogate.Temporary, 300_000_000_000, 30_000_000_000
		},
		"ttl":  func(c *Context) { c.TTL += 600_000_000_000 },
		"made": func(c *Context) { c.Made = c.Made.Add(1_000_000) },
	}
}

// ATTACK: a seal, or the wrapped key of one, is moved to another tenant,
// destination, transit, session, handling or time, where somebody else may see it
// or where it lives longer.
//
// THIS TEST VERIFIES: neither opens anywhere but where it was made.
//
// promise: P38
func TestAttackMoved(t *testing.T) {
	s := newSide(t)
	for _, c := range []Context{transitOnly(), temporary(600_000_000_000)} {
		k := mustSealer(t, c, s)
		p := k.Passage()
		_, raw, _ := Parse([]byte(sealed(t, &p, email, text("Mia"))))
		a := arrive(t, k)
		key := unwrap(t, s, a)
		for what, change := range changes() {
			elsewhere := a
			change(&elsewhere.Context)
			if elsewhere.Context == a.Context {
				continue
			}
			if o, err := OpenKey(key, &elsewhere.Context, raw, nil); err == nil {
				t.Errorf("%s, another %s: opened: %s", c.Handling, what, o.Label)
			}
			var got [32]byte
			if err := s.epoch.Unwrap(elsewhere, &got); err == nil || got != ([32]byte{}) {
				t.Errorf("%s, another %s: unwrapped: %v", c.Handling, what, err)
			}
		}
		elsewhere := a
		elsewhere.ID[0] ^= 1
		if s.epoch.Unwrap(elsewhere, new([32]byte)) == nil {
			t.Error("unwrapped at another home")
		}
		elsewhere = a
		elsewhere.ID[15] ^= 1
		if s.epoch.Unwrap(elsewhere, new([32]byte)) == nil {
			t.Error("unwrapped under another id")
		}
		other := newSide(t)
		if other.epoch.Unwrap(a, new([32]byte)) == nil {
			t.Error("unwrapped in another epoch")
		}
		elsewhere = a
		elsewhere.Epoch = other.epoch.ID()
		if other.epoch.Unwrap(elsewhere, new([32]byte)) == nil || s.epoch.Unwrap(elsewhere, new([32]byte)) == nil {
			t.Error("unwrapped under the name of another epoch")
		}
	}
}

// ATTACK: a header that was recorded is sent again with one member changed: a
// longer ttl, another session, another handling, a later making.
//
// THIS TEST VERIFIES: the header is refused, or the key does not unwrap. Only the
// age may be changed, which the connection vouches for and which Made bounds.
//
// promise: P16
func TestAttackReplayedHeader(t *testing.T) {
	s := newSide(t)
	for _, c := range []Context{transitOnly(), temporary(600_000_000_000)} {
		line := string(mustSealer(t, c, s).AppendHeader(nil))
		for from, to := range map[string]string{
			`ttl=600000`: `ttl=6000000`, `window=30000`: `window=60000`, `handling=temporary`: `handling=transit-only`,
			`handling=transit-only`: `handling=temporary`, `;session="mfrgg`: `;session="nfrgg`, `made=17`: `made=18`,
			`transit="support-session"`: `transit="support"`, `;session="` + session + `"`: `;by-request`,
			`;ttl=600000;window=30000`: `;session="` + session + `"`, `;key=:`: `;key=:A`, `;epoch="`: `;epoch="a`,
		} {
			changed := strings.Replace(line, from, to, 1)
			if changed == line {
				continue
			}
			as, err := ParseHeader([]string{changed}, "acme", "support-portal")
			if err == nil && s.epoch.Unwrap(as[0], new([32]byte)) == nil {
				t.Errorf("%s for %s: unwrapped", to, from)
			}
		}
		// Every character of it.
		rnd := rand.New(rand.NewPCG(1, 2))
		age := strings.Index(line, ";age=")
		behind := age + strings.IndexByte(line[age+1:], ';') + 1
		for i := range len(line) {
			if i > behind+6 && i%11 != 0 || i >= age && i < behind { // most of the key: some of it
				continue
			}
			c := byte(' ' + rnd.IntN(95))
			if c == line[i] {
				continue
			}
			as, err := ParseHeader([]string{line[:i] + string(c) + line[i+1:]}, "acme", "support-portal")
			if err == nil && len(as) == 1 && as[0].Wrapped != nil && s.epoch.Unwrap(as[0], new([32]byte)) == nil {
				t.Errorf("%q at %d for %q: unwrapped", c, i, line[i])
			}
		}
		for _, who := range [][2]string{{"umbrella", "support-portal"}, {"acme", "billing"}} {
			as, err := ParseHeader([]string{line}, isogate.Tenant(who[0]), isogate.Destination(who[1]))
			if err != nil {
				t.Fatal(err)
			}
			if s.epoch.Unwrap(as[0], new([32]byte)) == nil {
				t.Errorf("unwrapped as of %s", who)
			}
		}
	}
}

// ATTACK: somebody on the far side changes, cuts or lengthens a seal, to see what
// comes of it.
//
// THIS TEST VERIFIES: no seal but the one that was made opens, and none is found
// in a text where its letters were changed.
func TestAttackDamaged(t *testing.T) {
	s := newSide(t)
	k := mustSealer(t, transitOnly(), s)
	h := hold(t, s, k)
	p := k.Passage()
	seal := sealed(t, &p, email, text("Mia"))
	id, raw, _ := Parse([]byte(seal))
	for i := range raw {
		for bit := range 8 {
			changed := bytes.Clone(raw)
			changed[i] ^= 1 << bit
			if _, outcome := h.OpenSeal(nil, id, changed); outcome == Revealed {
				t.Fatalf("byte %d, bit %d", i, bit)
			}
			if _, outcome := k.OpenSeal(nil, id, changed); outcome == Revealed {
				t.Fatalf("byte %d, bit %d, at the gateway", i, bit)
			}
		}
		if _, outcome := h.OpenSeal(nil, id, raw[:i]); outcome == Revealed {
			t.Fatalf("cut to %d bytes", i)
		}
	}
	if _, outcome := h.OpenSeal(nil, id, append(bytes.Clone(raw), 0)); outcome == Revealed {
		t.Fatal("one byte longer")
	}
	for i := range seal {
		changed := []byte(seal)
		if changed[i]++; changed[i] == '8' || changed[i] == '{' {
			changed[i] = 'a'
		}
		if out, n := Reveal(nil, changed, obfuscate.Plain, h, false); n.Revealed != 0 || strings.Contains(string(out), "Mia") {
			t.Fatalf("character %d: %q", i, out)
		}
		if _, _, ok := Parse([]byte(seal[:i])); ok {
			t.Fatalf("cut to %d characters", i)
		}
	}
	if _, _, ok := Parse([]byte(seal + "a")); ok {
		t.Error("a character more")
	}
}

// ATTACK: a tenant's own gateway, or whoever got hold of a seal key, makes seals by
// hand, of a kind that is written into the desk's JSON without quotes: a number
// that is none, followed by members of the attacker's.
//
// THIS TEST VERIFIES: a seal that no gateway makes does not open.
func TestAttackHandMadeSeal(t *testing.T) {
	key := [32]byte{9}
	c := transitOnly()
	c.Made = start
	id := commit(&key, [4]byte{1, 2, 3, 4}, c.append(nil))
	gcm, err := newGCM(&key)
	if err != nil {
		t.Fatal(err)
	}
	make := func(label, value string, mark byte, request uint64) []byte {
		plain := append([]byte{0, 0, 0, 5, byte(len(label))}, label+value...)
		plain = append(plain, mark, 0, 0, 0)
		raw := binary.BigEndian.AppendUint64(bytes.Clone(id[:]), request)
		raw = append(raw, 0, 0, 0, 1)
		return gcm.Seal(raw, raw[len(ID{}):], plain, append(c.append(nil), id[:]...))
	}
	const boolean, number, str = 0x81, 0x82, 0x83
	if o, err := OpenKey(&key, &c, make("a.b", "17", number, 1), nil); err != nil || string(o.Value) != "17" || o.Age.Milliseconds() != 5 {
		t.Fatalf("%s, %v", o.Value, err)
	}
	for what, raw := range map[string][]byte{
		"a number that ends its document": make("a.b", `1,"admin":true`, number, 1),
		"a number of JavaScript":          make("a.b", "0x10", number, 1),
		"a number with a zero before it":  make("a.b", "01", number, 1),
		"half a number":                   make("a.b", "1.", number, 1),
		"no number":                       make("a.b", "", number, 1),
		"a bool of others":                make("a.b", "True", boolean, 1),
		"a kind of others":                make("a.b", "x", 0x80, 1),
		"null":                            make("a.b", "null", 0, 1),
		"no label":                        make("", "x", str, 1),
		"a label with a line feed":        make("a.b\nc", "x", str, 1),
		"request 0":                       make("a.b", "x", str, 0),
		"a label that is longer than all": gcm.Seal(append(append(bytes.Clone(id[:]), 0, 0, 0, 0, 0, 0, 0, 1), 0, 0, 0, 1), []byte{0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1}, []byte{0, 0, 0, 0, 200, 'a', str, 0}, append(c.append(nil), id[:]...)),
		"too short for anything":          gcm.Seal(append(append(bytes.Clone(id[:]), 0, 0, 0, 0, 0, 0, 0, 1), 0, 0, 0, 1), []byte{0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1}, []byte{0, str}, append(c.append(nil), id[:]...)),
	} {
		if o, err := OpenKey(&key, &c, raw, nil); err == nil {
			t.Errorf("%s: opened: %q", what, o.Value)
		}
	}
	for s, want := range map[string]bool{"0": true, "-0": true, "10": true, "1e5": true, "1E-5": true, "-1.50e+07": true, "0.1": true,
		"": false, "-": false, "00": false, "1e": false, "1e+": false, ".1": false, "+1": false, " 1": false, "1 ": false, "NaN": false, "1.e1": false} {
		if isNumber([]byte(s)) != want {
			t.Errorf("isNumber(%q) is not %v", s, want)
		}
	}
}

// ATTACK: the far side collects seals and looks for two under one nonce, or for
// equal values.
//
// THIS TEST VERIFIES: whatever a program does with passages, copies and uses them
// from many goroutines, no nonce comes twice, so that no two seals are alike.
func TestAttackNonceReuse(t *testing.T) {
	k := mustSealer(t, transitOnly(), newSide(t))
	var mu sync.Mutex
	nonces, seals := map[string]bool{}, map[string]bool{}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				p := k.Passage()
				q := p // a copy, which counts on with the original
				for range 5 {
					for _, p := range []*Passage{&p, &q} {
						out, ok := p.Append(nil, email, text("the same"))
						_, raw, parsed := Parse(out)
						if !ok || !parsed {
							t.Error("not sealed")
							return
						}
						mu.Lock()
						nonce := string(raw[len(ID{}):headSize])
						if nonces[nonce] || seals[string(out)] {
							t.Errorf("nonce %x came twice", nonce)
						}
						nonces[nonce], seals[string(out)] = true, true
						mu.Unlock()
					}
				}
			}
		})
	}
	wg.Wait()
	if len(nonces) != 8*50*10 {
		t.Error(len(nonces))
	}
	p := k.Passage()
	p.place.next.Store(1<<32 - 2)
	if _, ok := p.Append(nil, email, text("the last")); !ok {
		t.Error("the last nonce is not used")
	}
	for range 3 {
		if out, ok := p.Append(nil, email, text("one more")); ok || out != nil {
			t.Error("the counter went over its end")
		}
	}
}

// ATTACK: the far side guesses values by their length.
//
// THIS TEST VERIFIES: of label and value together the length shows as one of 32.
func TestAttackLength(t *testing.T) {
	k := mustSealer(t, transitOnly(), newSide(t))
	p := k.Passage()
	lengths := map[int]int{}
	for n := range 3000 {
		lengths[len(sealed(t, &p, email, text(strings.Repeat("x", n))))]++
	}
	if len(lengths) > 16 {
		t.Errorf("3000 lengths of values show as %d", len(lengths))
	}
	for i := range 32 {
		b := obfuscate.Bucket(i)
		most := b.Size() - 1 - plainHead - len(email)
		if most < 0 {
			continue
		}
		for _, n := range []int{most, max(0, most-7)} {
			got := sealed(t, &p, email, text(strings.Repeat("x", n)))
			if got[4] != b.Char() && n == most || len(got) > textLen(b) {
				t.Errorf("%d bytes: bucket %c, %d characters; want %c", n, got[4], len(got), b.Char())
			}
		}
	}
	if out, ok := p.Append([]byte("dst"), email, text(strings.Repeat("x", 1<<20))); ok || string(out) != "dst" {
		t.Error("a value that no bucket holds was sealed")
	}
	if _, ok := p.Append(nil, isogate.Label(strings.Repeat("l", 256)), text("x")); ok {
		t.Error("a label that is too long was sealed")
	}
	if MaxText != textLen(31) {
		t.Error(MaxText, textLen(31))
	}
}

// ATTACK: a session is ended while its values are still being sealed: what is
// sealed with a wiped key is sealed with a key that everybody knows.
//
// THIS TEST VERIFIES: each seal opens under the real key, and once the key is
// destroyed nothing is sealed any more.
func TestAttackDestroyedWhileSealing(t *testing.T) {
	s := newSide(t)
	for range 50 {
		k := mustSealer(t, transitOnly(), s)
		h := hold(t, s, k)
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				for p := k.Passage(); ; {
					out, ok := p.Append(nil, email, text("Mia"))
					if !ok {
						return
					}
					if _, n := Reveal(nil, out, obfuscate.Plain, h, false); n.Revealed != 1 {
						t.Error("sealed under no key of ours")
						return
					}
				}
			})
		}
		wg.Go(k.Destroy)
		wg.Wait()
		k.Destroy()
		p := k.Passage()
		if _, ok := p.Append(nil, email, text("Mia")); ok || k.Sealing() || strings.Contains(string(k.AppendHeader(nil)), ";key=") {
			t.Fatal("a destroyed key seals, or is sent")
		}
		if _, outcome := k.OpenSeal(nil, k.ID(), make([]byte, 100)); outcome == Revealed {
			t.Fatal("a destroyed key opens")
		}
	}
}

// ATTACK: somebody takes the landing side after an epoch is over, with all that was
// recorded.
//
// THIS TEST VERIFIES: a destroyed epoch unwraps nothing.
//
// promise: P16
func TestAttackRecordedAndLater(t *testing.T) {
	s := newSide(t)
	a := arrive(t, mustSealer(t, transitOnly(), s))
	unwrap(t, s, a)
	s.epoch.Destroy()
	key := [32]byte{1}
	if err := s.epoch.Unwrap(a, &key); err == nil || key != ([32]byte{}) {
		t.Errorf("unwrapped by a destroyed epoch: %v", err)
	}
}

// Nothing that holds a key or a value prints it.
func TestNothingPrints(t *testing.T) {
	s := newSide(t)
	k := mustSealer(t, transitOnly(), s)
	o := Opened{Label: email, Value: []byte("Mia")}
	for _, v := range []any{k, s.epoch, o, &o} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q"} {
			if got := fmt.Sprintf(verb, v); got != redacted {
				t.Errorf("%T as %s: %s", v, verb, got)
			}
		}
		b, err := v.(interface{ MarshalText() ([]byte, error) }).MarshalText()
		if err != nil || string(b) != redacted {
			t.Errorf("%T: %s, %v", v, b, err)
		}
	}
}
