package landing_test

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/isogate/isogate/landing"
)

// ATTACK: whoever can reach the service's address for call-outs has it erase whom
// they like: without a signature, with one of another key, of another call-out, or
// of this one with the address of somebody else put in.
//
// THIS TEST VERIFIES: only what the landing signed, as it was signed, is read.
func TestAttackForgedErasures(t *testing.T) {
	keys := func() (note.Signer, string) {
		skey, vkey, err := note.GenerateKey(rand.Reader, "support-landing")
		if err != nil {
			t.Fatal(err)
		}
		signer, err := note.NewSigner(skey)
		if err != nil {
			t.Fatal(err)
		}
		return signer, vkey
	}
	sign := func(signer note.Signer, id, body string) string {
		sum := sha256.Sum256([]byte(body))
		b, err := note.Sign(&note.Note{Text: "isogate/erasure/v1\n" + id + "\n" + base64.StdEncoding.EncodeToString(sum[:]) + "\n"}, signer)
		if err != nil {
			t.Fatal(err)
		}
		return base64.StdEncoding.EncodeToString(b)
	}
	signer, vkey := keys()
	other, _ := keys()
	const body = `{"erasure":"e1","tenant":"acme","identifiers":[{"label":"personal.contact.email","value":"ada@example.com"}],"deadline":"2027-01-02T03:04:05Z"}`

	e, err := landing.ReadErasure(vkey, sign(signer, "e1", body), []byte(body))
	if err != nil || e.ID != "e1" || e.Tenant != "acme" || len(e.Identifiers) != 1 || e.Identifiers[0].Value != "ada@example.com" || e.Deadline.Year() != 2027 {
		t.Fatalf("the landing's own: %+v, %v", e, err)
	}
	if s := fmt.Sprintf("%v %+v %#v", e, e, e); strings.Contains(s, "ada@") {
		t.Errorf("it prints as %s", s)
	}
	mia := strings.Replace(body, "ada@", "mia@", 1)
	for name, c := range map[string]struct{ signature, body string }{
		"none":                  {"", body},
		"no base64":             {"***", body},
		"of another key":        {sign(other, "e1", body), body},
		"of another call-out":   {sign(signer, "e2", body), body},
		"somebody else put in":  {sign(signer, "e1", body), mia},
		"a member put in":       {sign(signer, "e1", body[:1]+`"all":true,`+body[1:]), body[:1] + `"all":true,` + body[1:]},
		"something put behind":  {sign(signer, "e1", body+"{}"), body + "{}"},
		"longer than any":       {sign(signer, "e1", body), body + strings.Repeat(" ", landing.MaxErasure)},
		"an id with a new line": {sign(signer, "e1\nx", body), body},
	} {
		if e, err := landing.ReadErasure(vkey, c.signature, []byte(c.body)); err == nil || len(e.Identifiers) > 0 || strings.Contains(err.Error(), "@") {
			t.Errorf("%s: %v, %v", name, len(e.Identifiers), err)
		}
	}
	if _, err := landing.ReadErasure("not a key", sign(signer, "e1", body), []byte(body)); err == nil || !strings.Contains(err.Error(), "isogate landing init") {
		t.Errorf("without a key: %v", err)
	}
}
