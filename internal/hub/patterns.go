package hub

import (
	"github.com/isogate/isogate/internal/access"
)

// Page is what is known of a page, or of an act of one, without asking for it.
type Page struct {
	Pattern string       // of net/http.ServeMux: "GET /consents/{id}"
	Need    access.Right // the right that it needs
	Proof   bool         // whether it needs a recent proof of who the visitor is
}

// PageList lists all of them, for those who check that each is looked at.
func PageList() []Page {
	out := make([]Page, 0, len(pages))
	for _, p := range pages {
		out = append(out, Page{Pattern: p.pattern, Need: p.need, Proof: p.proof})
	}
	return out
}
