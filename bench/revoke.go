package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isogate/isogate/internal/isogatetest/pgtest"
)

const (
	gateways       = 16
	revokedTunnels = 1000
	otherTunnels   = 100
	otherHost      = "other.far.example" // of another row of the same app
	talkEvery      = 50 * time.Millisecond
)

// revokeQuestion: how soon after a revocation does the last byte of an open tunnel
// arrive at the far side, whichever gateway it goes through?
func revokeQuestion(ctx context.Context, b *bench, r *report) error {
	return withPostgres(ctx, func(ctx context.Context, pg *pgtest.PG) error {
		pg.SQL("postgres", "CREATE DATABASE revoke")
		w, err := newGateways(ctx, b, pg.URL("revoke"))
		if err != nil {
			return err
		}
		defer w.stop()
		defer w.ln.Close()
		r.say("## Revocation")
		r.say("%d gateways, each a process of `isogate serve`, share a tenant through one PostgreSQL. %d tunnels of an app go through them, as many through each, and all of them send %d bytes outward every %v, each at its own moment; "+
			"%d more of another row of the same app do so too. An administrator revokes the row by the API of one of the gateways. Times are of the far side, one clock for all: when the last byte of each tunnel "+
			"arrived, and when the tunnel was seen to be cut. They are counted from the answer that the revocation is done, and from the call; what is negative was before. "+
			"It is checked that every tunnel of the row ended and that those of the other row went on.", gateways, revokedTunnels, len(talk{}), talkEvery, otherTunnels)
		what := []string{"last byte, after the answer", "last byte, after the call", "cut, after the answer", "cut, after the call"}
		var series50, series99, seriesMax [4]series
		answer := series{}
		for round := range b.rounds {
			t, err := w.revocation(ctx)
			if err != nil {
				return err
			}
			answer.figures = append(answer.figures, t.answered.Seconds()*1000)
			for i, ds := range [][]time.Duration{t.last, t.lastCall, t.cut, t.cutCall} {
				slices.Sort(ds)
				series50[i].figures = append(series50[i].figures, ds[len(ds)/2].Seconds()*1000)
				series99[i].figures = append(series99[i].figures, ds[len(ds)*99/100].Seconds()*1000)
				seriesMax[i].figures = append(seriesMax[i].figures, ds[len(ds)-1].Seconds()*1000)
			}
			fmt.Fprintf(os.Stderr, "revoke: round %d of %d\n", round+1, b.rounds)
		}
		var rows [][]string
		for i := range what {
			rows = append(rows, []string{what[i], fmt.Sprintf("%.1f ms", series50[i].median()), fmt.Sprintf("%.1f ms", series99[i].median()), fmt.Sprintf("%.1f ms", seriesMax[i].median()), fmt.Sprintf("%.1f ms", seriesMax[i].max())})
		}
		r.table([]string{fmt.Sprintf("%d tunnels, %d gateways", revokedTunnels, gateways), "p50", "p99", "latest", "latest of all rounds"}, rows)
		r.say("The call itself took %.1f ms. Of the other row's tunnels, %d of %d were still open and talking after each round.", answer.median(), otherTunnels, otherTunnels)
		late := max(seriesMax[0].median(), seriesMax[2].median())
		r.budget("revocation: last byte on a revoked open tunnel, 16 gateways", "≤ 100 ms after the answer", late <= 100, fmt.Sprintf("%.1f ms", late))
		return nil
	})
}

// talk is what a tunnel sends each time: its number, and room.
type talk [256]byte

// shared is gateways that share a journal, and the far side of their tunnels.
type shared struct {
	*world
	at    []map[string]string // of each gateway: isogate, hub
	ln    net.Listener
	hello int // bytes in front of a tunnel's own
	base  time.Time

	mu    sync.Mutex // guards heard
	heard map[uint32]*hearing
}

// hearing is what the far side heard of one tunnel; times since base.
type hearing struct{ last, ended atomic.Int64 }

// newGateways makes a tenant whose journal is in a database, and starts its gateways.
func newGateways(ctx context.Context, b *bench, database string) (_ *shared, err error) {
	w := &world{dir: filepath.Join(b.dir, "revoke"), isogate: filepath.Join(b.dir, "isogate"), at: map[string]string{}}
	s := &shared{world: w, heard: map[uint32]*hearing{}, base: time.Now(), hello: len(clientHello(fileHost))}
	defer func() {
		if err != nil {
			w.stop()
		}
	}()
	if err := os.MkdirAll(w.dir, 0o700); err != nil {
		return nil, err
	}
	if err := b.build(ctx, w.isogate); err != nil {
		return nil, err
	}
	if err := w.certificates(fileHost, apiHost, otherHost); err != nil {
		return nil, err
	}
	for _, name := range []string{"direct", "one", "isogate", "hub"} {
		if w.at[name], err = freePort(); err != nil {
			return nil, err
		}
	}
	if s.ln, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, err
	}
	w.at["sink"] = s.ln.Addr().String()
	if err := w.configureApps(0); err != nil {
		return nil, err
	}
	if err := s.addOther(database); err != nil {
		return nil, err
	}
	if err := w.grantAll(ctx); err != nil {
		return nil, err
	}
	return s, s.startAll(ctx)
}

