package custody

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/isogate/isogate"
)

// Subject is one identifier that stays outside by permission, as the register of a
// landing has it: who it belongs to and why it is there. Value and Subject are the
// tenant's own values, turned back here.
type Subject struct {
	Destination isogate.Destination
	Label       isogate.Label
	Value       string
	Subject     string
	Token       string // what the register calls it
	Because     string
	Rule        string
	Entry       isogate.EntryID // the release that it last left with
	Since, Last time.Time
	// Unreadable says that the token cannot be turned back: it was minted under a key
	// that is not kept any more. Value is "" then.
	Unreadable bool
}

// Query selects identifiers.
type Query struct {
	// Value is of the identifier, or of the subject that it belongs to; "" is any.
	Value string
	// Destination is where; "" is everywhere.
	Destination isogate.Destination
	// After continues a list: what Page.Next was.
	After string
	// Limit is how many there may be; 0 is 500.
	Limit int
}

// Page is a part of a list.
type Page struct {
	Subjects []Subject
	// Next continues the list; "" at its end.
	Next string
}

// DefaultLimit is how many identifiers a page has where Query.Limit is zero.
const DefaultLimit = 500

// ErrUnknown says that a destination has no landing.
var ErrUnknown = errors.New("no such landing")

// asked is the sites of a query, by name.
func (c *Custody) asked(d isogate.Destination) ([]*site, error) {
	if d != "" {
		s, err := c.site(d)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrUnknown, err)
		}
		return []*site{s}, nil
	}
	var all []*site
	for _, s := range *c.sites.Load() {
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b *site) int { return strings.Compare(string(a.Destination), string(b.Destination)) })
	return all, nil
}

// lookFor is how long one page is looked for; then it is as full as it is.
const lookFor = 20 * time.Second

// Subjects lists what the landings' registers have of the tenant. It asks the
// landings, page by page, until there is as much as was asked for.
//
// promise: P17
func (c *Custody) Subjects(ctx context.Context, q Query) (Page, error) {
	sites, err := c.asked(q.Destination)
	if err != nil {
		return Page{}, err
	}
	if q.Limit <= 0 {
		q.Limit = DefaultLimit
	}
	// A cursor is the destination, how many rows of its page are done, and the landing's own.
	at, rest, _ := strings.Cut(q.After, "/")
	var skip int
	if q.After != "" {
		i := slices.IndexFunc(sites, func(s *site) bool { return string(s.Destination) == at })
		if i < 0 {
			return Page{}, errors.New("the list cannot be continued: its landing is none any more; begin anew")
		}
		sites = sites[i:]
		var n int
		if _, err := fmt.Sscanf(rest, "%d/", &n); err != nil || n < 0 {
			return Page{}, errors.New("this continues no list; give what the page before had as next")
		}
		skip = n
		_, rest, _ = strings.Cut(rest, "/")
	}
	p := Page{Subjects: []Subject{}}
	began := time.Now()
	for _, s := range sites {
		for cursor := rest; ; {
			page, err := c.register(ctx, s, cursor)
			if err != nil {
				return Page{}, fmt.Errorf("the register of %s: %w", s.Destination, err)
			}
			for i := range page.Rows {
				if i < skip {
					continue
				}
				if len(p.Subjects) == q.Limit {
					p.Next = fmt.Sprintf("%s/%d/%s", s.Destination, i, cursor)
					return p, nil
				}
				if row := s.reveal(&page.Rows[i]); q.Value == "" || row.Value == q.Value && !row.Unreadable || row.Subject == q.Value {
					p.Subjects = append(p.Subjects, row)
				}
			}
			skip = 0
			if page.Next == "" {
				break
			}
			if page.Next == cursor {
				return Page{}, fmt.Errorf("the register of %s does not go on; have its landing looked at", s.Destination)
			}
			if cursor = page.Next; time.Since(began) > lookFor {
				p.Next = fmt.Sprintf("%s/0/%s", s.Destination, cursor)
				return p, nil
			}
		}
		rest = ""
	}
	return p, nil
}

// reveal turns a row of the register back.
func (s *site) reveal(r *registerRow) Subject {
	v := Subject{Destination: s.Destination, Label: isogate.Label(r.Label), Token: r.ID, Because: r.Because, Rule: r.Rule, Entry: isogate.EntryID(r.Entry), Since: r.Since, Last: r.Last}
	label, value, err := s.Identifiers.Reveal(r.ID)
	if err != nil || string(label) != r.Label {
		v.Unreadable = true // or it was never ours: a landing may say anything
	} else {
		v.Value = string(value)
	}
	_, subject, err := s.Subjects.Reveal(r.Subject)
	if err != nil { // an identifier that stands for itself
		_, subject, err = s.Identifiers.Reveal(r.Subject)
	}
	if err == nil {
		v.Subject = string(subject)
	}
	return v
}

// Order is what an administrator wants erased.
type Order struct {
	// Value is of the identifier, or of the subject whose identifiers are to go.
	Value string
	// Label limits the order to one label; "" is all.
	Label isogate.Label
	// Destination is where; "" is everywhere.
	Destination isogate.Destination
	Reason      string
	By          Actor
}

// Limits of one erasure: of rows as the landing takes them, and of bytes so that
// they fit in an entry.
const (
	maxErase      = 200
	maxEraseBytes = 32 << 10
)

