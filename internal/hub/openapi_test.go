package hub

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
)

// Every operation of the mux is described, and every described one is there.
func TestDescriptionHasEveryRoute(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromData(openAPI)
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(context.Background(), openapi3.IsOpenAPI31OrLater()); err != nil {
		t.Fatal(err)
	}
	var described, have []string
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			described = append(described, method+" "+path)
		}
	}
	for _, r := range routes {
		have = append(have, r.method+" "+r.path)
	}
	slices.Sort(described)
	slices.Sort(have)
	if !slices.Equal(described, have) {
		t.Errorf("described:\n  %s\nthere:\n  %s", strings.Join(described, "\n  "), strings.Join(have, "\n  "))
	}
	o := newOffice(t)
	if got := o.call("ada", "GET", "/openapi.json", "").want(200); string(got.body) != string(openAPI) {
		t.Error("the document that is served is not the file")
	}
}
