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
	"sync/atomic"
	"testing"
	"time"

	"github.com/isogate/isogate/internal/http1"
)

// TestScripts plays the files of testdata, one attack each, as bytes on a
// connection. A file opens with the attack and with what it verifies. Its cases
// begin with "== name"; their lines are
//
//	> text        bytes to send, escaped as in a Go string
//	>N> text      the same, N times over
//	> EOF         the sending side is closed
//	< 200 text    an answer with this status and body, in this order
//	< 100         an interim response
//	< close       the connection ends, and not by a reset
//	< open        the connection answers one more request
//	<< text       bytes that come back, escaped as in a Go string
//
// A request that is understood is answered with its method, path, query, body
// and trailers; a fault with its reason. A case whose first line is "forms" is
// played to a forward proxy: it takes every form of target, its tunnels say what
// they lead to, and then everything that comes in, and the details of a fault
// are told as well.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
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
				t.Run(name, func(t *testing.T) { play(t, strings.Split(lines, "\n")) })
			}
		})
	}
}

// describe answers with what was understood of a request.
func describe(seen *atomic.Int64) handler {
	return handler{
		exchange: func(x *http1.Exchange) {
			seen.Add(1)
			r := &x.Request
			body, err := x.ReadBody(nil)
			var f *http1.Fault
			if errors.As(err, &f) {
				_ = x.Respond(f.Status, nil, []byte(f.Reason.String()))
				return
			}
			text := r.Method + " " + r.Path
			switch r.Form {
			case http1.AuthorityForm:
				mirror(x)
				return
			case http1.AbsoluteForm:
				text = r.Method + " " + r.Scheme + "://" + r.Authority + r.Path
			case http1.AsteriskForm:
				text = r.Method + " " + r.Target
			}
			if r.RawQuery != "" {
				text += "?" + r.RawQuery
			}
			if len(body) > 0 {
				text += fmt.Sprintf(" %q", body)
			}
			for _, f := range r.Trailer {
				text += fmt.Sprintf(" [%s: %s]", f.Name, f.Value)
			}
			_ = x.Respond(200, nil, []byte(text))
		},
		fault: func(x *http1.Exchange, f *http1.Fault) { _ = x.Respond(f.Status, nil, []byte(f.Reason.String())) },
	}
}

// mirror opens a tunnel that says what it leads to, and then what it is told.
func mirror(x *http1.Exchange) {
	tunnel, err := x.Tunnel(nil)
	if err != nil {
		_ = x.Respond(400, nil, []byte(err.Error()))
		return
	}
	_, _ = io.WriteString(tunnel, x.Request.Authority+"\n")
	_, _ = io.Copy(tunnel, tunnel)
	_ = tunnel.CloseWrite()
}

// scriptLimits are small, so that scripts can go beyond them.
var scriptLimits = http1.Limits{Line: 1000, Header: 4000, Fields: 20, Target: 500, Body: 1000}

func play(t *testing.T, lines []string) {
	var seen atomic.Int64
	h := describe(&seen)
	s := &http1.Server{Limits: scriptLimits}
	if len(lines) > 0 && lines[0] == "forms" {
		h.fault = func(x *http1.Exchange, f *http1.Fault) { _ = x.Respond(f.Status, nil, []byte(f.Error())) }
		s.Forms = http1.OriginForm | http1.AbsoluteForm | http1.AuthorityForm | http1.AsteriskForm
		lines = lines[1:]
	}
	s.Handler = h
	at := serve(t, s)
	nc := connect(t, at)
	r := bufio.NewReader(nc)
	method := "GET"
	expected := false
	for i, line := range lines {
		at := fmt.Sprintf("line %d (%.60s)", i+2, line)
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case line == "> EOF":
			if err := nc.(*net.TCPConn).CloseWrite(); err != nil {
				t.Fatal(at, err)
			}
		case strings.HasPrefix(line, ">"):
			times, text, ok := strings.Cut(line[1:], "> ")
			n := 1
			if ok {
				var err error
				if n, err = strconv.Atoi(times); err != nil {
					text, n = line[2:], 1
				}
			} else {
				text = line[2:]
			}
			b, err := strconv.Unquote(`"` + text + `"`)
			if err != nil {
				t.Fatal(at, err)
			}
			if strings.HasPrefix(b, "HEAD ") {
				method = "HEAD"
			}
			if _, err := io.WriteString(nc, strings.Repeat(b, n)); err != nil && n == 1 {
				t.Fatal(at, err)
			}
		case line == "< close":
			expected = true
			if b, err := io.ReadAll(r); err != nil || len(b) > 0 {
				t.Fatalf("%s: %q, %v", at, b, err)
			}
		case line == "< open":
			expected = true
			if _, err := io.WriteString(nc, "GET /once-more HTTP/1.1\r\nHost: h\r\n\r\n"); err != nil {
				t.Fatal(at, err)
			}
			if status, body := answer(t, r, "GET"); status != 200 || body != "GET /once-more" {
				t.Fatalf("%s: %d %s", at, status, body)
			}
		case strings.HasPrefix(line, "<< "):
			expected = true
			want, err := strconv.Unquote(`"` + line[3:] + `"`)
			if err != nil {
				t.Fatal(at, err)
			}
			got := make([]byte, len(want))
			if n, err := io.ReadFull(r, got); err != nil || string(got) != want {
				t.Fatalf("%s: got %q, %v", at, got[:n], err)
			}
		case strings.HasPrefix(line, "< "):
			expected = true
			want := line[2:]
			status, body := answer(t, r, method)
			if got := strings.TrimSpace(strconv.Itoa(status) + " " + body); got != want {
				t.Fatalf("%s: got %s", at, got)
			}
		default:
			t.Fatalf("%s: not a line of a script", at)
		}
	}
	if !expected {
		t.Error("the case expects nothing")
	}
}

func connect(t testing.TB, at netip.AddrPort) net.Conn {
	t.Helper()
	nc, err := net.Dial("tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	if err := nc.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return nc
}

// answer reads one answer, knowing only what this server writes.
func answer(t testing.TB, r *bufio.Reader, method string) (status int, body string) {
	t.Helper()
	length := 0
	for first := true; ; first = false {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatalf("reading the answer: %v after %q", err, line)
		}
		line = strings.TrimSuffix(line, "\r\n")
		switch {
		case first:
			version, rest, _ := strings.Cut(line, " ")
			code, _, _ := strings.Cut(rest, " ")
			if status, err = strconv.Atoi(code); err != nil || version != "HTTP/1.1" {
				t.Fatalf("status line %q", line)
			}
		case line == "":
			if method == "HEAD" {
				length = 0
			}
			b := make([]byte, length)
			if _, err := io.ReadFull(r, b); err != nil {
				t.Fatal(err)
			}
			return status, string(b)
		default:
			if v, ok := strings.CutPrefix(line, "Content-Length: "); ok {
				if length, err = strconv.Atoi(v); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}
