package landing

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/http1"
	"github.com/isogate/isogate/internal/seal"
)

// Erase is how the service is told to erase identifiers that it was given.
type Erase struct {
	// URL takes POST; required where labels are acknowledged. https, or http to an
	// address of this machine.
	URL string
	// EscalateAfter is how long the service has before an erasure is overdue; 24
	// hours if it is 0.
	EscalateAfter time.Duration
	// Timeout bounds one call; 30 seconds if it is 0.
	Timeout time.Duration
}

// erasureState is how far an erasure is.
type erasureState string

const (
	erasureWaiting   erasureState = "waiting"
	erasureOverdue   erasureState = "overdue"
	erasureConfirmed erasureState = "confirmed"
)

var (
	errErasureDiffers = errors.New("the erasure has other identifiers")
	errErasuresFull   = errors.New("too many erasures wait")
)

const (
	// maxErasures is how many of one tenant may wait, and maxErasing how many bytes
	// their values may have together, which are kept in memory.
	maxErasures = 10_000
	maxErasing  = 32 << 20
	// keepErasures is for how long an erasure that is done is still known by its id.
	keepErasures = 30 * 24 * time.Hour
	// firstPause and longestPause are between two calls about one erasure.
	firstPause, longestPause = 5 * time.Second, time.Hour
	// lookAgain is how often erasures are looked through that nobody woke.
	lookAgain = 15 * time.Second
	// HeaderSignature is the call-out's: a signed note over its body's digest, in base64.
	HeaderSignature = "Isogate-Signature"
)

// secret is a value that is to be erased. It is in memory only, until the service
// confirms, and prints as REDACTED.
type secret string

// LogValue implements [slog.LogValuer].
func (secret) LogValue() slog.Value { return slog.StringValue("REDACTED") }

func (secret) String() string { return "REDACTED" }

// Format implements [fmt.Formatter], so that no verb reaches the value.
func (secret) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte("REDACTED")) }

// MarshalText implements [encoding.TextMarshaler].
func (secret) MarshalText() ([]byte, error) { return []byte("REDACTED"), nil }

// erasures calls the service until it has erased what it was asked to. An erasure
// is on disk without its values: after a restart the gateway that asked for it
// brings them again.
//
// promise: P17
type erasures struct {
	l      *Landing
	store  *store
	client *http1.Client
	origin origin
	target string
	cfg    Erase
	wake   chan struct{}

	mu    sync.Mutex    // guards what follows
	first time.Duration // the pause after the first call that brought nothing
	jobs  map[jobKey]*job
	dirty bool // deleted rows may still be in the write-ahead log
}

type jobKey struct {
	tenant isogate.Tenant
	id     string
}

// job is an erasure that is not done, or whose end nobody was told of.
type job struct {
	task
	valued bool      // its rows have their values
	tries  int       // calls that brought nothing
	next   time.Time // when to call again
	called time.Time // when the newest call began
}

func newErasures(l *Landing, s *store) (*erasures, error) {
	e := &erasures{l: l, store: s, cfg: l.cfg.Erase, jobs: map[jobKey]*job{}, first: firstPause, wake: make(chan struct{}, 1)}
	if e.cfg.EscalateAfter <= 0 {
		e.cfg.EscalateAfter = 24 * time.Hour
	}
	if e.cfg.Timeout <= 0 {
		e.cfg.Timeout = 30 * time.Second
	}
	if e.cfg.URL == "" {
		if len(l.cfg.Acknowledges) > 0 {
			return nil, errors.New("landing: labels are acknowledged, but nobody is told to erase them; set erase.url, or leave out acknowledges")
		}
	} else {
		var err error
		if e.origin, e.target, err = parseOrigin(e.cfg.URL); err != nil {
			return nil, fmt.Errorf("landing: erase.url: %w", err)
		}
	}
	e.client = &http1.Client{Dial: l.cfg.Dial, TLS: l.cfg.ServiceTLS, Wipe: true, Limits: http1.Limits{Body: 64 << 10}, CloseDelimited: true}
	tasks, err := s.tasks(context.Background())
	if err != nil {
		return nil, fmt.Errorf("landing: register %s: %w", s.path, err)
	}
	for _, t := range tasks {
		e.jobs[jobKey{t.tenant, t.id}] = &job{task: *t}
		l.register.opened(t.tenant, t.rows)
	}
	e.count()
	return e, nil
}

