package landing

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/seal"
)

var (
	errRegisterFull = errors.New("the register is full")
	errCursor       = errors.New("no place in the register")
)

const (
	// maxKnown is how many identifiers are remembered as registered, of which half
	// may be forgotten at any time: they cost a write when they come again.
	maxKnown = 200_000
	// lazily is how often the times at which known identifiers came again are written down.
	lazily = time.Minute
	// maxListed is how many bytes of rows are listed at once, and one row more.
	maxListed = 1 << 20
)

// register is which identifiers the service was given and keeps. What is in it was
// on disk before the service had it.
type register struct {
	store *store
	most  int64 // of one tenant
	now   func() time.Time

	writing sync.Mutex // held while a group is written; guards counts
	counts  map[isogate.Tenant]int64

	mu    sync.Mutex // guards what follows
	group *group     // that is being collected
	known map[digest]*sighting
	old   map[digest]*sighting   // known of before
	open  map[digest]int         // identifiers that are being erased, by how many erasures
	away  map[digest]int         // identifiers in requests that the service has not answered yet
	dirty map[*sighting]struct{} // seen since it was written down
	// answered is what is in no request any more, of which the other landings of a
	// cluster are still to hear.
	answered map[digest]passed
	err      error // of the newest write
}

// digest stands for an identifier of a tenant in memory.
type digest [16]byte

func digestOf(t isogate.Tenant, parts ...string) digest {
	h := sha256.New()
	h.Write([]byte(t))
	for _, p := range parts {
		h.Write([]byte{0})
		h.Write([]byte(p))
	}
	return digest(h.Sum(nil)[:16])
}

// sighting is an identifier that is known to be in the register.
type sighting struct {
	tenant isogate.Tenant
	row    registered
}

// group is what several requests want written at once.
type group struct {
	asks []*ask
	done chan struct{}
}

type ask struct {
	tenant isogate.Tenant
	rows   []registered
	err    error
}

func newRegister(s *store, most int64, now func() time.Time) (*register, error) {
	counts, err := s.counts(context.Background())
	if err != nil {
		return nil, fmt.Errorf("landing: register %s: %w", s.path, err)
	}
	return &register{store: s, most: most, now: now, counts: counts,
		known: map[digest]*sighting{}, open: map[digest]int{}, away: map[digest]int{}, dirty: map[*sighting]struct{}{}, answered: map[digest]passed{}}, nil
}

// put returns once rows are in the register, on disk. An identifier that is known
// to be there costs nothing. Whether it succeeds or not, landed is called once the
// service has answered, or will not be asked.
//
// promise: P17
func (r *register) put(ctx context.Context, t isogate.Tenant, entry string, rows []seal.RegisterRow) error {
	a := &ask{tenant: t}
	r.mu.Lock()
	now := r.now() // not before busy could see it
	for _, row := range rows {
		r.away[digestOf(t, string(row.Label), row.ID)]++
		d := digestOf(t, string(row.Label), row.ID, row.Subject)
		s := r.known[d]
		if s == nil {
			s = r.old[d]
		}
		if r.store.member == "" && s != nil && r.open[digestOf(t, string(row.Label), row.ID)] == 0 && s.row.Because == row.Because && s.row.Rule == row.Rule {
			s.row.last, s.row.entry = now, entry
			r.known[d] = s
			r.dirty[s] = struct{}{}
			continue
		}
		// What is being erased is written down each time: it comes anew, and stays.
		a.rows = append(a.rows, registered{RegisterRow: row, entry: entry, since: now, last: now})
	}
	if len(a.rows) == 0 {
		r.mu.Unlock()
		return nil
	}
	g := r.group
	first := g == nil
	if first {
		g = &group{done: make(chan struct{})}
		r.group = g
	}
	g.asks = append(g.asks, a)
	r.mu.Unlock()
	if first {
		r.write(g) // for all who come until the one before is written
	}
	select {
	case <-g.done:
		return a.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// write writes a group, which nobody can join any more once it has begun.
func (r *register) write(g *group) {
	r.writing.Lock()
	defer r.writing.Unlock()
	r.mu.Lock()
	r.group = nil
	r.mu.Unlock()
	defer close(g.done)
	if r.store.member != "" {
		// By one clock for all members, and as late as can be.
		now, err := r.store.clock(context.Background())
		for _, a := range g.asks {
			a.err = err
			for i := range a.rows {
				a.rows[i].since, a.rows[i].last = now, now
			}
		}
		if err != nil {
			r.mu.Lock()
			r.err = err
			r.mu.Unlock()
			return
		}
	}
	added := map[isogate.Tenant]int64{}
	ctx := context.Background() // one who goes away must not take the others along
	err := r.store.write(ctx, func(tx *sql.Tx) error {
		for _, a := range g.asks {
			if err := r.store.pass(ctx, tx, a.tenant, a.rows); err != nil {
				return err
			}
			n, err := r.store.put(ctx, tx, a.tenant, a.rows, r.most-r.counts[a.tenant]-added[a.tenant])
			if err != nil && !errors.Is(err, errRegisterFull) {
				return err
			}
			a.err = err
			added[a.tenant] += n
		}
		return nil
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
	for _, a := range g.asks {
		if err != nil {
			a.err = err
		}
		if a.err == nil {
			r.remember(a)
		}
	}
	if err == nil {
		for t, n := range added {
			r.counts[t] += n
		}
	}
}

// remember notes that rows are in the register. The caller holds mu.
func (r *register) remember(a *ask) {
	if len(r.known) > maxKnown/2 {
		r.old, r.known = r.known, map[digest]*sighting{}
	}
	for _, row := range a.rows {
		r.known[digestOf(a.tenant, string(row.Label), row.ID, row.Subject)] = &sighting{a.tenant, row}
	}
}

// landed says that the service has answered the request that brought rows.
func (r *register) landed(t isogate.Tenant, rows []seal.RegisterRow) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, row := range rows {
		d := digestOf(t, string(row.Label), row.ID)
		if take(r.away, d); r.away[d] == 0 && r.store.member != "" {
			r.answered[d] = passed{t, row.Label, row.ID}
		}
	}
}

// busy reports whether one of these is in a request that the service has not
// answered: it could come to be there after it was erased, and not be in the
// register any more.
func (r *register) busy(t isogate.Tenant, rows []identifier) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, row := range rows {
		if r.away[digestOf(t, string(row.Label), row.ID)] > 0 {
			return true
		}
	}
	return false
}

func take(m map[digest]int, d digest) {
	if m[d]--; m[d] <= 0 {
		delete(m, d)
	}
}

// opened and closed say that identifiers are being erased, and are not any more.
func (r *register) opened(t isogate.Tenant, rows []identifier) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, row := range rows {
		r.open[digestOf(t, string(row.Label), row.ID)]++
	}
}

func (r *register) closed(t isogate.Tenant, rows []identifier) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, row := range rows {
		take(r.open, digestOf(t, string(row.Label), row.ID))
	}
}

