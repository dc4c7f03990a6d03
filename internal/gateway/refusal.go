package gateway

import (
	"encoding/json"
	"net/http"

	"github.com/isogate/isogate"
)

// refusal is why a request does not leave. Its code is stable and short, for
// programs and metrics; its detail is a sentence for people that says what to do
// next. Neither ever carries a value of the payload.
type refusal struct {
	status  int
	code    string
	detail  string
	consent isogate.EntryID // the request that an administrator may answer
	again   bool            // the same request may pass in a second
}

// Problem is the body of a refusal: RFC 9457 problem details with the journal
// entry that recorded it.
type Problem struct {
	Type   string          `json:"type"`
	Title  string          `json:"title"`
	Status int             `json:"status"`
	Detail string          `json:"detail,omitempty"`
	Entry  isogate.EntryID `json:"entry,omitempty"`
	// Consent is where the consent that is missing can be asked about.
	Consent string `json:"consent,omitempty"`
}

// problemType is the media type of a Problem (RFC 9457 section 3).
const problemType = "application/problem+json"

func (r *refusal) problem(entry isogate.EntryID) []byte {
	problem := Problem{
		Type:   "urn:isogate:problem:" + r.code,
		Title:  title(r.status),
		Status: r.status,
		Detail: r.detail,
		Entry:  entry,
	}
	if r.consent != "" {
		problem.Consent = consentPath(r.consent)
	}
	b, err := json.Marshal(problem)
	if err != nil {
		return []byte(`{"type":"about:blank"}`)
	}
	return append(b, '\n')
}

// title says what a status means here, which is narrower than what it means to HTTP at large.
func title(status int) string {
	switch status {
	case http.StatusBadRequest:
		return "The request is not well-formed"
	case http.StatusUnauthorized, http.StatusProxyAuthRequired:
		return "The caller is unknown"
	case http.StatusForbidden:
		return "There is no way out for this"
	case http.StatusRequestEntityTooLarge:
		return "The body is too large"
	case http.StatusUnsupportedMediaType:
		return "The format is not understood"
	case http.StatusUnprocessableEntity:
		return "The content is refused"
	case http.StatusTooManyRequests:
		return "Over the limit"
	case http.StatusBadGateway:
		return "The other side failed"
	case http.StatusServiceUnavailable:
		return "What cannot be recorded or revoked does not leave"
	case http.StatusGatewayTimeout:
		return "The other side did not answer in time"
	}
	return http.StatusText(status)
}
