package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/gateway"
	"github.com/isogate/isogate/internal/isogatetest"
	"github.com/isogate/isogate/internal/obfuscate"
	"github.com/isogate/isogate/internal/seal"
)

// landing is both sides of a landing, as small as can be, on the formats of the
// seal package: what custody does inside (it is the gateway's Landings), and what
// the landing does outside (it answers for the world's far side).
type landing struct {
	t      testing.TB
	signer note.Signer
	vkey   string

	mu        sync.Mutex // guards what follows
	epoch     *seal.Epoch
	statement *seal.Statement
	// Inside.
	sealers map[string]*seal.Sealer
	single  []*seal.Sealer // by request
	sent    []seal.ID
	confirm []seal.ID
	lost    []string
	ended   []string
	sending error
	record  func(ids []seal.ID) // called by Sending
	none    bool                // no statement is there
	// Outside.
	keys     map[seal.ID]*heldKey
	arrivals [][]seal.Arrival
	rows     []seal.RegisterRow
	refuse   func(as []seal.Arrival) string // the code to refuse with; "" does not
	held     func(ids []seal.ID) string     // what Isogate-Held says, where not the truth
	answer   func(rw http.ResponseWriter, r isogatetest.Received)
}

type heldKey struct {
	key     [32]byte
	context seal.Context
}

func newLanding(t testing.TB) *landing {
	t.Helper()
	skey, vkey, err := note.GenerateKey(nil, "far-landing")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	l := &landing{t: t, signer: signer, vkey: vkey, sealers: map[string]*seal.Sealer{}, keys: map[seal.ID]*heldKey{}}
	l.restart()
	return l
}

// restart gives the landing a new epoch and forgets all keys outside. The inside
// hears of it only if it asks.
func (l *landing) restart() {
	e, err := seal.NewEpoch()
	if err != nil {
		l.t.Fatal(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.epoch, l.keys = e, map[seal.ID]*heldKey{}
}

// state has the inside learn of the epoch.
func (l *landing) state() *seal.Statement {
	now := time.Now().Truncate(time.Second)
	return &seal.Statement{
		Destination: "far", Landing: "far-landing", Home: [4]byte{1, 2, 3, 4}, Epoch: l.epoch.ID(), Public: l.epoch.Public(),
		NotBefore: now.Add(-time.Minute), NotAfter: now.Add(time.Hour), Idle: 15 * time.Minute, Max: 8 * time.Hour,
		Acknowledges: []isogate.LabelPattern{"personal.contact.**"},
	}
}

// Key implements [gateway.Landings].
func (l *landing) Key(_ isogate.Destination, c seal.Context) (*seal.Sealer, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.none {
		return nil, errors.New("the landing has made no statement that is valid now")
	}
	if l.statement == nil {
		l.statement = l.state()
	}
	name := fmt.Sprintf("%+v", c)
	if s := l.sealers[name]; s != nil && s.Sealing() {
		return s, nil
	}
	s, err := seal.NewSealer(c, l.statement, nil)
	switch {
	case err != nil:
	case c.ByRequest:
		l.single = append(l.single, s)
	default:
		l.sealers[name] = s
	}
	return s, err
}

// Sending implements [gateway.Landings].
func (l *landing) Sending(_ isogate.Destination, ids []seal.ID) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent = append(l.sent, ids...)
	if l.record != nil {
		l.record(ids)
	}
	return l.sending
}

// SessionDigest implements [gateway.Landings].
func (*landing) SessionDigest(_ isogate.Destination, session string) string {
	digest := []byte("aaaaaaaaaaaaaaaaaaaaaaaaaa")
	for i := range session {
		digest[i%26] = 'a' + (digest[i%26]-'a'+session[i])%26
	}
	return string(digest)
}

// Acknowledged implements [gateway.Landings].
func (l *landing) Acknowledged(_ isogate.Destination, label isogate.Label) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.statement == nil {
		l.statement = l.state()
	}
	return !l.none && l.statement.Acknowledged(label)
}

// Held implements [gateway.Landings].
func (l *landing) Held(_ isogate.Destination, ids []seal.ID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.confirm = append(l.confirm, ids...)
	for _, s := range l.sealers {
		for _, id := range ids {
			if s.ID() == id {
				s.SetHeld()
			}
		}
	}
}

// Lost implements [gateway.Landings].
func (l *landing) Lost(_ isogate.Destination, code string, ids []seal.ID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost = append(l.lost, code)
	for name, s := range l.sealers {
		for _, id := range ids {
			if s.ID() == id {
				delete(l.sealers, name)
			}
		}
	}
}

// EndSession implements [gateway.Landings].
func (l *landing) EndSession(_ context.Context, session string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = append(l.ended, session)
	return l.sending
}

// serve is what stands outside, in front of the service.
func (l *landing) serve(rw http.ResponseWriter, r isogatetest.Received) {
	as, err := seal.ParseHeader(r.Header.Values(seal.HeaderSeal), isogatetest.Tenant, "far")
	if err != nil {
		l.t.Errorf("Isogate-Seal cannot be read: %v", err)
	}
	rows, err := seal.ParseRegister(r.Header.Values(seal.HeaderRegister))
	if err != nil {
		l.t.Errorf("Isogate-Register cannot be read: %v", err)
	}
	l.mu.Lock()
	refuse, held, answer := l.refuse, l.held, l.answer
	l.mu.Unlock()
	code := ""
	if refuse != nil {
		code = refuse(as)
	}
	if code == "" {
		code = l.arrive(as)
	}
	if code != "" {
		rw.Header().Set(seal.HeaderLanding, code)
		rw.Header().Set("Content-Type", "application/problem+json")
		rw.WriteHeader(http.StatusConflict)
		return
	}
	l.mu.Lock()
	l.arrivals, l.rows = append(l.arrivals, as), append(l.rows, rows...)
	l.mu.Unlock()
	var ids []seal.ID
	for _, a := range as {
		ids = append(ids, a.ID)
	}
	value := string(seal.AppendHeld(nil, ids))
	if held != nil {
		value = held(ids)
	}
	if value != "" {
		rw.Header().Set(seal.HeaderHeld, value)
	}
	if answer != nil {
		answer(rw, r)
		return
	}
	rw.Header().Set("Content-Type", "application/json")
	if len(r.Body) > 0 {
		_, _ = rw.Write(r.Body)
	} else {
		_, _ = rw.Write([]byte("{}"))
	}
}

