// Package browsertest runs a real browser, Debian's chromium, for tests of pages that
// people see. Its profile is new each time and gone afterwards, and it talks to
// nobody but the pages that a test opens.
package browsertest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
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

// Browser is one browser with one page.
type Browser struct {
	tb  TB
	ctx context.Context //nolint:containedctx // chromedp keeps its browser in one
}

// Start starts a browser that ends with the test. Where there is none, the test says
// that it was skipped.
func Start(tb TB) *Browser {
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
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.WSURLReadTimeout(patience))
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // it refuses to be root otherwise
	}
	allocated, stop := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, cancel := chromedp.NewContext(allocated)
	b := &Browser{tb: tb, ctx: ctx}
	tb.Cleanup(func() {
		_ = chromedp.Cancel(ctx) // waits until the process has ended, which writes to its profile
		cancel()
		stop()
	})
	// The first step starts the browser, whose life must not be that of the step.
	if err := chromedp.Run(ctx); err != nil {
		tb.Fatalf("the browser does not start: %v", err)
	}
	return b
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

// Open opens a page and waits until it is there. The answer is its status.
func (b *Browser) Open(url string) int {
	b.tb.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	response, err := chromedp.RunResponse(ctx, chromedp.Navigate(url))
	if err != nil {
		b.tb.Fatalf("open %s: %v", url, err)
	}
	return int(response.Status)
}

// Reload loads the page anew.
func (b *Browser) Reload() {
	b.tb.Helper()
	b.Do("reload", chromedp.Reload())
}

// Back goes back in the history, as the button does, until the page is at url.
func (b *Browser) Back(url string) {
	b.tb.Helper()
	// A page may come back from memory, of which the browser tells nothing.
	b.Script(`history.back(); ""`)
	for deadline := time.Now().Add(patience); ; {
		if at := b.Script(`document.readyState + " " + document.location.href`); at == "complete "+url {
			return
		}
		if time.Now().After(deadline) {
			b.tb.Fatalf("back: the page is %s", b.look())
		}
	}
}

// Fill types into the field that a CSS selector finds, and sends its form. It waits
// for the page that comes.
func (b *Browser) Fill(selector, text string) {
	b.tb.Helper()
	b.Do("fill "+selector, chromedp.WaitVisible(selector), chromedp.SendKeys(selector, text))
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if _, err := chromedp.RunResponse(ctx, chromedp.Submit(selector)); err != nil {
		b.tb.Fatalf("send the form of %s: %v; the page is: %s", selector, err, b.look())
	}
}

// Text is what a person reads on the page.
func (b *Browser) Text() string {
	b.tb.Helper()
	return b.Script(`document.body.innerText`)
}

// Source is the document as the browser has it.
func (b *Browser) Source() string {
	b.tb.Helper()
	return b.Script(`document.documentElement.outerHTML`)
}

// Number is what a script says.
func (b *Browser) Number(script string) float64 {
	b.tb.Helper()
	var n float64
	b.Do(script, chromedp.Evaluate(script, &n))
	return n
}

// Script is what a script says, as text.
func (b *Browser) Script(script string) string {
	b.tb.Helper()
	var s string
	b.Do(script, chromedp.Evaluate(script, &s))
	return s
}

// Cookies are the page's, as "name HttpOnly Secure SameSite" with what does not
// hold left out.
func (b *Browser) Cookies() (out []string) {
	b.tb.Helper()
	b.Do("read the cookies", chromedp.ActionFunc(func(ctx context.Context) error {
		all, err := network.GetCookies().Do(ctx)
		for _, c := range all {
			parts := []string{c.Name}
			if c.HTTPOnly {
				parts = append(parts, "HttpOnly")
			}
			if c.Secure {
				parts = append(parts, "Secure")
			}
			out = append(out, strings.Join(append(parts, string(c.SameSite)), " "))
		}
		return err
	}))
	return out
}

// Look is how somebody looks at the page: the width of their screen in CSS pixels,
// and whether they prefer a dark one.
func (b *Browser) Look(width, height int64, dark bool) {
	b.tb.Helper()
	scheme := "light"
	if dark {
		scheme = "dark"
	}
	b.Do("look", chromedp.EmulateViewport(width, height),
		emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}))
}

// Picture is what is seen, as PNG.
func (b *Browser) Picture() []byte {
	b.tb.Helper()
	var png []byte
	b.Do("take a picture", chromedp.CaptureScreenshot(&png))
	return png
}
