package obfuscate

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math/bits"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/isogate/isogate"
)

func TestReplace(t *testing.T) {
	const (
		null   = isogate.Null
		boolK  = isogate.Bool
		number = isogate.Number
		str    = isogate.String
	)
	o := mustNew(t)
	for _, c := range []struct {
		action  isogate.Action
		form    string
		kind    isogate.Kind
		text    string
		want    string // a regular expression
		as      isogate.Kind
		applied isogate.Action
	}{
		{isogate.Redact, "", str, "mia", `\[redacted\]`, str, isogate.Redact},
		{isogate.Redact, "", number, "17", `0`, number, isogate.Redact},
		{isogate.Redact, "", boolK, "true", `false`, boolK, isogate.Redact},
		{isogate.Redact, "", null, "null", `null`, null, isogate.Redact},
		{isogate.Redact, "", isogate.Kind(9), "?", `\[redacted\]`, str, isogate.Redact},

		{isogate.Hash, "", str, "mia", `igh1[a-z2-7]{32}`, str, isogate.Hash},
		{isogate.Hash, "", str, "", `igh1[a-z2-7]{32}`, str, isogate.Hash},
		{isogate.Hash, "", number, "17", `[1-9][0-9]{14}`, number, isogate.Hash},
		{isogate.Hash, "", number, "-1.5e300", `[1-9][0-9]{14}`, number, isogate.Hash},
		{isogate.Hash, "", boolK, "true", `false`, boolK, isogate.Redact},
		{isogate.Hash, "", null, "", `null`, null, isogate.Redact},

		{isogate.Token, "", str, "mia", `igt1a[a-z2-7]{58}`, str, isogate.Token},
		{isogate.Token, "text", str, "mia", `igt1a[a-z2-7]{58}`, str, isogate.Token},
		{isogate.Token, "email", str, "mia@x.org", `igt1a[a-z2-7]{58}@isogate\.invalid`, str, isogate.Token},
		{isogate.Token, "email", str, strings.Repeat("m", 96), `igh1[a-z2-7]{32}@isogate\.invalid`, str, isogate.Hash},
		{isogate.Token, "", number, "17", `[1-9][0-9]{14}`, number, isogate.Hash},
		{isogate.Token, "email", number, "17", `[1-9][0-9]{14}`, number, isogate.Hash},
		{isogate.Token, "text", number, "17", `igt1a[a-z2-7]{58}`, str, isogate.Token},
		{isogate.Token, "text", number, strings.Repeat("1", 64), `[1-9][0-9]{14}`, number, isogate.Hash},
		{isogate.Token, "", boolK, "true", `false`, boolK, isogate.Redact},
		{isogate.Token, "text", boolK, "true", `igt1a[a-z2-7]{58}`, str, isogate.Token},
		{isogate.Token, "", null, "null", `null`, null, isogate.Redact},
		{isogate.Token, "text", null, "null", `null`, null, isogate.Redact},

		{isogate.Mask, "", str, "mia", `\*\*\*\*`, str, isogate.Mask},
		{isogate.Mask, "", boolK, "true", `false`, boolK, isogate.Redact},
		{isogate.Mask, "", null, "null", `null`, null, isogate.Redact},
		{isogate.Mask, "", number, "17", `0`, number, isogate.Redact},

		{isogate.Generalise, "year", str, "2026-05-17", `2026-01-01`, str, isogate.Generalise},
		{isogate.Generalise, "year", str, "yesterday", `\[redacted\]`, str, isogate.Redact},
		{isogate.Generalise, "step-10", number, "17", `10`, number, isogate.Generalise},
		{isogate.Generalise, "step-10", number, "1e400", `0`, number, isogate.Redact},
		{isogate.Generalise, "year", boolK, "true", `false`, boolK, isogate.Redact},
		{isogate.Generalise, "year", null, "null", `null`, null, isogate.Redact},

		{isogate.Allow, "", str, "mia", `mia`, str, isogate.Allow},
		{isogate.Allow, "", number, "1e2", `1e2`, number, isogate.Allow},
		{isogate.Allow, "", null, "", `null`, null, isogate.Allow},
	} {
		out, kind, applied, err := o.Replace([]byte("before "), verdict(c.action, c.form), isogate.Value{Kind: c.kind, Text: []byte(c.text)})
		if err != nil {
			t.Errorf("%v %s of %s %q: %v", c.action, c.form, c.kind, c.text, err)
			continue
		}
		rest, ok := strings.CutPrefix(string(out), "before ")
		if !ok || !regexp.MustCompile("^"+c.want+"$").MatchString(rest) || kind != c.as || applied != c.applied {
			t.Errorf("%v %s of %s %q: %q, %v, %v; want %s, %v, %v", c.action, c.form, c.kind, c.text, out, kind, applied, c.want, c.as, c.applied)
		}
	}
}

