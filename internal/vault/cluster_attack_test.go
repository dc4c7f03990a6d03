package vault

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/isogate/isogate/internal/isogatetest/pgtest"
	"github.com/isogate/isogate/internal/seal"
)

// ATTACK: a thief takes the PostgreSQL server's whole data directory, log included,
// while keys are alive and again after they ended, and has the landing's identity key.
// THIS TEST VERIFIES: no seal key is anywhere in those files, in any spelling, at any
// time; and nothing in the tables, the identity, or what is derived from it opens a
// shared key that was in them.
//
// promise: P16, P18, P41
func TestAttackClusterThief(t *testing.T) {
	pg := pgtest.New(t)
	pg.SQL("postgres", "CREATE DATABASE cluster")
	w := newTown(t, pg.URL("cluster"), 3)
	a, b := w.members[0], w.members[1]
	var keys [][keySize]byte
	session := a.arrive(bySession(sessionA))
	short, long := a.arrive(temporary(20*time.Second)), b.arrive(temporary(time.Hour))
	keys = append(keys, a.secret(session), a.secret(short), b.secret(long))
	for _, m := range []*member{a, b} { // the windows' keys as well
		for _, k := range m.cluster.windows.at {
			keys = append(keys, *m.cluster.windows.arena.key(k.slot))
		}
	}
	if len(keys) < 5 {
		t.Fatalf("there are %d keys to look for, want those of two windows too", len(keys))
	}
	for _, m := range w.members {
		if err := m.Settled(t.Context()); err != nil {
			t.Fatal(err)
		}
		m.pulse()
	}
	taken := dump(t, w.database)
	if len(taken.shared) != 2 {
		t.Fatalf("the thief takes %d shared keys, want 2: the test would show nothing", len(taken.shared))
	}
	look := func(when string) {
		t.Helper()
		pg.SQL("cluster", "CHECKPOINT")
		dir := filepath.Dir(pg.Certificate())
		n := 0
		for name, content := range files(t, dir) {
			n += len(content)
			for i, key := range keys {
				for _, s := range spellings(key) {
					if bytes.Contains(content, s) {
						t.Errorf("%s: key %d is in %s", when, i, name)
					}
				}
			}
		}
		if n < 1<<20 {
			t.Errorf("%s: only %d bytes were looked at", when, n)
		}
	}
	look("alive")
	w.pass(2 * time.Minute)
	if got := destroyed(b.receipts(acme)); got[short.ID()] != seal.CauseExpired {
		t.Fatalf("receipts say %v", got)
	}
	look("after one ended")
	// The thief comes back and takes it all, and tries what they have on what they took
	// when the keys lived.
	again := dump(t, w.database)
	mac, err := deriveMAC(w.signer)
	if err != nil {
		t.Fatal(err)
	}
	tools := append(taken.bytes, again.bytes...)
	tools = append(tools, mac[:], []byte(w.vkey))
	for _, s := range taken.shared {
		var got [keySize]byte
		for _, tool := range tools {
			for i := 0; i+keySize <= len(tool); i++ {
				if seal.UnwrapUnder((*[keySize]byte)(tool[i:i+keySize]), &got, s.sealed, sharedAAD(&s)) == nil {
					t.Fatal("what is in the tables opens a shared key")
				}
			}
		}
	}
	// That the attempt is a real one: with the window's key it opens.
	opened := 0
	for _, s := range taken.shared {
		_, now := read(b.cfg.Clock)
		if has, err := b.cluster.windows.with(windowID{s.maker, s.ends}, now, func(k *[keySize]byte) error {
			var got [keySize]byte
			return seal.UnwrapUnder(k, &got, s.sealed, sharedAAD(&s))
		}); has && err == nil {
			opened++
		}
	}
	if opened != 1 {
		t.Errorf("%d shared keys open with a window's key that is in memory, want 1: that of the one that lives", opened)
	}
}

// loot is what a thief finds in the tables.
type loot struct {
	shared []sharedKey
	bytes  [][]byte
}

