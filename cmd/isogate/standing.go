package main

import (
	"context"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/hub"
)

// standing is the gateway as the Hub shows it.
type standing struct{ *server }

// Ready implements [hub.Running].
func (s standing) Ready() error { return s.ready() }

// Gateway implements [hub.Running].
func (s standing) Gateway() string { return s.cfg.Gateway.Name }

// Pack implements [hub.Running].
func (s standing) Pack() hub.PackStanding {
	f := s.office.pack.Load()
	return hub.PackStanding{Name: f.Plan().Name, Version: f.Plan().Version, Digest: f.Plan().Digest, Since: time.UnixMilli(s.office.since.Load()).UTC()}
}

// Ends implements [hub.Running].
func (s standing) Ends(before time.Time) []hub.Ending {
	out := []hub.Ending{}
	for _, e := range s.office.pack.Load().Plan().Ends() {
		if !e.At.Before(before) {
			break
		}
		v := hub.Ending{What: "rule", Transit: e.Transit, Label: e.Label, As: e.As.String(), Owner: e.Owner, Rule: e.Rule, At: e.At}
		if e.Tunnel {
			v.What, v.Label, v.As = "tunnel", "", ""
		}
		out = append(out, v)
	}
	return out
}

// Keys implements [hub.Running].
func (s standing) Keys() hub.KeyStanding {
	k := s.keys.Standing()
	out := hub.KeyStanding{Older: []string{}, Wrapped: k.Wrapped, Stale: k.Stale, Verifier: s.keys.Verifier()}
	for i, id := range k.IDs {
		if name := keyName(id); i == 0 {
			out.Primary = name
		} else {
			out.Older = append(out.Older, name)
		}
	}
	if k.Trouble != nil {
		out.Trouble = k.Trouble.Error()
	}
	return out
}

// keyName is a key's id as entries have it.
func keyName(id uint32) string { return fmt.Sprintf("%08x", id) }

// Certificates implements [hub.Running].
func (s standing) Certificates() []hub.Certificate {
	out := []hub.Certificate{}
	add := func(what string, leaf *x509.Certificate) {
		if leaf != nil {
			out = append(out, hub.Certificate{What: what, Name: subjectOf(leaf), NotAfter: leaf.NotAfter.UTC()})
		}
	}
	add("gateway.transits.tls", s.certs.pair.Load().Leaf)
	if s.remotes != nil && s.remotes.certs != nil {
		add("gateway.remotes.tls", s.remotes.certs.pair.Load().Leaf)
	}
	if pair := s.office.cert.Load(); pair != nil {
		add("hub.tls", pair.Leaf)
	}
	for _, pair := range s.client.TLS.Certificates {
		add("gateway.upstream", pair.Leaf)
	}
	if a := s.intercept.current.Load(); a != nil {
		out = append(out, hub.Certificate{What: "interception authority", Name: string(s.cfg.Tenant), NotAfter: a.NotAfter().UTC()})
	}
	return out
}

// subjectOf is for whom a certificate is.
func subjectOf(c *x509.Certificate) string {
	switch {
	case len(c.DNSNames) > 0:
		return c.DNSNames[0]
	case len(c.URIs) > 0:
		return c.URIs[0].String()
	case len(c.IPAddresses) > 0:
		return c.IPAddresses[0].String()
	}
	return c.Subject.CommonName
}

// Checkpoint implements [hub.Running].
func (s standing) Checkpoint(ctx context.Context) (hub.CheckpointStanding, error) {
	c, err := s.journal.Checkpoint(ctx)
	return hub.CheckpointStanding{Origin: c.Origin, Size: c.Size, Root: hex.EncodeToString(c.Root)}, err
}

// machineName is this machine's name as far as a gateway may be called so, without
// its domain; "" if it may not.
func machineName() string {
	host, err := os.Hostname()
	host, _, _ = strings.Cut(strings.ToLower(host), ".")
	if err != nil || isogate.CheckName(host, false) != nil {
		return ""
	}
	return host
}
