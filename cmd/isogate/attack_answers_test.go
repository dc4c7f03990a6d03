package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// ATTACK: a browser is led to an answer of the Hub's listener that no page makes (health,
// metrics, a path that is spelt otherwise), to frame it, to read it as something else, or
// to have it kept. THIS TEST VERIFIES that these say what every page says.
func TestAttackAnswersBesideThePages(t *testing.T) {
	nothing := http.NotFoundHandler()
	s := newHealth(prometheus.NewRegistry(), func() error { return nil }, func() string { return "" }, &office{api: nothing, pages: nothing})
	for _, name := range []string{"GET /healthz", "GET /readyz", "GET /metrics", "POST /metrics", "GET /x//y", "GET /assets/../x", "GET //evil.example"} {
		method, path, _ := strings.Cut(name, " ")
		r := httptest.NewRequest(method, "http://hub.acme.example/", nil)
		r.URL.Path = path
		w := httptest.NewRecorder()
		s.Handler.ServeHTTP(w, r)
		for header, value := range map[string]string{"X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Cross-Origin-Resource-Policy": "same-origin"} {
			if got := w.Header().Get(header); got != value {
				t.Errorf("%s: %s is %q", name, header, got)
			}
		}
		if csp := w.Header().Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || !strings.Contains(csp, "frame-ancestors 'none'") {
			t.Errorf("%s: the policy is %q", name, csp)
		}
	}
}
