package vault

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/isogatetest/pgtest"
	"github.com/isogate/isogate/internal/seal"
)

// authority issues the members' certificates.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	pool *x509.CertPool
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "cluster"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{key: key, cert: cert, pool: x509.NewCertPool()}
	a.pool.AddCert(cert)
	return a
}

func (a *authority) member(t testing.TB) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// holder hands out a certificate of a member.
func (a *authority) holder(t testing.TB) func() (*tls.Certificate, error) {
	t.Helper()
	c := a.member(t)
	return func() (*tls.Certificate, error) { return &c, nil }
}

// cable is a member's connections, and can be pulled out.
type cable struct {
	mu    sync.Mutex
	out   func(address string) bool // what cannot be reached; nil is nothing
	conns map[net.Conn]string
}

func (c *cable) dial(ctx context.Context, network, address string) (net.Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.out != nil && c.out(address) {
		return nil, errors.New("the cable is out")
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err == nil {
		c.conns[conn] = address
	}
	return conn, err
}

// pull cuts connections to addresses, and lets there be no new ones.
func (c *cable) pull(out func(address string) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out = out
	for conn, address := range c.conns {
		if out != nil && out(address) {
			_ = conn.Close()
			delete(c.conns, conn)
		}
	}
}

// town is a cluster under test. Its members beat when they are told to.
type town struct {
	t        *testing.T
	database string
	ca       *authority
	signer   note.Signer
	vkey     string
	members  []*member
}

// member is one of them.
type member struct {
	*far
	cable *cable
	deaf  context.CancelFunc // ends its listener
	heard chan error
}

const testLease = time.Minute

func newTown(t *testing.T, database string, n int) *town {
	t.Helper()
	skey, vkey, err := note.GenerateKey(nil, "landing.example/support-portal")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	w := &town{t: t, database: database, ca: newAuthority(t), signer: signer, vkey: vkey}
	for range n {
		w.join()
	}
	w.settle()
	return w
}

// join starts one more member.
func (w *town) join() *member {
	w.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	m := &member{cable: &cable{conns: map[net.Conn]string{}}, heard: make(chan error, 1)}
	clock := newFakeClock()
	clock.up += time.Duration(len(w.members)) * 1000 * time.Hour // their boots have nothing to do with one another
	if len(w.members) > 0 {
		clock.wall = w.members[0].clock.Now()
	}
	m.far = &far{t: w.t, clock: clock, vkey: w.vkey, cfg: Config{Destination: portal, Tenants: []isogate.Tenant{acme, other}, Signer: w.signer, MaxKeys: 1000, Clock: clock,
		Cluster: &Cluster{Name: fmt.Sprintf("member-%d", len(w.members)), Database: w.database, Address: l.Addr().String(), Certificate: w.ca.holder(w.t),
			Authorities: w.ca.pool, Dial: m.cable.dial, Lease: testLease}}}
	m.start()
	ctx, cancel := context.WithCancel(w.t.Context())
	m.deaf = cancel
	go func() { m.heard <- m.ServePeers(ctx, l) }()
	w.members = append(w.members, m)
	w.t.Cleanup(func() {
		m.deaf()
		_ = m.Vault.Close()
		<-m.heard
	})
	return m
}

// pulse is one beat of a member.
func (m *member) pulse() {
	m.t.Helper()
	if err := m.cluster.pulse(m.t.Context()); err != nil {
		m.t.Fatalf("%s: %v", m.cluster.cfg.Name, err)
	}
}

// settle has all members that live hear of one another.
func (w *town) settle() {
	w.t.Helper()
	for range 4 {
		for _, m := range w.members {
			if !m.closing.Load() {
				m.pulse()
			}
		}
	}
	for _, m := range w.members {
		if m.closing.Load() {
			continue
		}
		if err := m.Ready(); err != nil {
			w.t.Fatalf("%s: %v", m.cluster.cfg.Name, err)
		}
	}
}

// pass lets time pass for all, with beats in between.
func (w *town) pass(d time.Duration) {
	w.t.Helper()
	for d > 0 {
		step := min(d, testLease/4)
		d -= step
		for _, m := range w.members {
			m.clock.pass(step)
		}
		for _, m := range w.members {
			if !m.closing.Load() {
				m.pulse()
				m.turnOver()
			}
		}
	}
}

// die ends a member as SIGKILL would.
func (m *member) die() {
	m.t.Helper()
	m.deaf()
	<-m.heard
	m.heard <- nil
	m.kill()
}

func (m *member) holds(id seal.ID) bool {
	s := m.shard(id)
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, ok := s.byID[id]
	return ok
}

// everywhere asserts what all living members show for a seal.
func (w *town) everywhere(text []byte, want string) {
	w.t.Helper()
	for _, m := range w.members {
		if m.closing.Load() {
			continue
		}
		vw := m.View(Viewer{Name: "agent", Allows: everybody})
		if got := show(w.t, vw, text); got != want {
			w.t.Errorf("%s shows %q, want %q", m.cluster.cfg.Name, got, want)
		}
		if err := vw.Record(w.t.Context()); err != nil {
			w.t.Error(err)
		}
	}
}

// TestClusterPinsKeys: a key is held by the member whose home its ID names, wherever
// the request arrives; every member opens what is sealed under it, for a viewer with
// rights only; and a session's end reaches the key from every member.
//
// promise: P16, P41
func TestClusterPinsKeys(t *testing.T) {
	w := newTown(t, pgtest.Database(t), 3)
	a, b, c := w.members[0], w.members[1], w.members[2]
	s := a.sealer(bySession(sessionA))
	text := sealed(t, s, "Ada")
	if err := b.Arrive(header(t, s)); err != nil {
		t.Fatal(err)
	}
	if !a.holds(s.ID()) || b.holds(s.ID()) || c.holds(s.ID()) {
		t.Fatal("the key is not where its home is, and there alone")
	}
	s.SetHeld()
	for _, m := range w.members {
		if err := m.Arrive(header(t, s)); err != nil {
			t.Errorf("the key is held, and %s says %v", m.cluster.cfg.Name, err)
		}
	}
	w.everywhere(text, "Ada")
	if got := show(t, b.View(Viewer{Name: "nobody", Allows: func(*seal.Context, isogate.Label) bool { return false }}), text); got != seal.TextWithheld {
		t.Errorf("a viewer without rights is shown %q", got)
	}
	if n := c.EndSession(acme, sessionA, seal.CauseEnded); n != 1 {
		t.Errorf("%d keys ended, want 1", n)
	}
	w.everywhere(text, seal.TextExpired)
	refused(t, b.Arrive(header(t, s)), seal.CodeGone)
	for _, m := range w.members {
		m.turnOver()
	}
	for _, m := range w.members {
		events := m.receipts(acme)
		shown := 0
		for _, e := range events {
			if e.Kind == seal.RevealedTo && e.Viewer == "agent" && e.Request == 1 {
				shown += int(e.N)
			}
		}
		if got := destroyed(events); got[s.ID()] != seal.CauseEnded || shown != 3 {
			t.Errorf("%s has receipts of %v and %d reveals, want one end and 3", m.cluster.cfg.Name, got, shown)
		}
	}
}

// TestClusterRequestKeys: a key by request ends with it, also when the request was
// another member's, and when that one dies over it.
func TestClusterRequestKeys(t *testing.T) {
	w := newTown(t, pgtest.Database(t), 3)
	a, b, c := w.members[0], w.members[1], w.members[2]
	s := a.sealer(byRequest())
	if err := b.Arrive(header(t, s)); err != nil {
		t.Fatal(err)
	}
	b.RequestDone([]seal.ID{s.ID()})
	if a.holds(s.ID()) {
		t.Error("the request is done and the key is still there")
	}
	lost := a.sealer(byRequest())
	if err := b.Arrive(header(t, lost)); err != nil {
		t.Fatal(err)
	}
	b.die()
	w.pass(2 * testLease)
	if a.holds(lost.ID()) {
		t.Error("the member with the request died and the key is still there")
	}
	if got := destroyed(c.receipts(acme)); got[s.ID()] != seal.CauseRequest || got[lost.ID()] != seal.CauseRequest {
		t.Errorf("receipts say %v", got)
	}
}

// TestClusterDeadMember: when a member is killed, its transit-only keys are gone,
// and its peers say so; its temporary keys are taken up by one of them, end when
// they would have, and have one receipt each.
//
// promise: P16, P18, P41
func TestClusterDeadMember(t *testing.T) {
	w := newTown(t, pgtest.Database(t), 3)
	a, b, c := w.members[0], w.members[1], w.members[2]
	session, short, long := a.arrive(bySession(sessionA)), a.arrive(temporary(30*time.Second)), a.sealer(temporary(time.Hour))
	if err := c.Arrive(header(t, long)); err != nil {
		t.Fatal(err)
	}
	if err := a.Settled(t.Context()); err != nil {
		t.Fatal(err)
	}
	gone, text := sealed(t, session, "Ada"), sealed(t, long, "ada@example.com")
	w.everywhere(text, "ada@example.com")
	b.pulse()
	c.pulse()
	a.die()
	// Until its lease is over nobody says that anything is gone.
	if got := b.look(text); got != seal.TextWithheld {
		t.Errorf("while its member does not answer, a temporary seal is %q, want that it is withheld", got)
	}
	if got := destroyed(b.receipts(acme)); len(got) > 0 {
		t.Errorf("receipts say %v before the lease is over", got)
	}
	w.pass(2 * testLease)
	w.everywhere(text, "ada@example.com")
	w.everywhere(gone, seal.TextExpired)
	if b.holds(long.ID()) == c.holds(long.ID()) {
		t.Error("a temporary key was not taken up by one member")
	}
	long.SetHeld()
	if err := c.Arrive(header(t, long)); err != nil {
		t.Errorf("the gateway still uses a key that was taken up: %v", err)
	}
	want := map[seal.ID]string{session.ID(): CauseLost, short.ID(): seal.CauseExpired}
	if got := destroyed(c.receipts(acme)); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("receipts say %v, want %v", got, want)
	}
	w.pass(time.Hour)
	w.everywhere(text, seal.TextExpired)
	w.pass(time.Minute)
	want[long.ID()] = seal.CauseExpired
	if got := destroyed(b.receipts(acme)); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("receipts say %v, want %v", got, want)
	}
	if rows, err := pgtest.Exec(w.database, `SELECT (SELECT count(*) FROM "isogate_landing_support-portal".live), (SELECT count(*) FROM "isogate_landing_support-portal".shared),
		(SELECT count(*) FROM "isogate_landing_support-portal".member)`); err != nil || rows != "0|0|2\n" {
		t.Errorf("live, shared keys and members are %q, %v", rows, err)
	}
}

