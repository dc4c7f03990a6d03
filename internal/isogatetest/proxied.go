package isogatetest

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// Proxied is an app as it is run behind door two. It knows where its proxy is, its
// own token and whom to trust, and nothing else of the gateway.
type Proxied struct {
	Door  string // host:port of door two, without TLS
	Token string
	Roots *x509.CertPool
}

// NotConnected is the refusal of a CONNECT. An ordinary client hides what it says.
type NotConnected struct {
	Status int
	Body   []byte
}

func (n *NotConnected) Error() string {
	return fmt.Sprintf("the proxy answered CONNECT with %d", n.Status)
}

// maxRefusal is how much of a refusal is read, in bytes.
const maxRefusal = 64 << 10

// Connect asks for the way to host:port. The connection is the tunnel if the
// answer is 200; otherwise the answer's body is still to be read from it.
func (p Proxied) Connect(ctx context.Context, authority string) (net.Conn, *http.Response, error) {
	c, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", p.Door)
	if err != nil {
		return nil, nil, err
	}
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	_, err = fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: %s\r\nProxy-Authorization: Bearer %s\r\n\r\n", authority, authority, p.Token)
	if err == nil {
		var res *http.Response
		if res, err = readAnswer(c); err == nil {
			return c, res, nil
		}
	}
	_ = c.Close()
	return nil, nil, err
}

// Tunnel is a way to host:port that is open, or a [NotConnected]. It knows no
// deadline any more.
func (p Proxied) Tunnel(ctx context.Context, authority string) (net.Conn, error) {
	c, res, err := p.Connect(ctx, authority)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		body, err := io.ReadAll(io.LimitReader(res.Body, maxRefusal))
		_ = c.Close()
		if err != nil {
			return nil, err
		}
		return nil, &NotConnected{res.StatusCode, body}
	}
	_ = c.SetDeadline(time.Time{})
	return c, nil
}

// Client is an HTTP client that reaches every host through the door. Its errors
// wrap [NotConnected] where the door refused. It does not follow redirects.
func (p Proxied) Client() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext:     func(ctx context.Context, _, authority string) (net.Conn, error) { return p.Tunnel(ctx, authority) },
			TLSClientConfig: &tls.Config{RootCAs: p.Roots, MinVersion: tls.VersionTLS12},
		},
		Timeout:       30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// readAnswer reads the answer to a CONNECT byte by byte, so that nothing of the
// tunnel behind it is taken.
func readAnswer(c net.Conn) (*http.Response, error) {
	return http.ReadResponse(bufio.NewReaderSize(oneByte{c}, 16), &http.Request{Method: http.MethodConnect})
}

type oneByte struct{ r io.Reader }

func (o oneByte) Read(p []byte) (int, error) { return o.r.Read(p[:1]) }
