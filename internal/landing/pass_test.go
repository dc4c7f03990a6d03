package landing

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/isogate/isogate/internal/http1"
	"github.com/isogate/isogate/internal/vault"
)

// THIS TEST VERIFIES: bodies pass untouched both ways, by length and in chunks, by
// both edges, with methods, queries and statuses as they are.
func TestBodiesPass(t *testing.T) {
	w := newWorld(t, nil)
	w.far.answers(func(rw http.ResponseWriter, r *http.Request, body string) {
		rw.Header().Set("X-Asked", r.Method+" "+r.URL.String())
		rw.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(rw, body)
	})
	big := strings.Repeat("0123456789abcdef", 1<<16)
	for _, body := range []string{"", "a", big} {
		for _, chunked := range []bool{false, true} {
			for _, edge := range []string{"gateways", "viewers"} {
				c, url := w.gateway("acme"), "https://"+w.gateways
				if edge == "viewers" {
					c, url = w.browser(), "https://"+w.viewers
				}
				var r io.Reader = strings.NewReader(body)
				if chunked {
					r = io.MultiReader(r)
				}
				req, err := http.NewRequest("PUT", url+"/a/b?c=d&e", r)
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("Authorization", "Bearer "+agent)
				res, err := c.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(res.Body)
				_ = res.Body.Close()
				if err != nil || res.StatusCode != http.StatusTeapot || string(got) != body || res.Header.Get("X-Asked") != "PUT /a/b?c=d&e" {
					t.Errorf("%s, %d bytes, chunked %v: %d %q, %d bytes back, %v", edge, len(body), chunked, res.StatusCode, res.Header.Get("X-Asked"), len(got), err)
				}
			}
		}
	}
}

// ATTACK: the service hangs, is gone, or answers what is no HTTP; a caller asks for
// an upgrade, through which nothing would be looked at.
//
// THIS TEST VERIFIES: the caller gets a refusal that does not quote the service.
func TestServiceThatFails(t *testing.T) {
	hang := make(chan struct{})
	w := newWorld(t, func(c *Config, _ *vault.Config) { c.Timeouts = http1.ClientTimeouts{Head: 100 * time.Millisecond} })
	w.far.answers(func(http.ResponseWriter, *http.Request, string) { <-hang })
	if r := w.send(w.gateway("acme"), "", nil); r.status != 504 || r.header.Get("Isogate-Landing") != "" {
		t.Errorf("a service that hangs: %d %v %s", r.status, r.header, r.body)
	}
	if r := w.look(agent, "/"); r.status != 504 {
		t.Errorf("a service that hangs: %d %s", r.status, r.body)
	}
	close(hang)
	w.far.answers(func(rw http.ResponseWriter, _ *http.Request, _ string) {
		c, _, err := http.NewResponseController(rw).Hijack()
		if err != nil {
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nsecret")
		_ = c.Close()
	})
	for _, r := range []reply{w.send(w.gateway("acme"), "", nil), w.look(agent, "/")} {
		if r.status != 502 || strings.Contains(r.body, "secret") {
			t.Errorf("a service that is no service: %d %s", r.status, r.body)
		}
	}
	if r := w.look(agent, "/", "Connection", "Upgrade", "Upgrade", "websocket"); r.status != 501 {
		t.Errorf("an upgrade is answered %d", r.status)
	}
	w.far.server.Close()
	if r := w.send(w.gateway("acme"), "", nil); r.status != 502 {
		t.Errorf("a service that is gone: %d %s", r.status, r.body)
	}
}
