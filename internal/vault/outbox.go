package vault

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/seal"
)

// statements are what one transaction of the ledger may execute.
type statements struct {
	live, unlive, event, unevent, receipt, chain *sql.Stmt

	all []*sql.Stmt
}

func (s *statements) prepare(ctx context.Context, tx *sql.Tx) error {
	for _, p := range [...]struct {
		to    **sql.Stmt
		query string
	}{
		{&s.live, `INSERT INTO live (row, tenant, id) VALUES (?, ?, ?)`},
		{&s.unlive, `DELETE FROM live WHERE row = ?`},
		{&s.event, `INSERT INTO event (seq, tenant, body) VALUES (?, ?, ?)`},
		{&s.unevent, `DELETE FROM event WHERE seq = ?`},
		{&s.receipt, `INSERT INTO receipt (tenant, number, at, note) VALUES (?, ?, ?, ?)`},
		{&s.chain, `INSERT INTO chain (tenant, number, digest) VALUES (?, ?, ?) ON CONFLICT (tenant) DO UPDATE SET number = excluded.number, digest = excluded.digest`},
	} {
		var err error
		if *p.to, err = tx.PrepareContext(ctx, p.query); err != nil { //nolint:sqlclosecheck // close closes all of them
			return err
		}
		s.all = append(s.all, *p.to)
	}
	return nil
}

func (s *statements) close() {
	for _, st := range s.all {
		_ = st.Close() // of a transaction that is over; there is nothing left to fail
	}
}

// receipts signs receipts of the events and adds them to their tenants' chains.
// Events keep their order within a tenant.
func (l *ledger) receipts(ctx context.Context, stmts *statements, events []item, now time.Time) (map[isogate.Tenant]link, error) {
	if len(events) == 0 {
		return nil, nil
	}
	of := map[isogate.Tenant][]seal.Event{}
	for _, it := range events {
		of[it.tenant] = append(of[it.tenant], it.event)
	}
	chain := map[isogate.Tenant]link{}
	n := 0
	for t, list := range of {
		end := l.chain[t]
		for len(list) > 0 {
			part := list[:min(len(list), seal.MaxEvents)]
			list = list[len(part):]
			r := seal.Receipt{Landing: l.signer.Name(), Destination: l.destination, Tenant: t, Number: end.number + 1, Previous: end.digest,
				Time: now.UTC().Truncate(time.Millisecond), Events: part}
			text, err := r.Sign(l.signer)
			if err != nil {
				return nil, fmt.Errorf("sign receipt %d of tenant %s: %w", r.Number, t, err)
			}
			//nolint:gosec // receipts are counted one by one
			if _, err := stmts.receipt.ExecContext(ctx, string(t), int64(r.Number), now.Unix(), text); err != nil {
				return nil, err
			}
			end = link{r.Number, seal.Digest(text)}
			n++
		}
		if _, err := stmts.chain.ExecContext(ctx, string(t), int64(end.number), end.digest); err != nil { //nolint:gosec // as above
			return nil, err
		}
		chain[t] = end
	}
	l.metrics.receipts.Add(float64(n))
	return chain, nil
}

// fetch returns a tenant's receipts after a number, and whether there are more.
func (l *ledger) fetch(ctx context.Context, t isogate.Tenant, after uint64, limit int) (notes [][]byte, more bool, err error) {
	if after >= 1<<63 {
		return nil, false, nil
	}
	//nolint:gosec // seen above
	rows, err := l.db.QueryContext(ctx, `SELECT note FROM receipt WHERE tenant = ? AND number > ? ORDER BY number LIMIT ?`, string(t), int64(after), limit+1)
	if err != nil {
		return nil, false, fmt.Errorf("vault %s: %w", l.path, explain(err))
	}
	defer rows.Close()
	for rows.Next() {
		var n []byte
		if err := rows.Scan(&n); err != nil {
			return nil, false, fmt.Errorf("vault %s: %w", l.path, explain(err))
		}
		notes = append(notes, n)
	}
	if err := rows.Err(); err != nil {
		return nil, false, fmt.Errorf("vault %s: %w", l.path, explain(err))
	}
	if more = len(notes) > limit; more {
		notes = notes[:limit]
	}
	return notes, more, nil
}

// prune removes receipts that were signed before a time.
func (l *ledger) prune(ctx context.Context, before time.Time) error {
	select {
	case <-l.writing:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { l.writing <- struct{}{} }()
	if l.closed {
		return ErrClosed
	}
	_, err := l.writer.ExecContext(ctx, `DELETE FROM receipt WHERE at < ?`, before.Unix())
	return explain(err)
}

// close ends the ledger once what is being written is. What is queued is lost; cut
// comes before it.
func (l *ledger) close() error {
	<-l.writing
	defer func() { l.writing <- struct{}{} }()
	if l.closed {
		return nil
	}
	l.closed = true
	return l.closeFiles()
}

func (l *ledger) closeFiles() error {
	var errs []error
	for _, db := range []*sql.DB{l.db, l.writer} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	return errors.Join(append(errs, l.lock.Close())...)
}
