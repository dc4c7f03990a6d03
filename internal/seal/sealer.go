package seal

import (
	"crypto/cipher"
	"encoding/binary"

	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/obfuscate"
)

// Sealer is one seal key as the gateway that made it has it: in memory only. It
// is safe for concurrent use and prints as REDACTED.
type Sealer struct {
	ctx       Context
	id        ID
	now       func() time.Time
	made      time.Time // with the monotonic reading
	longest   time.Duration
	wrapUntil time.Time // when the epoch is over
	aad       []byte    // context and ID
	member    []byte    // of the header, up to the age

	requests  atomic.Uint64
	held      atomic.Bool
	scratches sync.Pool

	mu      sync.RWMutex // guards what follows; read-locked while the key is in use
	gcm     cipher.AEAD  // nil once destroyed
	wrapped []byte       // base64; nil once held
}

// NewSealer makes a key for c and wraps it to the landing side that stated to.
// It sets Window and Made of the context itself. Now is the clock, nil for
// [time.Now]; its monotonic reading is what ages are measured by. It costs one
// encapsulation (ML-KEM-768 and X25519), some 100 µs.
func NewSealer(c Context, to *Statement, now func() time.Time) (*Sealer, error) {
	if now == nil {
		now = time.Now
	}
	made := now()
	c.Made = time.UnixMilli(made.UnixMilli()).UTC()
	c.Window = 0
	if c.Handling == isogate.Temporary {
		c.Window = Window(c.TTL)
	}
	if err := c.Check(); err != nil {
		return nil, err
	}
	switch {
	case to == nil:
		return nil, fmt.Errorf("seal: no statement of the landing of %s; see that the landing runs and can be reached", c.Destination)
	case to.Destination != c.Destination:
		return nil, fmt.Errorf("seal: the statement is of the landing of %s, not of %s", to.Destination, c.Destination)
	case made.Before(to.NotBefore) || !made.Before(to.NotAfter):
		return nil, fmt.Errorf("seal: the statement of landing %s is for %s to %s; fetch a new one, and see that both clocks are right",
			to.Landing, to.NotBefore.Format(time.RFC3339), to.NotAfter.Format(time.RFC3339))
	}
	var key [keySize]byte
	random(key[:])
	defer clear(key[:])
	return newSealer(c, to, now, made, &key)
}

// newSealer is NewSealer for a given key.
func newSealer(c Context, to *Statement, now func() time.Time, made time.Time, key *[keySize]byte) (*Sealer, error) {
	s := &Sealer{ctx: c, now: now, made: made, longest: c.Life(to.Max), wrapUntil: to.NotAfter}
	context := c.append(nil)
	s.id = commit(key, to.Home, context)
	s.aad = append(context, s.id[:]...)
	wrapped, err := to.wrapTo(s.info(to.Epoch), key)
	if err != nil {
		return nil, fmt.Errorf("seal: the epoch key of landing %s: %w", to.Landing, err)
	}
	s.member = appendMember(nil, &Arrival{ID: s.id, Epoch: to.Epoch, Context: c})
	s.wrapped = inBase64(wrapped)
	if s.gcm, err = newGCM(key); err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	s.scratches.New = func() any { return new([]byte) }
	return s, nil
}

func (s *Sealer) info(e EpochID) []byte { return wrapInfo(s.aad, e) }

// ID names the key.
func (s *Sealer) ID() ID { return s.id }

// Context is what the key is for.
func (s *Sealer) Context() Context { return s.ctx }

// Held reports whether the landing side has said that it holds the key.
func (s *Sealer) Held() bool { return s.held.Load() }

// SetHeld is called when the landing side has said so: from then on the wrapped
// key is not sent any more, and is forgotten.
func (s *Sealer) SetHeld() {
	if s.held.Swap(true) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wrapped = nil
}

// Sealing reports whether the key may still seal values of a new request: its
// window, or the longest session, is not over; the landing side holds it or can
// still unwrap it; it has not been destroyed.
func (s *Sealer) Sealing() bool {
	now := s.now()
	over := s.ctx.Window
	if s.ctx.Handling == isogate.TransitOnly {
		over = s.longest
	}
	if s.elapsed(now) >= over {
		return false
	}
	if !s.held.Load() && !now.Before(s.wrapUntil) {
		return false
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.gcm != nil
}

// Due is when the landing side must have destroyed the key, at the latest, by
// this machine's wall clock.
func (s *Sealer) Due() time.Time { return s.ctx.Made.Add(s.longest) }

// Destroy wipes the key. Passages that go on append nothing from then on.
func (s *Sealer) Destroy() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gcm != nil {
		wipeGCM(s.gcm)
	}
	clear(s.wrapped)
	s.gcm, s.wrapped = nil, nil
}

// elapsed is how old the key is: by the monotonic clock, which stands still while
// the machine sleeps, or by the wall clock, which may have been set, whichever
// makes it older.
func (s *Sealer) elapsed(now time.Time) time.Duration {
	return max(now.Sub(s.made), now.Round(0).Sub(s.made.Round(0)))
}

