package gateway_test

import (
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/isogate/isogate/internal/isogatetest"
)

// aToken finds a token in what the far side received.
var aToken = regexp.MustCompile(`igt1[a-z2-7]{20,}`)

// ATTACK: the far side knows somebody by a token alone. It answers with a
// redirect that has the token in a place of a request that leaves as it is. The
// gateway turns it back, the caller's HTTP client follows by itself, and the far
// side reads the original in the second request.
// THIS TEST VERIFIES: a redirect comes back with its tokens as they are, whatever
// its target is relative to, and a client that follows it carries nothing out.
//
// promise: P03
func TestARedirectDoesNotOpenTokens(t *testing.T) {
	const secret = "My salary is wrong" // the title, which leaves as a token
	for _, status := range []int{301, 302, 303, 307, 308} {
		for _, to := range []string{
			"/to/far/v1/users/u/tickets?tab=%s",
			"?tab=%s",
			"//%[2]s/to/far/v1/users/u/tickets?tab=%[1]s",
			"https://%[2]s/to/far/v1/users/u/tickets?tab=%[1]s",
		} {
			t.Run(fmt.Sprint(status, to), func(t *testing.T) {
				w := world(t, isogatetest.Config{})
				first := true
				w.Far.Answer(func(rw http.ResponseWriter, r isogatetest.Received) {
					if !first {
						return
					}
					first = false
					target := to
					if strings.Contains(target, "%[1]s") {
						target = fmt.Sprintf(target, aToken.FindString(string(r.Body)), w.Addr)
					} else {
						target = fmt.Sprintf(target, aToken.FindString(string(r.Body)))
					}
					rw.Header().Set("Location", target)
					rw.Header().Set("Content-Location", target)
					rw.WriteHeader(status)
				})
				c := w.Client(isogatetest.Product)
				c.CheckRedirect = nil // follow, as most clients do
				req, err := http.NewRequestWithContext(t.Context(), "POST", w.URL("/v1/tickets"), strings.NewReader(`{"title":"`+secret+`"}`))
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("Content-Type", "application/json")
				resp, err := c.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				_ = resp.Body.Close()
				for i, r := range w.Far.Received() {
					if strings.Contains(r.Target, "salary") {
						t.Errorf("request %d carried the original out: %s", i+1, r.Target)
					}
				}
			})
		}
	}
}

// ATTACK: the far side puts a token where its original, once turned back, is read
// as something else: a line of an event stream, a program, a style sheet, a row
// of a table, or text in an encoding in which harmless bytes are not harmless.
// THIS TEST VERIFIES: tokens are turned back only in the formats that an
// original can be escaped for, and in plain text; elsewhere they stay.
func TestTokensStayWhereOriginalsCannotBeEscaped(t *testing.T) {
	const secret = `a\n\ndata: forged\n=cmd,\"` // as JSON
	for typ, opened := range map[string]bool{
		"text/plain":                          true,
		"text/plain; charset=utf-8":           true,
		`text/plain; charset="UTF-8"`:         true,
		"text/plain; charset=us-ascii":        true,
		"application/json":                    true,
		"application/problem+json":            true,
		"text/html; charset=utf-8":            true,
		"text/event-stream":                   false,
		"text/javascript":                     false,
		"text/css":                            false,
		"text/csv":                            false,
		"application/javascript":              false,
		"application/octet-stream":            false,
		"":                                    false,
		"text/html; charset=utf-7":            false,
		"text/html; charset=iso-2022-jp":      false,
		"application/json; charset=utf-16":    false,
		"text/html; a=b; charset=iso-2022-jp": false,
		"text/html; charset=utf-8; charset=x": false,
	} {
		t.Run(typ, func(t *testing.T) {
			w := world(t, isogatetest.Config{})
			w.Far.Answer(func(rw http.ResponseWriter, r isogatetest.Received) {
				rw.Header()["Content-Type"] = nil // or net/http guesses one
				if typ != "" {
					rw.Header().Set("Content-Type", typ)
				}
				_, _ = io.WriteString(rw, `"`+aToken.FindString(string(r.Body))+`"`)
			})
			_, body := call(t, w.Client(isogatetest.Product), "POST", w.URL("/v1/tickets"), `{"title":"`+secret+`"}`)
			if got := !aToken.MatchString(body); got != opened {
				t.Errorf("turned back: %t, want %t: %q", got, opened, body)
			}
		})
	}
}
