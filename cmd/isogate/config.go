package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/custody"
	"github.com/isogate/isogate/internal/gateway"
	"github.com/isogate/isogate/internal/journal"
	"github.com/isogate/isogate/internal/remote"
)

// config is isogate.yaml. It is read strictly: an unknown key, a duplicate key
// or a value of the wrong type is an error with its line and column. Paths are
// relative to the directory of the file.
type config struct {
	// Tenant is the one customer that this process serves.
	Tenant isogate.Tenant `yaml:"tenant"`
	// Region is where the tenant is, as apps' manifests name regions: EU, US, …; ""
	// has those of their addresses alone that are for every region.
	Region string `yaml:"region"`
	// State is the directory of the journal, keys and checkpoints.
	State string `yaml:"state"`
	// Database is a postgres:// URL where more than one gateway serves the tenant; "" is SQLite under State.
	// Each of them has the same keys under its own State. Files that the URL names are relative like paths.
	Database string `yaml:"database"`
	// Pack is the directory of the policy pack.
	Pack string `yaml:"pack"`
	// Packs is what it takes for a pack to be loaded.
	Packs packsConfig `yaml:"packs"`
	// Gateway is the enforcement point.
	Gateway gatewayConfig `yaml:"gateway"`
	// Sources are the workloads that may call.
	Sources []sourceConfig `yaml:"sources"`
	// Journal bounds what may leave before it is sealed.
	Journal journalConfig `yaml:"journal"`
	// Keys says what guards the tenant's keys at rest.
	Keys keysConfig `yaml:"keys"`
	// Consent is how the ledger of consents is kept.
	Consent consentConfig `yaml:"consent"`
	// Landings is how the landings of destinations are asked what became of what left.
	Landings landingsConfig `yaml:"landings"`
	// Hub is the listener of health, metrics and the administrators' API.
	Hub hubConfig `yaml:"hub"`
	// Traces is the OTLP collector's URL (http or https, path included); "" sends none.
	Traces string `yaml:"traces"`
}

type gatewayConfig struct {
	// Name is what this gateway is called where a tenant has several; the machine's
	// name by default.
	Name string `yaml:"name"`
	// Transits is door one: our own destinations.
	Transits listenConfig `yaml:"transits"`
	// Remotes is door two: external hosts that apps declared.
	Remotes listenConfig `yaml:"remotes"`
	// Limits bound one request.
	Limits limitsConfig `yaml:"limits"`
	// Upstream is how destinations are reached and trusted.
	Upstream upstreamConfig `yaml:"upstream"`
	// Drain is how long requests under way may take after a signal to stop; 30s by default.
	Drain duration `yaml:"drain"`
}

type listenConfig struct {
	// Listen is host:port.
	Listen string `yaml:"listen"`
	// TLS is the server's certificate and the authority of its callers' certificates.
	TLS tlsConfig `yaml:"tls"`
}

type tlsConfig struct {
	// Cert and Key are PEM files; the key must be readable by its owner alone.
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
	// ClientCA is a PEM file of the authorities that sign callers' certificates.
	ClientCA string `yaml:"client_ca"`
}

type limitsConfig struct {
	// Body is the largest request body; 8MiB by default.
	Body size `yaml:"body"`
	// Hold is the largest body judged whole before its first byte leaves; larger
	// ones, up to Body, are streamed. By default it equals Body: nothing is streamed.
	Hold size `yaml:"hold"`
	// Depth is how deep a body may nest; 128 by default.
	Depth int `yaml:"depth"`
	// Header is the largest request head; 64KiB by default.
	Header size `yaml:"header"`
	// Connections is how many callers may be connected at once; 10000 by default.
	Connections int `yaml:"connections"`
}

type upstreamConfig struct {
	// Roots is a PEM file of the authorities that destinations' certificates must
	// come from; "" is the system's.
	Roots string `yaml:"roots"`
	// Cert and Key are the gateway's own client certificate towards destinations.
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
	// Allow lists networks that may be dialled although they are not public.
	Allow []netip.Prefix `yaml:"allow"`
	// Hosts says where to connect for a destination's host name, as IP:port, where
	// that is not what DNS says. The certificate must be of the name all the same.
	Hosts map[string]string `yaml:"hosts"`
	// EmailDomain is the domain of e-mail shaped tokens; a reserved one by default.
	EmailDomain string `yaml:"email_domain"`
	// Timeout bounds connecting and each wait for a destination; 30s by default.
	Timeout duration `yaml:"timeout"`
}

