package isogate

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

type holder struct{ V Value }

// However a payload value is printed, logged or marshalled, alone or inside of
// something else, none of its text comes out.
func TestValueNeverPrints(t *testing.T) {
	const secret = "ada@example.com"
	v := Value{Kind: String, Text: []byte(secret)}
	spellings := []string{secret, fmt.Sprintf("%x", secret), fmt.Sprintf("%X", secret), "97 100 97", "YWRhQGV4YW1wbGU"}
	check := func(how, got string) {
		t.Helper()
		for _, s := range spellings {
			if strings.Contains(got, s) {
				t.Errorf("%s prints the value: %s", how, got)
			}
		}
		if !strings.Contains(got, "REDACTED") {
			t.Errorf("%s does not print REDACTED: %s", how, got)
		}
	}
	for _, verb := range "vTtbcdoOqxXUeEfFgGsp!" {
		if verb == 'T' || verb == 'p' { // these print the type and the address, by fmt itself
			continue
		}
		for _, flags := range []string{"", "+", "#", "-", " ", "0", "+#", "20", ".3"} {
			format := "%" + flags + string(verb)
			check(format, fmt.Sprintf(format, v))
			check(format+" of a pointer", fmt.Sprintf(format, &v))
			check(format+" in a struct", fmt.Sprintf(format, struct{ V Value }{v}))
			check(format+" in a list", fmt.Sprintf(format, []Value{v}))
			check(format+" as a key", fmt.Sprintf(format, map[string]Value{"k": v}))
		}
	}
	check("Print", fmt.Sprint(v))
	check("String", v.String())
	check("GoString", v.GoString())
	check("an error", fmt.Errorf("value %v: %w", v, fmt.Errorf("%s", v)).Error())

	b, err := json.Marshal(map[string]any{"v": v, "p": &v, "l": []Value{v}})
	check("json", string(b))
	if err != nil {
		t.Error(err)
	}
	b, err = json.Marshal(map[string]any{"t": struct{ Value }{v}})
	check("json of an embedded value", string(b))
	if err != nil {
		t.Error(err)
	}
	b, err = xml.Marshal(holder{v})
	check("xml", string(b))
	if err != nil {
		t.Error(err)
	}
	var out bytes.Buffer
	for how, h := range map[string]slog.Handler{"slog text": slog.NewTextHandler(&out, nil), "slog json": slog.NewJSONHandler(&out, nil)} {
		out.Reset()
		slog.New(h).Info("msg", slog.Any("v", v), slog.Any("p", &v), slog.Group("g", slog.Any("v", v)), slog.Any("list", []Value{v}))
		check(how, out.String())
	}
	check("slog's value", v.LogValue().String())
}

func TestKind(t *testing.T) {
	for k := range String + 1 {
		if got, err := ParseKind(k.String()); err != nil || got != k {
			t.Errorf("%s: %v, %v", k, got, err)
		}
	}
	if k, err := ParseKind("object"); err == nil || k != Null || !strings.Contains(err.Error(), "unknown type") {
		t.Errorf("%v, %v", k, err)
	}
	if got := Kind(77).String(); got != "invalid(77)" {
		t.Error(got)
	}
}
