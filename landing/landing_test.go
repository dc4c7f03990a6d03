package landing_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/seal"
	"github.com/isogate/isogate/landing"
)

// desk is what a landing is to the client: it opens the seals of one key.
type desk struct {
	epoch   *seal.Epoch
	sealer  *seal.Sealer
	passage seal.Passage
	calls   int
	asked   int
	answer  func(http.ResponseWriter, *http.Request) bool // true: it has answered
}

func newDesk(tb testing.TB) *desk {
	tb.Helper()
	d := &desk{}
	var err error
	if d.epoch, err = seal.NewEpoch(); err != nil {
		tb.Fatal(err)
	}
	now := time.Now()
	d.sealer, err = seal.NewSealer(seal.Context{Tenant: "acme", Destination: "support-portal", Transit: "support-session", ByRequest: true}, &seal.Statement{
		Destination: "support-portal", Epoch: d.epoch.ID(), Public: d.epoch.Public(), NotBefore: now.Add(-time.Minute), NotAfter: now.Add(time.Hour), Max: time.Hour}, nil)
	if err != nil {
		tb.Fatal(err)
	}
	d.passage = d.sealer.Passage()
	return d
}

func (d *desk) seal(tb testing.TB, kind isogate.Kind, text string) string {
	tb.Helper()
	out, ok := d.passage.Append(nil, "personal.name", isogate.Value{Kind: kind, Text: []byte(text)})
	if !ok {
		tb.Fatal("not sealed")
	}
	return string(out)
}

func (d *desk) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.calls++
	if d.answer != nil && d.answer(w, r) {
		return
	}
	var body struct {
		Seals []string `json:"seals"`
	}
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 2<<20)).Decode(&body)
	switch {
	case r.URL.Path != "/.isogate/open" || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" || err != nil || len(body.Seals) > 1000:
		w.WriteHeader(http.StatusBadRequest)
		return
	case r.Header.Get("Authorization") != "Bearer anna's token":
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, `{"type":"urn:isogate:problem:unauthorised","title":"Unauthorized","status":401,"detail":"this needs a viewer's token"}`)
		return
	}
	d.asked += len(body.Seals)
	values := []map[string]string{}
	for _, s := range body.Seals {
		id, raw, _ := seal.Parse([]byte(s))
		switch o, outcome := d.sealer.OpenSeal(nil, id, raw); {
		case outcome == seal.Revealed:
			values = append(values, map[string]string{"state": "revealed", "kind": o.Kind.String(), "value": string(o.Value)})
		case id != d.sealer.ID():
			values = append(values, map[string]string{"state": "expired"})
		default:
			values = append(values, map[string]string{"state": "sealed"})
		}
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"values": values})
}

func client(t *testing.T, d *desk) *landing.Client {
	t.Helper()
	s := httptest.NewTLSServer(d)
	t.Cleanup(s.Close)
	return &landing.Client{URL: s.URL, HTTP: s.Client(), Token: "anna's token"}
}

func TestOpen(t *testing.T) {
	d, gone := newDesk(t), newDesk(t)
	c := client(t, d)
	mia := d.seal(t, isogate.String, "Mia")
	damaged := mia[:60] + map[bool]string{true: "b", false: "a"}[mia[60] == 'a'] + mia[61:]
	got, err := c.Open(t.Context(), mia, d.seal(t, isogate.Number, "17"), "no seal", gone.seal(t, isogate.String, "Mia"), damaged, mia[:50], mia)
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, v := range got {
		texts = append(texts, v.State.String()+" "+v.Kind+" "+v.Text())
	}
	want := []string{"revealed string Mia", "revealed number 17", "sealed  ", "expired  ", "sealed  ", "sealed  ", "revealed string Mia"}
	if !reflect.DeepEqual(texts, want) {
		t.Errorf("got %q, want %q", texts, want)
	}
	if d.calls != 1 || d.asked != 5 {
		t.Errorf("%d calls with %d seals", d.calls, d.asked)
	}
	if got, err := c.Open(t.Context()); err != nil || len(got) != 0 || d.calls != 1 {
		t.Error(got, err)
	}
}

