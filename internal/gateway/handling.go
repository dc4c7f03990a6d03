package gateway

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/isogate/isogate"
)

// handlingValue is the value of Isogate-Handling: an RFC 9651 list with one member for
// each handling that the far side must keep, and the places of the body it is
// for:
//
//	persisted;fields="user.email", temporary;ttl=300;fields="login.email"
//
// Only what left in some readable form and by a rule is named. It is "" when
// there is nothing to keep.
func handlingValue(fields []isogate.Field) string {
	type demand struct{ handling, ttl string }
	var order []demand
	paths := map[demand][]string{}
	for _, f := range fields {
		if f.Rule == "" || f.Action < isogate.Mask {
			continue
		}
		d := demand{f.Handling, f.TTL}
		if _, ok := paths[d]; !ok {
			order = append(order, d)
		}
		if !slices.Contains(paths[d], f.Path) {
			paths[d] = append(paths[d], f.Path)
		}
	}
	slices.SortFunc(order, func(a, b demand) int { return strings.Compare(a.handling+a.ttl, b.handling+b.ttl) })
	var b strings.Builder
	for i, d := range order {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(d.handling)
		if ttl, err := time.ParseDuration(d.ttl); err == nil && ttl > 0 {
			b.WriteString(";ttl=" + strconv.Itoa(int(ttl/time.Second)))
		}
		slices.Sort(paths[d])
		b.WriteString(`;fields="`)
		b.WriteString(escapeSF(strings.Join(paths[d], " ")))
		b.WriteByte('"')
	}
	return b.String()
}

// escapeSF escapes the text of an RFC 9651 string, which is printable ASCII.
func escapeSF(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r > '~':
			b.WriteByte('?')
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
