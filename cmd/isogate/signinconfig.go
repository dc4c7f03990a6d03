package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/isogate/isogate/internal/access"
)

// oidcConfig is the OpenID provider by which people sign in at the Hub.
type oidcConfig struct {
	// Issuer is the provider's URL, exactly as it names itself; https.
	Issuer string `yaml:"issuer"`
	// ClientID is what the provider calls the Hub.
	ClientID string `yaml:"client_id"`
	// SecretFile is a file of the client's secret; "" for a public client.
	SecretFile string `yaml:"client_secret_file"`
	// Hosts are those beside the issuer's own that the provider's endpoints may be on.
	Hosts []string `yaml:"hosts"`
	// Roots is a PEM file of the authorities that the provider's certificate must come
	// from; "" is the system's.
	Roots string `yaml:"roots"`
	// Allow lists networks that the provider may be in although they are not public.
	Allow []netip.Prefix `yaml:"allow"`
	// Roles are the roles that a group of the provider gives.
	Roles map[string][]string `yaml:"roles"`
	// RolesClaim is the claim that lists somebody's groups; groups by default.
	RolesClaim string `yaml:"roles_claim"`
	// NameClaim is the claim that names somebody in entries; email by default, which the
	// provider must have verified.
	NameClaim string `yaml:"name_claim"`
}

// sessionsConfig is how long who has signed in stays so.
type sessionsConfig struct {
	// Idle is how long a session may go unused; 30m by default, 1m to 24h.
	Idle duration `yaml:"idle"`
	// Max is how long a session lasts at the most; 12h by default, up to 168h.
	Max duration `yaml:"max"`
	// Proof is how long after they have proved who they are somebody may grant, approve
	// and revoke without doing so again; 5m by default, 1m to 1h.
	Proof duration `yaml:"proof"`
}

// checkSignIn reports what is wrong about who may sit at the Hub.
func (c *config) checkSignIn(bad func(format string, args ...any)) {
	for i := range c.Hub.Administrators {
		if a := &c.Hub.Administrators[i]; len(a.Roles) == 0 {
			a.Roles = []string{string(access.ConsentAdministrator)}
		}
	}
	people, err := c.people()
	if err == nil {
		err = access.CheckConfigured(people)
	}
	if err != nil {
		bad("hub.%w", err)
	}
	if c.Hub.URL != "" {
		if err := checkHubURL(c.Hub.URL); err != nil {
			bad("hub.url: %w", err)
		} else if c.Hub.TLS.Cert != "" && !strings.HasPrefix(c.Hub.URL, "https://") {
			bad("hub.url: begins with http, but hub.tls is there; write https")
		}
	}
	c.checkOIDC(bad)
	s := &c.Hub.Sessions
	for _, d := range []struct {
		name        string
		of          *duration
		or          time.Duration
		least, most time.Duration
	}{
		{"idle", &s.Idle, access.DefaultIdle, time.Minute, 24 * time.Hour},
		{"max", &s.Max, access.DefaultMax, time.Minute, 168 * time.Hour},
		{"proof", &s.Proof, access.DefaultProof, time.Minute, time.Hour},
	} {
		if *d.of == 0 {
			*d.of = duration(d.or)
		}
		if v := time.Duration(*d.of); v < d.least || v > d.most {
			bad("hub.sessions.%s: must be %s to %s", d.name, d.least, d.most)
		}
	}
}

