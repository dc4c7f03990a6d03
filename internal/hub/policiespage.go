package hub

import (
	"bytes"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/access"
	"github.com/isogate/isogate/internal/policy"
)

var policyPages = []page{
	{pattern: "GET /policies", need: access.Read, stale: true, do: (*Hub).policiesPage},
	{pattern: "GET /policies/{digest}", need: access.Read, stale: true, do: (*Hub).packPage},
	{pattern: "GET /policies/{digest}/transits/{name}", need: access.Read, stale: true, do: (*Hub).transitPage},
	{pattern: "GET /policies/{digest}/compare", need: access.Read, stale: true, do: (*Hub).comparePage},
	{pattern: "GET /policies/{digest}/tests", need: access.Read, stale: true, do: (*Hub).testsPage},
	{pattern: "GET /policies/{digest}/files/{path...}", need: access.Read, stale: true, do: (*Hub).packFilePage},
}

// changesTrouble is why what pages say about approvals may be old; "" if it is not.
func (h *Hub) changesTrouble() string {
	if h.policies.Changes == nil {
		return ""
	}
	if err := h.policies.Changes.InTouch(); err != nil {
		return err.Error()
	}
	return ""
}

func (h *Hub) policiesPage(v *visit) error {
	if err := h.noPolicies(); err != nil {
		return err
	}
	all := h.packViews()
	data := struct {
		Now                    PackView
		Description            string
		Transits               int
		Waiting, Before, Other []PackView
		Needed                 int
		MayPropose             bool
		Trouble                string
	}{Needed: h.policies.Approvals, MayPropose: v.who.May(access.Propose) && h.noChanges() == nil, Trouble: h.changesTrouble()}
	plan := h.policies.InForce().Plan()
	data.Description, data.Transits = plan.Description, len(plan.Transits())
	for _, p := range all {
		switch {
		case p.InForce:
			data.Now = p
		case p.Standing == wasInForce:
			data.Before = append(data.Before, p)
		case p.Standing == "proposed" || p.Standing == "approved":
			data.Waiting = append(data.Waiting, p)
		default:
			data.Other = append(data.Other, p)
		}
	}
	slices.SortStableFunc(data.Before, func(a, b PackView) int { return b.Last.Compare(*a.Last) })
	return v.show("policies", "Policies", data)
}

// visitPack is the pack that a path names, and what was done about it.
func (h *Hub) visitPack(v *visit) (*policy.Pack, PackView, error) {
	digest, err := digestOf(v.PathValue("digest"))
	if err != nil {
		return nil, PackView{}, err
	}
	p, err := h.packOf(digest)
	if err != nil {
		return nil, PackView{}, err
	}
	view := h.thePack(digest)
	if view.Name == "" { // nothing was done about it yet
		view.Name, view.Version = p.Plan().Name, p.Plan().Version
	}
	return p, view, nil
}

// transitLine is a transit in the list of a pack.
type transitLine struct {
	Transit      *policy.Transit
	Plain        int // rules that let people outside see something
	Soon, Ended  int
	Unused       int
	NextEnd      *time.Time
	Sources      []string
	Tunnel, Seal bool
}

func (h *Hub) packPage(v *visit) error {
	p, view, err := h.visitPack(v)
	if err != nil {
		return err
	}
	plan := p.Plan()
	data := struct {
		Pack        PackView
		Description string
		Transits    []transitLine
		Invariants  []policy.Invariant
		Files       []string
		Others      []PackView
		Cases       int
	}{Pack: view, Description: plan.Description, Invariants: plan.Invariants(), Cases: p.Cases()}
	uses, err := h.usesOf(v.Context(), plan.Digest, "")
	if err != nil {
		return err
	}
	for _, t := range plan.Transits() {
		tv, _, err := transitRules(p, t.Name, v.now)
		if err != nil {
			return err
		}
		uses.tell(&tv)
		line := transitLine{Transit: t, Sources: tv.Sources, Tunnel: t.Mode == policy.Tunnel}
		for _, r := range tv.Rules {
			if !r.Plain {
				continue
			}
			line.Plain++
			line.Soon += count(r.Standing == "ends soon")
			line.Ended += count(r.Standing == "ended")
			line.Unused += count(r.Unused)
			if r.Ends != nil && r.Ends.After(v.now) && (line.NextEnd == nil || r.Ends.Before(*line.NextEnd)) {
				line.NextEnd = r.Ends
			}
		}
		data.Transits = append(data.Transits, line)
	}
	if files, err := h.filesOf(plan.Digest); err == nil {
		for path := range files.All() {
			data.Files = append(data.Files, path)
		}
	}
	for _, o := range h.packViews() {
		if o.Digest != plan.Digest && o.Kept {
			data.Others = append(data.Others, o)
		}
	}
	return v.show("policy", packTitle(view), data)
}

