package main

import (
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/isogate/isogate/internal/consent"
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

// administratorConfig is a person, with each way by which they sign in: whoever comes
// by one of them is the same person as who comes by another.
type administratorConfig struct {
	// Name is who they are, as entries have it.
	Name string `yaml:"name"`
	// Roles are what they may do: viewer, auditor, operator, policy-author,
	// policy-approver, consent-administrator, owner; consent-administrator by default.
	Roles []string `yaml:"roles"`
	// TokenSHA256 is the SHA-256 of their bearer token, in hex.
	TokenSHA256 string `yaml:"token_sha256"`
	// OIDC is the subject (sub) of their account with the provider.
	OIDC string `yaml:"oidc"`
}

// checkConsent reports what is wrong about consents and who decides on them, and
// fills in defaults.
func (c *config) checkConsent(bad func(format string, args ...any)) {
	if t := c.Hub.TLS; (t.Cert == "") != (t.Key == "") {
		bad("hub.tls: cert and key go together")
	} else if t.Cert == "" && len(c.Hub.Administrators) > 0 && c.Hub.Listen != "" && !isLoopback(c.Hub.Listen) {
		bad("hub.tls: is missing, but hub.listen is not a loopback address and administrators' tokens would cross the network readable; give cert and key, or listen on 127.0.0.1")
	} else if t.Cert == "" && c.Hub.OIDC.Issuer != "" && c.Hub.Listen != "" && !isLoopback(c.Hub.Listen) {
		bad("hub.tls: is missing, but hub.listen is not a loopback address and the sessions of those who sign in would cross the network readable; give cert and key, or listen on 127.0.0.1")
	}
	for _, r := range c.Consent.SecondAdministrator {
		if !slices.Contains(consent.Risks, consent.Risk(r)) {
			bad("consent.second_administrator: unknown risk %q; use some of %v", r, consent.Risks)
		}
	}
	if len(c.Consent.SecondAdministrator) > 0 && len(c.Hub.Administrators) == 1 && c.Hub.OIDC.Issuer == "" {
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
