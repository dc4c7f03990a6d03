package main

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/isogate/isogate"
)

// landingConfig is landing.yaml. It is read as strictly as isogate.yaml. Paths are
// relative to the directory of the file.
type landingConfig struct {
	// Landing is the landing's name, as its key and its statements have it.
	Landing string `yaml:"landing"`
	// Destination is what packs call the service behind it.
	Destination isogate.Destination `yaml:"destination"`
	// State is the directory of the landing's key, receipts and register; "state" by
	// default.
	State string `yaml:"state"`
	// Keep is the directory where temporary keys outlive the process, but not the boot
	// of the machine: best one in memory, such as /run/isogate-landing. "" ends them
	// with the process.
	Keep string `yaml:"keep"`
	// Tenants are whose gateways may come.
	Tenants []landingTenantConfig `yaml:"tenants"`
	// Gateways is the edge towards gateways.
	Gateways listenConfig `yaml:"gateways"`
	// Viewers is the edge towards people who see the service's pages.
	Viewers viewersConfig `yaml:"viewers"`
	// Service is the outside service, and the edge towards it.
	Service serviceConfig `yaml:"service"`
	// Session says how long a session lasts that nobody ends.
	Session landingSessionConfig `yaml:"session"`
	// Epoch is how long seal keys are wrapped for one key of the landing; 10m by
	// default, 1m to 24h.
	Epoch duration `yaml:"epoch"`
	// Acknowledges lists the labels of which the landing keeps the register.
	Acknowledges []isogate.LabelPattern `yaml:"acknowledges"`
	// Erase is how the service is asked to erase.
	Erase eraseConfig `yaml:"erase"`
	// Cluster makes the landing one of several; without its database it is alone.
	Cluster landingClusterConfig `yaml:"cluster"`
	// Limits bound what may be held and sent.
	Limits landingLimitsConfig `yaml:"limits"`
	// Health is the listener of /healthz, /readyz and /metrics.
	Health healthConfig `yaml:"health"`
	// Drain is how long requests under way may take after a signal to stop; 30s by default.
	Drain duration `yaml:"drain"`
}

type landingTenantConfig struct {
	// Name is the tenant's.
	Name isogate.Tenant `yaml:"name"`
	// SPIFFE is the URI SAN of its gateways' client certificates.
	SPIFFE string `yaml:"spiffe"`
}

type viewersConfig struct {
	// Listen is host:port.
	Listen string `yaml:"listen"`
	// TLS is the edge's certificate; needed beyond loopback.
	TLS hubTLSConfig `yaml:"tls"`
	// Anonymous is what somebody gets who has not signed in: refuse (the default), or
	// sealed, which is the service's pages with [sealed] in place of each seal.
	Anonymous string `yaml:"anonymous"`
	// Allowed are the people and programs who may see what is sealed.
	Allowed []viewerConfig `yaml:"allowed"`
}

type viewerConfig struct {
	// Name is who it is, as receipts have it.
	Name string `yaml:"name"`
	// TokenSHA256 is the SHA-256 of the viewer's token, in hex.
	TokenSHA256 string `yaml:"token_sha256"`
	// Tenants are those of whose data the viewer may see something; ["*"] is each.
	Tenants []isogate.Tenant `yaml:"tenants"`
	// Labels are patterns of what the viewer may see.
	Labels []isogate.LabelPattern `yaml:"labels"`
	// Transits are those by which it must have come; ["*"] is each.
	Transits []isogate.Transit `yaml:"transits"`
}

