package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// sinkPart takes whatever is sent to it and throws it away; over TLS if it has a
// certificate to do so.
func sinkPart(ctx context.Context, args []string) error {
	fl := flag.NewFlagSet("sink", flag.ContinueOnError)
	addr := fl.String("addr", "", "where to listen")
	cert := fl.String("cert", "", "certificate; without one there is no TLS")
	key := fl.String("key", "", "its key")
	size := fl.Int("buffer", 64<<10, "bytes read at once, of each connection")
	if err := fl.Parse(args); err != nil {
		return err
	}
	ln, err := net.Listen("tcp", *addr)
	if err != nil {
		return err
	}
	if *cert != "" {
		pair, err := tls.LoadX509KeyPair(*cert, *key)
		if err != nil {
			return err
		}
		ln = tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{pair}})
	}
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()
	for {
		c, err := ln.Accept()
		if err != nil {
			return ctx.Err()
		}
		go func() {
			defer func() { _ = c.Close() }()
			buf := make([]byte, *size)
			for {
				if _, err := c.Read(buf); err != nil {
					return
				}
			}
		}()
	}
}

// pushed is what push measured.
type pushed struct {
	PerSecond float64       `json:"per_second"` // bytes
	Bytes     int64         `json:"bytes"`
	CPU       time.Duration `json:"-"` // of all that took part
}

// pushPart opens tunnels to a sink and sends as much through them as they take.
// Without TLS it sends one ClientHello in front, by which a gateway knows that
// there is TLS inside, and then bytes: nobody's encryption is measured then.
func pushPart(ctx context.Context, args []string) error {
	fl := flag.NewFlagSet("push", flag.ContinueOnError)
	var w way
	w.flags(fl)
	ca := fl.String("ca", "", "authority of the sink; without it, no TLS")
	conns := fl.Int("conns", 1, "tunnels")
	d := fl.Duration("for", 3*time.Second, "how long, after all tunnels are open")
	if err := fl.Parse(args); err != nil {
		return err
	}
	lines := make([]net.Conn, *conns)
	for i := range lines {
		c, err := w.open(ctx, fileHost)
		if err != nil {
			return err
		}
		if lines[i] = c; *ca == "" {
			if _, err := c.Write(clientHello(fileHost)); err != nil {
				return err
			}
			continue
		}
		roots, err := pool(*ca)
		if err != nil {
			return err
		}
		t := tls.Client(c, &tls.Config{RootCAs: roots, ServerName: fileHost})
		if err := t.HandshakeContext(ctx); err != nil {
			return err
		}
		lines[i] = t
	}
	var sent atomic.Int64
	errs := make([]error, *conns)
	var wg sync.WaitGroup
	begin := time.Now()
	for i, c := range lines {
		wg.Go(func() {
			buf := make([]byte, 64<<10)
			for time.Since(begin) < *d {
				n, err := c.Write(buf)
				sent.Add(int64(n))
				if err != nil {
					errs[i] = err
					return
				}
			}
		})
	}
	wg.Wait()
	took := time.Since(begin)
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if sent.Load() == 0 {
		return fmt.Errorf("nothing was taken by %s", w.proxy)
	}
	return json.NewEncoder(os.Stdout).Encode(pushed{PerSecond: float64(sent.Load()) / took.Seconds(), Bytes: sent.Load()})
}

// clientHello is the first message of a TLS connection to a host.
func clientHello(host string) []byte {
	var sent bytes.Buffer
	_ = tls.Client(&helloOnly{w: &sent}, &tls.Config{ServerName: host}).HandshakeContext(context.Background())
	return sent.Bytes()
}

// helloOnly is a connection that nobody answers on.
type helloOnly struct {
	net.Conn
	w io.Writer
}

// Write implements [net.Conn].
func (h *helloOnly) Write(p []byte) (int, error) { return h.w.Write(p) }

// Read implements [net.Conn].
func (*helloOnly) Read([]byte) (int, error) { return 0, io.EOF }

// SetDeadline implements [net.Conn].
func (*helloOnly) SetDeadline(time.Time) error { return nil }

// Close implements [net.Conn].
func (*helloOnly) Close() error { return nil }
