package custody

import (
	"context"
	"fmt"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/journal"
	"github.com/isogate/isogate/internal/seal"
)

// Reader reads the journal; [journal.Reader] is one.
type Reader interface {
	List(ctx context.Context, f journal.Filter) ([]isogate.Entry, error)
	Get(ctx context.Context, id isogate.EntryID) (isogate.Entry, error)
}

// Life is what became of what left with one release, as far as landings have stated it.
type Life struct {
	Keys   []KeyLife   `json:"keys"`
	Fields []FieldLife `json:"fields"` // in the order of the entry's fields
}

// KeyLife is what became of one seal key that the release used.
type KeyLife struct {
	ID       string          `json:"id"`
	Request  uint64          `json:"request"` // which request under the key the release was
	Handling string          `json:"handling"`
	TTL      string          `json:"ttl,omitempty"`
	Sent     isogate.EntryID `json:"sent,omitempty"` // that says that the key left; "" if it was not found
	Due      time.Time       `json:"due,omitzero"`   // when it must be destroyed at the latest; zero if that was not found
	// Ended is when the landing destroyed it, as it states in receipt number Receipt,
	// which the entry In recorded; zero while there is no such receipt.
	Ended   time.Time       `json:"ended,omitzero"`
	Cause   string          `json:"cause,omitempty"`
	Receipt uint64          `json:"receipt,omitempty"`
	In      isogate.EntryID `json:"receipt_entry,omitempty"`
	// Refused says that the landing did not take the key, so that nothing of it is there.
	Refused bool `json:"refused,omitempty"`
	// Overdue is the entry that says that the receipt has not come in time.
	Overdue isogate.EntryID `json:"overdue,omitempty"`
}

// How a field's handling is kept.
const (
	KeptSealed     = "sealed"     // by a seal key that ends
	KeptRegistered = "registered" // by the landing's register, which can list and erase it
	KeptDeclared   = "declared"   // by nothing but the far side's word
)

// FieldLife is what became of one field's values.
type FieldLife struct {
	isogate.Field
	Kept string `json:"kept,omitempty"`
	Key  int    `json:"key"` // index in Life.Keys of the key that it is sealed under; -1 if there is none
	// Revealed is how many values of the field's label, that left with this release
	// under the key, were shown, to how many viewers, and when first and last. Fields
	// of one label and handling cannot be told apart: each shows the sum.
	Revealed uint64    `json:"revealed,omitempty"`
	Viewers  []string  `json:"viewers,omitempty"`
	First    time.Time `json:"first,omitzero"`
	Last     time.Time `json:"last,omitzero"`
}

// How the entries of a release's keys are looked for: a key that was sent before it
// was at most so long in use, and so many entries are read at a time.
const (
	lookBack = 8 * 24 * time.Hour
	lifePage = 500
)

// ReadLife reads the life of what an egress entry says that left.
//
// promise: P21
// promise: P41
func ReadLife(ctx context.Context, r Reader, e *isogate.Entry) (*Life, error) {
	if e.Kind != isogate.KindEgress {
		return nil, fmt.Errorf("entry %s is of kind %s; only what left has a life outside", e.ID, e.Kind)
	}
	uses, from := e.Seals, e
	if e.Of != "" {
		opened, err := r.Get(ctx, e.Of)
		if err != nil {
			return nil, err
		}
		if from = &opened; len(uses) == 0 {
			uses = opened.Seals
		}
	}
	l := &Life{Keys: []KeyLife{}, Fields: []FieldLife{}}
	index := map[seal.ID]int{}
	for _, u := range uses {
		id, err := seal.ParseID(u.Key)
		if err != nil {
			return nil, fmt.Errorf("entry %s: %w", e.ID, err)
		}
		index[id] = len(l.Keys)
		l.Keys = append(l.Keys, KeyLife{ID: u.Key, Request: u.Request, Handling: u.Handling, TTL: u.TTL})
	}
	for _, f := range e.Fields {
		v := FieldLife{Field: f, Key: -1}
		switch {
		case f.Sealed:
			v.Kept = KeptSealed
			for i := range l.Keys {
				if l.Keys[i].Handling == f.Handling && l.Keys[i].TTL == f.TTL {
					v.Key = i
				}
			}
		case f.Registered:
			v.Kept = KeptRegistered
		case f.Declared:
			v.Kept = KeptDeclared
		}
		l.Fields = append(l.Fields, v)
	}
	if len(index) == 0 {
		return l, nil
	}
	if err := l.sent(ctx, r, from, index); err != nil {
		return nil, err
	}
	return l, l.after(ctx, r, from, index)
}

