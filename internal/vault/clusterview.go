package vault

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/stdlib"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/obfuscate"
	"github.com/isogate/isogate/internal/seal"
)

const (
	// openUse is what values on their way to another member are sealed for.
	openUse = "open"
	// maxAhead is how many seals a view asks for at once, and how many bytes of them.
	maxAhead, maxAheadBytes = 1000, 8 << 20
	// freshFor is how long an answer counts: a session may end meanwhile.
	freshFor = 250 * time.Millisecond
)

// openCall asks for the values of seals. Box is the public half of a box of who asks.
type openCall struct {
	Seals [][]byte `json:"seals"`
	Box   []byte   `json:"box"`
}

type openAnswer struct {
	Sealed []byte `json:"sealed"`
}

// openCall opens seals for another member, which sees to the viewer's rights, and
// records what it shows: it has both from the same configuration and writes into the
// same receipts.
func (c *cluster) openCall(_ context.Context, in *openCall) (*openAnswer, error) {
	if len(in.Seals) > maxAhead {
		return nil, errors.New("vault: more seals than a peer asks for")
	}
	size := 0
	for _, raw := range in.Seals {
		size += len(raw) + 1024
	}
	plain := make([]byte, 0, size)
	defer func() { clear(plain[:cap(plain)]) }()
	var scratch []byte
	defer func() { clear(scratch[:cap(scratch)]) }()
	for _, raw := range in.Seals {
		if len(raw) < len(seal.ID{}) {
			return nil, errors.New("vault: a seal of a peer is none")
		}
		id := seal.ID(raw)
		if _, ours, _ := c.owner(id.Home()); !ours || c.v.closing.Load() {
			return nil, errMoved
		}
		if cap(scratch) < len(raw) {
			clear(scratch[:cap(scratch)])
			scratch = make([]byte, 0, len(raw))
		}
		o, x, out := c.v.openKey(scratch[:0], id, raw)
		if out == seal.Revealed && !c.v.opens(id, o.Age) {
			clear(o.Value)
			o, out = seal.Opened{}, seal.Expired
		}
		if c.v.closing.Load() {
			clear(o.Value)
			return nil, errMoved // it may have gone while it was looked for
		}
		var err error
		plain, err = appendOpened(plain, &o, &x, out)
		clear(o.Value)
		if err != nil {
			return nil, err
		}
	}
	sealed, err := sealTo(in.Box, openUse, plain)
	return &openAnswer{sealed}, err
}

// appendOpened appends what a seal was opened to: numbers, then label, context and
// value behind their lengths. The buffer is large enough: what it had is nowhere else.
func appendOpened(b []byte, o *seal.Opened, x *seal.Context, out seal.Outcome) ([]byte, error) {
	b = append(b, byte(out), byte(o.Kind))
	b = binary.BigEndian.AppendUint64(b, uint64(o.Age)) //nolint:gosec // read back as it is
	b = binary.BigEndian.AppendUint64(b, o.Request)
	var ctx []byte
	if out == seal.Revealed {
		var err error
		if ctx, err = json.Marshal(x); err != nil {
			return b, err
		}
	}
	for _, part := range [][]byte{[]byte(o.Label), ctx, o.Value} {
		if cap(b)-len(b) < 4+len(part) {
			return b, errors.New("vault: an answer is larger than was reckoned")
		}
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(part))), part...) //nolint:gosec // a seal has at most a megabyte
	}
	return b, nil
}

// away is a seal as another member opened it.
type away struct {
	at      time.Duration // of the boot clock: when it was asked for
	opened  seal.Opened   // Value is the view's own, to be wiped
	context seal.Context
	outcome seal.Outcome
}

func parseOpened(b []byte) (a away, rest []byte, err error) {
	cut := errors.New("vault: an answer of a peer is cut short")
	if len(b) < 18 {
		return a, nil, cut
	}
	a.outcome = seal.Outcome(b[0])
	a.opened.Kind = isogate.Kind(b[1])
	a.opened.Age = time.Duration(binary.BigEndian.Uint64(b[2:])) //nolint:gosec // written from one
	a.opened.Request = binary.BigEndian.Uint64(b[10:])
	b = b[18:]
	var parts [3][]byte
	for i := range parts {
		if len(b) < 4 || int64(len(b)-4) < int64(binary.BigEndian.Uint32(b)) {
			return a, nil, cut
		}
		n := int(binary.BigEndian.Uint32(b))
		parts[i], b = b[4:4+n], b[4+n:]
	}
	if a.outcome != seal.Revealed {
		if a.outcome != seal.Expired {
			a.outcome = seal.Withheld
		}
		return a, b, nil
	}
	a.opened.Label = isogate.Label(parts[0])
	if err := json.Unmarshal(parts[1], &a.context); err != nil {
		return a, nil, fmt.Errorf("vault: an answer of a peer: %w", err)
	}
	a.opened.Value = bytes.Clone(parts[2])
	return a, b, nil
}

// elsewhere reports whether a key is another member's to open.
func (v *Vault) elsewhere(id seal.ID) bool {
	if v.cluster == nil {
		return false
	}
	_, ours, _ := v.cluster.owner(id.Home())
	return !ours
}

