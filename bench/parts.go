package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isogate/isogate/internal/seal"
)

// parts are what this program is when it is started again with their name.
var parts map[string]func(ctx context.Context, args []string) error

func init() { // breaks the circle main → parts → flag sets → main
	parts = map[string]func(ctx context.Context, args []string) error{
		"load":         loadPart,
		"far":          farPart,
		"reverseproxy": reverseProxyPart,
		"connects":     connectsPart,
		"goproxy":      goproxyPart,
		"sink":         sinkPart,
		"push":         pushPart,
		"hold":         holdPart,
		"vault":        vaultPart,
		"hubserve":     hubServePart,
	}
}

func pool(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	p := x509.NewCertPool()
	if !p.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s has no certificate", file)
	}
	return p, nil
}

// farPart is the destination: it reads a request, answers with a fixed body,
// and does nothing else. The first body of a kind that it sees on a connection is
// kept in a file, so that the bench can look at what arrived. It has pages to
// answer with where it is given some, and says what a landing says where it is to
// be the double of one: it holds whatever keys it is sent.
func farPart(ctx context.Context, args []string) error {
	fl := flag.NewFlagSet("far", flag.ContinueOnError)
	addr := fl.String("addr", "", "where to listen")
	cert := fl.String("cert", "", "certificate")
	key := fl.String("key", "", "its key")
	keep := fl.String("keep", "", "file for the body of each connection's first request of a path")
	pages := fl.String("pages", "", "directory of what to answer by path: NAME.html and NAME.json")
	landing := fl.String("landing", "", "file with a landing's statement, to be its double")
	if err := fl.Parse(args); err != nil {
		return err
	}
	pair, err := tls.LoadX509KeyPair(*cert, *key)
	if err != nil {
		return err
	}
	ln, err := tls.Listen("tcp", *addr, &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"http/1.1"}})
	if err != nil {
		return err
	}
	answers, err := farAnswers(*pages, *landing)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()
	body := `{"id":"10042","status":"open","created":"2026-11-23T10:00:00Z","links":{"self":"/v1/tickets/10042"}}`
	answer := fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	const okay = "HTTP/1.1 200 OK\r\n"
	for {
		c, err := ln.Accept()
		if err != nil {
			return ctx.Err()
		}
		go func() {
			defer func() { _ = c.Close() }()
			r := &reader{br: bufio.NewReaderSize(c, 32<<10)}
			var last, says []byte
			for {
				m, err := r.next()
				if err != nil {
					return
				}
				if *keep != "" && !bytes.Equal(last, m.first) {
					last = append(last[:0], m.first...)
					_ = os.WriteFile(*keep, m.body, 0o600)
				}
				with := answer
				if len(answers) > 0 {
					if of, ok := answers[string(m.path())]; ok {
						with = of
					}
				}
				if *landing != "" && len(m.seals) > 0 {
					says = append(appendHeld(append(says[:0], okay...), m.seals), with[len(okay):]...)
					with = says
				}
				if _, err := c.Write(with); err != nil {
					return
				}
			}
		}()
	}
}

// farAnswers are whole answers by path.
func farAnswers(pages, landing string) (map[string][]byte, error) {
	answers := map[string][]byte{}
	add := func(path, media string, body []byte) {
		answers[path] = fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", media, len(body), body)
	}
	if pages != "" {
		files, err := os.ReadDir(pages)
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			body, err := os.ReadFile(filepath.Join(pages, f.Name()))
			if err != nil {
				return nil, err
			}
			media := "application/json"
			if strings.HasSuffix(f.Name(), ".html") {
				media = "text/html; charset=utf-8"
			}
			add("/"+f.Name(), media, body)
		}
	}
	if landing != "" {
		stated, err := os.ReadFile(landing)
		if err != nil {
			return nil, err
		}
		add("/.isogate/statement", seal.MediaType, stated)
		add("/.isogate/receipts?after=0", "application/json", []byte(`{"receipts":[],"more":false}`))
	}
	return answers, nil
}

// appendHeld says of every key in Isogate-Seal that it is held, without reading more
// of it than the ID that each member begins with.
func appendHeld(dst, seals []byte) []byte {
	const id = seal.IDChars + 2 // in its quotes
	dst = append(dst, seal.HeaderHeld+": "...)
	for n := 0; ; n++ {
		if n > 0 {
			dst = append(dst, ", "...)
		}
		dst = append(dst, seals[:min(id, len(seals))]...)
		_, rest, more := bytes.Cut(seals, []byte(", "))
		if !more {
			return append(dst, "\r\n"...)
		}
		seals = rest
	}
}

// reverseProxyPart is net/http/httputil's ReverseProxy with nothing on: a pool
// of connections as large as the load needs, and buffers that are used again.
func reverseProxyPart(ctx context.Context, args []string) error {
	fl := flag.NewFlagSet("reverseproxy", flag.ContinueOnError)
	addr := fl.String("addr", "", "where to listen")
	to := fl.String("to", "", "host:port of the far side")
	cert := fl.String("cert", "", "certificate")
	key := fl.String("key", "", "its key")
	ca := fl.String("ca", "", "authority of the far side")
	if err := fl.Parse(args); err != nil {
		return err
	}
	roots, err := pool(*ca)
	if err != nil {
		return err
	}
	target := &url.URL{Scheme: "https", Host: *to}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport: &http.Transport{
			TLSClientConfig:     &tls.Config{RootCAs: roots},
			MaxIdleConnsPerHost: 256,
			DisableCompression:  true,
			WriteBufferSize:     64 << 10,
			ReadBufferSize:      64 << 10,
		},
		BufferPool: &buffers{sync.Pool{New: func() any { b := make([]byte, 64<<10); return &b }}},
	}
	srv := &http.Server{
		Addr: *addr, Handler: proxy, ReadHeaderTimeout: time.Minute,
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
	}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	return srv.ListenAndServeTLS(*cert, *key)
}

