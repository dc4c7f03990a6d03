package gateway

import (
	"strconv"
	"sync/atomic"

	"golang.org/x/time/rate"

	"github.com/isogate/isogate"
)

// Somebody who is nobody can still knock, and an app is known but not trusted.
// Each refusal of theirs is an entry of the journal, and a journal that they can
// fill stops everybody. So only this many of the refusals of all strangers
// together, and of each app, are recorded one by one; the rest are answered 429
// and counted in the next one that is.
const (
	strangersPerSecond = 20
	strangersBurst     = 200
	appPerSecond       = 5
	appBurst           = 2000 // an app that is being set up is refused much, for a while
)

// strangers bounds the entries that callers without an identity can cause, or one
// app.
type strangers struct {
	limit *rate.Limiter
	over  atomic.Int64 // refusals since the last recorded one that were not recorded
}

func newStrangers(perSecond rate.Limit, burst int) *strangers {
	return &strangers{limit: rate.NewLimiter(perSecond, burst)}
}

// admit reports whether a refusal may have an entry, and what the entry says
// about those that had none.
func (s *strangers) admit() (ok bool, detail map[string]string) {
	if !s.limit.Allow() {
		s.over.Add(1)
		return false, nil
	}
	if n := s.over.Swap(0); n > 0 {
		detail = map[string]string{"unrecorded": strconv.FormatInt(n, 10)}
	}
	return true, detail
}

func tooManyStrangers() *refusal {
	return &refusal{status: 429, code: "too-many-refusals", detail: "too many refused requests; this one is only counted"}
}

// knocks bounds the refusals of one app that are recorded.
func (g *Gateway) knocks(app isogate.Source) *strangers {
	s, ok := g.apps.Load(app)
	if !ok {
		s, _ = g.apps.LoadOrStore(app, newStrangers(appPerSecond, appBurst)) // apps are those of the configuration
	}
	return s.(*strangers) //nolint:forcetypeassert // the map holds nothing else
}
