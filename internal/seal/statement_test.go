package seal

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/isogate/isogate"
)

func TestStatement(t *testing.T) {
	s := newSide(t)
	b, err := s.statement.Sign(s.signer)
	if err != nil {
		t.Fatal(err)
	}
	got, err := OpenStatement(b, s.verifier)
	if err != nil {
		t.Fatal(err)
	}
	plain := *got
	plain.ready = wrapper{}
	if !reflect.DeepEqual(&plain, s.statement) {
		t.Fatalf("%s\n got %+v, %v\nwant %+v", b, got, err, s.statement)
	}
	for l, want := range map[isogate.Label]bool{email: true, account: true, "account": true, "personal.name": false, isogate.Unclassified: false} {
		if got.Acknowledged(l) != want {
			t.Errorf("%s: acknowledged: %v", l, !want)
		}
	}
	if len(b) > maxStatement/2 {
		t.Error(len(b))
	}
	if _, err := NewSealer(transitOnly(), got, at(start)); err != nil {
		t.Error(err)
	}

	// What was made ready when it was opened is not used for another key.
	next := newSide(t)
	got.Epoch, got.Public = next.epoch.ID(), next.epoch.Public()
	k, err := NewSealer(transitOnly(), got, at(start))
	if err != nil {
		t.Fatal(err)
	}
	unwrap(t, next, arrive(t, k))
}

// ATTACK: somebody on the way, or another landing side, gives the gateway a
// statement with a key of his own.
//
// THIS TEST VERIFIES: a statement counts only under the one key that the pack names,
// byte for byte.
func TestAttackForgedStatement(t *testing.T) {
	s := newSide(t)
	b, err := s.statement.Sign(s.signer)
	if err != nil {
		t.Fatal(err)
	}
	other, otherVerifier := keys(t, 8, s.signer.Name())
	forged, err := s.statement.Sign(other)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenStatement(forged, s.verifier); err == nil {
		t.Error("signed by another key of the same name")
	}
	if _, err := OpenStatement(b, otherVerifier); err == nil {
		t.Error("opened under another key")
	}
	for i := range b {
		for _, change := range []byte{1, 0x20} {
			changed := bytes.Clone(b)
			changed[i] ^= change
			if got, err := OpenStatement(changed, s.verifier); err == nil {
				t.Fatalf("byte %d changed: %+v", i, got)
			}
		}
	}
	both := append(bytes.Clone(b), forged[bytes.LastIndex(forged, []byte("\n\n"))+2:]...)
	if _, err := OpenStatement(both, s.verifier); err == nil {
		t.Error("with a second signature")
	}
	elsewhere, elseVerifier := keys(t, 9, "desk.example/landing-2")
	signed, err := note.Sign(&note.Note{Text: s.statement.text()}, elsewhere)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenStatement(signed, elseVerifier); err == nil || !strings.Contains(err.Error(), "says to be of landing") {
		t.Errorf("signed by who it is not of: %v", err)
	}
	if _, err := s.statement.Sign(elsewhere); err == nil {
		t.Error("signed for another")
	}
	if _, err := OpenStatement(bytes.Repeat([]byte("a"), maxStatement+1), s.verifier); err == nil {
		t.Error("too long")
	}
	// What the right key signed, but no landing side writes.
	text := s.statement.text()
	for what, changed := range map[string]string{
		"another version": strings.Replace(text, "/v1", "/v2", 1), "a line more": text + "x y\n", "a line twice": text + "max 28800000\n",
		"another order":     strings.Replace(text, "idle 900000\nmax 28800000", "max 28800000\nidle 900000", 1),
		"a home of letters": strings.Replace(text, "home 01020304", "home 0102030g", 1), "a short home": strings.Replace(text, "home 01020304", "home 0102", 1),
		"upper case":      strings.Replace(text, "acknowledges account", "acknowledges ACCOUNT", 1),
		"idle over max":   strings.Replace(text, "idle 900000", "idle 90000000", 1),
		"for ever":        strings.Replace(text, "not-after 2026", "not-after 2027", 1),
		"another epoch":   strings.Replace(text, "epoch "+s.epoch.ID().String(), "epoch "+EpochID{}.String(), 1),
		"another suite":   strings.Replace(text, kem, "x25519", 1),
		"a zone":          strings.Replace(text, "01:01:03Z", "02:01:03+01:00", 1),
		"half a second":   strings.Replace(text, "01:01:03Z", "01:01:03.5Z", 1),
		"space":           strings.Replace(text, "idle ", "idle  ", 1),
		"no destination":  strings.Replace(text, "destination support-portal\n", "", 1),
		"a blank line":    strings.Replace(text, "max ", "\nmax ", 1),
		"carriage return": strings.Replace(text, "\nmax", "\r\nmax", 1),
	} {
		if changed == text {
			t.Fatalf("%s changes nothing", what)
		}
		b, err := note.Sign(&note.Note{Text: changed}, s.signer)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := OpenStatement(b, s.verifier); err == nil {
			t.Errorf("%s: %+v", what, got)
		}
	}
	for what, change := range map[string]func(*Statement){
		"no landing": func(s *Statement) { s.Landing = "" }, "a space": func(s *Statement) { s.Landing = "a b" },
		"many labels":  func(s *Statement) { s.Acknowledges = make([]isogate.LabelPattern, maxAcknowledges+1) },
		"a short idle": func(s *Statement) { s.Idle = time.Millisecond },
	} {
		st := *s.statement
		change(&st)
		if st.Check() == nil {
			t.Errorf("%s is valid", what)
		}
	}
	if _, err := new(Statement).Sign(s.signer); err == nil {
		t.Error("the zero statement was signed")
	}
}

