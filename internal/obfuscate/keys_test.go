package obfuscate

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/isogate/isogate"
)

// testKeys is a deriver over fixed secrets: key n is the byte n, 32 times.
type testKeys struct {
	primary uint32
	ids     []uint32
	fail    string // the derivation whose context has it fails
}

func (k testKeys) Primary() uint32 { return k.primary }
func (k testKeys) IDs() []uint32   { return k.ids }

func (k testKeys) Derive(out []byte, id uint32, context ...string) error {
	var info []byte
	for _, c := range context {
		if k.fail != "" && c == k.fail {
			return errors.New("the key is withdrawn")
		}
		info = binary.BigEndian.AppendUint32(info, uint32(len(c)))
		info = append(info, c...)
	}
	secret := make([]byte, 32)
	for i := range secret {
		secret[i] = byte(id)
	}
	b, err := hkdf.Key(sha256.New, secret, nil, string(info), len(out))
	copy(out, b)
	return err
}

const (
	email = isogate.Label("personal.contact.email")
	name  = isogate.Label("personal.name.display")
)

func config() Config {
	return Config{
		Tenant: "acme", Destination: "support-portal",
		Labels: []isogate.Label{email, name, email},
		Keys:   testKeys{primary: 1, ids: []uint32{1}},
	}
}

func mustNew(tb testing.TB, change ...func(*Config)) *Obfuscator {
	tb.Helper()
	cfg := config()
	for _, c := range change {
		c(&cfg)
	}
	o, err := New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return o
}

func verdict(a isogate.Action, form string) *isogate.Verdict {
	return labelled(email, a, form)
}

func labelled(l isogate.Label, a isogate.Action, form string) *isogate.Verdict {
	f, err := isogate.ParseForm(a, form)
	if err != nil {
		panic(err)
	}
	return &isogate.Verdict{Action: a, Form: f, Label: l}
}

// replace replaces text as a string.
func replace(tb testing.TB, o *Obfuscator, v *isogate.Verdict, text string) string {
	tb.Helper()
	out, kind, _, err := o.Replace(nil, v, isogate.Value{Kind: isogate.String, Text: []byte(text)})
	if err != nil {
		tb.Fatal(err)
	}
	if kind != isogate.String {
		tb.Fatalf("a string became a %s", kind)
	}
	return string(out)
}

func token(tb testing.TB, o *Obfuscator, text string) string {
	tb.Helper()
	return replace(tb, o, verdict(isogate.Token, ""), text)
}
