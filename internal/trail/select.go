package trail

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/journal"
)

// selection is a query, worked out for the shapes of a view.
type selection struct {
	q             Query
	v             *view
	since, before int64 // milliseconds, from and up to
	text          string
	host          uint64
	own           uint64 // seq of the consent's own entry; MaxUint64 if there is none
	matches       []*match
	fields        []answer // by number
	texts         []answer
}

// match is what a query says of a shape.
type match struct {
	no       bool   // of no row
	rows     bool   // that the rows must be looked at
	host     bool   // and their hosts
	place    bool   // where those differ, that the trail cannot tell, for it has lost the destination too
	wide     bool   // and their fields
	text     bool   // and the fields' names, for the rest has not what is looked for
	dark     bool   // where those have it neither, that the trail cannot tell
	unlisted bool   // that the trail cannot tell, of no row
	fields   []bool // by place: which fields are selected; nil is all
}

// answer is a yes or no that was asked for already.
type answer uint8

const (
	notAsked answer = iota
	yes
	no
)

func answered(b bool) answer {
	if b {
		return yes
	}
	return no
}

// choose works a query out.
func (t *Trail) choose(ctx context.Context, q Query, v *view) (*selection, error) {
	s := &selection{q: q, v: v, since: math.MinInt64, before: math.MaxInt64, text: strings.ToLower(q.Text), own: math.MaxUint64,
		matches: make([]*match, len(v.shapes)), fields: make([]answer, len(v.fields)), texts: make([]answer, len(v.fields))}
	if !q.Since.IsZero() {
		s.since = q.Since.UnixMilli()
	}
	if !q.Before.IsZero() {
		s.before = q.Before.UnixMilli()
	}
	if q.Destination != "" {
		s.host = hostHash(string(q.Destination))
	}
	if q.Consent != "" {
		seq, body, err := t.cfg.Journal.Find(ctx, q.Consent)
		switch {
		case errors.Is(err, journal.ErrNotFound):
		case err != nil:
			return nil, err
		default:
			if e, err := journal.Decode(body); err == nil && e.Kind == isogate.KindConsent {
				s.own = seq
			}
		}
	}
	return s, nil
}

// asksFields reports whether the query selects fields.
func (q *Query) asksFields() bool {
	return q.Label != "" || q.Path != "" || len(q.Actions) > 0 || q.Handling != "" || q.Rule != ""
}

// field reports whether the query selects a field.
func (q *Query) field(f *field) bool {
	if q.Label != "" && !q.Label.Match(f.label) && (string(q.Label) != string(f.label) || !f.label.Reserved()) {
		return false
	}
	if len(q.Actions) > 0 {
		found := false
		for _, a := range q.Actions {
			found = found || a == f.action
		}
		if !found {
			return false
		}
	}
	return (q.Path == "" || q.Path == f.path) && (q.Handling == "" || q.Handling == f.handling) && (q.Rule == "" || q.Rule == f.rule)
}

func (s *selection) field(no uint32) bool {
	if s.fields[no] == notAsked {
		s.fields[no] = answered(s.q.field(&s.v.fields[no]))
	}
	return s.fields[no] == yes
}

// names reports whether one of a field's names has the text.
func (s *selection) names(no uint32) bool {
	if s.texts[no] == notAsked {
		f := &s.v.fields[no]
		s.texts[no] = answered(contains(f.path, s.text) || contains(string(f.label), s.text) || contains(f.rule, s.text))
	}
	return s.texts[no] == yes
}

func contains(s, lower string) bool { return strings.Contains(strings.ToLower(s), lower) }

// of is what the query says of a shape.
func (s *selection) of(no uint32) *match {
	if m := s.matches[no]; m != nil {
		return m
	}
	m := s.judge(s.v.shapes[no])
	m.rows = m.host || m.wide || m.text
	s.matches[no] = m
	return m
}

