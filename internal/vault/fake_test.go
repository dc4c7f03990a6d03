package vault

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/seal"
)

const (
	acme    = isogate.Tenant("acme")
	other   = isogate.Tenant("other")
	portal  = isogate.Destination("support-portal")
	transit = isogate.Transit("support-session")
	email   = isogate.Label("personal.contact.email")

	sessionA = "aaaaaaaaaaaaaaaaaaaaaaaaaa"
	sessionB = "baaaaaaaaaaaaaaaaaaaaaaaaa"
)

// fakeClock is both clocks of a machine, and moves when it is told to.
type fakeClock struct {
	mu   sync.Mutex
	boot string
	up   time.Duration
	wall time.Time
}

func newFakeClock() *fakeClock {
	return &fakeClock{boot: "boot-1", up: time.Hour, wall: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)}
}

func (c *fakeClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wall
}

func (c *fakeClock) Boot() (string, time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.boot, c.up
}

// pass lets time pass, by both clocks.
func (c *fakeClock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.up += d
	c.wall = c.wall.Add(d)
}

// set steps the wall clock.
func (c *fakeClock) set(by time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wall = c.wall.Add(by)
}

// reboot is the machine started anew.
func (c *fakeClock) reboot() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.boot += "+"
	c.up = time.Second
}

// far is a landing side under test, and the gateway that it serves.
type far struct {
	t     *testing.T
	clock *fakeClock
	cfg   Config
	vkey  string
	*Vault
}

