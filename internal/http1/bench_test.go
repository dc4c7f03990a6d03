package http1_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/isogate/isogate/internal/http1"
)

// BenchmarkProxy measures a proxy that holds the request and the response:
// TLS in, TLS out, 32 client connections, against httputil.ReverseProxy and
// against talking to the upstream directly. The clients and the upstream are
// the same for all contestants: a raw loop and this package's server.
func BenchmarkProxy(b *testing.B) {
	serverTLS, clientTLS := certificates(b)
	clientTLS.ClientSessionCache = tls.NewLRUClientSessionCache(64)
	upstream := benchServe(b, &http1.Server{Handler: handler{exchange: echo}, TLS: serverTLS})
	for _, size := range []int{1 << 10, 64 << 10} {
		for _, c := range []struct {
			name  string
			start func(testing.TB) netip.AddrPort
		}{
			{"direct", func(testing.TB) netip.AddrPort { return upstream }},
			{"http1", func(tb testing.TB) netip.AddrPort { return http1Proxy(tb, serverTLS, clientTLS, upstream) }},
			{"ReverseProxy", func(tb testing.TB) netip.AddrPort { return reverseProxy(tb, serverTLS, clientTLS, upstream) }},
		} {
			b.Run(strconv.Itoa(size>>10)+"KiB/"+c.name, func(b *testing.B) { load(b, c.start(b), clientTLS, size) })
		}
	}
}

func http1Proxy(tb testing.TB, serverTLS, clientTLS *tls.Config, upstream netip.AddrPort) netip.AddrPort {
	client := &http1.Client{Dial: dial, TLS: clientTLS}
	tb.Cleanup(client.CloseIdle)
	bodies := sync.Pool{New: func() any { b := make([]byte, 0, 4<<10); return &b }}
	return benchServe(tb, &http1.Server{TLS: serverTLS, Handler: handler{exchange: func(x *http1.Exchange) {
		buf := bodies.Get().(*[]byte)
		defer bodies.Put(buf)
		body, err := x.ReadBody((*buf)[:0])
		*buf = body
		if err != nil {
			_ = x.Respond(400, nil, nil)
			return
		}
		out := to("https", upstream, x.Request.Method, x.Request.Target, body)
		out.Header = http1.Fields{{Name: "Content-Type", Value: x.Request.Header.Get("Content-Type")}}
		in, err := client.Do(x.Context(), out)
		if err != nil {
			_ = x.Respond(502, nil, []byte(err.Error()))
			return
		}
		body, err = in.ReadBody(body[:0])
		*buf = body
		if err != nil {
			_ = x.Respond(502, nil, []byte(err.Error()))
			return
		}
		_ = x.Respond(in.Status, http1.Fields{{Name: "Content-Type", Value: in.Header.Get("Content-Type")}}, body)
	}}})
}

func reverseProxy(tb testing.TB, serverTLS, clientTLS *tls.Config, upstream netip.AddrPort) netip.AddrPort {
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "https", Host: upstream.String()})
	proxy.Transport = &http.Transport{TLSClientConfig: clientTLS, MaxIdleConnsPerHost: 64, ForceAttemptHTTP2: false}
	s := &http.Server{Handler: proxy, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	config := serverTLS.Clone()
	config.NextProtos = []string{"http/1.1"}
	go func() { _ = s.Serve(tls.NewListener(l, config)) }()
	tb.Cleanup(func() { _ = s.Close() })
	return l.Addr().(*net.TCPAddr).AddrPort()
}

func benchServe(tb testing.TB, s *http1.Server) netip.AddrPort {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	tb.Cleanup(func() { cancel(); <-done })
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// load sends b.N posts over 32 connections.
func load(b *testing.B, at netip.AddrPort, config *tls.Config, size int) {
	const conns = 32
	body := bytes.Repeat([]byte("0123456789abcdef"), size/16)
	request := append([]byte("POST /echo HTTP/1.1\r\nHost: gateway.test\r\nContent-Type: application/json\r\nUser-Agent: bench\r\nContent-Length: "+
		strconv.Itoa(size)+"\r\n\r\n"), body...)
	var left atomic.Int64
	left.Store(int64(b.N))
	var ready, over sync.WaitGroup
	begin := make(chan struct{})
	for range conns {
		ready.Add(1)
		over.Go(func() {
			config := config.Clone()
			config.ServerName, config.DynamicRecordSizingDisabled = "gateway.test", true
			nc, err := tls.Dial("tcp", at.String(), config)
			ready.Done()
			if err != nil {
				b.Error(err)
				return
			}
			defer func() { _ = nc.Close() }()
			<-begin
			buf := make([]byte, 0, size+4096)
			for left.Add(-1) >= 0 {
				if _, err := nc.Write(request); err != nil {
					b.Error(err)
					return
				}
				buf = buf[:0]
				for {
					n, err := nc.Read(buf[len(buf):cap(buf)])
					buf = buf[:len(buf)+n]
					if i := bytes.Index(buf, []byte("\r\n\r\n")); i >= 0 && len(buf) == i+4+size {
						if !bytes.HasPrefix(buf, []byte("HTTP/1.1 200")) {
							b.Errorf("%.100q", buf)
							return
						}
						break
					}
					if err != nil {
						b.Errorf("%v after %.200q", err, buf)
						return
					}
				}
			}
		})
	}
	ready.Wait()
	b.ReportAllocs()
	b.SetBytes(int64(size))
	b.ResetTimer()
	close(begin)
	over.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "req/s")
}
