package custody

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/http1"
	"github.com/isogate/isogate/internal/journal"
	"github.com/isogate/isogate/internal/obfuscate"
	"github.com/isogate/isogate/internal/seal"
	"github.com/isogate/isogate/internal/tenant"
)

const (
	acme    = isogate.Tenant("acme")
	support = isogate.Destination("support")
	login   = isogate.Transit("login")
	email   = isogate.Label("personal.contact.email")
	name    = isogate.Label("personal.name.display")
)

// far is a landing as the wire has it: real statements and receipts over TLS, and
// the seal keys that it was sent. It keeps no handling.
type far struct {
	t      *testing.T
	signer note.Signer
	vkey   string
	url    *url.URL
	addr   string
	pool   *x509.CertPool
	// database is where the gateways of the test share a journal; "" is a directory of each.
	database string

	mu       sync.Mutex // guards what follows
	epoch    *seal.Epoch
	idle     time.Duration
	max      time.Duration
	keys     map[seal.ID]seal.Context // held
	receipts [][]byte
	last     *seal.Receipt
	register []registerRow
	erasures map[string][]erasureRow
	ended    []string // sessions
	asked    []string // targets, without the receipts'
	down     bool
	silent   bool          // about keys that it is asked about
	before   time.Duration // by how much the statement's NotBefore lies back
	tamper   func(path string, body []byte) []byte
}

func newSigner(t testing.TB, name string) (note.Signer, string) {
	t.Helper()
	skey, vkey, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		t.Fatal(err)
	}
	s, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	return s, vkey
}

func newFar(t *testing.T) *far {
	t.Helper()
	f := &far{t: t, idle: 15 * time.Minute, max: 8 * time.Hour, keys: map[seal.ID]seal.Context{}, erasures: map[string][]erasureRow{}, before: time.Minute}
	f.signer, f.vkey = newSigner(t, "support-landing")
	f.renew()
	s := httptest.NewTLSServer(f)
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	t.Cleanup(s.Close)
	f.addr = s.Listener.Addr().String()
	f.url = &url.URL{Scheme: "https", Host: "example.com"}
	f.pool = x509.NewCertPool()
	f.pool.AddCert(s.Certificate())
	return f
}

