package hub

import (
	"net/http"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/access"
)

// outsidePages are what the outside holds, and having it erased.
var outsidePages = []page{
	{pattern: "GET /outside", need: access.Read, stale: true, do: (*Hub).outsidePage},
	{pattern: "GET /outside/subjects", need: access.Values, stale: true, do: (*Hub).subjectsPage},
	{pattern: "POST /outside/subjects", need: access.Values, stale: true, do: (*Hub).findSubjectsForm},
	{pattern: "POST /outside/erase", need: access.Decide, stale: true, do: (*Hub).eraseConfirm},
	{pattern: "POST /outside/erase/confirm", need: access.Decide, stale: true, proof: true, do: (*Hub).eraseForm},
}

// heldOutside is what the landings say.
type heldOutside struct {
	Landings []Landing
	Overdue  int // receipts that have not come in time
	Broken   bool
	Erasures []Erasure
	None     bool // no destination has a landing
	Values   bool // the visitor may see the register
	May      bool
}

func (h *Hub) outsidePage(v *visit) error {
	if _, err := v.parameters(); err != nil {
		return err
	}
	p := heldOutside{Values: v.who.May(access.Values), May: v.who.May(access.Decide)}
	out, err := h.outside()
	if err != nil {
		p.None = true
		return v.show("outside", "Outside", p)
	}
	p.Landings, p.Erasures = out.Landings(), out.Erasures()
	for _, l := range p.Landings {
		p.Overdue += l.KeysOverdue
		p.Broken = p.Broken || l.Broken != ""
	}
	return v.show("outside", "Outside", p)
}

// subjectsOutside is a page of the register.
type subjectsOutside struct {
	List     SubjectList
	Query    SubjectQuery
	Landings []isogate.Destination
	Form     filled
	Found    bool // it is what a value was looked up for
	Next     string
	May      bool
}

// pageOfSubjects is how many identifiers a page lists.
const pageOfSubjects = 100

// subjectsPage lists the register. What is looked for is never in an address.
func (h *Hub) subjectsPage(v *visit) error {
	q, err := v.parameters("destination", "after")
	if err != nil {
		return err
	}
	return v.showSubjects(filled{}, SubjectQuery{Destination: isogate.Destination(q.Get("destination")), After: q.Get("after"), Limit: pageOfSubjects})
}

func (h *Hub) findSubjectsForm(v *visit) error {
	f, err := v.fill("value", "destination", "after")
	if err != nil {
		return err
	}
	return v.showSubjects(f, SubjectQuery{Value: f.Get("value"), Destination: isogate.Destination(f.Get("destination")), After: f.Get("after"), Limit: pageOfSubjects})
}

func (v *visit) showSubjects(f filled, q SubjectQuery) error {
	p := subjectsOutside{Query: q, Form: f, Found: q.Value != "", May: v.who.May(access.Decide)}
	if out, err := v.hub.outside(); err == nil {
		for _, l := range out.Landings() {
			p.Landings = append(p.Landings, l.Destination)
		}
	}
	list, err := v.clerk().subjects(v.Context(), q)
	if err != nil {
		f, status, err := f.because(err, "value")
		if err != nil {
			return err
		}
		p.Form = f
		return v.showStatus(status, "outside-subjects", "What stays outside", p)
	}
	p.List, p.Next = list, list.Next
	return v.show("outside-subjects", "What stays outside", p)
}

// erasePage asks whether identifiers are to be erased, and says which.
type erasePage struct {
	List SubjectList
	More bool // there are more than are listed
	In   struct{ Value, Label, Destination string }
	Form filled
	// Values says that the visitor may see them; who may only decide is told how many.
	Values bool
}

// eraseConfirm shows what would be erased.
func (h *Hub) eraseConfirm(v *visit) error {
	f, err := v.fill("value", "label", "destination")
	if err != nil {
		return err
	}
	return v.showErase(http.StatusOK, f)
}

func (v *visit) showErase(status int, f filled) error {
	p := erasePage{Form: f, Values: v.who.May(access.Values)}
	p.In.Value, p.In.Label, p.In.Destination = f.Get("value"), f.Get("label"), f.Get("destination")
	if p.In.Value == "" {
		return badRequest("it does not say what is to be erased; look it up first")
	}
	list, err := v.clerk().subjects(v.Context(), SubjectQuery{Value: p.In.Value, Destination: isogate.Destination(p.In.Destination), Limit: pageOfSubjects})
	if err != nil {
		return err
	}
	for _, s := range list.Subjects {
		if p.In.Label == "" || string(s.Label) == p.In.Label {
			p.List.Subjects = append(p.List.Subjects, s)
		}
	}
	p.More = list.Next != ""
	return v.showStatus(status, "outside-erase", "Erase what stays outside", p)
}

// eraseForm has identifiers erased.
func (h *Hub) eraseForm(v *visit) error {
	f, err := v.fill("value", "label", "destination", "reason")
	if err != nil {
		return err
	}
	_, err = v.clerk().erase(v.Context(), erasing{value: f.Get("value"), label: f.Get("label"), destination: f.Get("destination"), reason: f.Get("reason")})
	if err != nil {
		f, status, err := f.because(err, "reason")
		if err != nil {
			return err
		}
		return v.showErase(status, f)
	}
	return v.seeOther("/outside", "erasure")
}
