package vault

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"crypto/tls"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/seal"
)

const (
	// callPatience is how long one call of a peer may take.
	callPatience = 5 * time.Second
	// maxCall is the largest call and the largest answer, in bytes.
	maxCall = 32 << 20
	// moving is how long a call waits for keys that are being handed over.
	moving = 3 * time.Second
	// movingStep is how often it looks whether they have been.
	movingStep = 50 * time.Millisecond
)

// Calls among members: POST /cluster/v1/NAME with JSON, over mutual TLS. What holds
// keys or values is sealed to the box of who gets it beside.

type clockAnswer struct {
	Instance string `json:"instance"`
	Boot     int64  `json:"boot"`
}

type arriveCall struct {
	ID        seal.ID `json:"id"`
	Epoch     []byte  `json:"epoch"`
	Facts     facts   `json:"facts"` // Born is by the called one's clock
	ByRequest bool    `json:"by_request,omitempty"`
	Wrapped   []byte  `json:"wrapped,omitempty"`
	By        string  `json:"by"` // instance that has the request
}

type arriveAnswer struct {
	Moved  bool   `json:"moved,omitempty"` // it is another's by now
	Code   string `json:"code,omitempty"`
	Detail string `json:"detail,omitempty"`
}

type endCall struct {
	Tenant  string    `json:"tenant"`
	Session string    `json:"session,omitempty"`
	Keys    []seal.ID `json:"keys,omitempty"`
	Done    []seal.ID `json:"done,omitempty"` // keys of a request that is done
	Cause   string    `json:"cause,omitempty"`
}

type endAnswer struct {
	N int `json:"n"`
}

var errMoved = errors.New("vault: the keys are being handed to another member")

// call calls a peer.
func (c *cluster) call(ctx context.Context, p *peer, name string, in, out any) (err error) {
	defer func() {
		result := "ok"
		if err != nil {
			result = "failed"
		}
		c.v.cfg.Metrics.asked.WithLabelValues(name, result).Inc()
	}()
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+p.note.Address+"/cluster/v1/"+name, bytes.NewReader(body)) //nolint:gosec // a member has signed the address
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := c.client.Do(req) //nolint:gosec // as above
	if err != nil {
		return fmt.Errorf("vault: member %s of the cluster: %w", p.note.Name, err)
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxCall))
	switch {
	case err != nil:
		return fmt.Errorf("vault: member %s of the cluster: %w", p.note.Name, err)
	case res.StatusCode == http.StatusMisdirectedRequest:
		return errMoved
	case res.StatusCode != http.StatusOK:
		return fmt.Errorf("vault: member %s of the cluster answered %s", p.note.Name, res.Status)
	}
	return json.Unmarshal(answer, out)
}

// ServePeers serves the other members of the cluster on l, which it closes, until
// ctx ends. Only who shows a certificate of the cluster's authority is answered. It
// ends after [Vault.Close] has begun to hand keys over, not before.
func (v *Vault) ServePeers(ctx context.Context, l net.Listener) error {
	c := v.cluster
	if c == nil {
		return errors.New("vault: there is no cluster; configure one")
	}
	mux := http.NewServeMux()
	serve(mux, "clock", c.clockCall)
	serve(mux, "arrive", c.arriveCall)
	serve(mux, "end", c.endCall)
	serve(mux, "open", c.openCall)
	serve(mux, "hand", c.handCall)
	s := &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: callPatience, ReadTimeout: 2 * callPatience, WriteTimeout: 4 * callPatience, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 8 << 10,
		ErrorLog:       slog.NewLogLogger(v.cfg.Logger.Handler(), slog.LevelDebug),
	}
	tl := tls.NewListener(l, &tls.Config{MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.cfg.Certificate() },
		ClientAuth:     tls.RequireAndVerifyClientCert, ClientCAs: c.cfg.Authorities})
	var wg sync.WaitGroup
	wg.Add(1)
	stop := context.AfterFunc(ctx, func() {
		defer wg.Done()
		end, cancel := context.WithTimeout(context.Background(), callPatience)
		defer cancel()
		_ = s.Shutdown(end) // who did not hear the answer asks again
		_ = s.Close()
	})
	err := s.Serve(tl)
	if stop() {
		return err
	}
	wg.Wait()
	return nil
}

// serve has f answer one kind of call.
func serve[In, Out any](mux *http.ServeMux, name string, f func(ctx context.Context, in *In) (*Out, error)) {
	mux.HandleFunc("POST /cluster/v1/"+name, func(w http.ResponseWriter, r *http.Request) {
		var in In
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxCall))
		if err == nil {
			err = json.Unmarshal(body, &in)
		}
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		out, err := f(r.Context(), &in)
		switch {
		case errors.Is(err, errMoved), errors.Is(err, ErrClosed):
			w.WriteHeader(http.StatusMisdirectedRequest)
			return
		case err != nil:
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		answer, err := json.Marshal(out)
		if err != nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(answer) // who did not hear it asks again
	})
}

