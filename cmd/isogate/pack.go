package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/policy"
)

// packCmd is the tools of those who write policy packs.
type packCmd struct {
	Check   packCheckCmd   `cmd:"" help:"Find every mistake of a pack."`
	Test    packTestCmd    `cmd:"" help:"Run the cases of a pack."`
	Explain packExplainCmd `cmd:"" help:"Say why a field is treated as it is, and what would change that."`
	Plan    packPlanCmd    `cmd:"" help:"Say what changes for what leaves when one pack takes another's place."`
}

// printJSON writes one value for programs.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// loadPack loads a pack for a command that needs a good one.
func loadPack(dir string) (*policy.Pack, error) {
	pack, err := policy.Load(dir)
	var found *policy.Errors
	if errors.As(err, &found) {
		return nil, fmt.Errorf("the pack has mistakes (%d); see them with isogate pack check %s", len(found.Findings), dir)
	}
	return pack, err
}

// findTransit is the transit of a name that the command line gave.
func findTransit(pack *policy.Pack, name string) (*policy.Transit, error) {
	if t, ok := pack.Plan().Transit(isogate.Transit(name)); ok {
		return t, nil
	}
	var names []isogate.Transit
	for _, t := range pack.Plan().Transits() {
		names = append(names, t.Name)
	}
	return nil, fmt.Errorf("the pack has no transit %q; use --transit with one of %v", name, names)
}

// instant reads --at: an instant, or a day, whose first instant in UTC it is.
func instant(at string, now func() time.Time) (time.Time, error) {
	if at == "" {
		return now(), nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, at); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("--at %q is not an instant; write it as 2026-11-02T12:00:00Z or 2026-11-02", at)
}

type packCheckCmd struct {
	Dir string `arg:"" help:"Directory of the pack."`
}

// Run prints every mistake of the pack, or what it holds.
func (c *packCheckCmd) Run(e *env) error {
	pack, err := policy.Check(c.Dir, e.Now())
	var found *policy.Errors
	if err != nil && !errors.As(err, &found) {
		return err
	}
	if found != nil {
		return c.mistakes(e, found)
	}
	plan := pack.Plan()
	if e.JSON {
		return printJSON(e.Stdout, map[string]any{
			"ok": true, "pack": plan.Name, "version": plan.Version, "digest": plan.Digest, "transits": len(plan.Transits()), "cases": pack.Cases(),
		})
	}
	_, err = fmt.Fprintf(e.Stdout, "pack %s, version %d: good; %s, %s\n%s\n", plan.Name, plan.Version,
		count(len(plan.Transits()), "transit"), count(pack.Cases(), "test case"), plan.Digest)
	return err
}

func (c *packCheckCmd) mistakes(e *env, found *policy.Errors) error {
	for i := range found.Findings {
		found.Findings[i].File = filepath.Join(c.Dir, filepath.FromSlash(found.Findings[i].File))
	}
	if e.JSON {
		if err := printJSON(e.Stdout, map[string]any{"ok": false, "findings": found.Findings}); err != nil {
			return err
		}
	} else if _, err := fmt.Fprintln(e.Stdout, found); err != nil {
		return err
	}
	return errNo{fmt.Errorf("the pack has %s", count(len(found.Findings), "mistake"))}
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

type packTestCmd struct {
	Dir string `arg:"" help:"Directory of the pack."`
}

// Run runs the pack's cases and prints the differences.
func (c *packTestCmd) Run(e *env) error {
	pack, err := loadPack(c.Dir)
	if err != nil {
		return err
	}
	report, err := pack.Test(e.Now())
	if err != nil {
		return err
	}
	if err := c.print(e, report); err != nil {
		return err
	}
	switch failed := report.Failed(); {
	case len(report.Cases) == 0:
		return errNo{errors.New("the pack has no test cases; write some under tests/")}
	case failed > 0:
		return errNo{fmt.Errorf("%d of %s failed", failed, count(len(report.Cases), "test case"))}
	}
	return nil
}

func (c *packTestCmd) print(e *env, report policy.TestReport) error {
	if e.JSON {
		return printJSON(e.Stdout, report)
	}
	for _, r := range report.Cases {
		mark := "ok  "
		if len(r.Failures) > 0 {
			mark = "FAIL"
		}
		file := filepath.Join(c.Dir, filepath.FromSlash(r.File))
		if _, err := fmt.Fprintf(e.Stdout, "%s %s:%d: %s\n", mark, file, r.Line, r.Name); err != nil {
			return err
		}
		for _, f := range r.Failures {
			f.File = filepath.Join(c.Dir, filepath.FromSlash(f.File))
			if _, err := fmt.Fprintf(e.Stdout, "     %s\n", f); err != nil {
				return err
			}
		}
	}
	return nil
}

type packExplainCmd struct {
	Dir     string `arg:"" help:"Directory of the pack."`
	Transit string `required:"" help:"Name of the transit."`
	Field   string `help:"A path of the body (user.email), or query:NAME, path:NAME, header:NAME, cookie:NAME, trailer:NAME. Without it, every field."`
	At      string `help:"The instant to judge at (2026-11-02T12:00:00Z or 2026-11-02). Without it, now."`
}

// Run explains one field of a transit, or all of them.
func (c *packExplainCmd) Run(e *env) error {
	at, err := instant(c.At, e.Now)
	if err != nil {
		return err
	}
	pack, err := loadPack(c.Dir)
	if err != nil {
		return err
	}
	t, err := findTransit(pack, c.Transit)
	if err != nil {
		return err
	}
	fields := []string{c.Field}
	if c.Field == "" {
		fields = t.Fields()
	}
	all := make([]policy.Explanation, 0, len(fields))
	for _, f := range fields {
		x, err := t.Explain(f, at)
		if err != nil {
			return fmt.Errorf("--field %s: %w", f, err)
		}
		all = append(all, x)
	}
	if e.JSON {
		return printJSON(e.Stdout, all)
	}
	for _, x := range all {
		if c.Field == "" {
			x.WhyNot = nil // the survey says what is; one field asked for, what would change it
		}
		if _, err := fmt.Fprint(e.Stdout, x); err != nil {
			return err
		}
	}
	return nil
}