// renew begins a new epoch, as a start does: keys are gone.
func (f *far) renew() {
	e, err := seal.NewEpoch()
	if err != nil {
		f.t.Fatal(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.epoch = e
}

// set changes the landing.
func (f *far) set(do func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	do()
}

func (f *far) statement() []byte {
	now := time.Now().UTC().Truncate(time.Second)
	st := &seal.Statement{Destination: support, Landing: f.signer.Name(), Home: [4]byte{1, 2, 3, 4}, Epoch: f.epoch.ID(), Public: f.epoch.Public(),
		NotBefore: now.Add(-f.before), NotAfter: now.Add(10 * time.Minute), Idle: f.idle, Max: f.max, Acknowledges: []isogate.LabelPattern{"personal.contact.*"}}
	b, err := st.Sign(f.signer)
	if err != nil {
		f.t.Error(err)
	}
	return b
}

// states signs the next receipt.
func (f *far) states(events ...seal.Event) []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.stated(events...)
}

func (f *far) stated(events ...seal.Event) []byte {
	now := time.Now().UTC().Truncate(time.Millisecond)
	r := &seal.Receipt{Landing: f.signer.Name(), Destination: support, Tenant: acme, Number: 1, Time: now, Events: slices.Clone(events)}
	for i := range r.Events {
		if r.Events[i].At.IsZero() {
			r.Events[i].At = now
		}
	}
	if n := len(f.receipts); n > 0 {
		r.Number, r.Previous = uint64(n)+1, seal.Digest(f.receipts[n-1])
	}
	b, err := r.Sign(f.signer)
	if err != nil {
		f.t.Error(err)
	}
	f.receipts, f.last = append(f.receipts, b), r
	return b
}

func destroyed(id seal.ID, cause string) seal.Event {
	return seal.Event{Kind: seal.Destroyed, Key: id, Cause: cause}
}

// takes is what a landing does with a request of the gateway: it says which keys it holds.
func (f *far) takes(line string) (held []seal.ID, code string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	list, err := seal.ParseHeader([]string{line}, acme, support)
	if err != nil {
		f.t.Error(err)
	}
	for _, a := range list {
		if _, known := f.keys[a.ID]; !known {
			var key [32]byte
			switch {
			case a.Wrapped == nil:
				return nil, seal.CodeUnknownKey
			case a.Epoch != f.epoch.ID():
				return nil, seal.CodeUnknownEpoch
			}
			if err := f.epoch.Unwrap(a, &key); err != nil {
				return nil, seal.CodeDamaged
			}
			f.keys[a.ID] = a.Context
		}
		held = append(held, a.ID)
	}
	return held, ""
}

func (f *far) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		f.t.Error(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !strings.HasPrefix(r.URL.Path, "/.isogate/receipts") && r.URL.Path != "/.isogate/statement" {
		f.asked = append(f.asked, r.URL.RequestURI())
	}
	status, answer := f.answer(r, body)
	if f.down {
		status, answer = http.StatusServiceUnavailable, nil
		w.Header().Set(seal.HeaderLanding, "draining")
	}
	if f.tamper != nil {
		answer = f.tamper(r.URL.Path, answer)
	}
	w.WriteHeader(status)
	_, _ = w.Write(answer)
}

func (f *far) answer(r *http.Request, body []byte) (int, []byte) {
	write := func(v any) (int, []byte) {
		b, err := json.Marshal(v)
		if err != nil {
			f.t.Error(err)
		}
		return http.StatusOK, b
	}
	switch r.Method + " " + r.URL.Path {
	case "GET /.isogate/statement":
		return http.StatusOK, f.statement()
	case "GET /.isogate/receipts":
		after, err := strconv.Atoi(r.URL.Query().Get("after"))
		if err != nil {
			f.t.Error(err)
		}
		list := receiptList{Receipts: []string{}}
		for i := after; i < len(f.receipts); i++ {
			if len(list.Receipts) == 3 {
				list.More = true
				break
			}
			list.Receipts = append(list.Receipts, string(f.receipts[i]))
		}
		return write(list)
	case "POST /.isogate/sessions/end":
		var q struct {
			Session string    `json:"session"`
			Keys    []seal.ID `json:"keys"`
		}
		if err := json.Unmarshal(body, &q); err != nil {
			f.t.Error(err)
		}
		if q.Session != "" {
			f.ended = append(f.ended, q.Session)
		}
		var events []seal.Event
		for _, id := range q.Keys {
			if f.silent {
				return http.StatusBadRequest, nil
			}
			events = append(events, destroyed(id, seal.CauseNotHeld))
		}
		for id, c := range f.keys {
			if q.Session != "" && c.Session == q.Session {
				events = append(events, destroyed(id, seal.CauseEnded))
				delete(f.keys, id)
			}
		}
		for part := range slices.Chunk(events, seal.MaxEvents) {
			f.stated(part...)
		}
		return write(map[string]int{"ended": len(events)})
	case "GET /.isogate/register":
		from, size := 0, 2
		if a := r.URL.Query().Get("after"); a != "" {
			from, _ = strconv.Atoi(a)
		}
		to := min(from+size, len(f.register))
		p := registerPage{Rows: f.register[from:to]}
		if to < len(f.register) {
			p.Next = strconv.Itoa(to)
		}
		return write(p)
	case "POST /.isogate/erasures":
		var q struct {
			ID   string       `json:"id"`
			Rows []erasureRow `json:"rows"`
		}
		if err := json.Unmarshal(body, &q); err != nil {
			f.t.Error(err)
		}
		f.erasures[q.ID] = q.Rows
		return write(map[string]string{"erasure": q.ID, "state": "waiting"})
	}
	return http.StatusNotFound, nil
}

// inside is a tenant's side: a journal, and a custody over it.
type inside struct {
	t       *testing.T
	dir     string
	keys    *tenant.Keyring
	obf     registrars
	journal *journal.Journal
	custody *Custody
	stop    func()
}

// gateway opens the tenant's journal in dir and runs a custody over it.
func (f *far) gateway(dir string, change ...func(*Config)) *inside {
	t := f.t
	t.Helper()
	in := &inside{t: t, dir: dir}
	kc := tenant.Config{Dir: dir + "/keys", Tenant: acme}
	var err error
	if in.keys, err = kc.Open(); err != nil {
		if in.keys, err = kc.Create(); err != nil {
			t.Fatal(err)
		}
	}
	if in.obf, err = newRegistrars(in.keys); err != nil {
		t.Fatal(err)
	}
	jc := journal.Config{Dir: dir + "/journal", Database: f.database, Dial: (&net.Dialer{}).DialContext, Tenant: acme, Signer: in.keys.Signer(), Verifier: in.keys.Verifier()}
	if in.journal, err = journal.Open(t.Context(), jc); err != nil {
		t.Fatal(err)
	}
	cfg := Config{Tenant: acme, Journal: in.journal, Keys: in.keys, Logger: slog.New(slog.DiscardHandler), Receipts: 20 * time.Millisecond, Grace: time.Hour,
		Client: &http1.Client{Dial: (&net.Dialer{}).DialContext, TLS: &tls.Config{RootCAs: f.pool, MinVersion: tls.VersionTLS12}}}
	for _, do := range change {
		do(&cfg)
	}
	in.custody, err = New(cfg, f.landing(in.obf))
	if err != nil {
		t.Fatal(err)
	}
	recording, stopRecording := context.WithCancel(context.WithoutCancel(t.Context()))
	working, stopWorking := context.WithCancel(recording)
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := in.journal.Run(recording); err != nil {
			t.Error(err)
		}
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := in.custody.Run(working); err != nil {
			t.Error(err)
		}
	}()
	in.stop = sync.OnceFunc(func() {
		stopWorking()
		<-done
		stopRecording()
		wg.Wait()
		cfg.Client.CloseIdle()
		if err := in.journal.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(in.stop)
	return in
}

// registrars mint the tokens of a register, and those of payloads.
type registrars struct{ identifiers, subjects, payloads *obfuscate.Obfuscator }

func newRegistrars(keys obfuscate.Deriver) (r registrars, err error) {
	for use, o := range map[obfuscate.Use]**obfuscate.Obfuscator{obfuscate.Identifiers: &r.identifiers, obfuscate.Subjects: &r.subjects, "": &r.payloads} {
		if *o, err = obfuscate.New(obfuscate.Config{Tenant: acme, Destination: support, Labels: []isogate.Label{email, name}, Keys: keys, Use: use}); err != nil {
			return r, err
		}
	}
	return r, nil
}

func (f *far) landing(o registrars) Landing {
	v, err := note.NewVerifier(f.vkey)
	if err != nil {
		f.t.Fatal(err)
	}
	return Landing{Destination: support, URL: f.url, At: f.addr, Key: v, Identifiers: o.identifiers, Subjects: o.subjects}
}

func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(30 * time.Second); !is(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("waited for %s in vain", what)
		}
	}
}

