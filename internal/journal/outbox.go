package journal

import (
	"sync"

	"github.com/isogate/isogate"
)

// announced reports whether every gateway of the tenant must hear of entries of a
// kind at once. They are few; whoever starts reads all of them.
func announced(kind isogate.EntryKind) bool { return kind == isogate.KindConsent }

// bell wakes those of this process who wait for entries to follow.
type bell struct {
	mu   sync.Mutex // guards next
	next chan struct{}
}

func newBell() *bell { return &bell{next: make(chan struct{})} }

// heard is closed when the bell is rung after this call.
func (b *bell) heard() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.next
}

func (b *bell) ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.next)
	b.next = make(chan struct{})
}
