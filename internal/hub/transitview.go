package hub

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/policy"
	"github.com/isogate/isogate/internal/trail"
)

// TransitView is one transit of a pack, for people: who sends where and why, what may
// leave and how, and what of that was used.
type TransitView struct {
	Pack        string          `json:"pack"` // digest
	Transit     isogate.Transit `json:"transit"`
	Description string          `json:"description,omitempty"`
	Purpose     string          `json:"purpose"`
	Sources     []string        `json:"sources"`
	Destination string          `json:"destination"`
	Place       string          `json:"place"` // where that is: a URL, or host:port
	Landing     bool            `json:"landing"`
	Consent     string          `json:"consent"` // none, user-action or admin
	UserAction  string          `json:"user_action,omitempty"`
	Mode        string          `json:"mode"` // inspect or tunnel
	Match       []string        `json:"match"`
	Format      string          `json:"format,omitempty"` // of the body; absent if there is none
	Session     string          `json:"session,omitempty"`
	Subject     isogate.Label   `json:"subject,omitempty"`
	Restore     bool            `json:"restore"`
	Rules       []RuleView      `json:"rules"` // the loosest first
	// Fields are all that the contract and the names label; Rest is what any other field
	// of the body gets, absent where no body leaves.
	Fields []FieldView    `json:"fields"`
	Rest   *policy.Answer `json:"rest,omitempty"`
	// Used is how often requests left over it under this pack, and Last when; absent
	// where that is not known.
	Used *uint64    `json:"used,omitempty"`
	Last *time.Time `json:"last,omitempty"`
	// Since is from when on that is counted: when the pack was first judged by.
	Since      *time.Time  `json:"since,omitempty"`
	Unlabelled []SeenField `json:"unlabelled,omitempty"` // fields seen that nobody has named
}

// RuleView is one rule, with what is known of its use.
type RuleView struct {
	policy.Release
	Standing string     `json:"standing"` // in force, ends soon or ended
	Unused   bool       `json:"unused"`   // it let nothing out under this pack, as far as is counted
	Values   *uint64    `json:"values,omitempty"`
	Last     *time.Time `json:"last,omitempty"`
}

// FieldView is one field, and what happens to it.
type FieldView struct {
	Field   string          `json:"field"`
	Labels  []isogate.Label `json:"labels"`
	SaidBy  []string        `json:"said_by"` // file:line
	Verdict policy.Answer   `json:"verdict"`
	// Otherwise is the verdict while no guard holds, where it differs.
	Otherwise *policy.Answer `json:"otherwise,omitempty"`
	Because   string         `json:"because,omitempty"`
}

// SeenField is a field that was seen and has no label.
type SeenField struct {
	Path   string    `json:"path"`
	Values uint64    `json:"values"`
	Last   time.Time `json:"last"`
}

// transitView shows a transit of a pack at an instant, with every field.
func (h *Hub) transitView(ctx context.Context, p *policy.Pack, name isogate.Transit, now time.Time) (TransitView, *policy.Transit, error) {
	v, t, err := h.transitRules(ctx, p, name, now)
	if err == nil && t.Mode != policy.Tunnel {
		err = v.explain(t, now)
	}
	return v, t, err
}

// transitRules is transitView without the fields, which take longest.
func (h *Hub) transitRules(ctx context.Context, p *policy.Pack, name isogate.Transit, now time.Time) (TransitView, *policy.Transit, error) {
	t, ok := p.Plan().Transit(name)
	if !ok {
		return TransitView{}, nil, notFound("the pack has no transit of that name")
	}
	v := TransitView{Pack: p.Plan().Digest, Transit: t.Name, Description: t.Description, Purpose: t.Purpose.String(), Destination: string(t.Destination.Name),
		Place: t.Destination.Place(), Landing: t.Destination.LandingKey != "", Consent: t.Consent.String(), UserAction: t.UserAction.String(), Mode: t.Mode.String(),
		Match: t.Matches(), Session: t.SessionHeader, Subject: t.Subject, Restore: t.Response.Restore, Rules: []RuleView{}, Fields: []FieldView{}}
	for _, s := range t.Sources {
		v.Sources = append(v.Sources, string(s))
	}
	if t.Format != nil {
		v.Format = t.Format.Name()
	}
	for _, r := range t.Releases(now) {
		v.Rules = append(v.Rules, RuleView{Release: r, Standing: standingOf(r, now)})
	}
	if c, ok := h.changes().Change(v.Pack); ok && c.First != nil {
		since := c.Since().UTC()
		v.Since = &since
	}
	return v, t, h.usage(ctx, &v)
}