// ask takes an erasure, or sees that it is known, and returns how far it is.
func (e *erasures) ask(ctx context.Context, t isogate.Tenant, id string, rows []identifier) (erasureState, error) {
	k := jobKey{t, id}
	rows = slices.Clone(rows)
	slices.SortFunc(rows, func(a, b identifier) int {
		return strings.Compare(string(a.Label)+"\x00"+a.ID, string(b.Label)+"\x00"+b.ID)
	})
	rows = slices.CompactFunc(rows, sameRow)
	e.mu.Lock()
	defer e.mu.Unlock()
	j := e.jobs[k]
	if (j == nil || !j.valued) && e.kept(t)+kept(rows) > maxErasing {
		return "", errErasuresFull
	}
	if j == nil {
		old, err := e.store.task(ctx, t, id)
		if err != nil {
			return "", err
		}
		if old != nil {
			if !slices.EqualFunc(old.rows, rows, sameRow) {
				return "", errErasureDiffers
			}
			if old.noted || !e.shared() {
				return old.state, nil // done, and everybody was told
			}
			// Another landing of the cluster was asked first; two that ask do no harm.
			j = &job{task: *old}
			e.jobs[k] = j
			e.l.register.opened(t, rows)
			e.count()
		}
	}
	if j == nil {
		waiting := 0
		for other := range e.jobs {
			if other.tenant == t {
				waiting++
			}
		}
		if waiting >= maxErasures {
			return "", errErasuresFull
		}
		asked := e.l.now()
		if e.shared() {
			var err error
			if asked, err = e.store.clock(ctx); err != nil {
				return "", err
			}
		}
		j = &job{task: task{tenant: t, id: id, state: erasureWaiting, asked: asked, rows: rows}}
		if err := e.store.ask(ctx, &j.task); err != nil {
			return "", err
		}
		e.jobs[k] = j
		e.l.register.opened(t, rows)
		e.count()
	}
	if !slices.EqualFunc(j.rows, rows, sameRow) {
		return "", errErasureDiffers
	}
	if !j.valued && j.state != erasureConfirmed {
		j.rows, j.valued, j.next = rows, true, time.Time{}
	}
	e.stir()
	return j.state, nil
}

// kept is how many bytes the values of a tenant's erasures have. The caller holds mu.
func (e *erasures) kept(t isogate.Tenant) (n int) {
	for k, j := range e.jobs {
		if k.tenant == t {
			n += kept(j.rows)
		}
	}
	return n
}

func kept(rows []identifier) (n int) {
	for _, r := range rows {
		n += len(r.Value)
	}
	return n
}

func sameRow(a, b identifier) bool { return a.Label == b.Label && a.ID == b.ID }

// state is how far an erasure is.
func (e *erasures) state(t isogate.Tenant, id string) (erasureState, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if j := e.jobs[jobKey{t, id}]; j != nil {
		return j.state, true
	}
	old, err := e.store.task(context.Background(), t, id)
	if err != nil || old == nil {
		return "", false
	}
	return old.state, true
}

// confirmed takes the service's word, later than the call that asked for it.
func (e *erasures) confirmed(ctx context.Context, t isogate.Tenant, id string) bool {
	e.mu.Lock()
	j := e.jobs[jobKey{t, id}]
	e.mu.Unlock()
	if j == nil {
		state, ok := e.state(t, id)
		return ok && state == erasureConfirmed
	}
	e.done(ctx, j, "confirmed")
	e.stir()
	return true
}

func (e *erasures) stir() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// run calls, escalates and tells until ctx ends.
func (e *erasures) run(ctx context.Context) {
	for {
		e.reload(ctx)
		next := e.round(ctx)
		t := time.NewTimer(next)
		select {
		case <-t.C:
		case <-e.wake:
		case <-ctx.Done():
			t.Stop()
			return
		}
		t.Stop()
	}
}

// round looks through all erasures once and returns when to look again.
func (e *erasures) round(ctx context.Context) time.Duration {
	e.mu.Lock()
	jobs := make([]*job, 0, len(e.jobs))
	for _, j := range e.jobs {
		jobs = append(jobs, j)
	}
	e.mu.Unlock()
	slices.SortFunc(jobs, func(a, b *job) int { return a.asked.Compare(b.asked) })
	answers := true
	for _, j := range jobs {
		if ctx.Err() != nil {
			return lookAgain
		}
		// A service that does not answer is asked once in a round: waiting for it with
		// each erasure would keep those behind from being told to be overdue, or done.
		answers = e.see(ctx, j, answers)
	}
	e.tidy(ctx)
	wait := lookAgain
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.l.now()
	for _, j := range e.jobs {
		if j.state == erasureConfirmed {
			wait = min(wait, time.Second) // it could not be written down; again soon
			continue
		}
		if j.valued && e.cfg.URL != "" {
			wait = min(wait, j.next.Sub(now))
		}
		if left := e.cfg.EscalateAfter - now.Sub(j.asked); !j.overdue && left > 0 {
			wait = min(wait, left)
		} else if !j.overdue {
			wait = min(wait, time.Second) // it could not be written down; again soon
		}
	}
	return max(wait, 10*time.Millisecond)
}

