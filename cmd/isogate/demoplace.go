package main

import (
	"encoding/json"
	"net/http"
	"sync"

	"github.com/isogate/isogate/internal/isogatetest"
)

// place is a host outside that keeps what it gets, as it gets it.
type place struct {
	far *isogatetest.Far

	mu     sync.Mutex // guards what follows, and whatever the answers are made of
	answer []byte
}

// newPlace starts one that answers with JSON.
func newPlace(a *isogatetest.Authority, host string, handle func(isogatetest.Received) (status int, body any)) (*place, error) {
	far, err := isogatetest.NewFar(a, host)
	if err != nil {
		return nil, err
	}
	p := &place{far: far}
	far.Answer(func(w http.ResponseWriter, r isogatetest.Received) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.answerJSON(w, r, handle)
	})
	return p, nil
}

// answerJSON is called with mu held.
func (p *place) answerJSON(w http.ResponseWriter, r isogatetest.Received, handle func(isogatetest.Received) (status int, body any)) {
	status, body := handle(r)
	p.answer, _ = json.Marshal(body)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(p.answer)
}

func (p *place) close()                           { p.far.Close() }
func (p *place) address() string                  { return p.far.Address() }
func (p *place) received() []isogatetest.Received { return p.far.Received() }

// lastAnswer is the body it answered with last.
func (p *place) lastAnswer() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.answer
}