func someReceipt() *Receipt {
	return &Receipt{Landing: "desk.example/landing-1", Destination: "support-portal", Tenant: "acme", Number: 2, Previous: strings.Repeat("0a", 32), Time: start, Events: []Event{
		{Kind: RevealedTo, At: start.Add(-time.Second), Key: ID{1}, Request: 3, Label: email, Viewer: "anna <desk>", N: 2},
		{Kind: Destroyed, At: start.Add(-time.Millisecond), Key: ID{1}, Cause: CauseEnded},
		{Kind: Erased, At: start.Truncate(time.Second), Erasure: "01M8AE", N: 4},
		{Kind: ErasureOverdue, At: start, Erasure: "01M8AF"},
	}}
}

func TestReceipt(t *testing.T) {
	s := newSide(t)
	r := someReceipt()
	b, err := r.Sign(s.signer)
	if err != nil {
		t.Fatal(err)
	}
	got, err := OpenReceipt(b, s.verifier)
	if err != nil || !reflect.DeepEqual(got, r) {
		t.Fatalf("%s\n got %+v, %v\nwant %+v", b, got, err, r)
	}
	again, err := r.Sign(s.signer)
	if err != nil || !bytes.Equal(again, b) || len(Digest(b)) != 64 {
		t.Error("signed twice, it differs")
	}
	first := someReceipt()
	first.Number, first.Previous = 1, ""
	if b, err = first.Sign(s.signer); err != nil {
		t.Fatal(err)
	}
	if got, err := OpenReceipt(b, s.verifier); err != nil || !reflect.DeepEqual(got, first) {
		t.Errorf("%+v, %v", got, err)
	}
	for what, change := range map[string]func(*Receipt){
		"number 0": func(r *Receipt) { r.Number = 0 }, "a first with one before": func(r *Receipt) { r.Number = 1 },
		"none before": func(r *Receipt) { r.Previous = "" }, "upper case": func(r *Receipt) { r.Previous = strings.ToUpper(r.Previous) },
		"a microsecond": func(r *Receipt) { r.Time = r.Time.Add(time.Microsecond) }, "local time": func(r *Receipt) { r.Time = r.Time.Local().In(time.FixedZone("x", 3600)) },
		"no events": func(r *Receipt) { r.Events = nil }, "many": func(r *Receipt) { r.Events = make([]Event, MaxEvents+1) },
		"no tenant": func(r *Receipt) { r.Tenant = "" }, "no destination": func(r *Receipt) { r.Destination = "" },
		"no kind": func(r *Receipt) { r.Events[0].Kind = "" }, "another's member": func(r *Receipt) { r.Events[0].Cause = "x" },
		"no viewer": func(r *Receipt) { r.Events[0].Viewer = "" }, "nothing seen": func(r *Receipt) { r.Events[0].N = 0 },
		"a quote": func(r *Receipt) { r.Events[0].Viewer = `an"na` }, "a line feed": func(r *Receipt) { r.Events[0].Viewer = "an\nna" },
		"no label": func(r *Receipt) { r.Events[0].Label = "" }, "no key": func(r *Receipt) { r.Events[1].Key = ID{} },
		"no cause": func(r *Receipt) { r.Events[1].Cause = "" }, "no erasure": func(r *Receipt) { r.Events[2].Erasure = "" },
		"never": func(r *Receipt) { r.Events[1].At = time.Time{} }, "overdue with a count": func(r *Receipt) { r.Events[3].N = 1 },
	} {
		r := someReceipt()
		if change(r); r.Check() == nil {
			t.Errorf("%s is valid", what)
		}
		if _, err := r.Sign(s.signer); err == nil {
			t.Errorf("%s was signed", what)
		}
	}
}

