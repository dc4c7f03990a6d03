package policy

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/payload"
)

// scene is one situation in which two versions of a transit are compared: an
// instant, and the guards that hold.
type scene struct {
	at      time.Time
	was, is moment
	when    []string // the texts of the guards that hold
	all     bool     // every guard holds
}

// maxScenes bounds how many situations two versions of a transit are compared in.
const maxScenes = 4096

// scenes are all situations that either version tells apart from an instant on: the first
// is that instant with every guard holding. Where they are too many, they are those with every
// guard holding alone, and whole is false.
func scenes(was, is *Transit, at time.Time) (out []scene, whole bool) {
	instants := []time.Time{at}
	for _, end := range slices.Concat(was.ends, is.ends) {
		if end.After(at) {
			instants = append(instants, end)
		}
	}
	slices.SortFunc(instants, time.Time.Compare)
	instants = slices.CompactFunc(instants, time.Time.Equal)
	var texts []string
	for _, g := range slices.Concat(was.guards, is.guards) {
		if !slices.Contains(texts, g.text) {
			texts = append(texts, g.text)
		}
	}
	combinations := 1 << len(texts)
	if whole = len(instants)*combinations <= maxScenes; !whole {
		combinations = 1
	}
	for _, instant := range instants {
		for not := range combinations {
			s := scene{at: instant, all: not == 0}
			for i, text := range texts {
				if not&(1<<i) == 0 {
					s.when = append(s.when, text)
				}
			}
			s.was, s.is = was.given(instant, s.when), is.given(instant, s.when)
			out = append(out, s)
		}
	}
	return out, whole
}

// given is the moment at which exactly the guards with these texts hold.
func (t *Transit) given(at time.Time, texts []string) moment {
	m := moment{time: at}
	for i, g := range t.guards {
		if slices.Contains(texts, g.text) {
			m.guards |= 1 << i
		}
	}
	return m
}

// spot is one place of a request as two versions of a transit see it.
type spot struct {
	field   string
	was, is []isogate.Label
	kind    string // "" for every type of value
	mixed   [2]bool
	why     string // it may count as looser whatever the verdicts say: whyUnread or whyRead
	name    bool   // it is about names of members
	spelled bool   // the contract spells it now: it leaves
	// removed says that what nobody names is removed there.
	removed bool
}

// comparison is what two versions of a transit do to fields.
type comparison struct {
	was, is *Transit
	scenes  []scene
	known   []map[string][2]isogate.Verdict // by scene, and by labels
	out     []FieldChange
	done    map[string]bool
	work    int // how often a place was judged in a situation
}

// maxWork bounds that: packs that are proposed must not keep a machine busy.
const maxWork = 4 << 20

var errManyCases = errors.New("the two versions have too many fields, guards and end dates between them to be compared")

// compareFields is every field that is treated otherwise. What cannot be compared it
// notes among the ways.
func compareFields(was, is *Transit, at time.Time, ways *[]Change) []FieldChange {
	if was.Mode == Tunnel || is.Mode == Tunnel {
		return compareTunnels(was, is, at)
	}
	c := &comparison{was: was, is: is, done: map[string]bool{}}
	var whole bool
	if c.scenes, whole = scenes(was, is, at); !whole {
		*ways = append(*ways, Change{What: "guards", Looser: true, Why: "the two versions have too many guards and end dates between them to be compared"})
	}
	c.known = make([]map[string][2]isogate.Verdict, len(c.scenes))
	switch {
	case was.contract != nil && is.contract != nil && was.contract.tree != is.contract.tree:
		err := payload.Pairs(was.contract.tree, is.contract.tree, func(p payload.Pair) error {
			if c.work > maxWork {
				return errManyCases
			}
			c.pair(&p)
			return nil
		})
		if err != nil {
			*ways = append(*ways, Change{What: "contract", Before: was.contract.name, After: is.contract.name, Looser: true, Why: err.Error()})
		}
	case is.contract != nil && was.contract == nil:
		for _, p := range is.contract.tree.Places() {
			c.spot(spot{field: p.Path, was: []isogate.Label{isogate.Opaque}, is: p.Labels})
		}
	case is.contract == nil && was.contract != nil:
		for _, p := range was.contract.tree.Places() {
			c.spot(spot{field: p.Path, was: p.Labels, is: []isogate.Label{isogate.Opaque}})
		}
	}
	for which := range partNames {
		a, b := was.parts[which].labels, is.parts[which].labels
		names := slices.Sorted(maps.Keys(a))
		names = append(names, slices.Sorted(maps.Keys(b))...)
		slices.Sort(names)
		if which < partHeaders { // what nobody names leaves here too, by what is done with the unclassified
			c.spot(spot{field: payloadParts[which] + ":*", was: named(nil, "*"), is: named(nil, "*")})
		}
		for _, name := range slices.Compact(names) {
			c.spot(spot{field: payloadParts[which] + ":" + name, was: named(a, name), is: named(b, name), removed: which >= partHeaders})
		}
	}
	slices.SortStableFunc(c.out, func(a, b FieldChange) int { return cmp.Compare(a.Field, b.Field) })
	return c.out
}

