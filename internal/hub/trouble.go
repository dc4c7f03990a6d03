package hub

import (
	"log/slog"
	"net/http"
	"slices"

	"github.com/isogate/isogate/internal/access"
)

// trouble is what a person is told of a page or an act that failed.
type trouble struct {
	*Problem
	Heading string
	Grave   bool
	// Roles are those that would give the right that was missing.
	Roles []access.Role
	// To is where to go on.
	To []next
}

// next is a link with its name.
type next struct{ Name, Path string }

// headings of problems, by code and, where a code has none, by status.
var (
	headingOf = map[string]string{
		"right": "You may not do this", "cross-site": "Another site sent this", "not-found": "There is no such page",
		"out-of-touch": "What consents say may be old", "stale-prompt": "This is not what is asked now", "too-slow": "This took too long",
	}
	headingFor = map[int]string{
		http.StatusBadRequest: "This was not understood", http.StatusForbidden: "You may not do this", http.StatusNotFound: "There is no such thing",
		http.StatusConflict: "Nothing was changed", http.StatusRequestEntityTooLarge: "This is too large", http.StatusUnprocessableEntity: "This cannot be read",
		http.StatusTooManyRequests: "Too many at once", http.StatusBadGateway: "The outside did not answer", http.StatusServiceUnavailable: "Not now",
		http.StatusInternalServerError: "Something went wrong here",
	}
)

// rightsTo say what a right is for.
var rightsTo = map[access.Right]string{access.Read: "see what left and why", access.Values: "see the tenant's own values", access.Export: "take entries and evidence away",
	access.Decide: "decide on consents, manifests and erasures", access.Propose: "propose changes of policy", access.Approve: "approve changes of policy",
	access.Operate: "keep the gateway running", access.Own: "say who may come in, and as what"}

// rolesWith are the roles that give a right.
func rolesWith(r access.Right) (out []access.Role) {
	for _, role := range access.Roles {
		if role.May(r) {
			out = append(out, role)
		}
	}
	return out
}

// failPage shows what went wrong, in the words of the API's problem. Of an error that
// nobody foresaw it says that it happened, and nothing of it.
func (h *Hub) failPage(v *visit, err error) {
	p := problemOf(err)
	if p.Status >= http.StatusInternalServerError {
		h.logger.Error("a page failed", slog.String("page", v.page.pattern), slog.Any("error", err))
	}
	t := trouble{Problem: p, Heading: headingOf[p.Code()], Grave: p.Status >= http.StatusInternalServerError}
	if t.Heading == "" {
		t.Heading = headingFor[p.Status]
	}
	if t.Heading == "" {
		t.Heading = p.Title
	}
	if v.who.May(access.Read) {
		t.To = append(t.To, next{"Overview", "/"})
		if section := at(v.URL.Path); section != "" && section != "/" && section != v.URL.Path && p.Status != http.StatusForbidden {
			t.To = slices.Insert(t.To, 0, next{sectionOf(section), section})
		}
		if p.Status == http.StatusServiceUnavailable {
			t.To = append(t.To, next{"Health", "/health"})
		}
	}
	if p.Code() == "right" && !v.page.self && !v.who.May(v.page.need) {
		t.Roles = rolesWith(v.page.need)
	}
	if err := v.showStatus(p.Status, "problem", t.Heading, t); err != nil {
		h.logger.Warn("a page could not be shown", slog.String("page", v.page.pattern), slog.Any("error", err))
	}
}

// fromElsewhere answers what a page of another site sent. Nothing of it was done, and
// nothing of the Hub is shown.
//
// promise: P14
func (h *Hub) fromElsewhere(w http.ResponseWriter, r *http.Request) {
	v := &visit{Request: r, w: w, hub: h, now: h.now(), page: &page{pattern: "from another site"}}
	h.failPage(v, problem(http.StatusForbidden, "cross-site", "A page of another site sent this. Nothing was done. Act from the Hub itself."))
}