// openAway has another member open seals of one home.
func (c *cluster) openAway(ctx context.Context, home [4]byte, seals [][]byte) (answers []away, err error) {
	_, now := read(c.v.cfg.Clock)
	if c.fenced(now) {
		return nil, errGivenUp
	}
	var out openAnswer
	ours, err := c.ask(ctx, home, func(ctx context.Context, p *peer) error {
		_, now = read(c.v.cfg.Clock)
		return c.call(ctx, p, "open", &openCall{Seals: seals, Box: c.boxes.public()}, &out)
	})
	if err != nil || ours {
		return nil, err
	}
	plain, err := c.boxes.open(openUse, out.Sealed)
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	rest := plain
	for range seals {
		var a away
		if a, rest, err = parseOpened(rest); err != nil {
			wipeAway(answers)
			return nil, err
		}
		a.at = now.boot
		answers = append(answers, a)
	}
	return answers, nil
}

func wipeAway(answers []away) {
	for i := range answers {
		clear(answers[i].opened.Value)
	}
}

// openAway opens one seal whose key another member holds: as it was answered ahead,
// or by asking now. Where nobody answers, what is not opened is not said to be over.
func (vw *View) openAway(scratch []byte, id seal.ID, raw []byte) (o seal.Opened, x seal.Context, out seal.Outcome) {
	c := vw.v.cluster
	_, now := read(vw.v.cfg.Clock)
	a, ok := vw.ahead[string(raw)]
	if !ok || now.boot-a.at > freshFor {
		answers, err := c.openAway(context.Background(), id.Home(), [][]byte{raw})
		switch {
		case errors.Is(err, errNobody):
			return o, x, seal.Expired
		case err != nil:
			return o, x, seal.Withheld
		case answers == nil:
			if o, x, out = vw.v.openKey(scratch, id, raw); out == seal.Revealed && !vw.v.opens(id, o.Age) { // it has come here
				clear(o.Value)
				o, out = seal.Opened{}, seal.Expired
			}
			vw.keep(raw, away{at: now.boot})
			return o, x, out
		}
		clear(a.opened.Value)
		a = answers[0]
		vw.keep(raw, a)
	}
	if a.outcome != seal.Revealed {
		return o, x, a.outcome
	}
	o = a.opened
	o.Value = append(scratch[:0], a.opened.Value...)
	return o, a.context, seal.Revealed
}

// Ahead asks the other members of the cluster for the values of those seals in a
// piece of a response that they hold, each member once. What is asked for ahead is
// used within a moment or asked for again. It need not be called: then each seal is
// asked for by itself, when it is opened.
func (vw *View) Ahead(ctx context.Context, piece []byte) {
	vw.Forget()
	if vw.v.cluster == nil {
		return
	}
	g := gather{v: vw.v, of: map[[4]byte][][]byte{}}
	seal.Reveal(nil, piece, obfuscate.Plain, &g, true)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for home, seals := range g.of {
		if _, _, known := vw.v.cluster.owner(home); !known {
			continue
		}
		wg.Add(1)
		go func() {
			defer wg.Done()
			answers, err := vw.v.cluster.openAway(ctx, home, seals)
			if err != nil {
				return // each is asked for again, and withheld
			}
			mu.Lock()
			defer mu.Unlock()
			for i, a := range answers {
				vw.keep(seals[i], a)
			}
		}()
	}
	wg.Wait()
}

// keep remembers an answer for a moment.
func (vw *View) keep(raw []byte, a away) {
	if vw.ahead == nil {
		vw.ahead = map[string]away{}
	}
	if was, ok := vw.ahead[string(raw)]; ok {
		clear(was.opened.Value)
	}
	vw.ahead[string(raw)] = a
}

// stale reports whether an answer is so old that the key may have ended since.
func (vw *View) stale(raw []byte) bool {
	_, now := read(vw.v.cfg.Clock)
	return now.boot-vw.ahead[string(raw)].at > freshFor
}

// Forget wipes values that other members have answered and that were not asked for
// yet. Record and Ahead do it too; who may end a response without them calls it.
func (vw *View) Forget() {
	for _, a := range vw.ahead {
		clear(a.opened.Value)
	}
	clear(vw.ahead)
}

// Clustered reports whether this landing is one of several.
func (v *Vault) Clustered() bool { return v.cluster != nil }

// Database is the cluster's database, for the register that its landings keep together;
// nil for a landing that is alone. It lasts as long as the vault.
func (v *Vault) Database() *sql.DB {
	if v.cluster == nil {
		return nil
	}
	return stdlib.OpenDBFromPool(v.cluster.db.pool)
}

// ours reports whether a key would be this landing's to hold.
func (v *Vault) ours(id seal.ID) bool {
	return id.Home() == v.cfg.Home || v.cluster != nil && !v.elsewhere(id)
}

// fenced reports whether the other members may have given this one up.
func (v *Vault) fenced() bool {
	if v.cluster == nil {
		return false
	}
	_, now := read(v.cfg.Clock)
	return v.cluster.fenced(now)
}

// away is those keys that other members hold, by home.
func (v *Vault) away(ids []seal.ID) (of map[[4]byte][]seal.ID) {
	for _, id := range ids {
		if !v.elsewhere(id) {
			continue
		}
		if of == nil {
			of = map[[4]byte][]seal.ID{}
		}
		of[id.Home()] = append(of[id.Home()], id)
	}
	return of
}

// gather is a [seal.Opener] that opens nothing, and remembers what other members
// would have to open.
type gather struct {
	v       *Vault
	of      map[[4]byte][][]byte // by home
	n, size int
}

func (g *gather) OpenSeal(_ []byte, id seal.ID, raw []byte) (seal.Opened, seal.Outcome) {
	if g.n < maxAhead && g.size+len(raw) <= maxAheadBytes && g.v.elsewhere(id) {
		g.n++
		g.size += len(raw)
		g.of[id.Home()] = append(g.of[id.Home()], bytes.Clone(raw))
	}
	return seal.Opened{}, seal.Withheld
}