// A receipt fits into an entry of the journal, which is at most 64 KiB of JSON,
// whatever its events are.
func TestReceiptFitsAnEntry(t *testing.T) {
	name := strings.Repeat("n", 63)
	signer, verifier := keys(t, 7, strings.Repeat("l", 128))
	label := isogate.Label(strings.Repeat("a", 249) + ".b.c.d")
	longest := Event{Kind: RevealedTo, At: start, Key: ID{255}, Request: 1<<64 - 1, Label: label, Viewer: strings.Repeat("v", MaxViewer), N: 1<<64 - 1}
	r := &Receipt{Landing: signer.Name(), Destination: isogate.Destination(name), Tenant: isogate.Tenant(name), Number: 1<<64 - 1, Previous: strings.Repeat("0a", 32), Time: start}
	for range MaxEvents {
		r.Events = append(r.Events, longest)
	}
	b, err := r.Sign(signer)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenReceipt(b, verifier); err != nil {
		t.Error(err)
	}
	e := isogate.Entry{ID: "01M8AE00000000000000000000", Seq: 1 << 60, Time: start, Tenant: isogate.Tenant(name), Kind: isogate.KindLanding, Destination: isogate.Destination(name),
		Act: "receipt", Detail: map[string]string{"note": string(b), "landing": signer.Name(), "number": "18446744073709551615", "digest": Digest(b)}}
	entry, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	if len(entry) > 1<<16-1 {
		t.Errorf("an entry of %d bytes for a receipt of %d", len(entry), len(b))
	}
}

// ATTACK: the landing side's operator changes what it stated, or shows one tenant's
// receipt to another.
//
// THIS TEST VERIFIES: a receipt is what was signed, byte for byte.
func TestAttackForgedReceipt(t *testing.T) {
	s := newSide(t)
	b, err := someReceipt().Sign(s.signer)
	if err != nil {
		t.Fatal(err)
	}
	for i := range b {
		for change := range 255 {
			changed := bytes.Clone(b)
			if changed[i] ^= byte(change + 1); i < len(b)-20 && change > 2 {
				break // all of the others at the end, where base64 has several spellings
			}
			if _, err := OpenReceipt(changed, s.verifier); err == nil {
				t.Fatalf("byte %d changed to %q", i, changed[i])
			}
		}
	}
	statement, err := s.statement.Sign(s.signer)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenReceipt(statement, s.verifier); err == nil {
		t.Error("a statement is a receipt")
	}
	if _, err := OpenStatement(b, s.verifier); err == nil {
		t.Error("a receipt is a statement")
	}
	text, err := someReceipt().text()
	if err != nil {
		t.Fatal(err)
	}
	for what, changed := range map[string]string{
		"an event's unknown member": strings.Replace(text, `"n":2`, `"n":2,"x":1`, 1), "another order": strings.Replace(text, `"request":3,"label":"`+string(email)+`"`, `"label":"`+string(email)+`","request":3`, 1),
		"space": strings.Replace(text, `"n":2`, `"n": 2`, 1), "HTML": strings.Replace(text, `<desk>`, `\u003cdesk\u003e`, 1),
		"no JSON": strings.Replace(text, `"n":2}`, `"n":2`, 1), "a head behind": text + "number 2\n", "an unknown line": text + "x\n",
		"a number that is none": strings.Replace(text, "number 2", "number +2", 1), "a zone": strings.Replace(text, "time 2026-11-26T01:02:03.456Z", "time 2026-11-26T02:02:03.456+01:00", 1),
	} {
		if changed == text {
			t.Fatalf("%s changes nothing", what)
		}
		b, err := note.Sign(&note.Note{Text: changed}, s.signer)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := OpenReceipt(b, s.verifier); err == nil {
			t.Errorf("%s: %+v", what, got)
		}
	}
	elsewhere, elseVerifier := keys(t, 9, "desk.example/landing-2")
	signed, err := note.Sign(&note.Note{Text: text}, elsewhere)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenReceipt(signed, elseVerifier); err == nil {
		t.Error("signed by who it is not of")
	}
}

// trusting verifies everything: a fuzzer finds no signatures.
type trusting struct{ note.Verifier }

func (trusting) Verify([]byte, []byte) bool { return true }

// FuzzOpenStatement: what is taken is what a landing side writes.
func FuzzOpenStatement(f *testing.F) {
	s := newSide(f)
	b, err := s.statement.Sign(s.signer)
	if err != nil {
		f.Fatal(err)
	}
	r, err := someReceipt().Sign(s.signer)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(r)
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := OpenStatement(b, trusting{s.verifier}); err == nil {
			if !bytes.HasPrefix(b, []byte(s.text()+"\n")) || s.Check() != nil {
				t.Fatalf("%q was read as %+v", b, s)
			}
		}
		if r, err := OpenReceipt(b, trusting{s.verifier}); err == nil {
			text, err := r.text()
			if err != nil || !bytes.HasPrefix(b, []byte(text+"\n")) || r.Check() != nil {
				t.Fatalf("%q was read as %+v", b, r)
			}
		}
	})
}
