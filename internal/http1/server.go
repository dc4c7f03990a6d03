package http1

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Timeouts bound how long a connection may take over what. A zero field means
// its default.
type Timeouts struct {
	Handshake time.Duration // the TLS handshake; 10 s
	Idle      time.Duration // between two requests; 60 s
	Head      time.Duration // from the first byte of a head to its last; 10 s
	Body      time.Duration // the longest silence inside a body, and the head start that Rate gives; 10 s
	Rate      int64         // bytes per second that a body must reach beyond that; 1024
	Write     time.Duration // for each 256 KiB written; 30 s
	Linger    time.Duration // reading on after a fault, so that the answer is not cut off; 5 s
	Drain     time.Duration // running exchanges at the end of Serve; 30 s
}

func (t Timeouts) orDefaults() Timeouts {
	return Timeouts{
		Handshake: or(t.Handshake, 10*time.Second),
		Idle:      or(t.Idle, 60*time.Second),
		Head:      or(t.Head, 10*time.Second),
		Body:      or(t.Body, 10*time.Second),
		Rate:      or(t.Rate, 1024),
		Write:     or(t.Write, 30*time.Second),
		Linger:    or(t.Linger, 5*time.Second),
		Drain:     or(t.Drain, 30*time.Second),
	}
}

// Server reads requests and hands them to its Handler. Its fields may not
// change once Serve was called.
type Server struct {
	// Handler answers; required.
	Handler Handler
	// TLS, when set, makes every connection a TLS one. A copy is used, with ALPN
	// restricted to http/1.1 and what NextProto has.
	TLS *tls.Config
	// NextProto are the protocols that are spoken over TLS where the client offers
	// them (RFC 7301), before http/1.1, in alphabetical order; "h2" is one. A
	// connection of theirs counts for ConnLimit, and is never idle to it.
	NextProto map[string]Protocol
	// Draining, when set, is called when Serve accepts no more connections, before it
	// waits for those that there are. Protocols of NextProto learn here
	// that it is time to say goodbye; net/http's HTTP/2 does so when its Server is
	// Shutdown, with a context that has ended if it is not to wait.
	Draining func()
	// Limits bound a request.
	Limits Limits
	// Timeouts bound a connection.
	Timeouts Timeouts
	// Forms are the target forms that are accepted; the zero value is OriginForm
	// alone. AuthorityForm allows the method CONNECT with it.
	Forms Form
	// ConnLimit is how many connections may be open; 0 means 4096. Beyond it idle
	// ones are ended, and new ones wait. An open tunnel is not idle, unless
	// Exchange.Serve waits for a request in it.
	ConnLimit int
	// Wipe has the buffers in which messages were read and written overwritten
	// before they serve another, so that what passed through does not stay in
	// memory. What crypto/tls and the kernel hold is not reached by that.
	Wipe bool
	// HandshakeFailed, when set, is told of connections that ended before they
	// could ask anything.
	HandshakeFailed func(remote netip.AddrPort, err error)
	// Logger takes what has no other place to go; nil discards it.
	Logger *slog.Logger
}

const defaultConnLimit = 4096

// roomForConns is how many connections the list of them may keep room for when
// there are none.
const roomForConns = 1024

// serving is one call of Serve: the server's settings with their defaults, and
// the connections that are open.
type serving struct {
	Server
	draining atomic.Bool
	date     atomic.Pointer[date]
	slots    chan struct{} // one for each open connection
	running  sync.WaitGroup

	mu    sync.Mutex // guards what follows
	conns map[*conn]struct{}
	most  int // how many conns had, since it was made
}

