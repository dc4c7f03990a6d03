package journal

import (
	"context"
	"errors"
)

// seat is the right to seal: one process of a tenant has it.
type seat interface {
	// take reports whether this process has the seat, after trying to get it.
	take(ctx context.Context) (bool, error)
	// keep replaces the kept checkpoint was by now, durably, if it is still was. The
	// error is errOvertaken where it is not.
	keep(ctx context.Context, was, now *kept) error
	// leave gives the seat up for another to take.
	leave()
	// shared reports whether there are others.
	shared() bool
}

// soleSeat is the seat of a process that has the journal's directory to itself.
// Checkpoints are kept through the one connection that writes.
type soleSeat struct{ *queue }

func (soleSeat) take(context.Context) (bool, error) { return true, nil }
func (soleSeat) leave()                             {}
func (soleSeat) shared() bool                       { return false }

// sharedSeat is had by whoever's session holds the tenant's advisory lock. Whatever
// the sealer writes it writes on that session: one that has lost the lock, because
// the server ended the session, can write no more. Were there two at one time all
// the same, the comparison in keep would let one of them go on, and the tiles of both
// would be equal, since they follow from the same rows.
type sharedSeat struct {
	at      *endpoint
	session *session // nil while there is none
	held    bool
}

func (s *sharedSeat) shared() bool { return true }

func (s *sharedSeat) take(ctx context.Context) (bool, error) {
	if s.held {
		return true, nil
	}
	err := s.do(ctx, func(ctx context.Context, l *session) error {
		return l.QueryRow(ctx, `SELECT pg_try_advisory_lock($1)`, s.at.key("seal")).Scan(&s.held)
	})
	return s.held, err
}

// do runs f on the seat's session, and leaves the seat if it fails.
func (s *sharedSeat) do(ctx context.Context, f func(context.Context, *session) error) (err error) {
	if s.session == nil {
		if s.session, err = s.at.connect(ctx, nil); err != nil {
			s.session = nil
			return explain(err)
		}
	}
	warned := s.session.warnings
	err = f(ctx, s.session)
	if err == nil && s.session.warnings > warned {
		err = errors.New("the database committed without waiting for its standby")
	}
	if err != nil && !errors.Is(err, errOvertaken) {
		s.session.drop()
		s.session, s.held = nil, false
	}
	return explain(err)
}

func (s *sharedSeat) keep(ctx context.Context, was, now *kept) error {
	return s.do(ctx, func(ctx context.Context, l *session) error {
		done, err := l.Exec(ctx, keepQuery, int64(now.size), now.root, now.nodes(), now.note, int64(was.size), was.root) //nolint:gosec // sizes fit
		if err == nil && done.RowsAffected() != 1 {
			err = errOvertaken
		}
		return err
	})
}

func (s *sharedSeat) leave() {
	if s.session != nil {
		s.session.hangUp()
	}
	s.session, s.held = nil, false
}
