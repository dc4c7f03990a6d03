package main

import (
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/isogate/isogate/internal/consent"
	"github.com/isogate/isogate/internal/hub"
)

func pathSegment(s string) string { return url.PathEscape(s) }

// showConsent prints a request with its prompt, or a grant, for people.
func showConsent(w io.Writer, c *hub.Consent) {
	line := func(name, format string, args ...any) {
		_, _ = fmt.Fprintf(w, "%-11s%s\n", name, printable(fmt.Sprintf(format, args...)))
	}
	_, _ = fmt.Fprintf(w, "%s %s: %s, %s\n\n", c.Kind, c.ID, c.Party, c.Status)
	if c.App != nil {
		line("app", "%s", identity(c.App))
		line("manifest", "%s", c.App.Digest)
	}
	by := "asked by"
	if c.Kind == hub.KindGrant {
		by = "granted by"
	}
	line(by, "%s at %s", actors(c.By), day(c.At))
	if c.Reason != "" {
		line("reason", "%s", c.Reason)
	}
	if c.AnsweredBy != nil {
		line("answered", "by %s, entry %s", c.AnsweredBy.Name, c.Answer)
	}
	if c.Kind == hub.KindGrant {
		showTerms(line, c.Labels, c.Until != nil, until(c))
		if c.Ended != nil {
			line("ended", "%s", day(*c.Ended))
		}
		rows(w, "what is left of it", c.Rows)
		if c.Usage != nil {
			showUsage(w, c.Usage)
		}
		return
	}
	if c.Prompt == nil {
		rows(w, "what was asked for", c.Rows)
		return
	}
	showPrompt(w, c.Prompt)
	_, _ = fmt.Fprintf(w, "\nprompt     %s\n", c.PromptDigest)
	_, _ = fmt.Fprintf(w, "The default is to deny: unless it is granted before %s, nothing of this leaves.\n", day(c.Prompt.Ends))
	_, _ = fmt.Fprintf(w, "deny:      isogate consent deny %s\n", c.ID)
	_, _ = fmt.Fprintf(w, "grant:     isogate consent grant %s --reason WHY [--row N]... [--for 30d]\n", c.ID)
}

func until(c *hub.Consent) string {
	if c.Until == nil {
		return ""
	}
	return day(*c.Until)
}

func showTerms(line func(name, format string, args ...any), labels *[]string, ends bool, end string) {
	switch {
	case labels == nil:
		line("labels", "all that the pack lets out")
	case len(*labels) == 0:
		line("labels", "none")
	default:
		line("labels", "%s", strings.Join(*labels, ", "))
	}
	if ends {
		line("until", "%s", end)
	} else {
		line("until", "it is revoked")
	}
}

// showPrompt prints what an administrator must see before they answer.
func showPrompt(w io.Writer, p *consent.Prompt) {
	if p.Second {
		_, _ = fmt.Fprintln(w, "needs      two administrators")
	}
	for _, a := range p.Approvals {
		end := "until it is revoked"
		if a.Until != nil {
			end = "until " + day(*a.Until)
		}
		labels := "all labels that the pack lets out"
		if a.Labels != nil {
			labels = "labels " + strings.Join(append([]string{}, *a.Labels...), ", ")
		}
		_, _ = fmt.Fprintf(w, "approved   by %s: %s, %s, %s\n", printable(a.By.Name), count(len(a.Rows), "row"), labels, end)
	}
	for i := range p.Rows {
		if i == 0 || p.Rows[i].Egress.Pack != p.Rows[i-1].Egress.Pack {
			_, _ = fmt.Fprintf(w, "by pack    %s\n", printable(p.Rows[i].Egress.Pack))
		}
		showPromptRow(w, i+1, &p.Rows[i])
	}
	_, _ = fmt.Fprintln(w, "\nAfter a no:")
	for _, s := range p.Stops {
		_, _ = fmt.Fprintf(w, "  %s\n", printable(s))
	}
}

func showPromptRow(w io.Writer, n int, r *consent.PromptRow) {
	_, _ = fmt.Fprintf(w, "\n%d  %s: %s\n", n, r.Class, printable(r.Row))
	line := func(name, format string, args ...any) {
		_, _ = fmt.Fprintf(w, "   %-9s%s\n", name, printable(fmt.Sprintf(format, args...)))
	}
	for _, why := range r.Why {
		line("because", "%s", why)
	}
	line("hosts", "%s", r.Words)
	if r.Written != "" {
		line("", "the manifest writes %s", r.Written)
	}
	if r.Unicode != "" {
		line("", "people read it as %s", r.Unicode)
	}
	if r.Registrable != "" {
		line("domain", "%s", r.Registrable)
	}
	line("traffic", "%s", r.What)
	for i, op := range r.Operations {
		line([]string{"there", ""}[min(i, 1)], "it %s", op)
	}
	if r.Port != 0 { // a transit of ours says this in the pack
		if r.EndUserData {
			line("data", "end-user data goes there")
		} else {
			line("data", "no end-user data, as the manifest says")
		}
		if len(r.Tokens) == 0 {
			line("tokens", "none is handed over")
		}
		for i, t := range r.Tokens {
			line([]string{"tokens", ""}[min(i, 1)], "%s", t)
		}
	}
	if r.Region != "" {
		line("region", "%s alone", r.Region)
	}
	showEgress(line, &r.Egress)
	for _, x := range r.Warnings {
		line("WARNING", "%s", x.Message)
	}
}

func showEgress(line func(name, format string, args ...any), e *consent.Egress) {
	line("leaves", "%s", e.Words)
	for _, way := range e.Ways {
		line("", "over %s to %s:", way.Transit, way.To)
		if t := way.Tunnel; t != nil {
			state := "until " + t.Until
			if !t.InForce {
				state = "over since " + t.Until
			}
			line("", "  a tunnel, unread, %s: %s (%s)", state, t.Because, t.Owner)
		}
		for _, l := range way.Leaves {
			text := fmt.Sprintf("  %-16s %s", l.Action, l.Label)
			if l.Handling != "" {
				text += ", " + l.Handling
			}
			if l.TTL != "" {
				text += " for " + l.TTL
			}
			if l.Enforced != "" {
				text += ", " + l.Enforced
			}
			if l.Because != "" {
				text += ": " + l.Because
			}
			line("", "%s", text)
		}
		if s := way.Sample; s != nil {
			line("sample", "%s", s.Before)
			line("", "%s", s.After)
		}
	}
}
