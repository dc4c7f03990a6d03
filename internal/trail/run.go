package trail

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/isogate/isogate"
)

const (
	// readAtOnce is how many entries are read in one piece. Between two pieces others have their turn.
	readAtOnce = 256
	// keptLate is how many ends of written rows wait for the next block at the most.
	keptLate = 4096
	// restMost is the longest pause while the trail is behind, and after a failure.
	restMost = 5 * time.Second
)

// Run follows the journal until ctx ends. What fails is tried again, and is told by
// [Trail.Standing]; pages then tell what the trail knew before.
func (t *Trail) Run(ctx context.Context) error {
	pause := time.NewTimer(0)
	defer pause.Stop()
	failed := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-pause.C:
		}
		began := time.Now()
		current, err := t.step(ctx)
		if ctx.Err() != nil {
			return nil
		}
		switch {
		case err != nil:
			if !failed {
				t.cfg.Logger.Error("the trail of the journal is not kept up; nothing else depends on it", slog.String("trail", t.cfg.Dir), slog.Any("error", err))
			}
			failed = true
			pause.Reset(min(restMost, 4*t.cfg.Every))
		case current:
			pause.Reset(t.cfg.Every)
		default:
			// The gateway comes first.
			took := time.Since(began)
			pause.Reset(min(restMost, time.Duration(float64(took)*(1/t.cfg.Share-1))))
		}
		if err == nil && failed {
			failed = false
			t.cfg.Logger.Info("the trail of the journal is kept up again", slog.String("trail", t.cfg.Dir))
		}
	}
}

// errPutBack says that the journal is not the one that was read.
var errPutBack = errors.New("the journal does not have what was read from it before; was it put back to an older state?")

// step reads a piece of the journal, and reports whether there was no more.
func (t *Trail) step(ctx context.Context) (current bool, err error) {
	at := time.Now()
	defer func() { t.stand(at, err) }()
	if t.store == nil {
		if err := t.load(ctx); err != nil {
			return false, err
		}
	}
	if err := t.store.taken(); err != nil {
		return false, t.again(ctx, err)
	}
	if why := t.doubt.Swap(nil); why != nil {
		return false, t.again(ctx, *why)
	}
	if err = t.settle(ctx); err == nil {
		current, err = t.read(ctx)
	}
	if err == nil && t.digesting {
		t.digesting, err = t.digestDays(ctx)
		current = current && !t.digesting
	}
	if errors.Is(err, errPutBack) || harmed(err) {
		return false, t.again(ctx, err)
	}
	return current, err
}

// again throws the trail away and begins anew.
func (t *Trail) again(ctx context.Context, why error) error {
	t.cfg.Logger.Warn("the trail is thrown away and built again from the journal", slog.String("trail", t.cfg.Dir), slog.Any("reason", why))
	// What is closed is not used any more, whatever is said about it.
	if err := t.leave(); err != nil && !harmed(err) {
		t.cfg.Logger.Warn("the old trail is not closed as it should be", slog.String("trail", t.cfg.Dir), slog.Any("error", err))
	}
	if err := discard(t.cfg.Dir); err != nil {
		return fmt.Errorf("trail: %w; delete the directory, it is built again", err)
	}
	return t.load(ctx)
}

// leave closes the file, which is to be thrown away. Who reads it just now gets an error.
func (t *Trail) leave() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.store
	t.store, t.now, t.standing.At = nil, position{}, time.Time{}
	return s.close()
}

// stand tells others how it stands after a look.
func (t *Trail) stand(at time.Time, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := &t.standing
	s.Fault, s.Next = err, t.now.next
	if err == nil {
		s.At = at
	}
	switch {
	case err == nil && s.Next >= s.Of:
		s.Behind, s.Rebuilding = time.Time{}, false
	case s.Behind.IsZero():
		s.Behind = at
	}
}