type sourceConfig struct {
	// Name is the source's name in packs.
	Name isogate.Source `yaml:"name"`
	// SPIFFE is the URI SAN of the source's client certificate.
	SPIFFE string `yaml:"spiffe"`
	// TokenSHA256 is the SHA-256 of the source's bearer token, in hex.
	TokenSHA256 string `yaml:"token_sha256"`
	// App is the app whose grants hold for what the source sends by door two; "" is
	// the source itself, if its name is that of an app.
	App isogate.Source `yaml:"app"`
	// Kinds is what the source's traffic by door two is, such as [client, images] for
	// what carries an app's pages; by default it is that of the app's servers.
	Kinds []string `yaml:"kinds"`
}

// id is the source as the gateway knows it.
func (s sourceConfig) id() (gateway.SourceID, error) {
	id := gateway.SourceID{Name: s.Name, SPIFFE: s.SPIFFE, TokenSHA256: s.TokenSHA256, App: s.App}
	for _, name := range s.Kinds {
		k, err := remote.ParseKind(name)
		if err == nil && k == remote.TransitWay {
			err = errors.New("the kind transit is not an app's")
		}
		if err != nil {
			return gateway.SourceID{}, fmt.Errorf("source %s: kinds: %w", s.Name, err)
		}
		id.Kinds = append(id.Kinds, k)
	}
	return id, nil
}

type journalConfig struct {
	// MaxAge is how old the newest checkpoint may be while entries wait for it
	// before nothing leaves any more; 10s by default.
	MaxAge duration `yaml:"max_age"`
}

type keysConfig struct {
	// KEK is a file of 32 bytes in hex that wraps the tenant's keys at rest; "" leaves
	// them guarded by file permissions alone.
	KEK string `yaml:"kek"`
}

type landingsConfig struct {
	// Receipts is how often each landing is asked for receipts, beside when one is
	// expected; 10s by default, 100ms to 1h.
	Receipts duration `yaml:"receipts"`
	// Grace is how long after a seal key was due its receipt may come before that is
	// an alarm; 1m by default, up to 24h.
	Grace duration `yaml:"grace"`
}

type hubConfig struct {
	// Listen is host:port of /healthz, /readyz, /metrics, /api/v1 and the pages.
	Listen string `yaml:"listen"`
	// TLS is the listener's certificate; needed where administrators act over the network.
	TLS hubTLSConfig `yaml:"tls"`
	// URL is where browsers find the Hub: scheme and host, such as https://hub.acme.example;
	// by default it is taken from listen.
	URL string `yaml:"url"`
	// Administrators are people with ways to sign in, and tokens for the API and the command.
	Administrators []administratorConfig `yaml:"administrators"`
	// OIDC is the provider by which people sign in.
	OIDC oidcConfig `yaml:"oidc"`
	// Sessions is how long who has signed in stays so.
	Sessions sessionsConfig `yaml:"sessions"`
}

type hubTLSConfig struct {
	// Cert and Key are PEM files; the key must be readable by its owner alone.
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
}

// size is a number of bytes: 8MiB, 64KiB, 512.
type size int64

// UnmarshalYAML implements yaml.BytesUnmarshaler.
func (s *size) UnmarshalYAML(b []byte) error {
	text := strings.Trim(strings.TrimSpace(string(b)), `"'`)
	num, mult := text, int64(1)
	for _, u := range []struct {
		suffix string
		mult   int64
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}} {
		if n, ok := strings.CutSuffix(text, u.suffix); ok {
			num, mult = n, u.mult
		}
	}
	n, err := strconv.ParseInt(num, 10, 32)
	if err != nil || n <= 0 {
		return fmt.Errorf("%q is not a size; use a whole number of bytes, KiB, MiB or GiB, such as 8MiB", text)
	}
	*s = size(n * mult)
	return nil
}