func (s *selection) judge(sh *shape) *match {
	m, q := &match{}, &s.q
	exact := func(d dim, want string) bool {
		if want == "" || sh.at[d] == want {
			return true
		}
		m.unlisted = m.unlisted || sh.loses(d)
		return sh.loses(d)
	}
	app := ""
	if q.App != "" {
		app = appPrefix + q.App
	}
	if !exact(dKind, string(q.Kind)) || !exact(dSource, string(q.Source)) || !exact(dSource, app) || !exact(dPurpose, q.Purpose) ||
		!exact(dTransit, string(q.Transit)) || !exact(dDecision, q.Decision) || !exact(dPack, q.Pack) {
		return &match{no: true}
	}
	if d := string(q.Destination); d != "" && sh.at[dDestination] != d && sh.at[dRemote] != d {
		switch {
		case sh.loses(dRemote):
			m.host, m.place = true, sh.loses(dDestination)
		case sh.loses(dDestination):
			m.unlisted = true
		default:
			return &match{no: true}
		}
	}
	if len(q.Acts) > 0 && !slices.Contains(q.Acts, sh.at[dAct]) {
		if !sh.loses(dAct) {
			return &match{no: true}
		}
		m.unlisted = true
	}
	if q.Open && !sh.release() {
		return &match{no: true}
	}
	if q.asksFields() {
		if sh.wide {
			m.wide = true
		} else {
			m.fields = make([]bool, len(sh.fields))
			some := false
			for i, f := range sh.fields {
				m.fields[i] = s.field(f)
				some = some || m.fields[i]
			}
			if !some {
				return &match{no: true}
			}
		}
	}
	if s.text != "" && !s.inNames(sh) {
		lost := false
		for _, d := range named {
			lost = lost || sh.loses(d)
		}
		switch {
		case sh.wide:
			m.text, m.dark = true, lost
		case lost:
			m.unlisted = true
		default:
			return &match{no: true}
		}
	}
	return m
}

const appPrefix = "app/"

// inNames reports whether the text is in a name that all rows of a shape have.
func (s *selection) inNames(sh *shape) bool {
	for _, d := range named {
		if !sh.loses(d) && contains(sh.at[d], s.text) {
			return true
		}
	}
	for _, f := range sh.fields {
		if s.names(f) {
			return true
		}
	}
	return false
}

// whole reports whether no row of a line needs to be looked at: it has all of it, or
// none.
func (s *selection) whole(w *written, m *match) (all, sure bool) {
	l := &w.line
	switch {
	case m.no:
		return false, true
	case m.rows:
		return false, false
	}
	if s.q.Consent != "" {
		if l.various {
			return false, !w.isRare(string(s.q.Consent))
		}
		if string(w.consent) != string(s.q.Consent) {
			return false, true
		}
	}
	if s.q.Open && l.open != l.n {
		return false, l.open == 0
	}
	return true, true
}

// row reports whether a row is selected, or might be.
func (s *selection) row(r *row) (selected, unlisted bool) {
	m := s.of(r.shape)
	if m.no || r.ms < s.since || r.ms >= s.before {
		return false, false
	}
	if c := string(s.q.Consent); c != "" && r.consent != c && r.seq != s.own {
		return false, false
	}
	sh := s.v.shapes[r.shape]
	if s.q.Open && !r.open(sh) {
		return false, false
	}
	unlisted = m.unlisted
	if m.host && (r.more == nil || r.more.host != s.host) {
		if !m.place {
			return false, false
		}
		unlisted = true
	}
	if m.wide || m.text {
		fields, named := false, false
		if r.more != nil {
			for _, f := range r.more.wide {
				fields = fields || s.field(f)
				named = named || m.text && s.names(f)
			}
		}
		if m.wide && !fields || m.text && !named && !m.dark {
			return false, false
		}
		unlisted = unlisted || m.text && !named
	}
	return !unlisted, unlisted
}
