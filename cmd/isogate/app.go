package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/isogate/isogate/internal/consent"
	"github.com/isogate/isogate/internal/hub"
	"github.com/isogate/isogate/internal/remote"
)

// appCmd is about apps and their manifests.
type appCmd struct {
	Import appImportCmd `cmd:"" help:"Import an app's manifest, and ask for what it needs."`
	List   appListCmd   `cmd:"" help:"List the apps, and the transits that wait for an administrator."`
	Show   appShowCmd   `cmd:"" help:"Show where one of them stands."`
	Diff   appDiffCmd   `cmd:"" help:"Hold a manifest against what is granted. Exit status 3: something is new."`
}

// exitAsks is the status of a difference that waits for an administrator, as that
// of a pack that lets out more.
const exitAsks = 3

// errStatus ends a command with a status of its own.
type errStatus int

func (s errStatus) Error() string { return "" }

// manifestFlags say which manifest, and how it is read.
type manifestFlags struct {
	Manifest string   `arg:"" help:"The manifest's file; - is standard input."`
	Env      []string `short:"e" sep:"none" placeholder:"NAME=VALUE" help:"What a variable of the manifest stands for; may be repeated."`
}

// maxManifest is one byte more than any manifest may have.
const maxManifest = 1 << 20

func (m *manifestFlags) read(e *env) ([]byte, map[string]string, error) {
	vars := map[string]string{}
	for _, pair := range m.Env {
		name, value, is := strings.Cut(pair, "=")
		if _, twice := vars[name]; !is || name == "" || twice {
			return nil, nil, fmt.Errorf("-e %q: write NAME=VALUE, each name once", pair)
		}
		vars[name] = value
	}
	in := e.Stdin
	if m.Manifest != "-" {
		f, err := os.Open(m.Manifest)
		if err != nil {
			return nil, nil, fmt.Errorf("manifest: %w", err)
		}
		defer f.Close()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, maxManifest))
	if err == nil && len(b) == maxManifest {
		err = errors.New("it is larger than any manifest may be, 512 KiB")
	}
	if err != nil {
		return nil, nil, fmt.Errorf("manifest: %w", err)
	}
	return b, vars, nil
}

// parse reads the manifest in this process.
func (m *manifestFlags) parse(e *env) (*remote.Manifest, hub.Manifest, error) {
	src, vars, err := m.read(e)
	if err != nil {
		return nil, hub.Manifest{}, err
	}
	parsed, v, err := hub.ReadManifest(m.Manifest, src, vars, true)
	var p *hub.Problem
	if errors.As(err, &p) {
		return nil, v, errors.New(inFile(m.Manifest, p))
	}
	return parsed, v, err
}

