package policy

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/isogate/isogate"
)

// fuzzed are the files that FuzzPack replaces one of.
var fuzzed = []string{"pack.yaml", "taxonomy.yaml", "destinations.yaml", "never.yaml", "contracts/support-session.yaml", "contracts/new.yaml",
	"transits/support-session.yaml", "transits/new.yaml", "tests/session.yaml", "tests/new.yaml"}

// ofApps is the bit that makes FuzzPack begin with the pack of apps.
const ofApps = 0x80

// FuzzPack: whatever one file of a pack holds, reading it ends, and every mistake
// has a place inside a file, a cause and a next step. A pack that is good decides.
func FuzzPack(f *testing.F) {
	packs := [2]files{good(f), apps(f)}
	for i, name := range fuzzed {
		f.Add(uint8(i), []byte(packs[0][name]))
		f.Add(uint8(i|ofApps), []byte(packs[1][name]))
		f.Add(uint8(i), []byte("- - - {a: [b, 'c'], \"d\\n\": |\n  e\n"))
	}
	f.Add(uint8(7), []byte("transit: t\nmatch: [GET /{a}/**]\nrequest: {release: [{label: personal.**, as: token, when: 'method == \"GET\" || time < timestamp(\"2027-01-01T00:00:00Z\")'}]}\n"))
	f.Add(uint8(7|ofApps), []byte(packs[1]["transits/files-upload.yaml"]))
	f.Add(uint8(7|ofApps), []byte(packs[1]["transits/triage-other.yaml"]))
	f.Add(uint8(7|ofApps), []byte(packs[1]["transits/ticket.yaml"]))
	f.Add(uint8(9|ofApps), []byte(packs[1]["tests/apps.yaml"]))
	f.Add(uint8(9), []byte("test: x\ntransit: signals\nexpect: {output: {a: $name, $name: [1, 2.5e3, null, true]}}\n"))
	archives := mistaken(f)
	for _, a := range archives {
		for name, text := range a {
			for i, n := range fuzzed {
				if strings.HasPrefix(name, strings.TrimSuffix(n, "new.yaml")) {
					f.Add(uint8(i), []byte(text))
					f.Add(uint8(i|ofApps), []byte(text))
				}
			}
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, src []byte) {
		if len(src) > maxFileBytes {
			return
		}
		pack, name := packs[which/ofApps], fuzzed[int(which%ofApps)%len(fuzzed)]
		var all []packFile
		for path, text := range pack.with(files{name: string(src)}) {
			all = append(all, packFile{path: path, src: []byte(text)})
		}
		slices.SortFunc(all, func(a, b packFile) int { return strings.Compare(a.path, b.path) })
		p, err := compile(all, findings{}, instantOfTests)
		var found *Errors
		if errors.As(err, &found) {
			for _, m := range found.Findings {
				lines := 1
				for _, f := range all {
					if f.path == m.File {
						lines = bytes.Count(f.src, []byte("\n")) + 1
					}
				}
				if m.File == "" || m.Line < 1 || m.Line > lines || m.Column < 1 || m.Message == "" || m.Hint == "" {
					t.Errorf("%+v of %d lines", m, lines)
				}
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, tr := range p.Plan().Transits() {
			for _, at := range []time.Time{{}, instantOfTests} {
				tr.Narrow(tr.Decide(Envelope{Method: "POST", Time: at}), Limit{})
				if tr.Mode == Tunnel && (tr.Purpose != isogate.App || tr.Consent != AdminConsent || tr.Destination.Remote == nil || tr.TunnelEnds().IsZero()) {
					t.Errorf("the tunnel %s is no exemption of an app: %+v", tr.Name, tr)
				}
				for _, field := range tr.Fields() {
					if _, err := tr.Explain(field, at); err != nil {
						t.Errorf("%s: %v", field, err)
					}
				}
			}
		}
		if _, err := p.Test(instantOfTests); err != nil {
			t.Error(err)
		}
	})
}
