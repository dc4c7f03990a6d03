package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/consent"
	"github.com/isogate/isogate/internal/hub"
	"github.com/isogate/isogate/internal/isogatetest"
	"github.com/isogate/isogate/internal/journal"
)

// patience bounds each wait of the demo for something that must come.
const patience = 30 * time.Second

// stream is the app's conversation with its vendor's queue, message by message,
// through a tunnel.
type stream struct {
	conn  net.Conn
	count atomic.Int64
	heard chan struct{} // one for an answer that nobody has looked at yet
	ended chan error    // how it ended
}

// converse opens the tunnel and talks until it ends.
func (b *bot) converse(ctx context.Context) (*stream, error) {
	ctx, stop := context.WithTimeout(ctx, patience)
	defer stop()
	tunnel, err := b.Tunnel(ctx, queueAt)
	if err != nil {
		return nil, err
	}
	// Nobody is in between: it is the vendor's own certificate that must verify.
	secure := tls.Client(tunnel, &tls.Config{RootCAs: b.abroad, ServerName: queueHost, MinVersion: tls.VersionTLS13})
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = tunnel.Close()
		return nil, err
	}
	s := &stream{conn: secure, heard: make(chan struct{}, 1), ended: make(chan error, 1)}
	go func() { s.ended <- s.talk() }()
	return s, nil
}

func (s *stream) talk() error {
	in := bufio.NewReader(s.conn)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for n := int64(1); ; n++ {
		if _, err := fmt.Fprintf(s.conn, "sorted %d\n", n); err != nil {
			return err
		}
		answer, err := in.ReadString('\n')
		if err != nil {
			return err
		}
		if want := fmt.Sprintf("taken %d\n", n); answer != want {
			return fmt.Errorf("the queue answered %q, not %q", answer, want)
		}
		s.count.Store(n)
		select {
		case s.heard <- struct{}{}:
		default:
		}
		<-tick.C
	}
}

func (s *stream) answered() int64 { return s.count.Load() }

