package trail

import (
	"context"
	"log/slog"
	"sync"
	"testing"
)

// loud keeps what is logged at warning and above.
type loud struct {
	slog.Handler
	mu   sync.Mutex
	said []string
}

func newLoud() *loud { return &loud{Handler: slog.DiscardHandler} }

func (l *loud) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }

func (l *loud) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := r.Message
	r.Attrs(func(a slog.Attr) bool { text += " " + a.String(); return true })
	l.said = append(l.said, text)
	return nil
}

func (l *loud) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.said
}

// quiet is a logger for a trail that has nothing to complain about.
func quiet(t testing.TB) *slog.Logger {
	l := newLoud()
	t.Cleanup(func() {
		for _, s := range l.all() {
			t.Errorf("the trail says: %s", s)
		}
	})
	return slog.New(l)
}
