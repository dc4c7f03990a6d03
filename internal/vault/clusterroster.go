package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// memberNote is what a member says about itself. It is in the database with an HMAC
// that only members can make.
type memberNote struct {
	Instance string `json:"instance"` // this start of it
	Name     string `json:"name"`
	Address  string `json:"address"` // where peers reach it
	Box      []byte `json:"box"`     // public half of its newest box
	// Clocks is by how much, at least, the boot clocks of other members are ahead of
	// this one's, in nanoseconds. Of the same instant at x by ours they show x plus
	// that or more.
	Clocks map[string]int64 `json:"clocks"`
}

// peer is another member.
type peer struct {
	note memberNote
	beat int64
	seen time.Duration // of our boot clock: when its beat was last another one

	gone     bool
	adopter  string
	declined []string
}

// roster is who there is.
type roster struct {
	peers  map[string]*peer // by instance, without this one, also those that are gone
	owners map[[4]byte]string
}

// alive is a peer that is not gone.
func (r *roster) alive(instance string) *peer {
	if p := r.peers[instance]; p != nil && !p.gone {
		return p
	}
	return nil
}

// join enters this member, and its home.
func (c *cluster) join(ctx context.Context) error {
	return c.db.do(ctx, func(ctx context.Context, tx pgx.Tx) error {
		note, mac, err := c.note()
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `INSERT INTO member (instance, note, mac) VALUES ($1, $2, $3)`, c.instance, note, mac); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `INSERT INTO home (home, instance) VALUES ($1, $2)`, c.v.cfg.Home[:], c.instance)
		var pe *pgconn.PgError
		if errors.As(err, &pe) && pe.Code == "23505" {
			return errors.New("another member has the same home by chance; start again")
		}
		return err
	})
}

// note is this member's, as it goes into the database.
func (c *cluster) note() (note, mac []byte, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := memberNote{Instance: c.instance, Name: c.cfg.Name, Address: c.cfg.Address, Box: c.boxes.public(), Clocks: map[string]int64{}}
	for i, d := range c.ahead {
		n.Clocks[i] = int64(d)
	}
	if note, err = json.Marshal(n); err != nil {
		return nil, nil, err
	}
	return note, c.db.mac("member", []byte(c.instance), note), nil
}

// beat says that this member lives, and reads who else does. It is nothing that a
// clock of the database decides: a peer is gone when its beat has not changed for
// the lease, by our own clock.
func (c *cluster) beat(ctx context.Context) error {
	_, began := read(c.v.cfg.Clock)
	if err := c.boxes.renew(began); err != nil {
		return err
	}
	note, mac, err := c.note()
	if err != nil {
		return err
	}
	next := &roster{peers: map[string]*peer{}, owners: map[[4]byte]string{}}
	var mail []mailed
	var ends []ending
	err = c.db.do(ctx, func(ctx context.Context, tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `UPDATE member SET note = $2, mac = $3, beat = beat + 1 WHERE instance = $1 AND NOT gone`, c.instance, note, mac)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return errGivenUp
		}
		if err := c.readMembers(ctx, tx, next); err != nil {
			return err
		}
		if mail, err = c.readMail(ctx, tx); err != nil {
			return err
		}
		ends, err = c.readEndings(ctx, tx)
		return err
	})
	c.ledger.took(err)
	if err != nil {
		return err
	}
	// From before the commit: who watches us cannot have begun earlier.
	c.lastBeat.Store(int64(began.boot))
	c.beats.Add(1)
	_, now := read(c.v.cfg.Clock)
	was := c.roster.Load()
	n := 0
	for i, p := range next.peers {
		p.seen = now.boot
		if old := was.peers[i]; old != nil && old.beat == p.beat {
			p.seen = old.seen
		}
		if !p.gone {
			n++
		}
	}
	c.roster.Store(next)
	c.v.cfg.Metrics.peers.Set(float64(n))
	c.openMail(mail, now)
	c.end(ends)
	return nil
}

