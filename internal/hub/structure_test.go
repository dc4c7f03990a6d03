package hub

import (
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"golang.org/x/net/html"

	"github.com/isogate/isogate/internal/access"
)

// inline is what the policy of pages would not let run, or what would let text become markup.
var inline = regexp.MustCompile(`(?i)\sstyle\s*=|\son[a-z]+\s*=|javascript:|<style|<script(?:\s+(?:type="module"|defer|async))*\s*>|\ssrcdoc\s*=|<(iframe|object|embed|base)\b`)

// TestTemplatesHaveNothingInline reads every template and script. Rendered pages are held
// against the same in TestEveryPageIsWellMade; this finds what no test renders.
func TestTemplatesHaveNothingInline(t *testing.T) {
	comment := regexp.MustCompile(`(?s)\{\{/\*.*?\*/\}\}`)
	files := 0
	err := fs.WalkDir(pageFiles, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := pageFiles.ReadFile(name)
		files++
		for _, found := range inline.FindAllString(comment.ReplaceAllString(string(text), ""), -1) {
			t.Errorf("%s has %q", name, found)
		}
		return err
	})
	if err != nil || files < 4 {
		t.Fatalf("%d templates: %v", files, err)
	}
	for _, bad := range []string{`<p style="x">`, `<a onclick="x">`, "<a href=javascript:x>", "<script>", `<script defer>`, `<iframe src=x>`} {
		if !inline.MatchString(bad) {
			t.Errorf("%s is not found", bad)
		}
	}
	if good := `<script src="/assets/x.js" defer></script><a href="/on=1">on</a>`; inline.MatchString(good) {
		t.Errorf("%s is found", good)
	}
}

// TestOneFileMakesMarkup: text becomes markup in words.go alone, where each place says
// why it may.
func TestOneFileMakesMarkup(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	unsafe := regexp.MustCompile(`template\.(HTML|HTMLAttr|JS|JSStr|CSS|URL|Srcset)\b`)
	found := false
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case file == "words.go":
			found = unsafe.Match(text)
		case strings.HasSuffix(file, "_test.go"):
		case unsafe.Match(text):
			t.Errorf("%s makes markup of text; give words.go a word for it", file)
		}
	}
	if !found {
		t.Error("words.go makes no markup any more: take this test away")
	}
}

// TestEveryPageIsWellMade visits, as each role, whatever can be reached by links from the
// overview, of a Hub that shows much of what hostile people wrote.
func TestEveryPageIsWellMade(t *testing.T) {
	who := as()
	h := richHub(t, who, func(c *Config) {
		c.Logger = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelError}))
	})
	s := served(t, h)
	for _, role := range append(slices.Clone(access.Roles), "") {
		t.Run(string("role "+role), func(t *testing.T) {
			who.Roles = []access.Role{role}
			if role == "" {
				who.Roles = nil
			}
			visited, alike, queue := map[string]bool{}, map[string]int{}, []string{"/", "/nowhere", "/account"}
			for len(queue) > 0 {
				path := queue[0]
				queue = queue[1:]
				_, kind := h.pages.Handler(httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
				if alike[kind]++; visited[path] || alike[kind] > 3 {
					continue
				}
				visited[path] = true
				resp, body := look(t, s, path)
				if !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") {
					continue
				}
				if resp.StatusCode >= http.StatusInternalServerError {
					t.Errorf("GET %s: %d", path, resp.StatusCode)
				}
				d := read(t, path, body)
				d.wellMade()
				for _, to := range d.links {
					u, err := url.Parse(to)
					if err != nil || u.IsAbs() || u.Host != "" || u.Path == "" {
						continue
					}
					if u.Path = strings.TrimSuffix(u.Path, "/"); u.Path == "" {
						u.Path = "/"
					}
					u.Fragment = ""
					if u.Path != "/signout" {
						queue = append(queue, u.String())
					}
				}
			}
			if role == access.Owner && len(visited) < 15 {
				t.Errorf("only these were visited: %v", slices.Sorted(maps.Keys(visited)))
			}
		})
	}
}

// document is a page as a browser reads it.
type document struct {
	t       *testing.T
	path    string
	root    *html.Node
	ids     map[string]int
	targets []string // ids that something refers to
	links   []string
	text    strings.Builder
	count   map[string]int
}

func read(t *testing.T, path, body string) *document {
	t.Helper()
	root, err := html.Parse(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	d := &document{t: t, path: path, root: root, ids: map[string]int{}, count: map[string]int{}}
	d.walk(root)
	return d
}

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func has(n *html.Node, name string) bool {
	return slices.ContainsFunc(n.Attr, func(a html.Attribute) bool { return a.Key == name })
}

// textOf is what is read of an element, with what only programs read.
func textOf(n *html.Node) string {
	if n.Type == html.TextNode {
		return n.Data
	}
	var b strings.Builder
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		b.WriteString(textOf(c))
	}
	return b.String()
}

func find(n *html.Node, tag string) (out []*html.Node) {
	if n.Type == html.ElementNode && n.Data == tag {
		out = append(out, n)
	}
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		out = append(out, find(c, tag)...)
	}
	return out
}

func (d *document) wrong(format string, args ...any) {
	d.t.Helper()
	d.t.Errorf("%s: %s", d.path, fmt.Sprintf(format, args...))
}

