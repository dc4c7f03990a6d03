package custody

import (
	"container/list"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/seal"
)

// hold is the seal keys that this gateway has for one landing, and the statement
// that new ones are wrapped to. It outlives a change of the pack.
type hold struct {
	destination isogate.Destination
	cfg         *Config
	stale       chan struct{} // holds one token when the statement must be fetched now
	ask         chan struct{} // holds one token when receipts must be asked for now

	mu        sync.Mutex // guards what follows
	statement *seal.Statement
	trouble   error     // why the last statement was not had; nil if it was
	fetched   time.Time // when the last one was had
	inUse     map[use]*list.Element
	order     *list.List       // of *kept; the one used last is first
	sessions  map[string][]use // in use
	byID      map[seal.ID]*kept
	retired   []retired
	dropped   bool
	asked     time.Time // when the landing was last asked about keys whose receipts are overdue
	repeated  time.Time // and when its open erasures were last asked for again
}

// use is what one key is for: a session on a transit, or a time to live on it.
type use struct {
	transit isogate.Transit
	session string
	ttl     time.Duration
}

// kept is a key that this gateway has made.
type kept struct {
	use
	sealer *seal.Sealer
	idle   time.Duration // of the session; 0 of a temporary key
	used   time.Time     // last, by the monotonic clock
	shared bool          // by several requests

	mu   sync.Mutex // guards what follows, while its entry is appended too
	sent bool       // there is an entry that it leaves
}

// retired is a key that no new request uses; those under way still do.
type retired struct {
	sealer *seal.Sealer
	since  time.Time
}

// retirement is how long requests under way may still use a key that was replaced.
const retirement = 15 * time.Minute

// unsent is how long a request may take from asking for a key of its own to sending it.
const unsent = 2 * time.Minute

func newHold(d isogate.Destination, cfg *Config) *hold {
	return &hold{destination: d, cfg: cfg, stale: make(chan struct{}, 1), ask: make(chan struct{}, 1), inUse: map[use]*list.Element{}, order: list.New(), sessions: map[string][]use{}, byID: map[seal.ID]*kept{}}
}

// current is the statement in force, or nil.
func (h *hold) current() *seal.Statement {
	h.mu.Lock()
	defer h.mu.Unlock()
	if st := h.statement; st != nil && h.cfg.Now().Before(st.NotAfter) {
		return st
	}
	return nil
}

// state takes a statement, or why there is none. One that is older than what is
// known already is not taken: an epoch that was left is not gone back to.
func (h *hold) state(st *seal.Statement, trouble error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if trouble == nil && h.statement != nil && st.NotBefore.Before(h.statement.NotBefore) && h.statement.Home == st.Home {
		trouble = errors.New("the statement is older than the one before")
	}
	if h.trouble = trouble; trouble == nil {
		h.statement, h.fetched = st, h.cfg.Now()
	}
	return trouble
}

// key is the key for a request's values.
func (h *hold) key(cx seal.Context) (*seal.Sealer, error) {
	now := h.cfg.Now()
	u := use{cx.Transit, cx.Session, cx.TTL}
	shared := !cx.ByRequest
	h.mu.Lock()
	if shared {
		if k := h.usable(u, now); k != nil {
			k.used = now
			h.order.MoveToFront(h.inUse[u])
			h.mu.Unlock()
			return k.sealer, nil
		}
	}
	st := h.statement
	h.mu.Unlock()
	if st == nil || !now.Before(st.NotAfter) {
		signal(h.stale)
		// Why, with addresses and all, is for administrators; this goes to a caller.
		return nil, fmt.Errorf("destination %s: its landing has no statement in force, so that nothing can be sealed for it; see isogate subject landings", h.destination)
	}
	sealer, err := seal.NewSealer(cx, st, h.cfg.Now)
	if err != nil {
		return nil, fmt.Errorf("destination %s: %w", h.destination, err)
	}
	k := &kept{use: u, sealer: sealer, used: now, shared: shared}
	if cx.Handling == isogate.TransitOnly && shared {
		k.idle = st.Idle
	}
	return h.keep(k, now)
}

// usable is the key in use for u, if the landing may be expected to hold it for as
// long as a request takes to get there: one that has rested for nearly as long as
// the landing allows is given up before the landing does so. The lock is held.
func (h *hold) usable(u use, now time.Time) *kept {
	el := h.inUse[u]
	if el == nil {
		return nil
	}
	k, _ := el.Value.(*kept)
	if k.sealer.Sealing() && (k.idle == 0 || now.Sub(k.used) < k.idle-min(k.idle/10, 30*time.Second)) {
		return k
	}
	h.retire(k, now)
	return nil
}

