package access

import (
	"strings"
	"testing"
)

// ATTACK: two names are given one token or one account, so that one person could be
// two administrators. THIS TEST VERIFIES that such a list is refused, and others that
// would let a stranger in.
func TestAttackAdministrators(t *testing.T) {
	sum := func(s string) string { return string(DigestOf(s)) }
	good := Configured{Name: "ada", TokenSHA256: sum("a"), Subject: "1"}
	for _, list := range [][]Configured{
		{good, {Name: "bob", TokenSHA256: sum("a")}}, {good, {Name: "ada", TokenSHA256: sum("b")}}, {good, {Name: "bob", Subject: "1"}}, {{Name: "ada", TokenSHA256: sum("")}},
		{{Name: "ada"}}, {{TokenSHA256: sum("a")}}, {{Name: "ada", TokenSHA256: strings.ToUpper(sum("a"))}}, {{Name: "ada\x1b", TokenSHA256: sum("a")}},
		{{Name: "ada", TokenSHA256: sum("a")[:62]}}, {{Name: "ada", TokenSHA256: sum("a"), Roles: []Role{"root"}}}, {{Name: "Ada", TokenSHA256: sum("a")}}, {{Name: "\u0430da", TokenSHA256: sum("a")}},
	} {
		if _, err := New(Config{Journal: newMemory(), Logger: discard, People: list}); err == nil {
			t.Errorf("%+v was taken", list)
		}
	}
	d, err := New(Config{Journal: newMemory(), Logger: discard, People: []Configured{good}})
	if err != nil {
		t.Fatal(err)
	}
	if v, err := d.Bearer(""); err == nil {
		t.Errorf("nobody is %+v", v)
	}
}
