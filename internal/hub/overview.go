package hub

import (
	"net/http"
	"time"

	"github.com/isogate/isogate/internal/access"
	"github.com/isogate/isogate/internal/consent"
)

var overviewPages = []page{
	{pattern: "GET /{$}", need: access.Read, stale: true, do: (*Hub).overview},
}

// overview is what left lately, and what waits for somebody.
func (h *Hub) overview(v *visit) error {
	return v.show("overview", "Overview", Consents(v.state, "requested", "", v.now))
}

// waiting is how many requests wait for an answer.
func waiting(s *consent.State, at time.Time) (n int) {
	for _, st := range s.Parties() {
		for _, r := range st.Requests {
			if r.Status == consent.Open && r.Waits(at) {
				n++
			}
		}
	}
	return n
}

// noSuchPage answers for what the Hub does not have.
func (h *Hub) noSuchPage(*visit) error {
	return problem(http.StatusNotFound, "not-found", "the Hub has no such page; use the navigation")
}
