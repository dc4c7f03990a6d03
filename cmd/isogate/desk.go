package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/access"
	"github.com/isogate/isogate/internal/hub"
	"github.com/isogate/isogate/internal/journal"
	"github.com/isogate/isogate/internal/remote"
)

// journalAdmin is the journal as the desk sees it.
type journalAdmin struct{ *journal.Journal }

// Follow implements [access.Journal].
func (j journalAdmin) Follow(ctx context.Context, from uint64, every time.Duration, f func(access.Batch) error) error {
	return j.Reader.Follow(ctx, isogate.KindAdmin, from, every, func(b journal.Batch) error { return f(access.Batch(b)) })
}

// newDesk makes the desk over a journal, as the configuration has it.
func newDesk(cfg *config, j *journal.Journal, logger *slog.Logger, now func() time.Time) (*access.Desk, error) {
	people, err := cfg.people()
	if err != nil {
		return nil, err
	}
	s := cfg.Hub.Sessions
	return access.New(access.Config{Journal: journalAdmin{j}, Logger: logger, People: people, Now: now,
		Idle: time.Duration(s.Idle), Max: time.Duration(s.Max), Proof: time.Duration(s.Proof)})
}

// maxSecret is the largest file of a client's secret, in bytes.
const maxSecret = 4 << 10

// newProvider makes the provider by which people sign in, nil if there is none. It is
// reached as the configuration says, and from nowhere else than through remote.
//
// promise: P01
func (s *server) newProvider(o *office) (*access.Provider, error) {
	c := s.cfg.Hub.OIDC
	if c.Issuer == "" {
		return nil, nil
	}
	secret := ""
	if c.SecretFile != "" {
		f, err := os.Open(c.SecretFile)
		if err != nil {
			return nil, fmt.Errorf("hub.oidc.client_secret_file: %w", err)
		}
		defer f.Close()
		text, err := io.ReadAll(io.LimitReader(f, maxSecret))
		if secret = strings.TrimSpace(string(text)); err != nil || secret == "" {
			return nil, fmt.Errorf("hub.oidc.client_secret_file: %s is empty, or cannot be read", c.SecretFile)
		}
	}
	conf, err := upstreamTLS("hub.oidc.roots", c.Roots)
	if err != nil {
		return nil, err
	}
	roles := map[string][]access.Role{}
	for group, words := range c.Roles {
		if roles[group], err = parseRoles(words); err != nil {
			return nil, fmt.Errorf("hub.oidc.roles.%s: %w", group, err)
		}
	}
	dialer := &remote.Dialer{Allow: c.Allow, Self: portsOf(s.transits, s.appListener(), s.hub), Timeout: 10 * time.Second}
	return access.NewProvider(access.ProviderConfig{Issuer: c.Issuer, ClientID: c.ClientID, ClientSecret: secret, Redirect: o.url.String() + hub.ReturnPath,
		Hosts: c.Hosts, Roles: roles, RolesClaim: c.RolesClaim, NameClaim: c.NameClaim, Now: s.now,
		Transport: &http.Transport{DialContext: dialer.DialContext, TLSClientConfig: conf, Proxy: nil, ForceAttemptHTTP2: true, MaxIdleConns: 4,
			IdleConnTimeout: time.Minute, TLSHandshakeTimeout: 10 * time.Second, MaxResponseHeaderBytes: 64 << 10}})
}

// inPlain reports whether what is sent to the Hub crosses a network readable. Nobody
// signs in there.
func (c *config) inPlain() bool {
	return c.Hub.Listen != "" && c.Hub.TLS.Cert == "" && !isLoopback(c.Hub.Listen)
}

// signInLink makes a link by which a person signs in at the Hub, once.
func (o *office) signInLink(ctx context.Context, person string, roles []access.Role, why string) (string, error) {
	secret, err := o.desk.LinkFor(ctx, person, roles, why)
	return o.linkTo(secret), err
}

func (o *office) linkTo(secret string) string {
	u := *o.url
	u.Path, u.RawQuery = "/signin/link", url.Values{"key": {secret}}.Encode()
	return u.String()
}

// welcome writes to the log a link by which the first owner signs in, where nobody
// could sign in otherwise. The journal knows that there is one, and not which.
func (o *office) welcome(ctx context.Context, logger *slog.Logger) {
	if o.desk == nil || o.provider || reach(ctx, o.desk) != nil || !o.desk.Empty() {
		return
	}
	secret, err := o.desk.FirstLink(ctx)
	if err != nil {
		logger.Error("nobody can sign in at the Hub, and no link for the first owner could be made", slog.Any("error", err))
		return
	}
	logger.Warn("nobody can sign in at the Hub yet; whoever opens this link first becomes its owner", slog.String("link", o.linkTo(secret)), slog.Duration("holds", access.LinkHolds))
}