type serviceConfig struct {
	// URL is where the service is: http on this machine, https anywhere.
	URL string `yaml:"url"`
	// Roots is a PEM file of the authorities of https services; "" is the system's.
	Roots string `yaml:"roots"`
	// Allow lists networks that may be dialled although they are not public, for the
	// service and for erase.url. An address of this machine that a URL names itself is allowed.
	Allow []netip.Prefix `yaml:"allow"`
	// Timeout bounds connecting and each wait for the service; 30s by default.
	Timeout duration `yaml:"timeout"`
	// Listen is host:port where the service opens seals and ends sessions; "" is nowhere.
	Listen string `yaml:"listen"`
	// TLS is that listener's certificate; needed beyond loopback.
	TLS hubTLSConfig `yaml:"tls"`
	// TokenSHA256 is the SHA-256 of the service's bearer token, in hex.
	TokenSHA256 string `yaml:"token_sha256"`
}

type landingSessionConfig struct {
	// Idle ends a session of which nothing was heard for as long; 15m by default, 1s to 24h.
	Idle duration `yaml:"idle"`
	// Max ends every session; 8h by default, up to 24h.
	Max duration `yaml:"max"`
}

type eraseConfig struct {
	// URL is called for each erasure; "" where nothing is acknowledged.
	URL string `yaml:"url"`
	// EscalateAfter is how long an erasure may wait for the service before it is
	// overdue; 24h by default.
	EscalateAfter duration `yaml:"escalate_after"`
}

type landingLimitsConfig struct {
	// Keys is how many seal keys may live at once; 1000000 by default.
	Keys int `yaml:"keys"`
	// Reveals is how many different seals one viewer may see opened in a minute; 600 by default.
	Reveals int `yaml:"reveals"`
	// Registered is how many identifiers of one tenant the register holds; 1000000 by default.
	Registered int `yaml:"registered"`
	// Body is the largest request body; 64MiB by default.
	Body size `yaml:"body"`
	// Response is the largest body of a response; 1GiB by default.
	Response size `yaml:"response"`
	// Connections is how many may be open at each edge at once; 10000 by default.
	Connections int `yaml:"connections"`
}

type healthConfig struct {
	// Listen is host:port.
	Listen string `yaml:"listen"`
}

// loadLanding reads and checks the file, and fills in the defaults.
func loadLanding(file string) (*landingConfig, error) {
	var c landingConfig
	if err := readStrictly(file, &c); err != nil {
		return nil, err
	}
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	c.resolve(filepath.Dir(file))
	if err := c.Cluster.resolve(filepath.Dir(file)); err != nil {
		return nil, fmt.Errorf("%s: cluster.%w", file, err)
	}
	return &c, nil
}

// check reports every mistake that the file's form alone shows, and fills in defaults.
func (c *landingConfig) check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if err := isogate.CheckName(c.Landing, false); err != nil {
		bad("landing: %w", err)
	}
	if err := isogate.CheckName(string(c.Destination), false); err != nil {
		bad("destination: %w", err)
	}
	tenants := c.checkTenants(bad)
	if g := c.Gateways; g.Listen == "" {
		bad("gateways.listen: is missing; give host:port")
	} else if g.TLS.Cert == "" || g.TLS.Key == "" || g.TLS.ClientCA == "" {
		bad("gateways.tls: cert, key and client_ca are all needed: gateways come over TLS, with certificates")
	}
	c.checkViewers(bad, tenants)
	c.checkService(bad)
	for i, p := range c.Acknowledges {
		if _, err := isogate.ParseLabelPattern(string(p)); err != nil {
			bad("acknowledges[%d]: %w", i, err)
		}
	}
	if len(c.Acknowledges) > 0 && c.Erase.URL == "" {
		bad("erase.url: is missing, but labels are acknowledged: who keeps a register must be able to have it erased; name where the service is told")
	}
	if c.Erase.URL != "" {
		checkServiceURL(bad, "erase.url", c.Erase.URL)
	}
	c.Cluster.check(bad, c.Keep)
	c.defaults()
	span := func(key string, d duration, least, most time.Duration) {
		if v := time.Duration(d); v < least || v > most {
			bad("%s: must be %s to %s", key, least, most)
		}
	}
	span("epoch", c.Epoch, time.Minute, 24*time.Hour)
	span("session.idle", c.Session.Idle, time.Second, 24*time.Hour)
	span("session.max", c.Session.Max, time.Second, 24*time.Hour)
	span("erase.escalate_after", c.Erase.EscalateAfter, time.Minute, 30*24*time.Hour)
	if c.Session.Idle > c.Session.Max {
		bad("session.idle: is longer than session.max")
	}
	for key, n := range map[string]int{"limits.keys": c.Limits.Keys, "limits.reveals": c.Limits.Reveals, "limits.registered": c.Limits.Registered, "limits.connections": c.Limits.Connections} {
		if n < 1 || n > 10_000_000 {
			bad("%s: must be 1 to 10000000", key)
		}
	}
	return errors.Join(errs...)
}

