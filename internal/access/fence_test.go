package access

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// endless is an answer that does not end by itself; it counts what is read of it.
type endless struct{ read int }

func (e *endless) Read(p []byte) (int, error) {
	e.read += len(p)
	return len(p), nil
}

// ATTACK: the provider, or a redirect of it, has the Hub ask elsewhere, in plain, or
// read without an end. THIS TEST VERIFIES that what goes through the fence is https to
// the hosts that were named, by any of their spellings and no others, and that no more is
// read of an answer than it may have.
func TestAttackThroughTheFence(t *testing.T) {
	issuer, err := url.Parse("https://id.example/realms/acme")
	if err != nil {
		t.Fatal(err)
	}
	body := &endless{}
	sent := 0
	f := newFence(issuer, []string{"keys.example:8443", "[2001:db8::1]:443"}, spyFunc(func(*http.Request) (*http.Response, error) {
		sent++
		return &http.Response{Body: io.NopCloser(body)}, nil
	}))
	for address, want := range map[string]bool{
		"https://id.example/x": true, "https://ID.example:443/x": true, "https://keys.example:8443/": true, "https://[2001:db8::1]/": true,
		"http://id.example/x": false, "https://id.example:8443/": false, "https://keys.example/": false, "https://id.example.evil.example/": false, "https://evil.example/id.example": false,
		"https://id.example@evil.example/": false, "https://user@id.example/": false, "https://127.0.0.1/": false, "https://localhost/": false, "//id.example/": false, "https:/id.example": false, "": false,
		"https://id.example./": false, "https://2001:db8::1/": false, "https://id.example#x": false,
	} {
		before := sent
		r := &http.Request{Method: http.MethodGet}
		if r.URL, err = url.Parse(address); err != nil {
			r.URL = &url.URL{Path: address}
		}
		resp, err := f.RoundTrip(r)
		if (err == nil) != want || (sent > before) != want || (f.check(address) == nil) != want {
			t.Errorf("%q: sent %t, %v", address, sent > before, err)
		}
		if resp != nil {
			_ = resp.Body.Close()
		}
	}
	resp, err := f.RoundTrip(&http.Request{URL: issuer})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err == nil || body.read > maxProviderAnswer+1 {
		t.Errorf("%d bytes were read: %v", body.read, err)
	}
	full := &boundedBody{io.NopCloser(strings.NewReader(strings.Repeat("x", maxProviderAnswer))), maxProviderAnswer}
	if n, err := io.Copy(io.Discard, full); n != maxProviderAnswer || err != nil {
		t.Errorf("an answer of just the size: %d %v", n, err)
	}
}
