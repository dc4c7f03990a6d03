package payload

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/isogate/isogate"
)

// forbidden lists the cases of JSONTestSuite that RFC 8259 allows and I-JSON (RFC 7493) does not.
var forbidden = map[string]string{
	"y_object_duplicated_key.json":               "section 2.3: member names must be distinct",
	"y_object_duplicated_key_and_value.json":     "section 2.3: member names must be distinct",
	"y_string_escaped_noncharacter.json":         "section 2.1: noncharacter U+FFFF",
	"y_string_last_surrogates_1_and_2.json":      "section 2.1: noncharacter U+10FFFF",
	"y_string_nonCharacterInUTF-8_U+10FFFF.json": "section 2.1: noncharacter U+10FFFF",
	"y_string_nonCharacterInUTF-8_U+FFFF.json":   "section 2.1: noncharacter U+FFFF",
	"y_string_unicode_U+10FFFE_nonchar.json":     "section 2.1: noncharacter U+10FFFE",
	"y_string_unicode_U+1FFFE_nonchar.json":      "section 2.1: noncharacter U+1FFFE",
	"y_string_unicode_U+FDD0_nonchar.json":       "section 2.1: noncharacter U+FDD0",
	"y_string_unicode_U+FFFE_nonchar.json":       "section 2.1: noncharacter U+FFFE",
}

// TestJSONTestSuite runs the public suite nst/JSONTestSuite, whose folder
// ISOGATE_JSONTESTSUITE names.
func TestJSONTestSuite(t *testing.T) {
	dir := os.Getenv("ISOGATE_JSONTESTSUITE")
	if dir == "" {
		t.Skip("ISOGATE_JSONTESTSUITE does not name the folder of JSONTestSuite's parsing cases")
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(files) < 300 {
		t.Fatalf("%d cases in %s: %v", len(files), dir, err)
	}
	r := rulesFor(compile(t, line(t, "**", "allow.all")), isogate.Token)
	seen := 0
	for _, file := range files {
		name := filepath.Base(file)
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var tally Tally
		_, err = format(t, "json").Rewrite(nil, src, r, fakeReplacer{}, &tally)
		reason := forbidden[name]
		if reason != "" {
			seen++
		}
		switch {
		case strings.HasPrefix(name, "y_") && reason == "" && err != nil:
			t.Errorf("%s is refused: %v", name, err)
		case (strings.HasPrefix(name, "n_") || reason != "") && err == nil:
			t.Errorf("%s is accepted (%s)", name, reason)
		case strings.HasPrefix(name, "i_"):
			t.Logf("%s: %v", name, err)
		}
	}
	if seen != len(forbidden) {
		t.Errorf("%d of the %d cases that I-JSON forbids were there", seen, len(forbidden))
	}
}
