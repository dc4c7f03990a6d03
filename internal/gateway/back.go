package gateway

import (
	"errors"
	"io"
	"mime"
	"strings"

	"github.com/isogate/isogate/internal/http1"
	"github.com/isogate/isogate/internal/obfuscate"
	"github.com/isogate/isogate/internal/seal"
)

// holdResponse is the largest response that is answered in one piece.
const holdResponse = 256 << 10

// back answers the caller with the response: limited, and with what was minted
// for this tenant and destination turned back into the originals.
//
// promise: P37
func (p *passage) back() {
	in := p.incoming
	defer func() {
		_ = in.Body.Close()
		p.endStream()
	}()
	limit := p.transit.Response.Max
	if in.ContentLength > limit {
		p.refuse(responseTooLarge())
		return
	}
	escape, restore := p.restorable()
	if restore && encoded(in.Header) {
		p.refuse(&refusal{status: 502, code: "response", detail: "the response is encoded although it was asked not to be, so that nothing in it can be turned back"})
		return
	}
	header := p.responseHeader()
	if in.ContentLength >= 0 && in.ContentLength <= holdResponse {
		p.answerWhole(header, escape, restore)
		return
	}
	p.answerStream(header, escape, restore, limit)
}

func responseTooLarge() *refusal {
	return &refusal{status: 502, code: "response", detail: "the response is larger than the transit allows; see response.max"}
}

func (p *passage) answerWhole(header http1.Fields, escape obfuscate.Escape, restore bool) {
	in := p.incoming
	body, err := in.ReadBody(p.scratch[:0])
	if err != nil {
		p.refuse(farSide(err))
		return
	}
	p.scratch = body
	if restore {
		body = p.restore(body, escape)
	}
	p.finish(p.x.Respond(in.Status, header, body))
}

func (p *passage) answerStream(header http1.Fields, escape obfuscate.Escape, restore bool, limit int64) {
	in := p.incoming
	var body io.Reader = &limitedReader{r: in.Body, left: limit}
	length := in.ContentLength
	if restore {
		body, length = p.target.obfuscator.RestoreReader(body, escape), -1
		if len(p.sealing.keys) > 0 {
			seals := seal.RevealReader(body, escape, &p.sealing, true)
			defer func() { _ = seals.Close() }()
			body = seals
		}
	}
	w, err := p.x.Stream(in.Status, header, length)
	if err != nil {
		p.finish(err)
		return
	}
	var to io.Writer = w
	if media, _, _ := strings.Cut(in.Header.Get("Content-Type"), ";"); strings.EqualFold(strings.TrimSpace(media), "text/event-stream") {
		to = flusher{w} // events are meant for when they happen
	}
	// Without Close the answer is cut off, which is how the caller learns of an
	// error after its head was sent.
	if _, err = io.Copy(to, body); err == nil {
		err = w.Close()
	}
	p.finish(err)
}

// flusher sends each piece at once.
type flusher struct{ w *http1.ResponseBody }

// Write implements [io.Writer].
func (f flusher) Write(b []byte) (int, error) {
	n, err := f.w.Write(b)
	if err == nil {
		err = f.w.Flush()
	}
	return n, err
}

// finish closes the entry with how the answer went.
func (p *passage) finish(err error) {
	p.status = p.incoming.Status
	reason := ""
	switch {
	case errors.Is(err, errOverLimit):
		reason = responseTooLarge().detail
	case err != nil && p.cut() != nil:
		reason = p.cut().detail
	case err != nil:
		reason = "the answer was cut off"
	}
	if reason != "" {
		p.x.Close()
	}
	p.endStream() // before its counts are read
	if s := p.streaming; s != nil && s.err != nil && reason == "" {
		// The far side had answered before all of the body had been judged.
		reason = "the request was broken off: " + s.refusal().detail
	}
	if p.unconfirmed && reason == "" {
		reason = notConfirmed
	}
	p.close(p.status, reason)
}

// restore turns back what this request, or one before it, has left of the
// originals: tokens of the tenant and destination, and seals of this request's own
// keys, of those for a time only what this request has sealed. Others stay: they may
// be of another session.
//
// What it returns is good until the next call. It writes to buffers of its own: the
// far side may have answered while the body still waits to be sent.
//
// promise: P37
func (p *passage) restore(text []byte, escape obfuscate.Escape) []byte {
	if restored, n := p.target.obfuscator.Restore(p.restored[:0], text, escape); n > 0 {
		p.restored, text = restored, restored
	}
	if len(p.sealing.keys) > 0 {
		if revealed, n := seal.Reveal(p.revealed[:0], text, escape, &p.sealing, true); n.Revealed > 0 {
			p.revealed, text = revealed, revealed
		}
	}
	return text
}

var errOverLimit = errors.New("over the limit of the transit's responses")

// limitedReader fails past its limit, where io.LimitReader would pretend that the
// body had ended.
type limitedReader struct {
	r    io.Reader
	left int64
}

func (l *limitedReader) Read(b []byte) (int, error) {
	n, err := l.r.Read(b)
	if l.left -= int64(n); l.left < 0 {
		return 0, errOverLimit
	}
	return n, err
}

// restorable says whether the response's text may hold what we minted, and how
// an original is written into it. Only formats that an original can be escaped
// for qualify, and text that has none: in an event stream, a program, a style
// sheet or a table an original could be read as more than itself. So could it in
// an encoding in which it is not the bytes that we write.
func (p *passage) restorable() (obfuscate.Escape, bool) {
	if !p.transit.Response.Restore {
		return obfuscate.Plain, false
	}
	media, params, err := mime.ParseMediaType(p.incoming.Header.Get("Content-Type"))
	if err != nil {
		return obfuscate.Plain, false
	}
	switch strings.ToLower(params["charset"]) {
	case "", "utf-8", "us-ascii":
	default:
		return obfuscate.Plain, false
	}
	switch {
	case strings.HasSuffix(media, "json") || media == "application/x-ndjson" || media == "application/jsonl":
		return obfuscate.JSON, true
	case media == "text/html" || strings.HasSuffix(media, "xml"):
		return obfuscate.HTML, true
	case media == "application/x-www-form-urlencoded":
		return obfuscate.URL, true
	case media == "text/plain":
		return obfuscate.Plain, true
	}
	return obfuscate.Plain, false
}

func encoded(h http1.Fields) bool {
	enc, ok := h.Lookup("Content-Encoding")
	return ok && !strings.EqualFold(enc, "identity")
}

// responseHeader passes response fields on, without those that concern one
// connection, that would lead callers around the gateway, or that are ours: an
// Isogate- field from the far side is forged.
func (p *passage) responseHeader() http1.Fields {
	header := make(http1.Fields, 0, len(p.incoming.Header)+1)
	for _, f := range p.incoming.Header {
		switch f.Name {
		case "Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "Te", "Trailer",
			"Transfer-Encoding", "Upgrade", "Content-Length", "Date", "Alt-Svc":
			continue
		case "Location", "Content-Location":
			// Clients follow a redirect by themselves, through us and out again: an
			// original in a place that leaves as it is would reach whoever wrote the
			// redirect and had but a token. So it keeps its tokens.
			if p.transit.Response.Restore && p.incoming.Status/100 != 3 {
				f.Value = string(p.restore([]byte(f.Value), obfuscate.URL))
			}
		}
		if strings.HasPrefix(f.Name, "Isogate-") {
			continue
		}
		header = append(header, f)
	}
	return append(header, http1.Field{Name: "Isogate-Entry", Value: string(p.entry.ID)})
}
