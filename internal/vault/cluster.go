package vault

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isogate/isogate/internal/seal"
)

const (
	// DefaultLease is the default of [Cluster.Lease].
	DefaultLease = time.Minute
	// beatsPerLease is how often a member is heard of in that time.
	beatsPerLease = 30
	// greetPatience is how long a new member waits, before it is ready, to be greeted
	// by peers.
	greetPatience = 10 * time.Second
)

// Cluster makes a landing one of several that stand behind one address and serve
// the same destination with the same identity. They share a PostgreSQL database,
// for what is written down, and talk to one another, for the keys, which no
// database sees.
//
//	a key           is held by one member, which the ID's home names; the others ask it
//	a value shown   is opened by who holds the key, and recorded by who shows it
//	receipts        are one chain per tenant, which every member continues
//	a member stops  its keys go to another, and live no longer for that
//	a member dies   its transit-only keys are gone, its temporary ones are taken up
type Cluster struct {
	// Name is the member's, for people.
	Name string
	// Database is a PostgreSQL URL, as a journal's may be.
	Database string
	// Address is host:port where the other members reach this one.
	Address string
	// Certificate returns the member's, for clients and servers, of Address's host. It
	// is asked for each connection.
	Certificate func() (*tls.Certificate, error)
	// Authorities issue the members' certificates and no others.
	Authorities *x509.CertPool
	// Dial opens connections to the database and to members; remote.Dialer's.
	Dial DialFunc
	// Lease is after how long without hearing of it a member is given up, at least 1
	// second; a minute if it is 0. A member that has been without the database for three
	// quarters of it destroys its keys and ends: by then the others may say it did.
	Lease time.Duration
}

// cluster is what a vault has to do with the other members.
type cluster struct {
	v        *Vault
	cfg      Cluster
	db       *postgres
	ledger   *sharedLedger
	instance string
	began    time.Duration // of the boot clock
	boxes    *boxes
	windows  *windows
	client   *http.Client

	roster   atomic.Pointer[roster]
	lastBeat atomic.Int64 // of the boot clock: the last that the database took
	beats    atomic.Int64 // how many it took
	handed   atomic.Bool  // the keys are another's

	mu      sync.Mutex // guards what follows
	ahead   map[string]time.Duration
	greeted map[string]bool
	proxied map[seal.ID]string // keys by request that a peer brought, and which
	silent  map[string]time.Duration
	trouble string // what was last logged

	// Of beating, one at a time.
	beating  sync.Mutex
	opened   []int64 // letters that were read
	ended    int64   // the last of the endings that were heard
	heard    map[int64]bool
	measured map[string]time.Duration
}

// openCluster joins the cluster.
func openCluster(ctx context.Context, v *Vault) (_ *cluster, err error) {
	cfg := *v.cfg.Cluster
	if cfg.Lease == 0 {
		cfg.Lease = DefaultLease
	}
	host, port, err := net.SplitHostPort(cfg.Address)
	if n, e := strconv.Atoi(port); err != nil || host == "" || e != nil || n < 1 || n > 65535 {
		return nil, fmt.Errorf("vault: the cluster's address %q is not host:port; say where the other members reach this one", cfg.Address)
	}
	switch {
	case cfg.Lease < time.Second || cfg.Lease > time.Hour:
		return nil, fmt.Errorf("vault: a lease of %s; use 1s to 1h", cfg.Lease)
	case cfg.Authorities == nil || cfg.Certificate == nil:
		return nil, errors.New("vault: no certificate for the other members of the cluster, or no authority for theirs; give both")
	case v.cfg.Keep != "":
		return nil, errors.New("vault: temporary keys are kept by the other members of a cluster; keep none beside")
	}
	c := &cluster{v: v, cfg: cfg, instance: newInstance(), boxes: &boxes{life: v.cfg.EpochLife},
		ahead: map[string]time.Duration{}, greeted: map[string]bool{}, proxied: map[seal.ID]string{}, measured: map[string]time.Duration{}, silent: map[string]time.Duration{}}
	c.roster.Store(&roster{})
	c.client = &http.Client{Timeout: callPatience, Transport: &http.Transport{
		DialContext: cfg.Dial,
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: cfg.Authorities,
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cfg.Certificate() }},
		MaxIdleConnsPerHost: 64, IdleConnTimeout: time.Minute, ResponseHeaderTimeout: callPatience, DisableCompression: true,
	}}
	if c.db, err = openPostgres(ctx, cfg.Database, cfg.Dial, v.cfg.Destination, v.cfg.Signer); err != nil {
		return nil, err
	}
	c.ledger = newSharedLedger(c.db, c.instance, &v.cfg)
	defer func() {
		if err != nil {
			c.db.close()
			_ = c.ledger.close() // the first error is the one to tell
			if c.windows != nil {
				_ = c.windows.close()
			}
		}
	}()
	if c.windows, err = newWindows(); err != nil {
		return nil, err
	}
	_, now := read(v.cfg.Clock)
	if err := c.boxes.renew(now); err != nil {
		return nil, err
	}
	if err := c.join(ctx); err != nil {
		return nil, err
	}
	c.began = now.boot
	return c, c.beat(ctx)
}

