package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/consent"
	"github.com/isogate/isogate/internal/hub"
)

// look is what Ada sees of a request before she decides, in short; isogate consent
// show has it in full.
func (d *demo) look(ctx context.Context, id isogate.EntryID) (*hub.Consent, error) {
	var c hub.Consent
	if err := d.ada.get(ctx, consentPath(string(id)), &c); err != nil {
		return nil, err
	}
	if c.Prompt == nil || c.Prompt.App == nil {
		return nil, fmt.Errorf("the request %s has no prompt: it is %s", id, c.Status)
	}
	p := c.Prompt
	d.line("prompt", "%s as %s; requested by %s: %s", printable(p.App.Name), p.Party, printable(p.By.Name), printable(p.Reason))
	for i := range p.Rows {
		d.lookAtRow(i+1, &p.Rows[i])
	}
	for _, s := range p.Stops[min(len(p.Rows), len(p.Stops)):] {
		d.say("          %s\n", printable(s))
	}
	d.say("          default: %s; digest %.19s…\n", p.Default, c.PromptDigest)
	if p.Default != "deny" {
		d.failf("who does not answer says %q", p.Default)
	}
	return &c, nil
}

func (d *demo) lookAtRow(n int, r *consent.PromptRow) {
	data := "end-user data"
	if !r.EndUserData {
		data = "no end-user data"
	}
	d.say("       %d  %s %s:%d, %s; it %s\n", n, r.Class, r.Host, r.Port, data, r.Operations[0])
	for _, way := range r.Egress.Ways {
		if t := way.Tunnel; t != nil {
			d.say("          a tunnel: everything leaves unread, until %s: %s (%s)\n", t.Until, printable(t.Because), printable(t.Owner))
			continue
		}
		var plain []string
		for _, l := range way.Leaves {
			switch {
			case l.Because != "":
				d.say("          leaves: %s, %s: %s\n", l.Label, l.Handling, printable(l.Because))
			case l.Action == isogate.Allow.String():
				plain = append(plain, string(l.Label))
			}
		}
		if len(plain) > 0 {
			d.say("          leaves: %s: the makers' own words and numbers\n", strings.Join(plain, ", "))
		}
		d.say("          all else as tokens, or not at all\n")
	}
	for _, w := range r.Warnings {
		d.say("          ! %s\n", w.Message)
	}
}
