package landing

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/isogate/isogate/internal/http1"
	"github.com/isogate/isogate/internal/remote"
	"github.com/isogate/isogate/internal/seal"
)

// refusal is why a request is not answered as it asked. Its detail never has a
// value, a token or a key in it.
type refusal struct {
	status int
	code   string
	detail string
	passed bool // it was, or may have been, passed on to the service
	retry  int  // seconds; 0 says nothing
}

func (r *refusal) Error() string { return r.code + ": " + r.detail }

// Codes beyond those of package seal.
const (
	codeMalformed       = "malformed"
	codeNotAcknowledged = "not-acknowledged"
	codeRegisterFailed  = "register-failed"
	codeUnknownGateway  = "unknown-gateway"
	codeNotFound        = "not-found"
	codeMethod          = "method"
	codeTooLarge        = "too-large"
	codeDraining        = "draining"
	codeNotReady        = "not-ready"
	codeServiceFailed   = "service-failed"
	codeErasureDiffers  = "erasure-differs"
	codeUnauthorised    = "unauthorised"
	codeTooMany         = "too-many-attempts"
	codeCrossSite       = "cross-site"
	codeWorker          = "worker"
	codeInternal        = "internal"
)

// problem is RFC 9457's problem details.
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
}

const problemType = "application/problem+json"

// refuse answers with r, which says in Isogate-Landing that nothing was passed on
// if nothing was.
func (l *Landing) refuse(x *http1.Exchange, r *refusal, header ...http1.Field) {
	if x.Answered() {
		x.Close()
		return
	}
	l.metrics.refused.WithLabelValues(r.code).Inc()
	body, err := json.Marshal(problem{Type: "urn:isogate:problem:" + r.code, Title: http.StatusText(r.status), Status: r.status, Detail: r.detail})
	if err != nil {
		body = []byte(`{"type":"about:blank"}`)
	}
	header = append(header, http1.Field{Name: "Content-Type", Value: problemType}, http1.Field{Name: "Cache-Control", Value: "no-store"})
	if !r.passed {
		header = append(header, http1.Field{Name: seal.HeaderLanding, Value: r.code})
	}
	if r.retry > 0 {
		header = append(header, http1.Field{Name: "Retry-After", Value: strconv.Itoa(r.retry)})
	}
	_ = x.Respond(r.status, header, append(body, '\n')) // whoever asked is gone; there is nobody to tell
}

// fault answers a malformed request.
func (l *Landing) fault(x *http1.Exchange, f *http1.Fault) {
	l.refuse(x, &refusal{status: f.Status, code: codeMalformed, detail: f.Error()})
}

// failed says what went wrong at the service, without its words.
func failed(err error) *refusal {
	var denied *remote.Refusal
	var f *http1.Fault
	var e *http1.Error
	switch {
	case errors.As(err, &denied):
		return &refusal{status: 502, code: codeServiceFailed, detail: "the service's address may not be dialled: " + denied.Reason, passed: true}
	case errors.As(err, &e):
		if e.Kind == http1.ErrSource && errors.As(err, &f) {
			return &refusal{status: f.Status, code: codeMalformed, detail: f.Error(), passed: true}
		}
		return &refusal{status: e.Status(), code: codeServiceFailed, detail: "the service failed: " + e.Kind.String(), passed: true}
	}
	return &refusal{status: 502, code: codeServiceFailed, detail: "the service could not be reached", passed: true}
}

func notFound() *refusal {
	return &refusal{status: 404, code: codeNotFound, detail: "there is nothing at this path below /.isogate/; see docs/formats.md"}
}

func wrongMethod() *refusal {
	return &refusal{status: 405, code: codeMethod, detail: "this path takes another method; see docs/formats.md"}
}

func malformed(detail string) *refusal {
	return &refusal{status: 400, code: codeMalformed, detail: detail}
}
