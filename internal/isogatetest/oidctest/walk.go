package oidctest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// Walk does what a browser would that follows a client's link to the provider and
// signs in there as a user: the answer is where it is sent back to, code and state
// included. It is a browser that was never here before.
func (p *Provider) Walk(ctx context.Context, link, user string) (back string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, link, nil)
	if err != nil {
		return "", err
	}
	status, page, back, err := p.do(req)
	if err != nil || back != "" {
		return back, err
	}
	_, id, ok := strings.Cut(page, `name="request" value="`)
	if !ok {
		return "", fmt.Errorf("oidctest: the provider answered %d: %s", status, page)
	}
	id, _, _ = strings.Cut(id, `"`)
	values := url.Values{"request": {id}, "user": {user}}
	if user == "" {
		values.Set("cancel", "yes")
	}
	req, err = http.NewRequestWithContext(ctx, http.MethodPost, p.Issuer()+"/login", strings.NewReader(values.Encode()))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	status, page, back, err = p.do(req)
	if err == nil && back == "" {
		err = fmt.Errorf("oidctest: the provider answered %d: %s", status, page)
	}
	return back, err
}

// do sends a request; back is where the answer sends to, if it does.
func (p *Provider) do(req *http.Request) (status int, page, back string, err error) {
	resp, err := p.Client().Do(req)
	if err != nil {
		return 0, "", "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if resp.StatusCode == http.StatusSeeOther {
		back = resp.Header.Get("Location")
	}
	return resp.StatusCode, string(text), back, err
}