func (in *inside) session(digest string) seal.Context {
	return seal.Context{Tenant: acme, Destination: support, Transit: login, Handling: isogate.TransitOnly, Session: digest}
}

func temporary(ttl time.Duration) seal.Context {
	return seal.Context{Tenant: acme, Destination: support, Transit: login, Handling: isogate.Temporary, TTL: ttl}
}

// key waits for the statement, and gets a key.
func (in *inside) key(cx seal.Context) *seal.Sealer {
	in.t.Helper()
	var s *seal.Sealer
	var err error
	eventually(in.t, "a key", func() bool {
		s, err = in.custody.Key(support, cx)
		return err == nil
	})
	return s
}

// sends is a request that uses a key, as a gateway makes it: it is recorded, and the
// landing is sent the key.
func (in *inside) sends(f *far, s *seal.Sealer, fields ...isogate.Field) isogate.Entry {
	in.t.Helper()
	p := s.Passage()
	if err := in.custody.Sending(support, []seal.ID{s.ID()}); err != nil {
		in.t.Fatal(err)
	}
	cx := s.Context()
	use := isogate.SealUse{Key: s.ID().String(), Request: p.Number(), Handling: cx.Handling.String()}
	if cx.TTL > 0 {
		use.TTL = cx.TTL.String()
	}
	e := &isogate.Entry{Kind: isogate.KindEgress, Stage: isogate.StageOpened, Destination: support, Transit: login, Fields: fields, Seals: []isogate.SealUse{use}}
	if err := in.journal.Append(in.t.Context(), e); err != nil {
		in.t.Fatal(err)
	}
	held, code := f.takes(string(s.AppendHeader(nil)))
	if code != "" {
		in.custody.Lost(support, code, []seal.ID{s.ID()})
		return *e
	}
	in.custody.Held(support, held)
	return *e
}

// acts lists the landing entries with an act, oldest first.
func (in *inside) acts(act string) (list []isogate.Entry) {
	in.t.Helper()
	all, err := in.journal.List(in.t.Context(), journal.Filter{Kind: isogate.KindLanding, Limit: 1 << 20})
	if err != nil {
		in.t.Fatal(err)
	}
	for _, e := range all {
		if e.Act == act {
			list = append(list, e)
		}
	}
	return list
}

func (in *inside) standing() Standing {
	in.t.Helper()
	all := in.custody.Landings()
	if len(all) != 1 {
		in.t.Fatalf("%d landings", len(all))
	}
	return all[0]
}

// token is that of an identifier in the register.
func (in *inside) token(l isogate.Label, v string) string {
	in.t.Helper()
	return in.tokenBy(in.obf.identifiers, l, v)
}

func (in *inside) tokenBy(o *obfuscate.Obfuscator, l isogate.Label, v string) string {
	in.t.Helper()
	r, _, _, err := o.Replace(nil, &isogate.Verdict{Action: isogate.Token, Label: l}, isogate.Value{Kind: isogate.String, Text: []byte(v)})
	if err != nil {
		in.t.Fatal(err)
	}
	return string(r)
}
