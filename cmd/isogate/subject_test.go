package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/custody"
	"github.com/isogate/isogate/internal/hub"
	"github.com/isogate/isogate/internal/isogatetest"
	"github.com/isogate/isogate/internal/seal"
)

// outsider plays the landing in front of a site's destination.
type outsider struct {
	t      *testing.T
	signer note.Signer
	epoch  *seal.Epoch

	mu       sync.Mutex // guards what follows
	rows     []map[string]any
	receipts []string
	erased   []string // values
}

func (o *outsider) serve(w http.ResponseWriter, r isogatetest.Received) {
	o.mu.Lock()
	defer o.mu.Unlock()
	path, query, _ := strings.Cut(r.Target, "?")
	switch path {
	case "/.isogate/statement":
		now := time.Now().UTC().Truncate(time.Second)
		st := &seal.Statement{Destination: "far", Landing: o.signer.Name(), Epoch: o.epoch.ID(), Public: o.epoch.Public(), NotBefore: now.Add(-time.Minute),
			NotAfter: now.Add(time.Hour), Idle: time.Minute, Max: time.Hour, Acknowledges: []isogate.LabelPattern{"personal.**"}}
		b, err := st.Sign(o.signer)
		if err != nil {
			o.t.Error(err)
		}
		_, _ = w.Write(b)
	case "/.isogate/receipts":
		var after int
		_, _ = fmt.Sscanf(query[strings.Index(query, "after="):], "after=%d", &after)
		_ = json.NewEncoder(w).Encode(map[string]any{"receipts": o.receipts[after:], "more": false})
	case "/.isogate/register":
		_ = json.NewEncoder(w).Encode(map[string]any{"rows": o.rows})
	case "/.isogate/erasures":
		var q struct {
			Rows []struct{ Value string }
		}
		if err := json.Unmarshal(r.Body, &q); err != nil {
			o.t.Error(err)
		}
		for _, row := range q.Rows {
			o.erased = append(o.erased, row.Value)
		}
		_, _ = w.Write([]byte(`{"state":"waiting"}`))
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// states signs a receipt.
func (o *outsider) states(events ...seal.Event) {
	o.t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now().UTC().Truncate(time.Millisecond)
	for i := range events {
		events[i].At = now
	}
	r := &seal.Receipt{Landing: o.signer.Name(), Destination: "far", Tenant: "acme", Number: uint64(len(o.receipts)) + 1, Time: now, Events: events}
	if n := len(o.receipts); n > 0 {
		r.Previous = seal.Digest([]byte(o.receipts[n-1]))
	}
	b, err := r.Sign(o.signer)
	if err != nil {
		o.t.Fatal(err)
	}
	o.receipts = append(o.receipts, string(b))
}

// withOutsider is a site whose destination has a landing.
func withOutsider(t *testing.T) (*site, *outsider) {
	t.Helper()
	s := withAdministrators(t, "")
	skey, vkey, err := note.GenerateKey(rand.Reader, "far-landing")
	if err != nil {
		t.Fatal(err)
	}
	o := &outsider{t: t}
	if o.signer, err = note.NewSigner(skey); err != nil {
		t.Fatal(err)
	}
	if o.epoch, err = seal.NewEpoch(); err != nil {
		t.Fatal(err)
	}
	s.far.Answer(o.serve)
	s.write("pack/destinations.yaml", fmt.Sprintf("destinations:\n  - {name: far, url: https://far.example.com, landing: {public_key: %q}}\n", vkey))
	s.write("pack/contracts/note.yaml", "contract: note\nformat: json\nfields:\n  state: system.status\n  title: ugc.title\n  email: personal.contact.email\n")
	s.must("tenant", "create", "-c", s.config)
	return s, o
}

// A person asks what of theirs is outside, and wants it gone: the administrator sees
// it, has it erased, and sees the confirmation; their value is in no journal.
//
// promise: P17
func TestSubjectListAndErase(t *testing.T) {
	s, o := withOutsider(t)
	if out := s.must("subject", "list"); out != "none\n" {
		t.Errorf("got %q", out)
	}
	s.opened(func(_ context.Context, op *opened) error {
		landings, err := s.landings(op)
		if err != nil {
			return err
		}
		for _, v := range []string{"ada@example.com", "bob@example.com"} {
			token, _, _, err := landings[0].Identifiers.Replace(nil, &isogate.Verdict{Action: isogate.Token, Label: "personal.contact.email"}, isogate.Value{Kind: isogate.String, Text: []byte(v)})
			if err != nil {
				return err
			}
			o.rows = append(o.rows, map[string]any{"label": "personal.contact.email", "id": string(token), "subject": string(token), "because": "tickets", "rule": "t.yaml:3",
				"since": "2026-11-25T12:00:00Z", "last": "2026-11-25T12:00:00Z"})
		}
		return nil
	})
	for _, args := range [][]string{{"subject", "list"}, {"subject", "list", "--destination", "far"}} {
		if out := s.must(args...); !strings.Contains(out, "ada@example.com") || !strings.Contains(out, "bob@example.com") || !strings.Contains(out, "tickets") {
			t.Errorf("%v: %s", args, out)
		}
	}
	var list hub.SubjectList
	if err := json.Unmarshal([]byte(s.must("--json", "subject", "list", "ada@example.com")), &list); err != nil || len(list.Subjects) != 1 || list.Subjects[0].Value != "ada@example.com" {
		t.Errorf("got %+v, %v", list, err)
	}
	if status, out := s.as("ada-token", "subject", "list", "--destination", "elsewhere"); status != exitNo || !strings.Contains(out, "has no landing") {
		t.Errorf("status %d: %s", status, out)
	}
	cmd := s.command("subject", "erase", "-", "--reason", "she asked", "--destination", "far")
	cmd.Dir, cmd.Stdin = s.dir, strings.NewReader("ada@example.com\n")
	cmd.Env = append(cmd.Env, tokenVariable+"=ada-token")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "asked") || strings.Contains(string(out), "ada@") {
		t.Fatalf("%v: %s", err, out)
	}
	if o.mu.Lock(); len(o.erased) == 0 || o.erased[0] != "ada@example.com" {
		t.Errorf("the landing was asked to erase %q", o.erased)
	}
	o.mu.Unlock()
	if status, out := s.as("ada-token", "subject", "erase", "eve@example.com", "--reason", "x"); status != exitNo || strings.Contains(out, "eve@") {
		t.Errorf("nothing to erase: status %d: %s", status, out)
	}
	if status, out := s.as("ada-token", "subject", "erase", "bob@example.com", "--reason", "x", "--label", "No"); status != exitUnrun || !strings.Contains(out, "--label") {
		t.Errorf("a bad label: status %d: %s", status, out)
	}
	var open hub.ErasureList
	if err := json.Unmarshal([]byte(s.must("--json", "subject", "erasures")), &open); err != nil || len(open.Erasures) != 1 || open.Erasures[0].State != custody.ErasureAsked {
		t.Fatalf("got %+v, %v", open, err)
	}
	o.states(seal.Event{Kind: seal.Erased, Erasure: string(open.Erasures[0].ID), N: 1})
	s.custodian(func(_ *opened, c custodian) {
		waitFor(t, "the confirmation", func() bool { return c.Erasures()[0].State == custody.ErasureConfirmed })
	})
	// Nothing on the tenant's disk has the value.
	if err := filepath.Walk(filepath.Join(s.dir, "state"), func(path string, info os.FileInfo, err error) error {
		if err != nil || info.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if strings.Contains(string(b), "ada@example.com") {
			t.Errorf("%s has the value", path)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
}

// The journal tells the whole life of what left: how, how often it was shown, and
// what ended it.
//
// promise: P21
// promise: P41
func TestJournalShowsTheLifeOfWhatLeft(t *testing.T) {
	s, o := withOutsider(t)
	var id isogate.EntryID
	var key seal.ID
	show := func() string { return s.must("journal", "show", string(id), "-c", s.config) }
	s.custodian(func(op *opened, c custodian) {
		cx := seal.Context{Tenant: "acme", Destination: "far", Transit: "notes", Handling: isogate.Temporary, TTL: time.Minute}
		var sealer *seal.Sealer
		waitFor(t, "a key", func() bool {
			var err error
			sealer, err = c.Key("far", cx)
			return err == nil
		})
		key = sealer.ID()
		if err := c.Sending("far", []seal.ID{key}); err != nil {
			t.Fatal(err)
		}
		p := sealer.Passage()
		e := &isogate.Entry{Kind: isogate.KindEgress, Stage: isogate.StageOpened, Destination: "far", Transit: "notes",
			Seals: []isogate.SealUse{{Key: key.String(), Request: p.Number(), Handling: "temporary", TTL: "1m0s"}},
			Fields: []isogate.Field{{Path: "email", Label: "personal.contact.email", Action: isogate.Seal, Handling: "temporary", TTL: "1m0s", N: 1, Sealed: true},
				{Path: "id", Label: "identifier.user.id", Action: isogate.Allow, Handling: "persisted", N: 1, Registered: true}, {Path: "state", Label: "system.status", Action: isogate.Allow, N: 1}}}
		if err := op.journal.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		id = e.ID
	})
	if out := show(); !strings.Contains(out, "never") || !strings.Contains(out, "alive until") || !strings.Contains(out, "registered") {
		t.Errorf("before anything came of it:\n%s", out)
	}
	o.states(seal.Event{Kind: seal.RevealedTo, Key: key, Request: 1, Label: "personal.contact.email", Viewer: "bob", N: 2}, seal.Event{Kind: seal.RevealedTo, Key: key, Request: 1, Label: "personal.contact.email", Viewer: "eve", N: 1})
	o.states(seal.Event{Kind: seal.Destroyed, Key: key, Cause: seal.CauseExpired})
	s.custodian(func(_ *opened, c custodian) {
		waitFor(t, "the receipts", func() bool { return c.Landings()[0].Receipt == 2 })
	})
	out := show()
	for _, want := range []string{"3 times to 2 viewers", "destroyed ", "(expired), receipt 2"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
	var got struct {
		Entry isogate.Entry
		Life  struct {
			Keys   []custody.KeyLife
			Fields []struct {
				Path, Kept string
				Revealed   int
			}
		}
	}
	if err := json.Unmarshal([]byte(s.must("--json", "journal", "show", string(id), "--life", "-c", s.config)), &got); err != nil || got.Entry.ID != id ||
		got.Life.Keys[0].Receipt != 2 || len(got.Life.Fields) != 3 || got.Life.Fields[0].Revealed != 3 || got.Life.Fields[1].Kept != custody.KeptRegistered {
		t.Errorf("got %+v, %v", got, err)
	}
	if out := s.must("--json", "journal", "show", string(id), "-c", s.config); !strings.HasPrefix(out, `{"id":"`+string(id)) {
		t.Errorf("the entry's bytes: %s", out)
	}
	if out := s.must("subject", "landings"); !strings.Contains(out, "far-landing+") || !strings.Contains(out, "2, the last of") {
		t.Errorf("got %s", out)
	}
}

// opened opens the site's journal as a command does.
func (s *site) opened(do func(context.Context, *opened) error) {
	s.t.Helper()
	cfg, err := loadConfig(s.config)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := withLedger(s.t.Context(), cfg, time.Now, slog.New(slog.DiscardHandler), do); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) landings(op *opened) ([]custody.Landing, error) {
	pack, err := loadPolicy(op.cfg.Pack)
	if err != nil {
		return nil, err
	}
	return custodyLandings(pack.Plan(), op.cfg.Gateway.Upstream.Hosts, op.keys, "")
}

func (s *site) custodian(do func(*opened, custodian)) {
	s.t.Helper()
	s.opened(func(ctx context.Context, op *opened) error {
		return withCustody(ctx, op, slog.New(slog.DiscardHandler), func(c custodian) error {
			do(op, c)
			return nil
		})
	})
}

func waitFor(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(30 * time.Second); !is(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("waited for %s in vain", what)
		}
	}
}
