package policy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/isogate/isogate"
)

// object is a mapping whose keys are known beforehand.
type object struct {
	found *findings
	at    position
	pairs []pair
}

// object opens a mapping and notes every key that is not one of keys.
func (f *findings) object(n *node, what string, keys ...string) (object, bool) {
	if n == nil {
		return object{}, false
	}
	if n.shape != mapping {
		f.add(n.at, "%s is %s; write a mapping with the keys %s", what, n.shape, strings.Join(keys, ", "))
		return object{}, false
	}
	for _, p := range n.pairs {
		if !slices.Contains(keys, p.key.text) {
			f.add(p.key.at, "%s has no key %q; %s", what, p.key.text, didYouMean(p.key.text, keys))
		}
	}
	return object{found: f, at: n.at, pairs: n.pairs}, true
}

// get is the value of a key, or nil. A key without a value is noted.
func (o object) get(key string) *node {
	for _, p := range o.pairs {
		if p.key.text != key {
			continue
		}
		if p.value.shape == empty {
			o.found.add(p.key.at, "%s has no value; write one, or remove the key", key)
			return nil
		}
		return p.value
	}
	return nil
}

// place is where the value of a key stands; the object's own place without one.
func (o object) place(key string) position {
	for _, p := range o.pairs {
		if p.key.text == key {
			if p.value.shape == empty {
				return p.key.at
			}
			return p.value.at
		}
	}
	return o.at
}

// has reports whether the key is written at all.
func (o object) has(key string) bool {
	return slices.ContainsFunc(o.pairs, func(p pair) bool { return p.key.text == key })
}

// need is get for a key that must be there; hint says what to write.
func (o object) need(key, hint string) *node {
	if !o.has(key) {
		o.found.add(o.at, "%s is missing; %s", key, hint)
		return nil
	}
	return o.get(key)
}

// text is the text of a single value. A nil node, already noted, is not.
func (f *findings) text(n *node, what string) (string, bool) {
	if n == nil {
		return "", false
	}
	if n.shape != scalar || n.text == "" {
		f.add(n.at, "%s is %s; write a single value", what, n.kind())
		return "", false
	}
	return n.text, true
}

// items are those of a list that has at least one.
func (f *findings) items(n *node, what string) []*node {
	switch {
	case n == nil:
		return nil
	case n.shape != list:
		f.add(n.at, "%s is %s; write a list: [a, b]", what, n.shape)
		return nil
	case len(n.items) == 0:
		f.add(n.at, "%s is an empty list; list at least one, or remove the key", what)
	}
	return n.items
}

// name is a name as isogate.CheckName wants it.
func (f *findings) name(n *node, what string, slash bool) (string, bool) {
	s, ok := f.text(n, what)
	if !ok {
		return "", false
	}
	if err := isogate.CheckName(s, slash); err != nil {
		f.add(n.at, "%s: %s", what, withHint(err.Error(), "use a shorter one"))
		return "", false
	}
	return s, true
}

// boolean is true or false; absent is false.
func (f *findings) boolean(n *node, what string) bool {
	s, ok := f.text(n, what)
	if !ok {
		return false
	}
	if n.quoted || s != "true" && s != "false" {
		f.add(n.at, "%s is %q; write true or false", what, s)
	}
	return s == "true"
}

// integer is a whole number from 1.
func (f *findings) integer(n *node, what string) int {
	s, ok := f.text(n, what)
	if !ok {
		return 0
	}
	i, err := strconv.Atoi(s)
	if err != nil || i < 1 || n.quoted || s[0] == '+' || s[0] == '0' {
		f.add(n.at, "%s is %q; write a whole number from 1", what, s)
		return 0
	}
	return i
}

// size is a number of bytes: 512, 64KiB, 4MiB.
func (f *findings) size(n *node, what string, most int64) int64 {
	s, ok := f.text(n, what)
	if !ok {
		return 0
	}
	num, unit := s, int64(1)
	for suffix, u := range map[string]int64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30} {
		if rest, ok := strings.CutSuffix(s, suffix); ok {
			num, unit = rest, u
		}
	}
	i, err := strconv.ParseInt(num, 10, 64)
	if err != nil || i < 1 || i > most/unit {
		limit := fmt.Sprintf("%d MiB", most>>20)
		if most > 1<<30 {
			limit = fmt.Sprintf("%d GiB", most>>30)
		}
		f.add(n.at, "%s is %q; write a size of up to %s, such as 64KiB or 4MiB", what, s, limit)
		return 0
	}
	return i * unit
}

// span is a length of time from 1s to most.
func (f *findings) span(n *node, what string, most time.Duration) time.Duration {
	s, ok := f.text(n, what)
	if !ok {
		return 0
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < time.Second || d > most {
		f.add(n.at, "%s is %q; write a length of time from 1s to %s, such as 5m", what, s, most)
		return 0
	}
	return d
}

// day is a date; what it gives is the first instant after that day, in UTC.
func (f *findings) day(n *node, what string) time.Time {
	s, ok := f.text(n, what)
	if !ok {
		return time.Time{}
	}
	d, err := time.Parse(time.DateOnly, s)
	if err != nil || d.Year() < 2000 || d.Year() > 2200 {
		f.add(n.at, "%s is %q, which is not a date; write it as 2027-06-30", what, s)
		return time.Time{}
	}
	return d.AddDate(0, 0, 1)
}
