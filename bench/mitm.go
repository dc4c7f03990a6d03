package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/elazarl/goproxy"
)

// goproxyPart is goproxy as a forward proxy. With -mitm it inspects, with a store
// of certificates and connections to the far side that are kept.
func goproxyPart(ctx context.Context, args []string) error {
	fl := flag.NewFlagSet("goproxy", flag.ContinueOnError)
	addr := fl.String("addr", "", "where to listen")
	far := fl.String("far", "", "host:port that every host with an inspected connection is at")
	sink := fl.String("sink", "", "host:port that "+fileHost+" is at, which is tunnelled")
	cert := fl.String("cert", "", "authority to inspect with")
	key := fl.String("key", "", "its key")
	ca := fl.String("ca", "", "authority of the far side")
	if err := fl.Parse(args); err != nil {
		return err
	}
	authority, err := tls.LoadX509KeyPair(*cert, *key)
	if err != nil {
		return err
	}
	if authority.Leaf, err = x509.ParseCertificate(authority.Certificate[0]); err != nil {
		return err
	}
	roots, err := pool(*ca)
	if err != nil {
		return err
	}
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		to := *far
		if strings.HasPrefix(address, fileHost+":") {
			to = *sink
		}
		return (&net.Dialer{}).DialContext(ctx, network, to)
	}
	p := goproxy.NewProxyHttpServer()
	p.Logger = log.New(io.Discard, "", 0)
	p.CertStore = &certStore{of: map[string]*tls.Certificate{}}
	p.Tr = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DialContext: dial, MaxIdleConns: 256, MaxIdleConnsPerHost: 64, IdleConnTimeout: 4 * time.Second}
	p.ConnectDial = func(network, address string) (net.Conn, error) { return dial(context.Background(), network, address) }
	mitm := &goproxy.ConnectAction{Action: goproxy.ConnectMitm, TLSConfig: goproxy.TLSConfigFromCA(&authority)}
	p.OnRequest().HandleConnectFunc(func(host string, _ *goproxy.ProxyCtx) (*goproxy.ConnectAction, string) {
		if strings.HasPrefix(host, fileHost+":") {
			return goproxy.OkConnect, host
		}
		return mitm, host
	})
	srv := &http.Server{Addr: *addr, Handler: p, ReadHeaderTimeout: time.Minute}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	return srv.ListenAndServe()
}

// certStore keeps what goproxy issued.
type certStore struct {
	mu sync.RWMutex // guards of
	of map[string]*tls.Certificate
}

// Fetch implements [goproxy.CertStorage].
func (s *certStore) Fetch(host string, issue func() (*tls.Certificate, error)) (*tls.Certificate, error) {
	s.mu.RLock()
	c := s.of[host]
	s.mu.RUnlock()
	if c != nil {
		return c, nil
	}
	c, err := issue()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.of[host] = c
	return c, nil
}

// startGoproxy starts goproxy.
func (w *world) startGoproxy(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	return w.launch(ctx, "goproxy", []string{self, "goproxy", "-addr", w.at["goproxy"], "-far", w.at["direct"], "-sink", w.at["sink"],
		"-cert", w.ca, "-key", w.caKey, "-ca", w.ca}, awaitTCP)
}

// squidConf has one port that inspects, and one that tunnels. It connects to the
// far side first and makes a certificate as that has one, which is what its manual
// proposes, and keeps the certificates in memory.
const squidConf = `http_port @BUMP ssl-bump tls-cert=@DIR/mitm.pem tls-dh=prime256v1 generate-host-certificates=on dynamic_cert_mem_cache_size=64MB
http_port @TUNNEL
sslcrtd_program @CERTGEN -s @DIR/certs -M 64MB
sslcrtd_children 4 startup=2 idle=1
tls_outgoing_options cafile=@DIR/ca.pem
ssl_bump bump all
acl all_of_it src 127.0.0.0/8
http_access allow all_of_it
hosts_file @DIR/hosts
cache deny all
memory_pools off
access_log none
cache_log @DIR/squid.log
pid_filename @DIR/squid.pid
coredump_dir @DIR
shutdown_lifetime 1 seconds
max_filedescriptors 16384
via off
forwarded_for delete
`

