package vault

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/mod/sumdb/note"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/seal"
)

// errGivenUp says that the other members have taken this one for dead, and what they
// wrote about its keys is true from then on.
var errGivenUp = errors.New("the other landings of the cluster have given this one up, for it had not been heard of for too long; start it again")

// sharedLedger writes down what [ledger] does, in the database that the landings of
// a cluster share: one chain of receipts per tenant for all of them, which every
// one continues.
//
// Whatever it writes it writes as a member that is not given up: it holds that
// member's row while it does. So what others say about a member's keys once it is
// given up is not contradicted.
//
// Like ledger it has no goroutine: who needs something to be durable writes all
// that is queued.
type sharedLedger struct {
	db          *postgres
	instance    string
	destination isogate.Destination
	signer      note.Signer
	metrics     *Metrics

	writing chan struct{} // holds one token; who took it writes

	mu      sync.Mutex // guards what follows
	queue   []entry
	later   []entry // destroyed temporary keys whose window's key is not over yet, by when it is
	queued  uint64
	durable uint64
	last    error
	closed  bool
	alone   bool              // there is nobody else
	shared  map[seal.ID]int64 // temporary keys that the others could open too, by their window's end
}

// entry is something to write into the shared ledger.
type entry struct {
	tenant isogate.Tenant
	key    seal.ID
	live   bool        // the key arrived
	unlive bool        // the key is not here any more
	event  *seal.Event // for a receipt
	share  *sharedKey
	blank  bool  // of the shared key nothing stays but when its window ends
	drop   bool  // not that either
	until  int64 // of what waits: not before this time, milliseconds since 1970
	post   []letter
}

// sharedKey is a temporary key as it is in the database.
type sharedKey struct {
	key    seal.ID
	maker  string
	ends   int64
	facts  []byte
	sealed []byte
}

func newSharedLedger(db *postgres, instance string, cfg *Config) *sharedLedger {
	l := &sharedLedger{db: db, instance: instance, destination: cfg.Destination, signer: cfg.Signer, metrics: cfg.Metrics,
		writing: make(chan struct{}, 1), shared: map[seal.ID]int64{}}
	l.writing <- struct{}{}
	return l
}

func (l *sharedLedger) add(e entry) (mark uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.queue = append(l.queue, e)
	l.queued++
	return l.queued
}

func (l *sharedLedger) live(t isogate.Tenant, id seal.ID) (row int64) {
	l.add(entry{tenant: t, key: id, live: true})
	return 1
}

// share has a temporary key be in the database, with the letters that bring the
// others its window's key; live follows it.
func (l *sharedLedger) share(k *sharedKey, post []letter) {
	l.add(entry{key: k.key, share: k, post: post})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.shared[k.key] = k.ends
}

// send has letters go out.
func (l *sharedLedger) send(post []letter) (mark uint64) { return l.add(entry{post: post}) }

// gone queues that a key was destroyed. Of a temporary one that others could open
// too the event waits until its window is over, and with it what they have of it.
func (l *sharedLedger) gone(t isogate.Tenant, row int64, e seal.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	ends, shared := l.shared[e.Key]
	it := entry{tenant: t, key: e.Key, unlive: row > 0, event: &e}
	if !shared {
		l.queue = append(l.queue, it)
		l.queued++
		return
	}
	delete(l.shared, e.Key)
	if it.drop = true; l.alone {
		l.queue = append(l.queue, it)
		l.queued++
		return
	}
	l.queue = append(l.queue, entry{tenant: t, key: e.Key, blank: true})
	l.queued++
	it.until = ends
	if at := time.UnixMilli(ends).UTC(); at.After(e.At) {
		e.At = at
	}
	l.later = append(l.later, it)
}

// nobody says that no other member is there: nothing waits for what they have.
func (l *sharedLedger) nobody() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.alone = true
	l.queue = append(l.queue, l.later...)
	l.queued += uint64(len(l.later))
	l.later = nil
}

// left queues that a key went to another member: there is nothing to tell.
func (l *sharedLedger) left(t isogate.Tenant, id seal.ID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.shared, id)
	l.queue = append(l.queue, entry{tenant: t, key: id, unlive: true})
	l.queued++
}

func (l *sharedLedger) isShared(id seal.ID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, ok := l.shared[id]
	return ok
}

func (l *sharedLedger) note(t isogate.Tenant, e seal.Event) (mark uint64) {
	return l.add(entry{tenant: t, event: &e})
}

func (l *sharedLedger) mark() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.queued
}

func (l *sharedLedger) written(mark uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.durable >= mark
}