func named(labels map[string]isogate.Label, name string) []isogate.Label {
	if l, ok := labels[name]; ok {
		return []isogate.Label{l}
	}
	return []isogate.Label{isogate.Unclassified}
}

// Why a place counts as looser whose verdict does not say so.
const (
	whyUnread = "the text inside is not read any more, so that one which cannot be read is not refused"
	whyRead   = "the text inside is read now, so that its form shows"
)

// pair compares one place of the body, for each type of value that the two versions
// tell apart.
func (c *comparison) pair(p *payload.Pair) {
	s := spot{field: p.Path, was: p.Before.Labels, is: p.After.Labels}
	if p.Name {
		s.field, s.name, s.spelled = s.field+" (names)", true, p.Spelled
		if p.Spelled {
			s.field, s.is = p.Path+" (its name)", s.was
		}
		c.spot(s)
		return
	}
	if p.Before.Parse != p.After.Parse {
		s.why = whyUnread
		if p.After.Parse {
			s.why = whyRead
		}
	}
	// Types that both versions take alike, or neither does, are one spot.
	groups := map[[2]bool][]string{}
	for _, k := range []isogate.Kind{isogate.Null, isogate.Bool, isogate.Number, isogate.String} {
		mixed := [2]bool{!p.Before.Takes(k), !p.After.Takes(k)}
		groups[mixed] = append(groups[mixed], k.String())
	}
	for _, mixed := range [][2]bool{{false, false}, {true, true}, {true, false}, {false, true}} {
		one := s
		one.mixed = mixed
		if mixed != [2]bool{} {
			one.kind = strings.Join(groups[mixed], " or ")
		}
		if groups[mixed] != nil {
			c.spot(one)
		}
	}
}

// verdicts are those of a spot in a scene.
func (c *comparison) verdicts(i int, s *spot) (was, is isogate.Verdict) {
	var key strings.Builder
	for side, labels := range [2][]isogate.Label{s.was, s.is} {
		for _, l := range labels {
			key.WriteString(string(l))
			key.WriteByte(' ')
		}
		if s.mixed[side] {
			key.WriteByte('!')
		}
		key.WriteByte('\n')
	}
	if s.removed {
		key.WriteByte('-')
	}
	if v, ok := c.known[i][key.String()]; ok {
		return v[0], v[1]
	}
	if c.known[i] == nil {
		c.known[i] = map[string][2]isogate.Verdict{}
	}
	sc := &c.scenes[i]
	was, is = c.was.verdictOn(s.was, s.mixed[0], s.removed, sc.was), c.is.verdictOn(s.is, s.mixed[1], s.removed, sc.is)
	c.known[i][key.String()] = [2]isogate.Verdict{was, is}
	return was, is
}

// verdictOn is the transit's verdict on a value with some labels at a moment; mixed, the
// stricter of that and of unclassified, as a walker judges a value of a type that
// its place does not take.
func (t *Transit) verdictOn(labels []isogate.Label, mixed, removed bool, m moment) isogate.Verdict {
	field := ""
	if removed {
		field = payloadParts[partHeaders] + ":"
	}
	verdicts := make([]isogate.Verdict, len(labels))
	for i, l := range labels {
		verdicts[i] = judge(t.treatment(field, l), t.rules, m)
	}
	v := t.settle(verdicts)
	if mixed {
		v = v.Strictest(t.settle([]isogate.Verdict{judge(t.treatment("", isogate.Unclassified), t.rules, m)}))
	}
	return v
}

// spot compares one place in every scene. It notes the first difference of the one with every
// guard holding, each later one, and what is looser otherwise.
func (c *comparison) spot(s spot) {
	key := s.field + "\n" + s.kind + "\n" + s.why
	for side, labels := range [2][]isogate.Label{s.was, s.is} {
		for _, l := range labels {
			key += "\n" + string(l)
		}
		if s.mixed[side] {
			key += "!"
		}
		key += "|"
	}
	if c.done[key] {
		return
	}
	c.done[key] = true
	c.work += len(c.scenes)
	var told [][2]Answer
	for i := range c.scenes {
		sc := &c.scenes[i]
		v, w := c.verdicts(i, &s)
		if s.name {
			v, w = ofName(v), ofName(w)
		}
		if s.spelled {
			if v.Action > isogate.Drop {
				continue // a name that the contract spells is no text of the body's
			}
			w = isogate.Verdict{Action: isogate.Allow, Label: v.Label}
		}
		f := FieldChange{Field: s.field, Before: c.was.answer(v), After: c.is.answer(w), Looser: looser(v, w), Kind: s.kind}
		switch {
		case f.Looser:
		case s.why == whyUnread && w.Action > isogate.Refuse, s.why == whyRead && v.Action < isogate.Allow:
			f.Looser, f.Why = true, s.why
		default:
			f.Why = c.consented(&s, v, w)
			f.Looser = f.Why != ""
		}
		pair := [2]Answer{f.Before.plain(), f.After.plain()}
		if pair[0] == pair[1] && !f.Looser || slices.Contains(told, pair) || !sc.all && !f.Looser {
			continue
		}
		told = append(told, pair)
		if !sc.at.Equal(c.scenes[0].at) {
			f.From = &sc.at
		}
		if !sc.all {
			f.When = sc.when
			if f.When == nil {
				f.When = []string{}
			}
		}
		c.out = append(c.out, f)
	}
}