// duration is a span of time as Go spells it: 10s, 5m.
type duration time.Duration

// UnmarshalYAML implements yaml.BytesUnmarshaler.
func (d *duration) UnmarshalYAML(b []byte) error {
	text := strings.Trim(strings.TrimSpace(string(b)), `"'`)
	v, err := time.ParseDuration(text)
	if err != nil || v <= 0 {
		return fmt.Errorf("%q is not a span of time; use one such as 10s or 5m", text)
	}
	*d = duration(v)
	return nil
}

// loadConfig reads and checks the file, and fills in the defaults.
func loadConfig(file string) (*config, error) {
	var c config
	if err := readStrictly(file, &c); err != nil {
		return nil, err
	}
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	c.resolve(filepath.Dir(file))
	var err error
	if c.Database != "" {
		if c.Database, err = resolveDatabase(filepath.Dir(file), c.Database); err == nil {
			_, err = journal.DatabaseServers(c.Database)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: database: %w", file, err)
		}
	}
	return &c, nil
}

// readStrictly reads a file of configuration into what it describes. An unknown key,
// a key that is there twice and a value of the wrong type are errors with their place.
func readStrictly(file string, into any) error {
	src, err := os.ReadFile(file) //nolint:gosec // the operator names the file
	if err != nil {
		return fmt.Errorf("configuration: %w; name the file with -c", err)
	}
	if err := yaml.UnmarshalWithOptions(src, into, yaml.Strict()); err != nil {
		var ye yaml.Error
		if errors.As(err, &ye) && ye.GetToken() != nil {
			p := ye.GetToken().Position
			return fmt.Errorf("%s:%d:%d: %s", file, p.Line, p.Column, ye.GetMessage())
		}
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}

// check reports every mistake that the file's form alone shows, and fills in defaults.
func (c *config) check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if err := isogate.CheckName(string(c.Tenant), false); err != nil {
		bad("tenant: %w", err)
	}
	if c.Region != "" && !remote.IsRegion(c.Region) {
		bad("region: %q is none that manifests name; use one such as EU or US, or leave it out", c.Region)
	}
	if c.Pack == "" {
		bad("pack: is missing; name the directory of the policy pack")
	}
	if c.Gateway.Name == "" {
		c.Gateway.Name = machineName()
	} else if err := isogate.CheckName(c.Gateway.Name, false); err != nil {
		bad("gateway.name: %w", err)
	}
	if c.Gateway.Transits.Listen == "" {
		bad("gateway.transits.listen: is missing; give host:port")
	}
	if t := c.Gateway.Transits.TLS; t.Cert == "" || t.Key == "" {
		bad("gateway.transits.tls: cert and key are both needed: callers reach the gateway over TLS only")
	}
	if r := c.Gateway.Remotes; r.Listen == "" && r.TLS != (tlsConfig{}) {
		bad("gateway.remotes.listen: is missing, but gateway.remotes.tls is there; give host:port")
	} else if (r.TLS.Cert == "") != (r.TLS.Key == "") {
		bad("gateway.remotes.tls: cert and key go together")
	} else if r.TLS.ClientCA != "" {
		bad("gateway.remotes.tls.client_ca: the authorities of callers are gateway.transits.tls.client_ca for both doors; remove it")
	}
	if u := c.Gateway.Upstream; (u.Cert == "") != (u.Key == "") {
		bad("gateway.upstream: cert and key go together")
	}
	if len(c.Sources) == 0 {
		bad("sources: are missing: nobody may call; list at least one with a spiffe id or a token_sha256")
	}
	names := map[isogate.Source]bool{}
	needCA := false
	for i, s := range c.Sources {
		at := fmt.Sprintf("sources[%d]", i)
		if err := isogate.CheckName(string(s.Name), true); err != nil {
			bad("%s.name: %w", at, err)
		}
		if names[s.Name] {
			bad("%s.name: %q is there twice", at, s.Name)
		}
		names[s.Name] = true
		if (s.SPIFFE == "") == (s.TokenSHA256 == "") {
			bad("%s: give either spiffe or token_sha256", at)
		}
		if s.SPIFFE != "" {
			needCA = true
		}
		if s.App != "" && (!strings.HasPrefix(string(s.App), "app/") || isogate.CheckName(string(s.App), true) != nil) {
			bad("%s.app: %q is not the name of an app; write app/NAME", at, s.App)
		}
		if _, err := s.id(); err != nil {
			bad("%s: %w", at, err)
		}
		if s.TokenSHA256 != "" && !isSum(s.TokenSHA256) {
			bad("%s.token_sha256: is not 64 hexadecimal digits; make it with: printf %%s TOKEN | sha256sum", at)
		}
	}
	if needCA && c.Gateway.Transits.TLS.ClientCA == "" {
		bad("gateway.transits.tls.client_ca: is missing, but sources have spiffe ids: name the authority of their certificates")
	}
	if c.Traces != "" {
		if u, err := url.Parse(c.Traces); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			bad("traces: %q is not an http or https URL", c.Traces)
		}
	}
	c.checkConsent(bad)
	c.checkPacks(bad)
	c.checkSignIn(bad)
	c.defaults()
	if r := time.Duration(c.Landings.Receipts); r < 100*time.Millisecond || r > time.Hour {
		bad("landings.receipts: must be 100ms to 1h")
	}
	if g := time.Duration(c.Landings.Grace); g > 24*time.Hour {
		bad("landings.grace: must be up to 24h")
	}
	l := c.Gateway.Limits
	if l.Hold > l.Body {
		bad("gateway.limits.hold: is larger than gateway.limits.body")
	}
	if l.Depth < 1 || l.Depth > 10_000 {
		bad("gateway.limits.depth: must be 1 to 10000")
	}
	return errors.Join(errs...)
}

