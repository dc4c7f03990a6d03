package main

import (
	"context"
	"log/slog"
	"path/filepath"

	"github.com/isogate/isogate/internal/trail"
)

// openTrail opens what counts the journal for the Hub's pages. Nothing that leaves waits for
// it, and what fails with it stops nothing: it is logged, tried again, and pages say that
// they know less.
func (s *server) openTrail(ctx context.Context) (err error) {
	s.trail, err = trail.Open(ctx, trail.Config{Dir: filepath.Join(s.cfg.State, "trail"), Journal: s.journal, Logger: s.logger})
	return err
}

// keepTrail keeps it up until ctx ends, and closes ran.
func (s *server) keepTrail(ctx context.Context, ran chan<- struct{}) {
	defer close(ran)
	if err := s.trail.Run(ctx); err != nil {
		s.logger.Error("the trail of the journal is not kept up any more", slog.Any("error", err))
	}
}
