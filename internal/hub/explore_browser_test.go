package hub

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/access"
	"github.com/isogate/isogate/internal/isogatetest"
	"github.com/isogate/isogate/internal/isogatetest/browsertest"
)

// until waits until a script says what it should.
func until(t *testing.T, b *browsertest.Browser, what, script, want string) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	got := ""
	for time.Now().Before(deadline) {
		if got = b.Script(script); strings.Contains(got, want) {
			return
		}
	}
	t.Fatalf("%s: the page says %q, want %q", what, got, want)
}

// reads waits until a part of the page has a text.
func reads(t *testing.T, b *browsertest.Browser, id, want string) {
	t.Helper()
	until(t, b, id, fmt.Sprintf(`(document.getElementById(%q) || document.body).innerText`, id), want)
}

// The proof of an entry is checked in the browser, by the page's own script, and a
// wrong one fails visibly: another character in the entry, a hash, the index, the
// size, the root or the signature; another key; another entry's proof.
//
// promise: P22
func TestProofInABrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("a browser takes seconds to start")
	}
	b := browsertest.Start(t)
	r := newRecord(t)
	var ids []isogate.EntryID
	for range 11 {
		ids = append(ids, r.add(released("product/help-center", "support-portal", email)))
	}
	r.settled()
	s := r.sit(as(access.Viewer), nil)
	for _, id := range []isogate.EntryID{ids[0], ids[3], ids[10]} {
		b.Open(s.URL + "/entries/" + string(id) + "/proof")
		reads(t, b, "check-good", "Verified. Entry "+string(id))
		reads(t, b, "check-steps", "The root is signed with Ed25519 by isogate/acme")
	}
	at := s.URL + "/entries/" + string(ids[3]) + "/proof"
	other := newRecord(t)
	other.add(released("product/help-center", "support-portal", email))
	wrong := map[string]string{
		"another entry's bytes":    `t.value = t.value.replace(/extra ..../, "extra AAAA")`,
		"a hash changed":           `let l = t.value.split("\n"); l[3] = (l[3][0] === "A" ? "B" : "A") + l[3].slice(1); t.value = l.join("\n")`,
		"a hash spelled otherwise": `const A = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"; let l = t.value.split("\n"); l[3] = l[3].slice(0, 42) + A[A.indexOf(l[3][42]) + 1] + "="; t.value = l.join("\n")`,
		"a hash left out":          `let l = t.value.split("\n"); l.splice(3, 1); t.value = l.join("\n")`,
		"a hash more":              `let l = t.value.split("\n"); l.splice(3, 0, l[3]); t.value = l.join("\n")`,
		"two hashes exchanged":     `let l = t.value.split("\n"); [l[3], l[4]] = [l[4], l[3]]; t.value = l.join("\n")`,
		"another index":            `t.value = t.value.replace(/index \d+/, "index 2")`,
		"an index behind the end":  `t.value = t.value.replace(/index \d+/, "index 99999")`,
		"another size":             `let l = t.value.split("\n"); let i = l.indexOf("") + 2; l[i] = String(Number(l[i]) + 1); t.value = l.join("\n")`,
		"another origin":           `t.value = t.value.replace("\nisogate/acme\n", "\nisogate/evil\n")`,
		"the signature changed":    `let l = t.value.trimEnd().split("\n"); let s = l[l.length-1]; l[l.length-1] = s.slice(0, -8) + (s.at(-8) === "A" ? "B" : "A") + s.slice(-7); t.value = l.join("\n") + "\n"`,
		"no signature":             `let l = t.value.trimEnd().split("\n"); l.pop(); t.value = l.join("\n") + "\n"`,
		"another key":              fmt.Sprintf(`k.value = %q`, other.vkey),
		"a key mistyped":           `k.value = k.value.slice(0, -5) + (k.value.at(-5) === "A" ? "B" : "A") + k.value.slice(-4)`,
		"nothing":                  `t.value = ""`,
		"another entry's proof":    `c.dataset.entry = "01ARZ3NDEKTSV4RRFFQ69G5FAV"`,
	}
	for what, change := range wrong {
		b.Open(at)
		reads(t, b, "check-good", "Verified.")
		b.Script(`{ const t = document.getElementById("check-text"), k = document.getElementById("check-key"), c = document.getElementById("check"); ` + change + `; document.getElementById("check-now").click(); } ""`)
		reads(t, b, "check-bad", "Does not verify.")
		if shown := b.Script(`document.getElementById("check-good").hidden ? "" : "still good"`); shown != "" {
			t.Errorf("%s: the page still says that it verifies", what)
		}
	}

	// A remembered key is used from then on, and the page says where the Hub shows another.
	b.Open(at)
	reads(t, b, "check-good", "Verified.")
	b.Script(`document.getElementById("check-pin").click(); document.getElementById("check-now").click(); ""`)
	reads(t, b, "check-good", "Verified.")
	until(t, b, "the key", `localStorage.getItem("isogate journal key") || ""`, r.vkey)
	b.Script(fmt.Sprintf(`localStorage.setItem("isogate journal key", %q); ""`, other.vkey))
	b.Open(at)
	reads(t, b, "check-bad", "not signed by this key")
	reads(t, b, "check-pinned", "another one than this browser remembers")
	if errs := b.Script(`String(window.isogate)`); errs != "undefined" {
		t.Error("the script leaves something behind for others to change")
	}
}

