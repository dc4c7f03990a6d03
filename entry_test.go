package isogate

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestFieldOf(t *testing.T) {
	released := Verdict{Action: Allow, Handling: Temporary, TTL: 5 * time.Minute, Label: "personal.contact.email", Rule: "transits/login.yaml:9"}
	f := FieldOf("user.email", released, Allow, 2)
	if want := (Field{Path: "user.email", Label: "personal.contact.email", Action: Allow, Handling: "temporary", TTL: "5m0s", Rule: "transits/login.yaml:9", N: 2, Declared: true}); f != want {
		t.Errorf("%+v", f)
	}
	// Handling is what a rule asks of the far side; a default treatment asks nothing.
	f = FieldOf("a.b", Verdict{Action: Token, Label: "ugc.title"}, Hash, 1)
	if want := (Field{Path: "a.b", Label: "ugc.title", Action: Hash, N: 1}); f != want {
		t.Errorf("%+v", f)
	}
}

// Each field says what keeps its handling; what cannot be read outside needs no keeping.
func TestFieldOfSaysWhatKeepsTheHandling(t *testing.T) {
	for _, c := range []struct {
		v       Verdict
		applied Action
		want    [3]bool // sealed, registered, declared
	}{
		{Verdict{Action: Seal, Sealed: true, Rule: "r"}, Seal, [3]bool{true, false, false}},
		{Verdict{Action: Seal, Rule: "r"}, Seal, [3]bool{true, false, false}},
		{Verdict{Action: Seal, Sealed: true, Rule: "r"}, Hash, [3]bool{}}, // too long for a seal
		{Verdict{Action: Mask, Sealed: true, Rule: "r"}, Mask, [3]bool{true, false, false}},
		{Verdict{Action: Mask, Sealed: true, Rule: "r"}, Redact, [3]bool{}},
		{Verdict{Action: Mask, Rule: "r"}, Mask, [3]bool{false, false, true}},
		{Verdict{Action: Allow, Handling: Persisted, Register: true, Rule: "r"}, Allow, [3]bool{false, true, false}},
		{Verdict{Action: Mask, Handling: Persisted, Register: true, Rule: "r"}, Mask, [3]bool{false, false, true}},
		{Verdict{Action: Allow, Handling: Persisted, Rule: "r"}, Allow, [3]bool{false, false, true}},
		{Verdict{Action: Generalise, Sealed: true}, Generalise, [3]bool{true, false, false}}, // by a default, and another label's rule asks
		{Verdict{Action: Token, Rule: "r"}, Token, [3]bool{}},
		{Verdict{Action: Allow}, Allow, [3]bool{}},
		{Verdict{}, Refuse, [3]bool{}},
	} {
		f := FieldOf("a", c.v, c.applied, 1)
		if got := [3]bool{f.Sealed, f.Registered, f.Declared}; got != c.want {
			t.Errorf("%+v applied as %s: sealed, registered, declared = %v, want %v", c.v, c.applied, got, c.want)
		}
		if (f.Sealed || f.Registered || f.Declared) && f.Handling == "" {
			t.Errorf("%+v applied as %s says no handling", c.v, c.applied)
		}
	}
}

func TestEntryJSON(t *testing.T) {
	e := Entry{ID: "01J", Seq: 7, Time: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC), Tenant: "acme", Kind: KindEgress, Stage: StageOpened,
		Fields: []Field{{Path: "a", Label: "ugc.title", Action: Token, N: 1}}}
	b, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"id":"01J","seq":7,"time":"2026-11-23T12:00:00Z","tenant":"acme","kind":"egress","stage":"opened","fields":[{"path":"a","label":"ugc.title","action":"token","n":1}]}`
	if string(b) != want {
		t.Errorf("got  %s\nwant %s", b, want)
	}
	var back Entry
	if err := json.Unmarshal(b, &back); err != nil || !reflect.DeepEqual(back, e) {
		t.Errorf("%+v, %v", back, err)
	}
}

// An entry describes fields; it has no room for what was in them.
//
// promise: P21
func TestEntryHasNoRoomForValues(t *testing.T) {
	for _, typ := range []reflect.Type{reflect.TypeFor[Entry](), reflect.TypeFor[Field](), reflect.TypeFor[SealUse]()} {
		for i := range typ.NumField() {
			f := typ.Field(i)
			switch f.Type {
			case reflect.TypeFor[Value](), reflect.TypeFor[[]byte](), reflect.TypeFor[any](), reflect.TypeFor[json.RawMessage]():
				t.Errorf("%s.%s is a %s", typ.Name(), f.Name, f.Type)
			}
			if tag := f.Tag.Get("json"); tag == "" || tag != strings.ToLower(tag) {
				t.Errorf("%s.%s: tag %q", typ.Name(), f.Name, tag)
			}
		}
	}
}

func TestCheckName(t *testing.T) {
	for _, s := range []string{"a", "support-session", "a.b_c-9", strings.Repeat("a", 63)} {
		if err := CheckName(s, false); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	}
	if err := CheckName("product/reports", true); err != nil {
		t.Error(err)
	}
	for s, want := range map[string]string{
		"":                      "is empty",
		strings.Repeat("a", 64): "longer than 63",
		"product/x":             `'/' at character 8`,
		"-a":                    `'-' at character 1`,
		"a-":                    `'-' at character 2`,
		"Aa":                    `'A' at character 1`,
		"a b":                   "at character 2",
		"../x":                  `'.' at character 1`,
	} {
		if err := CheckName(s, false); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("CheckName(%q) = %v; want %q", s, err, want)
		}
	}
	for _, s := range []string{"/a", "a/", "/"} {
		if CheckName(s, true) == nil {
			t.Errorf("%q is a name", s)
		}
	}
}
