// Package dnstest is a name server on loopback that answers as a test tells it:
// with other addresses each time, with several, with aliases.
package dnstest

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"

	"golang.org/x/net/dns/dnsmessage"
)

// TB is the part of testing.TB that a server needs.
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
	Cleanup(f func())
}

// Answer is what a name is answered with the turn-th time it is asked for with
// one type, from 0: IPv4 or IPv6 addresses, or "CNAME name." for what stands
// before the addresses of that name.
type Answer func(turn int) []string

// Always answers with the same each time.
func Always(lines ...string) Answer { return func(int) []string { return lines } }

// Server is a running name server.
type Server struct {
	conn net.PacketConn

	mu      sync.Mutex // guards what follows
	answers map[string]Answer
	asked   map[string]int // how often, by "name. A" or "name. AAAA"
}

// New starts a server, which ends with the test. Names are without a final dot.
func New(tb TB, answers map[string]Answer) *Server {
	tb.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("%v", err)
	}
	s := &Server{conn: conn, answers: map[string]Answer{}, asked: map[string]int{}}
	for name, a := range answers {
		s.answers[name+"."] = a
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.run()
	}()
	tb.Cleanup(func() {
		_ = conn.Close()
		<-done
	})
	return s
}

// Set has a name answered from now on.
func (s *Server) Set(name string, a Answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers[name+"."] = a
}

// Resolver asks the server.
func (s *Server) Resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, StrictErrors: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", s.conn.LocalAddr().String())
	}}
}

// Asked is how often a name was asked for with a type, such as "A".
func (s *Server) Asked(name, kind string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[name+". "+kind]
}

// Names are all names that were asked for.
func (s *Server) Names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for key := range s.asked {
		name, _, _ := strings.Cut(key, " ")
		names = append(names, strings.TrimSuffix(name, "."))
	}
	return names
}

func (s *Server) run() {
	buf := make([]byte, 4096)
	for {
		n, from, err := s.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		if reply, err := s.Reply(buf[:n]); err == nil {
			_, _ = s.conn.WriteTo(reply, from)
		}
	}
}

// Reply answers one query, for whoever carries it another way.
func (s *Server) Reply(query []byte) ([]byte, error) {
	var p dnsmessage.Parser
	h, err := p.Start(query)
	if err != nil {
		return nil, err
	}
	q, err := p.Question()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	key := q.Name.String() + " " + strings.TrimPrefix(q.Type.String(), "Type")
	turn := s.asked[key]
	s.asked[key]++
	answer := s.answers[q.Name.String()]
	s.mu.Unlock()

	rh := dnsmessage.Header{ID: h.ID, Response: true, Authoritative: true, RecursionAvailable: true}
	if answer == nil {
		rh.RCode = dnsmessage.RCodeNameError
	}
	b := dnsmessage.NewBuilder(nil, rh)
	b.EnableCompression()
	if err := errors.Join(b.StartQuestions(), b.Question(q), b.StartAnswers()); err != nil {
		return nil, err
	}
	name := q.Name
	var lines []string
	if answer != nil {
		lines = answer(turn)
	}
	for _, line := range lines {
		rr := dnsmessage.ResourceHeader{Name: name, Class: q.Class, TTL: 0}
		if to, ok := strings.CutPrefix(line, "CNAME "); ok {
			name = dnsmessage.MustNewName(to)
			if err := b.CNAMEResource(rr, dnsmessage.CNAMEResource{CNAME: name}); err != nil {
				return nil, err
			}
			continue
		}
		a := netip.MustParseAddr(line)
		var err error
		switch {
		case a.Is4() && q.Type == dnsmessage.TypeA:
			err = b.AResource(rr, dnsmessage.AResource{A: a.As4()})
		case !a.Is4() && q.Type == dnsmessage.TypeAAAA:
			err = b.AAAAResource(rr, dnsmessage.AAAAResource{AAAA: a.As16()})
		}
		if err != nil {
			return nil, err
		}
	}
	return b.Finish()
}
