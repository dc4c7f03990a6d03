package custody

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/seal"
)

// ATTACK: somebody between the landing and the gateway, or the landing itself, gives
// receipts that are forged, changed, replayed, of another tenant, destination or
// landing, or leaves some out, so that keys seem destroyed that are not.
//
// THIS TEST VERIFIES: nothing of them counts: the key stays out, the journal has no
// such receipt, one entry says what is wrong, the alarm is on; and once the landing
// gives the right receipt, the alarm ends and the key is settled.
//
// promise: P41
func TestForgedReceipts(t *testing.T) {
	sign := func(f *far, change func(*seal.Receipt)) []byte {
		r := &seal.Receipt{Landing: f.signer.Name(), Destination: support, Tenant: acme, Number: 2, Previous: seal.Digest(f.receipts[0]),
			Time: time.Now().UTC().Truncate(time.Millisecond), Events: f.last.Events}
		change(r)
		b, err := r.Sign(f.signer)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for what, c := range map[string]struct {
		forge func(f *far, good []byte) []byte
		why   string
	}{
		"a byte changed": {func(_ *far, good []byte) []byte {
			return bytes.Replace(good, []byte(`"cause":"session idle"`), []byte(`"cause":"session IDLE"`), 1)
		}, "does not verify"},
		"signed by another landing": {func(f *far, good []byte) []byte {
			other := newFar(t)
			other.receipts, other.last = f.receipts[:1], f.last
			return sign(other, func(*seal.Receipt) {})
		}, "does not verify"},
		"unsigned":               {func(_ *far, good []byte) []byte { return good[:bytes.Index(good, []byte("\n\n"))+2] }, "does not verify"},
		"of another tenant":      {func(f *far, _ []byte) []byte { return sign(f, func(r *seal.Receipt) { r.Tenant = "evil" }) }, "another tenant"},
		"of another destination": {func(f *far, _ []byte) []byte { return sign(f, func(r *seal.Receipt) { r.Destination = "billing" }) }, "another destination"},
		"with a gap":             {func(f *far, _ []byte) []byte { return sign(f, func(r *seal.Receipt) { r.Number = 3 }) }, "are missing"},
		"of another history": {func(f *far, _ []byte) []byte {
			return sign(f, func(r *seal.Receipt) { r.Previous = strings.Repeat("0", 64) })
		}, "does not continue"},
		"a second one of that number": {func(f *far, _ []byte) []byte {
			return sign(f, func(r *seal.Receipt) { r.Number, r.Previous = 1, "" })
		}, "two receipts with number 1"},
		"too long": {func(_ *far, good []byte) []byte { return append(bytes.Repeat([]byte("x"), seal.MaxReceipt), good...) }, "longer than"},
	} {
		t.Run(what, func(t *testing.T) {
			f := newFar(t)
			in := f.gateway(t.TempDir())
			s := in.key(temporary(time.Minute))
			in.sends(f, s)
			f.states(destroyed(seal.ID{8}, seal.CauseIdle))
			eventually(t, "the first receipt", func() bool { return in.standing().Receipt == 1 })
			var forged []byte
			f.set(func() {
				good := f.stated(destroyed(s.ID(), seal.CauseIdle))
				forged = c.forge(f, good)
				f.tamper = func(path string, body []byte) []byte {
					if path != "/.isogate/receipts" {
						return body
					}
					b, err := json.Marshal(receiptList{Receipts: []string{string(forged)}})
					if err != nil {
						t.Error(err)
					}
					return b
				}
			})
			eventually(t, "the alarm", func() bool { return in.standing().Broken != "" })
			for range 3 { // the alarm is one entry, however often the landing is asked
				eventually(t, "another look", func() bool { return len(in.custody.hold().ask) == 0 })
				signal(in.custody.hold().ask)
			}
			if b := in.acts(ActBroken); len(b) != 1 || !strings.Contains(b[0].Reason, c.why) {
				t.Errorf("got %+v, want one about %q", b, c.why)
			}
			if st := in.standing(); st.KeysOut != 1 || st.Receipt != 1 || len(in.acts(ActReceipt)) != 1 {
				t.Errorf("got %+v", st)
			}
			f.set(func() { f.tamper = nil })
			eventually(t, "the chain to be mended", func() bool { st := in.standing(); return st.Broken == "" && st.KeysOut == 0 && st.Receipt == 2 })
		})
	}
}

// hold is that of the one landing.
func (c *Custody) hold() *hold { return (*c.sites.Load())[support].hold }

// ATTACK: a landing gives the receipts again that were recorded before, or others
// beside them that are older, to have keys settled or counted twice.
//
// THIS TEST VERIFIES: each receipt is recorded once, whatever is given again.
func TestReplayedReceipts(t *testing.T) {
	f := newFar(t)
	in := f.gateway(t.TempDir())
	f.states(destroyed(seal.ID{8}, seal.CauseIdle))
	f.states(destroyed(seal.ID{9}, seal.CauseIdle))
	eventually(t, "the receipts", func() bool { return in.standing().Receipt == 2 })
	f.set(func() {
		f.tamper = func(path string, body []byte) []byte {
			if path != "/.isogate/receipts" {
				return body
			}
			list := receiptList{}
			for _, r := range f.receipts {
				list.Receipts = append(list.Receipts, string(r))
			}
			b, err := json.Marshal(list)
			if err != nil {
				t.Error(err)
			}
			return b
		}
	})
	f.states(destroyed(seal.ID{10}, seal.CauseIdle))
	eventually(t, "the third", func() bool { return in.standing().Receipt == 3 })
	if n := len(in.acts(ActReceipt)); n != 3 || in.standing().Broken != "" {
		t.Errorf("%d receipts, broken: %q", n, in.standing().Broken)
	}
}

// ATTACK: a landing, or who plays one, answers with what is no answer: endless
// bodies, wrong media, its own words in errors, statements that are old, of others or
// changed.
//
// THIS TEST VERIFIES: no key is made by any of it, and none of its words are repeated.
func TestHostileAnswers(t *testing.T) {
	const words = "ada@example.com said so"
	for what, c := range map[string]struct {
		tamper func(f *far, body []byte) []byte
		why    string
	}{
		"garbage": {func(*far, []byte) []byte { return []byte(words) }, "statement"},
		"endless": {func(*far, []byte) []byte { return bytes.Repeat([]byte("x"), maxAnswer+2) }, "larg"},
		"empty":   {func(*far, []byte) []byte { return nil }, "statement"},
		"changed": {func(_ *far, b []byte) []byte { return bytes.Replace(b, []byte("max "), []byte("max 1"), 1) }, "statement"},
		"of another landing": {func(*far, []byte) []byte {
			g := newFar(t)
			return g.statement()
		}, "statement"},
		"of another destination": {func(f *far, _ []byte) []byte {
			now := time.Now().UTC().Truncate(time.Second)
			st := &seal.Statement{Destination: "billing", Landing: f.signer.Name(), Epoch: f.epoch.ID(), Public: f.epoch.Public(), NotBefore: now, NotAfter: now.Add(time.Minute), Idle: time.Minute, Max: time.Hour}
			b, err := st.Sign(f.signer)
			if err != nil {
				t.Error(err)
			}
			return b
		}, "another destination"},
		"over": {func(f *far, _ []byte) []byte {
			now := time.Now().UTC().Truncate(time.Second)
			st := &seal.Statement{Destination: support, Landing: f.signer.Name(), Epoch: f.epoch.ID(), Public: f.epoch.Public(), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(-time.Minute), Idle: time.Minute, Max: time.Hour}
			b, err := st.Sign(f.signer)
			if err != nil {
				t.Error(err)
			}
			return b
		}, "compare the clocks"},
	} {
		t.Run(what, func(t *testing.T) {
			f := newFar(t)
			f.tamper = func(path string, body []byte) []byte {
				if path == "/.isogate/statement" {
					return c.tamper(f, body)
				}
				return body
			}
			in := f.gateway(t.TempDir())
			eventually(t, "the trouble", func() bool { return in.standing().Trouble != "" && !strings.Contains(in.standing().Trouble, "reach") })
			st := in.standing()
			if st.Valid || !strings.Contains(st.Trouble, c.why) || strings.Contains(st.Trouble, words) {
				t.Errorf("got %+v", st)
			}
			_, err := in.custody.Key(support, temporary(time.Minute))
			if err == nil || strings.Contains(err.Error(), words) {
				t.Errorf("a key: %v", err)
			}
		})
	}
}

// ATTACK: whoever took the place of a landing for a while gives an old statement of
// it, signed by it, so that keys are wrapped to an epoch whose key they have.
//
// THIS TEST VERIFIES: a statement that begins before the one that is known is not taken.
func TestAnOldStatementIsNotTaken(t *testing.T) {
	f := newFar(t)
	f.before = 5 * time.Minute
	old := f.statement()
	f.renew()
	f.before = time.Minute
	in := f.gateway(t.TempDir(), func(c *Config) { c.Statements = 5 * time.Millisecond })
	eventually(t, "a statement", func() bool { return in.standing().Valid })
	epoch := in.standing().Epoch
	f.set(func() {
		f.tamper = func(path string, body []byte) []byte {
			if path == "/.isogate/statement" {
				return old
			}
			return body
		}
	})
	eventually(t, "the trouble", func() bool { return strings.Contains(in.standing().Trouble, "older") })
	if st := in.standing(); st.Epoch != epoch {
		t.Errorf("the epoch %s was left for %s", epoch, st.Epoch)
	}
}

// ATTACK: one landing states that keys are destroyed, or identifiers erased, that
// another one holds.
//
// THIS TEST VERIFIES: a landing speaks for its own destination only.
func TestALandingSpeaksForItself(t *testing.T) {
	id := seal.ID{1}
	s := &State{}
	cx := seal.Context{Tenant: acme, Destination: "billing", Transit: login, Handling: isogate.Temporary, TTL: time.Minute}
	sent := sentEntry(id, &cx, time.Now())
	order := eraseEntry(Actor{Name: "carol"}, "billing", "", []Identifier{{email, "igt1a"}}, "why")
	order.ID = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
	f := newFar(t)
	text := f.states(destroyed(id, seal.CauseIdle), seal.Event{Kind: seal.Erased, Erasure: string(order.ID)}, seal.Event{Kind: seal.ErasureOverdue, Erasure: string(order.ID)})
	receipt, err := receiptEntry(f.landing(registrars{}), f.last, text)
	if err != nil {
		t.Fatal(err)
	}
	refused := keysEntry(ActRefused, support, []seal.ID{id}, "")
	for i, e := range []*isogate.Entry{sent, order, receipt, refused} {
		e.Seq, e.Tenant = uint64(i), acme
		if errs := s.Fold(*e); errs != nil {
			t.Fatal(errs)
		}
	}
	if !s.IsOut(id) || s.Erasures()[0].State != ErasureAsked || s.Head(Chain{support, signerOf(f.landing(registrars{}).Key)}).Number != 1 {
		t.Errorf("one landing spoke for another: %+v", s)
	}
	// A receipt under the destination of another does not even read as one.
	receipt.Seq, receipt.Destination = 4, "billing"
	if errs := s.Fold(*receipt); len(errs) != 1 || !s.IsOut(id) {
		t.Errorf("a receipt that is recorded under another destination: %v", errs)
	}
}

// What a custody keeps of sessions and keys prints as REDACTED.
func TestNothingPrintsAKey(t *testing.T) {
	f := newFar(t)
	in := f.gateway(t.TempDir())
	d := &(*in.custody.sites.Load())[support].digests[0]
	if text := sprint(d); strings.ReplaceAll(text, redacted, "") != "  " {
		t.Errorf("got %q", text)
	}
	if !slices.Contains([]string{redacted}, d.LogValue().String()) {
		t.Errorf("logged as %s", d.LogValue())
	}
}

// ATTACK: a landing that has not destroyed a key always has more receipts to give: the
// ones that are recorded already, or new ones without end, so that the gateway is
// kept busy and never sees which receipt is missing.
//
// THIS TEST VERIFIES: the missing receipt is an alarm all the same.
//
// promise: P41
func TestReceiptsWithoutEnd(t *testing.T) {
	for what, again := range map[string]bool{"the same again": true, "new ones": false} {
		t.Run(what, func(t *testing.T) {
			f := newFar(t)
			f.set(func() { f.max, f.idle, f.silent = time.Second, time.Second, true })
			in := f.gateway(t.TempDir(), func(c *Config) { c.Grace = time.Millisecond })
			in.sends(f, in.key(in.session("aaaaaaaaaaaaaaaaaaaaaaaaaa")))
			f.states(destroyed(seal.ID{8}, seal.CauseIdle))
			f.set(func() {
				f.tamper = func(path string, body []byte) []byte {
					if path != "/.isogate/receipts" {
						return body
					}
					if !again {
						f.stated(destroyed(seal.ID{9}, seal.CauseIdle))
					}
					b, err := json.Marshal(receiptList{Receipts: []string{string(f.receipts[0]), string(f.receipts[len(f.receipts)-1])}, More: true})
					if err != nil {
						t.Error(err)
					}
					return b
				}
			})
			eventually(t, "the alarm", func() bool { return len(in.acts(ActOverdue)) == 1 })
		})
	}
}

// ATTACK: a caller inside names a new session with each request, so that the gateway
// keeps a key for each until it has no memory left.
//
// THIS TEST VERIFIES: beyond those that are in use no more keys are kept than may be
// in use, and the others are wiped.
func TestAsManySessionsAsTheyLike(t *testing.T) {
	f := newFar(t)
	in := f.gateway(t.TempDir(), func(c *Config) { c.MaxKeys = 3 })
	first := in.key(in.session("aaaaaaaaaaaaaaaaaaaaaaaaaa"))
	for i := range 20 {
		in.key(in.session(in.custody.SessionDigest(support, fmt.Sprint(i))))
	}
	h := in.custody.hold()
	h.mu.Lock()
	kept, retired := len(h.byID), len(h.retired)
	h.mu.Unlock()
	if kept != 6 || retired != 3 {
		t.Errorf("%d keys are kept, %d of them retired", kept, retired)
	}
	p := first.Passage()
	if _, ok := p.Append(nil, email, isogate.Value{Kind: isogate.String, Text: []byte("a")}); ok {
		t.Error("a key that is not kept any more is not wiped")
	}
}

// ATTACK: the pack takes a landing away, as when it cannot be trusted any more; who
// reads the gateway's memory later still finds the keys that it had for it.
//
// THIS TEST VERIFIES: the keys of a landing that is gone are wiped, when requests under
// way cannot need them any more or the gateway ends.
func TestKeysOfADroppedLandingAreWiped(t *testing.T) {
	f := newFar(t)
	in := f.gateway(t.TempDir())
	s := in.key(in.session("aaaaaaaaaaaaaaaaaaaaaaaaaa"))
	h := in.custody.hold()
	eventually(t, "the landing to be tended", func() bool { return in.standing().Valid })
	if err := in.custody.Swap(); err != nil {
		t.Fatal(err)
	}
	seals := func() bool {
		p := s.Passage()
		_, ok := p.Append(nil, email, isogate.Value{Kind: isogate.String, Text: []byte("a")})
		return ok
	}
	if !seals() {
		t.Error("a request under way cannot seal any more")
	}
	eventually(t, "the change", func() bool { return len(in.custody.changed) == 0 })
	in.stop()
	if seals() || len(h.byID) != 0 || len(h.retired) != 0 {
		t.Errorf("not wiped: %d keys, %d of them retired", len(h.byID), len(h.retired))
	}
}

// ATTACK: callers inside fill the landing with keys. Each further request makes keys
// that the landing does not take, and that the gateway waits for the receipts of.
//
// THIS TEST VERIFIES: of a key that the landing had no room for no receipt is waited
// for; one that it holds stays in use.
func TestALandingWithoutRoom(t *testing.T) {
	f := newFar(t)
	in := f.gateway(t.TempDir())
	session := in.session("aaaaaaaaaaaaaaaaaaaaaaaaaa")
	held := in.key(session)
	in.sends(f, held)
	byRequest := seal.Context{Tenant: acme, Destination: support, Transit: login, Handling: isogate.TransitOnly, ByRequest: true}
	refused := []seal.ID{held.ID(), in.key(temporary(time.Minute)).ID(), in.key(byRequest).ID()}
	if err := in.custody.Sending(support, refused); err != nil {
		t.Fatal(err)
	}
	in.custody.Lost(support, seal.CodeFull, refused)
	eventually(t, "the entry", func() bool { return len(in.acts(ActRefused)) == 1 && in.standing().KeysOut == 1 })
	if in.key(session).ID() != held.ID() || in.key(temporary(time.Minute)).ID() == refused[1] {
		t.Error("the held key is given up, or the refused one is in use")
	}
}

// ATTACK: a landing puts tokens that it saw in payloads, of what never left in
// plaintext, into its register as identifiers of somebody, or the token of a subject
// as an identifier, and waits for that person's erasure: the gateway would turn them
// back, and tell it.
//
// THIS TEST VERIFIES: no token but those that were registered as identifiers is turned
// back, neither for the list nor for an erasure.
//
// promise: P03, P17
func TestAttackTokensOfPayloadsInTheRegister(t *testing.T) {
	f := newFar(t)
	in := f.gateway(t.TempDir())
	ada := in.tokenBy(in.obf.subjects, email, "ada@example.com")
	rows := []registerRow{
		{Label: string(email), ID: in.token(email, "ada@example.com"), Subject: ada},
		{Label: string(email), ID: in.tokenBy(in.obf.payloads, email, "secret@example.com"), Subject: ada},
		{Label: string(name), ID: in.tokenBy(in.obf.payloads, name, "Secret"), Subject: ada},
		{Label: string(name), ID: in.tokenBy(in.obf.subjects, name, "Secret"), Subject: ada},
		{Label: string(email), ID: ada, Subject: ada},
	}
	f.set(func() {
		for _, r := range rows {
			r.Because, r.Rule = "tickets", "t.yaml:3"
			f.register = append(f.register, r)
		}
	})
	p, err := in.custody.Subjects(t.Context(), Query{})
	if err != nil || len(p.Subjects) != len(rows) {
		t.Fatalf("got %+v, %v", p, err)
	}
	for i, s := range p.Subjects {
		if (i == 0) == s.Unreadable || i > 0 && s.Value != "" || s.Subject != "ada@example.com" {
			t.Errorf("row %d: %+v", i, s)
		}
	}
	list, err := in.custody.Erase(t.Context(), Order{Value: "ada@example.com", Reason: "she asked", By: Actor{Name: "carol"}})
	if err != nil || len(list) != 1 {
		t.Fatalf("got %+v, %v", list, err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if asked := f.erasures[string(list[0].ID)]; len(asked) != 1 || asked[0].Value != "ada@example.com" {
		t.Errorf("the landing was told %+v", asked)
	}
}

// ATTACK: a landing gives the same page of its register for ever, or without end pages
// that have the identifier, so that an erasure never begins or fills the journal.
//
// THIS TEST VERIFIES: an identifier is asked for once however often it is there; and a
// register that does not go on is an error, not an endless search.
//
// promise: P17
func TestARegisterWithoutEnd(t *testing.T) {
	for what, next := range map[string]func(n int) string{
		"the same page": func(int) string { return "a" },
		"the row again": func(n int) string { return []string{"a", "b", "c", ""}[min(n, 3)] },
	} {
		t.Run(what, func(t *testing.T) {
			f := newFar(t)
			in := f.gateway(t.TempDir())
			row := registerRow{Label: string(email), ID: in.token(email, "ada@acme.example"), Subject: in.token(email, "ada@acme.example")}
			n := 0
			f.set(func() {
				f.tamper = func(path string, body []byte) []byte {
					if path != "/.isogate/register" {
						return body
					}
					b, err := json.Marshal(registerPage{Rows: []registerRow{row}, Next: next(n)})
					if err != nil {
						t.Error(err)
					}
					n++
					return b
				}
			})
			got, err := in.custody.Erase(t.Context(), Order{Value: "ada@acme.example", By: Actor{Name: "admin"}})
			if what == "the same page" {
				if err == nil || !strings.Contains(err.Error(), "does not go on") || len(in.acts(ActErase)) != 0 {
					t.Errorf("got %+v, %v", got, err)
				}
				return
			}
			if err != nil || len(got) != 1 || len(got[0].Rows) != 1 || n != 4 {
				t.Errorf("after %d pages got %+v, %v", n, got, err)
			}
		})
	}
}
