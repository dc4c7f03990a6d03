package main

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/isogate/isogate/internal/hub"
)

// newHealth serves /healthz (the process runs), /readyz (something could leave
// now, and by which pack it would be judged) and /metrics to anybody, the API and
// the pages to whoever may.
func newHealth(registry *prometheus.Registry, ready func() error, pack func() string, o *office) *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, 200, map[string]string{"status": "ok"}) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := ready(); err != nil {
			answer(w, 503, map[string]string{"status": "not ready", "reason": err.Error(), "pack": pack()})
			return
		}
		answer(w, 200, map[string]string{"status": "ready", "pack": pack()})
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.Handle("/api/", o.api)
	mux.Handle("/", o.pages)
	return &http.Server{Handler: hub.Secure(mux), TLSConfig: o.tls(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
		WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10}
}

func answer(w http.ResponseWriter, status int, body map[string]string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
