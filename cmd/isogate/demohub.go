package main

import (
	"bufio"
	"context"
	"io"
	"path/filepath"

	"github.com/isogate/isogate/internal/access"
)

// receive has whoever looks at the demo come in, until ctx ends.
func (d *demo) receive(ctx context.Context, in io.Reader) {
	d.invite()
	d.welcome(ctx)
	again := make(chan struct{})
	go func() { // ends with the input, or with the process
		for lines := bufio.NewScanner(in); lines.Scan(); {
			select {
			case again <- struct{}{}:
			case <-ctx.Done():
				return
			}
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return
		case <-again:
			d.welcome(ctx)
		}
	}
}

// welcome prints a link by which Ada signs in at the Hub.
func (d *demo) welcome(ctx context.Context) {
	link, err := d.server.office.signInLink(ctx, "ada", nil, "the demo shows the Hub")
	if err != nil {
		d.failf("nobody can be let in to the Hub: %v", err)
		return
	}
	d.say("\nTo see all this in a browser, as Ada, open:\n\n  %s\n\n", link)
	d.say("It lets somebody in once, within %.0f minutes; Enter prints another. Ctrl-C stops the demo.\n", access.LinkHolds.Minutes())
}

// invite prints what can be done from a terminal.
func (d *demo) invite() {
	d.say("\nThe world is still running. In another terminal:\n\n")
	d.say("  cd %s\n\n", d.dir)
	d.say("  # as the app: what is granted, and what waits for Ada\n")
	d.say("  app=\"curl --proxy http://%s:%s@%s --cacert %s\"\n", botName, d.bot.Token, d.bot.Door, filepath.Join("state", "keys", "intercept.pem"))
	d.say("  $app https://%s/v1/issues --json '{\"issue\":{\"title\":\"It works\",\"body\":\"Outside, this is a token\"}}'\n", apiHost)
	d.say("  $app https://%s/v1/models/2\n\n", modelsHost)
	d.say("  # as Ada\n")
	d.say("  export ISOGATE_TOKEN=%s\n", d.ada.token)
	d.say("  isogate app list\n")
	d.say("  isogate app show %s\n", botSource)
	d.say("  isogate consent list\n")
	d.say("  isogate consent show %s\n", d.bot.waits)
	d.say("  isogate consent grant %s --reason 'I want the new model'\n", d.bot.waits)
	d.say("  isogate consent revoke --party %s\n", botSource)
	d.say("  isogate subject list\n")
	d.say("  isogate subject landings\n\n")
	d.say("  # as the agent: open this page, sign in with this token; nobody's session is open any more\n")
	d.say("  %s\n", d.pageURL(agentPage))
	d.say("  %s\n", d.agent.token)
	d.say("  # or: curl -H 'Authorization: Bearer %s' %s\n\n", d.agent.token, d.pageURL(agentPage))
	d.say("  # as the product: a new session, which the agent sees; and its end\n")
	d.say("  product=\"curl --cacert tls/inside-ca.pem --cert tls/product.pem --key tls/product.key\"\n")
	d.say("  $product %s/to/support-portal/v1/sessions -H 'Isogate-Session: mine' --json '{\"user\":{\"displayName\":\"Grace Hopper\",\"email\":\"grace@acme.example\"}}'\n", d.base)
	d.say("  $product %s/sessions/end --json '{\"session\":\"mine\"}'\n\n", d.base)
	d.say("  # as anybody who may read the state\n")
	d.say("  isogate journal show %s --state state\n", d.first)
	d.say("  isogate journal list --state state\n")
	d.say("  isogate pack explain pack --transit triage-issues\n")
	d.say("  curl http://%s/readyz\n", d.server.hub.Addr())
	d.say("  curl http://%s/metrics\n", d.server.hub.Addr())
}
