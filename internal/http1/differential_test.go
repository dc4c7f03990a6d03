package http1

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
)

// bytesFeed feeds a body from what its input reads.
type bytesFeed struct{ in *input }

func (f bytesFeed) feed(max int) error           { return f.in.more(max) }
func (f bytesFeed) direct(p []byte) (int, error) { return f.in.src.Read(p) }

// message is what was understood of one message.
type message struct {
	method, target string
	status         int
	header         Fields
	body           []byte
	trailer        Fields
	rest           []byte // what follows it
}

// readRequest reads one request as a connection would.
func readRequest(src io.Reader, lim *Limits, forms Form) (m message, r Request, err error) {
	in := &input{src: src}
	defer in.release()
	var p headParser
	p.reset()
	n := 0
	for n == 0 {
		var f *Fault
		if n, f = p.parse(in.buffered(), lim, forms); f != nil {
			return m, r, f
		}
		if n == 0 {
			if f = headFault(in.more(lim.Header + 1)); f != nil {
				return m, r, f
			}
		}
	}
	head := string(in.buffered()[:n])
	in.r += n
	if f := p.request(&r, head, lim, forms); f != nil {
		return m, r, f
	}
	m = message{method: r.Method, target: r.Target, header: r.Header}
	err = m.readBody(in, r.ContentLength, lim)
	return m, r, err
}

func (m *message) readBody(in *input, length int64, lim *Limits) error {
	b := body{in: in, feed: bytesFeed{in}}
	b.start(length, lim)
	var err error
	if m.body, err = readAll(&b, length, nil); err != nil {
		return err
	}
	m.trailer = append(Fields(nil), b.trailer...)
	m.rest = append([]byte{}, in.buffered()...)
	rest, err := io.ReadAll(in.src)
	m.rest = append(m.rest, rest...)
	return err
}

// headerMap is the fields as net/http has them, without those it takes out.
func headerMap(f Fields, without ...string) http.Header {
	h := http.Header{}
	for _, f := range f {
		h[f.Name] = append(h[f.Name], f.Value)
	}
	for _, w := range without {
		delete(h, w)
	}
	return h
}

// scriptBytes are the cases of testdata as the bytes that they send.
func scriptBytes(tb testing.TB, pattern string) (all [][]byte) {
	files, _ := filepath.Glob(pattern)
	if len(files) == 0 {
		tb.Fatal("no scripts")
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			tb.Fatal(err)
		}
		for c := range strings.SplitSeq(string(b), "\n== ") {
			var out []byte
			for line := range strings.SplitSeq(c, "\n") {
				if !strings.HasPrefix(line, ">") || line == "> EOF" {
					continue
				}
				_, text, _ := strings.Cut(line, "> ")
				if s, err := strconv.Unquote(`"` + text + `"`); err == nil {
					out = append(out, s...)
				}
			}
			if len(out) > 0 {
				all = append(all, out)
			}
		}
	}
	return all
}

// ATTACK: a message is read by us in one way and by a receiver in another.
// THIS TEST VERIFIES that whatever we accept, net/http reads too, and as the
// same method, target, host, fields, body, trailers and remainder; and that how
// the bytes are cut into pieces does not matter.
func FuzzRequest(f *testing.F) {
	for _, b := range scriptBytes(f, "testdata/*.txt") {
		f.Add(b)
	}
	lim := Limits{Line: 1000, Header: 4000, Fields: 20, Target: 500, Body: 5000}
	f.Fuzz(func(t *testing.T, b []byte) {
		sameAsNetHTTP(t, b, &lim, OriginForm)
		sameAsNetHTTP(t, b, &lim, AbsoluteForm|AuthorityForm)
	})
}

