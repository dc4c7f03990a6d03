package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/custody"
	"github.com/isogate/isogate/internal/evidence"
	"github.com/isogate/isogate/internal/journal"
)

// journalCmd is the auditor's tools. All of them only read, also while a gateway runs.
type journalCmd struct {
	List   journalListCmd   `cmd:"" help:"List entries, newest first."`
	Show   journalShowCmd   `cmd:"" help:"Show one entry."`
	Verify journalVerifyCmd `cmd:"" help:"Verify the journal, an export, a file of evidence or a proof."`
	Prove  journalProveCmd  `cmd:"" help:"Print a proof that one entry is part of the journal."`
	Export journalExportCmd `cmd:"" help:"Write entries for others to verify or read."`
}

// journalState says which journal a command reads.
type journalState struct {
	Config string `short:"c" placeholder:"FILE" help:"Configuration that names the state directory; isogate.yaml by default."`
	State  string `placeholder:"DIR" help:"State directory, instead of a configuration."`
}

// open opens the journal for reading and says where its public key is.
func (s *journalState) open(ctx context.Context) (*journal.Reader, string, error) {
	cfg, err := stateOf(s.Config, s.State)
	if err != nil {
		return nil, "", err
	}
	r, err := journalReader(ctx, cfg)
	return r, filepath.Join(keysDir(cfg), "isogate.pub"), err
}

// readVkey reads a C2SP vkey from a file of one line.
func readVkey(path string) (string, error) {
	b, err := os.ReadFile(path) //nolint:gosec // whoever verifies names the file
	if err != nil {
		return "", fmt.Errorf("the public key: %w; name its file with --key", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// journalFilter selects entries.
type journalFilter struct {
	Since       string `placeholder:"TIME" help:"Recorded at or after an instant or a day (UTC)."`
	Before      string `placeholder:"TIME" help:"Recorded before an instant or a day (UTC)."`
	Kind        string `help:"egress, consent, pack, key, landing, admin or update."`
	Source      string `help:"Of this source."`
	Transit     string `help:"Of this transit."`
	Destination string `help:"To this destination."`
	Decision    string `help:"released or refused."`
	Purpose     string `help:"For this purpose."`
	Label       string `help:"With a field of this label."`
	Consent     string `placeholder:"ID" help:"By this consent, or about it."`
	Pack        string `placeholder:"DIGEST" help:"Judged by this pack, or about it."`
}

func (f *journalFilter) filter() (journal.Filter, error) {
	jf := journal.Filter{Kind: isogate.EntryKind(f.Kind), Source: isogate.Source(f.Source), Transit: isogate.Transit(f.Transit),
		Destination: isogate.Destination(f.Destination), Decision: f.Decision, Purpose: f.Purpose, Label: isogate.Label(f.Label),
		Consent: isogate.EntryID(f.Consent), Pack: f.Pack}
	var err error
	if jf.Since, err = moment("since", f.Since); err != nil {
		return jf, err
	}
	jf.Before, err = moment("before", f.Before)
	return jf, err
}

// moment reads the time of a flag; none is the zero time.
func moment(flag, s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("--%s %q is not a time; write it as 2026-11-02T12:00:00Z or 2026-11-02", flag, s)
}

type journalListCmd struct {
	journalState
	journalFilter
	Limit  int    `default:"50" help:"How many entries at the most."`
	After  string `placeholder:"ID" help:"Go on behind this entry."`
	Oldest bool   `help:"Oldest first."`
}

// Run prints the entries that were selected.
func (c *journalListCmd) Run(e *env) error {
	f, err := c.filter()
	if err != nil {
		return err
	}
	f.Limit, f.After, f.Newest = c.Limit, isogate.EntryID(c.After), !c.Oldest
	r, _, err := c.open(e.Context)
	if err != nil {
		return err
	}
	defer r.Close()
	entries, err := r.List(e.Context, f)
	if err != nil {
		return err
	}
	if e.JSON {
		if entries == nil {
			entries = []isogate.Entry{}
		}
		return printJSON(e.Stdout, entries)
	}
	if len(entries) == 0 {
		_, err := fmt.Fprintln(e.Stdout, "no entries")
		return err
	}
	w := tabwriter.NewWriter(e.Stdout, 0, 0, 2, ' ', 0)
	for i := range entries {
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\n", entries[i].Time.Format("2006-01-02 15:04:05Z"), entries[i].ID, about(&entries[i]))
	}
	return w.Flush()
}

// about says in one line what an entry is about.
func about(x *isogate.Entry) string {
	what := string(x.Kind)
	if x.Kind != isogate.KindEgress {
		act := x.Act
		if party := x.Detail["party"]; party != "" {
			act += " " + party
		}
		return what + "\t" + printable(act+" by "+orNobody(x.Actor))
	}
	to := string(x.Destination)
	if to == "" {
		to = x.Remote
	}
	line := fmt.Sprintf("%s\t%s -> %s", x.Stage, orNobody(string(x.Source)), orNobody(to))
	switch x.Stage {
	case isogate.StageClosed:
		line = fmt.Sprintf("%s\tof %s", x.Stage, x.Of)
		if n := len(x.Closes); n > 0 {
			line = fmt.Sprintf("%s\t%d releases, the last %s", x.Stage, n, x.Closes[n-1].Of)
		}
		if x.Status != 0 {
			line += fmt.Sprintf(", status %d", x.Status)
		}
	default:
		if x.Transit != "" {
			line += "  " + string(x.Transit)
		}
	}
	if x.Reason != "" {
		line += ": " + x.Reason
	}
	stage, rest, _ := strings.Cut(line, "\t")
	return stage + "\t" + printable(rest) + counts(x.Fields)
}

// printable is s without what a terminal would act on.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '\uFFFD'
		}
		return r
	}, s)
}