// run beats until ctx ends, and wipes what must be wiped whatever the database does.
func (c *cluster) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		t := time.NewTicker(c.cfg.Lease / beatsPerLease)
		defer t.Stop()
		for {
			err := c.pulse(ctx)
			if errors.Is(err, errGivenUp) {
				c.v.abandon()
				return
			}
			c.say(err)
			select {
			case <-ctx.Done():
				return
			case <-t.C:
			}
		}
	}()
	t := time.NewTicker(min(turnEvery, c.cfg.Lease/beatsPerLease))
	defer t.Stop()
	for {
		_, now := read(c.v.cfg.Clock)
		c.windows.expire(now)
		if c.fenced(now) {
			c.v.abandon()
			cancel()
			<-done
			return errGivenUp
		}
		select {
		case <-done:
			if ctx.Err() == nil {
				return errGivenUp
			}
			return nil
		case <-t.C:
		}
	}
}

// fenced reports whether the others may have given this member up.
func (c *cluster) fenced(now instant) bool {
	return int64(now.boot)-c.lastBeat.Load() >= int64(c.cfg.Lease)*3/4
}

// pulse is one beat, and what follows from it.
func (c *cluster) pulse(ctx context.Context) error {
	c.beating.Lock()
	defer c.beating.Unlock()
	if c.handed.Load() || c.v.closing.Load() {
		return nil
	}
	c.measure(ctx)
	if err := c.beat(ctx); err != nil {
		return err
	}
	c.forgetProxied()
	return errors.Join(c.greet(ctx), c.takeUp(ctx))
}

// say logs what goes wrong when it begins, changes and ends.
func (c *cluster) say(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := ""
	if err != nil {
		now = err.Error()
	}
	switch {
	case now == c.trouble:
	case now == "":
		c.v.cfg.Logger.Info("the cluster is in order again")
	default:
		c.v.cfg.Logger.Error("the cluster is not in order; trying again", slog.Any("error", err))
	}
	c.trouble = now
}

// ready reports why this member should not get requests yet, if so.
func (c *cluster) ready() error {
	_, now := read(c.v.cfg.Clock)
	if c.fenced(now) {
		return errGivenUp
	}
	if now.boot-c.began >= greetPatience {
		return nil
	}
	for _, p := range c.roster.Load().peers {
		if _, knows := p.note.Clocks[c.instance]; !p.gone && !knows && now.boot-p.seen < c.cfg.Lease/2 {
			return fmt.Errorf("vault: member %s has not greeted this one yet", p.note.Name)
		}
	}
	return nil
}

// measure sees by how much the clocks of the others are ahead of ours: at the least
// by what theirs showed, less what ours shows when we know it. The best of all
// measurements counts, and it is made anew now and then.
func (c *cluster) measure(ctx context.Context) {
	var wg sync.WaitGroup
	_, now := read(c.v.cfg.Clock)
	for i, p := range c.roster.Load().peers {
		if at, ok := c.measured[i]; p.gone || ok && now.boot-at < c.cfg.Lease/2 {
			continue
		}
		c.measured[i] = now.boot
		wg.Add(1)
		go func() {
			defer wg.Done()
			c.measureOne(ctx, p)
		}()
	}
	wg.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.measured {
		if c.roster.Load().alive(i) == nil {
			delete(c.measured, i)
			delete(c.ahead, i)
		} else if _, ok := c.ahead[i]; !ok {
			delete(c.measured, i) // try again with the next beat
		}
	}
}

