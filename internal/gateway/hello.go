package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/isogate/isogate/internal/remote"
)

// maxHello is how many bytes may come before the end of a ClientHello, its
// records' headers included, and how many are read. Real ones have up to 2 KiB,
// most of it keys that withstand quantum computers.
const maxHello = 64 << 10

// clientHello is what the first message of a TLS connection asks for.
type clientHello struct {
	// ServerName is the host in its canonical spelling; it is never an address,
	// and never empty.
	ServerName string
	// ALPN lists the protocols offered, in the client's order (RFC 7301).
	ALPN []string
	// ECH says that an encrypted hello, or what looks like one, is in the message
	// (RFC 9849). Browsers send random bytes in its place where they have no key,
	// so that nobody can tell; we cannot either, and refuse neither. What is
	// judged is the name in the clear, which must be one that is allowed. A client
	// that puts there the public name which the standard asks for, such as that of
	// a content network, is refused unless that name is allowed. One that puts an
	// allowed name there can have the far side, if it holds the key, open the
	// inner hello and answer for another site of its own. In a tunnel this hides
	// no more than the tunnel does: there, too, a Host inside can name any site
	// that the same far side serves. Where the gateway is the TLS server, it has no
	// key and takes the name in the clear, and a client that meant its inner hello
	// ends the handshake (RFC 9849, 6.1.6).
	ECH bool
}

// What is wrong with the beginning of a connection that should be TLS. None of
// these says what the client sent.
var (
	errHelloNotTLS = errors.New("the tunnel does not begin with TLS; send a ClientHello first")
	errHelloLate   = errors.New("the ClientHello did not come to its end in time; send it at once after the answer to CONNECT")
	errHelloCut    = errors.New("the connection ended before the ClientHello did")
	errHelloLong   = fmt.Errorf("the ClientHello is longer than %d bytes", maxHello)
	errHelloOld    = errors.New("the client offers no version of TLS from 1.2 on; bring its TLS library up to date")
	errHelloBroken = errors.New("the ClientHello is malformed, names a server twice or with a dot at its end, or shares its records with something else (RFC 8446, 4.1.2 and 5.1)")
	errHelloNoName = errors.New("the ClientHello names no server; have the client send the server_name extension (RFC 6066, 3)")
	errHelloName   = errors.New("the ClientHello's server name is not a host name in its canonical spelling; send the name that CONNECT has")
)

// readHello reads a ClientHello from the client's end of a tunnel, before a byte
// leaves. raw is everything that was read, what came behind the hello included: it
// must be sent on, or read again through a replayConn; it is the caller's, and
// of what else it took to read nothing is kept. After an error there is none: what
// was not understood is not sent on. The whole message has to come within the
// given time, however many pieces it comes in. Nothing is ever written to conn,
// not even an alert; it stays open, and has no read deadline afterwards.
//
// The message is parsed by crypto/tls, as a server would, so that what is read out
// of fragments is what the far side will read; beyond that it must be all that is
// in its records. The server name is compared without regard to case (RFC 6066, 3)
// and must otherwise be in its one canonical spelling.
func readHello(conn net.Conn, within time.Duration) (hello clientHello, raw []byte, err error) {
	if err := conn.SetReadDeadline(time.Now().Add(within)); err != nil {
		return clientHello{}, nil, err
	}
	listen := &helloConn{conn: conn}
	var info *tls.ClientHelloInfo
	server := tls.Server(listen, &tls.Config{
		MinVersion: tls.VersionTLS12, // judged below: the handshake ends before it would be
		GetConfigForClient: func(i *tls.ClientHelloInfo) (*tls.Config, error) {
			info = i
			return nil, errHelloRead
		},
	})
	err = server.HandshakeContext(context.Background())
	framed := onlyHello(listen.raw)
	switch {
	case errors.Is(err, errHelloRead):
		err = framed
	case listen.err != nil:
		err = listen.err
	case errors.Is(framed, errHelloLong):
		err = framed
	default:
		err = errHelloBroken // why, crypto/tls says in words that may quote the client
	}
	if err == nil {
		hello, err = judgeHello(info)
	}
	if lift := conn.SetReadDeadline(time.Time{}); err == nil {
		err = lift // of what has ended already, nobody needs to hear twice
	}
	if err != nil {
		return clientHello{}, nil, err
	}
	return hello, listen.raw, nil
}

// errHelloRead ends the handshake once the hello was read.
var errHelloRead = errors.New("the hello was read")

const (
	extensionECH    = 0xfe0d // encrypted_client_hello (RFC 9849, 11.1)
	recordHandshake = 22     // RFC 8446, 5.1
	messageHello    = 1      // RFC 8446, 4
)