// see does what is next for one erasure, and calls the service if it answers. It
// reports whether it does.
func (e *erasures) see(ctx context.Context, j *job, answers bool) bool {
	e.mu.Lock()
	state, overdue, asked := j.state, j.overdue, j.asked
	due := j.valued && !e.l.now().Before(j.next) && e.cfg.URL != ""
	e.mu.Unlock()
	if state != erasureConfirmed && due && answers {
		answers = e.call(ctx, j)
	}
	e.mu.Lock()
	state = j.state
	e.mu.Unlock()
	switch {
	case state == erasureConfirmed:
		e.tell(ctx, j)
	case !overdue && e.l.now().Sub(asked) >= e.cfg.EscalateAfter:
		e.escalate(ctx, j)
	}
	return answers
}

// call asks the service to erase, and reports whether it answered.
func (e *erasures) call(ctx context.Context, j *job) bool {
	e.mu.Lock()
	rows := j.rows
	e.mu.Unlock()
	// Before it is asked who is on the way: whoever sets out after that comes later
	// than the call, and stays in the register.
	called, busy := e.now(ctx, j.tenant, rows)
	if busy || e.l.register.busy(j.tenant, rows) {
		e.later(j, time.Second)
		return true
	}
	e.mu.Lock()
	j.called = called
	body := e.body(j)
	e.mu.Unlock()
	defer clear(body)
	status, err := e.post(ctx, j.id, body)
	switch {
	case err != nil:
		e.l.metrics.callOuts.WithLabelValues("failed").Inc()
		e.l.logger.Warn("the service could not be called about an erasure", slog.String("tenant", string(j.tenant)), slog.String("erasure", j.id), slog.Any("error", err))
	case status == 200 || status == 204:
		e.l.metrics.callOuts.WithLabelValues("erased").Inc()
		e.done(ctx, j, "erased")
		return true
	case status == 404:
		e.l.metrics.callOuts.WithLabelValues("nothing-held").Inc()
		e.done(ctx, j, "nothing held")
		return true
	case status == 202:
		e.l.metrics.callOuts.WithLabelValues("later").Inc()
	default:
		e.l.metrics.callOuts.WithLabelValues("refused").Inc()
		e.l.logger.Warn("the service did not erase", slog.String("tenant", string(j.tenant)), slog.String("erasure", j.id), slog.Int("status", status))
	}
	e.mu.Lock()
	j.tries++
	pause := min(e.first<<min(j.tries-1, 20), longestPause)
	e.mu.Unlock()
	e.later(j, pause/2+rand.N(pause/2)) //nolint:gosec // it spreads calls, and hides nothing
	return err == nil
}

func (e *erasures) later(j *job, d time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	j.next = e.l.now().Add(d)
}

