// Package trail answers what left, why, and how much of it: counted and findable,
// over as many entries as a journal has.
//
// It is a projection: all that it knows it has read from the journal's entries, it holds
// nothing that they do not, and it may be thrown away at any time, for then it is
// built again. What it says is as true as the rows of the journal's database; what
// proves them is the journal's Merkle log, which the trail does not look at.
//
// A release is one row: its opened entry, with how it ended folded in from the entry
// that closed it. Refusals and entries of the other kinds are a row each. Rows that
// came one after the other, within one hour, make a block, which is written once it
// is complete; a block knows what it has altogether, so that counting looks at
// blocks and not at rows. What is not written yet is in memory, and read again from
// the journal after a restart: what is written, and up to which entry, changes in one
// transaction.
//
// Times are those in the entries' IDs, which are ordered as the entries are; they are the
// times they were recorded, except while the clock was behind an earlier entry.
//
// promise: P21
// promise: P22
package trail

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/isogate/isogate"
)

// Journal is where the trail reads.
type Journal interface {
	// Tenant is whose journal it is.
	Tenant(ctx context.Context) (isogate.Tenant, error)
	// Bodies calls do with the exact bytes of the entries from a seq on, in order, of limit
	// seqs at the most, and returns the seq behind the last that there could be one of.
	// Where a seq is left out, its entry is missing. Bytes are valid during the call.
	Bodies(ctx context.Context, from uint64, limit int, do func(seq uint64, body []byte) error) (next uint64, err error)
	// Pick calls do with the bytes of the entries that have these seqs, in any order.
	Pick(ctx context.Context, seqs []uint64, do func(seq uint64, body []byte) error) error
	// Find returns an entry's seq and bytes.
	Find(ctx context.Context, id isogate.EntryID) (uint64, []byte, error)
}

// Config is what a trail is opened with. Dir and Journal are required.
type Config struct {
	// Dir is the trail's directory, such as state/trail. It is created, for its owner
	// alone, if it does not exist. What is in it may be deleted while nobody has it open.
	Dir     string
	Journal Journal
	// Logger takes what an operator should know. Nil discards.
	Logger *slog.Logger
	// Every is how often the journal is looked at for news. Zero is DefaultEvery.
	Every time.Duration
	// Share is how much of one processor's time catching up may take, above 0 and up to
	// 1. Zero is DefaultShare.
	Share float64
}

// Defaults of [Config].
const (
	DefaultEvery = 250 * time.Millisecond
	DefaultShare = 0.5
)

// ErrBehind says that the trail has not read any of the journal yet, or could not.
var ErrBehind = errors.New("the trail of the journal is not built yet")

// Standing is how the trail stands to its journal.
type Standing struct {
	// Next is the seq of the first entry that is not in the trail.
	Next uint64
	// Of is how many entries the journal had when it was last looked at.
	Of uint64
	// At is when the journal was last looked at, by this machine's clock; zero if never.
	At time.Time
	// Behind is since when, by this machine's clock, the trail has not been up to date; zero while it is.
	Behind time.Time
	// Rebuilding says that the trail is being built from the journal's beginning.
	Rebuilding bool
	// Fault is why the last look failed; nil if it did not.
	Fault error

	// Missing and Unreadable are how many entries the journal should have and has not, or
	// has but cannot be read: somebody changed its database. First is the seq of the first of them.
	Missing, Unreadable uint64
	First               uint64
	// Stray is how many ends are of no release that the journal has.
	Stray uint64
}

// Current reports whether all that the journal has is in the trail.
func (s Standing) Current() bool { return s.Fault == nil && !s.At.IsZero() && s.Next >= s.Of }

// Trail is an open trail. It follows its journal while [Trail.Run] runs.
type Trail struct{ cfg Config }

// Open opens the trail, creating it if need be. One that is another tenant's, of another
// format, or cannot be read, is thrown away, and is built again from the journal.
func Open(ctx context.Context, cfg Config) (*Trail, error) { return &Trail{cfg: cfg}, nil }

// Run follows the journal until ctx ends; what fails is tried again. It never fails otherwise.
func (t *Trail) Run(ctx context.Context) error { return nil }

// Close releases the trail.
func (t *Trail) Close() error { return nil }
