package gateway_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/isogatetest"
)

// ATTACK: a request that two programs read differently (request smuggling): the
// gateway judges one reading, the receiver acts on the other.
// THIS TEST VERIFIES: each such request is refused with a problem+json and an
// entry, the connection ends, and neither it nor what hides behind it arrives.
func TestFramingThatCanBeReadTwiceIsRefused(t *testing.T) {
	w := world(t, isogatetest.Config{})
	const hidden = "POST /to/far/v1/tickets HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Type: application/json\r\n\r\n{}"
	head := func(lines ...string) string {
		return "POST /to/far/v1/tickets HTTP/1.1\r\nHost: gateway\r\n" + strings.Join(lines, "\r\n") + "\r\n\r\n"
	}
	const json = "Content-Type: application/json"
	for name, raw := range map[string]string{
		"length and chunked":           head(json, "Content-Length: 4", "Transfer-Encoding: chunked") + "0\r\n\r\n" + hidden,
		"chunked and length":           head(json, "Transfer-Encoding: chunked", "Content-Length: 4") + "0\r\n\r\n" + hidden,
		"two lengths":                  head(json, "Content-Length: 2", "Content-Length: 40") + "{}" + hidden,
		"a list of lengths":            head(json, "Content-Length: 2, 2") + "{}",
		"a signed length":              head(json, "Content-Length: +2") + "{}",
		"a hexadecimal length":         head(json, "Content-Length: 0x2") + "{}",
		"another coding":               head(json, "Transfer-Encoding: xchunked") + "0\r\n\r\n",
		"two codings":                  head(json, "Transfer-Encoding: gzip, chunked") + "0\r\n\r\n",
		"a folded line":                head(json, "X-A: b\r\n c", "Content-Length: 2") + "{}",
		"a folded coding":              head(json, "Transfer-Encoding:\r\n chunked") + "0\r\n\r\n",
		"a bare line feed":             "POST /to/far/v1/tickets HTTP/1.1\nHost: gateway\nContent-Length: 2\n\n{}",
		"a space before the colon":     head(json, "Content-Length : 2") + "{}",
		"two content types":            head(json, "Content-Type: text/plain", "Content-Length: 2") + "{}",
		"two hosts":                    "POST /to/far/v1/tickets HTTP/1.1\r\nHost: a\r\nHost: b\r\nContent-Length: 0\r\n\r\n",
		"no host":                      "POST /to/far/v1/tickets HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
		"TRACE":                        "TRACE /to/far/v1/tickets HTTP/1.1\r\nHost: gateway\r\n\r\n",
		"CONNECT":                      "CONNECT far.example.com:443 HTTP/1.1\r\nHost: far.example.com:443\r\n\r\n",
		"an absolute target":           "POST https://far.example.com/v1/tickets HTTP/1.1\r\nHost: far.example.com\r\nContent-Length: 0\r\n\r\n",
		"dot segments":                 "POST /to/far/v1/x/../tickets HTTP/1.1\r\nHost: gateway\r\nContent-Length: 0\r\n\r\n",
		"encoded dot segments":         "POST /to/far/v1/x/%2e%2E/tickets HTTP/1.1\r\nHost: gateway\r\nContent-Length: 0\r\n\r\n",
		"an encoded slash":             "POST /to/far/v1%2ftickets HTTP/1.1\r\nHost: gateway\r\nContent-Length: 0\r\n\r\n",
		"a backslash":                  "POST /to/far\\v1/tickets HTTP/1.1\r\nHost: gateway\r\nContent-Length: 0\r\n\r\n",
		"a fragment":                   "POST /to/far/v1/tickets#x HTTP/1.1\r\nHost: gateway\r\nContent-Length: 0\r\n\r\n",
		"an expectation of its own":    head(json, "Expect: 100-continue, x", "Content-Length: 2") + "{}",
		"an upgrade":                   head("Connection: Upgrade", "Upgrade: websocket", "Content-Length: 0"),
		"cleartext HTTP/2":             head("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk", "Content-Length: 0"),
		"HTTP/2's preface":             "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"a named header to be dropped": head(json, "Connection: X-Request-Id", "X-Request-Id: 1", "Content-Length: 2") + "{}",
		"a chunk extension":            head(json, "Transfer-Encoding: chunked") + "2;a=b\r\n{}\r\n0\r\n\r\n",
		"a chunk size with a sign":     head(json, "Transfer-Encoding: chunked") + "+2\r\n{}\r\n0\r\n\r\n",
		"a chunk ending with LF":       head(json, "Transfer-Encoding: chunked") + "2\n{}\r\n0\r\n\r\n",
		"a chunk without an end":       head(json, "Transfer-Encoding: chunked") + "2\r\n{}0\r\n\r\n",
		"a chunk size that overflows":  head(json, "Transfer-Encoding: chunked") + "ffffffffffffffff1\r\n{}\r\n0\r\n\r\n",
		"a trailer that means framing": head(json, "Transfer-Encoding: chunked") + "2\r\n{}\r\n0\r\nContent-Length: 5\r\n\r\n",
		"HTTP/1.0 in chunks":           "POST /to/far/v1/tickets HTTP/1.0\r\nHost: gateway\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			before := len(w.Entries())
			c := w.Dial(isogatetest.Product)
			if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(c, raw); err != nil {
				t.Fatal(err)
			}
			r := bufio.NewReader(c)
			resp, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatalf("no answer: %v", err)
			}
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode < 400 || resp.Header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("%s %s", resp.Status, body)
			}
			if rest, err := io.ReadAll(r); err != nil || len(rest) > 0 {
				t.Errorf("the connection went on: %q %v", rest, err)
			}
			if got := w.Far.Received(); len(got) > 0 {
				t.Fatalf("arrived: %+v", got)
			}
			entries := w.Entries()[before:]
			if len(entries) != 1 || entries[0].Decision != "refused" || entries[0].Status != resp.StatusCode {
				t.Errorf("entries %+v", entries)
			}
		})
	}
}

