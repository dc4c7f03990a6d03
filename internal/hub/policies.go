package hub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/archive"
	"github.com/isogate/isogate/internal/change"
	"github.com/isogate/isogate/internal/consent"
	"github.com/isogate/isogate/internal/policy"
)

// Policies is what the pages of policy are made of. Without InForce there are none.
type Policies struct {
	// InForce is the pack that this gateway judges by.
	InForce func() *policy.Pack
	// Archive has the packs of before and those that are proposed; nil where nobody keeps them.
	Archive Archive
	// Changes is who proposed and approved what; nil where nobody can.
	Changes Changes
	// Approvals is how many people other than its authors must approve a pack before
	// gateways load it; 0 is none.
	Approvals int
}

// Archive is where packs are kept by their digest; [archive.Archive] is one.
type Archive interface {
	Open(digest string) (*policy.Pack, error)
	Files(digest string) (*policy.Files, error)
	Offer(files *policy.Files) (digest string, err error)
	List() ([]archive.Kept, error)
}

// Changes is what is known of changes of policy; [change.Book] is one.
type Changes interface {
	State() *change.State
	InTouch() error
	// Do records an act. Its error is [change.ErrNoEffect] where the act changed nothing.
	Do(ctx context.Context, a change.Act) (change.Act, error)
}

// Standings of a pack, beside those of a [change.Change].
const (
	inForceNow = "in force"
	wasInForce = "in force before"
)

// PackView is one pack, and what was done about it.
type PackView struct {
	Digest  string `json:"digest"`
	Name    string `json:"name"`
	Version int    `json:"version"`
	// Standing is in force, in force before, proposed, approved, rejected or withdrawn.
	Standing string `json:"standing"`
	InForce  bool   `json:"in_force"` // on this gateway
	Kept     bool   `json:"kept"`     // its files can be looked at here
	// Approvals are those that count, of as many as are needed.
	Approvals int        `json:"approvals"`
	Needed    int        `json:"needed"`
	Authors   []string   `json:"authors"`
	Approvers []string   `json:"approvers"`         // whose approval counts
	First     *time.Time `json:"first,omitempty"`   // when a gateway first judged by it
	Last      *time.Time `json:"last,omitempty"`    // when one last began to
	Loads     int        `json:"loads"`             // how often one began to
	Refused   string     `json:"refused,omitempty"` // why a gateway would not load it now
	Acts      []ActView  `json:"acts"`              // oldest first
}

// ActView is one act about a pack.
type ActView struct {
	Act      string          `json:"act"`
	By       string          `json:"by"`
	SignedIn string          `json:"signed_in,omitempty"`
	At       time.Time       `json:"at"`
	Entry    isogate.EntryID `json:"entry"`
	Reason   string          `json:"reason,omitempty"`
	Effect   string          `json:"effect,omitempty"`  // what the comparison said then
	Against  string          `json:"against,omitempty"` // the digest of the pack it was compared with
	Counts   bool            `json:"counts"`            // of an approval
}

// PackList is packs, those with the newest act first.
type PackList struct {
	Packs []PackView `json:"packs"`
}

// noPolicies says that this Hub knows of no pack.
func (h *Hub) noPolicies() error {
	if h.policies.InForce == nil || h.policies.InForce() == nil {
		return problem(http.StatusNotFound, "no-pack", "this Hub runs beside no gateway that has a pack")
	}
	return nil
}

// changes is what was done about packs; nothing where nobody keeps count.
func (h *Hub) changes() *change.State {
	if h.policies.Changes == nil {
		return &change.State{}
	}
	return h.policies.Changes.State()
}

// digestOf reads a digest that somebody gave.
func digestOf(s string) (string, error) {
	if !isDigest(s) {
		return "", notFound("%q is not the digest of a pack, which is sha256: and 64 hexadecimal digits", consent.Shown(s))
	}
	return s, nil
}

func isDigest(s string) bool {
	const prefix, hex = "sha256:", 64
	if len(s) != len(prefix)+hex || s[:len(prefix)] != prefix {
		return false
	}
	return !slices.ContainsFunc([]byte(s[len(prefix):]), func(c byte) bool { return (c < '0' || c > '9') && (c < 'a' || c > 'f') })
}

// packOf is the pack of a digest: the one in force, or one that is kept.
func (h *Hub) packOf(digest string) (*policy.Pack, error) {
	if err := h.noPolicies(); err != nil {
		return nil, err
	}
	if p := h.policies.InForce(); p.Plan().Digest == digest {
		return p, nil
	}
	if h.policies.Archive == nil {
		return nil, notKept(digest)
	}
	p, err := h.policies.Archive.Open(digest)
	return p, packProblem(digest, err)
}

