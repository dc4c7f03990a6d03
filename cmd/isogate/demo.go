package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/isogate/isogate"
)

// demoCmd runs the whole world on loopback: a product and a third-party app inside,
// the gateway at the boundary as serve runs it, and outside a support portal behind a
// landing as isogate landing runs it, and the app's vendor. Everything speaks real TLS over real sockets; only the people are made up.
type demoCmd struct {
	Once  bool   `help:"Stop after the story; exit 0 only if everything was as it must be."`
	State string `placeholder:"DIR" help:"Keep the state here (default: a temporary directory that is removed)."`
}

// Run implements the command.
func (c *demoCmd) Run(e *env) error {
	dir, keep := c.State, true
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "isogate-demo-"); err != nil {
			return fmt.Errorf("demo: %w; name a directory with --state DIR", err)
		}
		keep = false
	}
	if !keep {
		defer func() { _ = os.RemoveAll(dir) }()
	}
	ctx, stop := context.WithCancel(e.Context)
	defer stop()
	d, err := newDemo(ctx, dir, demoHub, e)
	if err != nil {
		return err
	}
	defer d.close()
	// The landing outlives the gateway, which hears of the last receipts by it.
	outsideCtx, stopOutside := context.WithCancel(context.WithoutCancel(ctx))
	defer stopOutside()
	landed, served := make(chan error, 1), make(chan error, 1)
	go func() { landed <- d.landing.run(outsideCtx, nil) }()
	go func() { served <- d.server.run(ctx, nil) }()

	d.live(ctx)
	if !c.Once && e.Context.Err() == nil {
		d.receive(ctx, e.Stdin)
	}
	stop()
	if err := <-served; err != nil {
		d.failf("the gateway did not stop well: %v", err)
	}
	stopOutside()
	if err := <-landed; err != nil {
		d.failf("the landing did not stop well: %v", err)
	}
	if d.failures > 0 {
		return errNo{fmt.Errorf("demo: %d observations were not as they must be; they are marked WRONG above", d.failures)}
	}
	d.say("\nEverything was as it must be.\n")
	return nil
}

// live is the story from its beginning to its end.
func (d *demo) live(ctx context.Context) {
	d.introduce()
	if err := d.ready(ctx); err != nil {
		d.failf("nothing can be sealed for the portal: %v", err)
	}
	for _, s := range d.visit() {
		d.tell(s)
	}
	d.tellOfTheAgent(ctx)
	for _, s := range d.story() {
		d.tell(s)
	}
	d.tellOfTheApp(ctx)
	d.tellOfTheAttachment(ctx)
	d.tellOfTheEnd(ctx)
	d.audit(ctx)
}

// demo is the world and what was observed in it.
type demo struct {
	out    io.Writer
	dir    string
	server *server
	// hubConfig is the part of the configuration about the Hub.
	hubConfig string
	*outside
	product  *http.Client // the product's workload, with its certificate
	stranger *http.Client // on the same network, with none
	base     string       // of door one
	bot      *bot
	ada      *api            // the administrator's API, with her token
	first    isogate.EntryID // of Ada's opening of the portal
	acts     int             // told so far
	failures int
}

func (d *demo) close() {
	d.outside.close()
	d.bot.close()
}

func (d *demo) say(format string, args ...any) { _, _ = fmt.Fprintf(d.out, format, args...) }

// line says one thing about somebody or something.
func (d *demo) line(who, format string, args ...any) {
	d.say("   %-6s %s\n", who, fmt.Sprintf(format, args...))
}

func (d *demo) failf(format string, args ...any) {
	d.failures++
	d.say("   WRONG: "+format+"\n", args...)
}

// act begins the next part of the story.
func (d *demo) act(title, moral string) {
	d.acts++
	d.say("\n%d. %s\n   %s\n\n", d.acts, title, moral)
}

func (d *demo) introduce() {
	plan := d.server.gate.Rules().Plan()
	d.say("An isolated product, a third-party app, a gateway and the outside, on loopback with real TLS.\n\n")
	d.say("  product   spiffe://acme.isolated/help-center (client certificate)\n")
	d.say("  app       %s (bearer token), which knows the gateway as its proxy\n", botSource)
	d.say("  gateway   %s for the product, %s for apps, tenant acme\n", d.base, d.bot.Door)
	d.say("            pack %s version %d, %.19s…\n", plan.Name, plan.Version, plan.Digest)
	d.say("  portal    https://%s, at %s; its landing in front of it at %s\n", portalHost, d.portal.address(), addr(d.landing.gateways))
	d.say("  agent     sees the portal's page through the landing: %s\n", d.pageURL(agentPage))
	d.say("  vendor    of the app: %s and others\n", apiHost)
	d.say("  ada       uses the product, and administers it: the Hub is at %s\n", d.server.office.url)
	d.say("  auditor   holds %s and nothing else\n", d.server.keys.Verifier())
}
