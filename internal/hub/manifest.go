package hub

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/consent"
	"github.com/isogate/isogate/internal/remote"
)

// Manifest is the normal form of an app's manifest: what it asks for as rows, and
// what of it nobody can consent to.
type Manifest struct {
	Party    consent.Party    `json:"party,omitempty"` // "" where the manifest names no app
	App      consent.Manifest `json:"app"`
	Format   string           `json:"format"`
	Rows     []DeclaredRow    `json:"rows"`
	Refused  []Refused        `json:"refused"`
	Warnings []Finding        `json:"warnings"`
	// Configurable are the places for addresses that an administrator may enter. They
	// let nothing out until a manifest declares one.
	Configurable []Configurable `json:"configurable,omitempty"`
}

// Configurable is one of them.
type Configurable struct {
	Remote      string   `json:"remote,omitempty"` // "" is any address for the app's own fetches
	Name        string   `json:"name,omitempty"`
	Description string   `json:"description,omitempty"`
	Patterns    []string `json:"patterns,omitempty"` // hosts that the app can work with; none is any
	Line        int      `json:"line"`
	Column      int      `json:"column"`
}

// DeclaredRow is one row of a manifest and where it comes from.
type DeclaredRow struct {
	Row      string `json:"row"`
	Written  string `json:"written"` // as the manifest has it
	Line     int    `json:"line"`
	Column   int    `json:"column"`
	Remote   string `json:"remote,omitempty"` // key of the remote that declares it
	Category string `json:"category,omitempty"`
	// Configurable says that an administrator may enter another address for it.
	Configurable bool             `json:"configurable,omitempty"`
	Warnings     []remote.Warning `json:"warnings,omitempty"`
}

// Refused is an address of a manifest that nobody can consent to.
type Refused struct {
	Written string `json:"written"`
	Kind    string `json:"kind"`
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Reason  string `json:"reason"`
}

// Finding is one thing to say about a manifest, and where.
type Finding struct {
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

// Bounds of what identifies an app, in characters.
const (
	maxName    = 100
	maxVersion = 100
	maxAppID   = 200
)

// ReadManifest reads a manifest; fragment takes one that names no app. It refuses one whose name, vendor, version or ID
// could not be shown as it is: whoever decides must be able to read who asks. An
// error for which the manifest is to blame is a [*Problem] that carries findings.
func ReadManifest(name string, src []byte, env map[string]string, fragment bool) (*remote.Manifest, Manifest, error) {
	m, err := remote.ParseManifest(name, src, remote.ManifestOptions{Env: env, Fragment: fragment})
	if err != nil {
		return nil, Manifest{}, misunderstood(err)
	}
	for _, text := range []struct {
		what, value string
		most        int
	}{{"app's name", m.Name, maxName}, {"app's vendor", m.Vendor, maxName}, {"app's version", m.Version, maxVersion}, {"app's id", m.App, maxAppID}} {
		if why := unshowable(text.value, text.most); why != "" {
			return nil, Manifest{}, misunderstood(errors.New("the " + text.what + " " + why))
		}
	}
	v := Manifest{App: identity(m), Format: m.Format, Rows: []DeclaredRow{}, Refused: []Refused{}, Warnings: viewFindings(m.Warnings)}
	if source, err := m.Source(); err == nil {
		v.Party = consent.App(source)
	}
	for _, d := range m.Rows {
		v.Rows = append(v.Rows, DeclaredRow{Row: d.Row.String(), Written: consent.Shown(d.Written), Line: d.Line, Column: d.Column,
			Remote: consent.Shown(d.RemoteKey), Category: consent.Shown(d.Category), Configurable: d.Configurable, Warnings: d.Warnings})
	}
	for _, p := range m.Configurable {
		c := Configurable{Remote: consent.Shown(p.RemoteKey), Name: consent.Shown(p.Name), Description: consent.Shown(p.Description), Line: p.Line, Column: p.Column}
		for _, host := range p.Patterns {
			c.Patterns = append(c.Patterns, consent.Shown(host))
		}
		v.Configurable = append(v.Configurable, c)
	}
	for _, r := range m.Refused {
		v.Refused = append(v.Refused, Refused{consent.Shown(r.Written), r.Kind.String(), r.Line, r.Column, consent.Shown(r.Reason)})
	}
	return m, v, nil
}

func unshowable(s string, most int) string {
	switch {
	case !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }):
		return "has characters that do not print, such as line ends or those that turn the direction of writing"
	case utf8.RuneCountInString(s) > most:
		return "is too long to be read; leave out what is not needed"
	}
	return ""
}

