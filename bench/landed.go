package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/seal"
)

// landingQuestion: what does a landing cost that stands before a service?
func landingQuestion(ctx context.Context, b *bench, r *report) error {
	w, err := newSealWorld(ctx, b, "landing")
	if err != nil {
		return err
	}
	defer w.stop()
	if err := w.deliver(ctx); err != nil {
		return err
	}
	// The service has its pages from here on.
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if err := w.restart(ctx, "direct", []string{self, "far", "-addr", w.at["direct"], "-cert", w.cert, "-key", w.key, "-keep", w.path("arrived.json"), "-pages", w.path("pages")}); err != nil {
		return err
	}
	if err := w.start(ctx, "ReverseProxy", []string{self, "reverseproxy", "-addr", w.at["ReverseProxy"], "-to", w.at["direct"], "-cert", w.cert, "-key", w.key, "-ca", w.ca}); err != nil {
		return err
	}
	r.say("## Landing")
	if err := w.landingRequests(ctx, b, r); err != nil {
		return err
	}
	return w.landingPages(ctx, b, r)
}

// restart ends a process and starts it anew.
func (w *world) restart(ctx context.Context, name string, args []string) error {
	for i, cmd := range w.running {
		if cmd == w.named[name] {
			_ = cmd.Process.Kill()
			_ = cmd.Wait() // it was killed
			w.running = append(w.running[:i], w.running[i+1:]...)
			break
		}
	}
	return w.start(ctx, name, args)
}

// landingKeys is how many sessions there are, and connections.
const landingKeys = 32

// deliver makes keys of sessions as a gateway does, has the landing hold them, and
// writes down what requests and pages then have of them.
func (w *world) deliver(ctx context.Context) error {
	st, err := w.fetched(ctx)
	if err != nil {
		return err
	}
	client, err := w.trusting("gateway")
	if err != nil {
		return err
	}
	var lines bytes.Buffer
	var first *seal.Sealer
	for i := range landingKeys {
		s, err := seal.NewSealer(landedContext(session(i)), st, nil)
		if err != nil {
			return err
		}
		if i == 0 {
			first = s
		}
		resp, _, err := fetch(ctx, client, http.MethodPost, "https://"+w.at["landing"]+"/v1/tickets", http.Header{seal.HeaderSeal: {string(s.AppendHeader(nil))}})
		if err != nil {
			return err
		}
		if held := resp.Header.Get(seal.HeaderHeld); !strings.Contains(held, s.ID().String()) {
			return fmt.Errorf("the landing does not say that it holds a key: status %d, %s", resp.StatusCode, resp.Header.Get(seal.HeaderLanding))
		}
		s.SetHeld()
		fmt.Fprintf(&lines, "%s: %s\n", seal.HeaderSeal, s.AppendHeader(nil))
	}
	p := first.Passage()
	sealed := func(int) string {
		text, _ := p.Append(nil, replaced, isogate.Value{Kind: isogate.String, Text: []byte(sealText)})
		return string(text)
	}
	files := map[string]string{"keys": lines.String(), "sealed.json": string(deskBody(sealed))}
	for _, n := range pageValues {
		files[pageOf(n, true)], files[pageOf(n, false)] = aPage(true, n, sealed), aPage(false, n, sealed)
	}
	for name, text := range files {
		at := w.path(name)
		if strings.HasPrefix(name, "values-") {
			at = w.path("pages/" + name)
		}
		if err := os.WriteFile(at, []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// pageValues is how many values the pages have.
var pageValues = [...]int{0, 50, 500}

func pageOf(n int, html bool) string {
	if html {
		return fmt.Sprintf("values-%d.html", n)
	}
	return fmt.Sprintf("values-%d.json", n)
}

// trusting is a client of the world's servers that shows a certificate of it.
func (w *world) trusting(name string) (*http.Client, error) {
	roots, err := pool(w.ca)
	if err != nil {
		return nil, err
	}
	pair, err := tls.LoadX509KeyPair(w.path(name+".pem"), w.path(name+".key"))
	if err != nil {
		return nil, err
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}}, DisableKeepAlives: true}}, nil
}

func fetch(ctx context.Context, client *http.Client, method, url string, header http.Header) (*http.Response, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, http.NoBody)
	if err != nil {
		return nil, nil, err
	}
	req.Header = header
	resp, err := client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	body, err := io.ReadAll(resp.Body)
	return resp, body, errors.Join(err, resp.Body.Close())
}