func (c *cluster) readMembers(ctx context.Context, tx pgx.Tx, next *roster) error {
	rows, err := tx.Query(ctx, `SELECT instance, note, mac, beat, gone, adopter, declined FROM member WHERE instance <> $1`, c.instance)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var p peer
		var instance string
		var note, mac []byte
		if err := rows.Scan(&instance, &note, &mac, &p.beat, &p.gone, &p.adopter, &p.declined); err != nil {
			return err
		}
		if !c.db.made(mac, "member", []byte(instance), note) {
			c.v.cfg.Metrics.forged.Inc()
			continue
		}
		if err := json.Unmarshal(note, &p.note); err != nil || p.note.Instance != instance {
			return fmt.Errorf("what member %.40q says about itself is not understood; are all members of one release?", instance)
		}
		next.peers[instance] = &p
	}
	if err := rows.Err(); err != nil {
		return err
	}
	homes, err := tx.Query(ctx, `SELECT home, instance FROM home`)
	if err != nil {
		return err
	}
	defer homes.Close()
	for homes.Next() {
		var home []byte
		var instance string
		if err := homes.Scan(&home, &instance); err != nil {
			return err
		}
		if len(home) == 4 {
			next.owners[[4]byte(home)] = instance
		}
	}
	return homes.Err()
}

// mailed is a letter as it was found.
type mailed struct {
	n      int64
	sealed []byte
	mac    []byte
}

// readMail reads the letters to this member, without those that were read before,
// which are removed now that they need not be read again.
func (c *cluster) readMail(ctx context.Context, tx pgx.Tx) (mail []mailed, err error) {
	if len(c.opened) > 0 {
		if _, err := tx.Exec(ctx, `DELETE FROM letter WHERE n = ANY ($1)`, c.opened); err != nil {
			return nil, err
		}
	}
	rows, err := tx.Query(ctx, `SELECT n, sealed, mac FROM letter WHERE instance = $1 ORDER BY n LIMIT 1000`, c.instance)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(r pgx.CollectableRow) (m mailed, err error) {
		err = r.Scan(&m.n, &m.sealed, &m.mac)
		return m, err
	})
}

// openMail takes the window keys that peers sent.
func (c *cluster) openMail(mail []mailed, now instant) {
	c.opened = c.opened[:0]
	for _, m := range mail {
		c.opened = append(c.opened, m.n)
		if !c.db.made(m.mac, "letter", []byte(c.instance), m.sealed) {
			c.v.cfg.Metrics.forged.Inc()
			continue
		}
		plain, err := c.boxes.open(letterUse, m.sealed)
		if err == nil {
			err = c.windows.read(plain, now)
		}
		clear(plain)
		if err != nil {
			c.v.cfg.Logger.Warn("a letter of a peer was not taken; its temporary keys may end with it", slog.Any("error", err))
		}
	}
}

// greet sends what new members need to take up temporary keys: the window keys that
// this member made.
func (c *cluster) greet(ctx context.Context) error {
	r := c.roster.Load()
	c.mu.Lock()
	for i := range c.greeted {
		if r.alive(i) == nil {
			delete(c.greeted, i)
		}
	}
	c.mu.Unlock()
	for i, p := range r.peers {
		ahead, ok := c.aheadOf(i)
		if p.gone || !ok || c.isGreeted(i, true) {
			continue // it cannot be reached, or has them
		}
		// From here on each new one is sent to it too; twice does no harm.
		post, err := c.windows.write(p, letterUse, ahead, func(w windowID) bool { return w.maker == c.instance })
		if err == nil && len(post) > 0 {
			err = c.ledger.sync(ctx, c.ledger.send(post))
		}
		if err != nil {
			c.mu.Lock()
			delete(c.greeted, i)
			c.mu.Unlock()
			return err
		}
	}
	return nil
}

// isGreeted reports whether a member has been greeted; with greet, it is from now on.
func (c *cluster) isGreeted(instance string, greet bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := c.greeted[instance]
	if greet {
		c.greeted[instance] = true
	}
	return was
}

// aheadOf is by how much, at least, a member's boot clock is ahead of ours.
func (c *cluster) aheadOf(instance string) (time.Duration, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d, ok := c.ahead[instance]
	return d, ok
}
