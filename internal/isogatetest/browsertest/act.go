package browsertest

import (
	"context"
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// findScript gives the element of one of the roles that has a name, for assistive
// technology, the first that is shown; it becomes the focused one. A name that begins
// with what is asked for is taken if none is the same.
const findScript = `((roles, name, within) => {
	const root = within ? document.querySelector(within) : document;
	if (!root) return "there is no " + within;
	const shown = e => e.checkVisibility({checkOpacity: false, checkVisibilityCSS: true}) && e.getClientRects().length > 0;
	const role = e => e.localName === "summary" ? "summary" : e.computedRole;
	const called = e => e.computedName || e.innerText.trim();
	// Computed names are slow to have: they are asked for of those alone that may have the name.
	const flat = s => (s || "").replace(/\s+/g, " ").trim();
	const texts = e => [e.textContent, e.getAttribute("aria-label"), e.value, e.title, ...[...(e.labels || [])].map(l => l.textContent),
		...(e.getAttribute("aria-labelledby") || "").split(" ").map(id => id && document.getElementById(id) ? document.getElementById(id).textContent : "")].map(flat);
	const all = [...root.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex]")];
	const word = flat(name).split(" ")[0];
	const named = all.filter(e => texts(e).some(t => t.includes(word)) && shown(e) && roles.includes(role(e)));
	const found = named.find(e => called(e) === name) || named.find(e => called(e).startsWith(name));
	if (!found) return "there is none; there are: " + all.filter(shown).map(e => e.localName + " “" + texts(e).find(t => t) + "”").join(", ");
	if (found.disabled) return "it is disabled";
	found.focus();
	return document.activeElement === found ? "" : "it does not take the focus";
})`

const pressed = `["button", "link", "tab", "summary"]`

// focus focuses what a person would find by its name.
func (b *Browser) focus(roles, name string) {
	b.tb.Helper()
	if wrong := b.find(roles, name); wrong != "" {
		b.tb.Fatalf("find %q: %s\nthe page is: %s", name, wrong, b.look())
	}
}

// Has reports whether somebody finds a button or a link of this name.
func (b *Browser) Has(name string) bool {
	b.tb.Helper()
	return b.find(pressed, name) == ""
}

// In is the same window, for acts on one part of its page, which a selector finds.
func (b *Browser) In(selector string) *Browser {
	c := *b
	c.within = selector
	return &c
}

// find focuses an element, or says why it cannot.
func (b *Browser) find(roles, name string) string {
	b.tb.Helper()
	return b.Script(findScript + "(" + roles + ", " + strconv.Quote(name) + ", " + strconv.Quote(b.within) + ")")
}

// Press goes to a button or a link by its name and presses Enter, and waits for the page that
// comes. The answer is its status.
func (b *Browser) Press(name string) int {
	b.tb.Helper()
	b.focus(pressed, name)
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	response, err := chromedp.RunResponse(ctx, chromedp.KeyEvent(kb.Enter))
	if err != nil || response == nil {
		b.tb.Fatalf("press %q: no page came (%v); the page is: %s", name, err, b.look())
	}
	return int(response.Status)
}

// Touch presses what does not lead to another page.
func (b *Browser) Touch(name string) {
	b.tb.Helper()
	b.focus(pressed, name)
	b.Do("press "+name, chromedp.KeyEvent(kb.Enter))
}

// Keys for [Browser.Key].
const (
	Enter  = kb.Enter
	Escape = kb.Escape
	Tab    = kb.Tab
)

// Key presses a key on what has the focus.
func (b *Browser) Key(key string) {
	b.tb.Helper()
	b.Do("press a key", chromedp.KeyEvent(key))
}

// Tick has a box or a radio button of this name be on, by the space bar if it is not.
func (b *Browser) Tick(name string) {
	b.tb.Helper()
	b.tick(name, true)
}

// Untick has a box of this name be off.
func (b *Browser) Untick(name string) {
	b.tb.Helper()
	b.tick(name, false)
}

func (b *Browser) tick(name string, on bool) {
	b.tb.Helper()
	b.focus(`["checkbox", "radio", "switch"]`, name)
	is := func() bool { return b.Script(`String(document.activeElement.checked)`) == strconv.FormatBool(on) }
	if is() {
		return
	}
	b.Do("tick "+name, chromedp.KeyEvent(" "))
	if !is() {
		b.tb.Fatalf("tick %q: it does not change", name)
	}
}

// Type types into the field of this name, in place of what is there.
func (b *Browser) Type(name, text string) {
	b.tb.Helper()
	b.focus(`["textbox", "searchbox", "spinbutton", "combobox", "Date", "DateTime", "generic"]`, name)
	b.Script(`document.activeElement.select && document.activeElement.select(); ""`)
	b.Do("type into "+name, chromedp.KeyEvent(kb.Delete), chromedp.KeyEvent(text))
}

// Set gives a field a value as a script would, for those that take no typing, as dates.
func (b *Browser) Set(selector, value string) {
	b.tb.Helper()
	b.Do("set "+selector, chromedp.WaitReady(selector), chromedp.SetValue(selector, value))
}

// Upload chooses a file for the field that a selector finds.
func (b *Browser) Upload(selector, file string) {
	b.tb.Helper()
	b.Do("choose the file "+file, chromedp.SetUploadFiles(selector, []string{file}, chromedp.ByQuery))
}

// Choose chooses from a list by what is written there.
func (b *Browser) Choose(name, option string) {
	b.tb.Helper()
	b.focus(`["combobox", "listbox", "ComboBoxSelect", "MenuListPopup"]`, name)
	wrong := b.Script(`(option => { const e = document.activeElement, o = [...e.options].find(o => o.label === option || o.value === option);
		if (!o) return "there are: " + [...e.options].map(o => o.label).join(", ");
		e.value = o.value; e.dispatchEvent(new Event("input", {bubbles: true})); e.dispatchEvent(new Event("change", {bubbles: true})); return ""; })(` + strconv.Quote(option) + ")")
	if wrong != "" {
		b.tb.Fatalf("choose %q of %q: %s", option, name, wrong)
	}
}

// Submit sends a form of the caller's own making from the page that is open, as somebody
// would who changes a page in their browser. The answer is its status.
func (b *Browser) Submit(action string, fields url.Values) int {
	b.tb.Helper()
	text, err := json.Marshal(fields)
	if err != nil {
		b.tb.Fatalf("submit: %v", err)
	}
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	response, err := chromedp.RunResponse(ctx, chromedp.Evaluate(`(() => {
		const f = document.createElement("form");
		f.method = "post"; f.action = `+strconv.Quote(action)+`;
		for (const [name, values] of Object.entries(`+string(text)+`)) for (const value of values) {
			const i = document.createElement("input"); i.type = "hidden"; i.name = name; i.value = value; f.append(i);
		}
		document.body.append(f); f.submit();
	})()`, nil))
	if err != nil {
		b.tb.Fatalf("submit to %s: %v; the page is: %s", action, err, b.look())
	}
	return int(response.Status)
}

// Await waits until a script says true.
func (b *Browser) Await(what, script string) {
	b.tb.Helper()
	b.Do("wait until "+what, chromedp.Poll(script, nil, chromedp.WithPollingTimeout(patience)))
}

// Where is the page's address.
func (b *Browser) Where() string {
	b.tb.Helper()
	return b.Script(`document.location.href`)
}

// Download presses what gives a file, and is the file with the name it wants.
func (b *Browser) Download(name string) (file, called string) {
	b.tb.Helper()
	dir := b.tb.TempDir()
	b.Do("allow downloads", browser.SetDownloadBehavior(browser.SetDownloadBehaviorBehaviorAllowAndName).
		WithDownloadPath(dir).WithEventsEnabled(true).WithBrowserContextID(b.profile))
	b.Touch(name)
	select {
	case e := <-b.downloads:
		if e.State != browser.DownloadProgressStateCompleted {
			b.tb.Fatalf("download %q: %s", name, e.State)
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		file = filepath.Join(dir, e.GUID)
		if _, err := os.Stat(file); err != nil {
			b.tb.Fatalf("download %q: %v", name, err)
		}
		return file, b.names[e.GUID]
	case <-time.After(patience):
		b.tb.Fatalf("download %q: nothing came; the page is: %s", name, b.look())
		return "", ""
	}
}

// Cookie is the value of one of the page's cookies, or "".
func (b *Browser) Cookie(name string) (value string) {
	b.tb.Helper()
	b.Do("read a cookie", chromedp.ActionFunc(func(ctx context.Context) error {
		all, err := network.GetCookies().Do(ctx)
		for _, c := range all {
			if c.Name == name {
				value = c.Value
			}
		}
		return err
	}))
	return value
}

// Bring has the browser bring a cookie to a page, as an attacker who set it would have it.
func (b *Browser) Bring(url, name, value string) {
	b.tb.Helper()
	b.Do("set a cookie", chromedp.ActionFunc(func(ctx context.Context) error {
		return network.SetCookie(name, value).WithURL(url).Do(ctx)
	}))
}
