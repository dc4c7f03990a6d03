package hub

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/isogate/isogate/internal/consent"
	"github.com/isogate/isogate/internal/trail"
)

// staleTrail is how far behind the journal its counts may be before somebody is told.
const staleTrail = time.Minute

// notices are what is not as it should be, the grave ones first. Health and overview
// show the same ones.
func (h *Hub) notices(ctx context.Context, now time.Time) ([]Notice, error) {
	out := []Notice{}
	say := func(grave bool, path, format string, args ...any) {
		out = append(out, Notice{grave, consent.Shown(fmt.Sprintf(format, args...)), path})
	}
	if h.running != nil {
		if err := h.running.Ready(); err != nil {
			say(true, "/health", "Not everything that may leave could leave now: %v.", err)
		}
		h.noticeKeys(say, now)
	} else if err := h.ledger.InTouch(); err != nil {
		say(true, "/health", "What needs a consent does not leave now: %v.", err)
	}
	if h.trail != nil {
		noticeTrail(say, h.trail.Standing(), now)
		if err := h.noticeGateways(ctx, say); err != nil && !errors.Is(err, trail.ErrBehind) {
			return nil, err
		}
	}
	if h.custody != nil {
		for _, l := range h.custody.Landings() {
			noticeLanding(say, l)
		}
	}
	slices.SortStableFunc(out, func(a, b Notice) int {
		switch {
		case a.Grave == b.Grave:
			return 0
		case a.Grave:
			return -1
		}
		return 1
	})
	return out, nil
}

type sayFunc func(grave bool, path, format string, args ...any)

func (h *Hub) noticeKeys(say sayFunc, now time.Time) {
	switch k := h.running.Keys(); {
	case k.Trouble != "":
		say(true, "/health#keys", "The tenant's keys cannot be opened: %s. What is in memory goes on until the gateway reloads.", k.Trouble)
	case k.Stale:
		say(false, "/health#keys", "The keys on disk are newer than those in use. Have the gateway reload (SIGHUP).")
	}
	for _, c := range h.running.Certificates() {
		switch left := c.NotAfter.Sub(now); {
		case left <= 0:
			say(true, "/health#certificates", "The certificate of %s ended on %s.", c.What, c.NotAfter.UTC().Format("2 Jan 2006"))
		case left < endsSoon:
			say(false, "/health#certificates", "The certificate of %s ends on %s.", c.What, c.NotAfter.UTC().Format("2 Jan 2006"))
		}
	}
}

func noticeTrail(say sayFunc, st trail.Standing, now time.Time) {
	if st.Missing > 0 || st.Unreadable > 0 {
		say(true, "/health#journal", "Somebody changed the journal's database: of its entries %s are missing and %s cannot be read, the first at seq %d. Run isogate journal verify.",
			number(st.Missing), number(st.Unreadable), st.First)
	}
	switch {
	case st.Fault != nil:
		say(false, "/health#journal", "The counts are not up to date: the journal could not be read.")
	case st.Rebuilding:
		say(false, "/health#journal", "The counts are being made anew from the journal: %s of %s entries are in.", number(st.Next), number(st.Of))
	case !st.Behind.IsZero() && now.Sub(st.Behind) > staleTrail:
		say(false, "/health#journal", "The counts lack the newest %s entries.", number(st.Of-st.Next))
	}
}

func noticeLanding(say sayFunc, l Landing) {
	switch {
	case l.Broken != "":
		say(true, "/outside", "The landing of %s gives a receipt that does not fit the one before: %s.", l.Destination, l.Broken)
	case l.KeysOverdue > 0:
		say(true, "/outside", "The landing of %s has not receipted in time that %s seal %s destroyed.", l.Destination, number(l.KeysOverdue), plural(l.KeysOverdue, "key was", "keys were"))
	case !l.Valid:
		say(false, "/outside", "The landing of %s has no statement in force, so that nothing can be sealed for it.", l.Destination)
	}
}

// noticeGateways says where gateways judge by different packs.
//
// promise: P10
func (h *Hub) noticeGateways(ctx context.Context, say sayFunc) error {
	gateways, err := h.gateways(ctx)
	if err != nil {
		return err
	}
	packs := map[string]bool{}
	for _, g := range gateways {
		if !g.Stopped {
			packs[g.Pack] = true
		}
	}
	if len(packs) > 1 {
		say(true, "/health#gateways", "The gateways do not judge by the same pack: there are %d of them in use.", len(packs))
	}
	return nil
}