func orNobody(s string) string {
	if s == "" {
		return "(unknown)"
	}
	return s
}

type journalShowCmd struct {
	journalState
	ID   string `arg:"" help:"ID of the entry."`
	Life bool   `help:"With --json, print what became outside of what left beside the entry."`
}

// Run prints one entry, for programs as the exact bytes that are sealed. What left
// sealed has a life outside, which later entries tell of.
func (c *journalShowCmd) Run(e *env) error {
	r, _, err := c.open(e.Context)
	if err != nil {
		return err
	}
	defer r.Close()
	_, body, err := r.Find(e.Context, isogate.EntryID(c.ID))
	if errors.Is(err, journal.ErrNotFound) {
		return errNo{err}
	}
	if err != nil {
		return err
	}
	if e.JSON && !c.Life {
		_, err := fmt.Fprintf(e.Stdout, "%s\n", body)
		return err
	}
	var x isogate.Entry
	if err := json.Unmarshal(body, &x); err != nil {
		return err
	}
	life := &custody.Life{Keys: []custody.KeyLife{}, Fields: []custody.FieldLife{}}
	if x.Kind == isogate.KindEgress {
		if life, err = custody.ReadLife(e.Context, r, &x); err != nil {
			return err
		}
	}
	if e.JSON {
		return printJSON(e.Stdout, map[string]any{"entry": json.RawMessage(body), "life": life})
	}
	if err := show(e.Stdout, body); err != nil {
		return err
	}
	showLife(e.Stdout, life, e.Now())
	return nil
}

