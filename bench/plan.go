package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/isogate/isogate/internal/policy"
)

// planQuestion: what does it cost to find a transit and its verdicts among many,
// and to read and compile a large pack?
func planQuestion(ctx context.Context, b *bench, r *report) error {
	var finders, loaders []contestant
	for _, n := range []int{10, 100, 1000} {
		dir := filepath.Join(b.dir, fmt.Sprintf("pack-%d", n))
		if err := writePack(dir, n, 20); err != nil {
			return err
		}
		pack, err := policy.Load(dir)
		if err != nil {
			return fmt.Errorf("the pack of %d transits: %w", n, err)
		}
		plan, at := pack.Plan(), time.Now()
		path := fmt.Sprintf("/v1/area-%d/4711/items", n/2)
		name := fmt.Sprint(n)
		finders = append(finders, contestant{name, func(ctx context.Context, d time.Duration) (float64, error) {
			return repeat(ctx, d, func() error {
				for range 100 {
					t, _, err := plan.Match("product/bench", "far", "POST", path)
					if err != nil {
						return err
					}
					t.Decide(policy.Envelope{Method: "POST", Source: "product/bench", Time: at})
				}
				return nil
			})
		}})
		loaders = append(loaders, contestant{name, func(ctx context.Context, _ time.Duration) (float64, error) {
			begin := time.Now()
			if _, err := policy.Load(dir); err != nil {
				return 0, err
			}
			return time.Since(begin).Seconds() * 1000, ctx.Err()
		}})
	}
	found, err := b.race(ctx, "plan lookup", b.turn/2, finders)
	if err != nil {
		return err
	}
	loadedIn, err := b.race(ctx, "pack load", b.turn, loaders)
	if err != nil {
		return err
	}
	r.say("## Plan")
	r.say("Packs with twenty labelled fields and four rules per transit. Lookup is everything between a known caller and the tables that a body is walked by: " +
		"destination, method, path with one parameter, source, and the rules in force now. Load is reading, checking and compiling the pack.")
	var rows [][]string
	for i := range found {
		f, l := found[i], loadedIn[i]
		rows = append(rows, []string{f.name, times(f.median() / found[0].median()), fmt.Sprintf("%.0f ns ± %.0f %%", 1e7/f.median(), 100*f.spread()),
			fmt.Sprintf("%.0f ms ± %.0f %%", l.median(), 100*l.spread())})
	}
	r.budget("ten times the transits", "< 10 % slower", found[1].median() > 0.9*found[0].median(), times(found[1].median()/found[0].median()))
	r.budget("pack of 1,000 transits and 20,000 fields: load", "≤ 1 s", loadedIn[2].median() <= 1000, fmt.Sprintf("%.0f ms", loadedIn[2].median()))
	r.table([]string{"transits", "lookup, speed × 10 transits", "lookup", "load"}, rows)
	return nil
}

// writePack writes a pack with n transits, each with a contract of its own.
func writePack(dir string, n, fields int) error {
	return errors.Join(
		write(dir, "pack.yaml", "pack: large\nversion: 1\n"),
		write(dir, "destinations.yaml", "destinations:\n  - {name: far, url: https://far.example}\n"),
		writeTransits(dir, n, fields, "product/bench", "far"))
}

func writeTransits(dir string, n, fields int, source, destination string) error {
	labels := []string{"personal.contact.email", "personal.name.display", "identifier.user.account_id", "ugc.title", "system.metadata"}
	for i := range n {
		var c, t strings.Builder
		fmt.Fprintf(&c, "contract: area-%d\nformat: json\nfields:\n", i)
		for f := range fields {
			fmt.Fprintf(&c, "  items[].field-%d.value-%d: %s\n", f, i, labels[f%len(labels)])
		}
		fmt.Fprintf(&t, "transit: area-%d\npurpose: support\nsource: [%s]\ndestination: %s\nconsent: none\nmatch: [\"POST /v1/area-%d/{id}/items\"]\nrequest:\n  contract: area-%d\n  path: {id: identifier.content.id}\n  release:\n",
			i, source, destination, i, i)
		for _, l := range []string{"personal.contact.email", "personal.name.display", "identifier.**", "system.**"} {
			fmt.Fprintf(&t, "    - {label: %q, as: allow, handling: transit-only, because: Needed, owner: bench, until: 2099-12-31}\n", l)
		}
		if err := errors.Join(write(dir, fmt.Sprintf("contracts/area-%d.yaml", i), c.String()), write(dir, fmt.Sprintf("transits/area-%d.yaml", i), t.String())); err != nil {
			return err
		}
	}
	return nil
}

func write(dir, name, text string) error {
	p := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
		return err
	}
	return os.WriteFile(p, []byte(text), 0o600)
}