// Passage takes the next request number. Each request takes one passage of each
// key that it uses.
func (s *Sealer) Passage() Passage {
	return Passage{s: s, place: &place{request: s.requests.Add(1)}}
}

// AppendHeader appends the key's member of the Isogate-Seal header field, the
// wrapped key included until the landing side holds it. Members are joined by ", ".
func (s *Sealer) AppendHeader(dst []byte) []byte {
	// Rounded up: a key is never said to be younger than it is.
	age := (s.elapsed(s.now()) + time.Millisecond - 1) / time.Millisecond
	dst = appendAge(append(dst, s.member...), max(0, int64(age)))
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.wrapped != nil {
		dst = appendKey(dst, s.wrapped)
	}
	return dst
}

// OpenSeal implements [Opener] for the key's own seals: those of other keys are
// Withheld, and what is older than the time to live is Expired.
func (s *Sealer) OpenSeal(scratch []byte, id ID, raw []byte) (Opened, Outcome) {
	if id != s.id || len(raw) < headSize || ID(raw) != id {
		return Opened{}, Withheld
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.gcm == nil {
		return Opened{}, Expired
	}
	o, err := openRaw(s.gcm, s.aad, raw, scratch)
	switch {
	case err != nil:
		return Opened{}, Withheld
	case s.ctx.Handling == isogate.Temporary && s.elapsed(s.now()) >= o.Age+s.ctx.TTL:
		clear(o.Value)
		return Opened{}, Expired
	}
	return o, Revealed
}

// Passage seals the values of one request under one key. It is safe for
// concurrent use, and copies count together: whatever is done with it, no nonce
// is used twice. The zero Passage seals nothing.
type Passage struct {
	s     *Sealer
	place *place
}

// place is the next nonce of a request.
type place struct {
	request uint64
	next    atomic.Uint64
}

// Number is the request's number under its key, from 1.
func (p *Passage) Number() uint64 {
	if p.place == nil {
		return 0
	}
	return p.place.request
}

// Sealer is whose passage it is.
func (p *Passage) Sealer() *Sealer { return p.s }

// Used reports whether anything was sealed.
func (p *Passage) Used() bool { return p.place != nil && p.place.next.Load() > 0 }

// Append appends the seal of v, which is a string whatever the kind of v; null
// stays null. It reports false, with nothing appended, for a value that is too
// long for a seal, for a label that is none, and for a key that is destroyed: the
// value must then not leave.
//
// promise: P38
func (p *Passage) Append(dst []byte, l isogate.Label, v isogate.Value) (out []byte, ok bool) {
	if p.place == nil || len(l) > math.MaxUint8 {
		return dst, false
	}
	if v.Kind == isogate.Null {
		return append(dst, "null"...), true
	}
	n := plainHead + len(l) + len(v.Text)
	bucket, ok := obfuscate.BucketFor(n)
	if !ok {
		return dst, false
	}
	// Nonces are used up even where nothing comes of them: never twice is simple.
	counter := p.place.next.Add(1)
	if counter > math.MaxUint32 {
		return dst, false
	}
	s := p.s
	buf, _ := s.scratches.Get().(*[]byte)
	defer s.giveBack(buf)
	b := slices.Grow((*buf)[:0], rawLen(bucket))[:headSize+bucket.Size()]
	*buf = b
	copy(b, s.id[:])
	binary.BigEndian.PutUint64(b[len(ID{}):], p.place.request)
	binary.BigEndian.PutUint32(b[len(ID{})+8:], uint32(counter))
	plain := b[headSize:]
	// Rounded down, and by the clock that is not set: a value's life, which is
	// counted from here, is never made longer.
	age := min(max(0, s.now().Sub(s.made).Milliseconds()), math.MaxUint32)
	binary.BigEndian.PutUint32(plain, uint32(age))
	plain[4] = byte(len(l)) //nolint:gosec // at most 255, as seen above
	m := plainHead + copy(plain[plainHead:], l)
	m += copy(plain[m:], v.Text)
	obfuscate.Pad(plain, m, v.Kind)

	// The ciphertext takes the place of the plaintext, which stays nowhere.
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.gcm == nil {
		clear(plain)
		return dst, false
	}
	b = s.gcm.Seal(b[:headSize], b[len(ID{}):headSize], plain, s.aad)
	dst = slices.Grow(dst, textLen(bucket))
	dst = append(append(dst, prefix...), bucket.Char())
	return obfuscate.AppendBase32(dst, b), true
}

// keepScratch is the largest buffer, in bytes, that is kept for the next value.
const keepScratch = 64 << 10

func (s *Sealer) giveBack(buf *[]byte) {
	if cap(*buf) <= keepScratch {
		s.scratches.Put(buf)
	}
}

// LogValue implements [slog.LogValuer].
func (*Sealer) LogValue() slog.Value { return slog.StringValue(redacted) }

func (*Sealer) String() string { return redacted }

// Format implements [fmt.Formatter], so that no verb reaches a key.
func (*Sealer) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte(redacted)) }

// MarshalText implements [encoding.TextMarshaler].
func (*Sealer) MarshalText() ([]byte, error) { return []byte(redacted), nil }
