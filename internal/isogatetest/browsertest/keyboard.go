package browsertest

import (
	"fmt"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// Stop is where the focus is, on a walk through a page by the Tab key.
type Stop struct {
	Element string // for a person
	Role    string // as assistive technology has it
	Name    string
	Seen    bool // the focus is seen: outline or shadow is not as without it
	Clear   bool // nothing lies over it
	At      int  // which of the page's elements; 0 is none
}

// Walk is what a walk through a page found.
type Walk struct {
	Stops []Stop
	// Missed are elements that a mouse can use and the keyboard does not reach.
	Missed []string
	// Caught says that the walk did not come to an end.
	Caught bool
}

// longest is how many stops a page may have, and parts how many one element may.
const (
	longest = 1500
	parts   = 12
)

// Walk goes through the page by the Tab key, from its beginning until the focus leaves it.
func (b *Browser) Walk() Walk {
	b.tb.Helper()
	b.Do("prepare the walk", chromedp.Evaluate(prepareWalk, nil))
	var w Walk
	reached := map[int]bool{}
	for last, again := 0, 0; ; {
		var s Stop
		b.Do("Tab", chromedp.KeyEvent(kb.Tab), chromedp.Evaluate(stopScript, &s))
		if s.At == last && again < parts { // a date has a stop for the day, the month and the year
			again++
			continue
		}
		if s.At == 0 || reached[s.At] {
			w.Caught = s.At == last && s.At != 0
			break
		}
		last, again = s.At, 0
		reached[s.At] = true
		w.Stops = append(w.Stops, s)
		if len(w.Stops) > longest {
			w.Caught = true
			break
		}
	}
	var missed []struct {
		At      int
		Element string
	}
	b.Do("end the walk", chromedp.Evaluate(missedScript, &missed))
	for _, m := range missed {
		if !reached[m.At] {
			w.Missed = append(w.Missed, m.Element)
		}
	}
	return w
}

// Glance looks at what [Browser.Walk] stops at, without walking: each element is given
// the focus by a script, as if by the keyboard. The answer is what is wrong, a line each.
func (b *Browser) Glance() []string {
	b.tb.Helper()
	var stops []Stop
	b.Do("glance", chromedp.Evaluate(prepareWalk, nil), chromedp.KeyEvent(kb.Tab), // from now on the focus comes by the keyboard
		chromedp.Evaluate(`(() => {
			const out = [];
			for (const e of document.querySelectorAll("a[href], area[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex='0']")) {
				if (!e.checkVisibility({checkVisibilityCSS: true}) || e.getClientRects().length === 0 || e.disabled) continue;
				e.focus();
				if (document.activeElement === e) out.push(`+stopOf+`(e));
			}
			return out;
		})()`, &stops))
	if len(stops) == 0 {
		return []string{"nothing takes the focus"}
	}
	for i := range stops {
		stops[i].Name = "asked for by a walk alone"
	}
	return Walk{Stops: stops}.Faults()
}

// Faults are what is wrong with a walk, a line each.
func (w Walk) Faults() (out []string) {
	for _, s := range w.Stops {
		if s.Name == "" {
			out = append(out, fmt.Sprintf("%s has no name for assistive technology (%s)", s.Element, s.Role))
		}
		if !s.Seen {
			out = append(out, fmt.Sprintf("%s: the focus is not seen", s.Element))
		}
		if !s.Clear {
			out = append(out, fmt.Sprintf("%s is hidden behind something while it has the focus", s.Element))
		}
	}
	for _, m := range w.Missed {
		out = append(out, m+" is not reached by the keyboard")
	}
	if len(w.Stops) == 0 {
		out = append(out, "nothing is reached by the keyboard")
	}
	if w.Caught {
		out = append(out, "the walk does not end")
	}
	return out
}

// prepareWalk numbers the elements and remembers how they look without the focus.
const prepareWalk = `(() => {
	if (document.activeElement) document.activeElement.blur();
	window.scrollTo(0, 0);
	const look = e => { const s = getComputedStyle(e); return [s.outlineStyle, s.outlineWidth, s.outlineColor, s.boxShadow].join(" "); };
	const walk = window.isogateWalk = {elements: new Map(), look, plain: new Map()};
	for (const e of document.querySelectorAll("*")) { walk.elements.set(e, walk.elements.size + 1); walk.plain.set(e, look(e)); }
	const start = document.createElement("span"); // Tab goes on from where the focus was last
	start.tabIndex = -1; document.body.prepend(start); start.focus({preventScroll: true}); start.remove();
})()`

// stopOf is a function that looks at an element that has the focus. An outline that
// cannot be seen is none.
const stopOf = `(e => {
	const walk = window.isogateWalk, none = /rgba\([^)]*, 0\)|transparent/;
	const outlined = x => { const s = getComputedStyle(x); return s.outlineStyle !== "none" && (s.outlineStyle === "auto" || parseFloat(s.outlineWidth) >= 2) && !none.test(s.outlineColor); };
	const seen = x => walk.look(x) !== walk.plain.get(x) && (outlined(x) || getComputedStyle(x).boxShadow !== "none");
	const label = e.labels && e.labels.length ? [...e.labels] : [];
	const points = [];
	for (const r of e.getClientRects()) for (const [x, y] of [[.5, .5], [.1, .5], [.9, .5], [.5, .1], [.5, .9]]) points.push([r.left + r.width * x, r.top + r.height * y]);
	const clear = points.length > 0 && points.some(([x, y]) => {
		const at = document.elementFromPoint(x, y);
		return at && (at === e || e.contains(at) || label.some(l => l.contains(at)));
	});
	return {At: walk.elements.get(e) || -1, Element: ` + nameOf + `(e), Seen: seen(e) || label.some(seen), Clear: clear};
})`

// stopScript looks at what has the focus.
const stopScript = `(() => {
	const e = document.activeElement;
	if (!e || e === document.body || e === document.documentElement) return {At: 0};
	return Object.assign(` + stopOf + `(e), {Role: e.computedRole || "", Name: e.computedName || ""});
})()`

// missedScript lists what a mouse can use. Of a group of radio buttons the keyboard
// stops at one, and goes to the others by the arrows.
const missedScript = `(() => {
	const walk = window.isogateWalk, out = [], groups = new Set();
	const shown = e => e.checkVisibility({checkOpacity: false, checkVisibilityCSS: true}) && e.getClientRects().length > 0;
	for (const e of document.querySelectorAll("a[href], area[href], button, input:not([type=hidden]), select, textarea, summary, [onclick], [contenteditable], [role=button], [role=tab], [role=link]")) {
		if (!shown(e) || e.disabled || e.matches(":disabled") || e.closest("[inert]")) continue;
		if (e.type === "radio") {
			const group = e.form ? [...e.form.elements].filter(x => x.type === "radio" && x.name === e.name) : [e];
			if (groups.has(group[0])) continue;
			groups.add(group[0]);
			out.push({At: walk.elements.get(group.find(x => x.checked) || e) || -1, Element: ` + nameOf + `(e)});
			continue;
		}
		out.push({At: walk.elements.get(e) || -1, Element: ` + nameOf + `(e)});
	}
	return out;
})()`
