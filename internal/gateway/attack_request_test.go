package gateway_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/isogate/isogate/internal/isogatetest"
)

// ATTACK: a guard reads a header; the caller sends it twice, first the value that
// the guard wants and then the one that the receiver acts on.
// THIS TEST VERIFIES: such a request is refused, whether the guard asks for a
// value or for the header's absence.
func TestAHeaderSentTwiceSatisfiesNoGuard(t *testing.T) {
	for when, cases := range map[string][]struct {
		header []string
		leaves bool
	}{
		`headers["x-request-id"] == "1"`: {
			{[]string{"X-Request-Id", "1"}, true},
			{[]string{"X-Request-Id", "2"}, false},
			{[]string{"X-Request-Id", "1", "X-Request-Id", "2"}, false},
		},
		`!("x-request-id" in headers)`: {
			{nil, true},
			{[]string{"X-Request-Id", "1"}, false},
			{[]string{"X-Request-Id", "1", "x-request-id", "1"}, false},
			{[]string{"X-Request-Id", ""}, false},
		},
	} {
		files := pack()
		files["transits/tickets.yaml"] = strings.Replace(files["transits/tickets.yaml"],
			"{label: personal.contact.email, as: allow,", "{label: personal.contact.email, as: allow, when: '"+when+"',", 1)
		for _, tc := range cases {
			w := world(t, isogatetest.Config{Pack: files})
			resp, body := call(t, w.Client(isogatetest.Product), "POST", w.URL("/v1/tickets"), ticket, tc.header...)
			if len(tc.header) > 2 || len(tc.header) == 2 && tc.header[1] == "" {
				refused(t, w, resp, body, 400, "header")
				continue
			}
			if resp.StatusCode != 200 {
				t.Fatalf("%s, %v: %s %s", when, tc.header, resp.Status, body)
			}
			if got := strings.Contains(string(w.Far.Received()[0].Body), "ada@acme.example"); got != tc.leaves {
				t.Errorf("%s, %v: the address left: %t, want %t", when, tc.header, got, tc.leaves)
			}
		}
	}
}

// ATTACK: a caller puts data where the journal takes the caller's word: the
// method, the path, the names of things, in requests that are refused.
// THIS TEST VERIFIES: neither the answer nor any entry repeats what was sent.
//
// promise: P21
func TestRefusalsRepeatNothing(t *testing.T) {
	w := world(t, isogatetest.Config{})
	const secret = "ADA-LOVELACE-4711"
	for name, head := range map[string]string{
		"method":                secret + " /to/far/v1/tickets HTTP/1.1\r\nHost: g\r\n",
		"method, no version":    secret + " /to/far/v1/tickets\r\nHost: g\r\n",
		"path":                  "GET /to/far/" + secret + " HTTP/1.1\r\nHost: g\r\n",
		"door":                  "GET /" + secret + " HTTP/1.1\r\nHost: g\r\n",
		"destination":           "GET /to/" + secret + "/x HTTP/1.1\r\nHost: g\r\n",
		"path, ambiguous":       "GET /to/far/" + secret + "/../x HTTP/1.1\r\nHost: g\r\n",
		"parameter, ambiguous":  "GET /to/far/v1/users/" + secret + "%2f/tickets HTTP/1.1\r\nHost: g\r\n",
		"query name":            "GET /to/far/v1/users/u/tickets?" + secret + "=%zz HTTP/1.1\r\nHost: g\r\n",
		"query value":           "GET /to/far/v1/users/u/tickets?tab=" + secret + "%00 HTTP/1.1\r\nHost: g\r\n",
		"host":                  "GET /to/far/v1/tickets HTTP/1.1\r\nHost: " + secret + "/\r\n",
		"header name":           "GET /to/far/v1/tickets HTTP/1.1\r\nHost: g\r\n" + secret + " : x\r\n",
		"header value":          "GET /to/far/v1/tickets HTTP/1.1\r\nHost: g\r\nX-Request-Id: " + secret + "\x01\r\n",
		"named value, not text": "GET /to/far/v1/users/u/tickets HTTP/1.1\r\nHost: g\r\nX-Request-Id: " + secret + "\xff\r\n",
		"cookie":                "GET /to/far/v1/users/u/tickets HTTP/1.1\r\nHost: g\r\nCookie: theme=\"" + secret + "\"\r\n",
		"expectation":           "GET /to/far/v1/tickets HTTP/1.1\r\nHost: g\r\nExpect: " + secret + "\r\n",
		"coding":                "POST /to/far/v1/tickets HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: " + secret + "\r\n",
		"connection":            "POST /to/far/v1/tickets HTTP/1.1\r\nHost: g\r\nConnection: " + secret + "\r\n",
		"media type":            "POST /to/far/v1/tickets HTTP/1.1\r\nHost: g\r\nContent-Type: " + secret + "/x\r\nContent-Length: 2\r\n",
		"encoding":              "POST /to/far/v1/tickets HTTP/1.1\r\nHost: g\r\nContent-Encoding: " + secret + "\r\nContent-Length: 2\r\n",
		"credentials":           "GET /to/far/v1/tickets HTTP/1.1\r\nHost: g\r\nProxy-Authorization: Bearer " + secret + "\r\n",
		"member, twice": "POST /to/far/v1/tickets HTTP/1.1\r\nHost: g\r\nContent-Type: application/json\r\nContent-Length: 47\r\n\r\n" +
			`{"` + secret + `":1,"` + secret + `":2} `,
	} {
		t.Run(name, func(t *testing.T) {
			before := len(w.Entries())
			c := w.Dial(isogatetest.Product)
			if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(c, head+"\r\n{}"); err != nil {
				t.Fatal(err)
			}
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			entries := w.Entries()[before:]
			told, err := json.Marshal(entries)
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode < 400 || len(entries) == 0 {
				t.Errorf("%s, %d entries", resp.Status, len(entries))
			}
			if all := fmt.Sprint(resp.Header, string(body), string(told)); strings.Contains(strings.ToUpper(all), secret) {
				t.Errorf("it is repeated: %s", all)
			}
		})
	}
	if got := w.Far.Received(); len(got) > 0 {
		t.Errorf("arrived: %+v", got)
	}
}
