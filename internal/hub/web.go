package hub

import (
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"net/http"
	"path"
	"strings"

	"github.com/isogate/isogate/internal/access"
)

//go:embed pages/*.html
var pageFiles embed.FS

//go:embed assets
var assetFiles embed.FS

// templates are the pages by name, each with the layout and the parts.
type templates map[string]*template.Template

// frame are the files of pages/ that are in every page.
var frame = []string{"pages/layout.html", "pages/parts.html", "pages/consentparts.html", "pages/rows.html", "pages/policyparts.html"}

// newTemplates reads the pages.
func newTemplates() (templates, error) {
	base, err := template.New("layout.html").Funcs(words).ParseFS(pageFiles, frame...)
	if err != nil {
		return nil, fmt.Errorf("hub: %w", err)
	}
	all, err := fs.Glob(pageFiles, "pages/*.html")
	if err != nil {
		return nil, fmt.Errorf("hub: %w", err)
	}
	out := templates{}
	for _, file := range all {
		t, err := base.Clone()
		if err == nil {
			t, err = t.ParseFS(pageFiles, file)
		}
		if err != nil {
			return nil, fmt.Errorf("hub: %s: %w", file, err)
		}
		out[strings.TrimSuffix(path.Base(file), ".html")] = t
	}
	return out, nil
}

func (ts templates) execute(w io.Writer, name string, l layout) error {
	t, found := ts[name]
	if !found {
		return fmt.Errorf("there is no such template")
	}
	return t.ExecuteTemplate(w, "layout.html", l)
}

// policyOfPages is the Content-Security-Policy of every page: nothing but what the
// Hub itself serves, no inline script or style, no frame around it, no form that
// posts elsewhere, and no string that becomes markup (W3C CSP 3, Trusted Types).
const policyOfPages = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; " +
	"form-action 'self'; frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// Pages is everything that people see with a browser.
func (h *Hub) Pages() http.Handler {
	protection := http.NewCrossOriginProtection()
	protection.SetDenyHandler(http.HandlerFunc(h.fromElsewhere))
	inner := protection.Handler(h.pages)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		secure(w.Header())
		w.Header().Set("Content-Security-Policy", policyOfPages)
		inner.ServeHTTP(w, r)
	})
}

// newPages makes the mux of the pages and what they are made with.
func (h *Hub) newPages() error {
	var err error
	if h.templates, err = newTemplates(); err != nil {
		return err
	}
	if h.assets, err = newAssets(); err != nil {
		return err
	}
	h.pages = http.NewServeMux()
	for i := range pages {
		h.pages.HandleFunc(pages[i].pattern, h.servePage(&pages[i]))
	}
	for i := range doors {
		h.pages.HandleFunc(doors[i].pattern, h.serveDoor(&doors[i]))
	}
	h.pages.Handle("GET /assets/", h.assets)
	h.pages.HandleFunc("/", h.servePage(&page{pattern: "/", need: access.Read, stale: true, do: (*Hub).noSuchPage}))
	return nil
}

// assets are the style sheet and the scripts, by path.
type assets map[string]asset

type asset struct {
	body []byte
	tag  string // entity tag: of the bytes
	kind string
}

var assetKinds = map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}

func newAssets() (assets, error) {
	out := assets{}
	err := fs.WalkDir(assetFiles, "assets", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, err := assetFiles.ReadFile(name)
		if err != nil {
			return err
		}
		kind, known := assetKinds[path.Ext(name)]
		if !known {
			return fmt.Errorf("hub: %s: say in assetKinds what it is", name)
		}
		sum := sha256.Sum256(body)
		out["/"+name] = asset{body, `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`, kind}
		return nil
	})
	return out, err
}

// ServeHTTP serves them to anybody: there is nothing of a tenant in them.
func (as assets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a, found := as[r.URL.Path]
	if !found {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", a.kind)
	w.Header().Set("Cache-Control", "no-cache") // asked for again, and answered in no bytes
	w.Header().Set("ETag", a.tag)
	if r.Header.Get("If-None-Match") == a.tag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	_, _ = w.Write(a.body)
}
