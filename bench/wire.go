package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http/httputil"
	"strconv"
)

// message is what load and the far side need to know of an HTTP/1.1 message:
// as little as possible, for what they cost is taken from the contestants.
type message struct {
	first []byte // request or status line
	seals []byte // what Isogate-Seal has, if it is there
	body  []byte // valid until the next read
}

// reader reads messages off one connection.
type reader struct {
	br   *bufio.Reader
	line []byte
	keys []byte
	buf  []byte
}

var (
	contentLength    = []byte("content-length:")
	transferEncoding = []byte("transfer-encoding:")
	sealField        = []byte("isogate-seal:")
)

func (r *reader) next() (message, error) {
	var m message
	length, chunked := 0, false
	for first := true; ; first = false {
		line, err := r.br.ReadSlice('\n')
		if err != nil {
			return m, err
		}
		line = bytes.TrimRight(line, "\r\n")
		switch {
		case first:
			r.line = append(r.line[:0], line...)
			m.first = r.line
		case len(line) == 0:
			return m, r.content(&m, length, chunked)
		case len(line) > len(contentLength) && bytes.EqualFold(line[:len(contentLength)], contentLength):
			if length, err = strconv.Atoi(string(bytes.TrimSpace(line[len(contentLength):]))); err != nil {
				return m, err
			}
		case len(line) > len(sealField) && bytes.EqualFold(line[:len(sealField)], sealField):
			r.keys = append(r.keys[:0], bytes.TrimSpace(line[len(sealField):])...)
			m.seals = r.keys
		case len(line) > len(transferEncoding) && bytes.EqualFold(line[:len(transferEncoding)], transferEncoding):
			chunked = true
		}
	}
}

func (r *reader) content(m *message, length int, chunked bool) error {
	if chunked {
		body, err := io.ReadAll(httputil.NewChunkedReader(r.br))
		if err != nil {
			return err
		}
		m.body = body
		end, err := r.br.ReadSlice('\n')
		if err == nil && len(bytes.TrimRight(end, "\r\n")) > 0 {
			err = errors.New("trailers after chunks")
		}
		return err
	}
	if cap(r.buf) < length {
		r.buf = make([]byte, length)
	}
	m.body = r.buf[:length]
	_, err := io.ReadFull(r.br, m.body)
	return err
}

// path is the target of a request line.
func (m message) path() []byte {
	_, rest, _ := bytes.Cut(m.first, []byte(" "))
	path, _, _ := bytes.Cut(rest, []byte(" "))
	return path
}

// status reads the status code of a status line.
func (m message) status() (int, error) {
	if len(m.first) < 12 {
		return 0, fmt.Errorf("not a status line: %q", m.first)
	}
	return strconv.Atoi(string(m.first[9:12]))
}