// landingRequests: requests of gateways, on their way to the service.
func (w *world) landingRequests(ctx context.Context, b *bench, r *report) error {
	cert, key := w.path("gateway.pem"), w.path("gateway.key")
	ways := []struct {
		name string
		ask  asking
	}{
		{"direct", asking{of: "direct", path: "/v1/tickets", body: "sealed.json"}},
		{"ReverseProxy", asking{of: "ReverseProxy", path: "/v1/tickets", body: "sealed.json"}},
		{"landing, without keys", asking{of: "landing", path: "/v1/tickets", body: "sealed.json", cert: cert, key: key}},
		{"landing", asking{of: "landing", path: "/v1/tickets", body: "sealed.json", lines: "keys", cert: cert, key: key}},
	}
	var asks []asking
	var names []string
	for _, way := range ways {
		names, asks = append(names, way.name), append(asks, way.ask)
	}
	r.say("Requests of gateways as they pass through a landing to the service behind it: %d bytes by POST with ten seals in them, TLS 1.3 with client certificates in and TLS out, each with the header of a session's key that the landing holds, 32 sessions on as many connections. "+
		"ReverseProxy is `httputil.ReverseProxy` with nothing on and no client certificates. Landing, load and service are processes of their own and share the cores.", len(deskBody(func(int) string { return strings.Repeat("x", 178) })))
	ss, costs, err := w.proxied(ctx, b, "landing requests", 32, names, asks)
	if err != nil {
		return err
	}
	var rows [][]string
	for i, n := range names {
		row := []string{n, "", times(ss[i].median() / ss[0].median()), number(ss[i]), ""}
		if i > 0 {
			row[1] = times(ss[i].median() / ss[1].median())
			row[4] = fmt.Sprintf("%.0f µs ± %.0f %%", costs[i].median(), 100*costs[i].spread())
		}
		rows = append(rows, row)
	}
	r.table([]string{"32 connections", "× ReverseProxy", "× direct", "requests per second", "CPU time of the proxy for one"}, rows)
	return nil
}

// proxied races loads, and says what each costs its proxy in CPU time, in
// microseconds for one request.
func (w *world) proxied(ctx context.Context, b *bench, what string, conns int, names []string, asks []asking) (ss, costs []series, err error) {
	costs = make([]series, len(names))
	var cs []contestant
	for i, a := range asks {
		costs[i].name = names[i]
		cs = append(cs, contestant{names[i], func(ctx context.Context, d time.Duration) (float64, error) {
			l, err := w.ask(ctx, a, conns, d)
			if err == nil && d == 2*b.turn { // not the turn before the first
				costs[i].figures = append(costs[i].figures, l.CPU.Seconds()*1e6/float64(l.Requests))
			}
			return l.PerSecond, err
		}})
	}
	ss, err = b.race(ctx, what, 2*b.turn, cs)
	return ss, costs, err
}

// landingPages: pages of the service, as somebody sees them.
func (w *world) landingPages(ctx context.Context, b *bench, r *report) error {
	client, err := w.trusting("caller")
	if err != nil {
		return err
	}
	r.say("Pages of the service, as a viewer's program gets them who may see every value: about 64 KiB of text with so many seals in it. Each page that shows something is recorded durably before it leaves: who saw what, by key, request and label. " +
		"ReverseProxy passes the page on as it is, with its seals. The page is looked at before measuring.")
	var rows [][]string
	for _, n := range pageValues {
		for _, html := range []bool{true, false} {
			page := pageOf(n, html)
			_, got, err := fetch(ctx, client, http.MethodGet, "https://"+w.at["viewers"]+"/"+page, http.Header{"Authorization": {"Bearer " + viewerToken}})
			if err != nil {
				return err
			}
			if want := aPage(html, n, func(int) string { return sealText }); string(got) != want {
				return fmt.Errorf("%s: the page is not shown as it should be: %d bytes, not %d", page, len(got), len(want))
			}
			asks := []asking{
				{of: "direct", path: "/" + page, method: http.MethodGet},
				{of: "ReverseProxy", path: "/" + page, method: http.MethodGet},
				{of: "viewers", path: "/" + page, method: http.MethodGet, lines: "viewer"},
			}
			row := []string{fmt.Sprintf("%s, %d", map[bool]string{true: "HTML", false: "JSON"}[html], n)}
			for _, conns := range []int{32, 1} {
				ss, costs, err := w.proxied(ctx, b, fmt.Sprintf("landing %s, %d connections", page, conns), conns, []string{"direct", "ReverseProxy", "landing"}, asks)
				if err != nil {
					return err
				}
				if conns == 32 {
					row = append(row, times(ss[2].median()/ss[1].median()))
				}
				row = append(row, number(ss[2]), number(ss[1]))
				if conns == 32 {
					row = append(row, fmt.Sprintf("%.0f µs / %.0f µs", costs[2].median(), costs[1].median()))
				}
			}
			rows = append(rows, row)
		}
	}
	r.table([]string{"pages per second", "32 connections: landing × ReverseProxy", "landing", "ReverseProxy", "CPU time of one", "1 connection: landing", "ReverseProxy"}, rows)
	return nil
}