// checkTenants answers with the names that there are.
func (c *landingConfig) checkTenants(bad func(format string, args ...any)) map[isogate.Tenant]bool {
	names, ids := map[isogate.Tenant]bool{}, map[string]bool{}
	if len(c.Tenants) == 0 {
		bad("tenants: are missing: no gateway may come; list at least one with the spiffe id of its gateways")
	}
	for i, t := range c.Tenants {
		if err := isogate.CheckName(string(t.Name), false); err != nil {
			bad("tenants[%d].name: %w", i, err)
		}
		if names[t.Name] {
			bad("tenants[%d].name: %q is there twice", i, t.Name)
		}
		if _, err := spiffeid.FromString(t.SPIFFE); err != nil {
			bad("tenants[%d].spiffe: %q is no SPIFFE ID; write one such as spiffe://acme.isolated/gateway", i, t.SPIFFE)
		} else if ids[t.SPIFFE] {
			bad("tenants[%d].spiffe: another tenant has the same; a gateway is one tenant's", i)
		}
		names[t.Name], ids[t.SPIFFE] = true, true
	}
	return names
}

func (c *landingConfig) checkViewers(bad func(format string, args ...any), tenants map[isogate.Tenant]bool) {
	v := c.Viewers
	checkEdgeTLS(bad, "viewers", "viewers' tokens", v.Listen, v.TLS)
	switch v.Anonymous {
	case "", "refuse", "sealed":
	default:
		bad("viewers.anonymous: %q is unknown; use refuse or sealed", v.Anonymous)
	}
	names, tokens := map[string]bool{}, map[string]bool{}
	for i, a := range v.Allowed {
		at := fmt.Sprintf("viewers.allowed[%d]", i)
		if err := isogate.CheckName(a.Name, false); err != nil {
			bad("%s.name: %w", at, err)
		}
		if names[a.Name] {
			bad("%s.name: %q is there twice", at, a.Name)
		}
		if !isSum(a.TokenSHA256) {
			bad("%s.token_sha256: is not 64 hexadecimal digits; make it with: printf %%s TOKEN | sha256sum", at)
		} else if tokens[a.TokenSHA256] {
			bad("%s.token_sha256: another viewer has the same token; give each their own, so that receipts say who it was", at)
		}
		names[a.Name], tokens[a.TokenSHA256] = true, true
		if len(a.Tenants) == 0 || len(a.Transits) == 0 {
			bad("%s: tenants and transits are both needed: list names, or [\"*\"] for each", at)
		}
		for j, t := range a.Tenants {
			if t != "*" && !tenants[t] {
				bad("%s.tenants[%d]: %q is none of tenants", at, j, t)
			}
		}
		if len(a.Labels) == 0 {
			bad("%s.labels: are missing: the viewer would see nothing; list patterns such as personal.name.**", at)
		}
		for j, p := range a.Labels {
			if _, err := isogate.ParseLabelPattern(string(p)); err != nil {
				bad("%s.labels[%d]: %w", at, j, err)
			}
		}
		for j, t := range a.Transits {
			if t == "*" {
				continue
			}
			if err := isogate.CheckName(string(t), false); err != nil {
				bad("%s.transits[%d]: %w", at, j, err)
			}
		}
	}
	if tokens[c.Service.TokenSHA256] {
		bad("service.token_sha256: a viewer has the same token; give each their own")
	}
}

