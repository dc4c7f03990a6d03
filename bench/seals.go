package main

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hpke"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/payload"
	"github.com/isogate/isogate/internal/seal"
)

// What is sealed in these questions.
const (
	sealTenant      isogate.Tenant      = "bench"
	sealDestination isogate.Destination = "far"
	sealTransit     isogate.Transit     = "tickets-put"
	sealSession                         = "aaaaaaaaaaaaaaaaaaaaaaaaaa"
	sealText                            = "ada.byron@mail.example.c" // 24 bytes
)

// sealSide is as much of a landing as it takes to make keys and to open seals.
type sealSide struct {
	epoch     *seal.Epoch
	statement *seal.Statement // opened, as a gateway has it
	signed    []byte
	verifier  string
}

func newSealSide(d isogate.Destination) (*sealSide, error) {
	e, err := seal.NewEpoch()
	if err != nil {
		return nil, err
	}
	signing, verifying, err := note.GenerateKey(nil, string(d))
	if err != nil {
		return nil, err
	}
	signer, err := note.NewSigner(signing)
	if err != nil {
		return nil, err
	}
	verifier, err := note.NewVerifier(verifying)
	if err != nil {
		return nil, err
	}
	now := time.Now().UTC().Truncate(time.Second)
	st := &seal.Statement{Destination: d, Landing: string(d), Home: [4]byte{1, 2, 3, 4}, Epoch: e.ID(), Public: e.Public(),
		NotBefore: now.Add(-time.Minute), NotAfter: now.Add(12 * time.Hour), Idle: 15 * time.Minute, Max: 8 * time.Hour}
	side := &sealSide{epoch: e, verifier: verifying}
	if side.signed, err = st.Sign(signer); err != nil {
		return nil, err
	}
	side.statement, err = seal.OpenStatement(side.signed, verifier)
	return side, err
}

// bySession is the context of one session's key.
func bySession(session string) seal.Context {
	return seal.Context{Tenant: sealTenant, Destination: sealDestination, Transit: sealTransit, Handling: isogate.TransitOnly, Session: session}
}

// arrivalOf is a key as its header brings it.
func arrivalOf(s *seal.Sealer) (seal.Arrival, error) {
	as, err := seal.ParseHeader([]string{string(s.AppendHeader(nil))}, s.Context().Tenant, s.Context().Destination)
	if err != nil {
		return seal.Arrival{}, err
	}
	return as[0], nil
}

// opening is one key as who opens seals with it has it.
type opening struct {
	key [32]byte
	c   seal.Context
}

// OpenSeal implements [seal.Opener].
func (o *opening) OpenSeal(scratch []byte, _ seal.ID, raw []byte) (seal.Opened, seal.Outcome) {
	opened, err := seal.OpenKey(&o.key, &o.c, raw, scratch)
	if err != nil {
		return seal.Opened{}, seal.Withheld
	}
	return opened, seal.Revealed
}

// sealsQuestion: what does one seal cost, its key, and a page of them?
func sealsQuestion(ctx context.Context, b *bench, r *report) error {
	// One core, as for the walker: the collector's work shall be in the figures.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	side, err := newSealSide(sealDestination)
	if err != nil {
		return err
	}
	s, err := seal.NewSealer(bySession(sealSession), side.statement, nil)
	if err != nil {
		return err
	}
	a, err := arrivalOf(s)
	if err != nil {
		return err
	}
	o := &opening{c: a.Context}
	if err := side.epoch.Unwrap(a, &o.key); err != nil {
		return err
	}
	r.say("## Seals")
	if err := sealedOnes(ctx, b, r, s, o); err != nil {
		return err
	}
	if err := sealKeys(ctx, b, r, side, a); err != nil {
		return err
	}
	return sealedPages(ctx, b, r, s, o)
}

// job is one thing that is done over and over.
type job struct {
	name string
	do   func() error
}