// Limits of one order. A landing says which identifiers there are: one that gave
// them without end would have entries written without end.
const (
	maxOrder = 10_000          // identifiers
	orderFor = 5 * time.Minute // to look for them
)

// Erase finds the identifiers and has the services erase them. For each erasure
// there is an entry before a landing is asked, which names the identifiers by their
// tokens; it is asked again until the landing's receipt says that the service
// confirmed it. Nothing found is no erasure, and no error.
//
// promise: P17
func (c *Custody) Erase(ctx context.Context, o Order) ([]Erasure, error) {
	if o.Value == "" {
		return nil, errors.New("nothing is to be erased; give the value")
	}
	found, err := c.find(ctx, &o)
	if err != nil {
		return nil, err
	}
	var ids []isogate.EntryID
	for _, d := range slices.Sorted(maps.Keys(found)) {
		s, err := c.site(d)
		if err != nil {
			return nil, err
		}
		for _, rows := range cut(found[d]) {
			e := eraseEntry(o.By, d, o.Label, rows, o.Reason)
			if err := c.cfg.Journal.Append(ctx, e); err != nil {
				return nil, fmt.Errorf("the erasure was not recorded, and not asked for: %w", err)
			}
			ids = append(ids, e.ID)
			c.folded(ctx, e.Seq)
			if err := c.askErasure(ctx, s, e.ID, rows); err != nil {
				c.cfg.Logger.Warn("an erasure is recorded; its landing is asked again", slog.String("destination", string(d)), slog.String("entry", string(e.ID)), slog.Any("error", err))
			}
		}
	}
	var out []Erasure
	c.read(func(st *State) {
		for _, id := range ids {
			if x := st.erasures[id]; x != nil {
				out = append(out, *x)
			}
		}
	})
	return out, nil
}

// find finds what an order is about.
func (c *Custody) find(ctx context.Context, o *Order) (map[isogate.Destination][]Identifier, error) {
	ctx, stop := context.WithTimeout(ctx, orderFor)
	defer stop()
	type at struct {
		isogate.Destination
		Identifier
	}
	known := map[at]bool{} // rows may move from one page to the next while they are read
	found := map[isogate.Destination][]Identifier{}
	q := Query{Value: o.Value, Destination: o.Destination}
	for {
		p, err := c.Subjects(ctx, q)
		if err != nil {
			return nil, err
		}
		for _, x := range p.Subjects {
			row := at{x.Destination, Identifier{x.Label, x.Token}}
			if x.Unreadable || o.Label != "" && o.Label != x.Label || known[row] {
				continue
			}
			if len(known) == maxOrder {
				return nil, fmt.Errorf("there are more than %d identifiers of it, which no landing should have; nothing is erased: look at the list, and order fewer by naming a label or a destination", maxOrder)
			}
			known[row] = true
			found[x.Destination] = append(found[x.Destination], row.Identifier)
		}
		if p.Next == "" {
			return found, nil
		}
		q.After = p.Next
	}
}

// cut cuts identifiers into erasures of a size that landing and entry take.
func cut(rows []Identifier) (parts [][]Identifier) {
	var part []Identifier
	size := 0
	for _, r := range rows {
		n := len(r.Label) + len(r.Token) + 2
		if len(part) == maxErase || size+n > maxEraseBytes && len(part) > 0 {
			parts, part, size = append(parts, part), nil, 0
		}
		part, size = append(part, r), size+n
	}
	if len(part) > 0 {
		parts = append(parts, part)
	}
	return parts
}

// askErasure asks a landing for an erasure, with the values turned back out of their
// tokens: they are nowhere kept.
func (c *Custody) askErasure(ctx context.Context, s *site, id isogate.EntryID, rows []Identifier) error {
	list := make([]erasureRow, 0, len(rows))
	for _, r := range rows {
		label, value, err := s.Identifiers.Reveal(r.Token)
		if err != nil || label != r.Label {
			return errors.New("a token of it cannot be turned back any more; erase by hand what the entry names")
		}
		list = append(list, erasureRow{r.Label, r.Token, string(value)})
	}
	if err := c.erase(ctx, s, id, list); err != nil {
		return err
	}
	signal(s.hold.ask) // for the receipt
	return nil
}

// eraseAgain asks again for what is not confirmed.
func (c *Custody) eraseAgain(ctx context.Context, s *site) {
	if !s.hold.mayRepeat() {
		return
	}
	var open []Erasure
	c.read(func(st *State) {
		for _, e := range st.erasures {
			if e.Destination == s.Destination && e.State != ErasureConfirmed {
				open = append(open, *e)
			}
		}
	})
	for _, e := range open {
		if err := c.askErasure(ctx, s, e.ID, e.Rows); err != nil && ctx.Err() == nil {
			c.cfg.Logger.Warn("an erasure is not confirmed, and could not be asked for again", slog.String("destination", string(s.Destination)), slog.String("entry", string(e.ID)), slog.Any("error", err))
		}
	}
}

// Erasures are those that are open, and the last ones that were confirmed, newest first.
func (c *Custody) Erasures() (out []Erasure) {
	c.read(func(st *State) { out = st.Erasures() })
	return out
}
