package hub

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/policy"
)

// playgroundData is what the playground shows.
type playgroundData struct {
	Packs    []PackView // those that can be tried
	Pack     PackView
	Transits []isogate.Transit
	Transit  isogate.Transit
	Methods  []string
	Samples  []policy.Sample
	Format   string
	Tunnel   bool
	// In is what is tried, as the form shows it, and Headers its lines of headers.
	In      Specimen
	Target  string // path with query
	Headers string
	Out     *Preview // of what was sent
	Before  string   // the body, for the side-by-side view
	After   string
	Problem *Problem
}

// playground shows a made-up request of the pack's tests, the first if none is named, and
// what would leave of it.
func (h *Hub) playground(v *visit) error {
	q := v.URL.Query()
	data, t, err := h.playgroundData(Specimen{Pack: q.Get("pack"), Transit: q.Get("transit")})
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(q.Get("sample"))
	if err != nil && q.Get("sample") == "" {
		n, err = 0, nil
	}
	if t == nil || err != nil || n < 0 || n >= len(data.Samples) {
		return v.show("playground", "Playground", data)
	}
	data.take(&data.Samples[n])
	return h.showTried(v, data)
}

// playgroundData is the form for a pack and a transit; either may be left out.
func (h *Hub) playgroundData(in Specimen) (*playgroundData, *policy.Transit, error) {
	if err := h.noPolicies(); err != nil {
		return nil, nil, err
	}
	p := h.policies.InForce()
	if in.Pack != "" {
		digest, err := digestOf(in.Pack)
		if err == nil {
			p, err = h.packOf(digest)
		}
		if err != nil {
			return nil, nil, err
		}
	}
	data := &playgroundData{In: in, Pack: h.thePack(p.Plan().Digest)}
	for _, o := range h.packViews() {
		if o.Kept {
			data.Packs = append(data.Packs, o)
		}
	}
	for _, t := range p.Plan().Transits() {
		data.Transits = append(data.Transits, t.Name)
	}
	t, ok := p.Plan().Transit(isogate.Transit(in.Transit))
	switch {
	case ok:
	case in.Transit != "":
		return nil, nil, notFound("the pack has no transit of that name; choose one of it")
	default:
		if t = firstToTry(p); t == nil {
			return data, nil, nil
		}
	}
	data.Transit, data.Samples, data.Tunnel = t.Name, p.Samples(t), t.Mode == policy.Tunnel
	for _, m := range t.Matches() {
		method, _, _ := strings.Cut(m, " ")
		if !slices.Contains(data.Methods, method) {
			data.Methods = append(data.Methods, method)
		}
	}
	if t.Format != nil {
		data.Format = t.Format.Name()
	}
	return data, t, nil
}

// firstToTry is a transit that has something to try, if one has; nil without transits.
func firstToTry(p *policy.Pack) *policy.Transit {
	all := p.Plan().Transits()
	for _, t := range all {
		if t.Mode != policy.Tunnel && len(p.Samples(t)) > 0 {
			return t
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all[0]
}

// take fills the form with a made-up request.
func (d *playgroundData) take(s *policy.Sample) {
	d.In.Transit = string(d.Transit)
	d.In.Method, d.In.Body, d.In.ContentType, d.In.Source = s.Request.Method, indented(string(s.Request.Body)), s.Request.ContentType, string(s.Request.Source)
	if d.Target = s.Request.Path; s.Request.Query != "" {
		d.Target += "?" + s.Request.Query
	}
	var lines []string
	for _, h := range s.Request.Headers {
		lines = append(lines, h.Name+": "+h.Value)
	}
	for _, k := range s.Request.Cookies {
		lines = append(lines, "Cookie: "+k.Name+"="+k.Value)
	}
	d.Headers = strings.Join(lines, "\n")
}

// tryOut shows what would leave of a request. The answer is a page, and nothing of it is
// kept: sent again, it is made again.
func (h *Hub) tryOut(v *visit) error {
	f, err := v.form("pack", "transit", "source", "method", "target", "headers", "content_type", "body", "at")
	if err != nil {
		return err
	}
	in := Specimen{Pack: f.Get("pack"), Transit: f.Get("transit"), Source: f.Get("source"), Method: f.Get("method"), ContentType: f.Get("content_type"), Body: f.Get("body"), At: f.Get("at")}
	data, t, err := h.playgroundData(in)
	if err != nil {
		return err
	}
	if t == nil {
		return badRequest("no transit is chosen; choose one first")
	}
	data.Target, data.Headers = f.Get("target"), f.Get("headers")
	// A form ends lines with CR LF, whatever was pasted (HTML, section 4.10.21.4).
	data.In.Body = strings.ReplaceAll(in.Body, "\r\n", "\n")
	return h.showTried(v, data)
}

// showTried shows the form, and what would leave of what is in it.
func (h *Hub) showTried(v *visit, data *playgroundData) error {
	in := data.In
	in.Path, in.Query, _ = strings.Cut(data.Target, "?")
	var p *Problem
	var out Preview
	var err error
	if in.Headers, in.Cookies, err = namedLines(data.Headers); err == nil {
		out, err = h.preview(&in, v.now)
	}
	if errors.As(err, &p) && p.input != "" {
		data.Problem = p
		return v.showStatus(p.Status, "playground", "Playground", data)
	}
	if err != nil {
		return err
	}
	data.Out, data.Before, data.After = &out, indented(in.Body), indented(out.Body)
	return v.show("playground", "Playground", data)
}

// indented is a JSON text with its members on lines of their own; another text as it is.
func indented(s string) string {
	var b bytes.Buffer
	if json.Indent(&b, []byte(s), "", "  ") != nil {
		return s
	}
	return b.String()
}
