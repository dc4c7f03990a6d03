package hub

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/oklog/ulid/v2"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/consent"
	"github.com/isogate/isogate/internal/remote"
)

// memory is a journal that keeps its entries in memory.
type memory struct {
	mu      sync.Mutex // guards what follows
	entries []isogate.Entry
	news    chan struct{}
	deaf    bool // followers hear nothing
	full    bool // nothing can be recorded
}

func (m *memory) Append(_ context.Context, e *isogate.Entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.full {
		return fmt.Errorf("no space left")
	}
	now := time.Now()
	e.Seq, e.Time, e.ID = uint64(len(m.entries)), now, isogate.EntryID(ulid.MustNew(ulid.Timestamp(now), rand.Reader).String())
	m.entries = append(m.entries, *e)
	close(m.news)
	m.news = make(chan struct{})
	return nil
}

func (m *memory) Follow(ctx context.Context, from uint64, every time.Duration, f func(consent.Batch) error) error {
	return m.follow(ctx, isogate.KindConsent, from, every, f)
}

// follow tells of the entries of a kind.
func (m *memory) follow(ctx context.Context, kind isogate.EntryKind, from uint64, every time.Duration, f func(consent.Batch) error) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		m.mu.Lock()
		b, news, deaf := consent.Batch{UpTo: uint64(len(m.entries)), At: time.Now()}, m.news, m.deaf
		for _, e := range m.entries[from:] {
			if e.Kind == kind {
				b.Entries = append(b.Entries, e)
			}
		}
		m.mu.Unlock()
		if !deaf {
			if err := f(b); err != nil {
				return err
			}
			from = b.UpTo
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-news:
		case <-tick.C:
		}
	}
}

func (m *memory) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.entries)
}

// office is a Hub with its ledger, and the description that every call is held against.
type office struct {
	t       *testing.T
	journal *memory
	ledger  *consent.Ledger
	hub     *Hub
	api     http.Handler
	doc     *openapi3.T
	pack    string
}

var tokens = map[string]string{"ada": "token-of-ada", "bob": "token-of-bob", "olga": "token-of-olga"}

func sum(s string) string {
	d := sha256.Sum256([]byte(s))
	return hex.EncodeToString(d[:])
}

func newOffice(t *testing.T, second ...consent.Risk) *office {
	t.Helper()
	o := &office{t: t, journal: &memory{news: make(chan struct{})}, pack: "sha256:01"}
	logger := slog.New(slog.DiscardHandler)
	var err error
	if o.ledger, err = consent.New(consent.Config{Journal: o.journal, Logger: logger, Second: second, Lease: time.Minute}); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- o.ledger.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	o.hub, err = New(Config{Ledger: o.ledger, Logger: logger, Describe: func(_ consent.Party, r remote.Row) consent.Egress {
		return consent.Egress{Pack: o.pack, Words: "what the pack says", Ways: []consent.Way{{Transit: "bot-api", To: r.Host,
			Leaves: []consent.Leaf{{Label: "system.status", Action: "allow", Handling: "persisted", Because: "why"}}}}}
	}, Desk: newDesk(t, o.journal)})
	if err != nil {
		t.Fatal(err)
	}
	o.api = o.hub.API()
	if o.doc, err = openapi3.NewLoader().LoadFromData(openAPI); err != nil {
		t.Fatal(err)
	}
	for o.ledger.InTouch() != nil && ctx.Err() == nil {
		_, next := o.ledger.Watch()
		select {
		case <-next:
		case <-time.After(time.Millisecond):
		}
	}
	return o
}

// result is an answer of the API.
type result struct {
	t      *testing.T
	status int
	header http.Header
	body   []byte
}

// call acts as an administrator. Whatever is sent and answered must be as
// openapi.json says, unless the request was not understood.
func (o *office) call(who, method, path, body string) result {
	o.t.Helper()
	r := httptest.NewRequest(method, Prefix+path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+tokens[who])
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/json")
		if strings.HasPrefix(path, "/apps?") || path == "/apps" || strings.Contains(path, "/diff") {
			r.Header.Set("Content-Type", "application/yaml")
		}
	}
	return o.send(r)
}