// show prints an entry's members, one per line, and its fields as a table.
func show(out io.Writer, body []byte) error {
	var x isogate.Entry
	if err := json.Unmarshal(body, &x); err != nil {
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, m := range []struct{ name, value string }{
		{"id", string(x.ID)}, {"seq", fmt.Sprint(x.Seq)}, {"time", x.Time.Format(time.RFC3339Nano)}, {"tenant", string(x.Tenant)},
		{"kind", string(x.Kind)}, {"stage", string(x.Stage)}, {"of", string(x.Of)}, {"source", string(x.Source)}, {"purpose", x.Purpose},
		{"transit", string(x.Transit)}, {"remote", x.Remote}, {"destination", string(x.Destination)},
		{"request", strings.TrimSpace(x.Method + " " + x.URL)}, {"pack", x.Pack}, {"consent", string(x.Consent)}, {"decision", x.Decision},
		{"reason", x.Reason}, {"bytes", fmt.Sprintf("%d in, %d out", x.BytesIn, x.BytesOut)}, {"digest in", x.DigestIn}, {"digest out", x.DigestOut},
		{"tls", x.TLS}, {"status", fmt.Sprint(x.Status)}, {"duration", (time.Duration(x.DurationUS) * time.Microsecond).String()},
		{"actor", x.Actor}, {"act", x.Act},
	} {
		switch m.value {
		case "", "0", "0s", "0 in, 0 out":
			if m.name != "seq" {
				continue
			}
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\n", m.name, printable(m.value))
	}
	for _, k := range slices.Sorted(maps.Keys(x.Detail)) {
		_, _ = fmt.Fprintf(w, "%s\t%s\n", printable(k), printable(x.Detail[k]))
	}
	if len(x.Closes) > 0 {
		_, _ = fmt.Fprintln(w, "\nCLOSES\tSTATUS\tDURATION")
		for _, c := range x.Closes {
			_, _ = fmt.Fprintf(w, "%s\t%d\t%s\n", printable(string(c.Of)), c.Status, time.Duration(c.DurationUS)*time.Microsecond)
		}
	}
	if err := w.Flush(); err != nil || len(x.Fields) == 0 {
		return err
	}
	_, _ = fmt.Fprintln(w, "\nN\tFIELD\tLABEL\tACTION\tHANDLING\tRULE")
	for _, f := range x.Fields {
		_, _ = fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\n", f.N, printable(f.Path), f.Label, f.Action, strings.TrimSpace(f.Handling+" "+f.TTL), printable(f.Rule))
	}
	return w.Flush()
}

type journalVerifyCmd struct {
	journalState
	File string `arg:"" optional:"" help:"An export, a file of evidence or a proof; without one the journal itself is verified."`
	Key  string `placeholder:"FILE" help:"Public key, which belongs to whoever verifies. Needed for a file."`
}

// Run verifies, and answers no where anything was changed.
func (c *journalVerifyCmd) Run(e *env) error {
	if c.File == "" {
		return c.live(e)
	}
	if c.Key == "" {
		return errors.New("a file is verified by the public key alone; name it with --key isogate.pub")
	}
	vkey, err := readVkey(c.Key)
	if err != nil {
		return err
	}
	f, err := os.Open(c.File)
	if err != nil {
		return err
	}
	defer f.Close()
	in := bufio.NewReader(f)
	first, _ := in.Peek(len(journal.ProofFormat))
	switch {
	case string(first) == journal.ProofFormat:
		return c.proof(e, in, vkey)
	case strings.HasPrefix(string(first), "PK"): // a ZIP archive
		return c.verifyEvidence(e, f, vkey)
	}
	rep, err := journal.VerifyExport(in, vkey)
	return c.answer(e, rep, err, c.Key)
}

func (c *journalVerifyCmd) live(e *env) error {
	r, key, err := c.open(e.Context)
	if err != nil {
		return err
	}
	defer r.Close()
	if c.Key != "" {
		key = c.Key
	}
	vkey, err := readVkey(key)
	if err != nil {
		return err
	}
	rep, err := r.Verify(e.Context, vkey)
	return c.answer(e, rep, err, key)
}

func (c *journalVerifyCmd) proof(e *env, in io.Reader, vkey string) error {
	text, err := io.ReadAll(io.LimitReader(in, 1<<20))
	if err != nil {
		return err
	}
	var p journal.Proof
	if err := p.UnmarshalText(text); err != nil {
		return errNo{fmt.Errorf("%s: %w", c.File, err)}
	}
	entry, size, err := p.Verify(vkey)
	if err != nil {
		return c.answer(e, journal.Report{}, err, c.Key)
	}
	if e.JSON {
		return printJSON(e.Stdout, map[string]any{"verified": true, "size": size, "entry": json.RawMessage(p.Entry)})
	}
	_, _ = fmt.Fprintf(e.Stdout, "verified: entry %s is number %d of the first %d entries of %s, by the key in %s\n\n", entry.ID, p.Index, size, entry.Tenant, c.Key)
	return show(e.Stdout, p.Entry)
}

// shownDamages is how many damages are printed for people.
const shownDamages = 20

// answer prints what a verification found.
func (c *journalVerifyCmd) answer(e *env, rep journal.Report, err error, key string) error {
	var d *journal.DamageError
	switch {
	case errors.As(err, &d) && e.JSON:
		if err := printJSON(e.Stdout, map[string]any{"verified": false, "damages": d.Damages}); err != nil {
			return err
		}
		return errNo{}
	case errors.As(err, &d):
		_, _ = fmt.Fprintf(e.Stdout, "does not verify by the key in %s:\n", key)
		for i, x := range d.Damages {
			if i == shownDamages {
				_, _ = fmt.Fprintf(e.Stdout, "  and %d more\n", len(d.Damages)-i)
				break
			}
			_, _ = fmt.Fprintf(e.Stdout, "  %s\n", x)
		}
		return errNo{}
	case err != nil:
		return err
	case e.JSON:
		return printJSON(e.Stdout, struct {
			Verified bool `json:"verified"`
			journal.Report
		}{true, rep})
	case rep.Count == 0:
		_, err := fmt.Fprintf(e.Stdout, "verified: the journal of %s is empty\n", rep.Tenant)
		return err
	}
	_, _ = fmt.Fprintf(e.Stdout, "verified: entries %d to %d of %s, under a checkpoint over %d entries\n", rep.First, rep.First+rep.Count-1, rep.Tenant, rep.Size)
	_, _ = fmt.Fprintf(e.Stdout, "log   %s\nroot  %s\nkey   %s\n", rep.Origin, rep.Root, key)
	if rep.Unsealed > 0 {
		_, _ = fmt.Fprintf(e.Stdout, "%d newer entries have no checkpoint yet\n", rep.Unsealed)
	}
	if n := len(rep.Unclosed); n > 0 {
		_, _ = fmt.Fprintf(e.Stdout, "%d releases were opened and not closed in it (under way, or cut off):\n", n)
		for i, id := range rep.Unclosed {
			if i == shownDamages {
				_, _ = fmt.Fprintf(e.Stdout, "  and %d more\n", n-i)
				break
			}
			_, _ = fmt.Fprintf(e.Stdout, "  %s\n", id)
		}
	}
	return nil
}

type journalProveCmd struct {
	journalState
	ID     string `arg:"" help:"ID of the entry."`
	Export string `placeholder:"FILE" help:"Make the proof from an export instead of the journal; needs --key."`
	Key    string `placeholder:"FILE" help:"Public key to verify the export by."`
}

// Run prints the proof.
func (c *journalProveCmd) Run(e *env) error {
	p, err := c.prove(e.Context)
	var d *journal.DamageError
	if errors.Is(err, journal.ErrNotFound) || errors.As(err, &d) {
		return errNo{err}
	}
	if err != nil {
		return err
	}
	text, err := p.MarshalText()
	if err != nil {
		return err
	}
	if e.JSON {
		return printJSON(e.Stdout, map[string]any{"entry": json.RawMessage(p.Entry), "index": p.Index, "proof": string(text)})
	}
	_, err = e.Stdout.Write(text)
	return err
}

func (c *journalProveCmd) prove(ctx context.Context) (journal.Proof, error) {
	if c.Export == "" {
		r, _, err := c.open(ctx)
		if err != nil {
			return journal.Proof{}, err
		}
		defer r.Close()
		return r.Prove(ctx, isogate.EntryID(c.ID))
	}
	if c.Key == "" {
		return journal.Proof{}, errors.New("an export is verified before anything is proved from it; name the public key with --key isogate.pub")
	}
	vkey, err := readVkey(c.Key)
	if err != nil {
		return journal.Proof{}, err
	}
	f, err := os.Open(c.Export)
	if err != nil {
		return journal.Proof{}, err
	}
	defer f.Close()
	return journal.ProveExport(f, vkey, isogate.EntryID(c.ID))
}

type journalExportCmd struct {
	journalState
	journalFilter
	Format string `enum:"jsonl,csv,ocsf,evidence" default:"jsonl" help:"jsonl and evidence can be verified; csv and ocsf are for reading (${enum})."`
	Output string `short:"o" placeholder:"FILE" help:"File to write, instead of standard output."`
}

// Run writes the export. A file appears under its name only when it is whole.
func (c *journalExportCmd) Run(e *env) error {
	f, err := c.filter()
	if err != nil {
		return err
	}
	if (c.Format == "jsonl" || c.Format == "evidence") && f != (journal.Filter{Since: f.Since, Before: f.Before}) {
		return errors.New("what can be verified has no gaps: with --format " + c.Format + " select by --since and --before only, or use csv or ocsf")
	}
	r, _, err := c.open(e.Context)
	if err != nil {
		return err
	}
	defer r.Close()
	write := func(w io.Writer) error {
		switch c.Format {
		case "csv":
			return r.ExportCSV(e.Context, w, f)
		case "ocsf":
			return r.ExportOCSF(e.Context, w, f)
		case "evidence":
			return c.writeEvidence(e.Context, w, r, evidence.Period{Since: f.Since, Before: f.Before})
		}
		run, err := r.Span(e.Context, f)
		if err != nil {
			return err
		}
		return r.Export(e.Context, w, run)
	}
	if c.Output == "" {
		return write(e.Stdout)
	}
	part, err := os.CreateTemp(filepath.Dir(c.Output), "."+filepath.Base(c.Output)+".*")
	if err != nil {
		return err
	}
	if err := errors.Join(write(part), part.Sync(), part.Close()); err != nil {
		return errors.Join(err, os.Remove(part.Name()))
	}
	return os.Rename(part.Name(), c.Output)
}
