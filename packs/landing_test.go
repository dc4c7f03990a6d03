package packs_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/obfuscate"
	"github.com/isogate/isogate/internal/policy"
	"github.com/isogate/isogate/internal/seal"
	"github.com/isogate/isogate/packs"
)

// landingKey is a verifier key whose private half nobody uses.
const landingKey = "support-landing.example+3eb304c7+Aa03HmV1jTEiiVqgP1xg45rBwlAnDJyy4C9MgRD2LVbO"

// landed writes the reference pack with a landing before the portal, as a
// deployment adds it: in destinations.yaml alone.
func landed(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, packs.Reference()); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "destinations.yaml")
	src, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	const at = "    url: https://support.example\n"
	with := strings.Replace(string(src), at, at+"    landing: {public_key: "+landingKey+"}\n", 1)
	if with == string(src) {
		t.Fatalf("no place for a landing in %s", src)
	}
	if err := os.WriteFile(file, []byte(with), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "tests")); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(dir, "tests"), os.DirFS("testdata/landing")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestALandingKeepsTheSupportTable: the table holds as shipped, and a landing makes
// it hold by cryptography.
//
// promise: P16, P17, P18, P19, P41
func TestALandingKeepsTheSupportTable(t *testing.T) {
	dir := landed(t)
	if n := runCases(t, dir); n != 5 {
		t.Errorf("%d cases passed", n)
	}
	p, err := policy.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, tr := range p.Plan().Transits() {
		for _, leaf := range tr.Leaves(now, policy.Limit{Persist: true, EndUserData: true}) {
			if leaf.Action > isogate.Token && leaf.Handling != "" && leaf.Enforced == "" {
				t.Errorf("%s: %s leaves as %s, which is declared only", tr.Name, leaf.Label, leaf)
			}
		}
	}
}

// A seal is text that fits where an account stood, in a path as anywhere.
func TestASealFitsInAPath(t *testing.T) {
	w := open(t, landed(t))
	const path = "/v1/users/557058:f58131cb/tickets"
	out, err := w.preview(transit{"support-portal", "GET", path}, policy.Request{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	account := strings.TrimSuffix(strings.TrimPrefix(out.Path, "/v1/users/"), "/tickets")
	if !obfuscate.IsSeal(account) {
		t.Errorf("the path is %s", out.Path)
	}
}

// What a preview shows for a seal has the form and the length of the real one.
func TestASpecimenIsLikeASeal(t *testing.T) {
	epoch, err := seal.NewEpoch()
	if err != nil {
		t.Fatal(err)
	}
	defer epoch.Destroy()
	made := time.Now().Truncate(time.Second)
	sealer, err := seal.NewSealer(
		seal.Context{Tenant: "test", Destination: "support-portal", Transit: "support-session", Handling: isogate.TransitOnly, ByRequest: true},
		&seal.Statement{Destination: "support-portal", Landing: "support-landing.example", Epoch: epoch.ID(), Public: epoch.Public(),
			NotBefore: made.Add(-time.Minute), NotAfter: made.Add(time.Hour), Idle: time.Minute, Max: time.Hour}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer sealer.Destroy()
	passage := sealer.Passage()
	p, err := policy.Load(landed(t))
	if err != nil {
		t.Fatal(err)
	}
	o, err := p.Plan().Obfuscator("test", "support-portal", policy.ThrowawayKeys([]byte("secret")))
	if err != nil {
		t.Fatal(err)
	}
	v := isogate.Verdict{Action: isogate.Seal, Sealed: true, Label: "personal.name.display"}
	for n := range 300 {
		val := isogate.Value{Kind: isogate.String, Text: []byte(strings.Repeat("a", n))}
		specimen, ok := o.Specimen(nil, &v, val)
		real, ok2 := passage.Append(nil, v.Label, val)
		if !ok || !ok2 || len(specimen) != len(real) || !obfuscate.IsSeal(string(real)) {
			t.Fatalf("%d bytes: %.20s… of %d characters, a seal has %d", n, specimen, len(specimen), len(real))
		}
		if _, _, ok := seal.Parse(specimen); !ok {
			t.Fatalf("%d bytes: %s does not parse", n, specimen)
		}
	}
}