func (d *document) walk(n *html.Node) {
	if n.Data == "template" { // for a script to fill in
		return
	}
	if n.Type == html.ElementNode {
		d.count[n.Data]++
		d.element(n)
	}
	if n.Type == html.TextNode && n.Parent.Data != "script" {
		d.text.WriteString(n.Data)
	}
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		d.walk(c)
	}
}

// element checks what can be said of one element alone.
func (d *document) element(n *html.Node) {
	for _, a := range n.Attr {
		key := strings.ToLower(a.Key)
		switch {
		case key == "style", strings.HasPrefix(key, "on"), key == "srcdoc":
			d.wrong("<%s %s=%q>", n.Data, a.Key, a.Val)
		case key == "id":
			d.ids[a.Val]++
		case key == "for", key == "aria-describedby", key == "aria-labelledby", key == "aria-controls", key == "list":
			d.targets = append(d.targets, strings.Fields(a.Val)...)
		case key == "href" && n.Data == "a":
			d.links = append(d.links, a.Val)
			if strings.HasPrefix(a.Val, "#") && len(a.Val) > 1 {
				d.targets = append(d.targets, a.Val[1:])
			}
			fallthrough
		case key == "href", key == "src", key == "action", key == "formaction":
			if u, err := url.Parse(a.Val); err != nil || u.Scheme != "" && u.Scheme != "https" && u.Scheme != "mailto" || n.Data != "a" && (u.IsAbs() || u.Host != "") {
				d.wrong("<%s %s=%q> leads elsewhere", n.Data, a.Key, a.Val)
			}
		}
	}
	switch n.Data {
	case "script":
		if attr(n, "src") == "" || strings.TrimSpace(textOf(n)) != "" {
			d.wrong("a script stands in the page")
		}
	case "style", "iframe", "object", "embed", "base":
		d.wrong("there is a <%s>", n.Data)
	case "table":
		if captions := find(n, "caption"); len(captions) != 1 || strings.TrimSpace(textOf(captions[0])) == "" {
			d.wrong("a table without a caption: %.80q", textOf(n))
		}
	case "th":
		if attr(n, "scope") == "" {
			d.wrong("a th without a scope: %.60q", textOf(n))
		}
	case "img":
		if !has(n, "alt") {
			d.wrong("an image without alt")
		}
	case "svg":
		if attr(n, "role") == "img" && len(find(n, "title")) == 0 {
			d.wrong("a drawing without a title")
		} else if attr(n, "role") != "img" && attr(n, "aria-hidden") != "true" && n.Parent.Data != "svg" {
			d.wrong("a drawing that is neither role=img nor hidden")
		}
	case "button", "summary", "a":
		if strings.TrimSpace(textOf(n)) == "" && attr(n, "aria-label") == "" {
			d.wrong("a <%s> that says nothing", n.Data)
		}
	case "form":
		if m := strings.ToLower(attr(n, "method")); m != "post" && m != "get" && m != "" {
			d.wrong("a form with method %q", m)
		}
	}
}

// wellMade checks what can be said of the whole.
func (d *document) wellMade() {
	for _, tag := range []string{"h1", "main", "title"} {
		n := d.count[tag]
		if tag == "title" {
			n = len(find(find(d.root, "head")[0], "title"))
		}
		if n != 1 {
			d.wrong("there are %d of <%s>", n, tag)
		}
	}
	if attr(find(d.root, "html")[0], "lang") == "" {
		d.wrong("the page does not say which language it is in")
	}
	for id, n := range d.ids {
		if n > 1 {
			d.wrong("the id %q is there %d times", id, n)
		}
	}
	for _, id := range d.targets {
		if d.ids[id] == 0 {
			d.wrong("nothing has the id %q that something refers to", id)
		}
	}
	labelled := map[string]bool{}
	for _, l := range find(d.root, "label") {
		labelled[attr(l, "for")] = true
	}
	for _, tag := range []string{"input", "select", "textarea"} {
		for _, n := range find(d.root, tag) {
			inside := false
			for p := n.Parent; p != nil; p = p.Parent {
				inside = inside || p.Data == "label"
			}
			if kind := attr(n, "type"); kind != "hidden" && kind != "submit" && !inside && !labelled[attr(n, "id")] && attr(n, "aria-label") == "" && attr(n, "aria-labelledby") == "" {
				d.wrong("a field without a label: %s %q", tag, attr(n, "name"))
			}
		}
	}
	d.headings()
	if i := strings.IndexFunc(d.text.String(), func(r rune) bool { return unicode.Is(unicode.Bidi_Control, r) }); i >= 0 {
		d.wrong("text turns the direction of writing: %.60q", d.text.String()[max(0, i-20):])
	}
}

// headings have no level left out, so that who jumps between them misses none.
func (d *document) headings() {
	last := 0
	var walk func(n *html.Node)
	walk = func(n *html.Node) {
		if n.Type == html.ElementNode && len(n.Data) == 2 && n.Data[0] == 'h' && n.Data[1] >= '1' && n.Data[1] <= '6' {
			level := int(n.Data[1] - '0')
			if level > last+1 {
				d.wrong("a heading of level %d stands behind one of level %d: %.60q", level, last, textOf(n))
			}
			last = level
		}
		for c := n.FirstChild; c != nil; c = c.NextSibling {
			walk(c)
		}
	}
	walk(find(d.root, "body")[0])
}