// TestClusterNewMember: who joined later can take up temporary keys too.
func TestClusterNewMember(t *testing.T) {
	w := newTown(t, pgtest.Database(t), 1)
	a := w.members[0]
	long := a.arrive(temporary(time.Hour))
	text := sealed(t, long, "ada@example.com")
	if err := a.Settled(t.Context()); err != nil {
		t.Fatal(err)
	}
	b := w.join()
	w.settle()
	a.die()
	w.pass(2 * testLease)
	if !b.holds(long.ID()) {
		t.Fatal("the new member did not take up the temporary key")
	}
	w.everywhere(text, "ada@example.com")
}

// TestClusterAllDie: with the last member that had them, temporary keys are gone, and
// who comes after says so.
//
// promise: P18
func TestClusterAllDie(t *testing.T) {
	w := newTown(t, pgtest.Database(t), 2)
	a, b := w.members[0], w.members[1]
	long := a.arrive(temporary(time.Hour))
	text := sealed(t, long, "ada@example.com")
	if err := a.Settled(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.pulse()
	a.die()
	b.die()
	c := w.join()
	w.pass(3 * testLease)
	w.everywhere(text, seal.TextExpired)
	if got := destroyed(c.receipts(acme)); got[long.ID()] != CauseLost {
		t.Errorf("receipts say %v", got)
	}
}

// TestClusterDrain: a member that stops hands its keys over. They go on being held,
// shown and used, and live no longer for it.
//
// promise: P16
func TestClusterDrain(t *testing.T) {
	w := newTown(t, pgtest.Database(t), 3)
	a, b, c := w.members[0], w.members[1], w.members[2]
	session, long, request := a.arrive(bySession(sessionA)), a.arrive(temporary(time.Hour)), a.arrive(byRequest())
	text, mail := sealed(t, session, "Ada"), sealed(t, long, "ada@example.com")
	w.pass(DefaultIdle - time.Minute)
	if err := a.Vault.Close(); err != nil {
		t.Fatal(err)
	}
	w.everywhere(text, "Ada")
	w.everywhere(mail, "ada@example.com")
	if b.holds(session.ID()) == c.holds(session.ID()) || b.holds(long.ID()) == c.holds(long.ID()) {
		t.Error("the keys are not with one other member")
	}
	w.pass(time.Minute)
	w.everywhere(text, seal.TextExpired)
	w.everywhere(mail, "ada@example.com")
	w.pass(time.Hour)
	w.everywhere(mail, seal.TextExpired)
	w.pass(time.Minute)
	want := map[seal.ID]string{session.ID(): seal.CauseIdle, request.ID(): seal.CauseDrain, long.ID(): seal.CauseExpired}
	if got := destroyed(b.receipts(acme)); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("receipts say %v, want %v", got, want)
	}
}

