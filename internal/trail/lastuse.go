package trail

import (
	"context"
	"database/sql"
	"encoding/json"
	"slices"
	"time"

	"github.com/isogate/isogate"
)

// LastUses is when each of these consents last let something out, of those that ever did.
// It is for many consents: of one, Usage tells more.
func (t *Trail) LastUses(ctx context.Context, consents []isogate.EntryID) (map[isogate.EntryID]time.Time, error) {
	done, err := t.turn(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	v, err := t.view()
	if err != nil {
		return nil, err
	}
	u := &lastUses{v: v, last: map[string]int64{}, of: make(map[string]bool, len(consents))}
	for _, c := range consents {
		if c != "" {
			u.of[string(c)] = true
		}
	}
	for i := range v.tail {
		u.row(&v.tail[i])
	}
	counted, err := u.days(ctx)
	if err != nil {
		return nil, v.wrap(err)
	}
	if err := u.blocks(ctx, counted); err != nil {
		return nil, err
	}
	out := make(map[isogate.EntryID]time.Time, len(u.last))
	for c, ms := range u.last {
		out[isogate.EntryID(c)] = time.UnixMilli(ms).UTC()
	}
	return out, nil
}

// lastUses is one call of LastUses.
type lastUses struct {
	v    *view
	of   map[string]bool
	last map[string]int64 // milliseconds
	w    written
}

func (u *lastUses) row(r *row) {
	if u.of[r.consent] && u.v.shapes[r.shape].egress(isogate.Released) {
		u.used(r.consent, r.ms)
	}
}

func (u *lastUses) used(consent string, ms int64) {
	if was, ok := u.last[consent]; !ok || ms > was {
		u.last[consent] = ms
	}
}

// days looks at the digests of days, and returns the blocks that are in one.
func (u *lastUses) days(ctx context.Context) (counted map[int64]bool, err error) {
	all := make([]string, 0, len(u.of))
	for c := range u.of {
		all = append(all, c)
	}
	asked, err := json.Marshal(all)
	if err != nil {
		return nil, err
	}
	// Of one moment: which days there are, and what they say.
	tx, err := u.v.store.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return nil, err
	}
	defer func() { _ = tx.Rollback() }()
	counted = map[int64]bool{}
	if err := scanned(ctx, tx, `SELECT first, last FROM day`, nil, func(rows *sql.Rows) error {
		var first, last int64
		if err := rows.Scan(&first, &last); err != nil {
			return err
		}
		for no := first; no <= last; no++ {
			counted[no] = true
		}
		return nil
	}); err != nil {
		return nil, err
	}
	type at struct {
		consent string
		day     int64
	}
	var refused []at // whose newest day has nothing but refusals
	if err := scanned(ctx, tx, `SELECT consent, max(day), digest FROM used WHERE consent IN (SELECT value FROM json_each(?)) GROUP BY consent`, []any{string(asked)}, func(rows *sql.Rows) error {
		var a at
		var raw rawBytes
		if err := rows.Scan(&a.consent, &a.day, &raw); err != nil {
			return err
		}
		found, err := u.digest(a.consent, raw)
		if !found {
			refused = append(refused, a)
		}
		return err
	}); err != nil {
		return nil, err
	}
	for _, a := range refused {
		found := false
		if err := scanned(ctx, tx, `SELECT digest FROM used WHERE consent = ? AND day < ? ORDER BY day DESC`, []any{a.consent, a.day}, func(rows *sql.Rows) error {
			var raw rawBytes
			if err := rows.Scan(&raw); err != nil {
				return err
			}
			if found {
				return nil
			}
			found, err = u.digest(a.consent, raw)
			return err
		}); err != nil {
			return nil, err
		}
	}
	return counted, nil
}

// scanned calls do for each row of a query.
func scanned(ctx context.Context, tx *sql.Tx, query string, args []any, do func(*sql.Rows) error) error {
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := do(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// digest takes what a day says of one consent.
func (u *lastUses) digest(consent string, raw []byte) (found bool, err error) {
	err = readDigest(raw, &u.w, u.v.shapes, len(u.v.fields), func() error {
		if l := &u.w.line; u.v.shapes[l.shape].egress(isogate.Released) {
			found = true
			u.used(consent, l.last)
		}
		return nil
	})
	return found, err
}

// blocks looks at the blocks that are in no digest of a day.
func (u *lastUses) blocks(ctx context.Context, counted map[int64]bool) error {
	var nos, crowded []int64
	for i := range u.v.blocks {
		if no := u.v.blocks[i].no; !counted[no] {
			nos = append(nos, no)
		}
	}
	if err := u.v.digests(ctx, nos, func(no int64, digest []byte) error {
		err := readDigest(digest, &u.w, u.v.shapes, len(u.v.fields), func() error {
			if l := &u.w.line; !l.various && u.of[string(u.w.consent)] && u.v.shapes[l.shape].egress(isogate.Released) {
				u.used(string(u.w.consent), l.last)
			}
			return nil
		})
		if err == nil && slices.ContainsFunc(u.w.rare, func(c []byte) bool { return u.of[string(c)] }) {
			crowded = append(crowded, no)
		}
		return err
	}); err != nil {
		return err
	}
	var rows []row
	for _, no := range crowded {
		var err error
		if rows, err = u.v.written(ctx, no, rows); err != nil {
			return err
		}
		for i := range rows {
			u.row(&rows[i])
		}
	}
	return nil
}
