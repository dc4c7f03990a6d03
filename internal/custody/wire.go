package custody

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/http1"
	"github.com/isogate/isogate/internal/seal"
)

// patience is how long one call to a landing may take.
const patience = 10 * time.Second

// maxAnswer is the largest answer of a landing that is read, in bytes: some receipts
// of the largest size. What a landing says is not trusted to be short.
const maxAnswer = 8 << 20

// answer is what a landing answered.
type answer struct {
	status int
	code   string // of a refusal
	body   []byte
}

// refusal makes an answer that is none of those wanted an error. It has none of the
// landing's own words.
func (a *answer) refusal() error {
	if a.code != "" {
		return fmt.Errorf("the landing refused: status %d, %s", a.status, a.code)
	}
	return fmt.Errorf("what answers is no landing of this version: status %d", a.status)
}

// call asks a landing.
func (c *Custody) call(ctx context.Context, s *site, what, method, target string, body any) (a *answer, err error) {
	defer func() {
		ended := "answered"
		switch {
		case err != nil:
			ended = "failed"
		case a.status >= 300:
			ended = "refused"
		}
		c.cfg.Metrics.fetches.WithLabelValues(string(s.Destination), what, ended).Inc()
	}()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	out := &http1.Outgoing{Scheme: s.scheme, Host: s.host, Port: s.port, ServerName: s.serverName, Method: method, Target: target,
		Header: http1.Fields{{Name: "Accept", Value: "application/json, text/plain"}}}
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		out.Body = text
		out.Header = append(out.Header, http1.Field{Name: "Content-Type", Value: "application/json"})
		defer clear(text) // an erasure has values in it
	}
	in, err := c.cfg.Client.Do(ctx, out)
	if err != nil {
		return nil, fmt.Errorf("the landing is out of reach: %w", err)
	}
	defer in.Body.Close()
	text, err := io.ReadAll(io.LimitReader(in.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("the landing's answer did not arrive whole: %w", err)
	case len(text) > maxAnswer:
		return nil, fmt.Errorf("the landing's answer is larger than %d bytes", maxAnswer)
	}
	a = &answer{status: in.Status, body: text}
	switch code := in.Header.Get(seal.HeaderLanding); {
	case in.Status < 300 || code == "" || len(code) > 40:
	case isogate.CheckName(code, false) == nil: // a word, so that it may stand in a message
		a.code = code
	}
	return a, nil
}

// ask calls a landing and reads the JSON that it answers with.
func (c *Custody) ask(ctx context.Context, s *site, what, method, target string, body, into any) error {
	a, err := c.call(ctx, s, what, method, target, body)
	if err != nil {
		return err
	}
	if a.status != 200 {
		return a.refusal()
	}
	if err := json.Unmarshal(a.body, into); err != nil {
		return errors.New("the landing's answer is not the JSON that was asked for")
	}
	return nil
}

// fetch gets the landing's statement.
func (c *Custody) fetch(ctx context.Context, s *site) (*seal.Statement, error) {
	a, err := c.call(ctx, s, "statement", "GET", "/.isogate/statement", nil)
	if err != nil {
		return nil, err
	}
	if a.status != 200 {
		return nil, a.refusal()
	}
	st, err := seal.OpenStatement(a.body, s.Key)
	if err != nil {
		return nil, fmt.Errorf("the landing's statement: %w", err)
	}
	now := c.cfg.Now()
	switch {
	case st.Destination != s.Destination:
		return nil, errors.New("the landing's statement is of another destination; give the landing the name that the pack has")
	case !now.Before(st.NotAfter):
		return nil, fmt.Errorf("the landing's statement was over at %s; compare the clocks", st.NotAfter.UTC().Format(time.RFC3339))
	case now.Before(st.NotBefore):
		return nil, fmt.Errorf("the landing's statement begins at %s only; compare the clocks", st.NotBefore.UTC().Format(time.RFC3339))
	}
	return st, nil
}

type receiptList struct {
	Receipts []string `json:"receipts"`
	More     bool     `json:"more"`
}

func (c *Custody) receiptsAfter(ctx context.Context, s *site, n uint64) (l receiptList, err error) {
	return l, c.ask(ctx, s, "receipts", "GET", "/.isogate/receipts?limit=50&after="+strconv.FormatUint(n, 10), nil, &l)
}

// endSession tells a landing that a session is over.
func (c *Custody) endSession(ctx context.Context, s *site, digest string) error {
	return c.ask(ctx, s, "session-end", "POST", "/.isogate/sessions/end", map[string]string{"session": digest}, &struct{}{})
}

// endKeys asks a landing to state that keys are destroyed that it has not stated yet.
func (c *Custody) endKeys(ctx context.Context, s *site, ids []seal.ID) error {
	return c.ask(ctx, s, "keys-end", "POST", "/.isogate/sessions/end", map[string][]seal.ID{"keys": ids}, &struct{}{})
}

// registerRow is a row of a landing's register.
type registerRow struct {
	Label   string    `json:"label"`
	ID      string    `json:"id"`
	Subject string    `json:"subject"`
	Because string    `json:"because"`
	Rule    string    `json:"rule"`
	Entry   string    `json:"entry"`
	Since   time.Time `json:"since"`
	Last    time.Time `json:"last"`
}

type registerPage struct {
	Rows []registerRow `json:"rows"`
	Next string        `json:"next"`
}

// maxRows is how many rows of a register are asked for at a time.
const maxRows = 500

func (c *Custody) register(ctx context.Context, s *site, after string) (p registerPage, err error) {
	target := "/.isogate/register?limit=" + strconv.Itoa(maxRows)
	if after != "" {
		target += "&after=" + url.QueryEscape(after)
	}
	if err = c.ask(ctx, s, "register", "GET", target, nil, &p); err == nil && len(p.Rows) > maxRows {
		err = errors.New("the landing gave more rows than were asked for")
	}
	return p, err
}

type erasureRow struct {
	Label isogate.Label `json:"label"`
	ID    string        `json:"id"`
	Value string        `json:"value"`
}

// erase asks a landing to have the service erase identifiers.
func (c *Custody) erase(ctx context.Context, s *site, id isogate.EntryID, rows []erasureRow) error {
	var got struct {
		State string `json:"state"`
	}
	return c.ask(ctx, s, "erasure", "POST", "/.isogate/erasures", map[string]any{"id": string(id), "rows": rows}, &got)
}