// TestClusterLastDrains: the last member destroys what it has, and says so.
func TestClusterLastDrains(t *testing.T) {
	w := newTown(t, pgtest.Database(t), 1)
	a := w.members[0]
	session, long := a.arrive(bySession(sessionA)), a.arrive(temporary(time.Hour))
	if err := a.Vault.Close(); err != nil {
		t.Fatal(err)
	}
	b := w.join()
	w.pass(2 * testLease)
	want := map[seal.ID]string{session.ID(): seal.CauseDrain, long.ID(): seal.CauseDrain}
	if got := destroyed(b.receipts(acme)); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("receipts say %v, want %v", got, want)
	}
}

// TestClusterReceiptWaits: what the others have of a temporary key ends with its
// window, up to 30 seconds after the key. No receipt says before that it was destroyed.
//
// promise: P18, P41
func TestClusterReceiptWaits(t *testing.T) {
	w := newTown(t, pgtest.Database(t), 2)
	a, b := w.members[0], w.members[1]
	long := a.arrive(temporary(time.Hour))
	text := sealed(t, long, "ada@example.com")
	w.pass(time.Hour + 5*time.Second)
	if !a.holds(long.ID()) {
		t.Error("the key is gone before it has to be")
	}
	w.everywhere(text, seal.TextExpired) // the value's own time is over
	w.pass(25 * time.Second)             // from :05, so that the window ends 25 seconds later
	if a.holds(long.ID()) {
		t.Error("the key is still there")
	}
	w.everywhere(text, seal.TextExpired)
	w.pass(20 * time.Second)
	if got := destroyed(b.receipts(acme)); len(got) > 0 {
		t.Errorf("receipts say %v while its window lasts", got)
	}
	if len(b.cluster.windows.at) != 1 {
		t.Errorf("b has %d windows' keys, want the one", len(b.cluster.windows.at))
	}
	w.pass(6 * time.Second)
	b.cluster.windows.expire(func() instant { _, now := read(b.cfg.Clock); return now }())
	if len(b.cluster.windows.at) != 0 {
		t.Error("the window is over and its key is still there")
	}
	if got := destroyed(b.receipts(acme)); got[long.ID()] != seal.CauseExpired {
		t.Errorf("receipts say %v", got)
	}
}

// TestClusterDiesOverDrain: a member that is killed after it handed keys over, and
// before it said so, leaves nothing in doubt: the keys are with the other one, they
// open, and no receipt says that they are lost.
func TestClusterDiesOverDrain(t *testing.T) {
	w := newTown(t, pgtest.Database(t), 3)
	a := w.members[0]
	s, after := a.arrive(bySession(sessionA)), a.arrive(bySession(sessionB))
	text := sealed(t, s, "Ada")
	if err := a.Settled(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, now := read(a.clock)
	to, ahead := a.cluster.heir(now)
	if out, err := pgtest.Exec(w.database, fmt.Sprintf(`UPDATE "isogate_landing_support-portal".member SET adopter = '%s' WHERE instance = '%s'`, to.note.Instance, a.cluster.instance)); err != nil {
		t.Fatal(out, err)
	}
	if err := a.cluster.hand(to, ahead, []seal.ID{s.ID()}); err != nil {
		t.Fatal(err)
	}
	a.die()
	w.pass(2 * testLease)
	w.everywhere(text, "Ada")
	if got := destroyed(w.members[1].receipts(acme)); got[s.ID()] != "" || got[after.ID()] != CauseLost {
		t.Errorf("receipts say %v", got)
	}
}