func judgeHello(info *tls.ClientHelloInfo) (hello clientHello, err error) {
	// What a client offers beside is for the far side to choose from.
	if !slices.Contains(info.SupportedVersions, tls.VersionTLS12) && !slices.Contains(info.SupportedVersions, tls.VersionTLS13) {
		return clientHello{}, errHelloOld
	}
	if info.ServerName == "" {
		return clientHello{}, errHelloNoName
	}
	// A name that is not ASCII would have to be punycode (RFC 6066, 3). What a far
	// side makes of one that is not is not known, and lower case can turn it into
	// ASCII: the Kelvin sign into a k.
	ascii := !strings.ContainsFunc(info.ServerName, func(r rune) bool { return r >= 0x80 })
	name := strings.ToLower(info.ServerName)
	canonical, err := remote.CanonicalHost(name)
	_, address := netip.ParseAddr(canonical)
	if !ascii || err != nil || canonical != name || address == nil {
		return clientHello{}, errHelloName
	}
	return clientHello{ServerName: name, ALPN: info.SupportedProtos, ECH: slices.Contains(info.Extensions, extensionECH)}, nil
}

// onlyHello makes sure that raw begins with records that have one ClientHello in
// them and nothing else. crypto/tls takes warnings before the message and between
// its fragments, and more messages behind it in its last record: another server may
// make something else of them. What comes in records of its own behind the hello is
// not looked at (early data, RFC 8446, 4.2.10).
func onlyHello(raw []byte) error {
	const header, largest = 5, 1 << 14 // RFC 8446, 5.1
	var message []byte                 // its first four bytes: type and length
	for have := 0; ; {
		if len(raw) < header || raw[0] != recordHandshake || raw[1] != 3 || raw[2] < 1 || raw[2] > 3 {
			return errHelloBroken
		}
		n := int(raw[3])<<8 | int(raw[4])
		if n == 0 || n > largest {
			return errHelloBroken
		}
		raw = raw[header:]
		if missing := min(4-len(message), n, len(raw)); missing > 0 {
			message = append(message, raw[:missing]...)
		}
		if have += n; len(message) == 4 {
			whole := 4 + int(message[1])<<16 + int(message[2])<<8 + int(message[3])
			switch {
			case message[0] != messageHello || have > whole:
				return errHelloBroken
			case whole > maxHello:
				return errHelloLong
			case have == whole && len(raw) >= n:
				return nil
			}
		}
		if len(raw) < n {
			return errHelloBroken
		}
		raw = raw[n:]
	}
}

// helloConn is a connection that a TLS server reads a hello from and that hears
// nothing of it.
type helloConn struct {
	conn net.Conn
	raw  []byte // what was read
	err  error  // why no more was
}

// Read implements [net.Conn]. It ends at the first byte that no TLS connection
// begins with, so that a client who speaks something else, or waits for the other
// side to speak, is told so at once.
func (c *helloConn) Read(p []byte) (int, error) {
	if len(c.raw) == maxHello {
		c.err = errHelloLong
		return 0, c.err
	}
	n, err := c.conn.Read(p[:min(len(p), maxHello-len(c.raw))])
	c.raw = append(c.raw, p[:n]...)
	switch {
	case len(c.raw) > 0 && c.raw[0] != recordHandshake || len(c.raw) > 1 && c.raw[1] != 3:
		c.err = errHelloNotTLS
	case err == nil:
	case n > 0: // these bytes count, and may be all that were missing; the error comes again
		return n, nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.err = errHelloLate
	default:
		c.err = errHelloCut
	}
	if c.err != nil {
		err = c.err
	}
	return n, err
}

// Write implements [net.Conn]: the alert of the handshake that we end goes nowhere.
func (c *helloConn) Write(p []byte) (int, error) { return len(p), nil }

// Close implements [net.Conn]; the connection is the caller's.
func (c *helloConn) Close() error { return nil }

// LocalAddr implements [net.Conn].
func (c *helloConn) LocalAddr() net.Addr { return c.conn.LocalAddr() }

// RemoteAddr implements [net.Conn].
func (c *helloConn) RemoteAddr() net.Addr { return c.conn.RemoteAddr() }

// SetDeadline implements [net.Conn]; deadlines are readHello's.
func (c *helloConn) SetDeadline(time.Time) error { return nil }

// SetReadDeadline implements [net.Conn].
func (c *helloConn) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline implements [net.Conn].
func (c *helloConn) SetWriteDeadline(time.Time) error { return nil }
