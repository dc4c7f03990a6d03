package main

import (
	"context"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
	_ "modernc.org/sqlite"

	"github.com/isogate/isogate"
)

// A journal of millions of entries, as a product with twelve transits, forty apps and
// six versions of its pack makes it in ninety days: more by day than by night, releases
// with their ends (most ends share an entry, as they do under load), refusals, consents of
// administrators and of users, receipts. It is the same each time, but for its
// length, and is written straight into the journal's database, unsealed: what is measured over it
// reads rows.

// hubGranted is the party whose grant is looked at: a transit that much leaves by.
const hubGranted = 1

// hubDays is how long the journal goes back from hubEnd.
const hubDays = 90

var hubEnd = time.Date(2026, 11, 26, 0, 0, 0, 0, time.UTC)

// mould is an entry without its place, time, consent, sizes and digests.
type mould struct {
	head, middle, tail []byte // around the consent and the sizes
	weight             int
	pack               int // version; -1 is any
	streamed           bool
	refused            bool
	party              int // whose consent it goes by; -1 is none
	user               bool
	closing            []byte // of a streamed one: from its source on
	fields             []byte // and what its closing entry has of fields
}

// hubJournal is what is known of such a journal.
type hubJournal struct {
	grant isogate.EntryID // of an administrator, of hubGranted, used for thirty days
	user  isogate.EntryID // of a user, used for an hour
	rows  int
	users int // how many consents users gave

	digest string // of the pack in force
}

type hubWriter struct {
	r      *rand.Rand
	db     *sql.Tx
	insert *sql.Stmt
	args   []any
	outbox *sql.Stmt

	seq     int
	last    ulid.ULID
	open    []hubOpen // not ended
	streams []hubOpen // those of them that were streamed
	grants  []isogate.EntryID
	users   []isogate.EntryID
	pack    int // the version that was loaded last
	idles   int // how many idle apps there are
	is      hubJournal
	scratch []byte
}

type hubOpen struct {
	id      isogate.EntryID
	m       *mould
	consent isogate.EntryID
}

const hubRowsAtOnce = 64

// writeHubJournal fills an empty journal in dir with n entries.
func writeHubJournal(ctx context.Context, dir string, n int, digest string) (hubJournal, error) {
	q := url.Values{"_pragma": {"journal_mode(OFF)", "synchronous(OFF)", "cache_size(-65536)"}}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: filepath.Join(dir, "journal.db"), RawQuery: q.Encode()}).String())
	if err != nil {
		return hubJournal{}, err
	}
	defer func() { _ = db.Close() }()
	db.SetMaxOpenConns(1)
	w := &hubWriter{r: rand.New(rand.NewPCG(10, 1)), grants: make([]isogate.EntryID, len(hubParties)), is: hubJournal{digest: digest}}
	moulds := hubMoulds(w.r, digest)
	begin := hubEnd.Add(-hubDays * 24 * time.Hour)
	weights := hubWeights()
	total := 0
	for _, x := range weights {
		total += x
	}
	for h := range hubDays * 24 {
		if w.db, err = db.BeginTx(ctx, nil); err != nil {
			return w.is, err
		}
		if err = w.prepare(); err == nil {
			at := begin.Add(time.Duration(h) * time.Hour)
			share := n * weights[h%len(weights)] / total * len(weights) / (hubDays * 24)
			if h == hubDays*24-1 {
				share = n - w.seq
			}
			err = w.hour(ctx, moulds, at, min(share, n-w.seq), h)
		}
		if err != nil {
			_ = w.db.Rollback()
			return w.is, err
		}
		if err := w.db.Commit(); err != nil {
			return w.is, err
		}
	}
	_, err = db.ExecContext(ctx, `PRAGMA journal_mode=WAL`)
	return w.is, err
}

// hubWeights is how much of a week there is in each of its hours.
func hubWeights() []int {
	var ws []int
	for day := range 7 {
		for hour := range 24 {
			x := 2
			if hour >= 7 && hour < 19 {
				x = 10
			}
			if day >= 5 {
				x = (x + 2) / 3
			}
			ws = append(ws, x)
		}
	}
	return ws
}

func (w *hubWriter) prepare() (err error) {
	if w.insert, err = w.db.Prepare(`INSERT INTO entry (seq, body) VALUES (?,?)` + strings.Repeat(`,(?,?)`, hubRowsAtOnce-1)); err != nil {
		return err
	}
	w.outbox, err = w.db.Prepare(`INSERT INTO outbox (kind, seq) VALUES (?, ?)`)
	return err
}