// startSquid starts squid with a directory of its own, which its user may read.
func (w *world) startSquid(ctx context.Context) error {
	certgen := "/usr/lib/squid/security_file_certgen"
	if _, err := os.Stat(certgen); err != nil {
		return fmt.Errorf("squid-openssl is missing: %w", err)
	}
	dir := w.path("squid")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	var hosts strings.Builder
	for _, h := range []string{apiHost, fileHost} {
		fmt.Fprintf(&hosts, "127.0.0.1 %s\n", h)
	}
	for n := range wildNames {
		fmt.Fprintf(&hosts, "127.0.0.1 %s\n", wildName(n))
	}
	ca, err := os.ReadFile(w.ca)
	if err != nil {
		return err
	}
	key, err := os.ReadFile(w.caKey)
	if err != nil {
		return err
	}
	conf := strings.NewReplacer("@DIR", dir, "@CERTGEN", certgen, "@BUMP", w.at["squid"], "@TUNNEL", w.at["squid tunnel"]).Replace(squidConf)
	for name, text := range map[string]string{"squid.conf": conf, "hosts": hosts.String(), "ca.pem": string(ca), "mitm.pem": string(ca) + string(key)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	if out, err := exec.CommandContext(ctx, certgen, "-c", "-s", filepath.Join(dir, "certs"), "-M", "64MB").CombinedOutput(); err != nil {
		return fmt.Errorf("squid's store of certificates: %w: %s", err, out)
	}
	if os.Geteuid() == 0 { // then it runs as proxy
		if err := give(dir, "proxy"); err != nil {
			return err
		}
		for at := filepath.Dir(dir); at != os.TempDir() && at != "/"; at = filepath.Dir(at) {
			if err := os.Chmod(at, 0o711); err != nil { //nolint:gosec // to be walked through, not read
				return err
			}
		}
	}
	err = w.launch(ctx, "squid", []string{program("squid"), "-N", "-f", filepath.Join(dir, "squid.conf")}, awaitTCP)
	w.named["squid tunnel"] = w.named["squid"]
	return err
}

// give makes a user the owner of all there is in dir.
func give(dir, name string) error {
	u, err := user.Lookup(name)
	if err != nil {
		return err
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	return filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		return errors.Join(err, os.Chown(path, uid, gid))
	})
}

// mitmScript has mitmproxy connect to the far side, whatever the host.
const mitmScript = `class Far:
    def server_connect(self, data):
        data.server.address = ("127.0.0.1", @FARPORT)

addons = [Far()]
`

// startMitmproxy starts mitmproxy, which makes a certificate from the name alone.
func (w *world) startMitmproxy(ctx context.Context) error {
	ca, err := os.ReadFile(w.ca)
	if err != nil {
		return err
	}
	key, err := os.ReadFile(w.caKey)
	if err != nil {
		return err
	}
	_, farPort, err := net.SplitHostPort(w.at["direct"])
	if err != nil {
		return err
	}
	if err := os.MkdirAll(w.path("mitm"), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(w.path("mitm/mitmproxy-ca.pem"), append(key, ca...), 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(w.path("mitm/far.py"), []byte(strings.ReplaceAll(mitmScript, "@FARPORT", farPort)), 0o600); err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(w.at["mitmproxy"])
	if err != nil {
		return err
	}
	return w.launch(ctx, "mitmproxy", []string{"/usr/bin/mitmdump", "-q", "--listen-host", host, "--listen-port", port, "--set", "confdir=" + w.path("mitm"),
		"--set", "ssl_verify_upstream_trusted_ca=" + w.ca, "--set", "connection_strategy=lazy", "--set", "upstream_cert=false", "-s", w.path("mitm/far.py")}, awaitTCP)
}
