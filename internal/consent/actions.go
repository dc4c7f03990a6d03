package consent

import (
	"sync"
	"time"

	"github.com/isogate/isogate"
)

// Action is a user's own action that lets one thing out: bound to a transit, the
// source that asked, and digests of the user and of the subject.
type Action struct {
	ID      isogate.EntryID
	Transit isogate.Transit
	Source  isogate.Source
	User    string // keyed digest
	Subject string // keyed digest
	Once    bool
	Ends    time.Time
	UsedBy  isogate.EntryID // the act that used it first; "" while it is unused
}

// Actions are the users' actions that are not over yet. They are short-lived, may
// be many, and need no snapshot, so that they are kept beside the [State]. The
// zero value is ready and has none.
type Actions struct {
	mu   sync.RWMutex // guards live
	live map[isogate.EntryID]*Action
	next time.Time // when to look for those that are over
}

// sweepEvery is how often, by the time of acts, those that are over are let go.
const sweepEvery = 10 * time.Second

// apply folds an act in. The answer is why it has no effect.
func (s *Actions) apply(a *Act) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live == nil {
		s.live = map[isogate.EntryID]*Action{}
	}
	if a.At.After(s.next) {
		s.next = a.At.Add(sweepEvery)
		for id, x := range s.live {
			if !a.At.Before(x.Ends) {
				delete(s.live, id)
			}
		}
	}
	switch a.What {
	case Given:
		if a.Terms.Until.IsZero() || !a.Terms.Until.After(a.At) || a.Transit == "" || a.Source == "" || a.User == "" || a.Subject == "" {
			return noEffect("a user's consent needs a transit, a source, a user, a subject and an end")
		}
		s.live[a.ID] = &Action{ID: a.ID, Transit: a.Transit, Source: a.Source, User: a.User, Subject: a.Subject, Once: a.Once, Ends: a.Terms.Until}
	case Used:
		x := s.live[a.Of]
		switch {
		case x == nil || !a.At.Before(x.Ends):
			return noEffect("there is no such consent, or it is over")
		case x.UsedBy != "" && x.Once:
			return noEffect("the consent was for one use, and was used")
		}
		x.UsedBy = a.ID
	default:
	}
	return nil
}

// Get is the action of an ID while it is not over.
func (s *Actions) Get(id isogate.EntryID, at time.Time) (Action, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	x := s.live[id]
	if x == nil || !at.Before(x.Ends) {
		return Action{}, false
	}
	return *x, true
}

// Len is how many are live.
func (s *Actions) Len() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.live)
}