// addOther gives the world another tunnel, and its journal a database.
func (s *shared) addOther(database string) error {
	_, port, err := net.SplitHostPort(s.world.at["sink"])
	if err != nil {
		return err
	}
	for _, c := range []struct{ file, after, add string }{
		{"isogate.yaml", "state: ./state\n", "database: \"" + database + "\"\n"},
		{"isogate.yaml", "    hosts:\n", fmt.Sprintf("      %s: %q\n", otherHost, s.world.at["sink"])},
		{"app.yaml", "remotes:\n", fmt.Sprintf("  - {host: %s, port: %s, kind: backend}\n", otherHost, port)},
		{"pack/destinations.yaml", "destinations:\n", fmt.Sprintf("  - {name: bench-other, remote: \"%s:%s\"}\n", otherHost, port)},
	} {
		src, err := os.ReadFile(s.path(c.file))
		if err != nil {
			return err
		}
		if err := os.WriteFile(s.path(c.file), bytes.Replace(src, []byte(c.after), []byte(c.after+c.add), 1), 0o600); err != nil {
			return err
		}
	}
	return os.WriteFile(s.path("pack/transits/app-other.yaml"), []byte(strings.NewReplacer("app-files", "app-other", "bench-files", "bench-other").Replace(appTunnel)), 0o600)
}

// startAll starts the gateways, each with a copy of the tenant's keys.
func (s *shared) startAll(ctx context.Context) error {
	conf, err := os.ReadFile(s.path("isogate.yaml"))
	if err != nil {
		return err
	}
	for n := range gateways {
		at := map[string]string{"isogate": s.world.at["isogate"], "hub": s.world.at["hub"], "one": s.world.at["one"]}
		state := "state"
		if n > 0 {
			state = fmt.Sprintf("state-%d", n)
			if err := os.CopyFS(s.path(state), os.DirFS(s.path("state"))); err != nil {
				return err
			}
			for name := range at {
				if at[name], err = freePort(); err != nil {
					return err
				}
			}
			if err := private(s.path(state)); err != nil {
				return err
			}
		}
		s.at = append(s.at, at)
		file := "isogate.yaml"
		if n > 0 {
			file = fmt.Sprintf("isogate-%d.yaml", n)
			text := strings.NewReplacer("state: ./state\n", "state: ./"+state+"\n", s.world.at["isogate"], at["isogate"], s.world.at["hub"], at["hub"], s.world.at["one"], at["one"]).Replace(string(conf))
			if err := os.WriteFile(s.path(file), []byte(text), 0o600); err != nil {
				return err
			}
		}
		name := fmt.Sprintf("gateway-%d", n)
		if err := s.launch(ctx, name, []string{s.isogate, "serve", "-c", s.path(file)}, func(ctx context.Context, _ string) error { return ready(ctx, at["hub"]) }); err != nil {
			return err
		}
	}
	go s.listen()
	return nil
}

// private makes all files of a directory readable by their owner alone, as keys must be.
func private(dir string) error {
	return filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		mode := os.FileMode(0o600)
		if d.IsDir() {
			mode = 0o700
		}
		return os.Chmod(path, mode)
	})
}

// listen is the far side of the tunnels.
func (s *shared) listen() {
	for {
		c, err := s.ln.Accept()
		if err != nil {
			return
		}
		go func() {
			defer func() { _ = c.Close() }()
			var first talk
			if _, err := io.CopyN(io.Discard, c, int64(s.hello)); err != nil {
				return
			}
			if _, err := io.ReadFull(c, first[:]); err != nil {
				return
			}
			h := &hearing{}
			s.mu.Lock()
			s.heard[binary.BigEndian.Uint32(first[:])] = h
			s.mu.Unlock()
			buf := make([]byte, 4096)
			for {
				n, err := c.Read(buf)
				now := int64(time.Since(s.base))
				if n > 0 {
					h.last.Store(now)
				}
				if err != nil {
					h.ended.Store(now)
					return
				}
			}
		}()
	}
}

// revoked is what one revocation took, of each tunnel.
type revoked struct {
	answered                     time.Duration
	last, lastCall, cut, cutCall []time.Duration
}