// goesOn waits for answers to messages that are sent from now on.
func (s *stream) goesOn(ctx context.Context) bool {
	ctx, stop := context.WithTimeout(ctx, patience)
	defer stop()
	for from := s.answered(); s.answered() < from+3; {
		select {
		case <-s.heard:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

func (s *stream) close() { _ = s.conn.Close() }

func (a *appStory) tunnel(ctx context.Context) error {
	a.act("A tunnel, asked for by itself", "The vendor's queue speaks no HTTP, so that nobody can see what leaves. The pack must say why, on whose word and until when.")
	var done hub.Done
	if err := a.ada.post(ctx, partyPath(botParty)+"/requests", map[string]any{"rows": []string{a.rows[queueRow]}, "reason": "the vendor explained it"}, &done); err != nil {
		return err
	}
	a.line("ada", "asks for %s alone", a.rows[queueRow])
	a.acted(ctx, done.Entry, consent.Requested)
	c, err := a.look(ctx, done.Entry)
	if err != nil {
		return err
	}
	if a.byQueue, err = a.grants(ctx, c, nil, "Without the queue it is too slow"); err != nil {
		return err
	}
	a.reaches(a.rows[apiRow], a.rows[queueRow])
	a.say("\n")
	if a.stream, err = a.bot.converse(ctx); err != nil {
		return fmt.Errorf("no tunnel: %w", err)
	}
	if !a.stream.goesOn(ctx) {
		return errors.New("nothing flows through the tunnel")
	}
	connections, bytes := a.bot.queue.Taken()
	if connections != 1 || bytes == 0 {
		a.failf("the queue has %d connections and %d bytes", connections, bytes)
	}
	a.line("app", "CONNECT %s, and its vendor's own certificate inside", queueAt)
	a.line("tunnel", "message %d is answered", a.stream.answered())
	e, err := a.newest(ctx, isogate.StageOpened)
	if err != nil {
		return err
	}
	if e.Consent != a.byQueue || len(e.Fields) > 0 {
		a.failf("entry %s has the consent %q and %d fields", e.ID, e.Consent, len(e.Fields))
	}
	a.line("entry", "%s %s, unread", e.ID, e.Decision)
	return nil
}

// newest is the journal's newest entry of the tunnel at a stage.
func (a *appStory) newest(ctx context.Context, stage isogate.Stage) (isogate.Entry, error) {
	list, err := a.server.journal.List(ctx, journal.Filter{Transit: queueWay, Stage: stage, Newest: true, Limit: 1})
	if err == nil && len(list) == 0 {
		err = fmt.Errorf("the journal has no %s entry of %s", stage, queueWay)
	}
	if err != nil {
		return isogate.Entry{}, err
	}
	return list[0], nil
}

func (a *appStory) revoke(ctx context.Context) error {
	a.act("Ada takes the tunnel back while it is in use", "A revocation cuts what is open. Whatever else the app does goes on.")
	opened, err := a.newest(ctx, isogate.StageOpened)
	if err != nil {
		return err
	}
	if !a.stream.goesOn(ctx) {
		return errors.New("the tunnel was closed before it was revoked")
	}
	var done hub.Done
	began := time.Now()
	err = a.ada.post(ctx, "/revocations", map[string]any{"party": botParty, "rows": []string{a.rows[queueRow]}, "reason": "It is fast enough without"}, &done)
	if err != nil {
		return err
	}
	ctx, stop := context.WithTimeout(ctx, patience)
	defer stop()
	var inside, outside error
	select {
	case inside = <-a.stream.ended:
	case <-ctx.Done():
		return errors.New("the app's end of the tunnel is open after the revocation")
	}
	took := time.Since(began)
	select {
	case outside = <-a.bot.queue.Ended():
	case <-ctx.Done():
		return errors.New("the queue's end of the tunnel is open after the revocation")
	}
	_, bytes := a.bot.queue.Taken()
	a.line("ada", "revokes %s", a.rows[queueRow])
	a.acted(ctx, done.Entry, consent.Revoked)
	a.line("tunnel", "%d messages had passed, %d bytes; %.1f ms after she asked it broke off, at both ends", a.stream.answered(), bytes, float64(took.Microseconds())/1000)
	if errors.Is(inside, io.EOF) || errors.Is(outside, io.EOF) {
		a.failf("one side takes the end for a good one: %v, %v", inside, outside)
	}
	if err := a.cutOff(ctx, opened.ID); err != nil {
		return err
	}
	a.reaches(a.rows[apiRow])
	var no *isogatetest.NotConnected
	if s, err := a.bot.converse(ctx); !errors.As(err, &no) || no.Status != http.StatusForbidden {
		a.failf("the tunnel can be opened again: %v", err)
		if s != nil {
			s.close()
		}
	}
	if connections, _ := a.bot.queue.Taken(); connections != 1 {
		a.failf("the queue was connected to %d times", connections)
	}
	a.line("app", "CONNECT %s again: %d", queueAt, http.StatusForbidden)
	a.say("\n")
	a.goesOn()
	return nil
}

// cutOff waits until the journal says how the tunnel ended.
func (a *appStory) cutOff(ctx context.Context, opened isogate.EntryID) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		list, err := a.server.journal.List(ctx, journal.Filter{Transit: queueWay, Stage: isogate.StageClosed, Newest: true, Limit: 2})
		if err != nil {
			return err
		}
		if i := slices.IndexFunc(list, func(e isogate.Entry) bool { return e.Of == opened }); i >= 0 {
			e := list[i]
			if e.Consent != a.byQueue || e.BytesOut == 0 || e.Reason == "" {
				a.failf("entry %s does not say how the tunnel ended: %+v", e.ID, e)
			}
			a.line("entry", "%s %s: %d bytes out, %d in; %s", e.ID, e.Stage, e.BytesOut, e.BytesIn, e.Reason)
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.New("the journal does not say how the tunnel ended")
		case <-tick.C:
		}
	}
}