// ATTACK: somebody without an identity knocks without end. Each refusal is an
// entry, so that the journal's disk fills up and nothing leaves any more for anybody.
// THIS TEST VERIFIES: after a burst their refusals are only counted, the count is
// in a later entry, and a known caller is served all the while.
func TestStrangersCannotFillTheJournal(t *testing.T) {
	w := world(t, isogatetest.Config{})
	stranger, product := w.Client(""), w.Client(isogatetest.Product)
	statuses := map[int]int{}
	for range 600 {
		resp, _ := call(t, stranger, "POST", w.URL("/v1/tickets"), ticket)
		statuses[resp.StatusCode]++
	}
	if statuses[429] == 0 || statuses[401] == 0 || statuses[401]+statuses[429] != 600 {
		t.Errorf("answers %v, want 401 and then 429", statuses)
	}
	if resp, body := call(t, product, "POST", w.URL("/v1/tickets"), ticket); resp.StatusCode != 200 {
		t.Errorf("a known caller: %s %s", resp.Status, body)
	}
	// Knock on until one is recorded again; it says how many were not.
	counted := 0
	for range 100_000 {
		if resp, _ := call(t, stranger, "POST", w.URL("/v1/tickets"), ticket); resp.StatusCode == 401 {
			break
		}
		statuses[429]++
	}
	refusals := 0
	for _, e := range w.Entries() {
		if e.Decision == "refused" {
			refusals++
			n, err := strconv.Atoi(e.Detail["unrecorded"])
			if err == nil {
				counted += n
			}
		}
	}
	if refusals >= 600 || counted != statuses[429] {
		t.Errorf("%d refusals have an entry; %d are counted, %d were answered 429", refusals, counted, statuses[429])
	}
}

// ATTACK: the clock is set back, so that a rule that is over is in force again.
// THIS TEST VERIFIES: a request is never judged by an earlier time than one before it.
//
// promise: P09
func TestAClockSetBackDoesNotRevive(t *testing.T) {
	var now atomic.Pointer[time.Time]
	set := func(at time.Time) { now.Store(&at) }
	over := time.Date(2030, 7, 1, 0, 0, 0, 0, time.UTC)
	set(over)
	w := world(t, isogatetest.Config{Now: func() time.Time { return *now.Load() }})
	c, auth := w.Client(""), []string{"Proxy-Authorization", "Bearer " + isogatetest.Token}
	for _, at := range []time.Time{over, over.Add(-24 * time.Hour)} {
		set(at)
		if resp, body := call(t, c, "POST", w.URL("/v1/tickets"), ticket, auth...); resp.StatusCode != 200 {
			t.Fatalf("at %s: %s %s", at, resp.Status, body)
		}
	}
	for i, r := range w.Far.Received() {
		if bytes.Contains(r.Body, []byte("Ada L")) {
			t.Errorf("request %d: a rule that is over released: %s", i, r.Body)
		}
	}
}

// ATTACK: a caller announces a large body on many connections and sends none of
// it, or sends all but its end.
// THIS TEST VERIFIES: nothing of a body that does not come to its end arrives.
func TestABodyThatDoesNotEndDoesNotLeave(t *testing.T) {
	w := world(t, isogatetest.Config{})
	for _, sent := range []string{"", `{"state":"open"`} {
		c := w.Dial(isogatetest.Product)
		_, err := fmt.Fprintf(c, "POST /to/far/v1/tickets HTTP/1.1\r\nHost: g\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n%s", sent)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != 400 {
			t.Errorf("%s, want 400", resp.Status)
		}
	}
	if got := w.Far.Received(); len(got) > 0 {
		t.Errorf("arrived: %+v", got)
	}
	for _, e := range w.Entries() {
		if e.Stage != isogate.StageRefused {
			t.Errorf("entry %+v", e)
		}
	}
}