func (c *config) checkOIDC(bad func(format string, args ...any)) {
	o := &c.Hub.OIDC
	subjects := slices.ContainsFunc(c.Hub.Administrators, func(a administratorConfig) bool { return a.OIDC != "" })
	if o.Issuer == "" {
		if o.ClientID != "" || o.SecretFile != "" || len(o.Hosts)+len(o.Allow)+len(o.Roles) > 0 || o.Roots != "" || o.RolesClaim != "" || o.NameClaim != "" {
			bad("hub.oidc.issuer: is missing; give the provider's URL, or remove hub.oidc")
		}
		if subjects {
			bad("hub.oidc: is missing, but an administrator signs in by it; say which provider, or remove their oidc")
		}
		return
	}
	if u, err := url.Parse(o.Issuer); err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		bad("hub.oidc.issuer: %q is no https URL of a provider; write it exactly as the provider names itself", o.Issuer)
	}
	if o.ClientID == "" {
		bad("hub.oidc.client_id: is missing; register the Hub with the provider, with the redirect URI %s%s, and name the client here", strings.TrimSuffix(c.Hub.URL, "/"), "/signin/oidc/return")
	}
	if c.Hub.URL == "" {
		bad("hub.url: is missing, but people sign in by hub.oidc and come back to it; give what browsers see, such as https://hub.acme.example")
	}
	for i, h := range o.Hosts {
		if !isHost(h) {
			bad("hub.oidc.hosts[%d]: %q is no host; write a name, with :port if that is not 443", i, h)
		}
	}
	if len(o.Roles) == 0 && !subjects {
		bad("hub.oidc.roles: are missing: nobody who signs in could do anything; map a group to roles, such as isogate-owners: [owner]")
	}
	for group, words := range o.Roles {
		if group == "" || len(words) == 0 {
			bad("hub.oidc.roles: the group %q has no name or no role", group)
		}
		if _, err := parseRoles(words); err != nil {
			bad("hub.oidc.roles.%s: %w", group, err)
		}
	}
	if o.RolesClaim == "" {
		o.RolesClaim = "groups"
	}
	if o.NameClaim == "" {
		o.NameClaim = "email"
	}
}

// people are those of the configuration.
func (c *config) people() ([]access.Configured, error) {
	out := make([]access.Configured, len(c.Hub.Administrators))
	for i, a := range c.Hub.Administrators {
		roles, err := parseRoles(a.Roles)
		if err != nil {
			return nil, fmt.Errorf("administrators[%d].roles: %w", i, err)
		}
		out[i] = access.Configured{Name: a.Name, Roles: roles, TokenSHA256: a.TokenSHA256, Subject: a.OIDC}
	}
	return out, nil
}

func parseRoles(words []string) (roles []access.Role, err error) {
	for _, w := range words {
		r, err := access.ParseRole(w)
		if err != nil {
			return nil, err
		}
		roles = append(roles, r)
	}
	return roles, nil
}

// checkHubURL reports what is wrong with where browsers are to find the Hub.
func checkHubURL(s string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil:
		return fmt.Errorf("%q is no URL that browsers open; write such as https://hub.acme.example", s)
	case u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "":
		return errors.New("has more than scheme and host; the Hub is at the root of its host")
	case u.Scheme == "http" && !isLoopbackHost(u.Hostname()):
		return errors.New("begins with http, but is not this machine: sessions would cross the network readable; write https")
	}
	return nil
}

// isHost reports whether s is a host as a URL has it, with or without a port.
func isHost(s string) bool {
	u, err := url.Parse("https://" + s)
	return err == nil && u.Host == s && u.Hostname() != "" && u.User == nil
}

// hubURL is where browsers find the Hub: what the configuration says, else where it
// listens. On this machine in plain, that is localhost, a name by which browsers keep
// passkeys as they do for hosts over TLS.
func (c *config) hubURL(listens net.Addr) *url.URL {
	if c.Hub.URL != "" {
		u, err := url.Parse(c.Hub.URL)
		if err == nil {
			u.Path = ""
			return u
		}
	}
	u := &url.URL{Scheme: "http", Host: "localhost"}
	if c.Hub.TLS.Cert != "" {
		u.Scheme = "https"
	}
	if listens == nil {
		return u
	}
	u.Host = listens.String()
	if host, port, err := net.SplitHostPort(u.Host); err == nil && isLoopbackHost(host) && u.Scheme == "http" {
		u.Host = net.JoinHostPort("localhost", port)
	}
	return u
}