func (c *cluster) clockCall(context.Context, *struct{}) (*clockAnswer, error) {
	_, now := read(c.v.cfg.Clock)
	return &clockAnswer{c.instance, int64(now.boot)}, nil
}

// owner is the peer that holds the keys of a home; ours says that this member does.
// Known says that somebody does or did.
func (c *cluster) owner(home [4]byte) (p *peer, ours, known bool) {
	if home == c.v.cfg.Home {
		return nil, true, true
	}
	r := c.roster.Load()
	instance, known := r.owners[home]
	return r.alive(instance), instance == c.instance, known
}

// ask calls the peer that holds the keys of a home. Where they are being handed over
// or taken up, it waits for that. Ours says that they are this member's by now.
func (c *cluster) ask(ctx context.Context, home [4]byte, f func(ctx context.Context, p *peer) error) (ours bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, callPatience)
	defer cancel()
	began := time.Now()
	for tries := 1; ; tries++ {
		p, ours, known := c.owner(home)
		switch {
		case ours:
			return true, nil
		case !known:
			return false, errNobody
		case p == nil:
			return false, errGone
		case c.deaf(p.note.Instance):
			return false, errDeaf
		}
		if err = f(ctx, p); err == nil || ctx.Err() != nil {
			return false, err
		}
		if moved := errors.Is(err, errMoved); moved && time.Since(began) >= moving || !moved && tries == patientTries {
			if !moved {
				c.setDeaf(p.note.Instance)
			}
			return false, err
		}
		pause := time.NewTimer(movingStep)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return false, err
		}
		if err := c.reread(ctx); err != nil {
			return false, err
		}
	}
}

var (
	errNobody = errors.New("vault: no member holds or held keys of this home")
	errGone   = errors.New("vault: the member that held the keys is gone, and what it left is not taken up yet")
	errDeaf   = errors.New("vault: the member that holds the keys did not answer a moment ago")
)

const (
	// patientTries is how often a member is asked that does not answer: where it has
	// stopped, the second time another one is.
	patientTries = 2
	// deafFor is for how long one that did not answer is not asked again, so that a
	// page with a thousand seals of its does not wait a thousand times.
	deafFor = time.Second
)

func (c *cluster) deaf(instance string) bool {
	_, now := read(c.v.cfg.Clock)
	c.mu.Lock()
	defer c.mu.Unlock()
	at, ok := c.silent[instance]
	return ok && now.boot-at < deafFor
}

func (c *cluster) setDeaf(instance string) {
	_, now := read(c.v.cfg.Clock)
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, at := range c.silent {
		if now.boot-at >= deafFor {
			delete(c.silent, i)
		}
	}
	c.silent[instance] = now.boot
}

// reread reads who there is, between two beats. It waits for one that is under way,
// which may have begun too early, and then reads again.
func (c *cluster) reread(ctx context.Context) error {
	before := c.beats.Load()
	c.beating.Lock()
	defer c.beating.Unlock()
	switch {
	case c.handed.Load() || c.v.closing.Load():
		return ErrClosed
	case c.beats.Load() >= before+2:
		return nil // one of them began after the call
	}
	return c.beat(ctx)
}

// arrive has a peer take, or see that it holds, a key of its. Ours says that it is
// this member's by now, and nothing has been done.
func (c *cluster) arrive(a *seal.Arrival) (ours bool, err error) {
	_, now := read(c.v.cfg.Clock)
	x := &a.Context
	in := arriveCall{ID: a.ID, Epoch: a.Epoch[:], Wrapped: a.Wrapped, ByRequest: x.ByRequest, By: c.instance,
		Facts: facts{Tenant: string(x.Tenant), Transit: string(x.Transit), Temporary: x.Handling == isogate.Temporary, Session: x.Session,
			TTL: int64(x.TTL), Made: x.Made.UnixMilli()}}
	born := now.boot - a.Age
	var out arriveAnswer
	ours, err = c.ask(context.Background(), a.ID.Home(), func(ctx context.Context, p *peer) error {
		ahead, ok := c.aheadOf(p.note.Instance)
		if !ok {
			c.measureOne(ctx, p)
			if ahead, ok = c.aheadOf(p.note.Instance); !ok {
				return fmt.Errorf("vault: member %s of the cluster cannot be reached", p.note.Name)
			}
		}
		in.Facts.Born = int64(born + ahead)
		out = arriveAnswer{}
		return c.call(ctx, p, "arrive", &in, &out)
	})
	switch {
	case ours:
		return true, nil
	case errors.Is(err, errNobody):
		return false, &Refusal{Code: seal.CodeUnknownKey, Detail: "it is for another landing side, or for one that is gone; fetch the statement and make a new key"}
	case err != nil && len(a.Wrapped) > 0:
		return false, &Refusal{Code: seal.CodeUnknownEpoch, Detail: "the member of the cluster that could unwrap it does not answer; fetch the statement and make a new key"}
	case err != nil:
		return false, &Refusal{Code: seal.CodeUnknownKey, Detail: "the member of the cluster that holds it does not answer; make a new key"}
	case out.Code != "":
		return false, &Refusal{Code: out.Code, Detail: out.Detail}
	}
	return false, nil
}

