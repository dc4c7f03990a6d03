package http1

import (
	"errors"
	"fmt"
	"strconv"
)

// recordSize is the plaintext of a TLS record: what fits into one goes out in one.
const recordSize = 16 << 10

// writeSize is how much is written under one write deadline.
const writeSize = 256 << 10

// phrases are the reason phrases that are written; they mean nothing (RFC 9112, 4).
var phrases = map[int]string{
	200: "OK", 201: "Created", 202: "Accepted", 203: "Non-Authoritative Information", 204: "No Content", 205: "Reset Content",
	206: "Partial Content", 207: "Multi-Status", 300: "Multiple Choices", 301: "Moved Permanently", 302: "Found", 303: "See Other",
	304: "Not Modified", 307: "Temporary Redirect", 308: "Permanent Redirect", 400: "Bad Request", 401: "Unauthorized",
	402: "Payment Required", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed", 406: "Not Acceptable",
	407: "Proxy Authentication Required", 408: "Request Timeout", 409: "Conflict", 410: "Gone", 411: "Length Required",
	412: "Precondition Failed", 413: "Content Too Large", 414: "URI Too Long", 415: "Unsupported Media Type",
	416: "Range Not Satisfiable", 417: "Expectation Failed", 421: "Misdirected Request", 422: "Unprocessable Content",
	423: "Locked", 424: "Failed Dependency", 425: "Too Early", 426: "Upgrade Required", 428: "Precondition Required",
	429: "Too Many Requests", 431: "Request Header Fields Too Large", 451: "Unavailable For Legal Reasons",
	500: "Internal Server Error", 501: "Not Implemented", 502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Timeout",
	505: "HTTP Version Not Supported", 507: "Insufficient Storage", 511: "Network Authentication Required",
}

// Phrase is the reason phrase of a status, or "".
func Phrase(status int) string { return phrases[status] }

func appendStatusLine(dst []byte, status int) []byte {
	dst = append(dst, "HTTP/1.1 "...)
	dst = strconv.AppendInt(dst, int64(status), 10)
	dst = append(dst, ' ')
	dst = append(dst, phrases[status]...)
	return append(dst, "\r\n"...)
}

func appendField(dst []byte, name, value string) []byte {
	dst = append(dst, name...)
	dst = append(dst, ": "...)
	dst = append(dst, value...)
	return append(dst, "\r\n"...)
}

func appendLength(dst []byte, n int64) []byte {
	dst = append(dst, "Content-Length: "...)
	dst = strconv.AppendInt(dst, n, 10)
	return append(dst, "\r\n"...)
}

// check refuses fields that would not be read back as they were given: this is
// where header injection ends. Fields in bits are refused too.
func (f Fields) check(bits uint64) error {
	for i := range f {
		name, value := f[i].Name, f[i].Value
		switch {
		case name == "" || !all(name, isToken):
			return fmt.Errorf("field %d has the malformed name %.40q", i+1, name)
		case !all(value, isValue):
			return fmt.Errorf("the value of field %s has a control character", name)
		case value != "" && (blank(value[0]) || blank(value[len(value)-1])):
			return fmt.Errorf("the value of field %s has white space around it; trim it", name)
		case ownOf(name).in(bits):
			return fmt.Errorf("field %s is not the caller's to write here; leave it out", name)
		}
	}
	return nil
}

func blank(c byte) bool { return c == ' ' || c == '\t' }

// ownOf is knownOf in any spelling, without allocating.
func ownOf(name string) known {
	var buf [32]byte
	if len(name) > len(buf) {
		return unknown
	}
	b := buf[:copy(buf[:], name)]
	canonicalise(b)
	return knownOf(b)
}

var errShort = errors.New("fewer bytes were written than the length announced")

// errLong is returned for the first byte too many, and nothing of it is sent.
var errLong = errors.New("more bytes were written than the length announced")

// gap is what the framing of a chunk needs before and after its data.
const (
	gap     = 8 + 2 // eight digits at most, CR LF
	gapTail = 2
)

// frame turns buf[:head] gap data into head, chunk size, data, CR LF, moving the
// head up to the chunk. It returns where the bytes to send begin.
func frame(buf []byte, head int) (start int, out []byte) {
	n := len(buf) - head - gap
	var digits [16]byte
	size := append(strconv.AppendInt(digits[:0], int64(n), 16), "\r\n"...)
	start = gap - len(size)
	copy(buf[start:], buf[:head])
	copy(buf[start+head:], size)
	return start, append(buf, "\r\n"...)
}
