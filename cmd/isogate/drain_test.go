package main

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/isogatetest"
)

// A gateway that is told to stop takes no new connections, lets the requests
// that it has begun end well, closes their entries, and only then ends.
func TestStopDrains(t *testing.T) {
	s := newSite(t, "")
	arrived, release := make(chan struct{}), make(chan struct{})
	s.far.Answer(func(w http.ResponseWriter, _ isogatetest.Received) {
		close(arrived)
		<-release
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"done":true}`)
	})
	s.start()
	type answer struct {
		status int
		body   string
		err    error
	}
	answered := make(chan answer, 1)
	go func() {
		resp, body, err := s.post(`{"state":"open"}`)
		if err != nil {
			answered <- answer{err: err}
			return
		}
		answered <- answer{resp.StatusCode, body, nil}
	}()
	<-arrived
	if err := s.process.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	// The door is closed to new callers as soon as the listener is. Each knock until
	// then is a line of the log, of which not all that many are kept.
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for ; ; <-tick.C {
		c, err := net.Dial("tcp", strings.TrimPrefix(s.base, "https://"))
		if err != nil {
			break
		}
		_ = c.Close()
	}
	close(release)
	if a := <-answered; a.err != nil || a.status != 200 || !strings.Contains(a.body, "done") {
		t.Errorf("the request under way: %+v", a)
	}
	s.await("msg=drained")
	if status := s.stop(syscall.SIGCONT); status != 0 {
		t.Errorf("exit status %d", status)
	}
	stages := map[isogate.Stage]int{}
	for _, e := range s.entries() {
		stages[e.Stage]++
	}
	if stages[isogate.StageOpened] != 1 || stages[isogate.StageClosed] != 1 {
		t.Errorf("entries by stage: %v", stages)
	}
}

// Spans go to the collector that the configuration names, and to no other place;
// they hold names, never values.
func TestTraces(t *testing.T) {
	spans := make(chan string, 16)
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		spans <- r.URL.Path + " " + string(body)
	}))
	defer collector.Close()
	s := newSite(t, "traces: "+collector.URL+"/v1/traces\n")
	s.start()
	if resp, body, err := s.post(`{"state":"open","title":"secret"}`); err != nil || resp.StatusCode != 200 {
		t.Fatalf("%v %v %s", err, resp, body)
	}
	if status := s.stop(syscall.SIGTERM); status != 0 { // flushes
		t.Fatalf("exit status %d: %s", status, s.log.text.String())
	}
	select {
	case got := <-spans:
		if !strings.HasPrefix(got, "/v1/traces ") || !strings.Contains(got, "transit notes") || strings.Contains(got, "secret") {
			t.Errorf("the collector got %q", got)
		}
	default:
		t.Error("no span was sent")
	}
}