// raceJobs has each job done so many times in each call of repeat, and returns
// times a second.
func (b *bench) raceJobs(ctx context.Context, what string, times int, jobs []job) ([]series, error) {
	var cs []contestant
	for _, o := range jobs {
		cs = append(cs, contestant{o.name, func(ctx context.Context, d time.Duration) (float64, error) {
			rate, err := repeat(ctx, d, func() error {
				for range times {
					if err := o.do(); err != nil {
						return err
					}
				}
				return nil
			})
			return rate * float64(times), err
		}})
	}
	return b.race(ctx, what, b.turn/2, cs)
}

// eachRow is a job's row: beside another, what one takes, and allocations.
func eachRow(s, beside series, j job) []string {
	took := fmt.Sprintf("%.0f ns ± %.0f %%", 1e9/s.median(), 100*s.spread())
	if s.median() < 1e5 {
		took = fmt.Sprintf("%.1f µs ± %.0f %%", 1e6/s.median(), 100*s.spread())
	}
	return []string{s.name, times(s.median() / beside.median()), took, fmt.Sprintf("%.0f", testing.AllocsPerRun(100, func() { _ = j.do() }))}
}

// sealedOnes: one value.
func sealedOnes(ctx context.Context, b *bench, r *report, s *seal.Sealer, o *opening) error {
	rep, err := newObfuscator()
	if err != nil {
		return err
	}
	value := isogate.Value{Kind: isogate.String, Text: []byte(sealText)}
	p := s.Passage()
	text, ok := p.Append(nil, replaced, value)
	if !ok {
		return fmt.Errorf("a value of %d bytes was not sealed", len(sealText))
	}
	id, raw, ok := seal.Parse(text)
	if !ok {
		return fmt.Errorf("what was sealed is no seal: %d characters", len(text))
	}
	block, err := aes.NewCipher(o.key[:])
	if err != nil {
		return err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return err
	}
	var nonce [12]byte
	var count uint64
	aad := make([]byte, 120) // as long as what a seal is bound to here
	plain := make([]byte, len(raw)-28-gcm.Overhead())
	letters := base32.StdEncoding.WithPadding(base32.NoPadding)
	sealed := gcm.Seal(nil, nonce[:], plain, aad)
	var buf, ct []byte
	scratch := make([]byte, 0, 1024)
	jobs := []job{
		{"seal", func() error {
			buf, ok = p.Append(buf[:0], replaced, value)
			return unless(ok)
		}},
		{"token", func() (err error) {
			buf, _, _, err = rep.Replace(buf[:0], &replaceVerdict, value)
			return err
		}},
		{"AES-256-GCM of as many bytes, a counter as nonce", func() error {
			count++
			binary.BigEndian.PutUint64(nonce[4:], count)
			ct = gcm.Seal(ct[:0], nonce[:], plain, aad)
			return nil
		}},
		{"the same and encoding/base32", func() error {
			count++
			binary.BigEndian.PutUint64(nonce[4:], count)
			ct = gcm.Seal(append(append(ct[:0], id[:]...), nonce[:]...), nonce[:], plain, aad)
			buf = letters.AppendEncode(buf[:0], ct)
			return nil
		}},
		{"seal opened, as a landing does", func() error {
			_, outcome := o.OpenSeal(scratch, id, raw)
			return unless(outcome == seal.Revealed)
		}},
		{"seal opened, as the gateway that made it does", func() error {
			_, outcome := s.OpenSeal(scratch, id, raw)
			return unless(outcome == seal.Revealed)
		}},
		{"AES-256-GCM opened", func() error {
			clear(nonce[:])
			_, err := gcm.Open(scratch, nonce[:], sealed, aad)
			return err
		}},
		{"AES-256-GCM opened, its key made ready first", func() error {
			clear(nonce[:])
			block, err := aes.NewCipher(o.key[:])
			if err != nil {
				return err
			}
			gcm, err := cipher.NewGCM(block)
			if err != nil {
				return err
			}
			_, err = gcm.Open(scratch, nonce[:], sealed, aad)
			return err
		}},
	}
	ss, err := b.raceJobs(ctx, "seals", 1000, jobs)
	if err != nil {
		return err
	}
	r.say("One value of 24 bytes, sealed and opened. A seal has %d characters here and a token %d: its length is hidden in the same way, and it names its key. "+
		"A landing opens a seal with a key that lies outside Go's heap and leaves no key schedule behind, so it makes one for each seal; a gateway keeps the one of each key that it made. "+
		"What the cipher alone costs stands below.", len(text), len(tokenOf(rep, value)))
	var rows [][]string
	for i, s := range ss {
		beside := ss[1]
		if i >= 4 {
			beside = ss[4]
		}
		rows = append(rows, eachRow(s, beside, jobs[i]))
	}
	r.table([]string{"one value", "times as fast as a token", "one", "allocations"}, rows[:4])
	r.table([]string{"one seal", "times as fast as a landing", "one", "allocations"}, rows[4:])
	return nil
}

