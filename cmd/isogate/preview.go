package main

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/obfuscate"
	"github.com/isogate/isogate/internal/policy"
	"github.com/isogate/isogate/internal/tenant"
)

// previewCmd shows what would leave of one request. Nothing leaves, and nothing
// is recorded.
type previewCmd struct {
	Dir         string   `arg:"" help:"Directory of the pack."`
	File        string   `arg:"" optional:"" help:"The body; standard input without it, no body with an empty one."`
	Transit     string   `required:"" help:"Name of the transit."`
	Explain     bool     `help:"Print the verdicts as JSON on standard error."`
	Source      string   `help:"The source that sends; the transit's first without it."`
	Method      string   `help:"The method; that of the transit's first pattern without it."`
	Path        string   `help:"The path, percent-encoded, judged too."`
	Query       string   `help:"The query as it is sent, judged with --path."`
	Header      []string `sep:"none" help:"A header as NAME: VALUE; may be repeated."`
	Cookie      []string `sep:"none" help:"A cookie as NAME=VALUE; may be repeated."`
	ContentType string   `help:"The body's content type; the contract's without it."`
	At          string   `help:"The instant to judge at (2026-11-02T12:00:00Z or 2026-11-02); now without it."`
	State       string   `help:"State directory whose keys to use; without it, keys made for this run alone."`
	Tenant      string   `help:"The tenant whose keys they are; needed with --state."`
}

// maxPreview is the largest body that is read.
const maxPreview = 64 << 20

// Run rewrites one request and prints what would leave of it.
func (c *previewCmd) Run(e *env) error {
	pack, err := loadPack(c.Dir)
	if err != nil {
		return err
	}
	t, err := findTransit(pack, c.Transit)
	if err != nil {
		return err
	}
	req, err := c.request(e)
	if err != nil {
		return err
	}
	keys, name, err := c.keys()
	if err != nil {
		return err
	}
	rep, err := pack.Plan().Obfuscator(name, t.Destination.Name, keys)
	if err != nil {
		return err
	}
	out, err := t.Preview(req, rep)
	var refused *policy.RefusedError
	switch {
	case errors.As(err, &refused):
		return c.refused(e, refused)
	case err != nil:
		return err
	}
	return c.print(e, out)
}

// request is what the command line describes.
func (c *previewCmd) request(e *env) (req policy.Request, err error) {
	req = policy.Request{Source: isogate.Source(c.Source), Method: c.Method, Path: c.Path, Query: c.Query, ContentType: c.ContentType}
	if req.Time, err = instant(c.At, e.Now); err != nil {
		return req, err
	}
	if c.Query != "" && c.Path == "" {
		return req, errors.New("--query is judged with a path only; add --path")
	}
	for _, h := range c.Header {
		name, value, ok := strings.Cut(h, ":")
		if !ok {
			return req, fmt.Errorf("--header %q is not a header; write it as NAME: VALUE", h)
		}
		req.Headers = append(req.Headers, policy.Named{Name: strings.TrimSpace(name), Value: strings.TrimSpace(value)})
	}
	for _, k := range c.Cookie {
		name, value, ok := strings.Cut(k, "=")
		if !ok {
			return req, fmt.Errorf("--cookie %q is not a cookie; write it as NAME=VALUE", k)
		}
		req.Cookies = append(req.Cookies, policy.Named{Name: name, Value: value})
	}
	req.Body, err = c.body(e)
	return req, err
}

func (c *previewCmd) body(e *env) ([]byte, error) {
	in := e.Stdin
	if c.File != "" && c.File != "-" {
		f, err := os.Open(c.File)
		if err != nil {
			return nil, fmt.Errorf("body: %w", err)
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, maxPreview+1))
	if err == nil && len(b) > maxPreview {
		err = fmt.Errorf("it is larger than %d MiB; try a part of it", maxPreview>>20)
	}
	if err != nil {
		return nil, fmt.Errorf("body: %w", err)
	}
	return b, nil
}

// keys are those of the tenant, or made for this run.
func (c *previewCmd) keys() (obfuscate.Deriver, isogate.Tenant, error) {
	if (c.State == "") != (c.Tenant == "") {
		return nil, "", errors.New("--state and --tenant go together; give both, or none for keys of this run alone")
	}
	if c.State != "" {
		k, err := tenant.Open(filepath.Join(c.State, "keys"), isogate.Tenant(c.Tenant))
		return k, isogate.Tenant(c.Tenant), err
	}
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails
	return policy.ThrowawayKeys(secret), "preview", nil
}

func (c *previewCmd) refused(e *env, r *policy.RefusedError) error {
	if e.JSON {
		if err := printJSON(e.Stdout, map[string]any{"decision": isogate.Refused, "reason": r.Reason.Error()}); err != nil {
			return err
		}
	}
	return errNo{r}
}

// print shows the outcome: for people the body alone goes to standard output,
// so that it can be compared with what went in.
func (c *previewCmd) print(e *env, out *policy.Outcome) error {
	if c.Explain {
		if err := printJSON(e.Stderr, out); err != nil {
			return err
		}
	}
	if out.Tunnel != "" && !c.Explain && !e.JSON {
		if _, err := fmt.Fprintf(e.Stderr, "the transit is a tunnel (%s): every byte leaves unread, as it is\n", out.Tunnel); err != nil {
			return err
		}
	}
	if e.JSON {
		var body any
		if json.Valid(out.Body) {
			body = json.RawMessage(out.Body)
		} else if len(out.Body) > 0 {
			body = string(out.Body)
		}
		return printJSON(e.Stdout, struct {
			Decision isogate.Decision `json:"decision"`
			*policy.Outcome
			Body any `json:"body,omitempty"`
		}{isogate.Released, out, body})
	}
	var head strings.Builder
	if out.Path != "" {
		head.WriteString(out.Path)
		if out.Query != "" {
			head.WriteString("?" + out.Query)
		}
		head.WriteByte('\n')
	}
	for _, h := range out.Headers {
		fmt.Fprintf(&head, "%s: %s\n", h.Name, h.Value)
	}
	for _, k := range out.Cookies {
		fmt.Fprintf(&head, "Cookie: %s=%s\n", k.Name, k.Value)
	}
	if head.Len() > 0 && len(out.Body) > 0 {
		head.WriteByte('\n')
	}
	_, err := fmt.Fprintf(e.Stdout, "%s%s", head.String(), out.Body)
	return err
}
