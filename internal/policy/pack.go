package policy

import (
	"cmp"
	"errors"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/taxonomy"
)

// Pack is a policy pack that was read and checked.
type Pack struct {
	plan  *Plan
	cases []*testCase
	files map[string][]byte // below tests/, by path: the bodies that cases name
}

// Plan is the pack compiled.
func (p *Pack) Plan() *Plan { return p.plan }

// Load reads the pack under dir, checks it and compiles it. Whether it succeeds
// does not depend on the clock: a rule that is past its end date releases
// nothing, but a gateway that restarts still finds its pack good.
//
// What is wrong with the pack is an [*Errors] that holds every mistake; any other
// error says that dir cannot be read.
//
// The digest of the plan is "sha256:" and, in hex, the SHA-256 over each file of
// the pack, sorted by path: the length of the path, the path, the length of the
// content, the content, with lengths as 8 bytes big-endian.
//
// promise: P08
func Load(dir string) (*Pack, error) { return load(dir, time.Time{}) }

// Check is [Load] for those who write a pack: rules past their end date at now,
// which say more than they do, are mistakes too.
func Check(dir string, now time.Time) (*Pack, error) { return load(dir, now) }

func load(dir string, now time.Time) (*Pack, error) {
	files, err := ReadFiles(dir)
	if err != nil {
		return nil, err
	}
	return compile(files.list, files.found, now)
}

// compile makes a pack of its files. found is what reading them has shown.
func compile(files []packFile, found findings, now time.Time) (*Pack, error) {
	r := &reader{
		findings:     found,
		now:          now,
		destinations: map[isogate.Destination]*Destination{},
		contracts:    map[string]*contract{},
		transits:     map[isogate.Transit]*Transit{},
	}
	p := &Pack{files: map[string][]byte{}}
	p.plan = r.read(files, p)
	if err := r.err(); err != nil {
		return nil, err
	}
	p.plan.Digest = digest(files)
	return p, nil
}

// reader reads the files of one pack. Its methods note mistakes and go on, so
// that one run finds them all.
type reader struct {
	findings
	now          time.Time // for end dates; zero when they do not matter
	taxonomy     *taxonomy.Taxonomy
	destinations map[isogate.Destination]*Destination
	contracts    map[string]*contract
	transits     map[isogate.Transit]*Transit
	all          []*Transit      // every transit, sorted by name, once they are read
	unreadable   map[string]bool // kinds of which something could not be read: what it declares is not known
}

// read goes through the files in the order in which they need one another.
func (r *reader) read(files []packFile, p *Pack) *Plan {
	plan := &Plan{}
	roots := map[string]*node{}
	dirs := map[string][]*node{}
	for _, f := range files {
		dir, base, _ := strings.Cut(f.path, "/")
		if base == "" {
			dir, base = "", dir
		}
		if dir == "tests" && path.Ext(base) != ".yaml" {
			p.files[f.path] = f.src
			continue
		}
		n := parseYAML(f.path, f.src, &r.findings)
		if n == nil {
			r.unknowable(cmp.Or(dir, strings.TrimSuffix(base, ".yaml")))
			continue
		}
		if roots[f.path] = n; dir != "" {
			dirs[dir] = append(dirs[dir], n)
		}
		if f.path == "taxonomy.yaml" {
			r.readTaxonomy(f)
		}
	}
	if r.taxonomy == nil {
		r.taxonomy = taxonomy.Default()
	}
	r.readPack(files, roots["pack.yaml"], plan)
	r.readDestinations(roots["destinations.yaml"], has(files, "destinations.yaml"))
	for _, n := range dirs["contracts"] {
		r.readContract(n)
	}
	for _, n := range dirs["transits"] {
		r.readTransit(n)
	}
	plan.taxonomy, plan.destinations = r.taxonomy, r.destinations
	plan.transits = slices.SortedFunc(maps.Values(r.transits), func(a, b *Transit) int { return cmp.Compare(a.Name, b.Name) })
	r.all = plan.transits
	plan.routes = r.route(plan.transits)
	plan.tunnels = r.tunnelWays(plan.transits)
	plan.remotes = r.reach(plan.transits)
	r.checkRestore(plan.transits)
	r.checkUnused(plan.transits)
	r.checkEnds(plan.transits)
	if n := roots["never.yaml"]; n != nil {
		r.readNever(n, plan)
	}
	for _, n := range dirs["tests"] {
		p.cases = append(p.cases, r.readCases(n, p)...)
	}
	return plan
}

// readTaxonomy adds the pack's own labels to the shipped ones.
func (r *reader) readTaxonomy(f packFile) {
	defs, err := taxonomy.Parse(f.path, f.src)
	r.note(err)
	t, err := taxonomy.Default().Extend(defs)
	r.note(err)
	r.taxonomy = t
}

// note takes over what the taxonomy found.
func (r *reader) note(err error) {
	var es taxonomy.Errors
	if errors.As(err, &es) {
		for _, e := range es {
			r.unknowable("taxonomy")
			r.add(position{file: e.File, line: max(1, e.Line), column: max(1, e.Column)}, "%s; %s", e.Message, e.Hint)
		}
	}
}

func (r *reader) readPack(files []packFile, n *node, plan *Plan) {
	if !has(files, "pack.yaml") {
		r.add(position{file: "pack.yaml", line: 1, column: 1}, "the file is missing; write pack: NAME and version: 1 into it")
		return
	}
	o, ok := r.object(n, "pack.yaml", "pack", "version", "description")
	if !ok {
		return
	}
	plan.Name, _ = r.name(o.need("pack", "name the pack"), "pack", false)
	plan.Version = r.integer(o.need("version", "number the version, from 1"), "version")
	plan.Description, _ = r.optional(o, "description")
}

// checkLabel notes a label that is not a key of the taxonomy, or an outdated one.
func (r *reader) checkLabel(n *node, l isogate.Label) bool {
	_, err := r.taxonomy.Lookup(l)
	var unknown *taxonomy.UnknownError
	switch {
	case err == nil:
		return true
	case errors.As(err, &unknown) && !r.known("taxonomy"):
	case errors.As(err, &unknown):
		hint := "use a key of the taxonomy, or add it in taxonomy.yaml"
		if unknown.Nearest != "" {
			hint = "did you mean " + string(unknown.Nearest) + "? Otherwise add it in taxonomy.yaml"
		}
		r.add(n.at, "unknown label %q; %s", string(l), hint)
	default:
		r.add(n.at, "%v", err)
	}
	return false
}

// label reads the label of a field or name.
func (r *reader) label(n *node, what string) (isogate.Label, bool) {
	s, ok := r.text(n, what)
	if !ok {
		return "", false
	}
	l, err := isogate.ParseLabel(s)
	switch {
	case err != nil:
		r.add(n.at, "%v; write a label such as personal.contact.email", err)
		return "", false
	case l.Reserved():
		r.add(n.at, "the label %q is reserved for what nobody has judged; use a label that fits the field, or remove the line", s)
		return "", false
	}
	return l, r.checkLabel(n, l)
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

func has(files []packFile, path string) bool {
	return slices.ContainsFunc(files, func(f packFile) bool { return f.path == path })
}

// Cases is how many test cases the pack has.
func (p *Pack) Cases() int { return len(p.cases) }
