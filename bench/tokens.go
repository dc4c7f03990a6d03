package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"testing"
	"time"

	"github.com/tink-crypto/tink-go/v2/daead"
	"github.com/tink-crypto/tink-go/v2/keyset"

	"github.com/isogate/isogate"
)

// tokensQuestion: what does one replacement of a value of 24 bytes cost?
func tokensQuestion(ctx context.Context, b *bench, r *report) error {
	rep, err := newObfuscator()
	if err != nil {
		return err
	}
	value := []byte("ada.byron@mail.example.c")
	if len(value) != 24 {
		return fmt.Errorf("the value has %d bytes", len(value))
	}
	handle, err := keyset.NewHandle(daead.AESSIVKeyTemplate())
	if err != nil {
		return err
	}
	tink, err := daead.New(handle)
	if err != nil {
		return err
	}
	label, key := []byte(replaced), make([]byte, 32)
	hash := isogate.Verdict{Action: isogate.Hash, Label: replaced}
	var buf []byte
	one := []struct {
		name string
		do   func() error
	}{
		{"isogate token", func() (err error) {
			buf, _, _, err = rep.Replace(buf[:0], &replaceVerdict, isogate.Value{Kind: isogate.String, Text: value})
			return err
		}},
		{"Tink DAEAD and base64", func() error {
			out, err := tink.EncryptDeterministically(value, label)
			buf = base64.RawURLEncoding.AppendEncode(buf[:0], out)
			return err
		}},
		{"isogate hash", func() (err error) {
			buf, _, _, err = rep.Replace(buf[:0], &hash, isogate.Value{Kind: isogate.String, Text: value})
			return err
		}},
		{"hmac.New with SHA-256 and base64", func() error {
			m := hmac.New(sha256.New, key)
			m.Write(value)
			buf = base64.RawURLEncoding.AppendEncode(buf[:0], m.Sum(nil))
			return nil
		}},
	}
	var cs []contestant
	for _, o := range one {
		cs = append(cs, contestant{o.name, func(ctx context.Context, d time.Duration) (float64, error) {
			return repeat(ctx, d, func() error {
				for range 1000 {
					if err := o.do(); err != nil {
						return err
					}
				}
				return nil
			})
		}})
	}
	ss, err := b.race(ctx, "tokens", b.turn/2, cs)
	if err != nil {
		return err
	}
	r.say("## Tokens")
	r.say("One value of 24 bytes replaced, as text. Isogate's token also has its length hidden and says by which key and label it was made; " +
		"its keys were derived when the plan was put in force.")
	var rows [][]string
	for i, s := range ss {
		peer := ss[i/2*2+1]
		rows = append(rows, []string{s.name, times(s.median() / peer.median()), fmt.Sprintf("%.0f ns ± %.0f %%", 1e6/s.median(), 100*s.spread()),
			fmt.Sprintf("%.0f", testing.AllocsPerRun(100, func() { _ = one[i].do() }))})
	}
	r.table([]string{"", "times as fast", "one", "allocations"}, rows)
	return nil
}
