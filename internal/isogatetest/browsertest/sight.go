package browsertest

import (
	"context"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// Sight is how somebody sees pages: their screen, and what they have told their
// system. The zero value is a screen of 1280 × 800, light, with everything that pages do.
type Sight struct {
	// Width and Height are those of the screen in CSS pixels, before the zoom.
	Width, Height int64
	// Zoom is the browser's, in percent; 100 by default.
	Zoom int64
	// Dark prefers dark pages.
	Dark bool
	// ForcedColours is Windows' high contrast: the system's few colours, no shadows.
	ForcedColours bool
	// LessMotion prefers that nothing moves.
	LessMotion bool
	// NoScript has pages run no script.
	NoScript bool
}

// See has the window look that way from now on. Scripts are stopped from the next page on.
func (b *Browser) See(s Sight) {
	b.tb.Helper()
	if s.Width == 0 {
		s.Width, s.Height = 1280, 800
	}
	if s.Zoom == 0 {
		s.Zoom = 100
	}
	choose := func(yes bool, a, b string) string {
		if yes {
			return a
		}
		return b
	}
	b.Do("see", emulation.SetDeviceMetricsOverride(s.Width*100/s.Zoom, s.Height*100/s.Zoom, float64(s.Zoom)/100, false),
		emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{
			{Name: "prefers-color-scheme", Value: choose(s.Dark, "dark", "light")},
			{Name: "forced-colors", Value: choose(s.ForcedColours, "active", "none")},
			{Name: "prefers-reduced-motion", Value: choose(s.LessMotion, "reduce", "no-preference")},
		}), emulation.SetScriptExecutionDisabled(s.NoScript))
}

// Look is how somebody looks at the page: the width of their screen in CSS pixels,
// and whether they prefer a dark one.
func (b *Browser) Look(width, height int64, dark bool) {
	b.tb.Helper()
	b.See(Sight{Width: width, Height: height, Dark: dark})
}

// Picture is what is seen, as PNG.
func (b *Browser) Picture() []byte {
	b.tb.Helper()
	var png []byte
	b.Do("take a picture", chromedp.CaptureScreenshot(&png))
	return png
}

// Whole is the page from its top to its end, but no more than most CSS pixels of it, as PNG.
func (b *Browser) Whole(most float64) (png []byte) {
	b.tb.Helper()
	b.Do("take a picture of the page", chromedp.ActionFunc(func(ctx context.Context) (err error) {
		_, _, _, _, visual, content, err := page.GetLayoutMetrics().Do(ctx)
		if err != nil {
			return err
		}
		clip := &page.Viewport{Width: visual.ClientWidth, Height: min(content.Height, most), Scale: 1}
		png, err = page.CaptureScreenshot().WithClip(clip).WithCaptureBeyondViewport(true).Do(cdp.WithExecutor(ctx, chromedp.FromContext(ctx).Target))
		return err
	}))
	return png
}

// Sideways are the elements by which the page is wider than the window: whoever reads it
// must scroll in two directions. What scrolls by itself in a box of its own, as a wide
// table may (WCAG 2.2, 1.4.10), is not among them.
func (b *Browser) Sideways() []string {
	b.tb.Helper()
	var out []string
	b.Do("measure", chromedp.Evaluate(sidewaysScript, &out))
	return out
}

const sidewaysScript = `(() => {
	const width = document.documentElement.clientWidth, out = [];
	if (document.documentElement.scrollWidth > window.innerWidth) out.push("the page: " + document.documentElement.scrollWidth + " pixels in a window of " + window.innerWidth);
	const boxed = e => { for (let p = e.parentElement; p && p !== document.documentElement; p = p.parentElement) {
		if (p !== document.body && getComputedStyle(p).overflowX !== "visible") return true; } return false; };
	for (const e of document.body.querySelectorAll("*")) {
		const r = e.getBoundingClientRect();
		if (r.width > 1 && r.height > 1 && r.right > width + 1 && !boxed(e)) out.push(` + nameOf + `(e) + " ends at " + Math.round(r.right));
		if (out.length > 10) break;
	}
	return out;
})()`

// nameOf is a function that names an element for a person.
const nameOf = `(e => e.localName + (e.id ? "#" + e.id : "") + (e.className && e.className.split ? "." + e.className.trim().split(/\s+/).join(".") : "") +
	" “" + (e.innerText || e.value || "").trim().replace(/\s+/g, " ").slice(0, 40) + "”")`

// Moving is what moves on the page, or would.
func (b *Browser) Moving() []string {
	b.tb.Helper()
	var out []string
	b.Do("look for what moves", chromedp.Evaluate(`(() => {
		const long = s => s.split(",").some(x => parseFloat(x) * (/ms$/.test(x.trim()) ? 1 : 1000) > 10), out = [];
		for (const e of document.querySelectorAll("*")) {
			const s = getComputedStyle(e);
			if (s.transitionProperty !== "none" && long(s.transitionDuration)) out.push(`+nameOf+`(e) + " has a transition");
			if (s.animationName !== "none" && long(s.animationDuration)) out.push(`+nameOf+`(e) + " has an animation");
			if (s.scrollBehavior === "smooth") out.push(`+nameOf+`(e) + " scrolls smoothly");
			if (e.localName === "animate" || e.localName === "marquee" || e.localName === "animateTransform") out.push(`+nameOf+`(e) + " moves by itself");
			if (out.length > 10) break;
		}
		return out;
	})()`, &out))
	return out
}

// Spaced gives the page the spacing that readers may want (WCAG 2.2, 1.4.12), and is
// what is cut off by it. The next page is as it was.
func (b *Browser) Spaced() []string {
	b.tb.Helper()
	var out []string
	b.Do("space the text", chromedp.Evaluate(`(() => {
		const sheet = new CSSStyleSheet();
		sheet.replaceSync("* { line-height: 1.5 !important; letter-spacing: 0.12em !important; word-spacing: 0.16em !important } p { margin-bottom: 2em !important }");
		document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
		const out = [];
		for (const e of document.body.querySelectorAll("*")) {
			const s = getComputedStyle(e), hides = o => o === "hidden" || o === "clip";
			if (e.clientWidth < 2 || e.clientHeight < 2 || !e.innerText || s.clipPath !== "none" || s.clip !== "auto") continue; // for screen readers alone, or without text
			if (hides(s.overflowX) && e.scrollWidth > e.clientWidth + 1 || hides(s.overflowY) && e.scrollHeight > e.clientHeight + 1) out.push(`+nameOf+`(e) + " is cut off");
		}
		return out;
	})()`, &out))
	return append(out, b.Sideways()...)
}
