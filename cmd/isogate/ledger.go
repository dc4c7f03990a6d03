package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/access"
	"github.com/isogate/isogate/internal/consent"
	"github.com/isogate/isogate/internal/journal"
	"github.com/isogate/isogate/internal/tenant"
)

// journalFollow is the journal as the ledger sees it.
type journalFollow struct{ *journal.Journal }

// Follow implements [consent.Journal].
func (j journalFollow) Follow(ctx context.Context, from uint64, every time.Duration, f func(consent.Batch) error) error {
	return j.Reader.Follow(ctx, isogate.KindConsent, from, every, func(b journal.Batch) error { return f(consent.Batch(b)) })
}

// newLedger makes the ledger over a journal, as the configuration has it.
func newLedger(cfg *config, j *journal.Journal, logger *slog.Logger, now func() time.Time) (*consent.Ledger, error) {
	second := make([]consent.Risk, len(cfg.Consent.SecondAdministrator))
	for i, r := range cfg.Consent.SecondAdministrator {
		second[i] = consent.Risk(r)
	}
	return consent.New(consent.Config{Journal: journalFollow{j}, Logger: logger, Lease: time.Duration(cfg.Consent.Lease),
		Answer: time.Duration(cfg.Consent.AnswerWithin), Second: second, Now: now})
}

// readState folds the ledger out of the journal, also while a gateway writes it.
// Where there is no journal yet, nothing was ever granted.
func readState(ctx context.Context, cfg *config) (*consent.State, error) {
	if _, err := os.Stat(cfg.State); err != nil {
		return nil, fmt.Errorf("state: %w; name the configuration of a tenant with -c", err)
	}
	if _, err := os.Stat(filepath.Join(cfg.State, "journal")); cfg.Database == "" && errors.Is(err, fs.ErrNotExist) {
		return &consent.State{}, nil
	}
	r, err := journalReader(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	s, whole := &consent.State{}, errors.New("whole")
	err = r.Follow(ctx, isogate.KindConsent, 0, time.Second, func(b journal.Batch) error {
		for i := range b.Entries {
			a, err := consent.ReadAct(&b.Entries[i])
			if err != nil {
				return fmt.Errorf("the ledger cannot be read: %w; see isogate journal show %s", err, b.Entries[i].ID)
			}
			s, _ = s.Fold(a)
		}
		if b.More {
			return nil
		}
		return whole
	})
	if errors.Is(err, whole) {
		err = nil
	}
	return s, err
}

// reachLedger is how long a command waits until its ledger has read the journal.
const reachLedger = time.Minute

// opened is what a command has opened that no gateway has open.
type opened struct {
	cfg     *config
	keys    *tenant.Keyring
	journal *journal.Journal
	ledger  *consent.Ledger
	desk    *access.Desk
	now     func() time.Time
}

// withLedger opens the journal, and runs it and its ledger while do runs. The error
// is [journal.ErrInUse] where a gateway has it open.
func withLedger(ctx context.Context, cfg *config, now func() time.Time, logger *slog.Logger, do func(context.Context, *opened) error) (err error) {
	if _, err := os.Stat(keysDir(cfg)); err != nil {
		return fmt.Errorf("tenant %s has no keys in %s; make them with isogate tenant create", cfg.Tenant, keysDir(cfg))
	}
	keys, _, err := openKeys(cfg, now())
	if err != nil {
		return err
	}
	floor, err := readFloor(cfg)
	if err != nil {
		return err
	}
	dial, err := dialDatabase(cfg)
	if err != nil {
		return err
	}
	j, err := journal.Open(ctx, journal.Config{Dir: filepath.Join(cfg.State, "journal"), Database: cfg.Database, Dial: dial, Tenant: cfg.Tenant, Signer: keys.Signer(), Verifier: keys.Verifier(),
		MaxAge: time.Duration(cfg.Journal.MaxAge), Logger: logger, Now: now})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, j.Close()) }()
	if err := raiseFloor(ctx, cfg, floor); err != nil {
		return err
	}
	ledger, err := newLedger(cfg, j, logger, now)
	if err != nil {
		return err
	}
	desk, err := newDesk(cfg, j, logger, now)
	if err != nil {
		return err
	}
	// The journal outlives the ledger, and both outlive a command that is interrupted.
	recorderCtx, stopRecorder := context.WithCancel(context.WithoutCancel(ctx))
	defer stopRecorder()
	ledgerCtx, stopLedger := context.WithCancel(recorderCtx)
	defer stopLedger()
	recorder, follower, clerk := make(chan error, 1), make(chan error, 1), make(chan error, 1)
	go func() { recorder <- j.Run(recorderCtx) }()
	go func() { follower <- ledger.Run(ledgerCtx) }()
	go func() { clerk <- desk.Run(ledgerCtx) }()
	if err = reach(ctx, ledger); err == nil {
		err = reach(ctx, desk)
	}
	if err == nil {
		err = do(ctx, &opened{cfg, keys, j, ledger, desk, now})
	}
	stopLedger()
	err = errors.Join(err, <-follower, <-clerk)
	stopRecorder()
	return errors.Join(err, <-recorder, raiseFloor(context.WithoutCancel(ctx), cfg, 0))
}

// reach waits until a ledger or a desk has read the journal.
func reach(ctx context.Context, l interface{ InTouch() error }) error {
	ctx, cancel := context.WithTimeout(ctx, reachLedger)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		err := l.InTouch()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}
