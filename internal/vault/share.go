package vault

import "sync"

// share divides the room for keys: half of it in equal parts that are each
// tenant's alone, the other half for who comes first. So a quiet system has room
// where it is needed, and no tenant can take all of it.
//
// promise: P06
type share struct {
	own, common int // immutable

	mu   sync.Mutex // guards what follows
	live []int      // keys, by tenant
	over int        // those beyond own, of all tenants
}

func newShare(keys, tenants int) *share {
	own := keys / 2 / tenants
	return &share{own: own, common: keys - own*tenants, live: make([]int, tenants)}
}

// take counts one more key of a tenant, if there is room for it.
func (s *share) take(tenant uint16) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live[tenant] >= s.own {
		if s.over >= s.common {
			return false
		}
		s.over++
	}
	s.live[tenant]++
	return true
}

// give counts one less.
func (s *share) give(tenant uint16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live[tenant]--
	if s.live[tenant] >= s.own {
		s.over--
	}
}