// What cannot be in an output is an error that names no value, and dst is as it was.
func TestReplaceErrors(t *testing.T) {
	for what, c := range map[string]struct {
		o    *Obfuscator
		v    isogate.Verdict
		want error
	}{
		"the zero verdict":    {mustNew(t), isogate.Verdict{}, ErrRefused},
		"refuse":              {mustNew(t), isogate.Verdict{Action: isogate.Refuse, Label: email}, ErrRefused},
		"no action":           {mustNew(t), isogate.Verdict{Action: 77, Label: email}, ErrRefused},
		"drop":                {mustNew(t), isogate.Verdict{Action: isogate.Drop, Label: email}, ErrDropped},
		"seal":                {mustNew(t), isogate.Verdict{Action: isogate.Seal, Label: email}, ErrSealed},
		"an unknown label":    {mustNew(t), isogate.Verdict{Action: isogate.Token, Label: "billing.card"}, nil},
		"no label":            {mustNew(t), isogate.Verdict{Action: isogate.Hash}, nil},
		"the zero obfuscator": {new(Obfuscator), isogate.Verdict{Action: isogate.Token, Label: email}, nil},
	} {
		for kind := range isogate.String + 1 {
			out, _, _, err := c.o.Replace([]byte("dst"), &c.v, isogate.Value{Kind: kind, Text: []byte("secret value")})
			if err == nil || c.want != nil && !errors.Is(err, c.want) || strings.Contains(err.Error(), "secret") || string(out) != "dst" {
				t.Errorf("%s, %v: %q, %v", what, kind, out, err)
			}
		}
	}
	// Labels that stand for what nobody has judged always have keys.
	for _, l := range []isogate.Label{isogate.Unclassified, isogate.Opaque} {
		if _, _, _, err := mustNew(t).Replace(nil, labelled(l, isogate.Token, ""), isogate.Value{Kind: isogate.String}); err != nil {
			t.Error(err)
		}
	}
}

func TestHashIsHMAC(t *testing.T) {
	o := mustNew(t)
	key := make([]byte, 32)
	if err := config().Keys.Derive(key, 1, "isogate/obfuscate/v1", "hash", "value", "acme", "support-portal", string(email)); err != nil {
		t.Fatal(err)
	}
	for _, value := range []string{"", "mia", strings.Repeat("long ", 100)} {
		h := hmac.New(sha256.New, key)
		h.Write([]byte("s" + value))
		want := hashPrefix + peer32.EncodeToString(h.Sum(nil)[:hashSize])
		if got := replace(t, o, verdict(isogate.Hash, ""), value); got != want || len(got) != hashLen {
			t.Errorf("%q: %s, want %s", value, got, want)
		}
	}
}

// A number that stands for another is exact as float64, always as long, and
// spread over its whole range.
func TestNumbers(t *testing.T) {
	o := mustNew(t)
	seen := map[string]bool{}
	first := map[byte]int{}
	for i := range 5000 {
		out, _, _, err := o.Replace(nil, verdict(isogate.Token, ""), isogate.Value{Kind: isogate.Number, Text: strconv.AppendInt(nil, int64(i), 10)})
		if err != nil {
			t.Fatal(err)
		}
		n, err := strconv.ParseFloat(string(out), 64)
		if err != nil || strconv.FormatInt(int64(n), 10) != string(out) || len(out) != 15 {
			t.Fatalf("%s: %v, %v", out, n, err)
		}
		if seen[string(out)] {
			t.Fatalf("%d: %s again", i, out)
		}
		seen[string(out)] = true
		first[out[0]]++
	}
	for c := byte('1'); c <= '9'; c++ {
		if first[c] < 400 || first[c] > 720 {
			t.Errorf("%d of 5000 begin with %c", first[c], c)
		}
	}
	// What stands for a number cannot be computed from the hash of the string
	// that is spelled like it.
	digest, ok := DecodeBase32(nil, []byte(strings.TrimPrefix(replace(t, o, verdict(isogate.Hash, ""), "17"), hashPrefix)))
	out, _, _, err := o.Replace(nil, verdict(isogate.Hash, ""), isogate.Value{Kind: isogate.Number, Text: []byte("17")})
	hi, _ := bits.Mul64(binary.BigEndian.Uint64(digest), numberValues)
	if err != nil || !ok || string(out) == strconv.FormatUint(leastNumber+hi, 10) {
		t.Errorf("%s follows from the hash, %v", out, err)
	}
	// A string spelled like a number has nothing in common with it.
	str := replace(t, o, verdict(isogate.Token, "text"), "17")
	num, _, _, err := o.Replace(nil, verdict(isogate.Token, "text"), isogate.Value{Kind: isogate.Number, Text: []byte("17")})
	if err != nil || longestCommon(str[12:], string(num)[12:]) > 7 {
		t.Errorf("%s %s %v", str, num, err)
	}
}

