package obfuscate

import (
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"github.com/isogate/isogate"
)

// The worked example of docs/formats.md, step by step: what the document says
// is what the code does.
func TestWorkedExample(t *testing.T) {
	doc, err := os.ReadFile("../../docs/formats.md")
	if err != nil {
		t.Fatal(err)
	}
	var material [64 + tagSize]byte
	for i := range material {
		material[i] = byte(i)
	}
	k := &tokenKey{label: email, tag: [tagSize]byte(material[64:]), siv: mustSIV(t, material[:64])}
	s := &scratch{sha: newSHA()}
	value := []byte("mia@example.com")
	token, ok := k.appendToken(nil, s, value, isogate.String)
	if !ok {
		t.Fatal("no token")
	}
	padded := append([]byte("mia@example.com"), markString)
	h := labelKeys{hash: newPRF(material[:32])}
	hash := h.appendHash(nil, s, domainString, value)
	number := h.appendNumber(nil, s, []byte("12480498776781"))
	o := mustNew(t)
	for what, want := range map[string]string{
		"padded value": hex.EncodeToString(padded),
		"synthetic IV": hex.EncodeToString(s.iv[:]),
		"ciphertext":   hex.EncodeToString(s.buf[headSize:]),
		"tag":          hex.EncodeToString(k.tag[:]),
		"token":        string(token),
		"address":      string(o.appendEmail(nil, token)),
		"hash":         string(hash),
		"number":       string(number),
	} {
		if !strings.Contains(string(doc), "`"+want+"`") {
			t.Errorf("docs/formats.md does not have the %s `%s`", what, want)
		}
	}
}
