package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// floorFile, in the state directory, holds how many entries the journal had
// sealed when the gateway last started or stopped. It lies beside the journal and
// not in it, so that a journal that was deleted, or put back from an older copy,
// is noticed instead of begun anew. Whoever can write it can write the keys too:
// against them only checkpoints that were handed out help.
const floorFile = "journal.floor"

// readFloor returns the floor, which is 0 where none was written yet. It fails if
// there is one, and no journal.
func readFloor(cfg *config) (uint64, error) {
	state := cfg.State
	text, err := os.ReadFile(filepath.Join(state, floorFile)) //nolint:gosec // the operator names the directory
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("journal: %w", err)
	}
	floor, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("journal: %s is no number; restore it from a backup", filepath.Join(state, floorFile))
	}
	if _, err := os.Stat(filepath.Join(state, "journal", "journal.db")); floor > 0 && cfg.Database == "" && errors.Is(err, fs.ErrNotExist) {
		return 0, lostEntries(state, 0, floor)
	}
	return floor, nil
}

// raiseFloor checks that the journal has sealed as much as the floor says, and
// writes down how much that is now.
func raiseFloor(ctx context.Context, cfg *config, floor uint64) error {
	state := cfg.State
	r, err := journalReader(ctx, cfg)
	if err != nil {
		return err
	}
	newest, err := r.Checkpoint(ctx)
	if err = errors.Join(err, r.Close()); err != nil {
		return err
	}
	if newest.Size < floor {
		return lostEntries(state, newest.Size, floor)
	}
	file := filepath.Join(state, floorFile)
	if err := os.WriteFile(file+".new", fmt.Appendln(nil, newest.Size), 0o600); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	return nil
}

func lostEntries(state string, sealed, floor uint64) error {
	return fmt.Errorf("journal: it has %d sealed entries, but had %d before: entries were removed; "+
		"restore the newest backup of the whole state directory %s", sealed, floor, state)
}