func (l *sharedLedger) waiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.queue)
}

func (l *sharedLedger) trouble() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

// took says what became of the last attempt to use the database.
func (l *sharedLedger) took(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil || !errors.Is(l.last, errGivenUp) {
		l.last = err
	}
}

// held has nothing to call f for: a member that starts is a new one, and what the
// one before had is taken up by [cluster.adopt], its own or another's.
func (l *sharedLedger) held(context.Context, func(int64, isogate.Tenant, seal.ID)) error { return nil }

func (l *sharedLedger) sync(ctx context.Context, mark uint64) error {
	if l.written(mark) {
		return nil
	}
	release, err := l.acquire(ctx)
	if err != nil {
		return err
	}
	defer release()
	if l.written(mark) {
		return nil
	}
	return l.write()
}

func (l *sharedLedger) acquire(ctx context.Context) (release func(), err error) {
	select {
	case <-l.writing:
		return func() { l.writing <- struct{}{} }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("vault: events are not written down yet: %w", ctx.Err())
	}
}

// writeLimit is how many entries one transaction writes.
const writeLimit = 5000

// write writes what is queued.
func (l *sharedLedger) write() error {
	for {
		l.mu.Lock()
		if l.closed {
			l.mu.Unlock()
			return ErrClosed
		}
		n := min(len(l.queue), writeLimit)
		queue := l.queue[:n:n]
		l.mu.Unlock()
		if n == 0 {
			return nil
		}
		began := time.Now()
		// Whoever waits may give up; what is begun is ended.
		err := l.db.do(context.Background(), func(ctx context.Context, tx pgx.Tx) error { return l.transact(ctx, tx, queue) })
		l.took(err)
		if err != nil {
			l.metrics.failures.Inc()
			return err
		}
		l.metrics.commit.Observe(time.Since(began).Seconds())
		l.mu.Lock()
		clear(l.queue[:n])
		if l.queue = l.queue[n:]; len(l.queue) == 0 {
			l.queue = nil
		}
		l.durable += uint64(n)
		l.mu.Unlock()
	}
}

// alive makes sure, until the transaction ends, that a member is not given up.
func (p *postgres) alive(ctx context.Context, tx pgx.Tx, instance string) error {
	var gone bool
	err := tx.QueryRow(ctx, `SELECT gone FROM member WHERE instance = $1 FOR KEY SHARE`, instance).Scan(&gone)
	if errors.Is(err, pgx.ErrNoRows) || err == nil && gone {
		return errGivenUp
	}
	return err
}

// bunch is rows of one statement, column by column.
type bunch struct {
	keys, macs, bodies [][]byte
	tenants, instances []string
	temporary          []bool
	numbers            []int64
	more               [][]byte
}

// transact writes entries. A key that comes and goes among them is not written as
// live: it is told as soon as it is written.
func (l *sharedLedger) transact(ctx context.Context, tx pgx.Tx, queue []entry) error {
	if err := l.db.alive(ctx, tx, l.instance); err != nil {
		return err
	}
	var live, unlive, events, shares, blanks, drops, post bunch
	temporary := map[seal.ID]bool{}
	for i := range queue {
		it := &queue[i]
		key := it.key[:]
		if s := it.share; s != nil {
			temporary[it.key] = true
			shares.keys, shares.instances, shares.numbers = append(shares.keys, key), append(shares.instances, s.maker), append(shares.numbers, s.ends)
			shares.bodies, shares.more = append(shares.bodies, s.facts), append(shares.more, s.sealed)
		}
		if it.blank {
			blanks.keys = append(blanks.keys, key)
		}
		if it.drop {
			drops.keys = append(drops.keys, key)
		}
		for _, p := range it.post {
			post.instances, post.bodies, post.macs = append(post.instances, p.to), append(post.bodies, p.sealed), append(post.macs, l.db.mac("letter", []byte(p.to), p.sealed))
		}
		if it.live {
			live.keys, live.tenants = append(live.keys, key), append(live.tenants, string(it.tenant))
			live.temporary = append(live.temporary, temporary[it.key])
			live.macs = append(live.macs, l.db.mac("live", liveParts(key, l.instance, string(it.tenant), temporary[it.key])...))
		}
		if it.unlive {
			unlive.keys = append(unlive.keys, key)
		}
		if it.event != nil {
			body, err := json.Marshal(it.event)
			if err != nil {
				return err
			}
			events.add(l.db, it.tenant, body)
		}
	}
	b := &pgx.Batch{}
	if len(live.keys) > 0 {
		b.Queue(`INSERT INTO live (key, instance, tenant, temporary, mac) SELECT k, $1, t, p, m FROM unnest($2::bytea[], $3::text[], $4::boolean[], $5::bytea[]) AS x (k, t, p, m)
			ON CONFLICT DO NOTHING`, l.instance, live.keys, live.tenants, live.temporary, live.macs)
	}
	if len(shares.keys) > 0 {
		b.Queue(`INSERT INTO shared (key, maker, ends, facts, sealed) SELECT * FROM unnest($1::bytea[], $2::text[], $3::bigint[], $4::bytea[], $5::bytea[])
			ON CONFLICT (key) DO UPDATE SET maker = excluded.maker, ends = excluded.ends, facts = excluded.facts, sealed = excluded.sealed`,
			shares.keys, shares.instances, shares.numbers, shares.bodies, shares.more)
	}
	if len(blanks.keys) > 0 {
		b.Queue(`UPDATE shared SET sealed = '' WHERE key = ANY ($1) AND maker = $2`, blanks.keys, l.instance)
	}
	if len(drops.keys) > 0 {
		b.Queue(`DELETE FROM shared WHERE key = ANY ($1) AND maker = $2`, drops.keys, l.instance)
	}
	if len(unlive.keys) > 0 {
		b.Queue(`DELETE FROM live WHERE instance = $1 AND key = ANY ($2)`, l.instance, unlive.keys)
	}
	if len(post.instances) > 0 {
		b.Queue(`INSERT INTO letter (instance, sealed, mac) SELECT * FROM unnest($1::text[], $2::bytea[], $3::bytea[])`, post.instances, post.bodies, post.macs)
	}
	events.insert(b)
	return tx.SendBatch(ctx, b).Close()
}

