package main

import (
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/consent"
	"github.com/isogate/isogate/internal/hub"
)

// consentConfig is how the ledger of consents is kept.
type consentConfig struct {
	// Lease is how long a gateway goes on without word from the journal before it
	// lets nothing out that needs a consent; 1s by default, 100ms to 1m.
	Lease duration `yaml:"lease"`
	// AnswerWithin is how long a request waits for an answer; 720h by default.
	AnswerWithin duration `yaml:"answer_within"`
	// SecondAdministrator lists what makes a request need two administrators:
	// wildcard, tokens, stored-data; nothing by default.
	SecondAdministrator []string `yaml:"second_administrator"`
}

// administratorConfig is a person who may act on consents.
type administratorConfig struct {
	// Name is who they are, as entries have it.
	Name string `yaml:"name"`
	// TokenSHA256 is the SHA-256 of their bearer token, in hex.
	TokenSHA256 string `yaml:"token_sha256"`
}

// checkConsent reports what is wrong about consents and who decides on them, and
// fills in defaults.
func (c *config) checkConsent(bad func(format string, args ...any)) {
	names, tokens := map[string]bool{}, map[string]bool{}
	for i, a := range c.Hub.Administrators {
		if err := isogate.CheckName(a.Name, false); err != nil {
			bad("hub.administrators[%d].name: %w", i, err)
		}
		if !isSum(a.TokenSHA256) {
			bad("hub.administrators[%d].token_sha256: is not 64 hexadecimal digits; make it with: printf %%s TOKEN | sha256sum", i)
		} else if tokens[a.TokenSHA256] {
			bad("hub.administrators[%d].token_sha256: another administrator has the same token; give each their own, so that two are two", i)
		}
		if names[a.Name] {
			bad("hub.administrators[%d].name: %q is there twice", i, a.Name)
		}
		names[a.Name], tokens[a.TokenSHA256] = true, true
	}
	if t := c.Hub.TLS; (t.Cert == "") != (t.Key == "") {
		bad("hub.tls: cert and key go together")
	} else if t.Cert == "" && len(c.Hub.Administrators) > 0 && c.Hub.Listen != "" && !isLoopback(c.Hub.Listen) {
		bad("hub.tls: is missing, but hub.listen is not a loopback address and administrators' tokens would cross the network readable; give cert and key, or listen on 127.0.0.1")
	}
	for _, r := range c.Consent.SecondAdministrator {
		if !slices.Contains(consent.Risks, consent.Risk(r)) {
			bad("consent.second_administrator: unknown risk %q; use some of %v", r, consent.Risks)
		}
	}
	if len(c.Consent.SecondAdministrator) > 0 && len(c.Hub.Administrators) == 1 {
		bad("consent.second_administrator: needs two, and hub.administrators has one: nobody could ever grant such a request; add another")
	}
	if c.Consent.Lease == 0 {
		c.Consent.Lease = duration(consent.DefaultLease)
	}
	if l := time.Duration(c.Consent.Lease); l < 100*time.Millisecond || l > time.Minute {
		bad("consent.lease: must be 100ms to 1m")
	}
	if c.Consent.AnswerWithin == 0 {
		c.Consent.AnswerWithin = duration(consent.DefaultAnswer)
	}
	if a := time.Duration(c.Consent.AnswerWithin); a < time.Minute || a > 365*24*time.Hour {
		bad("consent.answer_within: must be 1m to 8760h")
	}
}

// administrators are those of the configuration, for the Hub.
func (c *config) administrators() []hub.Administrator {
	out := make([]hub.Administrator, len(c.Hub.Administrators))
	for i, a := range c.Hub.Administrators {
		out[i] = hub.Administrator(a)
	}
	return out
}

// isLoopback reports whether what is listened on at address stays on this machine.
func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	return isLoopbackHost(host)
}

// isLoopbackHost reports whether a host is this machine by its own spelling.
func isLoopbackHost(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}
