package evidence

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/consent"
	"github.com/isogate/isogate/internal/journal"
	"github.com/isogate/isogate/internal/policy"
	"github.com/isogate/isogate/internal/remote"
	"github.com/isogate/isogate/internal/seal"
)

func newKey(t testing.TB, name string) (note.Signer, string) {
	t.Helper()
	secret, public, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(secret)
	if err != nil {
		t.Fatal(err)
	}
	return signer, public
}

// world is a journal in which days have passed.
type world struct {
	t       testing.TB
	j       *journal.Journal
	vkey    string
	landing note.Signer
	lkey    string
	packs   shelf
	pack    *policy.Files
	now     time.Time
	clock   atomic.Int64 // now, for the journal, in milliseconds
	last    isogate.EntryID
	stop    func()
	receipt struct {
		number uint64
		digest string
	}
}

// shelf is where packs are kept.
type shelf map[string]*policy.Files

func (s shelf) Files(digest string) (*policy.Files, error) {
	if f, ok := s[digest]; ok {
		return f, nil
	}
	return nil, fmt.Errorf("no pack %s", digest)
}

// noteOf reads a receipt's note from the entries of this world.
func noteOf(e *isogate.Entry) ([]byte, error) {
	if e.Detail["note"] == "" {
		return nil, fmt.Errorf("it has no note")
	}
	return []byte(e.Detail["note"]), nil
}

