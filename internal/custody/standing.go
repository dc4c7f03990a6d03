package custody

import (
	"slices"
	"strings"
	"time"

	"github.com/isogate/isogate"
)

// Standing is where one landing stands.
type Standing struct {
	Destination isogate.Destination
	Landing     string // NAME+HASH of the key that it signs with

	// Of its statement.

	Valid       bool // it is in force: values can be sealed for it
	Trouble     string
	Epoch       string
	NotAfter    time.Time
	Idle, Max   time.Duration
	Fetched     time.Time
	Acknowledge []isogate.LabelPattern

	// Of its receipts.

	Receipt     uint64 // number of the last one recorded, 0 before the first
	ReceiptAt   time.Time
	ReceiptIn   isogate.EntryID
	Broken      string // what is wrong with the next one; "" if nothing
	KeysOut     int
	KeysOverdue int
	NextDue     time.Time
	Overdue     []Key // the oldest of them
	Erasures    int   // open ones
}

// shownOverdue is how many keys a standing names.
const shownOverdue = 100

// Landings is where each landing stands, by the destination's name.
func (c *Custody) Landings() []Standing {
	out := []Standing{}
	now := c.cfg.Now()
	for d, s := range *c.sites.Load() {
		v := Standing{Destination: d, Landing: s.signer()}
		s.hold.mu.Lock()
		if st := s.hold.statement; st != nil {
			v.Valid = now.Before(st.NotAfter)
			v.Epoch, v.NotAfter, v.Idle, v.Max, v.Acknowledge = st.Epoch.String(), st.NotAfter, st.Idle, st.Max, slices.Clone(st.Acknowledges)
		}
		if v.Fetched = s.hold.fetched; s.hold.trouble != nil {
			v.Trouble = s.hold.trouble.Error()
		}
		s.hold.mu.Unlock()
		by := now.Add(-c.cfg.Grace)
		c.read(func(st *State) {
			h := st.Head(s.chain)
			v.Receipt, v.ReceiptAt, v.ReceiptIn, v.Broken = h.Number, h.At, h.Entry, h.Broken
			v.KeysOut, v.KeysOverdue, v.NextDue = st.Out(d, by)
			v.Overdue = st.Late(d, by, shownOverdue, nil)
			for _, e := range st.erasures {
				if e.Destination == d && e.State != ErasureConfirmed {
					v.Erasures++
				}
			}
		})
		out = append(out, v)
	}
	slices.SortFunc(out, func(a, b Standing) int { return strings.Compare(string(a.Destination), string(b.Destination)) })
	return out
}
