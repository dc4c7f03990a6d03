package gateway

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/policy"
)

// demand is one handling that the far side must keep, and for which places.
type demand struct {
	handling string
	ttl      time.Duration
	paths    []string
}

// maxHandling is the longest value of Isogate-Handling; many receivers take no
// more than 8 KiB of header in all.
const maxHandling = 4 << 10

// handlingValue is the value of Isogate-Handling: an RFC 9651 list with one member for
// each handling that the far side must keep, and the places it is for:
//
//	persisted;fields="user.email", temporary;ttl=300;fields="login.email"
//
// Only what left in some readable form and by a rule is named; where that would
// make the value too long, the places are left out and the demand is for all of
// the request. It is "" when there is nothing to keep.
func handlingValue(fields []isogate.Field) string {
	var demands []demand
	for _, f := range fields {
		if f.Rule == "" || f.Action < isogate.Mask {
			continue
		}
		var ttl time.Duration
		if f.TTL != "" {
			ttl, _ = time.ParseDuration(f.TTL) // FieldOf wrote it
		}
		i := slices.IndexFunc(demands, func(d demand) bool { return d.handling == f.Handling && d.ttl == ttl })
		if i < 0 {
			i = len(demands)
			demands = append(demands, demand{handling: f.Handling, ttl: ttl})
		}
		if !slices.Contains(demands[i].paths, f.Path) {
			demands[i].paths = append(demands[i].paths, f.Path)
		}
	}
	slices.SortFunc(demands, func(a, b demand) int {
		return cmp.Or(strings.Compare(a.handling, b.handling), cmp.Compare(a.ttl, b.ttl))
	})
	if value := listDemands(demands, true); len(value) <= maxHandling {
		return value
	}
	return listDemands(demands, false)
}

// declared remembers what Isogate-Handling was for some fields. One passage serves
// few transits in turn, and the requests of a transit mostly have the same fields.
type declared struct {
	fields []isogate.Field
	value  string
}

// maxDeclared bounds what a passage remembers.
const maxDeclared = 8

// handling is handlingValue, remembered by the transit's table of verdicts.
func (p *passage) handling(fields []isogate.Field) string {
	d, ok := p.declared[p.verdicts]
	if ok && slices.EqualFunc(d.fields, fields, alike) {
		return d.value
	}
	if len(p.declared) >= maxDeclared {
		clear(p.declared)
	}
	if p.declared == nil {
		p.declared = map[*policy.Rules]declared{}
	}
	d = declared{fields: slices.Clone(fields), value: handlingValue(fields)}
	p.declared[p.verdicts] = d
	return d.value
}

// alike reports whether two fields differ in their count at the most.
func alike(a, b isogate.Field) bool {
	a.N = b.N
	return a == b
}

func listDemands(demands []demand, places bool) string {
	var b strings.Builder
	for i, d := range demands {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(d.handling)
		if d.ttl > 0 {
			b.WriteString(";ttl=" + strconv.Itoa(int(d.ttl/time.Second)))
		}
		if places {
			slices.Sort(d.paths)
			b.WriteString(`;fields="` + escapeSF(strings.Join(d.paths, " ")) + `"`)
		}
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
