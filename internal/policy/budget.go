package policy

import "time"

// Budget is how much a transit to an app's remote may let out in a stretch of
// time. The zero value is that the pack states none; the gateway's own limits
// hold all the same.
type Budget struct {
	Requests int64 // requests; of a tunnel, connections
	Bytes    int64 // bytes to the outside
	Per      time.Duration
}

// Limits of a budget.
const (
	maxBudgetRequests = 1_000_000_000
	maxBudgetBytes    = 1 << 40
	maxBudgetPer      = 24 * time.Hour
)

// Stated reports whether the pack states the budget.
func (b Budget) Stated() bool { return b.Per > 0 }

// readBudget reads {requests: 600, bytes: 64MiB, per: 1h}, all of which are
// needed: a bound that is left out would be taken for none.
func (r *reader) readBudget(o object, t *Transit) {
	n := o.get("budget")
	if n == nil {
		return
	}
	b, ok := r.object(n, "budget", "requests", "bytes", "per")
	if !ok {
		return
	}
	t.Budget.Requests = int64(r.integer(b.need("requests", "say how many requests may leave: requests: 600"), "requests"))
	if t.Budget.Requests > maxBudgetRequests {
		r.add(b.place("requests"), "requests is more than %d; write less, or a shorter per", maxBudgetRequests)
	}
	t.Budget.Bytes = r.size(b.need("bytes", "say how much may leave: bytes: 64MiB"), "bytes", maxBudgetBytes)
	t.Budget.Per = r.span(b.need("per", "say in which time: per: 1h"), "per", maxBudgetPer)
}
