package access

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// maxProviderAnswer is the largest answer of a provider that is read, in bytes.
const maxProviderAnswer = 1 << 20

// fence keeps requests to a provider where they belong: at https, on the hosts that
// the configuration knows it by, and with answers of a bounded size. A provider says
// by itself where its endpoints are, and must not have the Hub ask anything else, such
// as a service of the isolated cloud.
type fence struct {
	hosts map[string]bool
	next  http.RoundTripper
}

// newFence lets through what is on the issuer's host or on one of the others.
func newFence(issuer *url.URL, others []string, next http.RoundTripper) *fence {
	f := &fence{map[string]bool{hostOf(issuer.Host): true}, next}
	for _, h := range others {
		f.hosts[hostOf(h)] = true
	}
	return f
}

// hostOf is a host as fences compare it: in lower case, without the port of https.
func hostOf(host string) string {
	host = strings.ToLower(host)
	if name, port, err := net.SplitHostPort(host); err == nil && port == "443" {
		if strings.Contains(name, ":") {
			return "[" + name + "]"
		}
		return name
	}
	return host
}

// check reports why an address is not one of the provider's.
func (f *fence) check(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "":
		return errors.New("it is no URL")
	case u.Scheme != "https":
		return errors.New("it is not https")
	case u.User != nil || u.Fragment != "":
		return errors.New("it has a user or a fragment")
	case !f.hosts[hostOf(u.Host)]:
		return fmt.Errorf("its host is neither the issuer's nor one of hub.oidc.hosts; add it there if it is the provider's")
	}
	return nil
}

// RoundTrip implements [http.RoundTripper].
func (f *fence) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := f.check(r.URL.String()); err != nil {
		return nil, fmt.Errorf("a request to the provider was not sent: %w", err)
	}
	resp, err := f.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	resp.Body = &boundedBody{resp.Body, maxProviderAnswer}
	return resp, nil
}

// boundedBody fails where an answer is longer than it may be.
type boundedBody struct {
	io.ReadCloser
	left int64
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, fmt.Errorf("the provider's answer is longer than %d bytes", maxProviderAnswer)
	}
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, fmt.Errorf("the provider's answer is longer than %d bytes", maxProviderAnswer)
	}
	return n, err
}