// hour writes n entries of one hour.
func (w *hubWriter) hour(ctx context.Context, moulds []mould, at time.Time, n, h int) error {
	pack := h * hubPacks / (hubDays * 24)
	var now []*mould
	var weights []int
	total := 0
	for i := range moulds {
		if m := &moulds[i]; m.pack < 0 || m.pack == pack {
			now = append(now, m)
			total += m.weight
			weights = append(weights, total)
		}
	}
	until := w.seq + n
	if h%24 == 8 && h/24%30 == 0 && n > 4*len(w.grants) { // administrators renew what their apps and transits may
		w.renew(at)
		w.is.grant = w.grants[hubGranted]
	}
	if w.pack != pack+1 && n > 2 {
		w.pack = pack + 1
		w.loaded(at, hubDigest(pack, w.is.digest), w.pack)
	}
	if w.idles < hubIdle && n > 40 {
		w.idle(at, w.idles)
		w.idles++
	}
	w.users = w.users[:0]
	for range max(3, n/40) { // users who act in this hour: thousands a day
		if w.seq < until {
			w.users = append(w.users, w.user(at))
			w.is.users++
		}
	}
	if len(w.users) > 0 && h == hubDays*24/2 {
		w.is.user = w.users[0]
	}
	for w.seq < until {
		t := at.Add(time.Duration(int64(time.Hour) * int64(w.seq-until+n) / int64(n)))
		switch x := w.r.IntN(1000); {
		case x < 80 && len(w.open) > 0:
			w.ends(t)
		case len(w.streams) > 200 || len(w.streams) > 0 && x < 96:
			w.endsStream(t)
		case x < 110:
			w.other(t, "landing", `"destination":"support-portal","act":"receipt","actor":"isogate serve","detail":{"key":"k`+strconv.Itoa(w.seq)+`"}`)
		case x < 111 && w.seq%50 == 0:
			w.other(t, pickOne(w.r, "admin", "pack", "key"), `"actor":"`+pickOne(w.r, "ada", "grace", "isogate serve")+`","act":"something changed"`)
		default:
			i, _ := slices.BinarySearch(weights, 1+w.r.IntN(total))
			w.egress(t, now[i])
		}
		if err := w.full(ctx); err != nil {
			return err
		}
	}
	return w.flush(ctx)
}

