package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"
)

// certificates are the door's own certificate and the authorities of its
// callers. They can be replaced while the door is open.
type certificates struct {
	key     string // of the configuration
	files   tlsConfig
	pair    atomic.Pointer[tls.Certificate]
	clients atomic.Pointer[x509.CertPool]
}

func loadCertificates(key string, files tlsConfig, now time.Time) (*certificates, error) {
	c := &certificates{key: key, files: files}
	pair, err := loadPair(key, files.Cert, files.Key, now)
	if err != nil {
		return nil, err
	}
	c.pair.Store(pair)
	if files.ClientCA != "" {
		pool, err := loadPool(key+".client_ca", files.ClientCA)
		if err != nil {
			return nil, err
		}
		c.clients.Store(pool)
	}
	return c, nil
}

// again reads the same files anew.
func (c *certificates) again(now time.Time) (*certificates, error) {
	return loadCertificates(c.key, c.files, now)
}

// take puts what another has loaded in force here.
func (c *certificates) take(loaded *certificates) {
	c.pair.Store(loaded.pair.Load())
	c.clients.Store(loaded.clients.Load())
}

// callers are the authorities of callers' certificates, or nil.
func (c *certificates) callers() *x509.CertPool { return c.clients.Load() }

// config is the door's TLS. It asks every caller for a certificate and leaves
// judging it to the gateway, which records a refusal; the handshake itself
// proves that the caller holds the key. Sessions are not resumed, so that a
// certificate that was withdrawn is judged again on each connection.
func (c *certificates) config() *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS12,
		ClientAuth:             tls.RequestClientCert,
		SessionTicketsDisabled: true,
		GetCertificate:         func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.pair.Load(), nil },
	}
}

// loadPair reads a certificate and its key, which must be the owner's alone.
func loadPair(what, certFile, keyFile string, now time.Time) (*tls.Certificate, error) {
	info, err := os.Stat(keyFile)
	if err != nil {
		return nil, fmt.Errorf("%s.key: %w", what, err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("%s.key: %s has mode %04o: others than its owner can read it; run: chmod 600 %s", what, keyFile, mode, keyFile)
	}
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; cert and key must be PEM files that belong together", what, err)
	}
	switch {
	case now.After(pair.Leaf.NotAfter):
		return nil, fmt.Errorf("%s.cert: %s expired on %s; issue a new one", what, certFile, pair.Leaf.NotAfter.UTC().Format(time.RFC3339))
	case now.Before(pair.Leaf.NotBefore):
		return nil, fmt.Errorf("%s.cert: %s is not valid before %s; check the clock", what, certFile, pair.Leaf.NotBefore.UTC().Format(time.RFC3339))
	}
	return &pair, nil
}

func loadPool(what, file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s: %w", what, errors.New(file+" has no certificate in PEM form"))
	}
	return pool, nil
}
