package landing

import (
	"net/http"
	"testing"
	"time"

	"github.com/isogate/isogate/internal/seal"
	library "github.com/isogate/isogate/landing"
)

// THIS TEST VERIFIES: the library for Go services opens and reveals through the
// service's edge, as the viewer whose token it has.
func TestLibrary(t *testing.T) {
	w := newWorld(t, nil)
	k := w.key(seal.Context{Session: session})
	w.take(w.gateway("acme"), k)
	igs := sealValue(t, k, display, "Ada <3")
	c := library.Client{URL: "http://" + w.service, HTTP: &http.Client{Transport: &http.Transport{}, Timeout: 10 * time.Second}, Token: agent}
	values, err := c.Open(t.Context(), igs, "igs1")
	if err != nil || len(values) != 2 || values[0].State != library.Revealed || values[0].Text() != "Ada <3" || values[1].State != library.Sealed {
		t.Errorf("opened %v, %v", values, err)
	}
	if page, err := c.Reveal(t.Context(), []byte("<p>"+igs), library.HTML); err != nil || string(page) != "<p>Ada &lt;3" {
		t.Errorf("the page is %q, %v", page, err)
	}
	c.Token = "wrong"
	if _, err := c.Open(t.Context(), igs); err == nil {
		t.Error("a wrong token opens")
	}
}
