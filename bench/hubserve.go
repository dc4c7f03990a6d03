package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/access"
	"github.com/isogate/isogate/internal/consent"
	"github.com/isogate/isogate/internal/hub"
	"github.com/isogate/isogate/internal/journal"
	"github.com/isogate/isogate/internal/policy"
	"github.com/isogate/isogate/internal/remote"
	"github.com/isogate/isogate/internal/trail"
)

// hubToken is what calls of the API bring.
const hubToken = "a-token-to-measure-with-and-nothing-else"

// hubNow is the clock of the Hub that is measured: a moment after the newest entry.
func hubNow() time.Time { return hubEnd.Add(time.Second) }

// hubServePart is a Hub over a journal, its ledger, its trail and a pack, as serve has
// them, and no gateway. Whoever asks for a page is an owner.
func hubServePart(ctx context.Context, args []string) error {
	fl := flag.NewFlagSet("hubserve", flag.ContinueOnError)
	dir := fl.String("dir", "", "directory of the journal, the trail and the pack")
	addr := fl.String("addr", "", "where to listen")
	if err := fl.Parse(args); err != nil {
		return err
	}
	ln, err := net.Listen("tcp", *addr)
	if err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	pack, err := policy.Load(filepath.Join(*dir, "pack"))
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	j, done, err := openHubJournal(ctx, *dir)
	if err != nil {
		return err
	}
	defer func() {
		stop()
		<-done
		_ = j.Close()
	}()
	t, err := trail.Open(ctx, trail.Config{Dir: filepath.Join(*dir, "trail"), Journal: j, Logger: logger, Share: 1})
	if err != nil {
		return err
	}
	defer func() { _ = t.Close() }()
	ledger, err := consent.New(consent.Config{Journal: hubConsents{j}, Logger: logger, Now: hubNow})
	if err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(hubToken))
	desk, err := access.New(access.Config{Journal: hubAdmins{j}, Logger: logger, People: []access.Configured{{Name: "ada", Roles: []access.Role{access.Owner}, TokenSHA256: hex.EncodeToString(sum[:])}}})
	if err != nil {
		return err
	}
	h, err := hub.New(hub.Config{Tenant: "bench", Ledger: ledger, Describe: func(consent.Party, remote.Row) consent.Egress { return consent.Egress{} }, Desk: desk, Trail: t, Journal: j,
		Running: hubRunning{j, pack}, Policies: hub.Policies{InForce: func() *policy.Pack { return pack }},
		Visitor: func(*http.Request) (access.Visitor, error) {
			return access.Visitor{Name: "ada", SignedIn: "passkey", Roles: access.Roles, Session: "bench", Proved: hubNow()}, nil
		}, Logger: logger, Now: hubNow})
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/api/", h.API())
	mux.Handle("/", h.Pages())
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := ledger.InTouch(); err != nil || !t.Standing().Current() {
			http.Error(w, fmt.Sprint(err, t.Standing()), http.StatusServiceUnavailable)
		}
	})
	g, ctx := errgroup.WithContext(ctx)
	s := &http.Server{Handler: mux, ReadHeaderTimeout: time.Second}
	g.Go(func() error { return ledger.Run(ctx) })
	g.Go(func() error { return desk.Run(ctx) })
	g.Go(func() error { return t.Run(ctx) })
	g.Go(func() error { return s.Serve(ln) })
	stopped := context.AfterFunc(ctx, func() { _ = s.Close() })
	defer stopped()
	if err := g.Wait(); ctx.Err() == nil {
		return err
	}
	return nil
}

type hubConsents struct{ *journal.Journal }

// Follow implements [consent.Journal].
func (j hubConsents) Follow(ctx context.Context, from uint64, every time.Duration, f func(consent.Batch) error) error {
	return j.Reader.Follow(ctx, isogate.KindConsent, from, every, func(b journal.Batch) error { return f(consent.Batch(b)) })
}

type hubAdmins struct{ *journal.Journal }

// Follow implements [access.Journal].
func (j hubAdmins) Follow(ctx context.Context, from uint64, every time.Duration, f func(access.Batch) error) error {
	return j.Reader.Follow(ctx, isogate.KindAdmin, from, every, func(b journal.Batch) error { return f(access.Batch(b)) })
}

// hubRunning is what a gateway says of itself.
type hubRunning struct {
	j    *journal.Journal
	pack *policy.Pack
}

func (r hubRunning) Ready() error                    { return nil }
func (r hubRunning) Gateway() string                 { return "gate-1" }
func (r hubRunning) Certificates() []hub.Certificate { return []hub.Certificate{} }
func (r hubRunning) Ends(time.Time) []hub.Ending     { return []hub.Ending{} }
func (r hubRunning) Keys() hub.KeyStanding {
	return hub.KeyStanding{Primary: "1a2b3c4d", Older: []string{}}
}

func (r hubRunning) Pack() hub.PackStanding {
	p := r.pack.Plan()
	return hub.PackStanding{Name: p.Name, Version: p.Version, Digest: p.Digest, Since: hubEnd.AddDate(0, 0, -15)}
}

func (r hubRunning) Checkpoint(ctx context.Context) (hub.CheckpointStanding, error) {
	cp, err := r.j.Checkpoint(ctx)
	return hub.CheckpointStanding{Origin: cp.Origin, Size: cp.Size, Root: hex.EncodeToString(cp.Root)}, err
}