func (c *cluster) measureOne(ctx context.Context, p *peer) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Lease/beatsPerLease)
	defer cancel()
	var theirs clockAnswer
	if err := c.call(ctx, p, "clock", struct{}{}, &theirs); err != nil || theirs.Instance != p.note.Instance {
		return
	}
	_, now := read(c.v.cfg.Clock)
	c.mu.Lock()
	defer c.mu.Unlock()
	d := time.Duration(theirs.Boot) - now.boot
	if was, ok := c.ahead[p.note.Instance]; !ok || d > was {
		c.ahead[p.note.Instance] = d
	}
}

// put implements keeping: the key goes into the database, encrypted under its
// window's key, so that another member can take it up if this one dies.
func (c *cluster) put(k *kept, key *[keySize]byte) error {
	_, now := read(c.v.cfg.Clock)
	id := windowID{c.instance, windowOf(k.made, k.ttl)}
	facts, err := json.Marshal(factsOf(k))
	if err != nil {
		return err
	}
	s := &sharedKey{key: k.id, maker: c.instance, ends: id.ends, facts: facts}
	fresh, err := c.windows.use(id, now, func(w *[keySize]byte) (err error) {
		s.sealed, err = seal.WrapUnder(nil, w, key, sharedAAD(s))
		return err
	})
	if err != nil {
		return fmt.Errorf("vault: share a temporary key: %w", err)
	}
	var post []letter
	if fresh {
		post = c.announce(id)
	}
	c.ledger.share(s, post)
	return nil
}

// announce makes letters of a new window key to all that have been greeted.
func (c *cluster) announce(id windowID) (post []letter) {
	for i, p := range c.roster.Load().peers {
		ahead, ok := c.aheadOf(i)
		if p.gone || !ok || !c.isGreeted(i, false) {
			continue
		}
		l, err := c.windows.write(p, letterUse, ahead, func(w windowID) bool { return w == id })
		if err != nil {
			c.v.cfg.Logger.Warn("a member will not be able to take up a temporary key", slog.String("member", p.note.Name), slog.Any("error", err))
			continue
		}
		post = append(post, l...)
	}
	return post
}

// wipe implements keeping. What is in the database is blanked, and its receipt
// waits, in [sharedLedger.gone].
func (c *cluster) wipe(seal.ID) bool { return false }

// settle implements keeping.
func (c *cluster) settle(now instant) error { c.windows.expire(now); return nil }

// unwiped implements keeping.
func (c *cluster) unwiped() int { return 0 }

// has implements keeping: with another member there, temporary keys outlive this one.
func (c *cluster) has(id seal.ID) bool { return c.handed.Load() && c.ledger.isShared(id) }

// close implements keeping.
func (c *cluster) close() error {
	c.boxes.forget()
	c.client.CloseIdleConnections()
	c.db.close()
	return c.windows.close()
}

// facts is what a key is for, and when it was made, as members tell one another.
type facts struct {
	Tenant    string `json:"tenant"`
	Transit   string `json:"transit"`
	Temporary bool   `json:"temporary,omitempty"`
	Session   string `json:"session,omitempty"`
	TTL       int64  `json:"ttl,omitempty"`
	Made      int64  `json:"made"` // by the gateway's wall clock, milliseconds since 1970
	Born      int64  `json:"born"` // the same by the boot clock of whoever is told in the place
	Used      int64  `json:"used,omitempty"`
}

func factsOf(k *kept) facts {
	return facts{Tenant: string(k.tenant), Transit: string(k.transit), Temporary: true, TTL: k.ttl, Made: k.made, Born: k.born}
}

// sharedAAD binds a shared key to all that is said about it.
func sharedAAD(s *sharedKey) []byte {
	return fmt.Appendf(nil, "isogate/landing/shared/v1 %s %s %d %d %s", s.key, s.maker, s.ends, len(s.facts), s.facts)
}
