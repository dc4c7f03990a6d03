package hub

import (
	"net/http"

	"github.com/isogate/isogate/internal/access"
)

var overviewPages = []page{
	{pattern: "GET /{$}", need: access.Read, stale: true, do: (*Hub).overview},
}

// overview is what left lately, and what waits for somebody.
func (h *Hub) overview(v *visit) error {
	return v.show("overview", "Overview", Consents(v.state, "requested", "", v.now))
}

// noSuchPage answers for what the Hub does not have.
func (h *Hub) noSuchPage(*visit) error {
	return problem(http.StatusNotFound, "not-found", "the Hub has no such page; use the navigation")
}