func misunderstood(err error) *Problem {
	p := problem(http.StatusUnprocessableEntity, "manifest", "the manifest cannot be understood: "+consent.Shown(err.Error()))
	var found *remote.ManifestError
	if errors.As(err, &found) {
		p.Findings = viewFindings(found.Findings)
		p.Detail = "the manifest cannot be understood; see the findings"
	}
	return p
}

func viewFindings(list []remote.Finding) []Finding {
	out := []Finding{}
	for _, f := range list {
		out = append(out, Finding{f.Line, f.Column, consent.Shown(f.Message), consent.Shown(f.Hint)})
	}
	return out
}

func identity(m *remote.Manifest) consent.Manifest {
	return consent.Manifest{ID: m.App, Name: m.Name, Vendor: m.Vendor, Version: m.Version, Digest: m.Digest}
}

// Import is what importing a manifest does, or would do.
type Import struct {
	Manifest
	Changes []Change `json:"changes"`
	DryRun  bool     `json:"dry_run"`
	// Declared is the act that took the manifest; absent if the ledger had it already.
	Declared isogate.EntryID `json:"declared,omitempty"`
	// Request is the act that asks for Asked. Waiting are rows that a request asks for
	// already, Decided those not asked for because somebody denied or revoked them.
	Request isogate.EntryID `json:"request,omitempty"`
	Asked   []string        `json:"asked"`
	Waiting []string        `json:"waiting"`
	Decided []string        `json:"decided"`
	Detail  string          `json:"detail"`
}

// importing is a manifest that somebody gives.
type importing struct {
	src    []byte
	env    map[string]string
	as     string // app/NAME, where it is not the one that the manifest names
	dry    bool   // change nothing
	again  bool   // ask also for what was denied or revoked before
	reason string
}

func (h *Hub) importApp(c *call) (*answer, error) {
	q, err := c.parameters([]string{"dry_run", "as", "reason", "ask_again"}, "env")
	if err != nil {
		return nil, err
	}
	in := importing{as: value(q, "as"), reason: value(q, "reason")}
	if in.dry, err = flag(q, "dry_run"); err != nil {
		return nil, err
	}
	if in.again, err = flag(q, "ask_again"); err != nil {
		return nil, err
	}
	if in.env, err = environment(q["env"]); err != nil {
		return nil, err
	}
	if in.src, err = c.readBody(); err != nil {
		return nil, err
	}
	out, err := c.clerk(h).importApp(c.Context(), in)
	if err != nil {
		return nil, err
	}
	return ok(out)
}

// importApp takes a manifest, and asks for what it needs that is not granted: once,
// for all of it together.
//
// promise: P12
// promise: P13
func (k clerk) importApp(ctx context.Context, in importing) (Import, error) {
	if err := checkReason(in.reason, false); err != nil {
		return Import{}, err
	}
	m, v, err := ReadManifest("manifest", in.src, in.env, in.as != "")
	if err != nil {
		return Import{}, about("manifest", err)
	}
	if v.Party, err = partyFor(m, in.as); err != nil {
		return Import{}, about("as", err)
	}
	rows, st := m.Table(), k.state.Party(v.Party)
	out := Import{Manifest: v, DryRun: in.dry}
	known := st.Manifest == identity(m) && slices.Equal(st.Declared, rows)
	if in.dry {
		next, why := k.state.Fold(k.declaration(v.Party, m))
		if why[0] != nil {
			return Import{}, notEffective(why[0], "")
		}
		if !known {
			st = next.Party(v.Party)
		}
		out.plan(st, rows, in.again, k.now)
		return out, nil
	}
	if !known {
		a, err := k.record(ctx, k.declaration(v.Party, m))
		if err != nil {
			return Import{}, err
		}
		out.Declared, st = a.ID, k.hub.ledger.State().Party(v.Party)
	}
	asked := out.plan(st, rows, in.again, k.now)
	if len(asked) == 0 {
		return out, nil
	}
	if in.reason == "" {
		in.reason = "its manifest was imported"
	}
	a, err := k.record(ctx, k.hub.ledger.NewRequest(v.Party, asked, k.who, in.reason))
	if err != nil {
		return Import{}, err
	}
	out.Request = a.ID
	return out, nil
}

