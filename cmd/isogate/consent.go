package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/consent"
	"github.com/isogate/isogate/internal/hub"
)

// consentCmd is how administrators decide.
type consentCmd struct {
	List    consentListCmd    `cmd:"" help:"List requests and grants, newest first."`
	Show    consentShowCmd    `cmd:"" help:"Show a request as whoever decides must see it, or a grant."`
	Grant   consentGrantCmd   `cmd:"" help:"Grant a request."`
	Deny    consentDenyCmd    `cmd:"" help:"Deny a request."`
	Defer   consentDeferCmd   `cmd:"" help:"Put a request off."`
	Modify  consentModifyCmd  `cmd:"" help:"Narrow a grant."`
	Revoke  consentRevokeCmd  `cmd:"" help:"End a grant, everything of a party, or everything."`
	Block   consentBlockCmd   `cmd:"" help:"End everything of a party, and let nothing be asked for it."`
	Unblock consentUnblockCmd `cmd:"" help:"Let it be asked again for a party; gives nothing back."`
	Request consentRequestCmd `cmd:"" help:"Ask for what a party declares, also if it was denied before."`
}

type consentListCmd struct {
	ledgerFlags
	Status string `placeholder:"S" help:"requested, deferred, granted, denied, expired, invalidated or revoked."`
	Party  string `placeholder:"P" help:"Of this party alone."`
}

// Run lists requests and grants.
func (c *consentListCmd) Run(e *env) error {
	var party consent.Party
	var err error
	if c.Party != "" {
		if party, err = consent.ParseParty(c.Party); err != nil {
			return fmt.Errorf("--party: %w", err)
		}
	}
	if known := strings.Join(hub.Statuses, " "); c.Status != "" && !strings.Contains(" "+known+" ", " "+c.Status+" ") {
		return fmt.Errorf("--status %q is none; use one of %s", c.Status, strings.Join(hub.Statuses, ", "))
	}
	_, state, err := c.read(e.Context)
	if err != nil {
		return err
	}
	list := hub.ConsentList{Consents: hub.Consents(state, c.Status, party, e.Now())}
	return tell(e, list, nil, func(w io.Writer) {
		if len(list.Consents) == 0 {
			_, _ = fmt.Fprintln(w, "none")
			return
		}
		consentTable(w, list.Consents)
	})
}

func consentTable(w io.Writer, list []hub.Consent) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "ID\t\tSTATUS\tPARTY\tROWS\tBY\tAT\tUNTIL")
	for _, c := range list {
		until := "revoked"
		switch {
		case c.Kind == hub.KindRequest:
			until = "-"
			if c.Ends != nil && (c.Status == consent.Open.String() || c.Status == consent.PutOff.String()) {
				until = day(*c.Ends)
			}
		case c.Until != nil:
			until = day(*c.Until)
		case c.Ended != nil:
			until = day(*c.Ended)
		}
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\n", c.ID, c.Kind, c.Status, c.Party, len(c.Rows), actors(c.By), day(c.At), until)
	}
	_ = t.Flush()
}