// body is the call-out as JSON. The caller wipes it.
func (e *erasures) body(j *job) []byte {
	size := 512
	for _, r := range j.rows {
		size += 64 + len(r.Label) + 6*len(r.Value)
	}
	b := make([]byte, 0, size) // never grows, so that it can be wiped
	b = append(b, `{"erasure":`...)
	b = appendString(b, j.id)
	b = append(b, `,"tenant":`...)
	b = appendString(b, string(j.tenant))
	b = append(b, `,"identifiers":[`...)
	for i, r := range j.rows {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"label":`...)
		b = appendString(b, string(r.Label))
		b = append(b, `,"value":`...)
		b = appendString(b, string(r.Value))
		b = append(b, '}')
	}
	b = append(b, `],"deadline":`...)
	b = appendString(b, j.asked.Add(e.cfg.EscalateAfter).UTC().Format(time.RFC3339))
	return append(b, '}')
}

func (e *erasures) post(ctx context.Context, id string, body []byte) (status int, err error) {
	ctx, cancel := context.WithTimeout(ctx, e.cfg.Timeout)
	defer cancel()
	signature, err := signCall(e.l.cfg.Signer, id, body)
	if err != nil {
		return 0, err
	}
	in, err := e.client.Do(ctx, &http1.Outgoing{
		Scheme: e.origin.scheme, Host: e.origin.host, Port: e.origin.port, Method: "POST", Target: e.target, Body: body,
		Header: http1.Fields{{Name: "Content-Type", Value: "application/json"}, {Name: HeaderSignature, Value: signature}},
	})
	if err != nil {
		return 0, err
	}
	return in.Status, in.Body.Close()
}

// signCall signs a call-out: the note's text is the three lines "isogate/erasure/v1",
// the erasure's id, and the SHA-256 of the body in base64.
func signCall(signer note.Signer, id string, body []byte) (string, error) {
	sum := sha256.Sum256(body)
	signed, err := note.Sign(&note.Note{Text: "isogate/erasure/v1\n" + id + "\n" + base64.StdEncoding.EncodeToString(sum[:]) + "\n"}, signer)
	if err != nil {
		return "", fmt.Errorf("landing: sign a call-out: %w", err)
	}
	return base64.StdEncoding.EncodeToString(signed), nil
}

// done writes down that the service has erased, and forgets the values.
func (e *erasures) done(ctx context.Context, j *job, cause string) {
	e.mu.Lock()
	called := j.called
	if called.IsZero() { // before a restart, or by another landing of the cluster
		if called = j.asked; e.shared() {
			called = called.Add(-e.store.settling)
		}
	}
	already, was := j.state == erasureConfirmed, j.task
	e.mu.Unlock()
	if already {
		return
	}
	if err := e.l.register.erased(ctx, &was, cause, called); err != nil {
		e.l.logger.Error("an erasure was confirmed and cannot be written down; it is asked for again", slog.String("erasure", j.id), slog.Any("error", err))
		e.later(j, firstPause)
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	j.state, j.cause, e.dirty = erasureConfirmed, cause, true
	rows := slices.Clone(j.rows)
	for i := range rows {
		rows[i].Value = ""
	}
	j.rows, j.valued = rows, false
}

// tell puts the end of an erasure into the receipts. It may do so twice, never not.
func (e *erasures) tell(ctx context.Context, j *job) {
	err := e.l.cfg.Vault.Note(ctx, j.tenant, seal.Event{Kind: seal.Erased, At: e.milli(), Erasure: j.id, N: uint64(len(j.rows))})
	if err == nil {
		err = e.store.noted(ctx, &j.task, true)
	}
	if err != nil {
		e.l.logger.Error("the end of an erasure cannot be written down; it is tried again", slog.String("erasure", j.id), slog.Any("error", err))
		return
	}
	e.mu.Lock()
	delete(e.jobs, jobKey{j.tenant, j.id})
	e.count()
	e.mu.Unlock()
	e.l.register.closed(j.tenant, j.rows)
}

// escalate says once that the service has not erased in time.
func (e *erasures) escalate(ctx context.Context, j *job) {
	err := e.l.cfg.Vault.Note(ctx, j.tenant, seal.Event{Kind: seal.ErasureOverdue, At: e.milli(), Erasure: j.id})
	if err == nil {
		err = e.store.noted(ctx, &j.task, false)
	}
	if err != nil {
		e.l.logger.Error("that an erasure is overdue cannot be written down; it is tried again", slog.String("erasure", j.id), slog.Any("error", err))
		return
	}
	e.l.logger.Error("an erasure is overdue: the service has not confirmed it", slog.String("tenant", string(j.tenant)), slog.String("erasure", j.id))
	e.mu.Lock()
	defer e.mu.Unlock()
	j.overdue = true
	if j.state != erasureConfirmed {
		j.state = erasureOverdue
	}
	e.count()
}

func (e *erasures) milli() time.Time { return e.l.now().UTC().Truncate(time.Millisecond) }

// tidy empties the write-ahead log of what was deleted, and forgets old erasures.
func (e *erasures) tidy(ctx context.Context) {
	e.mu.Lock()
	dirty := e.dirty
	e.mu.Unlock()
	if !dirty {
		return
	}
	err := e.store.forget(ctx, e.l.now().Add(-keepErasures))
	if err == nil {
		err = e.store.truncate(ctx)
	}
	if err != nil {
		e.l.logger.Warn("what was erased from the register may still be in its write-ahead log; it is tried again", slog.Any("error", err))
		return
	}
	e.mu.Lock()
	e.dirty = false
	e.mu.Unlock()
}

// count tells the metrics. The caller holds mu.
func (e *erasures) count() {
	n := map[erasureState]int{}
	for _, j := range e.jobs {
		n[j.state]++
	}
	for _, s := range []erasureState{erasureWaiting, erasureOverdue} {
		e.l.metrics.erasures.WithLabelValues(string(s)).Set(float64(n[s]))
	}
}

// forget drops the values at the end.
func (e *erasures) forget() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.client.CloseIdle()
	clear(e.jobs)
}
