package journal

import (
	"sync"

	"github.com/isogate/isogate"
)

// followable reports whether entries of a kind can be followed: every gateway of the
// tenant must hear of them at once. They are few beside the releases.
func followable(kind isogate.EntryKind) bool {
	return kind == isogate.KindConsent || kind == isogate.KindLanding || kind == isogate.KindAdmin || kind == isogate.KindPack
}

// lists reports whether the outbox has the entries of a kind under it: those of a
// journal that no gateway has brought to this version yet may not be there.
func (r *Reader) lists(kind isogate.EntryKind) bool {
	switch kind {
	case isogate.KindAdmin:
		return r.format >= outboxAdmin
	case isogate.KindPack:
		return r.format >= outboxPack
	}
	return followable(kind) && r.format >= outboxKinds
}

// announced is the kind under which an entry is announced to followers, "" for one
// that is not.
func announced(kind isogate.EntryKind) isogate.EntryKind {
	if followable(kind) {
		return kind
	}
	return ""
}

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
