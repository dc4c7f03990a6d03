package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// way is how a contestant is reached: by CONNECT to a proxy, or directly.
type way struct {
	proxy string // host:port; "" connects to at
	at    string // host:port where there is no proxy
	auth  string // of Proxy-Authorization
	port  string // of the host, for CONNECT
}

// open connects, and asks the proxy for the host if there is one.
func (w *way) open(ctx context.Context, host string) (net.Conn, error) {
	to := w.at
	if w.proxy != "" {
		to = w.proxy
	}
	c, err := (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, "tcp", to)
	if err != nil || w.proxy == "" {
		return c, err
	}
	if err := w.connect(c, host); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// connect sends a CONNECT and reads its answer, and no byte behind it.
func (w *way) connect(c net.Conn, host string) error {
	authority := host + ":" + w.port
	request := "CONNECT " + authority + " HTTP/1.1\r\nHost: " + authority + "\r\n"
	if w.auth != "" {
		request += "Proxy-Authorization: " + w.auth + "\r\n"
	}
	if _, err := c.Write([]byte(request + "\r\n")); err != nil {
		return err
	}
	var answer []byte
	var piece [2048]byte
	for !bytes.Contains(answer, []byte("\r\n\r\n")) {
		n, err := c.Read(piece[:])
		if err != nil {
			return fmt.Errorf("CONNECT %s: %w", authority, err)
		}
		answer = append(answer, piece[:n]...) // a server speaks second in TLS: there is nothing behind it
	}
	if !bytes.HasPrefix(answer, []byte("HTTP/1.1 200")) && !bytes.HasPrefix(answer, []byte("HTTP/1.0 200")) {
		return fmt.Errorf("CONNECT %s: %s", authority, answer)
	}
	return nil
}

// flags are those of a way.
func (w *way) flags(fl *flag.FlagSet) {
	fl.StringVar(&w.proxy, "proxy", "", "host:port of the proxy; directly without it")
	fl.StringVar(&w.at, "at", "", "host:port of the far side, without a proxy")
	fl.StringVar(&w.auth, "auth", "", "Proxy-Authorization")
	fl.StringVar(&w.port, "port", "443", "port of the host")
}

// connectsPart makes connections, each for one small GET, and counts them. No
// session is resumed, as an app's next connection may be another process's.
func connectsPart(ctx context.Context, args []string) error {
	fl := flag.NewFlagSet("connects", flag.ContinueOnError)
	var w way
	w.flags(fl)
	host := fl.String("host", "", "the host; with a *, another name for each connection")
	from := fl.Int("from", 0, "number of the first of those names")
	ca := fl.String("ca", "", "authorities of the server")
	workers := fl.Int("workers", 16, "how many connect at once")
	d := fl.Duration("for", 3*time.Second, "how long")
	if err := fl.Parse(args); err != nil {
		return err
	}
	roots, err := pool(*ca)
	if err != nil {
		return err
	}
	var next atomic.Int64
	next.Store(int64(*from))
	all := make([][]time.Duration, *workers)
	errs := make([]error, *workers)
	var wg sync.WaitGroup
	begin := time.Now()
	for i := range *workers {
		wg.Go(func() {
			for time.Since(begin) < *d && ctx.Err() == nil {
				name := *host
				if strings.HasPrefix(name, "*") {
					name = wildName(int(next.Add(1)-1) % wildNames)
				}
				at := time.Now()
				if errs[i] = once(ctx, &w, name, &tls.Config{RootCAs: roots, ServerName: name, NextProtos: []string{"http/1.1"}}); errs[i] != nil {
					return
				}
				all[i] = append(all[i], time.Since(at))
			}
		})
	}
	wg.Wait()
	took := time.Since(begin)
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	waits := slices.Concat(all...)
	slices.Sort(waits)
	if len(waits) == 0 {
		return fmt.Errorf("no connection to %s", w.proxy)
	}
	return json.NewEncoder(os.Stdout).Encode(loaded{Requests: int64(len(waits)), PerSecond: float64(len(waits)) / took.Seconds(),
		P50: waits[len(waits)/2], P99: waits[len(waits)*99/100], Max: waits[len(waits)-1]})
}

// once is a connection for one request.
func once(ctx context.Context, w *way, host string, cfg *tls.Config) error {
	raw, err := w.open(ctx, host)
	if err != nil {
		return err
	}
	defer func() { _ = raw.Close() }()
	c := tls.Client(raw, cfg)
	if err := c.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("TLS with %s: %w", host, err)
	}
	authority := host
	if w.port != "443" {
		authority += ":" + w.port
	}
	if _, err := fmt.Fprintf(c, "GET /v1/tickets HTTP/1.1\r\nHost: %s\r\nUser-Agent: load\r\n\r\n", authority); err != nil {
		return err
	}
	m, err := (&reader{br: bufio.NewReaderSize(c, 4<<10)}).next()
	if err != nil {
		return fmt.Errorf("GET of %s: %w", host, err)
	}
	if status, err := m.status(); err != nil || status != http.StatusOK {
		return fmt.Errorf("GET of %s: %w: %s %s", host, err, m.first, m.body)
	}
	return c.Close()
}
