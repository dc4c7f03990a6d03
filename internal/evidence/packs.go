package evidence

import (
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/policy"
)

// Pack is one pack that entries name.
type Pack struct {
	Digest  string `json:"digest"`
	Name    string `json:"name,omitempty"`
	Version string `json:"version,omitempty"`
	// Here says that its files are in the archive.
	Here bool `json:"here"`
	// Judged is how many egress entries of the period it judged.
	Judged uint64 `json:"judged"`
	// Loaded is when gateways took it, the first of LoadedCount times.
	Loaded      time.Time `json:"loaded,omitzero"`
	LoadedCount uint64    `json:"loaded_count"`
	// Approvals are the acts of people on it, proposing included.
	Approvals []Told `json:"approvals"`
}

// maxApprovals is how many acts on one pack are listed.
const maxApprovals = 100

func (t *tally) judged(digest string) *Pack {
	p := t.packs[digest]
	if p == nil {
		p = &Pack{Digest: digest, Approvals: []Told{}}
		t.packs[digest] = p
	}
	return p
}

// pack takes in an entry about a pack.
func (t *tally) pack(e *isogate.Entry) {
	if e.Pack == "" {
		return
	}
	p := t.judged(e.Pack)
	if name := e.Detail["name"]; name != "" {
		p.Name, p.Version = name, e.Detail["version"]
	}
	switch {
	case e.Act == actLoaded:
		if p.LoadedCount++; p.LoadedCount == 1 {
			p.Loaded = e.Time
		}
	case e.Detail["signed_in"] != "" && len(p.Approvals) < maxApprovals:
		p.Approvals = append(p.Approvals, Told{ID: e.ID, At: e.Time, Act: e.Act, By: e.Actor, SignedIn: e.Detail["signed_in"], Reason: e.Reason})
	}
}

// actLoaded is the act of a gateway that puts a pack in force.
const actLoaded = "pack loaded"

// landingKeys are the landings' keys of some packs, by destination and the key's name and
// hash as entries have them.
type landingKeys map[landingKey]note.Verifier

type landingKey struct {
	destination isogate.Destination
	signer      string
}

// add takes over what a pack says of its landings. One that this release does not
// take says nothing.
func (k landingKeys) add(files *policy.Files) {
	pack, err := files.Load()
	if err != nil {
		return
	}
	for _, d := range pack.Plan().Destinations() {
		if d.Landing != nil {
			k[landingKey{d.Name, signerOf(d.Landing)}] = d.Landing
		}
	}
}

// packDir is where the files of a pack are in the archive.
func packDir(digest string) string { return packsDir + strings.TrimPrefix(digest, "sha256:") + "/" }

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