type buffers struct{ p sync.Pool }

func (b *buffers) Get() []byte  { return *b.p.Get().(*[]byte) }
func (b *buffers) Put(s []byte) { b.p.Put(&s) }

// loaded is what load measured.
type loaded struct {
	PerSecond float64       `json:"per_second"`
	P50       time.Duration `json:"p50"`
	P99       time.Duration `json:"p99"`
	Max       time.Duration `json:"max"`
	Requests  int64         `json:"requests"`
	Failed    int64         `json:"failed"` // answers other than 200
	Answer    string        `json:"answer"` // the first of them
	CPU       time.Duration `json:"-"`      // of those that the question says
}

// loadPart sends one request over and over on some connections that stay open,
// each waiting for its answer before the next, and prints what it measured as JSON.
func loadPart(ctx context.Context, args []string) error {
	fl := flag.NewFlagSet("load", flag.ContinueOnError)
	addr := fl.String("addr", "", "host:port to send to, without a proxy")
	var through way
	through.flags(fl)
	host := fl.String("host", "", "the host to ask the proxy for")
	path := fl.String("path", "/", "path of the request")
	method := fl.String("method", "POST", "method of the request")
	lines := fl.String("lines", "", "file of header lines, of which each connection has another one, and none where it is not given")
	file := fl.String("body", "", "file with the body")
	ca := fl.String("ca", "", "authority of the server")
	cert := fl.String("cert", "", "client certificate, where one is asked for")
	key := fl.String("key", "", "its key")
	conns := fl.Int("conns", 32, "connections")
	d := fl.Duration("for", 3*time.Second, "how long, after all connections are open")
	if err := fl.Parse(args); err != nil {
		return err
	}
	roots, err := pool(*ca)
	if err != nil {
		return err
	}
	cfg := &tls.Config{RootCAs: roots, NextProtos: []string{"http/1.1"}}
	if *cert != "" {
		pair, err := tls.LoadX509KeyPair(*cert, *key)
		if err != nil {
			return err
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	var body []byte
	if *file != "" {
		if body, err = os.ReadFile(*file); err != nil {
			return err
		}
	}
	own := []string{""}
	if *lines != "" {
		text, err := os.ReadFile(*lines)
		if err != nil {
			return err
		}
		own = strings.Split(strings.TrimSpace(string(text)), "\n")
	}
	name := *addr
	if through.proxy != "" {
		name, cfg.ServerName = net.JoinHostPort(*host, through.port), *host
	} else {
		through.at = *addr
		if cfg.ServerName, _, err = net.SplitHostPort(*addr); err != nil {
			return err
		}
	}
	requests := make([][]byte, len(own))
	for i, line := range own {
		head := ""
		if len(body) > 0 {
			head = fmt.Sprintf("Content-Type: application/json\r\nContent-Length: %d\r\n", len(body))
		}
		if line != "" {
			head += line + "\r\n"
		}
		requests[i] = fmt.Appendf(nil, "%s %s HTTP/1.1\r\nHost: %s\r\nAccept: application/json\r\nUser-Agent: load\r\n%s\r\n%s", *method, *path, name, head, body)
	}

	open := make([]*tls.Conn, *conns)
	for i := range open {
		c, err := through.open(ctx, *host)
		if err != nil {
			return err
		}
		open[i] = tls.Client(c, cfg)
		if err := open[i].HandshakeContext(ctx); err != nil {
			return err
		}
	}
	var out loaded
	var answer atomic.Pointer[string]
	all := make([][]time.Duration, *conns)
	var wg sync.WaitGroup
	errs := make(chan error, *conns)
	begin := time.Now()
	for i, c := range open {
		wg.Go(func() {
			errs <- func() error {
				r := &reader{br: bufio.NewReaderSize(c, 16<<10)}
				request := requests[i%len(requests)]
				for time.Since(begin) < *d {
					sent := time.Now()
					if _, err := c.Write(request); err != nil {
						return err
					}
					m, err := r.next()
					if err != nil {
						return err
					}
					all[i] = append(all[i], time.Since(sent))
					if status, err := m.status(); err != nil {
						return err
					} else if status != http.StatusOK {
						atomic.AddInt64(&out.Failed, 1)
						s := string(m.first) + " " + string(m.body)
						answer.CompareAndSwap(nil, &s)
					}
				}
				return nil
			}()
		})
	}
	wg.Wait()
	took := time.Since(begin)
	for range open {
		if err := <-errs; err != nil && err != io.EOF {
			return err
		}
	}
	waits := slices.Concat(all...)
	slices.Sort(waits)
	if len(waits) == 0 {
		return fmt.Errorf("no answer at all from %s", *addr)
	}
	out.Requests = int64(len(waits))
	out.PerSecond = float64(len(waits)) / took.Seconds()
	out.P50, out.P99, out.Max = waits[len(waits)/2], waits[len(waits)*99/100], waits[len(waits)-1]
	if s := answer.Load(); s != nil {
		out.Answer = *s
	}
	return json.NewEncoder(os.Stdout).Encode(out)
}