func standingOf(r policy.Release, now time.Time) string {
	switch {
	case r.Ends == nil || !r.Ends.Before(now.Add(endsSoon)):
		return "in force"
	case r.Ends.After(now):
		return "ends soon"
	}
	return "ended"
}

// unnamed is a field that no contract names, whatever its contract.
const unnamed = "'any other field'"

func (v *TransitView) explain(t *policy.Transit, now time.Time) error {
	one := func(field string) (FieldView, error) {
		x, err := t.Explain(field, now)
		if err != nil {
			return FieldView{}, fmt.Errorf("hub: %w", err)
		}
		f := FieldView{Field: field, Verdict: x.Verdict, Otherwise: x.Otherwise, Because: t.Because(x.Verdict.Rule)}
		for _, l := range x.Labels {
			f.Labels = append(f.Labels, l.Label)
			for _, by := range l.SaidBy {
				if !slices.Contains(f.SaidBy, by) {
					f.SaidBy = append(f.SaidBy, by)
				}
			}
		}
		return f, nil
	}
	for _, field := range t.Fields() {
		f, err := one(field)
		if err != nil {
			return err
		}
		v.Fields = append(v.Fields, f)
	}
	if t.Format != nil {
		rest, err := one(unnamed)
		if err != nil {
			return err
		}
		v.Rest = &rest.Verdict
	}
	return nil
}

// usage adds what the trail knows of the transit under this pack. A trail that knows
// nothing yet leaves it out.
//
// promise: P05
func (h *Hub) usage(ctx context.Context, v *TransitView) error {
	if h.trail == nil {
		return nil
	}
	q := trail.Query{Pack: v.Pack, Transit: v.Transit, Decision: isogate.Released.String()}
	all, err := h.trail.Count(ctx, q)
	if errors.Is(err, trail.ErrBehind) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("hub: %w", err)
	}
	v.Used = &all.Released
	if !all.Last.IsZero() {
		v.Last = &all.Last
	}
	rules, err := h.trail.Tally(ctx, q, trail.ByRule)
	if err != nil {
		return fmt.Errorf("hub: %w", err)
	}
	used := map[string]trail.Count{}
	for _, g := range rules {
		used[g.Key[0]] = g.Count
	}
	for i := range v.Rules {
		r := &v.Rules[i]
		if v.Mode == policy.Tunnel.String() {
			r.Values, r.Last = v.Used, v.Last
			r.Unused = *v.Used == 0
			continue
		}
		c := used[r.Rule]
		n := values(c)
		r.Values, r.Unused = &n, n == 0 && r.Plain
		if !c.Last.IsZero() {
			r.Last = &c.Last
		}
	}
	q.Label = isogate.LabelPattern(isogate.Unclassified)
	paths, err := h.trail.Tally(ctx, q, trail.ByPath)
	if err != nil {
		return fmt.Errorf("hub: %w", err)
	}
	for _, g := range paths {
		v.Unlabelled = append(v.Unlabelled, SeenField{Path: g.Key[0], Values: values(g.Count), Last: g.Last})
	}
	slices.SortFunc(v.Unlabelled, func(a, b SeenField) int { return int(b.Values) - int(a.Values) }) //nolint:gosec // counts
	return nil
}

// values is how many values a count is of.
func values(c trail.Count) (n uint64) {
	for _, v := range c.Values {
		n += v
	}
	return n
}
