package landing

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/http1"
	"github.com/isogate/isogate/internal/seal"
)

const (
	// maxCall is the largest body of a call to us, in bytes.
	maxCall = 2 << 20
	// maxEndKeys is how many keys one call ends.
	maxEndKeys = 500
	// maxReceipts and maxRows are how many come with one answer.
	maxReceipts = 500
	maxRows     = 1000
)

// gatewayCall answers what gateways ask of the landing itself, of their own tenant.
func (l *Landing) gatewayCall(x *http1.Exchange, tenant isogate.Tenant, path string) *refusal {
	method := x.Request.Method
	erasure, one := strings.CutPrefix(path, "erasures/")
	switch {
	case path == "statement":
		if method != "GET" {
			return wrongMethod()
		}
		respond(x, seal.MediaType, l.cfg.Vault.Statement())
		return nil
	case path == "receipts":
		if method != "GET" {
			return wrongMethod()
		}
		return l.receiptsCall(x, tenant)
	case path == "sessions/end":
		if method != "POST" {
			return wrongMethod()
		}
		return l.endCall(x, tenant)
	case path == "register":
		if method != "GET" {
			return wrongMethod()
		}
		return l.registerCall(x, tenant)
	case path == "erasures":
		if method != "POST" {
			return wrongMethod()
		}
		return l.eraseCall(x, tenant)
	case one && validErasure(erasure):
		if method != "GET" {
			return wrongMethod()
		}
		state, ok := l.erasures.state(tenant, erasure)
		if !ok {
			return notFound()
		}
		return respondJSON(x, erasureAnswer{erasure, state})
	}
	return notFound()
}

func (l *Landing) receiptsCall(x *http1.Exchange, tenant isogate.Tenant) *refusal {
	q, r := query(x, "after", "limit")
	if r != nil {
		return r
	}
	after, limit := uint64(0), 100
	if s := q["after"]; s != "" {
		n, err := strconv.ParseUint(s, 10, 63)
		if err != nil {
			return malformed("after is not the number of a receipt")
		}
		after = n
	}
	if r := limitOf(q, maxReceipts, &limit); r != nil {
		return r
	}
	notes, more, err := l.cfg.Vault.Receipts(x.Context(), tenant, after, limit)
	if err != nil {
		return l.broken("receipts cannot be read", err)
	}
	body := struct {
		Receipts []string `json:"receipts"`
		More     bool     `json:"more"`
	}{Receipts: make([]string, len(notes)), More: more}
	for i, n := range notes {
		body.Receipts[i] = string(n)
	}
	return respondJSON(x, body)
}

// endCall ends a session, or keys of which a receipt is overdue.
func (l *Landing) endCall(x *http1.Exchange, tenant isogate.Tenant) *refusal {
	var body struct {
		Session string    `json:"session"`
		Keys    []seal.ID `json:"keys"`
	}
	if r := readJSON(x, &body); r != nil {
		return r
	}
	var ended int
	switch {
	case body.Session != "" && body.Keys != nil, body.Session == "" && len(body.Keys) == 0, len(body.Keys) > maxEndKeys:
		return malformed("either session or keys is needed, of which there may be 500")
	case body.Session == "":
		ended = l.cfg.Vault.EndKeys(tenant, body.Keys)
	case !validSession(body.Session):
		return malformed("session is not a session's digest")
	default:
		ended = l.cfg.Vault.EndSession(tenant, body.Session, seal.CauseEnded)
	}
	return respondJSON(x, map[string]int{"ended": ended})
}

func (l *Landing) registerCall(x *http1.Exchange, tenant isogate.Tenant) *refusal {
	q, r := query(x, "after", "limit", "label", "id")
	if r != nil {
		return r
	}
	limit := 500
	if r := limitOf(q, maxRows, &limit); r != nil {
		return r
	}
	rows, next, err := l.register.list(x.Context(), tenant, q["label"], q["id"], q["after"], limit)
	switch {
	case errors.Is(err, errCursor):
		return malformed("after is not what next was")
	case err != nil:
		return l.broken("the register cannot be read", err)
	}
	type shown struct {
		Label   isogate.Label `json:"label"`
		ID      string        `json:"id"`
		Subject string        `json:"subject"`
		Because string        `json:"because"`
		Rule    string        `json:"rule"`
		Entry   string        `json:"entry"`
		Since   time.Time     `json:"since"`
		Last    time.Time     `json:"last"`
	}
	body := struct {
		Rows []shown `json:"rows"`
		Next string  `json:"next,omitempty"`
	}{Rows: make([]shown, 0, len(rows)), Next: next}
	for _, r := range rows {
		body.Rows = append(body.Rows, shown{r.Label, r.ID, r.Subject, r.Because, r.Rule, r.entry, r.since, r.last})
	}
	return respondJSON(x, body)
}