func dump(t *testing.T, database string) (l loot) {
	t.Helper()
	c, err := pgx.Connect(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close(context.Background()) }()
	schema := pgx.Identifier{schemaOf(portal)}.Sanitize()
	rows, err := c.Query(t.Context(), "SELECT key, maker, ends, facts, sealed FROM "+schema+".shared")
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		var s sharedKey
		var key []byte
		if err := rows.Scan(&key, &s.maker, &s.ends, &s.facts, &s.sealed); err != nil {
			t.Fatal(err)
		}
		s.key = seal.ID(key)
		l.shared = append(l.shared, s)
	}
	for _, table := range []string{"meta", "member", "home", "live", "event", "chain", "receipt", "letter", "shared", "ending"} {
		rows, err := c.Query(t.Context(), "SELECT t::text FROM "+schema+"."+table+" t")
		if err != nil {
			t.Fatal(err)
		}
		all, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range all {
			l.bytes = append(l.bytes, []byte(row))
			for _, part := range strings.Split(row, `\\x`) {
				part, _, _ = strings.Cut(part, `"`)
				if raw, err := hex.DecodeString(part); err == nil {
					l.bytes = append(l.bytes, raw)
				}
			}
		}
	}
	return l
}

// ATTACK: who may write into the database, but has no member's identity, adds a member
// with a box of their own to get window keys, a letter with a key that they know, an
// event that a key was destroyed, and a key to a dead member's list.
// THIS TEST VERIFIES: no member takes any of it, nothing is sealed to the stranger's
// box, no receipt says what the stranger wrote, and a metric counts it.
func TestAttackClusterForgery(t *testing.T) {
	w := newTown(t, pgtest.Database(t), 2)
	a, b := w.members[0], w.members[1]
	held := a.arrive(bySession(sessionA))
	stranger := &boxes{life: time.Hour}
	if err := stranger.renew(instant{}); err != nil {
		t.Fatal(err)
	}
	schema := pgx.Identifier{schemaOf(portal)}.Sanitize()
	note := fmt.Sprintf(`{"instance":"STRANGER","name":"x","address":%q,"box":%q,"clocks":{}}`, a.cluster.cfg.Address, base64.StdEncoding.EncodeToString(stranger.public()))
	_, now := read(a.clock)
	known := []byte{1, 'X'}
	known = binary.BigEndian.AppendUint64(known, uint64((now.wall + time.Hour).Milliseconds()))
	known = binary.BigEndian.AppendUint64(known, uint64(now.boot+time.Hour))
	known = append(known, make([]byte, keySize)...)
	letter, err := sealTo(a.cluster.boxes.public(), letterUse, known)
	if err != nil {
		t.Fatal(err)
	}
	id := held.ID()
	for _, q := range []string{
		fmt.Sprintf(`INSERT INTO %s.member (instance, note, mac) VALUES ('STRANGER', '%s', '\x00')`, schema, note),
		fmt.Sprintf(`INSERT INTO %s.letter (instance, sealed, mac) VALUES ('%s', '\x%x', '\x00')`, schema, a.cluster.instance, letter),
		fmt.Sprintf(`INSERT INTO %s.event (id, tenant, body, mac) VALUES ('\x01', 'acme', '{"kind":"destroyed","at":"2030-01-01T00:00:00Z","key":"%s","cause":"expired"}', '\x00')`, schema, id),
	} {
		if out, err := pgtest.Exec(w.database, q); err != nil {
			t.Fatal(err, out)
		}
	}
	a.arrive(temporary(time.Hour))
	w.pass(10 * time.Second)
	if out, err := pgtest.Exec(w.database, fmt.Sprintf(`SELECT count(*) FROM %s.letter WHERE instance = 'STRANGER'`, schema)); err != nil || out != "0\n" {
		t.Errorf("%q letters to the stranger, %v", out, err)
	}
	if len(a.cluster.windows.at) != 1 {
		t.Errorf("a has %d windows' keys, want its own only", len(a.cluster.windows.at))
	}
	if got := destroyed(b.receipts(acme)); len(got) > 0 {
		t.Errorf("receipts say %v", got)
	}
	for _, m := range w.members {
		if metric(t, m.Vault.cfg.Metrics.forged) == 0 {
			t.Errorf("%s counted no forgery", m.cluster.cfg.Name)
		}
	}
}