func packOf(t testing.TB, version int, landing string) *policy.Files {
	t.Helper()
	f, err := policy.NewFiles(map[string][]byte{
		"pack.yaml":         fmt.Appendf(nil, "pack: test\nversion: %d\n", version),
		"destinations.yaml": fmt.Appendf(nil, "destinations:\n  - {name: far, url: https://far.example.com, landing: {public_key: %q}}\n", landing),
		"contracts/n.yaml":  []byte("contract: n\nformat: json\nfields:\n  state: system.status\n"),
		"transits/n.yaml": []byte("transit: n\npurpose: support\nsource: [product/help]\ndestination: far\nconsent: none\n" +
			"match: [POST /v1/n]\nrequest: {contract: n}\n"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Load(); err != nil {
		t.Fatal(err)
	}
	return f
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, packs: shelf{}, now: time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)}
	signer, vkey := newKey(t, "isogate/acme")
	w.vkey = vkey
	w.landing, w.lkey = newKey(t, "far-landing")
	w.clock.Store(w.now.UnixMilli())
	var err error
	w.j, err = journal.Open(t.Context(), journal.Config{Dir: t.TempDir(), Tenant: "acme", Signer: signer, Verifier: vkey, SealEvery: time.Millisecond, Now: func() time.Time { return time.UnixMilli(w.clock.Load()).UTC() }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- w.j.Run(ctx) }()
	w.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		if err := w.j.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	t.Cleanup(w.stop)
	return w
}

// load puts a pack in force that is kept.
func (w *world) load(version int) {
	w.pack = packOf(w.t, version, w.lkey)
	w.packs[w.pack.Digest()] = w.pack
	w.record(&isogate.Entry{Kind: isogate.KindPack, Act: actLoaded, Actor: "isogate serve", Pack: w.pack.Digest(), Detail: map[string]string{"name": "test", "version": fmt.Sprint(version)}})
}

// record records an entry, an hour after the last one.
func (w *world) record(e *isogate.Entry) isogate.EntryID {
	w.t.Helper()
	w.now = w.now.Add(time.Hour)
	w.clock.Store(w.now.UnixMilli())
	if err := w.j.Append(w.t.Context(), e); err != nil {
		w.t.Fatal(err)
	}
	w.last = e.ID
	return e.ID
}

func (w *world) act(a consent.Act) isogate.EntryID { return w.record(a.Entry()) }

// release records a request that left, and its end.
func (w *world) release(by isogate.EntryID, fields ...isogate.Field) isogate.EntryID {
	opened := w.record(&isogate.Entry{Kind: isogate.KindEgress, Stage: isogate.StageOpened, Source: "app/bot", Purpose: "support", Transit: "n", Destination: "far", Method: "POST", URL: "/v1/n",
		Pack: w.pack.Digest(), Consent: by, Decision: "released", BytesOut: 10, Fields: fields})
	w.record(&isogate.Entry{Kind: isogate.KindEgress, Stage: isogate.StageClosed, Closes: []isogate.Closing{{Of: opened, Status: 200, DurationUS: 10}}})
	return opened
}

// receive records a receipt of the landing.
func (w *world) receive(events ...seal.Event) *isogate.Entry {
	w.t.Helper()
	w.receipt.number++
	r := &seal.Receipt{Landing: w.landing.Name(), Destination: "far", Tenant: "acme", Number: w.receipt.number, Previous: w.receipt.digest, Time: w.now, Events: events}
	text, err := r.Sign(w.landing)
	if err != nil {
		w.t.Fatal(err)
	}
	w.receipt.digest = seal.Digest(text)
	v, err := note.NewVerifier(w.lkey)
	if err != nil {
		w.t.Fatal(err)
	}
	e := &isogate.Entry{Kind: isogate.KindLanding, Act: "receipt", Actor: "isogate serve", Destination: "far",
		Detail: map[string]string{"landing": signerOf(v), "number": fmt.Sprint(r.Number), "digest": w.receipt.digest, "note": string(text)}}
	w.record(e)
	return e
}

// days are the entries of a few days: consents by several people, traffic, packs, keys, receipts.
// The middle is where a period may begin.
func (w *world) days() (middle time.Time, grants []isogate.EntryID) {
	w.load(1)
	row := consent.TransitRow("n")
	ada, bob := consent.Actor{Name: "ada", SignedIn: "passkey"}, consent.Actor{Name: "bob", SignedIn: "OpenID Connect"}
	ask := func(party consent.Party, by consent.Actor) (isogate.EntryID, []remote.Row) {
		rows := []remote.Row{row}
		if _, app := party.Source(); app {
			rows = []remote.Row{{Kind: remote.Backend, Host: "api.example.com", Port: 443}}
			w.act(consent.Act{What: consent.Declared, Party: party, Actor: by, Rows: rows, Manifest: consent.Manifest{ID: "ari:app/bot", Name: "Bot </h3><script>alert(1)</script>\u202egnp", Version: "1", Digest: "sha256:1"}})
		}
		return w.act(consent.Act{What: consent.Requested, Party: party, Actor: by, Rows: rows, Answer: 720 * time.Hour, Reason: "please"}), rows
	}
	grant := func(party consent.Party, of isogate.EntryID, rows []remote.Row, by consent.Actor) isogate.EntryID {
		base := uint64(0)
		if e, err := w.j.Get(w.t.Context(), of); err == nil {
			base = e.Seq
		}
		return w.act(consent.Act{What: consent.Granted, Party: party, Of: of, Actor: by, Rows: rows, Base: base, Prompt: "sha256:prompt", Reason: "it is needed"})
	}
	q1, rows := ask("app/bot", ada)
	g1 := grant("app/bot", q1, rows, bob)
	field := isogate.Field{Path: "user.email", Label: "personal.contact.email", Action: isogate.Allow, Handling: "transit-only", Rule: "transits/n.yaml:4", N: 2}
	w.release(g1, field)
	w.act(consent.Act{What: consent.Given, Actor: consent.Actor{Name: "isogate serve"}, Transit: "n", Source: "product/help"})
	w.now = w.now.Add(24 * time.Hour)
	middle = w.now.Add(time.Minute)
	w.release(g1, field, isogate.Field{Path: "title", Label: "ugc.title", Action: isogate.Token, N: 3})
	q2, rows := ask("transit/n", consent.Actor{Name: "isogate serve"})
	g2 := grant("transit/n", q2, rows, ada)
	w.act(consent.Act{What: consent.Revoked, Of: g2, Party: "transit/n", Actor: bob, Reason: "not any more"})
	w.act(consent.Act{What: consent.Granted, Party: "app/none", Of: "01NONE", Actor: bob}) // no effect
	w.record(&isogate.Entry{Kind: isogate.KindEgress, Stage: isogate.StageRefused, Source: "app/bot", Remote: "evil.example", Decision: "refused", Status: 403, Reason: "no consent"})
	w.record(&isogate.Entry{Kind: isogate.KindKey, Act: "keys rotated", Actor: "isogate serve"})
	w.record(&isogate.Entry{Kind: isogate.KindPack, Act: "pack approved", Actor: "paul", Pack: "sha256:" + strings.Repeat("0", 64), Reason: "good", Detail: map[string]string{"signed_in": "passkey"}})
	w.load(2)
	streamed := w.record(&isogate.Entry{Kind: isogate.KindEgress, Stage: isogate.StageOpened, Source: "product/help", Purpose: "billing", Transit: "n", Destination: "far", Pack: w.pack.Digest(), Streamed: true})
	w.record(&isogate.Entry{Kind: isogate.KindEgress, Stage: isogate.StageClosed, Of: streamed, Destination: "far", Status: 200, BytesOut: 1000,
		Fields: []isogate.Field{{Path: "x", Label: "billing.plan", Action: isogate.Seal, Sealed: true, N: 7}}})
	w.record(&isogate.Entry{Kind: isogate.KindEgress, Stage: isogate.StageOpened, Source: "app/bot", Purpose: "app", Transit: "t", Remote: "api.example.com", Pack: w.pack.Digest(), Consent: "01OTHER"})
	key, other := seal.ID{1}, seal.ID{2}
	w.record(&isogate.Entry{Kind: isogate.KindLanding, Act: "seal key sent", Destination: "far", Detail: map[string]string{"key": key.String()}})
	w.record(&isogate.Entry{Kind: isogate.KindLanding, Act: "seal key sent", Destination: "far", Detail: map[string]string{"key": other.String()}})
	w.receive(seal.Event{Kind: seal.RevealedTo, At: w.now, Key: key, Request: 1, Label: "billing.plan", Viewer: "agent", N: 4})
	w.receive(seal.Event{Kind: seal.Destroyed, At: w.now, Key: key, Cause: seal.CauseEnded})
	w.record(&isogate.Entry{Kind: isogate.KindLanding, Act: "receipt overdue", Destination: "far", Reason: "late", Detail: map[string]string{"keys": other.String()}})
	w.record(&isogate.Entry{Kind: isogate.KindAdmin, Act: "role given", Actor: "olga", Detail: map[string]string{"person": "bob", "signed_in": "passkey"}})
	return middle, []isogate.EntryID{g1, g2}
}

// sealed waits until a checkpoint covers everything.
func (w *world) sealed() {
	w.t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := w.j.Prove(w.t.Context(), w.last); err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			w.t.Fatal("the entries are not sealed")
		}
	}
}

func (w *world) maker() Maker {
	return Maker{Journal: w.j.Reader, Packs: w.packs, Note: noteOf, Release: "test"}
}

// made is the file of a period.
func (w *world) made(p Period) []byte {
	w.t.Helper()
	w.sealed()
	e, err := w.maker().Begin(w.t.Context(), p)
	if err != nil {
		w.t.Fatal(err)
	}
	var b bytes.Buffer
	if err := e.WriteTo(w.t.Context(), &b); err != nil {
		w.t.Fatal(err)
	}
	return b.Bytes()
}

func (w *world) verify(b []byte) (*Verdict, error) {
	return Verify(bytes.NewReader(b), int64(len(b)), w.vkey, noteOf)
}

// part is one file of an archive.
type part struct {
	name    string
	content []byte
}

func unpack(t testing.TB, b []byte) (parts []part) {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range z.File {
		in, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, part{f.Name, content})
	}
	return parts
}
