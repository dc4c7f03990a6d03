package main

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/journal"
	"github.com/isogate/isogate/internal/remote"
	"github.com/isogate/isogate/internal/vault"
)

// landingClusterConfig makes a landing one of several behind one address.
type landingClusterConfig struct {
	// Name is this member's; no two have the same.
	Name string `yaml:"name"`
	// Database is a postgres:// URL, the same for all members.
	Database string `yaml:"database"`
	// Listen is host:port for the other members.
	Listen string `yaml:"listen"`
	// Address is host:port where they reach this one; the host is in its certificate.
	Address string `yaml:"address"`
	// TLS is the member's certificate, for both directions, and who issues the members'.
	TLS clusterTLSConfig `yaml:"tls"`
	// Allow lists networks of the members that may be dialled although they are not public.
	Allow []netip.Prefix `yaml:"allow"`
	// Lease is after how long without a sign of it a member is given up; 1m by default.
	Lease duration `yaml:"lease"`
}

type clusterTLSConfig struct {
	// Cert and Key are PEM files; the key must be readable by its owner alone.
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
	// CA is a PEM file of the authorities that sign the members' certificates and no others.
	CA string `yaml:"ca"`
}

// on says that there is a cluster.
func (c *landingClusterConfig) on() bool { return c.Database != "" }

// check reports every mistake that the file's form alone shows, and fills in defaults.
func (c *landingClusterConfig) check(bad func(format string, args ...any), keep string) {
	if !c.on() {
		if c.Name != "" || c.Listen != "" || c.Address != "" || c.TLS != (clusterTLSConfig{}) || len(c.Allow) > 0 || c.Lease != 0 {
			bad("cluster.database: is missing; name the PostgreSQL database that the members share, or leave out cluster")
		}
		return
	}
	if _, err := journal.DatabaseServers(c.Database); err != nil {
		bad("cluster.database: %w", err)
	}
	if err := isogate.CheckName(c.Name, false); err != nil {
		bad("cluster.name: %w", err)
	}
	if c.Listen == "" {
		bad("cluster.listen: is missing; give host:port")
	}
	host, port, err := net.SplitHostPort(c.Address)
	if n, e := strconv.ParseUint(port, 10, 16); err != nil || e != nil || n == 0 {
		bad("cluster.address: %q is not host:port; say where the other members reach this one", c.Address)
	} else if canonical, err := remote.CanonicalHost(host); err != nil || canonical != host {
		bad("cluster.address: the host %q is not in canonical form", host)
	}
	if c.TLS.Cert == "" || c.TLS.Key == "" || c.TLS.CA == "" {
		bad("cluster.tls: cert, key and ca are all needed: members talk over TLS, with certificates on both sides")
	}
	if keep != "" {
		bad("keep: is for a landing that is alone; in a cluster the other members take up temporary keys")
	}
	if c.Lease == 0 {
		c.Lease = duration(vault.DefaultLease)
	}
	if d := time.Duration(c.Lease); d < 5*time.Second || d > time.Hour {
		bad("cluster.lease: must be 5s to 1h")
	}
}

// resolve makes its paths relative to a directory.
func (c *landingClusterConfig) resolve(dir string) error {
	for _, p := range []*string{&c.TLS.Cert, &c.TLS.Key, &c.TLS.CA} {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
	var err error
	c.Database, err = resolveDatabase(dir, c.Database)
	return err
}

// joinCluster makes what the vault needs to be a member, or nil where the landing is
// alone.
func (s *landingServer) joinCluster() (*vault.Cluster, error) {
	c := &s.cfg.Cluster
	if !c.on() {
		return nil, nil
	}
	pool, err := loadPool("cluster.tls.ca", c.TLS.CA)
	if err != nil {
		return nil, err
	}
	database, err := dialDatabaseAt(c.Database)
	if err != nil {
		return nil, err
	}
	servers, err := journal.DatabaseServers(c.Database)
	if err != nil {
		return nil, err
	}
	// Where members are, members say; what they may be is configured.
	d := &remote.Dialer{Literals: true, Allow: slices.Clone(c.Allow), Self: portsOf(s.listeners()...), Timeout: 5 * time.Second}
	return &vault.Cluster{
		Name: c.Name, Database: c.Database, Address: c.Address, Lease: time.Duration(c.Lease), Authorities: pool,
		Certificate: func() (*tls.Certificate, error) { return s.clusterCerts.pair.Load(), nil },
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			if slices.Contains(servers, address) {
				return database(ctx, network, address)
			}
			return d.DialContext(ctx, network, address)
		},
	}, nil
}