// ATTACK: a member is cut off from the database, so that the others take it for dead
// and say that its keys are gone, while it goes on showing what they open.
// THIS TEST VERIFIES: it shows nothing that it cannot record, from the first moment;
// it takes no request; before the others say anything it has destroyed its keys, by
// its own boot clock, whatever its wall clock is set to; and it does not come back.
//
// promise: P41
func TestAttackClusterPartition(t *testing.T) {
	w := newTown(t, pgtest.Database(t), 2)
	a, b := w.members[0], w.members[1]
	s := a.arrive(bySession(sessionA))
	long := a.arrive(temporary(time.Hour))
	if err := a.Settled(t.Context()); err != nil {
		t.Fatal(err)
	}
	text := sealed(t, s, "Ada")
	b.pulse()
	database := w.database[strings.Index(w.database, "@")+1 : strings.LastIndex(w.database, "/")]
	a.cable.pull(func(address string) bool { return address == database })

	vw := a.View(Viewer{Name: "agent", Allows: everybody})
	show(t, vw, text)
	if err := vw.Record(t.Context()); err == nil {
		t.Error("a value is shown though nobody can write that down")
	}
	if err := a.cluster.pulse(t.Context()); err == nil {
		t.Error("a beat came through a cable that is out")
	}
	if a.Ready() == nil {
		t.Error("a member without the database is ready")
	}
	if err := a.Arrive(header(t, a.sealer(bySession(sessionB)))); err == nil {
		if err := a.Settled(t.Context()); err == nil {
			t.Error("a key is said to be held though nobody can write that down")
		}
	}
	for _, m := range w.members {
		m.clock.pass(testLease * 3 / 4)
	}
	a.clock.set(-time.Hour)
	if got := a.look(text); got == "Ada" {
		t.Error("it opens for longer than the others can be sure of")
	}
	if err := a.Arrive(header(t, s)); !errors.Is(err, ErrClosed) {
		t.Errorf("it takes a request: %v", err)
	}
	b.pulse()
	if got := destroyed(b.receipts(acme)); len(got) > 0 {
		t.Errorf("receipts say %v before the member has destroyed its keys", got)
	}
	if err := a.Run(t.Context()); !errors.Is(err, errGivenUp) {
		t.Errorf("it runs on: %v", err)
	}
	if a.holds(s.ID()) {
		t.Error("the key is still in memory")
	}
	a.deaf()
	a.cable.pull(nil)
	b.clock.pass(testLease)
	w.pass(testLease)
	if got := destroyed(b.receipts(acme)); got[s.ID()] != CauseLost || got[long.ID()] != "" {
		t.Errorf("receipts say %v", got)
	}
	if !b.holds(long.ID()) {
		t.Error("the temporary key was not taken up")
	}
}

// ATTACK: somebody on the network without a certificate of the cluster's, or with one
// of another authority, asks a member to open seals.
// THIS TEST VERIFIES: no call is answered.
func TestAttackClusterStranger(t *testing.T) {
	w := newTown(t, pgtest.Database(t), 2)
	a, b := w.members[0], w.members[1]
	s := a.arrive(bySession(sessionA))
	text := sealed(t, s, "Ada")
	_, raw, _ := seal.Parse(text)
	p := &peer{note: memberNote{Instance: a.cluster.instance, Name: "a", Address: a.cluster.cfg.Address}}
	var out openAnswer
	in := &openCall{Seals: [][]byte{raw}, Box: b.cluster.boxes.public()}
	if err := b.cluster.call(t.Context(), p, "open", in, &out); err != nil || len(out.Sealed) == 0 {
		t.Fatalf("a member is not answered: %v", err)
	}
	for name, ca := range map[string]*authority{"none": nil, "another authority's": newAuthority(t)} {
		far := &cluster{v: b.Vault, client: strangerClient(t, w.ca, ca)}
		if err := far.call(t.Context(), p, "open", in, &out); err == nil {
			t.Errorf("a caller with a certificate of %s is answered", name)
		}
	}
	if bytes.Contains(out.Sealed, []byte("Ada")) {
		t.Error("the answer has the value in plaintext within TLS")
	}
}

// strangerClient trusts the cluster and has a certificate of another authority, or none.
func strangerClient(t *testing.T, cluster, own *authority) *http.Client {
	t.Helper()
	c := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: cluster.pool}
	if own != nil {
		c.Certificates = []tls.Certificate{own.member(t)}
	}
	return &http.Client{Transport: &http.Transport{DialContext: (&net.Dialer{}).DialContext, TLSClientConfig: c}}
}

func metric(t *testing.T, c prometheus.Metric) float64 {
	t.Helper()
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetCounter().GetValue()
}