func newFar(t *testing.T, change func(*Config)) *far {
	t.Helper()
	skey, vkey, err := note.GenerateKey(nil, "landing.example/support-portal")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	f := &far{t: t, clock: newFakeClock(), vkey: vkey}
	dir := t.TempDir()
	f.cfg = Config{Destination: portal, Tenants: []isogate.Tenant{acme, other}, Signer: signer, Dir: filepath.Join(dir, "dir"), Keep: filepath.Join(dir, "keep"), KeepOnDisk: true,
		MaxKeys: 1000, Clock: f.clock, Acknowledges: []isogate.LabelPattern{"personal.contact.*"}}
	if change != nil {
		change(&f.cfg)
	}
	f.start()
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func (f *far) start() {
	f.t.Helper()
	v, err := Open(f.cfg)
	if err != nil {
		f.t.Fatal(err)
	}
	f.Vault = v
}

// kill ends the process without a word: what is in memory is lost.
func (f *far) kill() {
	f.t.Helper()
	f.gate.Lock()
	f.closing.Store(true)
	f.gate.Unlock()
	for _, s := range f.shards {
		s.mu.Lock()
		s.byID, s.due = map[seal.ID]uint32{}, nil
		s.mu.Unlock()
	}
	if err := f.release(); err != nil {
		f.t.Fatal(err)
	}
}

// turnOver is one turn of Run, with receipts.
func (f *far) turnOver() {
	f.t.Helper()
	f.cutAt -= cutEvery
	if err := f.tick(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
}

func (f *far) verifier() note.Verifier {
	f.t.Helper()
	v, err := note.NewVerifier(f.vkey)
	if err != nil {
		f.t.Fatal(err)
	}
	return v
}

// bySession, byRequest and temporary are contexts of keys.
func bySession(digest string) seal.Context {
	return seal.Context{Tenant: acme, Destination: portal, Transit: transit, Handling: isogate.TransitOnly, Session: digest}
}

func byRequest() seal.Context {
	return seal.Context{Tenant: acme, Destination: portal, Transit: transit, Handling: isogate.TransitOnly, ByRequest: true}
}

func temporary(ttl time.Duration) seal.Context {
	return seal.Context{Tenant: acme, Destination: portal, Transit: transit, Handling: isogate.Temporary, TTL: ttl}
}

// sealer makes a key at the gateway, whose clock is the landing side's.
func (f *far) sealer(c seal.Context) *seal.Sealer {
	f.t.Helper()
	st, err := seal.OpenStatement(f.Statement(), f.verifier())
	if err != nil {
		f.t.Fatal(err)
	}
	s, err := seal.NewSealer(c, st, f.clock.Now)
	if err != nil {
		f.t.Fatal(err)
	}
	return s
}

// header is what a request with the key brings.
func header(t testing.TB, s *seal.Sealer) seal.Arrival {
	t.Helper()
	as, err := seal.ParseHeader([]string{string(s.AppendHeader(nil))}, s.Context().Tenant, s.Context().Destination)
	if err != nil {
		t.Fatal(err)
	}
	return as[0]
}

// arrive makes a key and brings it.
func (f *far) arrive(c seal.Context) *seal.Sealer {
	f.t.Helper()
	s := f.sealer(c)
	if err := f.Arrive(header(f.t, s)); err != nil {
		f.t.Fatal(err)
	}
	return s
}

// sealed seals a value of its own request.
func sealed(t testing.TB, s *seal.Sealer, value string) []byte {
	t.Helper()
	p := s.Passage()
	out, ok := p.Append(nil, email, isogate.Value{Kind: isogate.String, Text: []byte(value)})
	if !ok {
		t.Fatal("the key does not seal")
	}
	return out
}

// everybody may see everything.
func everybody(*seal.Context, isogate.Label) bool { return true }

// look opens a seal as a viewer with all rights, and returns what stands in its place.
func (f *far) look(text []byte) string {
	f.t.Helper()
	return show(f.t, f.View(Viewer{Name: "agent", Allows: everybody}), text)
}

func show(t testing.TB, vw *View, text []byte) string {
	t.Helper()
	id, raw, ok := seal.Parse(text)
	if !ok {
		t.Fatalf("%q is no seal", text)
	}
	scratch := make([]byte, 0, len(raw))
	o, out := vw.OpenSeal(scratch, id, raw)
	switch out {
	case seal.Revealed:
		return string(o.Value)
	case seal.Expired:
		return seal.TextExpired
	}
	if o.Value != nil {
		t.Errorf("a value that is withheld comes along")
	}
	return seal.TextWithheld
}

// refused asserts that err is a refusal with a code.
func refused(t testing.TB, err error, code string) {
	t.Helper()
	var r *Refusal
	if !errors.As(err, &r) || r.Code != code {
		t.Fatalf("got %v, want a refusal %s", err, code)
	}
}

// receipts fetches, verifies and chains all receipts of a tenant.
func (f *far) receipts(of isogate.Tenant) (events []seal.Event) {
	f.t.Helper()
	var after uint64
	var previous string
	for more := true; more; {
		var notes [][]byte
		var err error
		if notes, more, err = f.Receipts(f.t.Context(), of, after, 3); err != nil {
			f.t.Fatal(err)
		}
		for _, n := range notes {
			r, err := seal.OpenReceipt(n, f.verifier())
			if err != nil {
				f.t.Fatal(err)
			}
			if r.Number != after+1 || r.Previous != previous || r.Tenant != of || r.Destination != portal {
				f.t.Fatalf("receipt %d of %s after %q comes after %d and %q", r.Number, r.Tenant, r.Previous, after, previous)
			}
			after, previous = r.Number, seal.Digest(n)
			events = append(events, r.Events...)
		}
	}
	return events
}

// destroyed is the causes by which keys were destroyed, as receipts say.
func destroyed(events []seal.Event) map[seal.ID]string {
	m := map[seal.ID]string{}
	for _, e := range events {
		if e.Kind == seal.Destroyed {
			if m[e.Key] != "" {
				m[e.Key] += ", "
			}
			m[e.Key] += e.Cause
		}
	}
	return m
}

// files reads every file below a directory.
func files(t testing.TB, dir string) map[string][]byte {
	t.Helper()
	m := map[string][]byte{}
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		m[p], err = os.ReadFile(p)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// secret is a key as it was found in the vault, for a test that looks for it later.
func (f *far) secret(s *seal.Sealer) (key [keySize]byte) {
	f.t.Helper()
	sh := f.shard(s.ID())
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	slot, ok := sh.byID[s.ID()]
	if !ok {
		f.t.Fatal("the key is not held")
	}
	return *f.arena.key(slot)
}

// found names the files in which a key is found, raw or spelled.
func found(t testing.TB, dir string, key [keySize]byte) (in []string) {
	t.Helper()
	for name, b := range files(t, dir) {
		for _, s := range spellings(key) {
			if bytes.Contains(b, s) {
				in = append(in, name)
				break
			}
		}
	}
	return in
}

func spellings(key [keySize]byte) [][]byte {
	return [][]byte{key[:], fmt.Appendf(nil, "%x", key), fmt.Appendf(nil, "%X", key), b64(key[:])}
}

func value(s string) isogate.Value { return isogate.Value{Kind: isogate.String, Text: []byte(s)} }
