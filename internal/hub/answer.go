package hub

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/consent"
)

// Problem is the body of a refusal (RFC 9457), in the form that the gateway's have.
type Problem struct {
	Type   string          `json:"type"`
	Title  string          `json:"title"`
	Status int             `json:"status"`
	Detail string          `json:"detail,omitempty"`
	Entry  isogate.EntryID `json:"entry,omitempty"` // of the act that was recorded and had no effect
	// Findings are the mistakes of a manifest that cannot be understood.
	Findings []Finding `json:"findings,omitempty"`

	// input is which of what somebody gave it is about, for a form to say it there; "" is
	// all of it.
	input string
}

// problemType is what a problem's type begins with, before its code.
const problemType = "urn:isogate:problem:"

// Code is what the problem is, in a word: "no-effect".
func (p *Problem) Code() string { return strings.TrimPrefix(p.Type, problemType) }

// Error makes a Problem an error.
func (p *Problem) Error() string { return p.Detail }

// ProblemType is the media type of a Problem (RFC 9457 section 3).
const ProblemType = "application/problem+json"

func problem(status int, code, detail string) *Problem {
	return &Problem{Type: problemType + code, Title: title(status), Status: status, Detail: detail}
}

// title says what a status means here.
func title(status int) string {
	switch status {
	case http.StatusBadRequest:
		return "The request is not well-formed"
	case http.StatusUnauthorized:
		return "The caller is unknown"
	case http.StatusForbidden:
		return "The caller may not do this"
	case http.StatusConflict:
		return "It does not fit what is now"
	case http.StatusRequestEntityTooLarge:
		return "The body is too large"
	case http.StatusUnprocessableEntity:
		return "The manifest is not understood"
	case http.StatusTooManyRequests:
		return "Over the limit"
	case http.StatusBadGateway:
		return "A landing cannot be asked now"
	case http.StatusServiceUnavailable:
		return "The ledger cannot be relied on now"
	}
	return http.StatusText(status)
}

func badRequest(format string, args ...any) error {
	return problem(http.StatusBadRequest, "bad-request", fmt.Sprintf(format, args...))
}

func notFound(format string, args ...any) error {
	return problem(http.StatusNotFound, "not-found", fmt.Sprintf(format, args...))
}

func conflict(format string, args ...any) error {
	return problem(http.StatusConflict, "no-effect", fmt.Sprintf(format, args...))
}

// problemOf is what the caller is told of an error.
func problemOf(err error) *Problem {
	var p *Problem
	if errors.As(err, &p) {
		return p
	}
	return problem(http.StatusInternalServerError, "internal", "something went wrong here; see the log")
}

func (h *Hub) refuse(w http.ResponseWriter, p *Problem) { h.write(w, p.Status, ProblemType, p) }

func (h *Hub) write(w http.ResponseWriter, status int, mediaType string, body any) {
	text, err := encode(body)
	if err != nil {
		h.logger.Error("an answer could not be written as JSON", slog.Any("error", err))
		status, mediaType, text = http.StatusInternalServerError, ProblemType, []byte(`{"type":"about:blank","title":"Internal Server Error","status":500}`)
	}
	w.Header().Set("Content-Type", mediaType)
	w.WriteHeader(status)
	_, _ = w.Write(text) //nolint:gosec // JSON with HTML escaped, of a type that no browser renders; if the caller has gone there is nobody to tell
}

// encode writes JSON in which HTML is escaped, so that an answer is harmless even
// where somebody takes it for a page.
func encode(body any) ([]byte, error) {
	if raw, ok := body.(json.RawMessage); ok {
		return raw, nil
	}
	text, err := json.Marshal(body)
	return append(text, '\n'), err
}

// decode reads a JSON object of exactly the members that are given, each into what
// its pointer points to. No body is an empty object.
func decode(c *call, members map[string]any) error {
	body, err := c.readBody()
	if err != nil || len(bytes.TrimSpace(body)) == 0 {
		return err
	}
	if mt, _, err := mime.ParseMediaType(c.Header.Get("Content-Type")); err != nil || mt != "application/json" {
		return problem(http.StatusUnsupportedMediaType, "media-type", "the body must be application/json")
	}
	if !utf8.Valid(body) {
		return badRequest("the body is not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(body))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return badRequest("the body is not a JSON object")
	}
	seen := map[string]bool{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return badRequest("the body is not JSON: %v", err)
		}
		name, _ := t.(string)
		into, known := members[name]
		switch {
		case !known:
			return badRequest("unknown member %q; use %s", consent.Shown(name), memberNames(members))
		case seen[name]:
			return badRequest("the member %q is there twice", name)
		}
		seen[name] = true
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return badRequest("the body is not JSON: %v", err)
		}
		if string(raw) == "null" || json.Unmarshal(raw, into) != nil {
			return badRequest("the member %q has a value of the wrong type", name)
		}
	}
	if _, err := d.Token(); err != nil {
		return badRequest("the body is not JSON: %v", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return badRequest("something stands behind the JSON object")
	}
	return nil
}

// memberNames lists the members there are.
func memberNames(members map[string]any) string {
	var names []string
	for n := range members {
		names = append(names, n)
	}
	if len(names) == 0 {
		return "none"
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

func (c *call) readBody() ([]byte, error) {
	body, err := io.ReadAll(c.Body)
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return nil, problem(http.StatusRequestEntityTooLarge, "too-large", fmt.Sprintf("the body is larger than %d bytes", large.Limit))
	}
	if err != nil {
		return nil, badRequest("the body did not arrive whole")
	}
	return body, nil
}

// parameters checks that the query has these parameters and no others, each once
// unless it may be repeated.
func (c *call) parameters(once []string, repeated ...string) (map[string][]string, error) {
	if c.URL.RawQuery == "" {
		return nil, nil
	}
	q, err := url.ParseQuery(c.URL.RawQuery)
	if err != nil {
		return nil, badRequest("the query is not well-formed; percent-encode what is not a letter or digit")
	}
	for name, values := range q {
		switch {
		case slices.Contains(repeated, name):
		case !slices.Contains(once, name):
			return nil, badRequest("unknown parameter %q; use %s", consent.Shown(name), strings.Join(append(slices.Clone(once), repeated...), ", "))
		case len(values) != 1:
			return nil, badRequest("the parameter %q is there twice", name)
		}
	}
	return q, nil
}

func flag(q map[string][]string, name string) (bool, error) {
	switch v := value(q, name); v {
	case "", "false":
		return false, nil
	case "true":
		return true, nil
	default:
		return false, badRequest("the parameter %s is neither true nor false", name)
	}
}

func value(q map[string][]string, name string) string {
	if len(q[name]) == 0 {
		return ""
	}
	return q[name][0]
}

// maxReason is how long a reason may be, in characters.
const maxReason = 500

// checkText refuses what would act on a terminal or a page, or fill it.
func checkText(what, s string, most int) error {
	switch {
	case !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }):
		return badRequest("the %s has characters that do not print, such as line ends or those that turn the direction of writing; leave them out", what)
	case utf8.RuneCountInString(s) > most:
		return badRequest("the %s is longer than %d characters", what, most)
	}
	return nil
}