// Serve answers connections of l until ctx ends; then it closes l and idle
// connections, lets running exchanges end (their answers say "Connection:
// close"), and returns nil. What still runs after Timeouts.Drain is cut off.
// An error of l ends Serve in the same way and is returned.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	if s.Handler == nil {
		return errors.New("http1: the server has no Handler; set Server.Handler")
	}
	for name, p := range s.NextProto {
		switch {
		case s.TLS == nil:
			return errors.New("http1: other protocols are agreed on by TLS; set Server.TLS, or leave out NextProto")
		case name == "" || name == "http/1.1" || p == nil:
			return fmt.Errorf("http1: NextProto has no function for another protocol at %q", name)
		}
	}
	v := &serving{Server: *s, conns: map[*conn]struct{}{}}
	v.Limits, v.Timeouts = v.Limits.orDefaults(), v.Timeouts.orDefaults()
	if v.Forms == 0 {
		v.Forms = OriginForm
	}
	if v.Logger == nil {
		v.Logger = slog.New(slog.DiscardHandler)
	}
	if v.TLS != nil {
		v.TLS = v.TLS.Clone()
		v.TLS.NextProtos = append(slices.Sorted(maps.Keys(v.NextProto)), "http/1.1")
		v.TLS.DynamicRecordSizingDisabled = true // an answer of up to 16 KiB is one record
	}
	v.slots = make(chan struct{}, or(v.ConnLimit, defaultConnLimit))

	// The exchanges outlive ctx: they end when they are done or when draining is over.
	exchanges, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	err := v.accept(ctx, exchanges, l)
	_ = l.Close()
	v.drain(cut)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// accept hands each connection of l to a goroutine of its own.
func (v *serving) accept(ctx, exchanges context.Context, l net.Listener) error {
	var pause time.Duration
	for {
		nc, err := l.Accept()
		if err != nil {
			var te interface{ Temporary() bool }
			if ctx.Err() != nil || !errors.As(err, &te) || !te.Temporary() {
				return err
			}
			// Such as too many open files: it passes when connections end.
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			v.Logger.WarnContext(ctx, "accept failed", slog.Any("error", err), slog.Duration("retry_in", pause))
			if wait(ctx, pause) != nil {
				return err
			}
			continue
		}
		pause = 0
		if err := v.slot(ctx); err != nil {
			_ = nc.Close()
			return err
		}
		c := newConn(v, nc)
		v.enter(c)
		go func() {
			defer v.leave(c)
			defer func() { <-v.slots }()
			c.serve(exchanges)
		}()
	}
}

// enter counts a connection among the running ones, unless the server drains.
func (v *serving) enter(c *conn) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.draining.Load() {
		return false // it would end as idle, and drain may have stopped counting
	}
	v.conns[c] = struct{}{}
	v.most = max(v.most, len(v.conns))
	v.running.Add(1)
	return true
}

func (v *serving) leave(c *conn) {
	v.mu.Lock()
	delete(v.conns, c)
	if len(v.conns) == 0 && v.most > roomForConns {
		v.conns, v.most = map[*conn]struct{}{}, 0 // a map keeps the room of its largest size
	}
	v.mu.Unlock()
	v.running.Done()
}

// slot waits until one more connection may be open, ending the one for it that
// was idle longest.
func (v *serving) slot(ctx context.Context) error {
	select {
	case v.slots <- struct{}{}:
		return nil
	default:
	}
	for {
		v.endLongestIdle()
		select {
		case v.slots <- struct{}{}:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond): // another may have become idle
		}
	}
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// endIdle ends the idle connections.
func (v *serving) endIdle() {
	v.mu.Lock()
	defer v.mu.Unlock()
	for c := range v.conns {
		c.endIfIdle()
	}
}

func (v *serving) endLongestIdle() {
	v.mu.Lock()
	defer v.mu.Unlock()
	var longest *conn
	for c := range v.conns {
		if !c.free && c.state.Load() == idle && (longest == nil || c.since.Load() < longest.since.Load()) {
			longest = c
		}
	}
	if longest != nil {
		longest.endIfIdle()
	}
}

// drain waits for the running exchanges, and cuts off what does not end.
func (v *serving) drain(cut context.CancelFunc) {
	v.mu.Lock() // see enter
	v.draining.Store(true)
	v.mu.Unlock()
	if v.Draining != nil {
		v.Draining()
	}
	v.endIdle()
	done := make(chan struct{})
	go func() {
		v.running.Wait()
		close(done)
	}()
	t := time.NewTimer(v.Timeouts.Drain)
	defer t.Stop()
	select {
	case <-done:
		return
	case <-t.C:
	}
	cut()
	v.mu.Lock()
	for c := range v.conns {
		c.stop()
	}
	v.mu.Unlock()
	<-done
}

// date is the text of the Date field for one second.
type date struct {
	second int64
	text   string
}

// now returns the time as the Date field has it (RFC 9110, 5.6.7).
func (v *serving) now() string {
	t := time.Now()
	d := v.date.Load()
	if d == nil || d.second != t.Unix() {
		d = &date{t.Unix(), t.UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT")}
		v.date.Store(d)
	}
	return d.text
}
