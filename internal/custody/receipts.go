package custody

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/seal"
)

// pages is how often a landing is asked for more receipts in one go: what it gives
// without end must not keep from being seen what it does not give.
const pages = 20

// pull records the receipts that a landing has beyond those that are recorded, and
// reports whether there may be more.
//
// promise: P41
func (c *Custody) pull(ctx context.Context, s *site) (more bool, err error) {
	for range pages {
		head := c.head(s)
		list, err := c.receiptsAfter(ctx, s, head.Number)
		if err != nil {
			return false, err
		}
		before := head.Number
		for _, text := range list.Receipts {
			// Another gateway may have recorded it meanwhile.
			if now := c.head(s); now.Number > head.Number {
				head = now
			}
			r, err := c.check(s, head, []byte(text))
			if err != nil {
				return false, c.broken(ctx, s, err)
			}
			if r == nil {
				continue
			}
			e, err := receiptEntry(s.Landing, r, []byte(text))
			if err != nil {
				return false, err
			}
			if err := c.cfg.Journal.Append(ctx, e); err != nil {
				return false, fmt.Errorf("receipt %d is not recorded: %w", r.Number, err)
			}
			c.cfg.Metrics.receipts.WithLabelValues(string(s.Destination)).Inc()
			c.folded(ctx, e.Seq)
			if ctx.Err() != nil {
				return false, ctx.Err()
			}
			head = Head{Number: r.Number, Digest: e.Detail[inDigest]}
		}
		if !list.More || head.Number == before { // whoever has more gives something new
			return false, nil
		}
	}
	return true, nil
}

func (c *Custody) head(s *site) (h Head) {
	c.read(func(st *State) { h = st.Head(s.chain) })
	return h
}

// check verifies a receipt that must continue a chain. It is nil for one that is
// recorded already.
func (c *Custody) check(s *site, head Head, text []byte) (*seal.Receipt, error) {
	if len(text) > seal.MaxReceipt {
		return nil, fmt.Errorf("the receipt after number %d is longer than %d bytes", head.Number, seal.MaxReceipt)
	}
	r, err := seal.OpenReceipt(text, s.Key)
	switch {
	case err != nil:
		return nil, fmt.Errorf("the receipt after number %d does not verify: %w", head.Number, err)
	case r.Destination != s.Destination:
		return nil, fmt.Errorf("the receipt after number %d is of another destination", head.Number)
	case r.Tenant != c.cfg.Tenant:
		return nil, fmt.Errorf("the receipt after number %d is of another tenant", head.Number)
	case r.Number < head.Number:
		return nil, nil
	case r.Number == head.Number:
		if seal.Digest(text) != head.Digest {
			return nil, fmt.Errorf("the landing signed two receipts with number %d", r.Number)
		}
		return nil, nil
	case r.Number != head.Number+1:
		return nil, fmt.Errorf("receipt %d follows number %d; those between are missing", r.Number, head.Number)
	case r.Previous != head.Digest:
		return nil, fmt.Errorf("receipt %d does not continue the number %d that is recorded", r.Number, head.Number)
	}
	return r, nil
}

// broken records that a chain of receipts does not go on, once for each cause.
//
// promise: P41
func (c *Custody) broken(ctx context.Context, s *site, why error) error {
	c.cfg.Metrics.refused.WithLabelValues(string(s.Destination)).Inc()
	if c.head(s).Broken == why.Error() {
		return why
	}
	e := &isogate.Entry{Kind: isogate.KindLanding, Actor: actor, Act: ActBroken, Destination: s.Destination, Reason: why.Error(),
		Detail: map[string]string{inLanding: s.signer()}}
	if err := c.cfg.Journal.Append(ctx, e); err != nil {
		return errors.Join(why, err)
	}
	c.cfg.Logger.Error("what a landing gives as its next receipt is none; no destruction is believed until it is mended", slog.String("destination", string(s.Destination)),
		slog.String("landing", s.signer()), slog.String("entry", string(e.ID)), slog.Any("error", why))
	c.folded(ctx, e.Seq)
	return why
}