func (c *cluster) arriveCall(ctx context.Context, in *arriveCall) (*arriveAnswer, error) {
	if _, ours, _ := c.owner(in.ID.Home()); !ours {
		return nil, errMoved
	}
	if len(in.Epoch) != len(seal.EpochID{}) {
		return nil, errors.New("vault: an epoch of a peer is none")
	}
	f := &in.Facts
	a := seal.Arrival{ID: in.ID, Epoch: seal.EpochID(in.Epoch), Wrapped: in.Wrapped, Context: seal.Context{Tenant: isogate.Tenant(f.Tenant),
		Destination: c.v.cfg.Destination, Transit: isogate.Transit(f.Transit), Handling: isogate.TransitOnly, Session: f.Session, ByRequest: in.ByRequest,
		TTL: time.Duration(f.TTL), Made: time.UnixMilli(f.Made).UTC()}}
	if f.Temporary {
		a.Context.Handling, a.Context.Window = isogate.Temporary, seal.Window(a.Context.TTL)
	}
	_, now := read(c.v.cfg.Clock)
	a.Age = max(now.boot-time.Duration(f.Born), 0)
	if in.ByRequest {
		c.mu.Lock()
		c.proxied[in.ID] = in.By
		c.mu.Unlock()
	}
	err := c.v.arrive(&a)
	var r *Refusal
	switch {
	case errors.As(err, &r):
		return &arriveAnswer{Code: r.Code, Detail: r.Detail}, nil
	case err != nil:
		return nil, err
	}
	// Who asked says that it is held.
	return &arriveAnswer{}, c.ledger.sync(ctx, c.ledger.mark())
}

// forgetProxied ends keys by request whose request died with a peer.
func (c *cluster) forgetProxied() {
	r := c.roster.Load()
	var over []seal.ID
	c.mu.Lock()
	for id, by := range c.proxied {
		if r.alive(by) == nil {
			over = append(over, id)
			delete(c.proxied, id)
		}
	}
	c.mu.Unlock()
	c.v.requestDone(over)
}

// ending is what a member could not be told directly.
type ending struct {
	n    int64
	call endCall
}

// tell tells what ended to all peers, or to the one that holds the keys of a home. A
// peer that does not hear it reads it from the database.
func (c *cluster) tell(in *endCall, home *[4]byte) (n int) {
	ctx, cancel := context.WithTimeout(context.Background(), callPatience)
	defer cancel()
	var mu sync.Mutex
	deaf := false
	one := func(p *peer) {
		var out endAnswer
		err := c.call(ctx, p, "end", in, &out)
		mu.Lock()
		defer mu.Unlock()
		n += out.N
		deaf = deaf || err != nil
	}
	if home != nil {
		p, ours, known := c.owner(*home)
		switch {
		case ours:
			return c.endHere(in)
		case p != nil:
			one(p)
		case known:
			deaf = true
		}
	} else {
		var wg sync.WaitGroup
		for _, p := range c.roster.Load().peers {
			if p.gone {
				continue
			}
			wg.Add(1)
			go func() {
				defer wg.Done()
				one(p)
			}()
		}
		wg.Wait()
	}
	if deaf {
		if err := c.leaveWord(in); err != nil {
			c.v.cfg.Logger.Error("a member of the cluster was not told what ended; the keys end by themselves", slog.Any("error", err))
		}
	}
	return n
}

func (c *cluster) endCall(_ context.Context, in *endCall) (*endAnswer, error) {
	if c.v.closing.Load() {
		return nil, errMoved
	}
	return &endAnswer{c.endHere(in)}, nil
}

// endHere ends what a peer says has ended.
func (c *cluster) endHere(in *endCall) (n int) {
	t := isogate.Tenant(in.Tenant)
	if in.Session != "" {
		n += c.v.endSession(t, in.Session, in.Cause)
	}
	if len(in.Keys) > 0 {
		n += c.v.endKeys(t, in.Keys)
	}
	if len(in.Done) > 0 {
		c.mu.Lock()
		for _, id := range in.Done {
			delete(c.proxied, id)
		}
		c.mu.Unlock()
		c.v.requestDone(in.Done)
	}
	return n
}
