package gateway

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
)

// Accident, or an app that means it: many tunnels whose other sides take nothing.
// This test verifies that no more than maxLarge of them hold a large buffer.
func TestFewHoldLargePieces(t *testing.T) {
	var s pieces
	var all []buffer
	for range 3 * maxLarge {
		all = append(all, s.hold(true))
	}
	large := 0
	for _, b := range all {
		if b.large != nil {
			large++
		}
		s.release(b, len(b.bytes()))
	}
	if large != maxLarge {
		t.Errorf("%d large pieces were held at once, want %d", large, maxLarge)
	}
	if b := s.hold(true); b.large == nil {
		t.Error("what was given back cannot be held again")
	}
}

// This test verifies that what passes in pieces of both sizes arrives as it was sent,
// and that nothing of it is kept.
func TestPiecesOfBothSizes(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	sent := bytes.Repeat([]byte("payload of a tunnel "), 100_000)
	go func() {
		c, err := net.Dial("tcp", l.Addr().String())
		if err == nil {
			_, _ = c.Write(sent)
			_ = c.Close()
		}
	}()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var s pieces
	var got, last []byte
	for much := false; err == nil; {
		much, err = s.read(c, much, func(b []byte) { got, last = append(got, b...), b })
		if len(bytes.Trim(last, "\x00")) != 0 {
			t.Fatal("a piece keeps what it held")
		}
	}
	if !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	if !bytes.Equal(got, sent) {
		t.Errorf("%d bytes arrived of %d, or others", len(got), len(sent))
	}
	if s.held.Load() != 0 {
		t.Errorf("%d large pieces are still held", s.held.Load())
	}
}
