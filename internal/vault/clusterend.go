package vault

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"
)

// endingsFor is how long what has ended can be read by members that were not told. A
// member that has been without the database for as long has destroyed its keys.
const endingsFor = 2 * time.Hour

// leaveWord writes down what a member was not told.
func (c *cluster) leaveWord(in *endCall) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	_, now := read(c.v.cfg.Clock)
	return c.db.do(context.Background(), func(ctx context.Context, tx pgx.Tx) error {
		b := &pgx.Batch{}
		b.Queue(`INSERT INTO ending (at, body, mac) VALUES ($1, $2, $3)`, now.wallTime().Unix(), body, c.db.mac("ending", body))
		b.Queue(`DELETE FROM ending WHERE at < $1`, now.wallTime().Add(-endingsFor).Unix())
		return tx.SendBatch(ctx, b).Close()
	})
}

// endingsAgain is how many of the last endings are looked at again each time: one
// with a lower number may have been committed after one with a higher. Each counts
// once, for a session may have begun anew.
const endingsAgain = 1000

func (c *cluster) readEndings(ctx context.Context, tx pgx.Tx) (ends []ending, err error) {
	if c.heard == nil {
		// What was left for others before this member was there is not for it.
		rows, err := tx.Query(ctx, `SELECT n FROM ending`)
		if err != nil {
			return nil, err
		}
		all, err := pgx.CollectRows(rows, pgx.RowTo[int64])
		if err != nil {
			return nil, err
		}
		c.heard = map[int64]bool{}
		for _, n := range all {
			c.heard[n] = true
			c.ended = max(c.ended, n)
		}
	}
	for n := range c.heard {
		if n <= c.ended-endingsAgain {
			delete(c.heard, n)
		}
	}
	rows, err := tx.Query(ctx, `SELECT n, body, mac FROM ending WHERE n > $1 ORDER BY n`, c.ended-endingsAgain)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var e ending
		var body, mac []byte
		if err := rows.Scan(&e.n, &body, &mac); err != nil {
			return nil, err
		}
		if c.heard[e.n] {
			continue
		}
		if !c.db.made(mac, "ending", body) || json.Unmarshal(body, &e.call) != nil {
			c.v.cfg.Metrics.forged.Inc()
			e.call = endCall{}
		}
		ends = append(ends, e)
	}
	return ends, rows.Err()
}

func (c *cluster) end(ends []ending) {
	for i := range ends {
		c.heard[ends[i].n] = true
		c.ended = max(c.ended, ends[i].n)
		c.endHere(&ends[i].call)
	}
}
