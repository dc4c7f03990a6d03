package main

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// Every key of isogate.yaml and of landing.yaml stands in its part of
// docs/configuration.md, and no other does.
func TestConfigurationIsDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/configuration.md")
	try(t, err)
	gateway, landing, found := strings.Cut(string(page), "\n# landing.yaml\n")
	if !found {
		t.Fatal("docs/configuration.md has no part about landing.yaml")
	}
	documented(t, reflect.TypeFor[config](), gateway)
	documented(t, reflect.TypeFor[landingConfig](), landing)
}

func documented(t *testing.T, typ reflect.Type, page string) {
	t.Helper()
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
	walk("", typ)
	if len(keys) < 30 {
		t.Fatalf("%d keys found in %s", len(keys), typ.Name())
	}
	for key := range keys {
		if !strings.Contains(page, "`"+key+"`") {
			t.Errorf("docs/configuration.md does not have the key %s of %s", key, typ.Name())
		}
	}
	for _, row := range regexp.MustCompile("(?m)^\\| (`[^|]*) \\|").FindAllStringSubmatch(page, -1) {
		for _, m := range regexp.MustCompile("`([^`]*)`").FindAllStringSubmatch(row[1], -1) {
			if !keys[m[1]] {
				t.Errorf("docs/configuration.md has the key %s, which %s has not", m[1], typ.Name())
			}
		}
	}
}