// ofName is what a verdict means for the name of a member: it leaves, goes with its
// value, or is replaced by a pseudonym, and one of these tells no more than another.
func ofName(v isogate.Verdict) isogate.Verdict {
	if v.Action > isogate.Drop && v.Action < isogate.Allow {
		return isogate.Verdict{Action: isogate.Token, Label: v.Label, Rule: v.Rule}
	}
	return v
}

// plain is the answer without what is not an effect: where its rule is written.
func (a Answer) plain() Answer {
	a.Rule = ""
	if a.Action <= isogate.Token {
		a.Label, a.Handling, a.TTL = "", "", ""
	}
	return a
}

// consented says why a consent that was given for a part lets out more by the new
// verdict than by the old one, though one for everything does not; "" when it does
// not. Such a consent withholds by label, or what may be kept, and falls back to
// the labels' defaults (see [Limit]).
func (c *comparison) consented(s *spot, was, is isogate.Verdict) string {
	if c.is.Consent != AdminConsent || is.Action <= isogate.Token {
		return ""
	}
	unkept := bound(was) && was.Handling != isogate.TransitOnly && is.Handling == isogate.TransitOnly
	for _, l := range s.was {
		if l.Reserved() {
			continue
		}
		base := c.was.taxonomy.Treatment(l)
		if is.Action <= base.Action {
			continue
		}
		if unkept {
			return "a consent to nothing that is kept does not withhold it any more"
		}
		if !slices.Contains(s.is, l) || looser(base, c.is.taxonomy.Treatment(l)) || !c.is.taxonomy.EndUser(l) && c.was.taxonomy.EndUser(l) {
			return "a consent that withholds " + string(l) + " does not withhold it any more"
		}
	}
	return ""
}

// looser reports whether a verdict lets out more than another did, or to be kept for
// longer, or with less to enforce that.
func looser(was, is isogate.Verdict) bool {
	if was.Action != is.Action {
		return is.Action > was.Action
	}
	if !plaintext(is.Action) {
		return false // tokens differ in looks only, and nothing of a value is kept
	}
	a, b := isogate.Verdict{Action: was.Action, Form: was.Form}, isogate.Verdict{Action: is.Action, Form: is.Form}
	if was.Form != is.Form && a.Strictest(b).Form != is.Form {
		return true
	}
	keptWas, wordWas := keeping(was)
	keptIs, wordIs := keeping(is)
	return keptIs > keptWas || is.TTL > was.TTL && keptIs == keptWas || wordIs && !wordWas
}

// keeping ranks how long what leaves may be kept, and reports whether nothing but the
// far side's word sees to that.
func keeping(v isogate.Verdict) (rank int, word bool) {
	if !bound(v) {
		return int(isogate.Persisted) + 1, true // nothing is asked
	}
	return int(v.Handling), !v.Sealed && !v.Register
}

// compareTunnels compares what passes unread, of two versions of which one at least is a tunnel.
func compareTunnels(was, is *Transit, at time.Time) (out []FieldChange) {
	instants := []time.Time{at}
	for _, t := range []*Transit{was, is} {
		if end := t.TunnelEnds(); end.After(at) {
			instants = append(instants, end)
		}
	}
	slices.SortFunc(instants, time.Time.Compare)
	for _, instant := range instants {
		before, after := was.everythingAt(instant), is.everythingAt(instant)
		if before == after || len(out) > 0 && out[len(out)-1].Before == before && out[len(out)-1].After == after {
			continue
		}
		f := FieldChange{Field: everything, Before: before, After: after, Looser: after.Action > before.Action}
		if !instant.Equal(at) {
			f.From = &instant
		}
		out = append(out, f)
	}
	return out
}

// everythingAt is what becomes of a byte that nobody has judged.
func (t *Transit) everythingAt(at time.Time) Answer {
	if t.Mode == Tunnel {
		return answerOf(t.tunnelVerdict(at)).plain()
	}
	return answerOf(isogate.Verdict{Label: isogate.Opaque}).plain()
}

// released is what a transit that only one plan has lets out that can be read outside.
func released(t *Transit, at time.Time, added bool) (out []FieldChange) {
	if t.Mode == Tunnel {
		a := t.everythingAt(at)
		f := FieldChange{Field: everything, Before: a}
		if added {
			f = FieldChange{Field: everything, After: a, Looser: true}
		}
		return append(out, f)
	}
	rules := t.resolve(t.moment(t.stretch(at), ^uint32(0)))
	for _, field := range t.Fields() {
		v, err := t.verdict(field, rules)
		if err != nil || v.Action <= isogate.Token {
			continue
		}
		f := FieldChange{Field: field, Before: t.answer(v)}
		if added {
			f = FieldChange{Field: field, After: t.answer(v), Looser: true}
		}
		out = append(out, f)
	}
	return out
}
