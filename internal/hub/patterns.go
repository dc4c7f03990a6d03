package hub

import (
	"slices"

	"github.com/isogate/isogate/internal/access"
)

// Page is what is known of a page, or of an act of one, without asking for it.
type Page struct {
	Pattern string       // of net/http.ServeMux: "GET /consents/{id}"
	Need    access.Right // the right that it needs; none where it is for anybody, or for whoever is signed in
	Proof   bool         // whether it needs a recent proof of who the visitor is
}

// PageList lists all of them, for those who check that each is looked at.
func PageList() []Page {
	var out []Page
	for _, p := range slices.Concat(doors, pages) {
		out = append(out, Page{Pattern: p.pattern, Need: p.need, Proof: p.proof})
	}
	return out
}
