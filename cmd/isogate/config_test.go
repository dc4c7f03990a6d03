package main

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// Every key of isogate.yaml stands in docs/configuration.md, and no other does.
func TestConfigurationIsDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/configuration.md")
	try(t, err)
	keys := map[string]bool{}
	var walk func(prefix string, typ reflect.Type)
	walk = func(prefix string, typ reflect.Type) {
		for i := range typ.NumField() {
			f := typ.Field(i)
			key := prefix + f.Tag.Get("yaml")
			switch in := f.Type; {
			case in.Kind() == reflect.Struct:
				walk(key+".", in)
			case in.Kind() == reflect.Slice && in.Elem().Kind() == reflect.Struct && in.Elem().PkgPath() == typ.PkgPath():
				walk(key+"[].", in.Elem())
			default:
				keys[key] = true
			}
		}
	}
	walk("", reflect.TypeFor[config]())
	if len(keys) < 30 {
		t.Fatalf("%d keys found", len(keys))
	}
	for key := range keys {
		if !strings.Contains(string(page), "`"+key+"`") {
			t.Errorf("docs/configuration.md does not have the key %s", key)
		}
	}
	for _, row := range regexp.MustCompile("(?m)^\\| (`[^|]*) \\|").FindAllStringSubmatch(string(page), -1) {
		for _, m := range regexp.MustCompile("`([^`]*)`").FindAllStringSubmatch(row[1], -1) {
			if !keys[m[1]] {
				t.Errorf("docs/configuration.md has the key %s, which there is not", m[1])
			}
		}
	}
}