// add makes a row of an event.
func (e *bunch) add(db *postgres, t isogate.Tenant, body []byte) {
	id := make([]byte, 16)
	_, _ = rand.Read(id)
	e.keys, e.tenants, e.bodies = append(e.keys, id), append(e.tenants, string(t)), append(e.bodies, body)
	e.macs = append(e.macs, db.mac("event", id, []byte(t), body))
}

func (e *bunch) insert(b *pgx.Batch) {
	if len(e.keys) > 0 {
		b.Queue(`INSERT INTO event (id, tenant, body, mac) SELECT * FROM unnest($1::bytea[], $2::text[], $3::bytea[], $4::bytea[])`, e.keys, e.tenants, e.bodies, e.macs)
	}
}

// cut implements books. Whatever member wrote the events, the one that comes first
// makes receipts of them.
func (l *sharedLedger) cut(ctx context.Context, now time.Time) error {
	release, err := l.acquire(ctx)
	if err != nil {
		return err
	}
	defer release()
	l.mu.Lock()
	keep := l.later[:0]
	for _, it := range l.later {
		if now.UnixMilli() < it.until {
			keep = append(keep, it)
			continue
		}
		l.queue = append(l.queue, it)
		l.queued++
	}
	clear(l.later[len(keep):])
	l.later = keep
	l.mu.Unlock()
	if err := l.write(); err != nil {
		return err
	}
	for more := true; more; {
		n := 0
		err := l.db.do(ctx, func(ctx context.Context, tx pgx.Tx) (err error) {
			n, more, err = l.receipts(ctx, tx, now)
			return err
		})
		if err != nil {
			l.took(err)
			return err
		}
		l.metrics.receipts.Add(float64(n))
	}
	return nil
}

// receipts signs one receipt for every tenant with events. It reports whether there
// may be more.
//
// promise: P41
func (l *sharedLedger) receipts(ctx context.Context, tx pgx.Tx, now time.Time) (n int, more bool, err error) {
	rows, err := tx.Query(ctx, `SELECT DISTINCT tenant FROM event ORDER BY tenant`)
	if err != nil {
		return 0, false, err
	}
	tenants, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(tenants) == 0 {
		return 0, false, err
	}
	if err := l.db.alive(ctx, tx, l.instance); err != nil {
		return 0, false, err
	}
	for _, t := range tenants {
		full, signed, err := l.receipt(ctx, tx, t, now)
		if err != nil {
			return 0, false, err
		}
		more = more || full
		if signed {
			n++
		}
	}
	return n, more, nil
}

