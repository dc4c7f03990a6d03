// Package browsertest runs a real browser, Debian's chromium, for tests of pages that
// people see. Its profile is new each time and gone afterwards, and it talks to
// nobody but the pages that a test opens.
package browsertest

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/chromedp/cdproto/audits"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"
)

// TB is what is needed of a *testing.T.
type TB interface {
	Helper()
	Cleanup(f func())
	Fatalf(format string, args ...any)
	Skipf(format string, args ...any)
	TempDir() string
}

// patience bounds one step: a machine that also compiles is slow.
const patience = time.Minute

// Browser is one window of a browser, with one page. Cookies and what it remembers are
// its own.
type Browser struct {
	tb      TB
	ctx     context.Context      //nolint:containedctx // chromedp keeps its browser in one
	profile cdp.BrowserContextID // "" is the browser's own
	within  string               // the part of the page that acts are on; "" is all
	*watch
}

// Options is what a browser is told about the world.
type Options struct {
	// Hosts are names, and where they are: "hub.example:443" at "127.0.0.1:4711". Other
	// names are not resolved at all, so that nobody outside is asked.
	Hosts map[string]string
	// Trust are certificates of servers, or of who issued them, that are taken although no
	// authority of the machine knows them.
	Trust []*x509.Certificate
}

// Start starts a browser that ends with the test. Where there is none, the test says
// that it was skipped.
func Start(tb TB) *Browser {
	tb.Helper()
	return StartIn(tb, Options{})
}

// StartIn starts a browser as Start does, in a world of its own.
func StartIn(tb TB, o Options) *Browser {
	tb.Helper()
	program := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			program = found
			break
		}
	}
	if program == "" {
		tb.Skipf("there is no chromium on this machine: what a browser shows was not tested; install it with: apt-get install chromium")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], //nolint:gocritic // a new list is what is wanted
		chromedp.ExecPath(program), chromedp.UserDataDir(tb.TempDir()), chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("no-proxy-server", true),
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.WSURLReadTimeout(patience),
		chromedp.Flag("host-resolver-rules", o.rules()), chromedp.Flag("lang", "en-GB"),
		chromedp.Flag("enable-blink-features", "ComputedAccessibilityInfo")) // names and roles as assistive technology has them
	if keys := o.keys(); keys != "" {
		options = append(options, chromedp.Flag("ignore-certificate-errors-spki-list", keys))
	}
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // it refuses to be root otherwise
	}
	allocated, stop := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, cancel := chromedp.NewContext(allocated, chromedp.WithErrorf(silent))
	b := &Browser{tb: tb, ctx: ctx, watch: newWatch()}
	tb.Cleanup(func() {
		_ = chromedp.Cancel(ctx) // waits until the process has ended, which writes to its profile
		cancel()
		stop()
	})
	// The first step starts the browser, whose life must not be that of the step.
	if err := chromedp.Run(ctx); err != nil {
		tb.Fatalf("the browser does not start: %v", err)
	}
	b.begin()
	return b
}

// Window opens another window, which shares nothing with this one but the process: it
// is another person's. It ends with the test that it is given, and tells that one.
func (b *Browser) Window(tb TB) *Browser {
	tb.Helper()
	var id target.ID
	var profile cdp.BrowserContextID
	b.Do("open a window", chromedp.ActionFunc(func(ctx context.Context) (err error) {
		ctx = cdp.WithExecutor(ctx, chromedp.FromContext(ctx).Browser)
		if profile, err = target.CreateBrowserContext().Do(ctx); err != nil {
			return err
		}
		id, err = target.CreateTarget("about:blank").WithBrowserContextID(profile).WithNewWindow(true).Do(ctx)
		return err
	}))
	ctx, cancel := chromedp.NewContext(b.ctx, chromedp.WithTargetID(id))
	w := &Browser{tb: tb, ctx: ctx, profile: profile, watch: newWatch()}
	tb.Cleanup(func() {
		cancel()
		b.Do("close the window", chromedp.ActionFunc(func(ctx context.Context) error {
			return target.DisposeBrowserContext(profile).Do(cdp.WithExecutor(ctx, chromedp.FromContext(ctx).Browser))
		}))
	})
	if err := chromedp.Run(ctx); err != nil {
		tb.Fatalf("the window does not open: %v", err)
	}
	w.begin()
	return w
}

// For is the same window for a part of the test, which hears what goes wrong in it.
func (b *Browser) For(tb TB) *Browser {
	c := *b
	c.tb = tb
	return &c
}

// silent takes what chromedp says of events that it does not know; what fails is returned.
func silent(string, ...any) {}

// begin has the window tell what goes wrong in it, and be in front for itself: the
// focus is seen in each window.
func (b *Browser) begin() {
	b.tb.Helper()
	chromedp.ListenTarget(b.ctx, b.heard)
	b.Do("begin", log.Enable(), audits.Enable(), network.Enable(), emulation.SetFocusEmulationEnabled(true))
}

// rules are Chromium's for names.
func (o Options) rules() string {
	var rules []string
	for name, at := range o.Hosts {
		rules = append(rules, "MAP "+name+" "+at)
	}
	slices.Sort(rules)
	return strings.Join(append(rules, "MAP * ~NOTFOUND", "EXCLUDE localhost", "EXCLUDE 127.0.0.1"), ",")
}

// keys are the SHA-256 of the trusted certificates' public keys, as Chromium has them.
func (o Options) keys() string {
	var keys []string
	for _, c := range o.Trust {
		sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
		keys = append(keys, base64.StdEncoding.EncodeToString(sum[:]))
	}
	return strings.Join(keys, ",")
}

// Do does steps, one after another.
func (b *Browser) Do(what string, steps ...chromedp.Action) {
	b.tb.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Run(ctx, steps...); err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("%w; the page is: %s", err, b.look())
		}
		b.tb.Fatalf("%s: %v", what, err)
	}
}

// look is the page's text, for a message.
func (b *Browser) look() string {
	ctx, cancel := context.WithTimeout(b.ctx, 10*time.Second)
	defer cancel()
	var text string
	if err := chromedp.Run(ctx, chromedp.Evaluate(`document.location.href + " " + document.body.innerText`, &text)); err != nil {
		return err.Error()
	}
	return text
}