// sent finds when the keys left, which was before the release.
func (l *Life) sent(ctx context.Context, r Reader, e *isogate.Entry, index map[seal.ID]int) error {
	f := journal.Filter{Kind: isogate.KindLanding, Destination: e.Destination, Newest: true, After: e.ID, Since: e.Time.Add(-lookBack), Limit: lifePage}
	for missing := len(index); missing > 0; {
		list, err := r.List(ctx, f)
		if err != nil {
			return err
		}
		for i := range list {
			if list[i].Act != ActSent {
				continue
			}
			id, err := seal.ParseID(list[i].Detail[inKey])
			if err != nil {
				continue
			}
			if at, used := index[id]; used && l.Keys[at].Sent == "" {
				l.Keys[at].Sent = list[i].ID
				l.Keys[at].Due, _ = time.Parse(time.RFC3339Nano, list[i].Detail[inDue])
				missing--
			}
		}
		if len(list) < lifePage {
			return nil
		}
		f.After = list[len(list)-1].ID
	}
	return nil
}

// after reads what was recorded of the keys after the release, until all of them are
// over and the landing has said so.
func (l *Life) after(ctx context.Context, r Reader, e *isogate.Entry, index map[seal.ID]int) error {
	f := journal.Filter{Kind: isogate.KindLanding, Destination: e.Destination, After: e.ID, Limit: lifePage}
	heads := map[string]uint64{} // by landing
	for {
		list, err := r.List(ctx, f)
		if err != nil {
			return err
		}
		for i := range list {
			x := &list[i]
			switch x.Act {
			case ActReceipt:
				rc, err := readReceipt(x)
				if err != nil {
					return fmt.Errorf("entry %s: %w", x.ID, err)
				}
				if by := x.Detail[inLanding]; rc.Number > heads[by] { // two gateways may have recorded it
					heads[by] = rc.Number
					l.receipt(x, rc, index)
				}
			case ActOverdue, ActRefused:
				ids, err := readKeys(x)
				if err != nil {
					return fmt.Errorf("entry %s: %w", x.ID, err)
				}
				for _, id := range ids {
					if at, used := index[id]; used && x.Act == ActRefused {
						l.Keys[at].Refused = true
					} else if used {
						l.Keys[at].Overdue = x.ID
					}
				}
			}
		}
		// Of a key that is destroyed nothing more is revealed.
		if len(list) < lifePage || l.over() {
			return nil
		}
		f.After = list[len(list)-1].ID
	}
}

func (l *Life) over() bool {
	for i := range l.Keys {
		if l.Keys[i].Ended.IsZero() && !l.Keys[i].Refused {
			return false
		}
	}
	return true
}

func (l *Life) receipt(e *isogate.Entry, r *seal.Receipt, index map[seal.ID]int) {
	for i := range r.Events {
		ev := &r.Events[i]
		at, used := index[ev.Key]
		if !used {
			continue
		}
		k := &l.Keys[at]
		switch {
		case ev.Kind == seal.Destroyed && k.Ended.IsZero():
			k.Ended, k.Cause, k.Receipt, k.In = ev.At, ev.Cause, r.Number, e.ID
		case ev.Kind == seal.RevealedTo && ev.Request == k.Request:
			for j := range l.Fields {
				if f := &l.Fields[j]; f.Key == at && f.Label == ev.Label {
					f.revealed(ev)
				}
			}
		}
	}
}

func (f *FieldLife) revealed(ev *seal.Event) {
	f.Revealed += max(ev.N, 1)
	if f.First.IsZero() || ev.At.Before(f.First) {
		f.First = ev.At
	}
	if ev.At.After(f.Last) {
		f.Last = ev.At
	}
	for _, v := range f.Viewers {
		if v == ev.Viewer {
			return
		}
	}
	f.Viewers = append(f.Viewers, ev.Viewer)
}
