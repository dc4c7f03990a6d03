package access

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"
)

// countEvery is how often refused sign-ins are recorded, if there were any. One entry
// for all of them: a stranger must not be able to fill the journal.
const countEvery = time.Minute

// Wrong notes that a sign-in was refused. How is one of the ways to sign in.
func (d *Desk) Wrong(how string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.wrong[how]++
}

// countWrong records what Wrong has noted, until ctx ends and once then.
func (d *Desk) countWrong(ctx context.Context) {
	tick := time.NewTicker(countEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
		d.recordWrong(ctx)
	}
}

func (d *Desk) recordWrong(ctx context.Context) {
	d.mu.Lock()
	wrong := d.wrong
	d.wrong = map[string]uint64{}
	d.mu.Unlock()
	if len(wrong) == 0 {
		return
	}
	a := Act{What: Refused, Actor: Actor{Name: system}}
	var ways []string
	for how, n := range wrong {
		a.Wrong += n
		ways = append(ways, fmt.Sprintf("%s: %d", how, n))
	}
	slices.Sort(ways)
	a.Reason = strings.Join(ways, ", ")
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := d.cfg.Journal.Append(ctx, a.Entry()); err != nil {
		d.cfg.Logger.Warn("refused sign-ins could not be recorded", slog.Uint64("count", a.Wrong), slog.Any("error", err))
	}
}

// system is who acts where nobody does.
const system = "isogate serve"