// link reads where a tenant's chain ends, and holds it until the transaction ends.
func (l *sharedLedger) link(ctx context.Context, tx pgx.Tx, t string) (end link, err error) {
	if _, err := tx.Exec(ctx, `INSERT INTO chain (tenant, number, digest, mac) VALUES ($1, 0, '', $2) ON CONFLICT DO NOTHING`, t, l.chainMAC(t, link{})); err != nil {
		return end, err
	}
	var mac []byte
	if err := tx.QueryRow(ctx, `SELECT number, digest, mac FROM chain WHERE tenant = $1 FOR UPDATE`, t).Scan(&end.number, &end.digest, &mac); err != nil {
		return end, err
	}
	if !l.db.made(mac, "chain", chainParts(t, end)...) {
		return end, fmt.Errorf("the end of the chain of receipts of tenant %s was written by somebody else; find out who may write into the database, and restore its newest backup", t)
	}
	return end, nil
}

func chainParts(t string, end link) [][]byte {
	return [][]byte{[]byte(t), fmt.Appendf(nil, "%d", end.number), []byte(end.digest)}
}

func (l *sharedLedger) chainMAC(t string, end link) []byte {
	return l.db.mac("chain", chainParts(t, end)...)
}

// receipt signs one receipt for a tenant. Full says that it holds as much as it can.
func (l *sharedLedger) receipt(ctx context.Context, tx pgx.Tx, t string, now time.Time) (full, signed bool, err error) {
	end, err := l.link(ctx, tx, t)
	if err != nil {
		return false, false, err
	}
	rows, err := tx.Query(ctx, `SELECT id, body, mac FROM event WHERE tenant = $1 ORDER BY n LIMIT $2`, t, seal.MaxEvents)
	if err != nil {
		return false, false, err
	}
	defer rows.Close()
	var ids [][]byte
	var events []seal.Event
	for rows.Next() {
		var id, body, mac []byte
		if err := rows.Scan(&id, &body, &mac); err != nil {
			return false, false, err
		}
		ids = append(ids, id)
		if !l.db.made(mac, "event", id, []byte(t), body) {
			l.metrics.forged.Inc()
			continue
		}
		var e seal.Event
		if err := json.Unmarshal(body, &e); err != nil {
			return false, false, err
		}
		events = append(events, e)
	}
	if err := rows.Err(); err != nil || len(ids) == 0 {
		return false, false, err
	}
	b := &pgx.Batch{}
	b.Queue(`DELETE FROM event WHERE id = ANY ($1)`, ids)
	if len(events) > 0 {
		r := seal.Receipt{Landing: l.signer.Name(), Destination: l.destination, Tenant: isogate.Tenant(t), Number: end.number + 1, Previous: end.digest,
			Time: now.UTC().Truncate(time.Millisecond), Events: events}
		text, err := r.Sign(l.signer)
		if err != nil {
			return false, false, fmt.Errorf("sign receipt %d of tenant %s: %w", r.Number, t, err)
		}
		end = link{r.Number, seal.Digest(text)}
		b.Queue(`INSERT INTO receipt (tenant, number, at, note) VALUES ($1, $2, $3, $4)`, t, end.number, now.Unix(), text)
		b.Queue(`UPDATE chain SET number = $2, digest = $3, mac = $4 WHERE tenant = $1`, t, end.number, end.digest, l.chainMAC(t, end))
	}
	return len(ids) == seal.MaxEvents, len(events) > 0, tx.SendBatch(ctx, b).Close()
}

func (l *sharedLedger) fetch(ctx context.Context, t isogate.Tenant, after uint64, limit int) (notes [][]byte, more bool, err error) {
	if after >= 1<<63 {
		return nil, false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, postgresPatience)
	defer cancel()
	//nolint:gosec // seen above
	rows, err := l.db.pool.Query(ctx, `SELECT note FROM receipt WHERE tenant = $1 AND number > $2 ORDER BY number LIMIT $3`, string(t), int64(after), limit+1)
	if err == nil {
		notes, err = pgx.CollectRows(rows, pgx.RowTo[[]byte])
	}
	if err != nil {
		return nil, false, fmt.Errorf("vault: %s: %w", l.db.place, err)
	}
	if more = len(notes) > limit; more {
		notes = notes[:limit]
	}
	return notes, more, nil
}

func (l *sharedLedger) prune(ctx context.Context, before time.Time) error {
	return l.db.do(ctx, func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `DELETE FROM receipt WHERE at < $1`, before.Unix())
		return err
	})
}

// close ends the ledger once what is being written is. What is queued is lost; cut
// comes before it. What waits for its window's end is told by who takes up what
// this member left.
func (l *sharedLedger) close() error {
	<-l.writing
	defer func() { l.writing <- struct{}{} }()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	return nil
}