// revocation opens tunnels, has them talk, revokes their row, and has it granted again.
func (s *shared) revocation(ctx context.Context) (out revoked, err error) {
	s.mu.Lock()
	clear(s.heard)
	s.mu.Unlock()
	lines := make([]net.Conn, revokedTunnels+otherTunnels)
	defer func() {
		for _, c := range lines {
			if c != nil {
				_ = c.Close()
			}
		}
	}()
	_, port, err := net.SplitHostPort(s.world.at["sink"])
	if err != nil {
		return out, err
	}
	talking, quiet := context.WithCancel(ctx)
	defer quiet()
	errs := make([]error, 32)
	var opening, speakers sync.WaitGroup
	defer speakers.Wait()
	defer quiet()
	for k := range errs {
		opening.Go(func() {
			for n := k; n < len(lines) && errs[k] == nil; n += len(errs) {
				host := fileHost
				if n >= revokedTunnels {
					host = otherHost
				}
				to := way{proxy: s.at[n%gateways]["isogate"], auth: "Bearer " + appToken, port: port}
				// A gateway may not have heard yet that the row is granted again.
				errs[k] = await(ctx, func(ctx context.Context) (err error) {
					lines[n], err = to.open(ctx, host)
					return err
				})
				if errs[k] == nil {
					_, errs[k] = lines[n].Write(clientHello(host))
				}
			}
		})
	}
	opening.Wait()
	if err := errors.Join(errs...); err != nil {
		return out, err
	}
	for n, c := range lines {
		speakers.Go(func() { speak(talking, c, n, len(lines)) })
	}
	if err := s.allHeard(ctx, len(lines)); err != nil {
		return out, err
	}
	called := time.Since(s.base)
	if err := s.post(ctx, "/revocations", map[string]any{"party": "app/bench", "rows": []string{"backend " + fileHost + ":" + port + " operations=storage end-user-data"}, "reason": "to measure"}); err != nil {
		return out, err
	}
	answered := time.Since(s.base)
	out.answered = answered - called
	if err := await(ctx, func(context.Context) error { return s.allEnded(revokedTunnels) }); err != nil {
		return out, err
	}
	if err := s.othersGoOn(ctx); err != nil {
		return out, err
	}
	s.mu.Lock()
	for n := range revokedTunnels {
		h := s.heard[uint32(n)]
		last, ended := time.Duration(h.last.Load()), time.Duration(h.ended.Load())
		out.last, out.lastCall = append(out.last, last-answered), append(out.lastCall, last-called)
		out.cut, out.cutCall = append(out.cut, ended-answered), append(out.cutCall, ended-called)
	}
	s.mu.Unlock()
	return out, s.grantAgain(ctx)
}

// speak sends through a tunnel until ctx or the tunnel ends.
func speak(ctx context.Context, c net.Conn, n, of int) {
	var t talk
	binary.BigEndian.PutUint32(t[:], uint32(n))
	wait := time.NewTimer(talkEvery * time.Duration(n) / time.Duration(of)) // all at different moments
	defer wait.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-wait.C:
		}
		if _, err := c.Write(t[:]); err != nil {
			return
		}
		wait.Reset(talkEvery)
	}
}

// allHeard waits until so many tunnels were heard of more than once.
func (s *shared) allHeard(ctx context.Context, n int) error {
	return await(ctx, func(context.Context) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		heard := 0
		for _, h := range s.heard {
			if h.last.Load() > 0 && h.ended.Load() == 0 {
				heard++
			}
		}
		if heard < n {
			return fmt.Errorf("%d of %d tunnels are heard", heard, n)
		}
		return nil
	})
}

// allEnded says which of the first n tunnels have not ended.
func (s *shared) allEnded(n int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range n {
		if h := s.heard[uint32(i)]; h.ended.Load() == 0 {
			return fmt.Errorf("tunnel %d is still open", i)
		}
	}
	return nil
}

// othersGoOn waits until every tunnel of the other row was heard again.
func (s *shared) othersGoOn(ctx context.Context) error {
	from := int64(time.Since(s.base))
	return await(ctx, func(context.Context) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		for i := revokedTunnels; i < revokedTunnels+otherTunnels; i++ {
			if h := s.heard[uint32(i)]; h.ended.Load() > 0 || h.last.Load() < from {
				return fmt.Errorf("tunnel %d of another row does not go on", i)
			}
		}
		return nil
	})
}

// grantAgain asks for what was revoked and grants it.
func (s *shared) grantAgain(ctx context.Context) error {
	if _, err := s.command(ctx, "consent", "request", "app/bench", "--reason", "again"); err != nil {
		return err
	}
	return s.grantRequested(ctx)
}

// post acts by the API of the first gateway.
func (s *shared) post(ctx context.Context, path string, body any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.at[0]["hub"]+"/api/v1"+path, bytes.NewReader(b))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+adminToken)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if answer, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s: %s: %w: %s", path, resp.Status, err, answer)
	}
	return nil
}