func (k clerk) declaration(party consent.Party, m *remote.Manifest) consent.Act {
	a := consent.Act{What: consent.Declared, Party: party, Actor: k.who, Rows: m.Table(), Manifest: identity(m), Seq: k.state.Revision, At: k.now}
	for _, d := range m.Rows {
		a.Written = append(a.Written, consent.Shown(d.Written))
	}
	return a
}

// plan says what is to be asked for, and returns it.
func (out *Import) plan(st *consent.Standing, rows []remote.Row, again bool, at time.Time) (asked []remote.Row) {
	out.Asked, out.Waiting, out.Decided = []string{}, []string{}, []string{}
	changes := remote.Compare(st.Rows(at), rows)
	out.Changes = viewChanges(changes)
	for _, ch := range changes {
		switch {
		case !ch.Class.Asks():
		case st.Waiting(ch.Row, at) != nil:
			out.Waiting = append(out.Waiting, ch.Row.String())
		case !again && slices.ContainsFunc(st.Decided, func(d remote.Row) bool { return d.Covers(ch.Row) }):
			out.Decided = append(out.Decided, ch.Row.String())
		case !st.Blocked:
			asked = append(asked, ch.Row)
			out.Asked = append(out.Asked, ch.Row.String())
		}
	}
	switch {
	case st.Blocked:
		out.Detail = "the app is blocked, so that nothing is asked for"
	case len(asked) > 0:
		out.Detail = "what was added or widened waits for an administrator; what was granted goes on working"
	case len(out.Waiting) > 0:
		out.Detail = "what is new was asked for already, and waits for an administrator"
	case len(out.Decided) > 0:
		out.Detail = "what is new was denied or revoked before; it is asked for again only if somebody says so"
	default:
		out.Detail = "nothing was added or widened, so that nobody need be asked"
	}
	return asked
}

// environment reads what a manifest's variables stand for, each as NAME=VALUE.
func environment(pairs []string) (map[string]string, error) {
	env := map[string]string{}
	for _, pair := range pairs {
		name, v, is := strings.Cut(pair, "=")
		if _, twice := env[name]; !is || name == "" || twice {
			return nil, about("env", badRequest("the parameter env is NAME=VALUE, each name once"))
		}
		env[name] = v
	}
	return env, nil
}

// partyFor is whose manifest it is: the app that it names, or the one that the
// caller says.
func partyFor(m *remote.Manifest, as string) (consent.Party, error) {
	if as == "" {
		source, err := m.Source()
		if err != nil {
			return "", misunderstood(err)
		}
		party, err := consent.ParseParty(string(source))
		if err != nil {
			return "", misunderstood(err)
		}
		return party, nil
	}
	party, err := consent.ParseParty(as)
	if err != nil {
		return "", badRequest("the parameter as: %v", err)
	}
	if _, app := party.Source(); !app {
		return "", badRequest("the parameter as: %s is no app; write app/NAME", party)
	}
	return party, nil
}

// Diff is a manifest held against what is granted.
type Diff struct {
	Party   consent.Party `json:"party"`
	Changes []Change      `json:"changes"`
	Asks    bool          `json:"asks"` // something of it waits for an administrator
	Refused []Refused     `json:"refused"`
}

// NewDiff holds rows against what a party may use.
func NewDiff(st *consent.Standing, rows []remote.Row, refused []Refused, at time.Time) Diff {
	d := Diff{Party: st.Party, Changes: viewChanges(remote.Compare(st.Rows(at), rows)), Refused: refused}
	d.Asks = slices.ContainsFunc(d.Changes, func(c Change) bool { return c.Asks })
	return d
}

func (h *Hub) diffApp(c *call) (*answer, error) {
	st, err := h.standing(c)
	if err != nil {
		return nil, err
	}
	return ok(NewDiff(st, st.Declared, []Refused{}, c.now))
}

func (h *Hub) diffManifest(c *call) (*answer, error) {
	q, err := c.parameters(nil, "env")
	if err != nil {
		return nil, err
	}
	party, err := c.party()
	if err != nil {
		return nil, err
	}
	env, err := environment(q["env"])
	if err != nil {
		return nil, err
	}
	body, err := c.readBody()
	if err != nil {
		return nil, err
	}
	m, v, err := ReadManifest("manifest", body, env, false)
	if err != nil {
		return nil, err
	}
	return ok(NewDiff(c.state.Party(party), m.Table(), v.Refused, c.now))
}