// erased removes what an erasure is about and that has not come anew since the
// service was called.
func (r *register) erased(ctx context.Context, k *task, cause string, called time.Time) error {
	if err := r.flush(ctx); err != nil { // so that the times in the database are the right ones
		return err
	}
	r.writing.Lock()
	defer r.writing.Unlock()
	removed, err := r.store.confirm(ctx, k, cause, called, r.now())
	if err != nil {
		return err
	}
	r.counts[k.tenant] -= removed
	r.mu.Lock()
	defer r.mu.Unlock()
	// What is forgotten here and still in the database costs a write when it comes again.
	gone := map[digest]bool{}
	for _, row := range k.rows {
		gone[digestOf(k.tenant, string(row.Label), row.ID)] = true
	}
	for _, m := range []map[digest]*sighting{r.known, r.old} {
		for d, s := range m {
			if s.tenant == k.tenant && gone[digestOf(k.tenant, string(s.row.Label), s.row.ID)] {
				delete(m, d)
				delete(r.dirty, s)
			}
		}
	}
	return nil
}

// flush writes down when known identifiers came again.
func (r *register) flush(ctx context.Context) error {
	r.writing.Lock()
	defer r.writing.Unlock()
	r.mu.Lock()
	batch, probe := make([]sighting, 0, len(r.dirty)), r.err != nil
	for s := range r.dirty {
		batch = append(batch, *s)
	}
	before := r.dirty
	r.dirty = map[*sighting]struct{}{}
	r.mu.Unlock()
	if len(batch) == 0 && !probe {
		return nil
	}
	err := r.store.write(ctx, func(tx *sql.Tx) error {
		for _, s := range batch {
			if _, err := tx.ExecContext(ctx, r.store.q(`UPDATE identifier SET entry = ?, last = CASE WHEN last > ? THEN last ELSE ? END WHERE tenant = ? AND label = ? AND id = ? AND subject = ?`),
				s.row.entry, s.row.last.UnixMilli(), s.row.last.UnixMilli(), s.tenant, s.row.Label, s.row.ID, s.row.Subject); err != nil {
				return err
			}
		}
		// Written always, so that a write that failed is seen to work again.
		return r.store.probe(ctx, tx)
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err = err; err != nil {
		for s := range before {
			r.dirty[s] = struct{}{}
		}
	}
	return err
}

// run writes down what may wait, until ctx ends.
func (r *register) run(ctx context.Context) {
	tick := time.NewTicker(lazily)
	defer tick.Stop()
	soon := time.NewTicker(answeredEvery)
	defer soon.Stop()
	for {
		select {
		case <-soon.C:
			r.tellAnswered(ctx)
		case <-tick.C:
			_ = r.flush(ctx) // ready tells
			r.recount(ctx)
		case <-ctx.Done():
			r.tellAnswered(context.WithoutCancel(ctx))
			_ = r.flush(context.WithoutCancel(ctx))
			return
		}
	}
}

// ready reports why the register cannot be written, as far as the newest write told.
func (r *register) ready() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// list returns rows of a tenant behind a cursor, and the cursor of those that follow.
func (r *register) list(ctx context.Context, t isogate.Tenant, label, id, cursor string, limit int) (rows []registered, next string, err error) {
	if err := r.flush(ctx); err != nil {
		return nil, "", err
	}
	var after place
	if cursor != "" {
		text, err := base64.RawURLEncoding.DecodeString(cursor)
		parts := strings.Split(string(text), "\x00")
		if err != nil || len(parts) != 3 {
			return nil, "", errCursor
		}
		after = place{parts[0], parts[1], parts[2]}
	}
	rows, err = r.store.list(ctx, t, label, id, after, limit+1)
	if err != nil {
		return nil, "", err
	}
	n, size := 0, 0
	for n < min(limit, len(rows)) && size < maxListed {
		size += len(rows[n].ID) + len(rows[n].Subject) + len(rows[n].Because) + len(rows[n].Rule)
		n++
	}
	if n == len(rows) {
		return rows, "", nil
	}
	rows = rows[:n]
	last := rows[n-1]
	return rows, base64.RawURLEncoding.EncodeToString([]byte(string(last.Label) + "\x00" + last.ID + "\x00" + last.Subject)), nil
}

func (r *register) close() error {
	if r.store.member != "" {
		return r.store.close() // whose database may be closed already; nothing waits
	}
	return errors.Join(r.flush(context.Background()), r.store.close())
}
