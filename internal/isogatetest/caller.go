package isogatetest

import (
	"net/http"
	"time"
)

// NewCaller is an HTTP client for pages on this machine. It does not follow
// redirects and keeps no cookies.
func NewCaller() *http.Client {
	return &http.Client{
		Transport:     &http.Transport{},
		Timeout:       30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