func day(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func actors(by []consent.Actor) string {
	names := make([]string, len(by))
	for i, a := range by {
		names[i] = printable(a.Name)
	}
	return strings.Join(names, ", ")
}

type consentShowCmd struct {
	ledgerFlags
	ID    string `arg:"" help:"ID of the request or grant."`
	Usage bool   `help:"Of a grant: what really left by it. The whole journal is read for that; the Hub knows it at once."`
}

// Run shows a request with its prompt, or a grant. The prompt is by the pack on
// disk; a gateway that has another one in force will not take its digest.
func (c *consentShowCmd) Run(e *env) error {
	cfg, state, err := c.read(e.Context)
	if err != nil {
		return err
	}
	v, found, err := hub.FindConsent(state, isogate.EntryID(c.ID), onDisk(cfg, e).describe, e.Now())
	if err != nil {
		return err
	}
	if !found {
		return errNo{fmt.Errorf("the ledger has no request or grant %s; see isogate consent list", consent.Shown(c.ID))}
	}
	if g, is := state.Grant(v.ID); is && c.Usage {
		if v.Usage, err = readUsage(e, cfg, g); err != nil {
			return err
		}
	}
	return tell(e, v, nil, func(w io.Writer) { showConsent(w, &v) })
}

// limits are flags that limit a grant.
type limits struct {
	Row   []string `sep:"none" placeholder:"ROW" help:"This row alone, by its number in the prompt or its text; may be repeated."`
	Label []string `sep:"none" placeholder:"L" help:"Release values of this label alone, as policy says; none for no label; may be repeated."`
	For   string   `placeholder:"SPAN" help:"For a span of time such as 30d or 12h."`
	Until string   `placeholder:"DATE" help:"Until the end of a day, or an instant."`
}

// body is the limits as the API has them.
func (l *limits) body(rows []string) (map[string]any, error) {
	b := map[string]any{}
	if len(l.Row) > 0 {
		picked, err := pick(l.Row, rows)
		if err != nil {
			return nil, err
		}
		b["rows"] = picked
	}
	switch {
	case len(l.Label) == 1 && l.Label[0] == "none":
		b["labels"] = []string{}
	case len(l.Label) > 0:
		b["labels"] = l.Label
	}
	if l.For != "" {
		b["for"] = l.For
	}
	if l.Until != "" {
		b["until"] = l.Until
	}
	return b, nil
}

// pick turns rows' numbers into their texts.
func pick(words, rows []string) ([]string, error) {
	var out []string
	for _, w := range words {
		if n, err := strconv.Atoi(w); err == nil {
			if n < 1 || n > len(rows) {
				return nil, fmt.Errorf("--row %d: there are rows 1 to %d", n, len(rows))
			}
			w = rows[n-1]
		}
		out = append(out, w)
	}
	return out, nil
}

type consentGrantCmd struct {
	actor
	ID string `arg:"" help:"ID of the request."`
	limits
	Reason    string `required:"" help:"Why, for whoever reads the journal."`
	AgreeWith string `placeholder:"NAME" help:"Grant exactly what this administrator approved."`
	Prompt    string `placeholder:"DIGEST" help:"Digest of the prompt that you looked at; nothing is asked then."`
	Yes       bool   `help:"Grant what is shown now without being asked. For scripts that show it to nobody, prefer --prompt."`
}

// Run shows the prompt, asks, and grants.
func (c *consentGrantCmd) Run(e *env) error {
	asks := c.Prompt == "" && !c.Yes
	if asks && (e.JSON || !isTerminal(e.Stdin)) {
		return fmt.Errorf("nobody is there to answer; look at isogate consent show %s, and name what you saw with --prompt DIGEST", consent.Shown(c.ID))
	}
	return c.act(e, func(a *api) error {
		path := consentPath(c.ID)
		var v hub.Consent
		if err := a.get(e.Context, path, &v); err != nil {
			return tell(e, nil, err, nil)
		}
		if v.Prompt == nil {
			return errNo{fmt.Errorf("there is nothing to grant: %s is a %s that is %s", v.ID, v.Kind, v.Status)}
		}
		if !e.JSON {
			showConsent(e.Stdout, &v)
		}
		digest := v.PromptDigest
		if c.Prompt != "" {
			digest = c.Prompt
		}
		body, err := c.body(v.Rows)
		if err != nil {
			return err
		}
		body["reason"], body["prompt"] = c.Reason, digest
		if c.AgreeWith != "" {
			body["agree_with"] = c.AgreeWith
		}
		if asks {
			_, _ = fmt.Fprintf(e.Stdout, "\nType yes to grant%s; default: no: ", c.said())
			line, _ := bufio.NewReader(io.LimitReader(e.Stdin, 100)).ReadString('\n')
			if strings.TrimSpace(line) != "yes" {
				return errNo{errors.New("nothing was granted; to deny the request: isogate consent deny " + string(v.ID))}
			}
		}
		var d hub.Done
		err = a.post(e.Context, path+"/grant", body, &d)
		return tell(e, d, err, func(w io.Writer) { showDone(w, &d) })
	})
}

// said repeats the limits in the question.
func (c *consentGrantCmd) said() string {
	var parts []string
	for _, p := range []struct{ word, value string }{{"rows ", strings.Join(c.Row, ", ")}, {"labels ", strings.Join(c.Label, ", ")}, {"for ", c.For}, {"until ", c.Until},
		{"what was approved by ", c.AgreeWith}} {
		if p.value != "" {
			parts = append(parts, p.word+printable(p.value))
		}
	}
	if len(parts) == 0 {
		return " all of it until it is revoked"
	}
	return " " + strings.Join(parts, ", ")
}

// isTerminal reports whether somebody may type into in.
func isTerminal(in io.Reader) bool {
	f, is := in.(*os.File)
	if !is {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

func consentPath(id string) string { return "/consents/" + pathSegment(id) }

// answerFlags are those of an answer that opens nothing.
type answerFlags struct {
	actor
	ID     string `arg:"" help:"ID of the request."`
	Reason string `help:"Why."`
}

func (c *answerFlags) answer(e *env, what string) error {
	return c.post(e, consentPath(c.ID)+"/"+what, map[string]any{"reason": c.Reason})
}

// post acts, and tells what came of it.
func (a *actor) post(e *env, path string, body map[string]any) error {
	return a.act(e, func(api *api) error {
		var d hub.Done
		err := api.post(e.Context, path, body, &d)
		return tell(e, d, err, func(w io.Writer) { showDone(w, &d) })
	})
}

func showDone(w io.Writer, d *hub.Done) {
	_, _ = fmt.Fprintf(w, "%-11s%s, entry %s\n", d.Act, d.Party, d.Entry)
	if d.Consent != nil && d.Consent.Kind == hub.KindGrant {
		_, _ = fmt.Fprintf(w, "%-11s%s\n", "grant", d.Consent.ID)
	}
	if d.Detail != "" {
		_, _ = fmt.Fprintf(w, "%s.\n", printable(d.Detail))
	}
	if d.Party == consent.Everybody {
		return
	}
	if len(d.Usable) == 0 {
		_, _ = fmt.Fprintf(w, "%s may reach nothing now.\n", d.Party)
		return
	}
	rows(w, string(d.Party)+" may reach now", d.Usable)
}

type consentDenyCmd struct{ answerFlags }

// Run denies a request.
func (c *consentDenyCmd) Run(e *env) error { return c.answer(e, "deny") }

type consentDeferCmd struct{ answerFlags }

// Run puts a request off.
func (c *consentDeferCmd) Run(e *env) error { return c.answer(e, "defer") }

type consentModifyCmd struct {
	actor
	ID string `arg:"" help:"ID of the grant."`
	limits
	Reason string `required:"" help:"Why, for whoever reads the journal."`
}

// Run narrows a grant.
func (c *consentModifyCmd) Run(e *env) error {
	return c.act(e, func(a *api) error {
		var v hub.Consent
		if err := a.get(e.Context, consentPath(c.ID), &v); err != nil {
			return tell(e, nil, err, nil)
		}
		body, err := c.body(v.Rows)
		if err != nil {
			return err
		}
		body["reason"] = c.Reason
		var d hub.Done
		err = a.post(e.Context, consentPath(c.ID)+"/modify", body, &d)
		return tell(e, d, err, func(w io.Writer) { showDone(w, &d) })
	})
}

type consentRevokeCmd struct {
	actor
	ID         string   `arg:"" optional:"" help:"ID of the grant."`
	Party      string   `placeholder:"P" help:"Everything of this party instead."`
	Everything bool     `help:"Everything of everybody instead."`
	Row        []string `sep:"none" placeholder:"ROW" help:"This row alone, by its text; may be repeated."`
	Reason     string   `help:"Why."`
}

// Run revokes. What it names must be said in exactly one way.
func (c *consentRevokeCmd) Run(e *env) error {
	body := map[string]any{"reason": c.Reason}
	if len(c.Row) > 0 {
		body["rows"] = c.Row
	}
	switch {
	case c.ID != "" && c.Party == "" && !c.Everything:
		return c.post(e, consentPath(c.ID)+"/revoke", body)
	case c.ID == "" && c.Party != "" && !c.Everything && c.Party != string(consent.Everybody):
		body["party"] = c.Party
	case c.ID == "" && c.Party == "" && c.Everything:
		body["party"] = string(consent.Everybody)
	default:
		return errors.New("what is to be revoked? give the ID of a grant, or --party P, or --everything")
	}
	return c.post(e, "/revocations", body)
}

// partyFlags name a party.
type partyFlags struct {
	actor
	Party  string `arg:"" help:"app/NAME or transit/NAME."`
	Reason string `help:"Why."`
}

func (c *partyFlags) about(e *env, what string, body map[string]any) error {
	party, err := consent.ParseParty(c.Party)
	if err != nil {
		return err
	}
	body["reason"] = c.Reason
	return c.post(e, partyPath(party)+"/"+what, body)
}

type consentBlockCmd struct{ partyFlags }

// Run blocks a party.
func (c *consentBlockCmd) Run(e *env) error { return c.about(e, "block", map[string]any{}) }

type consentUnblockCmd struct{ partyFlags }

// Run unblocks a party.
func (c *consentUnblockCmd) Run(e *env) error {
	if c.Reason == "" {
		return errors.New("unblocking needs a reason; add --reason")
	}
	return c.about(e, "unblock", map[string]any{})
}

type consentRequestCmd struct {
	partyFlags
	Row []string `sep:"none" placeholder:"ROW" help:"This row alone, by its text; may be repeated."`
}

// Run asks for rows.
func (c *consentRequestCmd) Run(e *env) error {
	body := map[string]any{}
	if len(c.Row) > 0 {
		body["rows"] = c.Row
	}
	return c.about(e, "requests", body)
}
