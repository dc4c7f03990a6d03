package browsertest

import (
	"context"
	"strings"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// Open opens a page and waits until it is there. The answer is its status.
func (b *Browser) Open(url string) int {
	b.tb.Helper()
	status, err := b.TryOpen(url)
	if err != nil {
		b.tb.Fatalf("open %s: %v", url, err)
	}
	return status
}

// TryOpen opens a page that may not be there at all.
func (b *Browser) TryOpen(url string) (status int, err error) {
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	response, err := chromedp.RunResponse(ctx, chromedp.Navigate(url))
	if err != nil {
		return 0, err
	}
	return int(response.Status), nil
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
