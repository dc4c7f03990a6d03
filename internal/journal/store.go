package journal

import (
	"context"
	"errors"
)

// store is where a journal's entries become durable. It belongs to one goroutine at
// a time: Open's, and then the writer's.
type store interface {
	// commit writes the group's entries in one transaction, in their order, gives
	// each its ID and time, and returns the seq of the first. Without an error the
	// entries are durable. With one that is ErrUnknown they may be; the store finds
	// out before it writes again, and takes out of a later group's again what it
	// finds (see item.doubtful). With any other error they are not and will not be.
	commit(ctx context.Context, g *group) (base uint64, err error)
	// probe finds out whether a commit could succeed now, and leaves nothing behind.
	probe(ctx context.Context) error
	close() error
}

var (
	// ErrPutBack says that the database lacks what this process knows to have been
	// in it: it was put back to an older state, or another server took over that
	// never had it. Nothing may be built on what it has now.
	ErrPutBack = errors.New("the database was put back to an older state")

	// errOvertaken says that the checkpoint in the database is not the one that was
	// to be replaced.
	errOvertaken = errors.New("the checkpoint in the database is another one than was read; was the database put back or written by another process?")
)

// probeSize is what a probe writes: more than a usual group.
const probeSize = 256 << 10
