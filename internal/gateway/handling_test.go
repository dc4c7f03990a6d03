package gateway

import (
	"fmt"
	"strings"
	"testing"

	"github.com/isogate/isogate"
)

// promise: P16 P17 P18
func TestHandlingValue(t *testing.T) {
	field := func(path string, a isogate.Action, handling, ttl, rule string) isogate.Field {
		return isogate.Field{Path: path, Action: a, Handling: handling, TTL: ttl, Rule: rule}
	}
	many := make([]isogate.Field, 2000)
	for i := range many {
		many[i] = field(fmt.Sprintf("items.f%d", i), isogate.Allow, "transit-only", "", "t.yaml:1")
	}
	for name, tc := range map[string]struct {
		fields []isogate.Field
		want   string
	}{
		"nothing":                   {nil, ""},
		"by default treatment only": {[]isogate.Field{field("a", isogate.Allow, "", "", "")}, ""},
		"hidden by a rule":          {[]isogate.Field{field("a", isogate.Token, "persisted", "", "t.yaml:1")}, ""},
		"all three": {[]isogate.Field{
			field("c", isogate.Allow, "transit-only", "", "t.yaml:1"),
			field("b", isogate.Mask, "temporary", "5m0s", "t.yaml:2"),
			field("z", isogate.Allow, "persisted", "", "t.yaml:3"),
			field("a", isogate.Allow, "persisted", "", "t.yaml:3"),
			field("a", isogate.Allow, "persisted", "", "t.yaml:3"),
		}, `persisted;fields="a z", temporary;ttl=300;fields="b", transit-only;fields="c"`},
		"two lifetimes": {[]isogate.Field{
			field("a", isogate.Allow, "temporary", "10m0s", "t.yaml:1"),
			field("b", isogate.Allow, "temporary", "30s", "t.yaml:2"),
		}, `temporary;ttl=30;fields="b", temporary;ttl=600;fields="a"`},
		"a name that needs escapes": {[]isogate.Field{field(`a.'q"\`+"\u00e9'", isogate.Allow, "persisted", "", "t.yaml:1")}, `persisted;fields="a.'q\"\\?'"`},
		"too long for receivers":    {many, "transit-only"},
	} {
		if got := handlingValue(tc.fields); got != tc.want {
			t.Errorf("%s: %.200s, want %s", name, got, tc.want)
		}
	}
	if n := strings.Count(handlingValue(many[:50]), "items."); n != 50 {
		t.Errorf("%d of 50 places are named", n)
	}
}