// inFile is what is wrong about a manifest, with its file's name.
func inFile(file string, p *hub.Problem) string {
	if len(p.Findings) == 0 {
		return file + ": " + p.Detail
	}
	lines := []string{file + " cannot be understood:"}
	for _, f := range p.Findings {
		line := fmt.Sprintf("%s:%d:%d: %s", file, f.Line, f.Column, f.Message)
		if f.Hint != "" {
			line += "; " + f.Hint
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

type appImportCmd struct {
	manifestFlags
	actor
	DryRun   bool   `help:"Only show the manifest's normal form and what of it is refused. Needs no configuration. Exit status 1: an address is refused."`
	As       string `placeholder:"app/NAME" help:"The app, where it is not the one that the manifest names."`
	AskAgain bool   `help:"Ask also for what was denied or revoked before."`
	Reason   string `help:"Why, for whoever decides."`
}

// Run imports the manifest.
func (c *appImportCmd) Run(e *env) error {
	if c.DryRun {
		return c.dry(e)
	}
	src, _, err := c.read(e)
	if err != nil {
		return err
	}
	q := url.Values{"env": c.Env}
	for name, value := range map[string]string{"as": c.As, "reason": c.Reason} {
		if value != "" {
			q.Set(name, value)
		}
	}
	if c.AskAgain {
		q.Set("ask_again", "true")
	}
	return c.act(e, func(a *api) error {
		var im hub.Import
		err := a.call(e.Context, http.MethodPost, query("/apps", q), "application/yaml", src, &im)
		var p *refused
		if errors.As(err, &p) && p.Status == http.StatusUnprocessableEntity {
			return errors.New(inFile(c.Manifest, &p.Problem))
		}
		return tell(e, im, err, func(w io.Writer) { c.told(w, &im) })
	})
}

func query(path string, q url.Values) string {
	if s := q.Encode(); s != "" {
		return path + "?" + s
	}
	return path
}

func (c *appImportCmd) dry(e *env) error {
	_, v, err := c.parse(e)
	if err != nil {
		return err
	}
	if c.As != "" {
		party, err := consent.ParseParty(c.As)
		if err != nil {
			return fmt.Errorf("--as: %w", err)
		}
		v.Party = party
	}
	if e.JSON {
		if err := printJSON(e.Stdout, v); err != nil {
			return err
		}
	} else {
		showManifest(e.Stdout, c.Manifest, &v)
	}
	if n := len(v.Refused); n > 0 {
		return errNo{fmt.Errorf("nobody can consent to %s of this manifest", countOf(n, "address", "addresses"))}
	}
	return nil
}

func countOf(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// told prints what an import did.
func (c *appImportCmd) told(w io.Writer, im *hub.Import) {
	showManifest(w, c.Manifest, &im.Manifest)
	_, _ = fmt.Fprintln(w)
	if im.Declared != "" {
		_, _ = fmt.Fprintf(w, "imported   entry %s\n", im.Declared)
	} else {
		_, _ = fmt.Fprintln(w, "imported   already; nothing changed")
	}
	for _, list := range []struct {
		word string
		rows []string
	}{{"asked", im.Asked}, {"waits", im.Waiting}, {"denied", im.Decided}} {
		for _, r := range list.rows {
			_, _ = fmt.Fprintf(w, "%-10s %s\n", list.word, printable(r))
		}
	}
	_, _ = fmt.Fprintln(w, im.Detail+".")
	if im.Request != "" {
		_, _ = fmt.Fprintf(w, "next: isogate consent show %s\n", im.Request)
	}
}

// showManifest prints a manifest's normal form.
func showManifest(w io.Writer, file string, v *hub.Manifest) {
	_, _ = fmt.Fprintf(w, "%s: %s\n", file, identity(&v.App))
	if v.Party != "" {
		_, _ = fmt.Fprintf(w, "source     %s\n", v.Party)
	}
	_, _ = fmt.Fprintf(w, "manifest   %s, %s\n", v.Format, v.App.Digest)
	if len(v.Rows) == 0 {
		_, _ = fmt.Fprintln(w, "It declares no address that anybody could consent to.")
	} else {
		_, _ = fmt.Fprintln(w)
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		_, _ = fmt.Fprintln(t, "AT\tKIND\tTO\tOPERATIONS\tEND-USER DATA\tTOKENS\tREGION\tWRITTEN")
		for _, r := range v.Rows {
			row, err := remote.ParseRow(r.Row)
			if err != nil {
				_, _ = fmt.Fprintf(t, "%d:%d\t%s\n", r.Line, r.Column, printable(r.Row))
				continue
			}
			_, _ = fmt.Fprintf(t, "%d:%d\t%s\n", r.Line, r.Column, strings.Join(append(cells(row), printable(r.Written)), "\t"))
		}
		_ = t.Flush()
	}
	for _, r := range v.Rows {
		for _, x := range r.Warnings {
			_, _ = fmt.Fprintf(w, "%s:%d:%d: warning: %s\n", file, r.Line, r.Column, printable(x.Message))
		}
	}
	for _, f := range v.Warnings {
		_, _ = fmt.Fprintf(w, "%s:%d:%d: warning: %s\n", file, f.Line, f.Column, printable(f.Message+hint(f.Hint)))
	}
	for _, p := range v.Configurable {
		what := p.Name
		if what == "" {
			what = "any address for the app's own fetches"
		}
		if len(p.Patterns) > 0 {
			what += " (" + strings.Join(p.Patterns, ", ") + ")"
		}
		_, _ = fmt.Fprintf(w, "%s:%d:%d: configurable: %s; it lets nothing out until a manifest declares the address\n", file, p.Line, p.Column, printable(what))
	}
	for _, r := range v.Refused {
		_, _ = fmt.Fprintf(w, "%s:%d:%d: refused: %s %q: %s\n", file, r.Line, r.Column, r.Kind, printable(r.Written), printable(r.Reason))
	}
}

func hint(s string) string {
	if s == "" {
		return ""
	}
	return "; " + s
}

// cells are a row's parts in columns; "-" is none.
func cells(r remote.Row) []string {
	to := r.Host
	if r.Port != 0 {
		to = fmt.Sprintf("%s:%d%s", r.Host, r.Port, r.Path)
	}
	data := "no"
	if r.EndUserData {
		data = "yes"
	}
	out := []string{r.Kind.String(), to, r.Operations.String(), data, r.Tokens.String(), r.Region}
	if r.Kind == remote.TransitWay {
		out[3] = "-"
	}
	for i := range out {
		if out[i] == "" {
			out[i] = "-"
		}
	}
	return out
}

// identity says which app in a line.
func identity(m *consent.Manifest) string {
	name := m.Name
	if name == "" {
		name = "an app without a name"
	}
	if m.Version != "" {
		name += " " + m.Version
	}
	if m.Vendor != "" {
		name += ", by " + m.Vendor
	}
	if m.ID != "" {
		name += " (" + m.ID + ")"
	}
	return printable(name)
}

// ledgerFlags say which ledger a command reads. It needs no token: whoever can read
// the state directory can read the journal.
type ledgerFlags struct {
	Config string `short:"c" default:"isogate.yaml" placeholder:"FILE" help:"Configuration (default isogate.yaml)."`
}

func (f *ledgerFlags) read(ctx context.Context) (*config, *consent.State, error) {
	cfg, err := loadConfig(f.Config)
	if err != nil {
		return nil, nil, err
	}
	s, err := readState(ctx, cfg)
	return cfg, s, err
}

type appListCmd struct{ ledgerFlags }

// Run lists the parties.
func (c *appListCmd) Run(e *env) error {
	_, state, err := c.read(e.Context)
	if err != nil {
		return err
	}
	list := hub.AppList{Apps: hub.Apps(state, e.Now())}
	return tell(e, list, nil, func(w io.Writer) {
		if len(list.Apps) == 0 {
			_, _ = fmt.Fprintln(w, "no apps; import a manifest: isogate app import MANIFEST")
			return
		}
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		_, _ = fmt.Fprintln(t, "PARTY\tAPP\tDECLARED\tGRANTED\tWAITING\t")
		for _, a := range list.Apps {
			name, blocked := "-", ""
			if a.App != nil {
				name = identity(a.App)
			}
			if a.Blocked {
				blocked = "blocked"
			}
			_, _ = fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%d\t%s\n", a.Party, name, a.Declared, a.Usable, a.Waiting, blocked)
		}
		_ = t.Flush()
	})
}

type appShowCmd struct {
	ledgerFlags
	Party string `arg:"" name:"app" help:"app/NAME, or transit/NAME."`
}

// Run shows one party.
func (c *appShowCmd) Run(e *env) error {
	party, err := consent.ParseParty(c.Party)
	if err != nil {
		return err
	}
	_, state, err := c.read(e.Context)
	if err != nil {
		return err
	}
	v, found := hub.FindApp(state, party, e.Now())
	if !found {
		return errNo{fmt.Errorf("the ledger does not know %s; see isogate app list", party)}
	}
	return tell(e, v, nil, func(w io.Writer) {
		_, _ = fmt.Fprint(w, v.Party)
		if v.App != nil {
			_, _ = fmt.Fprintf(w, ": %s\nmanifest   %s", identity(v.App), v.App.Digest)
		}
		_, _ = fmt.Fprintln(w)
		if v.Blocked {
			_, _ = fmt.Fprintln(w, "It is blocked: nothing may leave, and nothing may be asked for.")
		}
		rows(w, "granted now", v.Usable)
		var waits []string
		for _, ch := range v.Changes {
			if ch.Asks {
				waits = append(waits, ch.Class+"  "+ch.Row)
			}
		}
		rows(w, "declared and not granted", waits)
		rows(w, "denied or revoked; asked for again only if somebody says so", v.Decided)
		if len(v.Consents) > 0 {
			_, _ = fmt.Fprintln(w)
			consentTable(w, v.Consents)
		}
	})
}

func rows(w io.Writer, title string, rows []string) {
	if len(rows) == 0 {
		return
	}
	_, _ = fmt.Fprintf(w, "\n%s\n", title)
	for _, r := range rows {
		_, _ = fmt.Fprintf(w, "  %s\n", printable(r))
	}
}

type appDiffCmd struct {
	Party string `arg:"" name:"app" help:"app/NAME."`
	manifestFlags
	ledgerFlags
}

// Run holds a manifest against what is granted.
func (c *appDiffCmd) Run(e *env) error {
	party, err := consent.ParseParty(c.Party)
	if err != nil {
		return err
	}
	m, v, err := c.parse(e)
	if err != nil {
		return err
	}
	_, state, err := c.ledgerFlags.read(e.Context)
	if err != nil {
		return err
	}
	d := hub.NewDiff(state.Party(party), m.Table(), v.Refused, e.Now())
	err = tell(e, d, nil, func(w io.Writer) {
		if len(d.Changes) == 0 {
			_, _ = fmt.Fprintln(w, "nothing is granted, and nothing is declared")
		}
		for _, ch := range d.Changes {
			_, _ = fmt.Fprintf(w, "%-10s %s\n", ch.Class, ch.Row+removed(ch))
			for _, why := range ch.Why {
				_, _ = fmt.Fprintf(w, "           %s\n", why)
			}
		}
		for _, r := range d.Refused {
			_, _ = fmt.Fprintf(w, "%s:%d:%d: refused: %s %q: %s\n", c.Manifest, r.Line, r.Column, r.Kind, printable(r.Written), printable(r.Reason))
		}
	})
	if err == nil && d.Asks {
		return errStatus(exitAsks)
	}
	return err
}

func removed(ch hub.Change) string {
	if ch.Row != "" {
		return ""
	}
	return strings.Join(ch.From, ", ")
}
