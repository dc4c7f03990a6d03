package gateway

import (
	"sync"
	"time"

	"github.com/isogate/isogate"
)

// budgets count what each source sent to each host, where the pack sets a limit.
// They are this gateway's own: several gateways of a tenant count apart.
type budgets struct {
	mu    sync.Mutex // guards spent
	spent map[account]*spending
}

// account is who spends on whom.
type account struct {
	source isogate.Source
	host   string
}

// spending is what was spent in the window that began at since.
type spending struct {
	since           time.Time
	requests, bytes int64
}

// maxAccounts bounds the accounts kept; beyond it those whose window is over go.
const maxAccounts = 16384

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
		if s == nil && len(b.spent) >= maxAccounts {
			b.sweep(l.per, now)
		}
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

// sweep lets go of the accounts whose window is over, or of all: an account that
// is forgotten begins a new window, which is better than memory without a bound.
func (b *budgets) sweep(per time.Duration, now time.Time) {
	for a, s := range b.spent {
		if now.Sub(s.since) >= per {
			delete(b.spent, a)
		}
	}
	if len(b.spent) >= maxAccounts {
		clear(b.spent)
	}
}
