package hub

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/access"
	"github.com/isogate/isogate/internal/consent"
)

// adminOf is the journal as the desk sees it: its admin entries.
type adminOf struct{ *memory }

func (j adminOf) Follow(ctx context.Context, from uint64, every time.Duration, f func(access.Batch) error) error {
	return j.memory.follow(ctx, isogate.KindAdmin, from, every, func(b consent.Batch) error { return f(access.Batch(b)) })
}

// newDesk runs a desk over a journal. Ada and bob are consent administrators of the
// configuration, each with their token, and olga is an owner.
func newDesk(t *testing.T, j *memory, more ...access.Configured) *access.Desk {
	t.Helper()
	people := more
	for name, roles := range map[string][]access.Role{"ada": {access.ConsentAdministrator}, "bob": {access.ConsentAdministrator}, "olga": {access.Owner}} {
		people = append(people, access.Configured{Name: name, Roles: roles, TokenSHA256: sum(tokens[name])})
	}
	d, err := access.New(access.Config{Journal: adminOf{j}, Logger: slog.New(slog.DiscardHandler), People: people, Lease: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	for d.InTouch() != nil && ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-time.After(time.Millisecond):
		}
	}
	return d
}
