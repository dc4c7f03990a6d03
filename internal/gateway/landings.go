package gateway

import (
	"context"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/seal"
)

// Landings is what the inside knows of the landings of its destinations: which
// keys values may be sealed under now, and what became of them.
type Landings interface {
	// Key gives the key for what c names, of which Window and Made are left open. Of
	// equal contexts it is mostly the same key; by request it is never, and such a key
	// is the caller's to destroy when the request has ended. It asks nobody outside: without a valid statement of the landing it is an error, whose
	// text may be shown to callers.
	Key(d isogate.Destination, c seal.Context) (*seal.Sealer, error)
	// Sending is called once per request, right before its entry is recorded, with
	// all keys that the request uses. What Sending has journalled of them without an
	// error is durable no later than that entry.
	Sending(d isogate.Destination, ids []seal.ID) error
	// SessionDigest is how a session is named to the landing of d: keyed, and for no
	// two destinations the same.
	SessionDigest(d isogate.Destination, session string) string
	// Acknowledged reports whether the landing of d has stated that it registers,
	// lists and erases what has label l.
	Acknowledged(d isogate.Destination, l isogate.Label) bool
	// Held is told which keys the landing has said to hold.
	Held(d isogate.Destination, ids []seal.ID)
	// Lost is told that the landing refused a request with these keys, and why. Key
	// gives none of them any more, but those that a landing without room for more
	// ([seal.CodeFull]) holds already.
	Lost(d isogate.Destination, code string, ids []seal.ID)
	// EndSession ends a session at every landing, and records that and by whose word.
	EndSession(ctx context.Context, by isogate.Source, session string) error
}