type erasureAnswer struct {
	Erasure string       `json:"erasure"`
	State   erasureState `json:"state"`
}

func (l *Landing) eraseCall(x *http1.Exchange, tenant isogate.Tenant) *refusal {
	var body struct {
		ID   string       `json:"id"`
		Rows []identifier `json:"rows"`
	}
	if r := readJSON(x, &body); r != nil {
		return r
	}
	switch {
	case !validErasure(body.ID):
		return malformed("id is not 1 to 64 letters, digits, - and _")
	case len(body.Rows) == 0 || len(body.Rows) > seal.MaxRegisterRows:
		return malformed("rows must be 1 to 200")
	}
	for _, row := range body.Rows {
		if _, err := isogate.ParseLabel(string(row.Label)); err != nil || row.ID == "" || len(row.ID) > 4<<10 || len(row.Value) == 0 {
			return malformed("a row needs a label, the identifier's token as id, and its value")
		}
	}
	state, err := l.erasures.ask(x.Context(), tenant, body.ID, body.Rows)
	switch {
	case errors.Is(err, errErasureDiffers):
		return &refusal{status: 409, code: codeErasureDiffers, detail: "an erasure of this id has other identifiers; use a new id"}
	case errors.Is(err, errErasuresFull):
		return &refusal{status: 503, code: seal.CodeRegisterFull, detail: "too many erasures wait for the service; see isogate_landing_erasures", retry: 60}
	case err != nil:
		return l.broken("an erasure cannot be written down", err)
	}
	return respondJSON(x, erasureAnswer{body.ID, state})
}

func validErasure(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for i := range len(s) {
		if !inSeal(s[i]) && s[i] != '-' && s[i] != '_' {
			return false
		}
	}
	return true
}

func limitOf(q map[string]string, most int, limit *int) *refusal {
	if s := q["limit"]; s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > most {
			return malformed("limit is not a number from 1 to " + strconv.Itoa(most))
		}
		*limit = n
	}
	return nil
}

// query reads the parameters, each of which may be there once and no others.
func query(x *http1.Exchange, names ...string) (map[string]string, *refusal) {
	values, err := url.ParseQuery(x.Request.RawQuery)
	if err != nil {
		return nil, malformed("the query is not well-formed")
	}
	q := map[string]string{}
	for _, name := range names {
		if vs, ok := values[name]; ok {
			if len(vs) != 1 {
				return nil, malformed("the parameter " + name + " is there twice")
			}
			q[name] = vs[0]
			delete(values, name)
		}
	}
	if len(values) > 0 {
		return nil, malformed("there is a parameter that this path does not have; it has " + strings.Join(names, ", "))
	}
	return q, nil
}

// readJSON reads one JSON object into body, strictly. What it was read from is wiped.
func readJSON(x *http1.Exchange, body any) *refusal {
	if media, _, err := mime.ParseMediaType(x.Request.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return &refusal{status: 415, code: codeMalformed, detail: "the body must be application/json"}
	}
	text, r := readBody(x, maxCall)
	defer clear(text)
	if r != nil {
		return r
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(body); err != nil {
		return malformed("the body is not the JSON object that is asked for here; see docs/formats.md")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return malformed("something stands behind the JSON object")
	}
	return nil
}

func readBody(x *http1.Exchange, most int64) ([]byte, *refusal) {
	text, err := io.ReadAll(io.LimitReader(x.Request.Body, most+1))
	var f *http1.Fault
	switch {
	case errors.As(err, &f):
		return text, &refusal{status: f.Status, code: codeMalformed, detail: f.Error()}
	case err != nil:
		return text, malformed("the body did not arrive whole")
	case int64(len(text)) > most:
		return text, &refusal{status: 413, code: codeTooLarge, detail: "the body is too large"}
	}
	return text, nil
}

func respondJSON(x *http1.Exchange, body any) *refusal {
	text, err := json.Marshal(body)
	if err != nil {
		return &refusal{status: 500, code: codeInternal, detail: "the answer could not be written"}
	}
	respond(x, "application/json", append(text, '\n'))
	return nil
}

func respond(x *http1.Exchange, media string, body []byte) {
	_ = x.Respond(200, http1.Fields{{Name: "Content-Type", Value: media}, {Name: "Cache-Control", Value: "no-store"},
		{Name: "X-Content-Type-Options", Value: "nosniff"}}, body) // whoever asked is gone; there is nobody to tell
}
