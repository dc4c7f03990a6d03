package isogatetest

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"sync"
)

// Queue is a destination on loopback that speaks no HTTP: under TLS it answers
// each line that it gets with "taken N", N being how many there were on that
// connection.
type Queue struct {
	listener net.Listener
	work     sync.WaitGroup
	ended    chan error

	mu    sync.Mutex // guards what follows
	open  map[net.Conn]bool
	seen  int   // connections
	bytes int64 // of lines
	done  bool
}

// NewQueue starts one with a certificate for host, signed by a.
func NewQueue(a *Authority, host string) (*Queue, error) {
	cert, err := a.Issue(Leaf{Name: host, Hosts: []string{host}})
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	q := &Queue{listener: l, open: map[net.Conn]bool{}, ended: make(chan error, 16)}
	conf := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13}
	q.work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil || !q.keep(c) {
				return
			}
			q.work.Go(func() { q.serve(tls.Server(c, conf), c) })
		}
	})
	return q, nil
}

// keep notes a connection; false once the queue is closed.
func (q *Queue) keep(c net.Conn) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.done {
		_ = c.Close()
		return false
	}
	q.open[c] = true
	q.seen++
	return true
}

func (q *Queue) serve(secure *tls.Conn, c net.Conn) {
	in := bufio.NewReader(secure)
	var err error
	for n := 1; err == nil; n++ {
		var line string
		line, err = in.ReadString('\n')
		q.mu.Lock()
		q.bytes += int64(len(line))
		q.mu.Unlock()
		if err == nil {
			_, err = fmt.Fprintf(secure, "taken %d\n", n)
		}
	}
	_ = c.Close()
	q.mu.Lock()
	delete(q.open, c)
	q.mu.Unlock()
	select {
	case q.ended <- err:
	default: // nobody asks
	}
}

// Address is where it listens, as IP:port.
func (q *Queue) Address() string { return q.listener.Addr().String() }

// Taken is how many connections there were so far, and how many bytes of lines.
func (q *Queue) Taken() (connections int, bytes int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.seen, q.bytes
}

// Ended tells how each connection ended: with [io.EOF] where the other side ended
// it, with something else where it was cut off.
func (q *Queue) Ended() <-chan error { return q.ended }

// Close stops it.
func (q *Queue) Close() {
	q.mu.Lock()
	q.done = true
	_ = q.listener.Close()
	for c := range q.open {
		_ = c.Close()
	}
	q.mu.Unlock()
	q.work.Wait()
}