// tokenOf is the token of a value, as text.
func tokenOf(rep payload.Replacer, v isogate.Value) string {
	text, _, _, _ := rep.Replace(nil, &replaceVerdict, v) // a token is made of any value this short
	return string(text)
}

func unless(ok bool) error {
	if !ok {
		return errors.New("what was sealed did not come back")
	}
	return nil
}

// sealKeys: one key.
func sealKeys(ctx context.Context, b *bench, r *report, side *sealSide, a seal.Arrival) error {
	kem := hpke.MLKEM768X25519()
	private, err := kem.GenerateKey()
	if err != nil {
		return err
	}
	public := private.PublicKey()
	info, key := make([]byte, 160), make([]byte, 32)
	wrapped, err := hpke.Seal(public, hpke.HKDFSHA256(), hpke.AES256GCM(), info, key)
	if err != nil {
		return err
	}
	line := []string{string(appendArrival(side, a))}
	var out [32]byte
	jobs := []job{
		{"key made, wrapped and put into its header", func() error {
			s, err := seal.NewSealer(bySession(sealSession), side.statement, nil)
			if err == nil {
				line[0] = string(s.AppendHeader(nil))
			}
			return err
		}},
		{"crypto/hpke, key wrapped", func() error {
			_, err := hpke.Seal(public, hpke.HKDFSHA256(), hpke.AES256GCM(), info, key)
			return err
		}},
		{"header read, key unwrapped", func() error {
			as, err := seal.ParseHeader(line, sealTenant, sealDestination)
			if err != nil {
				return err
			}
			return side.epoch.Unwrap(as[0], &out)
		}},
		{"crypto/hpke, key unwrapped", func() error {
			_, err := hpke.Open(private, hpke.HKDFSHA256(), hpke.AES256GCM(), info, wrapped)
			return err
		}},
		{"epoch made", func() error {
			_, err := seal.NewEpoch()
			return err
		}},
	}
	ss, err := b.raceJobs(ctx, "seal keys", 10, jobs)
	if err != nil {
		return err
	}
	r.say("One seal key, wrapped by HPKE with ML-KEM-768 and X25519; in its header it is %d characters. A session has one on each transit, a temporary value one for each tenth of its time to live, a request without a session one of its own.", len(line[0]))
	var rows [][]string
	for i, s := range ss {
		beside := ss[min(i/2*2+1, len(ss)-1)]
		row := eachRow(s, beside, jobs[i])
		if i == len(ss)-1 {
			row[1] = ""
		}
		rows = append(rows, row)
	}
	r.table([]string{"one key", "times as fast as crypto/hpke alone", "one", "allocations"}, rows)
	return nil
}

// appendArrival is the header line of a fresh key to the side's epoch: that of a.
func appendArrival(side *sealSide, a seal.Arrival) []byte {
	s, err := seal.NewSealer(a.Context, side.statement, nil)
	if err != nil {
		return nil
	}
	return s.AppendHeader(nil)
}