// keep keeps a new key, unless another request was faster.
func (h *hold) keep(k *kept, now time.Time) (*seal.Sealer, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.dropped {
		k.sealer.Destroy()
		return nil, fmt.Errorf("destination %s has another landing now; send the request again", h.destination)
	}
	if k.shared {
		if first := h.usable(k.use, now); first != nil {
			k.sealer.Destroy()
			return first.sealer, nil
		}
		h.inUse[k.use] = h.order.PushFront(k)
		if k.session != "" {
			h.sessions[k.session] = append(h.sessions[k.session], k.use)
		}
	}
	h.byID[k.sealer.ID()] = k
	for h.order.Len() > h.cfg.MaxKeys {
		if last, ok := h.order.Back().Value.(*kept); ok {
			h.retire(last, now)
		}
	}
	return k.sealer, nil
}

// retire takes a key out of use. The lock is held.
func (h *hold) retire(k *kept, now time.Time) {
	if el := h.inUse[k.use]; el != nil && el.Value == k {
		delete(h.inUse, k.use)
		h.order.Remove(el)
		if k.session != "" {
			rest := slices.DeleteFunc(h.sessions[k.session], func(u use) bool { return u == k.use })
			if h.sessions[k.session] = rest; len(rest) == 0 {
				delete(h.sessions, k.session)
			}
		}
	}
	h.retired = append(h.retired, retired{k.sealer, now})
}

// sending records that a key leaves, unless that is recorded. One of a single request
// is from then on that request's alone.
func (h *hold) sending(id seal.ID, j Journal) error {
	h.mu.Lock()
	k := h.byID[id]
	h.mu.Unlock()
	if k == nil {
		return errors.New("it was not made here, or too long ago; send the request again")
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.sent {
		return nil
	}
	cx := k.sealer.Context()
	if err := j.AppendLater(sentEntry(id, &cx, k.sealer.Due())); err != nil {
		return err
	}
	k.sent = true
	h.cfg.Metrics.made.WithLabelValues(string(h.destination)).Inc()
	if !k.shared {
		h.mu.Lock()
		delete(h.byID, id)
		h.mu.Unlock()
	}
	return nil
}

func (h *hold) held(id seal.ID) {
	h.mu.Lock()
	k := h.byID[id]
	h.mu.Unlock()
	if k != nil {
		k.sealer.SetHeld()
	}
}

// lost takes keys that the landing refused out of use, and returns those of them
// that it never held: it says so of all keys by a code that is about their arrival.
func (h *hold) lost(code string, ids []seal.ID) (never []seal.ID) {
	arrival := code == seal.CodeUnknownEpoch || code == seal.CodeStale || code == seal.CodeDamaged || code == seal.CodeFull
	now := h.cfg.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, id := range ids {
		k := h.byID[id]
		if arrival && (k == nil || !k.sealer.Held()) {
			never = append(never, id)
		}
		if k == nil {
			continue
		}
		h.retire(k, now)
		delete(h.byID, id)
	}
	if code == seal.CodeUnknownEpoch {
		// What was stated does not hold any more: the landing was started anew.
		h.statement = nil
		signal(h.stale)
	}
	return never
}

// end takes the keys of a session out of use, and wipes them: what requests under way
// still seal would not be opened any more.
func (h *hold) end(session string) {
	now := h.cfg.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, u := range slices.Clone(h.sessions[session]) {
		if k, ok := h.inUse[u].Value.(*kept); ok {
			h.retire(k, now)
			k.sealer.Destroy()
		}
	}
}

// sweep wipes what nobody can use any more.
func (h *hold) sweep() {
	now := h.cfg.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	for u := range h.inUse {
		h.usable(u, now) // retires what is not
	}
	left := h.retired[:0]
	for _, r := range h.retired {
		if now.Sub(r.since) < retirement {
			left = append(left, r)
			continue
		}
		r.sealer.Destroy()
		delete(h.byID, r.sealer.ID())
	}
	clear(h.retired[len(left):])
	h.retired = left
	for id, k := range h.byID {
		// A request that was refused for another reason leaves its own key behind.
		if !k.shared && now.Sub(k.used) > unsent {
			k.sealer.Destroy()
			delete(h.byID, id)
		}
	}
}

// drop gives everything up: the landing is not the destination's any more.
func (h *hold) drop() {
	now := h.cfg.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.dropped, h.statement = true, nil
	for _, el := range h.inUse {
		if k, ok := el.Value.(*kept); ok {
			h.retire(k, now)
		}
	}
}

// askEvery is how often a landing is asked about keys whose receipts are overdue.
const askEvery = time.Minute

func (h *hold) mayAsk() bool { return h.may(&h.asked, askEvery) }

func (h *hold) mayRepeat() bool { return h.may(&h.repeated, h.cfg.Repeat) }

// may reports whether a span has passed since the last time that it said yes.
func (h *hold) may(last *time.Time, every time.Duration) bool {
	now := h.cfg.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	if !last.IsZero() && now.Sub(*last) < every {
		return false
	}
	*last = now
	return true
}
