package gateway_test

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/isogatetest"
)

// bigTicket is a body of about n bytes with a released field at both ends and
// withheld ones between.
func bigTicket(n int, tail string) string {
	var b strings.Builder
	b.WriteString(`{"user":{"email":"ada@acme.example"},"notes":[`)
	for i := 0; b.Len() < n; i++ {
		if i > 0 {
			b.WriteByte(',')
		}
		_, _ = fmt.Fprintf(&b, `{"text":"secret-%d"}`, i)
	}
	b.WriteString(`],"state":"open"`)
	b.WriteString(tail)
	return b.String()
}

// unsized hides a reader's length, so that the client sends chunks.
type unsized struct{ io.Reader }

func TestABodyTooLargeToHoldIsStreamed(t *testing.T) {
	w := world(t, isogatetest.Config{Hold: 64 << 10})
	body := bigTicket(2<<20, "}")
	for name, reader := range map[string]io.Reader{"with its length": strings.NewReader(body), "in chunks": unsized{strings.NewReader(body)}} {
		t.Run(name, func(t *testing.T) {
			before := len(w.Far.Received())
			req, err := http.NewRequestWithContext(t.Context(), "POST", w.URL("/v1/tickets"), reader)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/json")
			resp, err := w.Client(isogatetest.Product).Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if text, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != 200 {
				t.Fatalf("%s %s %v", resp.Status, text, err)
			}
			r := w.Far.Received()[before]
			if r.Broken || strings.Contains(string(r.Body), "secret") || !strings.Contains(string(r.Body), "ada@acme.example") {
				t.Errorf("arrived: broken=%v %.300s", r.Broken, r.Body)
			}
			e, closed := opened(t, w, r.Header.Get("Isogate-Entry"))
			if !e.Streamed || closed == nil || closed.BytesIn != int64(len(body)) || closed.BytesOut != int64(len(r.Body)) || len(closed.Fields) == 0 || closed.DigestOut == "" {
				t.Errorf("opened %+v\nclosed %+v", e, closed)
			}
		})
	}
}

func TestAStreamThatTurnsBadIsBrokenOffAndRecorded(t *testing.T) {
	w := world(t, isogatetest.Config{Hold: 64 << 10})
	for name, tail := range map[string]string{
		"duplicate key at the end": `,"state":"closed"}`,
		"second document":          `}{}`,
		"no end":                   ``,
	} {
		t.Run(name, func(t *testing.T) {
			before := len(w.Far.Received())
			resp, text := call(t, w.Client(isogatetest.Product), "POST", w.URL("/v1/tickets"), bigTicket(512<<10, tail))
			if resp.StatusCode != 422 {
				t.Errorf("%s %s, want 422", resp.Status, text)
			}
			id := resp.Header.Get("Isogate-Entry")
			for _, r := range w.Far.Received()[before:] {
				id = r.Header.Get("Isogate-Entry")
				if !r.Broken {
					t.Errorf("the far side took it for the whole: %.100s", r.Body)
				}
				if strings.Contains(string(r.Body), "secret") {
					t.Error("a withheld value left")
				}
			}
			if id == "" {
				return
			}
			if _, closed := opened(t, w, id); closed == nil || closed.Reason == "" || closed.Status != 422 {
				t.Errorf("closed %+v", closed)
			}
		})
	}
}

// opened returns a request's opened entry and, once everything is drained, its
// closed one.
func opened(t *testing.T, w *isogatetest.World, id string) (e isogate.Entry, closed *isogate.Entry) {
	t.Helper()
	// Append waits for its group, and groups are in order: what was queued before is durable afterwards.
	if err := w.Journal.Append(t.Context(), &isogate.Entry{Kind: isogate.KindAdmin, Act: "flush"}); err != nil {
		t.Fatal(err)
	}
	entries := w.Entries()
	i := slices.IndexFunc(entries, func(e isogate.Entry) bool { return string(e.ID) == id })
	if i < 0 {
		t.Fatalf("entry %q is not in the journal", id)
	}
	for j := range entries {
		if string(entries[j].Of) == id {
			closed = &entries[j]
		}
		for _, c := range entries[j].Closes {
			if string(c.Of) == id {
				one := entries[j]
				one.Of, one.Status, one.DurationUS = c.Of, c.Status, c.DurationUS
				closed = &one
			}
		}
	}
	return entries[i], closed
}

func TestTrailersAreJudgedLikeHeaders(t *testing.T) {
	w := world(t, isogatetest.Config{Hold: 64 << 10})
	for _, size := range []int{100, 200 << 10} { // held and streamed
		before := len(w.Far.Received())
		req, err := http.NewRequestWithContext(t.Context(), "POST", w.URL("/v1/tickets"), unsized{strings.NewReader(bigTicket(size, "}"))})
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Trailer = http.Header{"X-Checksum": {"abc"}, "X-Leak": {"secret"}}
		resp, err := w.Client(isogatetest.Product).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		r := w.Far.Received()[before]
		if r.Trailer.Get("X-Checksum") != "abc" || r.Trailer.Get("X-Leak") != "" {
			t.Errorf("size %d: trailer %v", size, r.Trailer)
		}
	}
}
