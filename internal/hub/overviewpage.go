package hub

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// overviewPage is what the overview's template sees.
type overviewPage struct {
	*Overview
	Spans []spanLink
	Last  string // the span in words
	Chart columns
	Sums  []breakdown
}

// spanLink is one choice of a span.
type spanLink struct {
	Title, Path string
	Here        bool
}

// breakdown is one table of shares.
type breakdown struct {
	Title, Of string
	Name      string // of the explorer's filter
	Most      uint64
	Rows      []Share
	More      int
}

// shownShares is how many rows of a breakdown are shown.
const shownShares = 8

// overview is what left lately, and what waits for somebody.
func (h *Hub) overview(v *visit) error {
	span, err := readSpan(v.URL.Query().Get("span"))
	if err != nil {
		return err
	}
	o, err := h.Overview(v.Context(), v.state, span, v.now)
	if err != nil {
		return err
	}
	p := overviewPage{Overview: o}
	for _, s := range overviewSpans {
		p.Spans = append(p.Spans, spanLink{s.Title, "/?span=" + s.Name, s.Name == span})
		if s.Name == span {
			p.Last = s.Last
		}
	}
	if l := o.Left; l != nil {
		unit := "day"
		if span == "day" {
			unit = "hour"
		}
		p.Chart = newColumns(l.Times, unit)
		p.Sums = []breakdown{newBreakdown("By label family", "Family", "label", l.Families), newBreakdown("By purpose", "Purpose", "purpose", l.Purposes),
			newBreakdown("By destination", "Destination", "destination", l.Destinations)}
	}
	return v.show("overview", "Overview", p)
}

func newBreakdown(title, of, name string, rows []Share) breakdown {
	b := breakdown{Title: title, Of: of, Name: name}
	for _, r := range rows {
		if b.Most = max(b.Most, r.Forms.All()); r.Name == "" {
			continue // refused before that was known
		}
		if len(b.Rows) == shownShares {
			b.More++
			continue
		}
		b.Rows = append(b.Rows, r)
	}
	return b
}

// Filter is a row's name as the explorer's filter has it.
func (b breakdown) Filter(name string) string {
	if b.Name == "label" && name != "unclassified" && name != "opaque" {
		return name + ".**"
	}
	return name
}

// explore is the address of the explorer with a filter, given as names and values. A
// value that is empty is left out; words of "action" are one value each.
func explore(pairs ...any) string {
	q := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		name, _ := pairs[i].(string)
		s := text(pairs[i+1])
		switch {
		case s == "":
		case name == "action":
			q[name] = strings.Fields(s)
			slices.Sort(q[name])
		default:
			q.Set(name, s)
		}
	}
	if len(q) == 0 {
		return "/explore"
	}
	return "/explore?" + q.Encode()
}

func text(v any) string {
	if t, ok := v.(time.Time); ok {
		return t.UTC().Format(time.RFC3339)
	}
	return fmt.Sprint(v)
}

// showOverview is the overview for programs.
func (h *Hub) showOverview(c *call) (*answer, error) {
	q, err := c.parameters([]string{"span"})
	if err != nil {
		return nil, err
	}
	span, err := readSpan(value(q, "span"))
	if err != nil {
		return nil, err
	}
	o, err := h.Overview(c.Context(), c.state, span, c.now)
	if err != nil {
		return nil, err
	}
	return ok(o)
}