// Entries that come are shown as they come; they can be held; a hostile name is text;
// and the tail ends when the session does.
func TestTailInABrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("a browser takes seconds to start")
	}
	b := browsertest.Start(t)
	r := newRecord(t)
	r.add(released("product/before", "support-portal", email))
	r.settled()
	var over atomic.Bool
	s := r.sit(as(access.Viewer), func(c *Config) {
		c.Visitor = func(*http.Request) (access.Visitor, error) {
			if over.Load() {
				return access.Visitor{}, access.ErrNobody
			}
			return *as(access.Viewer), nil
		}
	})
	b.Open(s.URL + "/explore/tail")
	reads(t, b, "tail-rows", "product/before")
	reads(t, b, "tail-state", "Follows")
	for _, x := range hostileTexts {
		r.add(released(isogate.Source(x), "support-portal", isogate.Field{Path: x, Label: isogate.Label(x), Action: isogate.Allow, N: 2}))
	}
	last := r.add(released("product/after", "support-portal", email, ticketTitle))
	reads(t, b, "tail-rows", "product/after")
	if text := b.Script(`document.getElementById("tail-rows").innerText`); !strings.Contains(text, "<script>alert(1)</script>") || !strings.Contains(text, `a\u{202e}b`) {
		t.Errorf("names are not shown as they are: %s", text)
	}
	if n := b.Number(`document.querySelectorAll("#tail-rows script, #tail-rows img, #tail-rows [onmouseover]").length`); n != 0 {
		t.Errorf("%v elements came out of names", n)
	}
	if href := b.Script(`document.querySelector("#tail-rows a").getAttribute("href")`); href != "/entries/"+string(last) {
		t.Errorf("the newest leads to %s", href)
	}
	b.Script(`document.getElementById("tail-pause").click(); ""`)
	r.add(released("product/held", "support-portal", email))
	reads(t, b, "tail-state", "1 wait")
	if text := b.Script(`document.getElementById("tail-rows").innerText`); strings.Contains(text, "product/held") {
		t.Error("the page goes on although it is held")
	}
	b.Script(`document.getElementById("tail-pause").click(); ""`)
	reads(t, b, "tail-rows", "product/held")
	over.Store(true)
	reads(t, b, "tail-state", "Ended")
}

// shots writes pictures of pages to a directory, for somebody to look at.
func shots(t *testing.T, b *browsertest.Browser, s string, pages map[string]string) {
	t.Helper()
	dir := os.Getenv("ISOGATE_LOOK")
	looks := []struct {
		name string
		w, h int64
		dark bool
	}{{"narrow", 320, 2400, false}, {"wide", 1280, 1600, false}, {"dark", 1280, 1600, true}}
	if dir == "" {
		looks = looks[:1]
	}
	for name, path := range pages {
		b.Open(s + path)
		for _, look := range looks {
			b.Look(look.w, look.h, look.dark)
			if w := b.Number(`document.documentElement.scrollWidth`); w > float64(look.w) {
				t.Errorf("%s is %v wide on %s", path, w, look.name)
			}
			if dir != "" {
				if err := os.WriteFile(filepath.Join(dir, name+"-"+look.name+".png"), b.Picture(), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// The pages can be read on a phone's width without scrolling sideways.
func TestExplorerFits(t *testing.T) {
	if testing.Short() {
		t.Skip("a browser takes seconds to start")
	}
	b := browsertest.Start(t)
	w, r, a := living(t)
	id := sends(t, w, isogatetest.Product, "POST", "/v1/tickets", `{"user":{"email":"ada@acme.example","name":"Ada L","phone":"+49 30 1"},"title":"Pay","new":"x"}`)
	no := sends(t, w, isogatetest.Product, "POST", "/v1/private", `{"user":{"email":"ada@acme.example"}}`)
	for range 5 {
		sends(t, w, isogatetest.Product, "POST", "/v1/tickets", `{"user":{"email":"ada@acme.example"},"title":"Pay"}`)
	}
	rc := r.add(isogate.Entry{Kind: isogate.KindLanding, Act: "receipt", Destination: "support-portal", Detail: map[string]string{"note": strings.Repeat("isogate.example/landing/v1 receipt\n", 6) + "\n— landing+8a7b6c5d " + strings.Repeat("AbCdEf0123456789", 8) + "\n"}})
	r.settled()
	s := r.sit(as(access.Owner), func(c *Config) { c.Packs, c.Tenant = a, "acme" })
	shots(t, b, s.URL, map[string]string{
		"explore": "/explore", "filtered": "/explore?decision=released&label=personal.**&action=allow", "wrong": "/explore?label=Personal&source=x", "tail": "/explore/tail",
		"entry": "/entries/" + string(id), "refused": "/entries/" + string(no), "receipt": "/entries/" + string(rc), "proof": "/entries/" + string(id) + "/proof",
	})
}
