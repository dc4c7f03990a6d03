package hub

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/oklog/ulid/v2"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/consent"
	"github.com/isogate/isogate/internal/trail"
)

// filter is which entries somebody looks at. It is an address's query and nothing
// else, so that what is seen can be shared, kept and exported by its address.
type filter struct {
	asked url.Values        // the parameters that say something, of filterNames
	wrong map[string]string // by parameter: what is wrong with it, and what to write instead
	query trail.Query
}

// filterNames are the parameters of a filter, in the order in which they are shown.
var filterNames = []string{"span", "since", "before", "decision", "kind", "source", "app", "purpose", "transit", "destination",
	"label", "path", "action", "handling", "rule", "consent", "pack", "open", "q"}

// filterTitles say what a parameter is about.
var filterTitles = map[string]string{"span": "Time", "since": "From", "before": "Before", "decision": "Decision", "kind": "Kind", "source": "Source", "app": "App",
	"purpose": "Purpose", "transit": "Transit", "destination": "Destination", "label": "Label", "path": "Field", "action": "Action", "handling": "Handling",
	"rule": "Rule", "consent": "Consent", "pack": "Pack", "open": "Ended", "q": "Name contains"}

// span is a time that ends now.
type spanChoice struct {
	Name, Title string
	long        time.Duration
}

var spans = []spanChoice{{"hour", "the last hour", time.Hour}, {"day", "the last day", 24 * time.Hour}, {"week", "the last 7 days", 7 * 24 * time.Hour},
	{"month", "the last 30 days", 30 * 24 * time.Hour}, {"quarter", "the last 90 days", 90 * 24 * time.Hour}}

var (
	entryKinds = []isogate.EntryKind{isogate.KindEgress, isogate.KindConsent, isogate.KindPack, isogate.KindKey, isogate.KindLanding, isogate.KindAdmin, isogate.KindUpdate}
	decisions  = []string{isogate.Released.String(), isogate.Refused.String()}
	handlings  = []string{isogate.TransitOnly.String(), isogate.Temporary.String(), isogate.Persisted.String()}
	actions    = []isogate.Action{isogate.Allow, isogate.Seal, isogate.Generalise, isogate.Mask, isogate.Token, isogate.Hash, isogate.Redact, isogate.Drop, isogate.Refuse}
)

// maxTerm is how many bytes one parameter of a filter may have.
const maxTerm = 300

var (
	ruleForm = regexp.MustCompile(`^[^\s:]+:[0-9]+$`)
	packForm = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
)

// readFilter reads the filter of a query. What is wrong is said by its parameter,
// and the rest is kept; parameters that are no filter's are wrong too, for who
// leaves them out shows more than was meant. Also may be there, and are not looked at.
func readFilter(q url.Values, now time.Time, also ...string) *filter {
	f := &filter{asked: url.Values{}, wrong: map[string]string{}}
	for name, values := range q {
		switch {
		case slices.Contains(also, name):
			if len(values) > 1 && name != "by" {
				f.wrong[name] = "is there twice"
			}
			continue
		case !slices.Contains(filterNames, name):
			f.wrong[consent.Shown(name)] = "is no filter; use " + strings.Join(filterNames, ", ")
			continue
		}
		values = slices.DeleteFunc(slices.Clone(values), func(s string) bool { return s == "" })
		slices.Sort(values)
		values = slices.Compact(values)
		for _, s := range values {
			switch {
			case len(s) > maxTerm:
				f.wrong[name] = fmt.Sprintf("is longer than %d bytes", maxTerm)
			case !prints(s):
				f.wrong[name] = "has characters that do not print; leave them out"
			case len(values) > 1 && name != "action":
				f.wrong[name] = "is there twice; choose one"
			}
		}
		if len(values) > 0 {
			f.asked[name] = values
		}
	}
	for name, values := range f.asked {
		if f.wrong[name] != "" {
			continue
		}
		for _, s := range values {
			if why := f.read(name, s, now); why != "" {
				f.wrong[name] = why
			}
		}
	}
	f.between()
	return f
}

