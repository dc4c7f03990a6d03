package isogate

import (
	"encoding"
	"encoding/json"
	"strings"
	"testing"
)

// The order of the actions is the order of strictness; everything compares with it.
func TestActionsAreOrdered(t *testing.T) {
	order := []Action{Refuse, Drop, Redact, Hash, Token, Mask, Generalise, Seal, Allow}
	for i, a := range order {
		if int(a) != i {
			t.Errorf("%s is %d, want %d", a, a, i)
		}
	}
	if len(order) != len(actionNames) {
		t.Errorf("%d actions, %d names", len(order), len(actionNames))
	}
}

func TestZeroValuesAreStrictest(t *testing.T) {
	if Action(0) != Refuse || Handling(0) != TransitOnly || Purpose(0) != NoPurpose || Decision(0) != Refused {
		t.Error("a zero value is not the strictest")
	}
	if (Verdict{}).Action != Refuse {
		t.Error("the zero verdict does not refuse")
	}
}

type named interface {
	comparable
	encoding.TextMarshaler
	String() string
}

// roundTrip checks that every name is read back, and that what is no name
// leaves the strictest value behind.
func roundTrip[T named](t *testing.T, n int, parse func(string) (T, error), unmarshal func([]byte) (T, error)) {
	t.Helper()
	var zero T
	for i := range n {
		v := at[T](i)
		text, err := v.MarshalText()
		if err != nil || string(text) != v.String() {
			t.Errorf("%v: %q, %v", v, text, err)
		}
		got, err := parse(v.String())
		if none := v.String() == "none"; none != (err != nil) || !none && got != v {
			t.Errorf("%v: parsed as %v, %v", v, got, err)
		}
		if got, err := unmarshal(text); err == nil && got != v {
			t.Errorf("%v: unmarshalled as %v", v, got)
		}
	}
	for _, s := range []string{"", "ALLOW", "allow ", "nonsense", "invalid(200)"} {
		if v, err := parse(s); err == nil || v != zero || !strings.Contains(err.Error(), "use one of") {
			t.Errorf("parse(%q) = %v, %v", s, v, err)
		}
		if v, err := unmarshal([]byte(s)); err == nil || v != zero {
			t.Errorf("unmarshal(%q) = %v, %v", s, v, err)
		}
	}
	if got := at[T](200).String(); got != "invalid(200)" {
		t.Errorf("a value out of range prints as %q", got)
	}
}

func at[T any](i int) T {
	var v any
	switch any(*new(T)).(type) {
	case Action:
		v = Action(i)
	case Handling:
		v = Handling(i)
	case Purpose:
		v = Purpose(i)
	default:
		v = Decision(i)
	}
	return v.(T)
}

func TestNames(t *testing.T) {
	roundTrip(t, len(actionNames), ParseAction, func(b []byte) (v Action, err error) { v = Allow; err = v.UnmarshalText(b); return })
	roundTrip(t, len(handlingNames), ParseHandling, func(b []byte) (v Handling, err error) { v = Persisted; err = v.UnmarshalText(b); return })
	roundTrip(t, len(purposeNames), ParsePurpose, func(b []byte) (v Purpose, err error) { v = App; err = v.UnmarshalText(b); return })
	roundTrip(t, len(decisionNames), ParseDecision, func(b []byte) (v Decision, err error) { v = Released; err = v.UnmarshalText(b); return })
}

func TestPurposesAreTheElevenAndApps(t *testing.T) {
	if got := int(App); got != 12 {
		t.Errorf("%d purposes", got)
	}
	if p, err := ParsePurpose("none"); err == nil || p != NoPurpose {
		t.Errorf("none is a purpose: %v, %v", p, err)
	}
	if p, err := ParsePurpose("anti-abuse"); err != nil || p != AntiAbuse {
		t.Errorf("%v, %v", p, err)
	}
}

// What an unknown word is decoded into must be the strictest value, whatever was there before.
func TestUnknownDecodesToTheStrictest(t *testing.T) {
	v := struct{ A Action }{Allow}
	if err := json.Unmarshal([]byte(`{"A":"alow"}`), &v); err == nil || v.A != Refuse {
		t.Errorf("%v, %v", v, err)
	}
}