func (c *config) defaults() {
	set := func(s *size, v size) {
		if *s == 0 {
			*s = v
		}
	}
	l := &c.Gateway.Limits
	set(&l.Body, 8<<20)
	set(&l.Hold, l.Body)
	set(&l.Header, 64<<10)
	if l.Depth == 0 {
		l.Depth = 128
	}
	if l.Connections == 0 {
		l.Connections = 10_000
	}
	if c.State == "" {
		c.State = "state"
	}
	if c.Gateway.Drain == 0 {
		c.Gateway.Drain = duration(30 * time.Second)
	}
	if c.Gateway.Upstream.Timeout == 0 {
		c.Gateway.Upstream.Timeout = duration(30 * time.Second)
	}
	if c.Landings.Receipts == 0 {
		c.Landings.Receipts = duration(custody.DefaultReceipts)
	}
	if c.Landings.Grace == 0 {
		c.Landings.Grace = duration(custody.DefaultGrace)
	}
	if c.Journal.MaxAge == 0 {
		c.Journal.MaxAge = duration(10 * time.Second)
	}
}

// resolve makes every path of the file relative to the file's own directory.
func (c *config) resolve(dir string) {
	g := &c.Gateway
	for _, p := range []*string{&c.State, &c.Pack, &g.Transits.TLS.Cert, &g.Transits.TLS.Key, &g.Transits.TLS.ClientCA, &g.Remotes.TLS.Cert, &g.Remotes.TLS.Key,
		&g.Upstream.Roots, &g.Upstream.Cert, &g.Upstream.Key, &c.Keys.KEK, &c.Hub.TLS.Cert, &c.Hub.TLS.Key,
		&c.Hub.OIDC.SecretFile, &c.Hub.OIDC.Roots} {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
}

// stateOf is the state that a command works on: the directory named by --state, or
// what the configuration names.
func stateOf(configFile, state string) (*config, error) {
	if state != "" {
		return &config{State: state}, nil
	}
	if configFile == "" {
		configFile = "isogate.yaml"
	}
	c, err := loadConfig(configFile)
	if err != nil {
		return nil, fmt.Errorf("%w\nnext: name the state directory with --state DIR, or the configuration with -c FILE", err)
	}
	return c, nil
}

// isSum reports whether s is a SHA-256 in hexadecimal.
func isSum(s string) bool {
	if len(s) != 2*sha256.Size {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