func TestOpenManyAndLong(t *testing.T) {
	d := newDesk(t)
	c := client(t, d)
	var seals []string
	for i := range 1201 {
		seals = append(seals, d.seal(t, isogate.String, fmt.Sprint("v", i)))
	}
	for range 3 {
		seals = append(seals, d.seal(t, isogate.String, strings.Repeat("<", 300_000)))
	}
	seals = append(seals, d.seal(t, isogate.String, strings.Repeat("x", 900_000)))
	got, err := c.Open(t.Context(), seals...)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range got[:1201] {
		if v.Text() != fmt.Sprint("v", i) {
			t.Fatalf("%d: %s", i, v.Text())
		}
	}
	if len(got[1203].Text()) != 300_000 || len(got[1204].Text()) != 900_000 || d.calls < 6 {
		t.Error(d.calls)
	}
}

func TestRevealAndFind(t *testing.T) {
	d, gone := newDesk(t), newDesk(t)
	c := client(t, d)
	mia, awkward, old := d.seal(t, isogate.String, "Mia"), d.seal(t, isogate.String, `<"&`), gone.seal(t, isogate.String, "Mia")
	number := d.seal(t, isogate.Number, "17")
	text := mia + ", " + strings.ToUpper(mia) + " " + awkward + " " + old + " " + mia[:40] + " igt1abc"
	if got := landing.Find([]byte(text)); !reflect.DeepEqual(got, []string{mia, awkward, old}) {
		t.Errorf("%q", got)
	}
	got, err := c.Reveal(t.Context(), []byte(text), landing.HTML)
	if want := "Mia, Mia &lt;&#34;&amp; [expired] [sealed] igt1abc"; err != nil || string(got) != want {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
	if d.asked != 3 {
		t.Errorf("%d seals were asked for, want 3", d.asked)
	}
	got, err = c.Reveal(t.Context(), []byte(`{"a":"`+awkward+`","n":"`+number+`"}`), landing.JSON)
	if want := `{"a":"<\"&","n":17}`; err != nil || string(got) != want {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
	got, err = c.Reveal(t.Context(), []byte("?q="+awkward), landing.URL)
	if want := "?q=%3C%22%26"; err != nil || string(got) != want {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
	if got, err := c.Reveal(t.Context(), []byte("nothing"), landing.Plain); err != nil || string(got) != "nothing" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := c.Reveal(t.Context(), nil, 9); err == nil {
		t.Error("an unknown Escape")
	}
}

func TestErrors(t *testing.T) {
	d := newDesk(t)
	c := client(t, d)
	mia := d.seal(t, isogate.String, "Mia")
	wrong := *c
	wrong.Token = "another"
	var e *landing.Error
	if _, err := wrong.Open(t.Context(), mia); !errors.As(err, &e) || e.Status != 401 || e.Code != "unauthorised" || e.Detail != "this needs a viewer's token" {
		t.Errorf("%v", err)
	}
	answer := func(status int, body string, fields ...string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, _ *http.Request) bool {
			for i := 0; i < len(fields); i += 2 {
				w.Header().Set(fields[i], fields[i+1])
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
			return true
		}
	}
	for what, c2 := range map[string]struct {
		answer func(http.ResponseWriter, *http.Request) bool
		says   string
	}{
		"no JSON":       {answer(200, "Mia"), "is this a landing?"},
		"too few":       {answer(200, `{"values":[]}`), "one value for each of 1 seals"},
		"too many":      {answer(200, `{"values":[{},{}]}`), "one value for each of 1 seals"},
		"a new kind":    {answer(200, `{"values":[{"state":"revealed","kind":"secret Mia, of a new kind","value":"Mia"}]}`), "this client is too old"},
		"too long":      {answer(200, strings.Repeat(" ", 17<<20)), "too long"},
		"a bad gateway": {answer(502, "<html>"), "status 502"},
		"busy":          {answer(429, `{"type":"urn:isogate:problem:too-many","detail":"wait"}`, "Retry-After", "7"), "(too-many): wait"},
		"a redirect":    {answer(307, "", "Location", "https://192.0.2.1/"), "status 307"},
	} {
		d.answer = c2.answer
		got, err := c.Open(t.Context(), mia)
		if err == nil || got != nil || !strings.Contains(err.Error(), c2.says) {
			t.Errorf("%s: %v; want %q", what, err, c2.says)
		}
		if errors.As(err, &e) && what == "busy" && e.RetryAfter != 7*time.Second {
			t.Error(e.RetryAfter)
		}
		if _, err := c.Reveal(t.Context(), []byte(mia), landing.Plain); err == nil {
			t.Errorf("%s: revealed", what)
		}
	}
	d.answer = nil
	if got, err := c.Open(t.Context(), mia); err != nil || got[0].Text() != "Mia" {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Open(ctx, mia); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// ATTACK: a service is configured to ask its landing in the clear, over the
// network, where the token and the values can be read.
//
// THIS TEST VERIFIES: the client does not send the token but over TLS, or within
// the machine.
func TestAttackTokenInTheClear(t *testing.T) {
	d := newDesk(t)
	mia := d.seal(t, isogate.String, "Mia")
	h := &http.Client{Transport: refusing{t}}
	for _, u := range []string{"http://192.0.2.1", "http://desk.example", "http://127.0.0.1.desk.example", "ftp://127.0.0.1", "127.0.0.1:80", "", "https://", "https://u:p@127.0.0.1", "https://127.0.0.1/?a", "://"} {
		c := landing.Client{URL: u, HTTP: h, Token: "anna's token"}
		if _, err := c.Open(t.Context(), mia); err == nil || !strings.Contains(err.Error(), "Client.URL") || strings.Contains(err.Error(), "token's") {
			t.Errorf("%q: %v", u, err)
		}
	}
	for _, c := range []landing.Client{{URL: "https://127.0.0.1", Token: "x"}, {URL: "https://127.0.0.1", HTTP: h}} {
		if _, err := c.Open(t.Context(), mia); err == nil {
			t.Error("asked without a client, or a token")
		}
	}
	s := httptest.NewServer(d)
	t.Cleanup(s.Close)
	c := landing.Client{URL: s.URL + "/", HTTP: s.Client(), Token: "anna's token"}
	if got, err := c.Open(t.Context(), mia); err != nil || got[0].Text() != "Mia" {
		t.Errorf("over loopback: %v", err)
	}
}

type refusing struct{ t *testing.T }

func (r refusing) RoundTrip(req *http.Request) (*http.Response, error) {
	r.t.Errorf("sent to %s", req.URL)
	return nil, errors.New("not sent")
}

func TestNothingPrints(t *testing.T) {
	d := newDesk(t)
	c := client(t, d)
	got, err := c.Open(t.Context(), d.seal(t, isogate.String, "Mia"))
	if err != nil || got[0].Text() != "Mia" {
		t.Fatal(err)
	}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", slog.Any("value", got[0]), slog.Any("values", got), slog.Any("client", *c))
	b, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	client, err := json.Marshal(c)
	if err != nil || string(client) != `"REDACTED"` {
		t.Errorf("the client is marshalled as %s, %v", client, err)
	}
	for _, s := range []string{log.String(), string(b), fmt.Sprintf("%v %+v %#v %s %q %x", got, got[0], got, got[0], got[0], got[0]), fmt.Sprintf("%v %+v %#v", *c, *c, *c), string(client)} {
		if strings.Contains(s, "Mia") || strings.Contains(s, "4d6961") || strings.Contains(s, "anna's token") {
			t.Errorf("printed: %s", s)
		}
	}
	if s := landing.State(9).String(); s != "invalid(9)" {
		t.Error(s)
	}
}
