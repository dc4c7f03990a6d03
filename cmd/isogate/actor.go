package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/isogate/isogate/internal/access"
	"github.com/isogate/isogate/internal/consent"
	"github.com/isogate/isogate/internal/hub"
	"github.com/isogate/isogate/internal/journal"
	"github.com/isogate/isogate/internal/policy"
	"github.com/isogate/isogate/internal/remote"
)

// actor is how a command acts as an administrator. All acts go through the Hub's
// API: that of the gateway that runs, or, where none does, one in this process over
// the journal itself. Either way it is the token that says who acts.
type actor struct {
	Config    string `short:"c" default:"isogate.yaml" placeholder:"FILE" help:"Configuration (default isogate.yaml)."`
	TokenFile string `placeholder:"FILE" help:"File of the administrator's token; without it, the environment's ISOGATE_TOKEN."`
}

// tokenVariable names the environment's variable of the administrator's token.
const tokenVariable = "ISOGATE_TOKEN"

// maxToken is the largest file of a token, in bytes.
const maxToken = 4 << 10

func (a *actor) token() (string, error) {
	if a.TokenFile == "" {
		if t := os.Getenv(tokenVariable); t != "" {
			return t, nil
		}
		return "", errors.New("an act needs the token of an administrator; put it into the environment as " + tokenVariable + ", or name its file with --token-file")
	}
	f, err := os.Open(a.TokenFile)
	if err != nil {
		return "", fmt.Errorf("the token: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxToken))
	t := strings.TrimSpace(string(b))
	if err == nil && t == "" {
		err = errors.New("it is empty")
	}
	if err != nil {
		return "", fmt.Errorf("the token: %s: %w", a.TokenFile, err)
	}
	return t, nil
}

// api is the Hub's API, as one administrator calls it.
type api struct {
	client *http.Client
	base   string
	token  string
}

// act opens the API, and runs do with it.
func (a *actor) act(e *env, do func(*api) error) error { return a.open(e, false, do) }

// actOutside is act for what the landings are asked about.
func (a *actor) actOutside(e *env, do func(*api) error) error { return a.open(e, true, do) }

func (a *actor) open(e *env, outside bool, do func(*api) error) error {
	token, err := a.token()
	if err != nil {
		return err
	}
	cfg, err := loadConfig(a.Config)
	if err != nil {
		return err
	}
	if len(cfg.Hub.Administrators) == 0 && !strings.HasPrefix(token, access.TokenPrefix) {
		return fmt.Errorf("%s lists no administrators, and this is no API token, so that nobody may act by it; add an administrator under hub.administrators, or make an API token at the Hub", a.Config)
	}
	logger := slog.New(slog.NewTextHandler(e.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	err = withLedger(e.Context, cfg, e.Now, logger, func(ctx context.Context, o *opened) error {
		hc := hub.Config{Ledger: o.ledger, Describe: onDisk(cfg, e).describe, Desk: o.desk, Logger: logger, Now: e.Now}
		serve := func() error {
			h, err := hub.New(hc)
			if err != nil {
				return err
			}
			return do(&api{client: &http.Client{Transport: inProcess{h.API()}}, base: "http://127.0.0.1", token: token})
		}
		if !outside {
			return serve()
		}
		return withCustody(ctx, o, logger, func(c custodian) error {
			hc.Custody = c
			return serve()
		})
	})
	if !errors.Is(err, journal.ErrInUse) {
		return err
	}
	running, err := reachHub(cfg)
	if err != nil {
		return err
	}
	running.token = token
	defer running.client.CloseIdleConnections()
	return do(running)
}

// onDisk describes egress by the pack on disk. One that does not load must not keep
// anybody from revoking.
func onDisk(cfg *config, e *env) describer {
	pack := sync.OnceValue(func() *policy.Pack {
		p, err := loadPolicy(cfg.Pack)
		if err != nil {
			_, _ = fmt.Fprintf(e.Stderr, "isogate: warning: %v\n", err)
		}
		return p
	})
	return describer{pack: pack, now: e.Now, sources: cfg.senders}
}

// inProcess sends requests to a handler in this process.
type inProcess struct{ handler http.Handler }

// RoundTrip implements [http.RoundTripper].
func (p inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.RemoteAddr = "127.0.0.1:1"
	if r.Body == nil {
		r.Body = http.NoBody
	}
	w := &recorded{header: http.Header{}}
	p.handler.ServeHTTP(w, r)
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return &http.Response{StatusCode: w.status, Header: w.header, Body: io.NopCloser(&w.body), Request: r}, nil
}

// recorded is an answer that is kept.
type recorded struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (w *recorded) Header() http.Header { return w.header }
func (w *recorded) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}
func (w *recorded) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(b)
}

// hubTimeout is how long a command waits for a gateway's answer.
const hubTimeout = 30 * time.Second

// reachHub is the API of the gateway that has the journal open. It is dialled at
// the address that it listens on and at no other, and known by its certificate.
func reachHub(cfg *config) (*api, error) {
	if cfg.Hub.Listen == "" {
		return nil, errors.New("another process has the journal open, and there is no hub.listen where a command could reach a gateway; set it, or stop the gateway while you act")
	}
	host, port, err := net.SplitHostPort(cfg.Hub.Listen)
	if err != nil {
		return nil, fmt.Errorf("hub.listen: %w", err)
	}
	ip, err := netip.ParseAddr(host)
	switch {
	case host == "" || err == nil && ip.IsUnspecified() && ip.Is4():
		ip = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	case host == "localhost":
		ip = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	case err != nil:
		return nil, fmt.Errorf("hub.listen: %s is no address; write it as IP:PORT so that commands reach it", cfg.Hub.Listen)
	case ip.IsUnspecified():
		ip = netip.IPv6Loopback()
	}
	dialer := &remote.Dialer{Allow: []netip.Prefix{netip.PrefixFrom(ip, ip.BitLen())}, Literals: true, Timeout: hubTimeout}
	t := &http.Transport{DialContext: dialer.DialContext, ResponseHeaderTimeout: hubTimeout, Proxy: nil}
	scheme := "http"
	if cfg.Hub.TLS.Cert != "" {
		scheme = "https"
		if t.TLSClientConfig, err = pinned(cfg.Hub.TLS.Cert); err != nil {
			return nil, err
		}
	}
	return &api{client: &http.Client{Transport: t, Timeout: 2 * hubTimeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		base: scheme + "://" + net.JoinHostPort(ip.String(), port)}, nil
}

// pinned is TLS to a server that has the very certificate of a file. Whose name is
// on it does not matter then, nor who signed it: the configuration is the same as
// the gateway's.
func pinned(file string) (*tls.Config, error) {
	text, err := os.ReadFile(file) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, fmt.Errorf("hub.tls.cert: %w", err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("hub.tls.cert: %s has no certificate in PEM form", file)
	}
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, //nolint:gosec // VerifyConnection is stricter
		VerifyConnection: func(s tls.ConnectionState) error {
			var leaf *x509.Certificate
			if len(s.PeerCertificates) > 0 {
				leaf = s.PeerCertificates[0]
			}
			if leaf == nil || !bytes.Equal(leaf.Raw, block.Bytes) {
				return fmt.Errorf("what listens at hub.listen does not have the certificate of %s; reload the gateway if the file is new", file)
			}
			return nil
		},
	}, nil
}

// get asks, post acts. An answer that is a refusal is an error: [errNo] where the
// act or question is understood and the answer is no.
func (a *api) get(ctx context.Context, path string, into any) error {
	return a.call(ctx, http.MethodGet, path, "", nil, into)
}

func (a *api) post(ctx context.Context, path string, body, into any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	return a.call(ctx, http.MethodPost, path, "application/json", text, into)
}

// refused is a refusal of the API.
type refused struct{ hub.Problem }

func (r *refused) Error() string {
	s := consent.Shown(r.Detail)
	if s == "" {
		s = consent.Shown(r.Title)
	}
	for _, f := range r.Findings {
		s += fmt.Sprintf("\n%d:%d: %s", f.Line, f.Column, consent.Shown(f.Message))
		if f.Hint != "" {
			s += "; " + consent.Shown(f.Hint)
		}
	}
	if r.Entry != "" {
		s += "\nthe attempt is entry " + consent.Shown(string(r.Entry))
	}
	return s
}

// maxAnswer is the largest answer that is read, in bytes.
const maxAnswer = 64 << 20

func (a *api) call(ctx context.Context, method, path, mediaType string, body []byte, into any) error {
	r, err := http.NewRequestWithContext(ctx, method, a.base+hub.Prefix+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+a.token)
	r.Header.Set("Accept", "application/json")
	if mediaType != "" {
		r.Header.Set("Content-Type", mediaType)
	}
	resp, err := a.client.Do(r)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		return fmt.Errorf("another process has the journal open, and the gateway's hub at %s does not answer: %w; if it was another command, try again", a.base, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("the hub's answer did not arrive whole; see isogate consent list for what became of it: %w", err)
	}
	if resp.StatusCode < 300 {
		return json.Unmarshal(text, into)
	}
	p := &refused{}
	if json.Unmarshal(text, &p.Problem) != nil || p.Status != resp.StatusCode {
		return fmt.Errorf("what listens at %s is not this version's hub: status %d", a.base, resp.StatusCode)
	}
	switch p.Status {
	case http.StatusForbidden, http.StatusNotFound, http.StatusConflict:
		return errNo{p}
	}
	return p
}

// tell prints an answer: for programs as it is, for people by words.
func tell(e *env, answer any, err error, words func(io.Writer)) error {
	var p *refused
	if err != nil {
		var no errNo
		if e.JSON && errors.As(err, &p) && errors.As(err, &no) {
			if err := printJSON(e.Stdout, p.Problem); err != nil {
				return err
			}
			return errNo{}
		}
		return err
	}
	if e.JSON {
		return printJSON(e.Stdout, answer)
	}
	words(e.Stdout)
	return nil
}

// partyPath is a party in a path of the API.
func partyPath(party consent.Party) string {
	kind, name, _ := strings.Cut(string(party), "/")
	return "/apps/" + kind + "/" + url.PathEscape(name)
}
