package http1_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/isogate/isogate/internal/http1"
)

// TestResponseScripts plays the files of testdata/responses: what an upstream
// answers to the first request, and what the client must make of it. The lines
// of a case are
//
//	method M, close-delimited   settings of the client
//	> text, >N> text            bytes that the upstream sends, as in TestScripts
//	> EOF                       the upstream closes
//	< 200 "body" [Name: value]  the response, its body and its trailers
//	< text                      the error
//	< kept, < gone              whether the next request uses the same connection
func TestResponseScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/responses/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			intro, cases, _ := strings.Cut(string(b), "\n== ")
			if !strings.HasPrefix(intro, "# ATTACK: ") || !strings.Contains(intro, "\n# THIS SCRIPT VERIFIES ") {
				t.Error("the script does not open with the attack and what it verifies")
			}
			for c := range strings.SplitSeq(cases, "\n== ") {
				name, lines, _ := strings.Cut(c, "\n")
				t.Run(name, func(t *testing.T) { playResponse(t, strings.Split(lines, "\n")) })
			}
		})
	}
}

// upstream runs serve for each connection until the test ends.
func upstream(t testing.TB, serve func(nc net.Conn, n int)) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := 0; ; n++ {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = nc.Close() }()
				serve(nc, n)
			}()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// skipRequest reads one request whose body has a length.
func skipRequest(r *bufio.Reader) error {
	length := 0
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return err
		}
		if v, ok := strings.CutPrefix(line, "Content-Length: "); ok {
			if length, err = strconv.Atoi(strings.TrimSpace(v)); err != nil {
				return err
			}
		}
		if line == "\r\n" {
			_, err := r.Discard(length)
			return err
		}
	}
}

func playResponse(t *testing.T, lines []string) {
	var send []byte
	closes := false
	c := &http1.Client{Dial: dial, Limits: scriptLimits}
	t.Cleanup(c.CloseIdle)
	method := "GET"
	var want []string
	for _, line := range lines {
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case line == "close-delimited":
			c.CloseDelimited = true
		case strings.HasPrefix(line, "method "):
			method = line[len("method "):]
		case line == "> EOF":
			closes = true
		case strings.HasPrefix(line, ">"):
			times, text, _ := strings.Cut(line[1:], "> ")
			n, err := strconv.Atoi(times)
			if err != nil {
				n, text = 1, line[2:]
			}
			b, err := strconv.Unquote(`"` + text + `"`)
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			send = append(send, strings.Repeat(b, n)...)
		case strings.HasPrefix(line, "< "):
			want = append(want, line[2:])
		default:
			t.Fatalf("%s: not a line of a script", line)
		}
	}
	if len(want) == 0 {
		t.Fatal("the case expects nothing")
	}
	at := upstream(t, func(nc net.Conn, n int) {
		r := bufio.NewReader(nc)
		for turn := 0; ; turn++ {
			if skipRequest(r) != nil {
				return
			}
			answer := []byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nagain")
			if n == 0 && turn == 0 {
				answer = send
			}
			if _, err := nc.Write(answer); err != nil || closes && n == 0 && turn == 0 {
				return
			}
		}
	})
	got := fetch(t, c, to("http", at, method, "/", nil))
	if got != want[0] {
		t.Errorf("got %s", got)
	}
	for _, w := range want[1:] {
		in, err := c.Do(t.Context(), to("http", at, "GET", "/again", nil))
		if err != nil {
			t.Fatal(err)
		}
		body, err := in.ReadBody(nil)
		if err != nil || string(body) != "again" {
			t.Fatalf("the next response is %d %q, %v", in.Status, body, err)
		}
		if kept := map[bool]string{true: "kept", false: "gone"}[in.Reused]; kept != w {
			t.Errorf("the connection was %s", kept)
		}
	}
}

// fetch tells what a client makes of a response.
func fetch(t *testing.T, c *http1.Client, out *http1.Outgoing) string {
	t.Helper()
	in, err := c.Do(t.Context(), out)
	if err == nil {
		var body []byte
		if body, err = in.ReadBody(nil); err == nil {
			s := fmt.Sprintf("%d %q", in.Status, body)
			for _, f := range in.Trailer {
				s += fmt.Sprintf(" [%s: %s]", f.Name, f.Value)
			}
			if in.CloseDelimited {
				s += " close-delimited"
			}
			if in.Interim > 0 {
				s += fmt.Sprintf(" after %d", in.Interim)
			}
			return s
		}
	}
	var e *http1.Error
	if !errors.As(err, &e) {
		t.Fatalf("%v is no *Error", err)
	}
	if !e.Sent {
		t.Error("the error says that nothing was sent")
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return e.Kind.String()
	}
	return e.Error()
}