func pickOne[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

// place begins an entry: its ID, seq and time.
func (w *hubWriter) place(at time.Time) (id isogate.EntryID, body []byte) {
	if ms := ulid.Timestamp(at); ms > w.last.Time() {
		_ = w.last.SetTime(ms)
		binary.BigEndian.PutUint64(w.last[8:], w.r.Uint64()>>1)
	} else {
		binary.BigEndian.PutUint64(w.last[8:], binary.BigEndian.Uint64(w.last[8:])+1+uint64(w.r.Uint32()))
	}
	id = isogate.EntryID(w.last.String())
	body = make([]byte, 0, 1536)
	body = append(body, `{"id":"`...)
	body = append(body, id...)
	body = append(body, `","seq":`...)
	body = strconv.AppendInt(body, int64(w.seq), 10)
	body = append(body, `,"time":"`...)
	body = at.Truncate(time.Microsecond).AppendFormat(body, time.RFC3339Nano)
	return id, append(body, `","tenant":"bench","kind":"`...)
}

func (w *hubWriter) put(body []byte) {
	w.args = append(w.args, int64(w.seq), body)
	w.seq++
}

// other writes an entry that is no request.
func (w *hubWriter) other(at time.Time, kind, rest string) isogate.EntryID {
	id, b := w.place(at)
	b = append(b, kind...)
	b = append(b, `",`...)
	b = append(b, rest...)
	if kind == "consent" || kind == "landing" || kind == "admin" {
		_, _ = w.outbox.Exec(kind, int64(w.seq)) // a second one of a seq cannot be
	}
	w.put(append(b, '}'))
	w.is.rows++
	return id
}

func (w *hubWriter) egress(at time.Time, m *mould) {
	id, b := w.place(at)
	var consent isogate.EntryID
	switch {
	case m.user && len(w.users) > 0:
		consent = w.users[w.r.IntN(len(w.users))]
	case m.party >= 0:
		consent = w.grants[m.party]
	}
	b = append(b, m.head...)
	if consent != "" && !m.refused {
		b = append(b, `,"consent":"`...)
		b = append(b, consent...)
		b = append(b, '"')
	}
	b = append(b, m.middle...)
	size := 200 + w.r.IntN(4000)
	if !m.refused && !m.streamed {
		b = append(b, m.fields...)
		b = append(b, `,"bytes_in":`...)
		b = strconv.AppendInt(b, int64(size), 10)
		b = append(b, `,"bytes_out":`...)
		b = strconv.AppendInt(b, int64(size+w.r.IntN(200)), 10)
		b = append(b, `,"digest_in":"`...)
		b = w.hex(b, 32)
		b = append(b, `","digest_out":"`...)
		b = w.hex(b, 64)
		b = append(b, '"')
	}
	b = append(b, m.tail...)
	w.put(b)
	w.is.rows++
	if !m.refused && w.r.IntN(5000) > 0 { // a gateway that stops leaves some without an end
		if o := (hubOpen{id, m, consent}); m.streamed {
			w.streams = append(w.streams, o)
		} else {
			w.open = append(w.open, o)
		}
	}
}

// endsStream writes how one streamed release ended: mostly an old one, and some stay open for days.
func (w *hubWriter) endsStream(at time.Time) {
	i := w.r.IntN(len(w.streams))
	o := w.streams[i]
	w.streams[i] = w.streams[len(w.streams)-1]
	w.streams = w.streams[:len(w.streams)-1]
	_, b := w.place(at)
	b = append(b, `egress","stage":"closed","of":"`...)
	b = append(b, o.id...)
	b = append(b, '"')
	b = append(b, o.m.closing...)
	if o.consent != "" {
		b = append(b, `,"consent":"`...)
		b = append(b, o.consent...)
		b = append(b, '"')
	}
	b = append(b, `,"decision":"released"`...)
	b = append(b, o.m.fields...)
	b = append(b, `,"bytes_in":`...)
	b = strconv.AppendInt(b, int64(w.r.IntN(1<<20)), 10)
	b = append(b, `,"bytes_out":`...)
	b = strconv.AppendInt(b, 1+int64(w.r.IntN(1<<24)), 10)
	b = append(b, `,"status":200,"duration_us":`...)
	b = strconv.AppendInt(b, 1+int64(w.r.IntN(1<<26)), 10)
	w.put(append(b, '}'))
}

// ends writes how all others ended, together.
func (w *hubWriter) ends(at time.Time) {
	_, b := w.place(at)
	b = append(b, `egress","stage":"closed"`...)
	b = append(b, `,"closes":[`...)
	for i, o := range w.open {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"of":"`...)
		b = append(b, o.id...)
		b = append(b, `","status":`...)
		status := 200
		if x := w.r.IntN(100); x == 0 {
			status = 502
		} else if x < 4 {
			status = 404
		}
		b = strconv.AppendInt(b, int64(status), 10)
		b = append(b, `,"duration_us":`...)
		b = strconv.AppendInt(b, 1000+int64(w.r.IntN(200_000)), 10)
		b = append(b, '}')
	}
	w.open = w.open[:0]
	w.put(append(b, `]}`...))
}

func (w *hubWriter) hex(b []byte, n int) []byte {
	const digits = "0123456789abcdef"
	var x uint64
	for i := range n {
		if i%16 == 0 {
			x = w.r.Uint64()
		}
		b = append(b, digits[x&15])
		x >>= 4
	}
	return b
}

func (w *hubWriter) full(ctx context.Context) error {
	for len(w.args) >= 2*hubRowsAtOnce {
		if _, err := w.insert.ExecContext(ctx, w.args[:2*hubRowsAtOnce]...); err != nil {
			return err
		}
		w.args = append(w.args[:0], w.args[2*hubRowsAtOnce:]...)
	}
	return nil
}

func (w *hubWriter) flush(ctx context.Context) error {
	for i := 0; i < len(w.args); i += 2 {
		if _, err := w.db.ExecContext(ctx, `INSERT INTO entry (seq, body) VALUES (?,?)`, w.args[i], w.args[i+1]); err != nil {
			return err
		}
	}
	w.args = w.args[:0]
	return nil
}

// hubPacks is how many versions of the pack there were.
const hubPacks = 6

// hubDigest is that of a version; only the last of them is a pack.
func hubDigest(pack int, last string) string {
	if pack == hubPacks-1 {
		return last
	}
	return fmt.Sprintf("sha256:%064x", pack+1)
}

var hubPurposes = []string{"support", "billing", "observability", "analytics", "ecosystem", "identity"}

var hubLabels = []string{"personal.contact.email", "personal.contact.phone", "personal.name.display", "personal.location.country", "identifier.user.account_id",
	"identifier.correlation.request_id", "ugc.title", "ugc.body", "system.metadata", "system.version", "billing.amount", "security.secret.token", "unclassified"}

// hubMoulds are some two hundred different entries for each version of the pack, of which
// a fifth make almost all.
func hubMoulds(r *rand.Rand, last string) (all []mould) {
	for pack := range hubPacks {
		digest := hubDigest(pack, last)
		for t := range hubTransits {
			name := fmt.Sprintf("transit-%02d", t)
			for variant := range 6 {
				path := []string{"/v1/sessions", "/v1/users/{accountId}/tickets", "/v2/events"}[variant%3]
				e := isogate.Entry{Source: isogate.Source(fmt.Sprintf("product/service-%d", t%5)), Purpose: hubPurposes[t%len(hubPurposes)], Transit: isogate.Transit(name),
					Destination: isogate.Destination(fmt.Sprintf("destination-%d", t%8)), Method: pickOne(r, "POST", "PUT", "GET"), URL: path, Pack: digest}
				for f := range 4 + t%9 {
					if variant > 0 && r.IntN(4) == 0 {
						continue
					}
					label := hubLabels[(t+f)%len(hubLabels)]
					field := isogate.Field{Path: fmt.Sprintf("part%d.field%d", f%3, f), Label: isogate.Label(label), Action: isogate.Action(1 + (t*5+f*3)%8), N: 1}
					if label == "unclassified" {
						field.Action = isogate.Redact
					} else if f%3 > 0 {
						field.Rule, field.Handling = fmt.Sprintf("transits/%s.yaml:%d", name, 10+f), "persisted"
					}
					if f == 3 && variant == 2 {
						field.N = 4
					}
					e.Fields = append(e.Fields, field)
				}
				m := made(&e, pack)
				if m.weight = 400 / (1 + t*t) / (1 + variant*variant); m.weight == 0 {
					m.weight = 1
				}
				if t%3 == 1 {
					m.party = t
				}
				m.user = t == 0 && variant < 2
				all = append(all, m)
			}
		}
		for a := range hubApps {
			for variant := range 3 {
				host := fmt.Sprintf("api%d.vendor-%d.example", variant, a)
				e := isogate.Entry{Source: isogate.Source(fmt.Sprintf("app/app-%02d", a)), Purpose: "app", Remote: host, Destination: "apps", Method: "CONNECT", URL: host, Pack: digest, Streamed: true}
				if variant > 0 {
					e.Transit, e.Method, e.URL, e.Streamed = isogate.Transit(fmt.Sprintf("app-%02d", a)), "POST", "/**", false
					e.Fields = []isogate.Field{{Path: "**", Label: "unclassified", Action: isogate.Redact, N: 3},
						{Path: "email", Label: "personal.contact.email", Action: isogate.Token, Rule: "transits/apps.yaml:9", Handling: "persisted", N: 1}}
				}
				m := made(&e, pack)
				m.party = hubTransits + a
				m.weight = 1 + 20/(1+a)
				all = append(all, m)
			}
		}
	}
	for i := range 24 {
		e := isogate.Entry{Source: isogate.Source(fmt.Sprintf("app/app-%02d", i)), Remote: fmt.Sprintf("x%d.elsewhere.example", i), Method: "CONNECT", Stage: isogate.StageRefused, Decision: "refused",
			Reason: "no grant covers this host", Status: 403, DurationUS: 300, Pack: fmt.Sprintf("sha256:%064x", 1)}
		m := made(&e, -1)
		m.refused, m.weight = true, 1
		all = append(all, m)
	}
	return all
}

// made makes a mould of an entry.
func made(e *isogate.Entry, pack int) mould {
	m := mould{pack: pack, party: -1, streamed: e.Streamed}
	member := func(b []byte, name, value string) []byte {
		if value == "" {
			return b
		}
		v, _ := json.Marshal(value) // a string always can be
		return fmt.Appendf(b, `,"%s":%s`, name, v)
	}
	stage, decision := cmpOr(string(e.Stage), "opened"), cmpOr(e.Decision, "released")
	m.head = append(m.head, `egress"`...)
	m.head = member(m.head, "stage", stage)
	where := member(nil, "source", string(e.Source))
	m.head = append(m.head, where...)
	m.head = member(m.head, "purpose", e.Purpose)
	rest := member(nil, "transit", string(e.Transit))
	rest = member(rest, "remote", e.Remote)
	rest = member(rest, "destination", string(e.Destination))
	m.head = append(m.head, rest...)
	m.closing = append(append(m.closing, where...), rest...)
	m.head = member(m.head, "method", e.Method)
	m.head = member(m.head, "url", e.URL)
	m.head = member(m.head, "pack", e.Pack)
	m.middle = member(nil, "decision", decision)
	m.middle = member(m.middle, "reason", e.Reason)
	if e.Streamed {
		m.middle = append(m.middle, `,"streamed":true`...)
	}
	if len(e.Fields) > 0 {
		f, _ := json.Marshal(e.Fields)
		m.fields = append(append(m.fields, `,"fields":`...), f...)
	}
	m.tail = member(nil, "tls", "TLS 1.3")
	if e.Status > 0 {
		m.tail = fmt.Appendf(m.tail, `,"status":%d,"duration_us":%d`, e.Status, e.DurationUS)
	}
	m.tail = append(m.tail, '}')
	return m
}

func cmpOr(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