func count(yes bool) int {
	if yes {
		return 1
	}
	return 0
}

func packTitle(p PackView) string {
	if p.Name == "" {
		return "Pack"
	}
	return p.Name + " " + number(p.Version)
}

func (h *Hub) transitPage(v *visit) error {
	p, view, err := h.visitPack(v)
	if err != nil {
		return err
	}
	tv, t, err := h.transitView(v.Context(), p, isogate.Transit(v.PathValue("name")), v.now)
	if err != nil {
		return err
	}
	return v.show("policy-transit", "Transit "+string(t.Name), struct {
		Pack    PackView
		T       TransitView
		Tunnel  bool
		Counted bool
		May     bool // try it out
	}{view, tv, t.Mode == policy.Tunnel, tv.Used != nil, v.who.May(access.Values)})
}

func (h *Hub) comparePage(v *visit) error {
	p, view, err := h.visitPack(v)
	if err != nil {
		return err
	}
	before, with := h.policies.InForce(), v.URL.Query().Get("with")
	if with != "" {
		if with, err = digestOf(with); err == nil {
			before, err = h.packOf(with)
		}
		if err != nil {
			return err
		}
	}
	e := policy.Compare(before.Plan(), p.Plan(), v.now)
	was := h.thePack(before.Plan().Digest)
	return v.show("policy-compare", "What changes", struct {
		Pack, Was PackView
		Effect    *policy.Effect
		Files     []fileDiff
	}{view, was, &e, h.filesDiff(before.Plan().Digest, p.Plan().Digest)})
}

func (h *Hub) testsPage(v *visit) error {
	p, view, err := h.visitPack(v)
	if err != nil {
		return err
	}
	report, err := p.Test(v.now)
	if err != nil {
		return err
	}
	checks := []policy.Finding{}
	if files, err := h.filesOf(view.Digest); err == nil {
		var found *policy.Errors
		if _, err := files.Check(v.now); errors.As(err, &found) {
			checks = found.Findings
		}
	}
	return v.show("policy-tests", "Tests of "+packTitle(view), struct {
		Pack   PackView
		Tests  []policy.CaseResult
		Failed int
		Checks []policy.Finding
	}{view, report.Cases, report.Failed(), checks})
}

// packLine is one line of a file of a pack.
type packLine struct {
	N    int
	Text string
}

// maxShownFile is the largest file of a pack that a page shows, in bytes.
const maxShownFile = 512 << 10

func (h *Hub) packFilePage(v *visit) error {
	digest, err := digestOf(v.PathValue("digest"))
	if err != nil {
		return err
	}
	files, err := h.filesOf(digest)
	if err != nil {
		return err
	}
	src, ok := files.File(v.PathValue("path"))
	if !ok {
		return notFound("the pack has no file of that path")
	}
	data := struct {
		Pack  PackView
		Path  string
		Lines []packLine
		Size  int
		Trait string // why it is not shown; "" if it is
	}{Pack: h.thePack(digest), Path: v.PathValue("path"), Size: len(src)}
	switch {
	case len(src) > maxShownFile:
		data.Trait = "The file is too large to be shown here."
	case !utf8.Valid(src) || bytes.IndexByte(src, 0) >= 0:
		data.Trait = "The file is no text."
	default:
		for i, line := range splitLines(string(src)) {
			data.Lines = append(data.Lines, packLine{i + 1, line})
		}
	}
	return v.show("policy-file", data.Path, data)
}

// splitLines are the lines of a text, without their ends.
func splitLines(s string) []string {
	s = strings.TrimSuffix(strings.ReplaceAll(s, "\r\n", "\n"), "\n")
	return strings.Split(s, "\n")
}

// ruleLink is the address of a place in a pack, file:line, as pages of it link to it.
func ruleLink(digest, place string) string {
	file, line, ok := strings.Cut(place, ":")
	if !ok || strings.Trim(line, "0123456789") != "" || line == "" {
		return ""
	}
	return fileLink(digest, file) + "#L" + line
}

// fileLink is the address of a file of a pack.
func fileLink(digest, path string) string {
	segments := strings.Split(path, "/")
	for i := range segments {
		segments[i] = url.PathEscape(segments[i])
	}
	return "/policies/" + digest + "/files/" + strings.Join(segments, "/")
}
