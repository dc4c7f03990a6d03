package landing

import (
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/isogate/isogate/internal/isogatetest/browsertest"
)

// ATTACK: as before, and a browser reads markup in a way that no parser of ours does.
//
// THIS TEST VERIFIES: wherever markup says that a place is text, Chromium's parser has
// it in text that is shown, or in an attribute that people read.
//
// promise: P41
func TestMarkupAgreesWithABrowser(t *testing.T) {
	b := browsertest.Start(t)
	type one struct {
		Page  string
		Plain []bool
	}
	rng := rand.New(rand.NewPCG(5, 6))
	cases := make([]one, 0, 20_000)
	for len(cases) < cap(cases) {
		if page, plain := nasty(rng); len(plain) > 0 {
			cases = append(cases, one{page, plain})
		}
	}
	text, err := json.Marshal(cases)
	if err != nil {
		t.Fatal(err)
	}
	read, err := json.Marshal(readAloud)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, "<!doctype html><title>cases</title><script>const cases="+string(text)+",read="+string(read)+"</script>")
	}))
	defer s.Close()
	b.Open(s.URL)
	var found struct {
		Seen  int
		Wrong []string
	}
	if err := json.Unmarshal([]byte(b.Script(seePlaces)), &found); err != nil {
		t.Fatal(err)
	}
	for _, page := range found.Wrong {
		t.Errorf("%q: a place is taken for text, and is not", page)
	}
	if found.Seen < 5_000 {
		t.Errorf("only %d places were taken for text; the test tests nothing", found.Seen)
	}
}

// seePlaces parses each case without running it, and looks where its places are.
const seePlaces = `(() => {
	const raw = new Set(["iframe", "noembed", "noframes", "noscript", "script", "style", "textarea", "xmp", "plaintext"]);
	const out = {Seen: 0, Wrong: []};
	for (const c of cases) {
		let ok = true;
		const see = (text, fits) => c.Plain.forEach((plain, i) => {
			if (plain && text.toLowerCase().includes("qz" + String.fromCharCode(97 + i) + "j")) {
				out.Seen++;
				ok &&= fits;
			}
		});
		const walk = n => {
			if (n.nodeType === Node.TEXT_NODE) {
				const option = n.parentElement?.closest("select option");
				see(n.data, !raw.has(n.parentNode.localName) && (!option || option.hasAttribute("value")));
			} else if (n.nodeType === Node.ELEMENT_NODE) {
				see(n.localName, false);
				for (const a of n.attributes) {
					see(a.name, false);
					see(a.value, read.includes(a.name));
				}
				if (n.content) walk(n.content);
			} else if (n.nodeType !== Node.DOCUMENT_NODE && n.nodeType !== Node.DOCUMENT_FRAGMENT_NODE) {
				see(n.data ?? n.name + n.publicId + n.systemId, n.nodeType === Node.CDATA_SECTION_NODE);
			}
			n.childNodes.forEach(walk);
		};
		walk(new DOMParser().parseFromString(c.Page, "text/html"));
		if (!ok && out.Wrong.length < 5) out.Wrong.push(c.Page);
	}
	return JSON.stringify(out);
})()`
