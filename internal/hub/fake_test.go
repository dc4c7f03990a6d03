package hub

import (
	"context"
	"errors"

	"github.com/isogate/isogate/internal/consent"
	"github.com/isogate/isogate/internal/remote"
)

type row = remote.Row

// fakeLedger has lost touch, and records nothing.
type fakeLedger struct {
	state *consent.State
	lost  error
	tried int
}

func (l *fakeLedger) State() *consent.State { return l.state }
func (l *fakeLedger) InTouch() error        { return l.lost }
func (l *fakeLedger) Do(_ context.Context, a consent.Act) (consent.Act, error) {
	l.tried++
	return a, errors.New("the act was not recorded")
}

func (l *fakeLedger) NewRequest(party consent.Party, rows []remote.Row, by consent.Actor, reason string) consent.Act {
	return consent.Act{What: consent.Requested, Party: party, Rows: rows, Actor: by, Reason: reason}
}