func TestReplaceName(t *testing.T) {
	o := mustNew(t)
	identifier := regexp.MustCompile(`^[a-z][a-z0-9]*$`)
	seen := map[string]bool{}
	for _, n := range []string{"", "email", "Email", "mia@example.com", "ключ", "a.b", "\x00", strings.Repeat("k", 63), strings.Repeat("k", 64), strings.Repeat("k", 5000)} {
		for _, a := range []isogate.Action{isogate.Redact, isogate.Hash, isogate.Token, isogate.Mask, isogate.Generalise, isogate.Seal, isogate.Allow} {
			v := &isogate.Verdict{Action: a, Label: email}
			out, applied, err := o.ReplaceName([]byte("x"), v, []byte(n))
			if err != nil {
				t.Fatal(err)
			}
			s := string(out[1:])
			if !identifier.MatchString(s) || len(s) > 140 {
				t.Errorf("%v of %.20q: %s", a, n, s)
			}
			want := isogate.Hash
			if a >= isogate.Token && len(n) <= 63 {
				want = isogate.Token
				if label, back, err := o.Reveal(s); err != nil || string(back) != n || label != "" {
					t.Errorf("%q came back as %q of %q, %v", n, back, label, err)
				}
			}
			if applied != want {
				t.Errorf("%v of %.20q: applied %v, want %v", a, n, applied, want)
			}
			if a == isogate.Hash || a == isogate.Token && want == isogate.Token {
				if seen[s] {
					t.Errorf("%.20q: another name has %s", n, s)
				}
				seen[s] = true
			}
		}
	}
	for what, c := range map[string]struct {
		v    isogate.Verdict
		want error
	}{
		"the zero verdict": {isogate.Verdict{}, ErrRefused},
		"drop":             {isogate.Verdict{Action: isogate.Drop}, ErrDropped},
		"no action":        {isogate.Verdict{Action: 99}, ErrRefused},
	} {
		if out, _, err := o.ReplaceName([]byte("x"), &c.v, []byte("name")); !errors.Is(err, c.want) || string(out) != "x" {
			t.Errorf("%s: %q, %v", what, out, err)
		}
	}
	if _, _, err := new(Obfuscator).ReplaceName(nil, verdictToken, []byte("name")); err == nil {
		t.Error("the zero Obfuscator replaced a name")
	}
}

// promise: P03 — nothing of a value shows in a hash, token, redaction or
// pseudonym, neither as it is nor as base32 would spell it.
func TestNoPlaintextShows(t *testing.T) {
	o := mustNew(t)
	rng := rand.New(rand.NewPCG(3, 4))
	const alphabet = "ABCXYZ0189 _@.é"
	letters := []rune(alphabet)
	for range 400 {
		var b strings.Builder
		for range 4 + rng.IntN(120) {
			b.WriteRune(letters[rng.IntN(len(letters))])
		}
		value := b.String()
		lower := strings.Map(func(r rune) rune { return 'a' + r%26 }, value)
		for _, a := range []isogate.Action{isogate.Token, isogate.Hash, isogate.Redact} {
			for _, form := range []string{"", "email"} {
				if a != isogate.Token && form != "" {
					continue
				}
				for _, v := range []string{value, lower} {
					outs := []string{replace(t, o, verdict(a, form), v)}
					name, _, err := o.ReplaceName(nil, verdict(a, ""), []byte(v))
					if err != nil {
						t.Fatal(err)
					}
					outs = append(outs, string(name))
					for _, out := range outs {
						most := 3
						if v == lower { // letters of the alphabet coincide by chance
							most = 7
						}
						if n := longestCommon(v, out); n > most {
							t.Fatalf("%v: %d bytes of %q show in %s", a, n, v, out)
						}
						if n := longestCommon(peer32.EncodeToString([]byte(v)), out); n > 7 {
							t.Fatalf("%v: %d characters of %q in base32 show in %s", a, n, v, out)
						}
					}
				}
			}
		}
	}
}