// filesOf are the files of a pack.
func (h *Hub) filesOf(digest string) (*policy.Files, error) {
	if h.policies.Archive == nil {
		return nil, notKept(digest)
	}
	f, err := h.policies.Archive.Files(digest)
	return f, packProblem(digest, err)
}

func notKept(digest string) error {
	return notFound("the pack %s is not kept on this gateway; it is where it was proposed or in force, and under version control", digest)
}

// packProblem is what a caller is told of a pack that cannot be had.
func packProblem(digest string, err error) error {
	var damaged *archive.DamagedError
	var mistakes *policy.Errors
	switch {
	case err == nil:
		return nil
	case errors.Is(err, archive.ErrNotKept):
		return notKept(digest)
	case errors.As(err, &damaged):
		return problem(http.StatusConflict, "damaged", damaged.Error())
	case errors.As(err, &mistakes):
		return problem(http.StatusConflict, "not-compiled", fmt.Sprintf("this release does not take the pack %s any more: %s", digest, mistakes.Findings[0]))
	}
	return fmt.Errorf("hub: %w", err)
}

// packViews are all packs that are known, those with the newest act first; the one in
// force is among them in any case.
func (h *Hub) packViews() []PackView {
	now, found, kept := h.policies.InForce().Plan(), false, h.kept()
	var out []PackView
	for _, c := range h.changes().Changes() {
		found = found || c.Pack == now.Digest
		out = append(out, h.packView(c, kept))
	}
	if !found {
		out = append([]PackView{h.packView(&change.Change{Pack: now.Digest}, kept)}, out...)
	}
	return out
}

// thePack is one of them.
func (h *Hub) thePack(digest string) PackView {
	c, ok := h.changes().Change(digest)
	if !ok {
		c = &change.Change{Pack: digest}
	}
	return h.packView(c, h.kept())
}

// kept are the packs whose files are here, by digest. Whether they are whole, opening them says.
func (h *Hub) kept() map[string]bool {
	out := map[string]bool{}
	if h.policies.Archive == nil {
		return out
	}
	list, err := h.policies.Archive.List()
	if err != nil {
		h.logger.Warn("the archive of packs cannot be listed", slog.Any("error", err))
	}
	for _, k := range list {
		out[k.Digest] = true
	}
	return out
}

// packView shows what was done about a pack.
func (h *Hub) packView(c *change.Change, kept map[string]bool) PackView {
	plan, need := h.policies.InForce().Plan(), h.policies.Approvals
	v := PackView{Digest: c.Pack, Name: consent.Shown(c.Name), Version: c.Version, Standing: string(c.Status(need)), Needed: need, Loads: c.Loads,
		Authors: []string{}, Approvers: []string{}, Acts: []ActView{}}
	if v.InForce = c.Pack == plan.Digest; v.InForce {
		v.Name, v.Version, v.Standing, v.Kept = plan.Name, plan.Version, inForceNow, true
	} else if c.Loads > 0 && (len(c.Proposals) == 0 || c.Last.Seq > c.Proposals[len(c.Proposals)-1].Seq) {
		v.Standing = wasInForce
	}
	v.Kept = v.Kept || kept[c.Pack]
	if c.First != nil {
		first, last := c.First.At.UTC(), c.Last.At.UTC()
		v.First, v.Last = &first, &last
	}
	for _, p := range c.Proposals {
		if name := consent.Shown(p.Actor.Name); !slices.Contains(v.Authors, name) {
			v.Authors = append(v.Authors, name)
		}
	}
	counting := c.Counting()
	for _, a := range counting {
		v.Approvers = append(v.Approvers, consent.Shown(a.Actor.Name))
	}
	v.Approvals = len(counting)
	for _, a := range c.Acts() {
		v.Acts = append(v.Acts, ActView{Act: a.What.String(), By: consent.Shown(a.Actor.Name), SignedIn: consent.Shown(a.Actor.SignedIn), At: a.At.UTC(), Entry: a.ID,
			Reason: consent.Shown(a.Reason), Effect: consent.Shown(a.Effect), Against: consent.Shown(a.Against),
			Counts: slices.ContainsFunc(counting, func(o change.Act) bool { return o.Seq == a.Seq })})
	}
	var no *change.UnapprovedError
	if errors.As(h.changes().Approved(c.Pack, need), &no) {
		v.Refused = consent.Shown(no.Why + "; " + no.Next)
	}
	return v
}

// effectOf compares a pack with the one in force.
func (h *Hub) effectOf(p *policy.Pack, at time.Time) policy.Effect {
	return policy.Compare(h.policies.InForce().Plan(), p.Plan(), at)
}
