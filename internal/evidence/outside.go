package evidence

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/seal"
)

// Outside is what landings stated in the period about what they hold of the tenant's.
type Outside struct {
	Chains []Chain `json:"chains"`
	// Alarms are the entries that say that a receipt is late, or none.
	Alarms List `json:"alarms"`
	// Sent is how many seal keys left in the period, and Waiting of how many of those no
	// receipt had come by its end.
	Sent    uint64 `json:"sent"`
	Waiting uint64 `json:"waiting"`
	// Erasures are those that were asked for in the period.
	Erasures List `json:"erasures"`
}

// Chain is the receipts of one landing in the period.
type Chain struct {
	Destination string `json:"destination"`
	Landing     string `json:"landing"` // name and hash of the key that signs
	From        uint64 `json:"from"`    // the first receipt's number
	To          uint64 `json:"to"`
	Receipts    uint64 `json:"receipts"`
	// Verified is how many of them are signed by the key that a pack here names.
	Verified  uint64            `json:"verified"`
	Destroyed uint64            `json:"destroyed"` // keys
	Revealed  map[string]uint64 `json:"revealed"`  // values, by label
	Erased    uint64            `json:"erased"`    // erasures that the service confirmed
	// Trouble is what is wrong with them, the first; "" if nothing is.
	Trouble string    `json:"trouble,omitempty"`
	Last    time.Time `json:"last"` // when the last one was signed
}

// receiptLine is a line of receipts.jsonl.
type receiptLine struct {
	Entry       isogate.EntryID     `json:"entry"`
	Destination isogate.Destination `json:"destination"`
	Note        string              `json:"note"`
}

// line is the one spelling of a line.
func (l *receiptLine) line() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(l)
	return b.Bytes(), err
}

// outside makes what is to say about the outside from landing entries, which it is
// given in their order.
type outside struct {
	keys   landingKeys
	note   NoteOf
	sum    Outside
	chains map[landingKey]*chain
	out    map[string]bool // keys that were sent, and have no receipt
}

type chain struct {
	Chain
	digest string // of the last receipt
}

func newOutside(keys landingKeys, noteOf NoteOf) *outside {
	return &outside{keys: keys, note: noteOf, chains: map[landingKey]*chain{}, out: map[string]bool{}}
}

// add takes in a landing entry. For a receipt it returns its line of receipts.jsonl.
func (o *outside) add(e *isogate.Entry) (line []byte, err error) {
	switch e.Act { // the acts of internal/custody
	case "seal key sent":
		o.sum.Sent++
		o.out[e.Detail["key"]] = true
	case "seal key refused":
		o.settle(e)
	case "receipt given up":
		o.settle(e)
		o.alarm(e)
	case "receipt overdue", "receipt refused":
		o.alarm(e)
	case "erasure asked":
		o.sum.Erasures.add(e, string(e.Destination), false)
	case "receipt":
		text, err := o.note(e)
		if err != nil {
			o.chain(e).trouble("receipt entry %s cannot be read: %v", e.ID, err)
			return nil, nil
		}
		o.receipt(e, text)
		return (&receiptLine{e.ID, e.Destination, string(text)}).line()
	}
	return nil, nil
}

func (o *outside) settle(e *isogate.Entry) {
	for id := range strings.FieldsSeq(e.Detail["keys"]) {
		delete(o.out, id)
	}
}

func (o *outside) alarm(e *isogate.Entry) {
	about := string(e.Destination)
	if n := len(strings.Fields(e.Detail["keys"])); n > 0 {
		about = fmt.Sprintf("%s, %d keys", about, n)
	}
	o.sum.Alarms.add(e, about, false)
}

// chain is the one that a receipt is of.
func (o *outside) chain(e *isogate.Entry) *chain {
	k := landingKey{e.Destination, e.Detail["landing"]}
	c := o.chains[k]
	if c == nil {
		c = &chain{Chain: Chain{Destination: string(e.Destination), Landing: k.signer, Revealed: map[string]uint64{}}}
		o.chains[k] = c
	}
	return c
}

// receipt takes in a receipt that a landing signed, or not. Two gateways may have
// recorded the same one.
func (o *outside) receipt(e *isogate.Entry, text []byte) {
	c := o.chain(e)
	digest := seal.Digest(text)
	if digest == c.digest {
		return
	}
	c.Receipts++
	previous := c.digest
	c.digest = digest
	key, known := o.keys[landingKey{e.Destination, c.Landing}]
	if !known {
		c.trouble("no pack in this file names the key %s, so that the signature of receipt entry %s is not verified", c.Landing, e.ID)
		return
	}
	r, err := seal.OpenReceipt(text, key)
	if err != nil {
		c.trouble("receipt entry %s: %v", e.ID, err)
		return
	}
	c.Verified++
	switch {
	case r.Destination != e.Destination || r.Tenant != e.Tenant:
		c.trouble("receipt %d is of another destination or tenant", r.Number)
	case c.From == 0:
		c.From = r.Number
	case r.Number != c.To+1 || r.Previous != previous:
		c.trouble("receipt %d does not continue receipt %d", r.Number, c.To)
	}
	c.To, c.Last = r.Number, r.Time
	for i := range r.Events {
		switch ev := &r.Events[i]; ev.Kind {
		case seal.Destroyed:
			c.Destroyed++
			delete(o.out, ev.Key.String())
		case seal.RevealedTo:
			c.Revealed[string(ev.Label)] += ev.N
		case seal.Erased:
			c.Erased++
		case seal.ErasureOverdue:
			c.trouble("the service did not confirm the erasure %s in time", ev.Erasure)
		}
	}
}

func (c *chain) trouble(format string, args ...any) {
	if c.Trouble == "" {
		c.Trouble = fmt.Sprintf(format, args...)
	}
}

func (o *outside) end() Outside {
	o.sum.Chains, o.sum.Waiting = []Chain{}, uint64(len(o.out))
	for _, k := range slices.SortedFunc(maps.Keys(o.chains), func(a, b landingKey) int {
		return cmp.Or(cmp.Compare(a.destination, b.destination), cmp.Compare(a.signer, b.signer))
	}) {
		o.sum.Chains = append(o.sum.Chains, o.chains[k].Chain)
	}
	return o.sum
}

// signerOf is how entries name the key that a landing signs with.
func signerOf(v note.Verifier) string { return fmt.Sprintf("%s+%08x", v.Name(), v.KeyHash()) }
