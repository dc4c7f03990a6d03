package hub

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/trail"
)

// Left is what left in a span, and what was kept from leaving.
type Left struct {
	Released uint64 `json:"released"` // requests
	Refused  uint64 `json:"refused"`
	Failed   uint64 `json:"failed"` // released, and answered with a status of 500 or more
	// Unended is how many releases have no recorded end: they go on, or the gateway stopped while they did.
	Unended  uint64 `json:"unended"`
	BytesOut int64  `json:"bytes_out"`
	// Forms are of the values of released requests.
	Forms Forms `json:"forms"`
	// Times are the span's hours or days, each of them, the first first.
	Times []Slot `json:"times"`
	// Families are by the first segment of labels, Purposes and Destinations by name,
	// those with the most values first.
	Families     []Share `json:"families"`
	Purposes     []Share `json:"purposes"`
	Destinations []Share `json:"destinations"`
	// Unlabelled are fields that no contract names, those seen most often first, and
	// UnlabelledMore how many more there are.
	Unlabelled     []Unlabelled `json:"unlabelled"`
	UnlabelledMore int          `json:"unlabelled_more"`
}

// Forms is how many values left in which form, or not at all.
type Forms struct {
	Withheld uint64 `json:"withheld"` // refuse, drop
	Replaced uint64 `json:"replaced"` // redact, hash, token
	InPart   uint64 `json:"in_part"`  // mask, generalise
	Sealed   uint64 `json:"sealed"`
	Plain    uint64 `json:"plain"` // allow
}

// formsOf counts by form what is counted by action.
func formsOf(values [isogate.Allow + 1]uint64) (f Forms) {
	for a, n := range values {
		switch isogate.Action(a) {
		case isogate.Refuse, isogate.Drop:
			f.Withheld += n
		case isogate.Redact, isogate.Hash, isogate.Token:
			f.Replaced += n
		case isogate.Mask, isogate.Generalise:
			f.InPart += n
		case isogate.Seal:
			f.Sealed += n
		case isogate.Allow:
			f.Plain += n
		}
	}
	return f
}

// All is how many values there are.
func (f Forms) All() uint64 { return f.Withheld + f.Replaced + f.InPart + f.Sealed + f.Plain }

// Obfuscated is how many of them nobody outside can read.
func (f Forms) Obfuscated() uint64 { return f.Withheld + f.Replaced }

func (f *Forms) add(g Forms) {
	f.Withheld, f.Replaced, f.InPart, f.Sealed, f.Plain = f.Withheld+g.Withheld, f.Replaced+g.Replaced, f.InPart+g.InPart, f.Sealed+g.Sealed, f.Plain+g.Plain
}

// Slot is one hour, or one day, of the span.
type Slot struct {
	At       time.Time `json:"at"`
	Released uint64    `json:"released"`
	Refused  uint64    `json:"refused"`
}

// Share is what left of one family, for one purpose or to one destination.
type Share struct {
	Name     string `json:"name"`
	Released uint64 `json:"released"` // requests
	Refused  uint64 `json:"refused"`
	Forms    Forms  `json:"forms"` // of values of released requests
}

// Unlabelled is a field that no contract names.
type Unlabelled struct {
	Transit isogate.Transit `json:"transit"`
	Path    string          `json:"path"`
	Values  uint64          `json:"values"`
	Last    time.Time       `json:"last"`
}

// shownUnlabelled is how many fields without a label are named.
const shownUnlabelled = 6

// leftSince counts what left since an instant.
func (h *Hub) leftSince(ctx context.Context, span string, since time.Time) (*Left, error) {
	q := trail.Query{Since: since, Kind: isogate.KindEgress}
	all, err := h.trail.Count(ctx, q)
	if err != nil {
		return nil, err
	}
	l := &Left{Released: all.Released, Refused: all.Refused, Failed: all.Failed, Unended: all.Open, BytesOut: all.BytesOut, Unlabelled: []Unlabelled{}}
	by, step := trail.ByDay, 24*time.Hour
	if span == "day" {
		by, step = trail.ByHour, time.Hour
	}
	times, err := h.trail.Tally(ctx, q, by)
	if err != nil {
		return nil, err
	}
	l.Times = slots(times, since, step, h.now())
	released := q
	released.Decision = isogate.Released.String()
	for _, s := range []struct {
		into *[]Share
		by   trail.By
		q    trail.Query
	}{{&l.Families, trail.ByFamily, released}, {&l.Purposes, trail.ByPurpose, q}, {&l.Destinations, trail.ByDestination, q}} {
		groups, err := h.trail.Tally(ctx, s.q, s.by, trail.ByDecision)
		if err != nil {
			return nil, err
		}
		*s.into = shares(groups)
	}
	for _, f := range l.Families { // each value is of one family
		l.Forms.add(f.Forms)
	}
	seen := q
	seen.Label = "unclassified"
	groups, err := h.trail.Tally(ctx, seen, trail.ByTransit, trail.ByPath)
	if err != nil {
		return nil, err
	}
	for _, g := range groups {
		l.Unlabelled = append(l.Unlabelled, Unlabelled{Transit: isogate.Transit(g.Key[0]), Path: g.Key[1], Values: formsOf(g.Values).All(), Last: g.Last.UTC()})
	}
	slices.SortStableFunc(l.Unlabelled, func(a, b Unlabelled) int {
		return cmp.Or(cmp.Compare(rest(a.Path), rest(b.Path)), cmp.Compare(b.Values, a.Values))
	})
	if n := len(l.Unlabelled); n > shownUnlabelled {
		l.Unlabelled, l.UnlabelledMore = l.Unlabelled[:shownUnlabelled], n-shownUnlabelled
	}
	return l, nil
}

// rest is 1 for what stands in every request and is removed unless it is named: fields of
// a body or query, which somebody may want outside, come before that.
func rest(path string) int {
	for _, place := range []string{"header:", "cookie:", "trailer:"} {
		if strings.HasPrefix(path, place) {
			return 1
		}
	}
	return 0
}

// slots are all hours or days from since up to now, also those of which there is nothing.
func slots(groups []trail.Group, since time.Time, step time.Duration, now time.Time) []Slot {
	form := time.RFC3339
	if step > time.Hour {
		form = time.DateOnly
	}
	found := map[string]trail.Count{}
	for _, g := range groups {
		found[g.Key[0]] = g.Count
	}
	out := []Slot{}
	for at := since; !at.After(now); at = at.Add(step) {
		c := found[at.Format(form)]
		out = append(out, Slot{At: at, Released: c.Released, Refused: c.Refused})
	}
	return out
}

// shares puts the groups of one key together, whatever was decided.
func shares(groups []trail.Group) []Share {
	at, out := map[string]int{}, []Share{}
	for _, g := range groups {
		i, known := at[g.Key[0]]
		if !known {
			i = len(out)
			at[g.Key[0]] = i
			out = append(out, Share{Name: g.Key[0]})
		}
		s := &out[i]
		s.Released += g.Released
		s.Refused += g.Refused
		if g.Key[1] == isogate.Released.String() {
			s.Forms.add(formsOf(g.Values))
		}
	}
	slices.SortFunc(out, func(a, b Share) int {
		return cmp.Or(cmp.Compare(b.Forms.All(), a.Forms.All()), cmp.Compare(b.Released+b.Refused, a.Released+a.Refused), strings.Compare(a.Name, b.Name))
	})
	return out
}