func (c *landingConfig) checkService(bad func(format string, args ...any)) {
	s := c.Service
	if s.URL == "" {
		bad("service.url: is missing; say where the service is, such as http://127.0.0.1:8080")
	} else if u := checkServiceURL(bad, "service.url", s.URL); u != nil && strings.Trim(u.Path, "/") != "" {
		bad("service.url: %q has a path; the landing passes on paths as they come", s.URL)
	}
	checkEdgeTLS(bad, "service", "the service's token", s.Listen, s.TLS)
	if s.TokenSHA256 != "" && !isSum(s.TokenSHA256) {
		bad("service.token_sha256: is not 64 hexadecimal digits; make it with: printf %%s TOKEN | sha256sum")
	}
	if (s.Listen == "") != (s.TokenSHA256 == "") {
		bad("service: listen and token_sha256 go together: the service says who it is where it is listened to")
	}
}

// checkServiceURL reports what is wrong about a URL of the service's side. What is
// revealed to nobody else must not cross a network readable: http is for this machine.
func checkServiceURL(bad func(format string, args ...any), key, text string) *url.URL {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		bad("%s: is not an http or https URL", key)
		return nil
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		bad("%s: has a user, query or fragment; remove it", key)
		return nil
	case u.Scheme == "http" && !isLoopbackHost(u.Hostname()):
		bad("%s: is http, but %q is not this machine; use https", key, u.Hostname())
		return nil
	}
	return u
}

// checkEdgeTLS reports an edge whose tokens would cross the network readable.
func checkEdgeTLS(bad func(format string, args ...any), key, what, listen string, t hubTLSConfig) {
	switch {
	case (t.Cert == "") != (t.Key == ""):
		bad("%s.tls: cert and key go together", key)
	case listen == "" && t.Cert != "":
		bad("%s.listen: is missing, but %s.tls is there; give host:port", key, key)
	case listen != "" && t.Cert == "" && !isLoopback(listen):
		bad("%s.tls: is missing, but %s.listen is not a loopback address and %s would cross the network readable; give cert and key, or listen on 127.0.0.1", key, key, what)
	}
}

func (c *landingConfig) defaults() {
	span := func(d *duration, v time.Duration) {
		if *d == 0 {
			*d = duration(v)
		}
	}
	number := func(n *int, v int) {
		if *n == 0 {
			*n = v
		}
	}
	if c.State == "" {
		c.State = "state"
	}
	span(&c.Epoch, 10*time.Minute)
	span(&c.Session.Idle, 15*time.Minute)
	span(&c.Session.Max, 8*time.Hour)
	span(&c.Erase.EscalateAfter, 24*time.Hour)
	span(&c.Service.Timeout, 30*time.Second)
	span(&c.Drain, 30*time.Second)
	number(&c.Limits.Keys, 1_000_000)
	number(&c.Limits.Reveals, 600)
	number(&c.Limits.Registered, 1_000_000)
	number(&c.Limits.Connections, 10_000)
	if c.Limits.Body == 0 {
		c.Limits.Body = 64 << 20
	}
	if c.Limits.Response == 0 {
		c.Limits.Response = 1 << 30
	}
}

// resolve makes every path of the file relative to the file's own directory.
func (c *landingConfig) resolve(dir string) {
	for _, p := range []*string{&c.State, &c.Keep, &c.Gateways.TLS.Cert, &c.Gateways.TLS.Key, &c.Gateways.TLS.ClientCA, &c.Viewers.TLS.Cert, &c.Viewers.TLS.Key,
		&c.Service.Roots, &c.Service.TLS.Cert, &c.Service.TLS.Key} {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
}
