package journal

import (
	"context"
	"fmt"

	"github.com/isogate/isogate"
)

// Bodies calls do with the exact bytes of the entries from a seq on, in order, of limit
// seqs at the most, and returns the seq behind the last one looked for, which is at
// most the number of entries, and that number. It is for who reads the journal from one end to the other, in pieces: between
// two of them nothing is held. A seq of which there is no entry is left out, which only
// happens where somebody took its row out. Bytes are valid during the call.
//
// As entries become visible in the order of their seqs (see [Reader.Follow]), what a call did
// not find lies at or behind the seq that it returned.
func (r *Reader) Bodies(ctx context.Context, from uint64, limit int, do func(seq uint64, body []byte) error) (next, of uint64, err error) {
	n, err := r.count(ctx)
	if err != nil || from >= n {
		return min(from, n), n, err
	}
	next = min(n, from+uint64(max(limit, 1)))
	args := []any{int64(from), int64(next)} //nolint:gosec // sizes fit
	return next, n, r.page(ctx, `SELECT seq, body FROM entry WHERE seq >= $1 AND seq < $2 ORDER BY seq`, args, func(seq uint64, body []byte) (bool, error) {
		return true, do(seq, body)
	})
}

// Pick calls do with the exact bytes of the entries that have these seqs, in any
// order. A seq of which there is no entry is left out.
func (r *Reader) Pick(ctx context.Context, seqs []uint64, do func(seq uint64, body []byte) error) error {
	if r.remote != nil {
		at := make([]int64, len(seqs))
		for i, seq := range seqs {
			at[i] = int64(seq) //nolint:gosec // sizes fit
		}
		return r.page(ctx, `SELECT seq, body FROM entry WHERE seq = ANY($1)`, []any{at}, func(seq uint64, body []byte) (bool, error) {
			return true, do(seq, body)
		})
	}
	for _, seq := range seqs {
		body, err := r.row(ctx, seq)
		if err != nil {
			return err
		}
		if body == nil {
			continue
		}
		if err := do(seq, body); err != nil {
			return err
		}
	}
	return nil
}

// Decode reads an entry from its bytes.
func Decode(body []byte) (isogate.Entry, error) {
	e, err := decode(body)
	if err != nil {
		return e, fmt.Errorf("%w; somebody changed it, `isogate journal verify` says more", err)
	}
	return e, nil
}