func (o *office) send(r *http.Request) result {
	o.t.Helper()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		o.t.Fatal(err)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	w := httptest.NewRecorder()
	o.api.ServeHTTP(w, r)
	res := result{o.t, w.Code, w.Header(), w.Body.Bytes()}
	o.conforms(r, body, res)
	return res
}

// conforms holds a request and its answer against openapi.json.
func (o *office) conforms(r *http.Request, body []byte, res result) {
	o.t.Helper()
	pattern := r.Pattern
	if pattern == "" { // it went through a clone
		_, pattern = o.hub.mux.Handler(r)
	}
	method, path, _ := strings.Cut(pattern, " "+Prefix)
	item := o.doc.Paths.Value(path)
	if item == nil {
		if res.status < 400 {
			o.t.Errorf("%s %s is not described", r.Method, r.URL.Path)
		}
		return
	}
	op := item.GetOperation(method)
	params := map[string]string{}
	match := http.NewServeMux()
	match.HandleFunc(pattern, func(_ http.ResponseWriter, r *http.Request) {
		for _, name := range []string{"kind", "name", "id", "digest"} {
			params[name] = r.PathValue(name)
		}
	})
	again := r.Clone(context.Background())
	match.ServeHTTP(httptest.NewRecorder(), again)
	again.Body = io.NopCloser(bytes.NewReader(body))
	in := &openapi3filter.RequestValidationInput{Request: again, PathParams: params, QueryParams: r.URL.Query(),
		Route:   &routers.Route{Spec: o.doc, Path: path, PathItem: item, Method: method, Operation: op},
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, IncludeResponseStatus: true}}
	understood := res.status < 300 || res.status == http.StatusConflict
	if err := openapi3filter.ValidateRequest(context.Background(), in); err != nil && understood {
		o.t.Errorf("%s %s was taken, and is not as described: %v", method, path, err)
	}
	out := &openapi3filter.ResponseValidationInput{RequestValidationInput: in, Status: res.status, Header: res.header, Options: in.Options}
	out.SetBodyBytes(res.body)
	if err := openapi3filter.ValidateResponse(context.Background(), out); err != nil {
		o.t.Errorf("%s %s: the answer is not as described: %v\n%s", method, path, err, res.body)
	}
}

// want checks the status, and for a refusal that it says why.
func (r result) want(status int, words ...string) result {
	r.t.Helper()
	if r.status != status {
		r.t.Fatalf("status %d, want %d: %s", r.status, status, r.body)
	}
	if status >= 400 && r.header.Get("Content-Type") != ProblemType {
		r.t.Errorf("a refusal of type %q", r.header.Get("Content-Type"))
	}
	for _, w := range words {
		if !strings.Contains(string(r.body), w) {
			r.t.Errorf("the answer does not say %q: %s", w, r.body)
		}
	}
	return r
}

func into[T any](r result) (v T) {
	r.t.Helper()
	d := json.NewDecoder(bytes.NewReader(r.body))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		r.t.Fatalf("%v: %s", err, r.body)
	}
	return v
}

// manifest is a native one of an app with hosts.
func manifest(name string, hosts ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "isogate: 1\napp: bot\nname: %s\nvendor: Bots\nversion: \"1.0\"\nremotes:\n", name)
	for _, h := range hosts {
		fmt.Fprintf(&b, "  - {host: %q, kind: backend, operations: [storage]}\n", h)
	}
	return b.String()
}

// asked imports a manifest and returns its request.
func (o *office) asked(hosts ...string) Consent {
	o.t.Helper()
	im := into[Import](o.call("ada", "POST", "/apps", manifest("Bot", hosts...)).want(200))
	return into[Consent](o.call("ada", "GET", "/consents/"+string(im.Request), "").want(200))
}

// granted is the body of a grant of all that a request asks for.
func granted(c Consent, more string) string {
	return fmt.Sprintf(`{"reason":"needed","prompt":%q%s}`, c.PromptDigest, more)
}

func (o *office) grant(who string, c Consent, more string) result {
	o.t.Helper()
	return o.call(who, "POST", "/consents/"+string(c.ID)+"/grant", granted(c, more))
}

func (o *office) allows(host string) bool {
	p, _ := o.ledger.State().Allows(consent.Ask{Party: "app/bot", Kinds: []remote.Kind{remote.Backend, remote.Remote}, Host: host, Port: 443}, time.Now())
	return p.Grant != nil
}