func sameAsNetHTTP(t *testing.T, b []byte, lim *Limits, forms Form) {
	ours, r, err := readRequest(bytes.NewReader(b), lim, forms)
	pieces, _, err2 := readRequest(iotest.OneByteReader(bytes.NewReader(b)), lim, forms)
	var f1, f2 *Fault
	if errors.As(err, &f1) != errors.As(err2, &f2) || f1 != nil && f1.Reason != f2.Reason && !sizeReason(f1.Reason) && !sizeReason(f2.Reason) {
		t.Fatalf("%q: at once %v, in pieces %v", b, err, err2)
	}
	if err != nil {
		return
	}
	if !reflect.DeepEqual(ours, pieces) {
		t.Fatalf("%q: at once %+v, in pieces %+v", b, ours, pieces)
	}
	br := bufio.NewReader(bytes.NewReader(b))
	theirs, err := http.ReadRequest(br)
	if err != nil {
		t.Fatalf("%q: net/http refuses it: %v", b, err)
	}
	body, err := io.ReadAll(theirs.Body)
	if err != nil {
		t.Fatalf("%q: net/http refuses the body: %v", b, err)
	}
	rest, _ := io.ReadAll(br)
	want := headerMap(r.Header, "Host", "Transfer-Encoding", "Trailer")
	theirs.Header.Del("Trailer")
	// net/http takes its Connection: close out of the fields of HTTP/1.1, and adds
	// a Cache-Control for Pragma, which is not the message's.
	if theirs.Header.Get("Pragma") == "no-cache" && want["Cache-Control"] == nil {
		delete(theirs.Header, "Cache-Control")
	}
	switch {
	case theirs.Method != r.Method || theirs.RequestURI != r.Target || theirs.Host != r.Authority:
		t.Errorf("%q: %s %s %s, net/http %s %s %s", b, r.Method, r.Target, r.Authority, theirs.Method, theirs.RequestURI, theirs.Host)
	case r.Form != OriginForm && theirs.URL.Host != r.Authority:
		t.Errorf("%q: authority %s, net/http %s", b, r.Authority, theirs.URL.Host)
	case theirs.URL.Path != r.Path || theirs.URL.RawQuery != r.RawQuery:
		t.Errorf("%q: path %q?%q, net/http %q?%q", b, r.Path, r.RawQuery, theirs.URL.Path, theirs.URL.RawQuery)
	case theirs.ContentLength != r.ContentLength:
		t.Errorf("%q: length %d, net/http %d", b, r.ContentLength, theirs.ContentLength)
	case !reflect.DeepEqual(theirs.Header, want):
		t.Errorf("%q: fields %v, net/http %v", b, want, theirs.Header)
	case !bytes.Equal(body, ours.body) || !bytes.Equal(rest, ours.rest):
		t.Errorf("%q: body %q then %q, net/http %q then %q", b, ours.body, ours.rest, body, rest)
	case len(theirs.Trailer)+len(ours.trailer) > 0 && !reflect.DeepEqual(theirs.Trailer, headerMap(ours.trailer)):
		t.Errorf("%q: trailers %v, net/http %v", b, ours.trailer, theirs.Trailer)
	}
}

// sizeReason reports reasons that depend on how much was there when it was looked at.
func sizeReason(r Reason) bool {
	switch r {
	case HeaderTooLarge, LineTooLong, TooManyFields, TargetTooLong, BadTrailer:
		return true
	}
	return false
}

// readResponse reads one response as a client's connection would.
func readResponse(src io.Reader, method string, lim *Limits) (m message, in Incoming, err error) {
	input := &input{src: src}
	defer input.release()
	var p statusParser
	p.reset()
	n := 0
	for n == 0 {
		var f *Fault
		if n, f = p.parse(input.buffered(), lim); f != nil {
			return m, in, f
		}
		if n == 0 {
			if f = headFault(input.more(lim.Header + 1)); f != nil {
				return m, in, f
			}
		}
	}
	head := string(input.buffered()[:n])
	input.r += n
	length, f := p.response(&in, head, method, false, lim)
	if f != nil {
		return m, in, f
	}
	m = message{status: in.Status, header: in.Header}
	err = m.readBody(input, length, lim)
	return m, in, err
}

// ATTACK: a response is read by us in one way and by others in another, and
// with it every response that follows on the connection.
// THIS TEST VERIFIES what FuzzRequest does, for responses.
func FuzzResponse(f *testing.F) {
	for _, b := range scriptBytes(f, "testdata/responses/*.txt") {
		f.Add(b)
	}
	lim := Limits{Line: 1000, Header: 4000, Fields: 20, Target: 500, Body: 5000}
	f.Fuzz(func(t *testing.T, b []byte) {
		ours, in, err := readResponse(bytes.NewReader(b), "GET", &lim)
		pieces, _, err2 := readResponse(iotest.OneByteReader(bytes.NewReader(b)), "GET", &lim)
		var f1, f2 *Fault
		if errors.As(err, &f1) != errors.As(err2, &f2) || f1 != nil && f1.Reason != f2.Reason && !sizeReason(f1.Reason) && !sizeReason(f2.Reason) {
			t.Fatalf("%q: at once %v, in pieces %v", b, err, err2)
		}
		if err != nil {
			return
		}
		if !reflect.DeepEqual(ours, pieces) {
			t.Fatalf("%q: at once %+v, in pieces %+v", b, ours, pieces)
		}
		br := bufio.NewReader(bytes.NewReader(b))
		theirs, err := http.ReadResponse(br, &http.Request{Method: "GET"})
		if err != nil {
			t.Fatalf("%q: net/http refuses it: %v", b, err)
		}
		body, err := io.ReadAll(theirs.Body)
		if err != nil {
			t.Fatalf("%q: net/http refuses the body: %v", b, err)
		}
		rest, _ := io.ReadAll(br)
		switch {
		case theirs.StatusCode != in.Status:
			t.Errorf("%q: status %d, net/http %d", b, in.Status, theirs.StatusCode)
		case !bytes.Equal(body, ours.body) || !bytes.Equal(rest, ours.rest):
			t.Errorf("%q: body %q then %q, net/http %q then %q", b, ours.body, ours.rest, body, rest)
		}
		for _, f := range in.Header {
			if got := theirs.Header.Values(f.Name); in.Header.Count(f.Name) != len(got) {
				t.Errorf("%q: field %s %v, net/http %v", b, f.Name, in.Header, got)
			}
		}
		if len(theirs.Trailer)+len(ours.trailer) > 0 && !reflect.DeepEqual(theirs.Trailer, headerMap(ours.trailer)) {
			t.Errorf("%q: trailers %v, net/http %v", b, ours.trailer, theirs.Trailer)
		}
	})
}