// pass answers as serve does, at once and without looking.
func (*landing) pass(rw http.ResponseWriter, r isogatetest.Received) {
	as, _ := seal.ParseHeader(r.Header.Values(seal.HeaderSeal), isogatetest.Tenant, "far")
	for _, a := range as {
		rw.Header().Add(seal.HeaderHeld, a.ID.String())
	}
	rw.Header().Set("Content-Type", "application/json")
	_, _ = rw.Write([]byte("{}"))
}

func (l *landing) arrive(as []seal.Arrival) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range as {
		if l.keys[a.ID] != nil {
			continue
		}
		k := &heldKey{context: a.Context}
		switch {
		case a.Wrapped == nil:
			return seal.CodeUnknownKey
		case a.Epoch != l.epoch.ID():
			return seal.CodeUnknownEpoch
		}
		if err := l.epoch.Unwrap(a, &k.key); err != nil {
			return seal.CodeDamaged
		}
		l.keys[a.ID] = k
	}
	return ""
}

// OpenSeal implements [seal.Opener], outside.
func (l *landing) OpenSeal(scratch []byte, id seal.ID, raw []byte) (seal.Opened, seal.Outcome) {
	l.mu.Lock()
	k := l.keys[id]
	l.mu.Unlock()
	if k == nil {
		return seal.Opened{}, seal.Expired
	}
	o, err := seal.OpenKey(&k.key, &k.context, raw, scratch)
	if err != nil {
		return seal.Opened{}, seal.Withheld
	}
	return o, seal.Revealed
}

// opens is a text as who stands behind the landing may see it.
func (l *landing) opens(text string) string {
	out, _ := seal.Reveal(nil, []byte(text), obfuscate.Plain, l, false)
	return string(out)
}

// aSeal finds a seal.
var aSeal = regexp.MustCompile(`igs1[a-z2-7]{40,}`)

// sealedPack is pack with a landing before far, and values of every handling in
// every position.
func sealedPack(vkey string) map[string]string {
	files := pack()
	files["destinations.yaml"] = "destinations:\n  - {name: far, url: https://far.example.com/base, landing: {public_key: " + vkey + "}}\n"
	files["contracts/ticket.yaml"] = `contract: ticket
format: json
fields:
  user.email: personal.contact.email
  user.name: personal.name.display
  user.nick: personal.name.nickname
  user.phone: personal.contact.phone
  user.age: personal.demographic.birth_date
  other.email: personal.contact.email
  title: ugc.title
  state: system.status
  "items[].nick": personal.name.nickname
`
	files["transits/tickets.yaml"] = `transit: tickets
purpose: support
source: [product/help-center, product/batch]
destination: far
consent: none
session: header X-Session
subject: personal.contact.email
match: [POST /v1/tickets, PUT /v1/tickets, "GET /v1/users/{account}/tickets", "POST /v1/users/{account}/tickets"]
request:
  contract: ticket
  release:
    - {label: personal.contact.email, as: allow, handling: persisted, because: "Tickets, comments; \"need\" an address", owner: team-a, until: 2099-01-01}
    - {label: personal.name.display, as: allow, handling: temporary, ttl: 5m, because: Shown to agents, owner: team-a, until: 2099-01-01}
    - {label: personal.name.nickname, as: allow, handling: transit-only, because: Shown to agents, owner: team-a, until: 2099-01-01}
    - {label: personal.demographic.birth_date, as: seal, handling: transit-only, because: Shown to agents, owner: team-a, until: 2099-01-01}
    - {label: personal.contact.phone, as: mask, form: last-8, handling: temporary, ttl: 10m, because: Shown to agents, owner: team-a, until: 2099-01-01}
    - {label: identifier.user.account_id, as: allow, handling: transit-only, because: Looked up, owner: team-a, until: 2099-01-01}
    - {label: identifier.correlation.request_id, as: allow, handling: transit-only, because: Correlation, owner: team-a, until: 2099-01-01}
  query: {tab: system.metadata, account: identifier.user.account_id}
  path: {account: identifier.user.account_id}
  headers: {X-Request-Id: identifier.correlation.request_id}
  cookies: {theme: system.metadata, account: identifier.user.account_id}
  trailers: {X-Checksum: system.metadata, X-Nick: personal.name.nickname}
response: {restore: true, max: 1MiB}
`
	delete(files, "transits/private.yaml")
	return files
}

func (l *landing) inside(*isogatetest.World) gateway.Landings { return l }

// sealedWorld is a world with a landing before its far side.
func sealedWorld(t testing.TB, change func(*isogatetest.Config)) (*isogatetest.World, *landing) {
	t.Helper()
	l := newLanding(t)
	cfg := isogatetest.Config{Pack: sealedPack(l.vkey), Landings: l.inside}
	if change != nil {
		change(&cfg)
	}
	w := isogatetest.New(t, cfg)
	w.Far.Answer(l.serve)
	return w, l
}