// prints reports whether a text has nothing in it that a page would act on or hide.
func prints(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// askable reports whether a filter can ask for a name.
func askable(s string) bool { return s != "" && len(s) <= maxTerm && prints(s) }

// read takes one value of a parameter into the query; the answer is what is wrong with it.
func (f *filter) read(name, s string, now time.Time) (wrong string) {
	oneOf := func(choices ...string) string {
		if slices.Contains(choices, s) {
			return ""
		}
		return "is none of " + strings.Join(choices, ", ")
	}
	q := &f.query
	switch name {
	case "span":
		for _, c := range spans {
			if c.Name == s {
				q.Since = now.Add(-c.long)
				return ""
			}
		}
		return "is none of hour, day, week, month, quarter"
	case "since", "before":
		t, ok := readInstant(s)
		if !ok {
			return "is not a time; write it as 2026-11-02, 2026-11-02T12:00 or 2026-11-02T12:00:00Z (UTC)"
		}
		if name == "since" {
			q.Since = t
		} else {
			q.Before = t
		}
	case "decision":
		q.Decision = s
		return oneOf(decisions...)
	case "kind":
		q.Kind = isogate.EntryKind(s)
		if !slices.Contains(entryKinds, q.Kind) {
			return fmt.Sprintf("is none of %v", entryKinds)
		}
	case "source":
		q.Source = isogate.Source(s)
	case "app":
		q.App = strings.TrimPrefix(s, "app/")
	case "purpose":
		q.Purpose = s
		if _, err := isogate.ParsePurpose(s); err != nil {
			return "is no purpose; choose one of the list"
		}
	case "transit":
		q.Transit = isogate.Transit(s)
	case "destination":
		q.Destination = isogate.Destination(s)
	case "label":
		p, err := isogate.ParseLabelPattern(s)
		if err != nil {
			return "is not a label: " + strings.TrimPrefix(err.Error(), fmt.Sprintf("label pattern %q: ", s)) + "; write it as personal.contact.email, or personal.** for all below"
		}
		q.Label = p
	case "path":
		q.Path = s
	case "action":
		a, err := isogate.ParseAction(s)
		if err != nil {
			return "is no action; choose of the list"
		}
		q.Actions = append(q.Actions, a)
	case "handling":
		q.Handling = s
		return oneOf(handlings...)
	case "rule":
		q.Rule = s
		if !ruleForm.MatchString(s) {
			return "is not a rule; write it as transits/support.yaml:12"
		}
	case "consent":
		q.Consent = isogate.EntryID(s)
		if _, err := ulid.ParseStrict(s); err != nil {
			return "is not the ID of a consent, which has 26 characters"
		}
	case "pack":
		q.Pack = s
		if !packForm.MatchString(s) {
			return "is not the digest of a pack; write it as sha256: and 64 hexadecimal digits"
		}
	case "open":
		q.Open = s == "no"
		return oneOf("no")
	case "q":
		q.Text = s
	}
	return ""
}

// between holds the times against one another.
func (f *filter) between() {
	switch {
	case f.asked.Has("span") && (f.asked.Has("since") || f.asked.Has("before")):
		f.wrong["span"] = "is there beside a time from or before; choose one of them"
	case !f.query.Since.IsZero() && !f.query.Before.IsZero() && !f.query.Since.Before(f.query.Before) && f.wrong["before"] == "":
		f.wrong["before"] = "is not after the time from"
	}
}

// readInstant reads a time as people and their browsers write it, in UTC.
func readInstant(s string) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02T15:04", time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), t.Year() >= 1970
		}
	}
	return time.Time{}, false
}

// err is what is wrong, as the API says it; nil if nothing is.
func (f *filter) err() error {
	for _, name := range slices.Concat(filterNames, sortedNames(f.wrong)) {
		if why := f.wrong[name]; why != "" {
			return badRequest("the parameter %s %s", name, why)
		}
	}
	return nil
}

func sortedNames(m map[string]string) []string {
	names := make([]string, 0, len(m))
	for n := range m {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// String is the filter as an address's query, in its one spelling.
func (f *filter) String() string { return f.asked.Encode() }

// at is a path with the filter as its query, and more parameters: names and values by turns.
func (f *filter) at(path string, more ...string) string {
	q := url.Values{}
	for name, values := range f.asked {
		q[name] = values
	}
	for i := 0; i+1 < len(more); i += 2 {
		q.Set(more[i], more[i+1])
	}
	if len(q) == 0 {
		return path
	}
	return path + "?" + q.Encode()
}

// Value is what a parameter says, as it was written.
func (f *filter) Value(name string) string { return f.asked.Get(name) }

// Has reports whether a parameter says this among others.
func (f *filter) Has(name string, value any) bool {
	return slices.Contains(f.asked[name], fmt.Sprint(value))
}

// Wrong is what is wrong with a parameter; "" if nothing is.
func (f *filter) Wrong(name string) string { return f.wrong[name] }

// Strange are the parameters that are no filter's, with what is wrong.
func (f *filter) Strange() []string {
	var out []string
	for _, name := range sortedNames(f.wrong) {
		if !slices.Contains(filterNames, name) {
			out = append(out, name)
		}
	}
	return out
}

// Wrongs reports whether anything is wrong.
func (f *filter) Wrongs() bool { return len(f.wrong) > 0 }

// Any reports whether anything is asked.
func (f *filter) Any() bool { return len(f.asked) > 0 }

// chip is one thing that a filter asks, and the address without it.
type chip struct {
	Title, Value, Without string
}

// Chips are what the filter asks, one by one.
func (f *filter) Chips() []chip {
	var out []chip
	for _, name := range filterNames {
		for _, value := range f.asked[name] {
			rest := &filter{asked: url.Values{}}
			for n, values := range f.asked {
				if values = slices.DeleteFunc(slices.Clone(values), func(s string) bool { return n == name && s == value }); len(values) > 0 {
					rest.asked[n] = values
				}
			}
			out = append(out, chip{filterTitles[name], f.words(name, value), rest.at("/explore")})
		}
	}
	return out
}

// words is what a parameter says, for people.
func (f *filter) words(name, value string) string {
	switch name {
	case "span":
		for _, c := range spans {
			if c.Name == value {
				return c.Title
			}
		}
	case "open":
		return "not yet, or cut off"
	case "since", "before":
		if t, ok := readInstant(value); ok {
			return t.Format("2 Jan 2006 15:04:05") + " UTC"
		}
	}
	return value
}

// query is the query of a visit. One that is not well-formed is refused: what is left
// out of a filter shows more than was meant.
func (v *visit) query() (url.Values, error) {
	q, err := url.ParseQuery(v.URL.RawQuery)
	if err != nil {
		return nil, badRequest("the address is not well-formed; percent-encode what is not a letter or digit")
	}
	return q, nil
}

// emptied is the query without parameters that say nothing, which a form sends for
// each field that was left empty, and whether there were any.
func emptied(q url.Values) (url.Values, bool) {
	out, any := url.Values{}, false
	for name, values := range q {
		kept := slices.DeleteFunc(slices.Clone(values), func(s string) bool { return s == "" })
		if any = any || len(kept) < len(values); len(kept) > 0 {
			out[name] = kept
		}
	}
	return out, any
}