// read reads a piece and takes it in.
func (t *Trail) read(ctx context.Context) (current bool, err error) {
	from := t.now.next
	check := from > 0 && t.now.before != ""
	if check {
		from--
	}
	pieces := make([]piece, 0, readAtOnce)
	next, of, err := t.cfg.Journal.Bodies(ctx, from, readAtOnce, func(seq uint64, body []byte) error {
		if check && seq == from {
			if idOf(body) != t.now.before {
				return errPutBack
			}
			check = false
			return nil
		}
		pieces = append(pieces, t.glances.piece(seq, body))
		return nil
	})
	if err == nil && (check || next < t.now.next) {
		err = errPutBack
	}
	if err != nil {
		return false, err
	}
	for i := range pieces {
		if err := t.fold(ctx, &pieces[i]); err != nil {
			return false, err
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := next - t.now.next; n > 0 { // the last of them are missing
		t.now.flaws.found(t.now.next)
		t.now.flaws.missing += n
		t.now.next, t.now.before = next, ""
	}
	t.standing.Of = of
	if len(pieces) > 0 {
		close(t.more)
		t.more = make(chan struct{})
	}
	return next >= of, nil
}

// idOf reads the ID at its fixed place in an entry.
func idOf(body []byte) isogate.EntryID {
	const at, length = len(`{"id":"`), 26
	if len(body) < at+length {
		return ""
	}
	return isogate.EntryID(body[at : at+length])
}

// fold takes one entry in: it makes a row, or ends one.
func (t *Trail) fold(ctx context.Context, p *piece) error {
	if p.bad && p.id == "" { // it is beside what was before it
		p.ms = t.lastMS()
	}
	closing := !p.bad && !p.known && p.entry.Kind == isogate.KindEgress && p.entry.Stage == isogate.StageClosed
	if !closing && len(t.tail) > 0 && (len(t.tail) >= t.bounds.rows || hour(p.ms) != hour(t.tail[0].ms)) {
		if err := t.complete(ctx); err != nil {
			return err
		}
	}
	var ends []found
	var stray uint64
	if closing {
		var err error
		if ends, stray, err = t.ends(ctx, &p.entry); err != nil {
			return err
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := p.seq - t.now.next; n > 0 {
		t.now.flaws.found(t.now.next)
		t.now.flaws.missing += n
		t.now.before = ""
	}
	if !closing {
		if t.now.next = p.seq; len(t.tail) == 0 {
			t.atTail = t.now
		}
		t.tail = append(t.tail, t.rowOf(p))
	}
	t.now.flaws.stray += stray
	for i := range ends {
		t.end(&ends[i])
	}
	t.now.next, t.now.before = p.seq+1, p.id
	return nil
}

// rowOf is the row of an entry.
func (t *Trail) rowOf(p *piece) row {
	switch {
	case p.bad:
		t.now.flaws.found(p.seq)
		t.now.flaws.unreadable++
		return t.dict.made(&isogate.Entry{Kind: kindUnreadable, Seq: p.seq}, p.ms)
	case p.known:
		if p.was.opened {
			t.open.add(p.id, openRow{p.seq, p.row.shape})
		}
		return p.row
	}
	r := t.dict.made(&p.entry, p.ms)
	opened := t.dict.shapes[r.shape].release()
	t.glances.remember(p.key, seen{r.shape, r.more, opened})
	if opened {
		t.open.add(p.id, openRow{p.seq, r.shape})
	}
	return r
}

func (t *Trail) lastMS() int64 {
	if n := len(t.tail); n > 0 {
		return t.tail[n-1].ms
	}
	if n := len(t.blocks); n > 0 {
		return t.blocks[n-1].until
	}
	return 0
}

// settle writes what cannot wait, and what could not be written before.
func (t *Trail) settle(ctx context.Context) error {
	if len(t.late) < keptLate && len(t.tail) < t.bounds.rows {
		return nil
	}
	if len(t.tail) >= t.bounds.rows {
		return t.complete(ctx)
	}
	return t.write(ctx, false)
}

// complete makes a block of the tail.
func (t *Trail) complete(ctx context.Context) error { return t.write(ctx, true) }

// write brings ends of earlier rows into their blocks and, if it is complete, makes a block of the tail.
func (t *Trail) write(ctx context.Context, complete bool) error {
	b := batch{was: t.written, now: t.now, fields: t.dict.fields[t.fields:], fieldsAt: t.fields, shapes: t.dict.shapes[t.shapes:], shapesAt: t.shapes, rows: map[int64][]row{}}
	if len(t.tail) > 0 && !complete {
		b.now = t.atTail
	}
	for seq, e := range t.late {
		no, ok := blockOf(t.blocks, seq)
		if !ok {
			continue
		}
		rows, ok := b.rows[no]
		if !ok {
			raw, err := t.store.columns(ctx, no)
			if err == nil {
				rows, err = readRows(raw, nil, len(t.dict.shapes))
			}
			if err != nil {
				return fmt.Errorf("trail %s: %w", t.store.path, err)
			}
			b.rows[no] = rows
		}
		if i, ok := rowOf(rows, seq); ok {
			rows[i].finish(&e)
		}
	}
	if complete && len(t.tail) > 0 {
		n := len(t.tail)
		b.new = &block{no: int64(len(t.blocks)), first: t.tail[0].seq, last: t.tail[n-1].seq, since: t.tail[0].ms, until: t.tail[0].ms}
		for i := range t.tail { // in their order, unless somebody changed the journal
			b.new.since, b.new.until = min(b.new.since, t.tail[i].ms), max(b.new.until, t.tail[i].ms)
		}
		b.rows[b.new.no] = t.tail
	}
	if err := t.store.write(ctx, &b, t.dict.shapes); err != nil {
		return fmt.Errorf("trail %s: %w", t.store.path, err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.written, t.fields, t.shapes = b.now, len(t.dict.fields), len(t.dict.shapes)
	blocks := append([]block(nil), t.blocks...)
	for no, rows := range b.rows {
		if b.new != nil && no == b.new.no {
			b.new.shapes = shapesOf(rows)
			continue
		}
		t.digested = min(t.digested, dayStart(blocks, int(no)))
		blocks[no].shapes = shapesOf(rows)
	}
	if b.new != nil {
		blocks = append(blocks, *b.new)
		t.tail = nil
		t.atTail = t.now
	}
	t.blocks = blocks
	t.days = withoutDays(t.days, func(no int64) bool { _, ok := b.rows[no]; return ok })
	t.digesting = true
	t.late = map[uint64]ending{}
	return nil
}
