package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/isogate/isogate/internal/journal"
	"github.com/isogate/isogate/internal/remote"
)

// dialDatabase is the way to the journal's database: to the servers that the
// configuration names, wherever they are, and to nothing else. It is nil where the
// journal is a file.
//
// promise: P01
func dialDatabase(c *config) (journal.DialFunc, error) {
	if c.Database == "" {
		return nil, nil
	}
	return dialDatabaseAt(c.Database)
}

// dialDatabaseAt is the way to the servers that a database's URL names.
func dialDatabaseAt(database string) (journal.DialFunc, error) {
	servers, err := journal.DatabaseServers(database)
	if err != nil {
		return nil, err
	}
	d := &remote.Dialer{Allow: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}, Timeout: 5 * time.Second}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if !slices.Contains(servers, address) {
			return nil, &remote.Refusal{Host: address, Reason: "it is no server of the configuration's database"}
		}
		return d.DialContext(ctx, network, address)
	}, nil
}

// journalReader opens the configuration's journal for reading, wherever it is.
func journalReader(ctx context.Context, c *config) (*journal.Reader, error) {
	dial, err := dialDatabase(c)
	if err != nil {
		return nil, err
	}
	return journal.ReaderConfig{Dir: filepath.Join(c.State, "journal"), Database: c.Database, Tenant: c.Tenant, Dial: dial}.Open(ctx)
}

// resolveDatabase makes the files that a database's URL names relative to a directory.
func resolveDatabase(dir, database string) (string, error) {
	before, query, ok := strings.Cut(database, "?")
	if !ok {
		return database, nil
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return "", fmt.Errorf("database: what follows the question mark is not understood; write key=value&key=value")
	}
	for _, key := range []string{"sslrootcert", "sslcert", "sslkey", "passfile"} {
		if file := values.Get(key); file != "" && !filepath.IsAbs(file) {
			values.Set(key, filepath.Join(dir, file))
		}
	}
	return before + "?" + values.Encode(), nil
}
