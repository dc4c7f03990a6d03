package gateway

import (
	"sync"
	"time"

	"github.com/isogate/isogate"
)

// budgets count what each source let out over each transit, where the pack sets a
// limit. They are this gateway's own: several gateways of a tenant count apart.
type budgets struct {
	mu    sync.Mutex // guards spent
	spent map[account]*spending
}

// account is who spends on what. It is the pack's transit and not the host: an app
// that may reach every subdomain of a domain would have a new budget under each
// name that it makes up, and two transits to one host have two budgets, neither of
// whose windows may end the other's. There are as many accounts as names in packs,
// so that none has to be forgotten.
type account struct {
	source  isogate.Source
	transit isogate.Transit
}

// spending is what was spent in the window that began at since.
type spending struct {
	since           time.Time
	requests, bytes int64
}

// limit is what may be spent per window; a zero count is no limit, and so is a
// zero window.
type limit struct {
	requests, bytes int64
	per             time.Duration
}

// spend takes from the account and reports whether that was within the limit.
// What would exceed it is not taken.
func (b *budgets) spend(a account, l limit, requests, bytes int64, now time.Time) bool {
	if l.per <= 0 || l.requests <= 0 && l.bytes <= 0 {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.spent == nil {
		b.spent = map[account]*spending{}
	}
	s := b.spent[a]
	if s == nil || now.Sub(s.since) >= l.per {
		s = &spending{since: now}
		b.spent[a] = s
	}
	if l.requests > 0 && s.requests+requests > l.requests || l.bytes > 0 && s.bytes+bytes > l.bytes {
		return false
	}
	s.requests += requests
	s.bytes += bytes
	return true
}
