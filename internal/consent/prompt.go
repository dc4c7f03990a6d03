package consent

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/remote"
)

// Prompt is what an administrator is shown before they answer a request: who asks,
// for which rows exactly, and what would leave over each. It has the rows of the
// request and no others, so that a prompt after an update shows just what is new.
//
// It can be shown as it is: every text that an app or a person wrote went through
// [Shown]. A grant names the digest of the prompt that was looked at, so that
// nobody agrees to anything but what they saw.
//
// promise: P12
// promise: P13
type Prompt struct {
	Request isogate.EntryID `json:"request"`
	Party   Party           `json:"party"`
	// Base is the seq of the last act that changed where the party stands.
	Base      uint64           `json:"base"`
	App       *Manifest        `json:"app,omitempty"` // not of a transit
	By        Actor            `json:"by"`
	Reason    string           `json:"reason,omitempty"`
	Ends      time.Time        `json:"ends"` // unanswered by then, it lapses
	Second    bool             `json:"second_administrator"`
	Approvals []PromptApproval `json:"approvals,omitempty"`
	Rows      []PromptRow      `json:"rows"`
	// Stops says what does not work after a no.
	Stops []string `json:"stops"`
	// Default is the answer of who does not give one: always "deny".
	Default string `json:"default"`
}

// PromptApproval is the yes of an administrator that came before.
type PromptApproval struct {
	By     Actor      `json:"by"`
	Rows   []string   `json:"rows"`
	Labels *[]string  `json:"labels,omitempty"` // nil: all that policy lets out
	Until  *time.Time `json:"until,omitempty"`  // nil: until revoked
}

// PromptRow is one row of a prompt.
type PromptRow struct {
	Row   string   `json:"row"`   // its text form, by which it is granted
	Class string   `json:"class"` // against what is granted now: added, widened, ...
	Why   []string `json:"why,omitempty"`
	// Words says in a sentence which hosts it is for; What, what kind of traffic.
	Words string `json:"words"`
	What  string `json:"what"`
	// Written is the address as the manifest has it; "" where that is the host itself,
	// or is not known.
	Written string `json:"written,omitempty"`
	// Host is the ASCII form, which tells look-alikes apart; Unicode the one that
	// people read, where it differs; Registrable the part that somebody registered.
	Host        string           `json:"host"`
	Unicode     string           `json:"unicode,omitempty"`
	Registrable string           `json:"registrable,omitempty"`
	Port        uint16           `json:"port,omitempty"`
	Operations  []string         `json:"operations,omitempty"` // in words
	EndUserData bool             `json:"end_user_data"`
	Tokens      []string         `json:"tokens,omitempty"` // in words
	Region      string           `json:"region,omitempty"`
	Risks       []Risk           `json:"risks,omitempty"`
	Warnings    []remote.Warning `json:"warnings,omitempty"`
	Egress      Egress           `json:"egress"`
}

// Egress is what would leave over a row, by the pack in force.
type Egress struct {
	Pack string `json:"pack"` // digest of the pack; "" if none is known, and then nothing can be granted
	Ways []Way  `json:"ways,omitempty"`
	// Words says what the ways mean together, above all when there are none.
	Words string `json:"words"`
}

// Way is one transit that leads where a row does.
type Way struct {
	Transit isogate.Transit `json:"transit"`
	To      string          `json:"to"`
	Leaves  []Leaf          `json:"leaves,omitempty"` // of a transit that inspects
	Tunnel  *Exemption      `json:"tunnel,omitempty"` // everything passes unread
	Sample  *Sample         `json:"sample,omitempty"`
}

// Leaf is how values of one label leave.
type Leaf struct {
	Label    isogate.Label `json:"label"`
	Action   string        `json:"action"` // with its form: allow, token email
	Handling string        `json:"handling,omitempty"`
	TTL      string        `json:"ttl,omitempty"`
	// Enforced says how a landing keeps the handling; "" where it is declared, and
	// whoever receives it is trusted to keep it.
	Enforced string `json:"enforced,omitempty"`
	Because  string `json:"because,omitempty"` // the rule's reason; "" when the label's default decides
}

// Exemption is who answers for what passes unread.
type Exemption struct {
	Because string `json:"because"`
	Owner   string `json:"owner"`
	Until   string `json:"until"`    // the last day
	InForce bool   `json:"in_force"` // false: it is over, and nothing passes
}

// Sample is a body of the pack's own tests, before and after. It is made up by
// whoever wrote the pack and never traffic.
type Sample struct {
	Before string `json:"before"`
	After  string `json:"after"`
}

// Describe says what would leave over a row of a party, by the pack in force.
type Describe func(Party, remote.Row) Egress

// Prompt is what is shown for a request at an instant.
func (s *State) Prompt(r *Request, describe Describe, at time.Time) *Prompt {
	st := s.Party(r.Party)
	p := &Prompt{
		Request: r.ID, Party: r.Party, Base: st.Last, By: r.By.shown(), Reason: Shown(r.Reason), Ends: r.Ends.UTC(), Second: r.Second,
		Rows: []PromptRow{}, Stops: []string{}, Default: "deny",
	}
	if _, app := r.Party.Source(); app {
		m := r.Manifest.Shown()
		p.App = &m
	}
	for _, a := range r.Approvals {
		p.Approvals = append(p.Approvals, a.Prompted())
	}
	changes := remote.Compare(st.Rows(at), r.Rows)
	for _, row := range r.Rows {
		pr := s.Tell(row)
		if pr.Written = st.WrittenAs(row); pr.Written == row.Host {
			pr.Written = ""
		}
		pr.Egress = describe(r.Party, row).Shown()
		pr.Class = remote.Added.String()
		for _, c := range changes {
			if c.Row == row {
				pr.Class, pr.Why = c.Class.String(), c.Why
			}
		}
		p.Rows = append(p.Rows, pr)
		p.Stops = append(p.Stops, stops(r.Party, row))
	}
	switch n := len(st.Rows(at)); n {
	case 0:
	case 1:
		p.Stops = append(p.Stops, "what is granted already goes on working: 1 row")
	default:
		p.Stops = append(p.Stops, fmt.Sprintf("what is granted already goes on working: %d rows", n))
	}
	return p
}

// Digest is SHA-256 over the prompt's JSON as "sha256:" and hexadecimal digits.
// That JSON is canonical (RFC 8785): members sorted by name, no white space, and
// nothing escaped that need not be. What [Shown] lets pass never needs to be
// escaped differently there than Go does.
//
// promise: P15
func (p *Prompt) Digest() (string, error) {
	declared, err := json.Marshal(p)
	if err != nil {
		return "", fmt.Errorf("prompt of %s: %w", p.Request, err)
	}
	var members any
	d := json.NewDecoder(bytes.NewReader(declared))
	d.UseNumber()
	if err := d.Decode(&members); err != nil {
		return "", fmt.Errorf("prompt of %s: %w", p.Request, err)
	}
	var canonical bytes.Buffer
	e := json.NewEncoder(&canonical)
	e.SetEscapeHTML(false)
	if err := e.Encode(members); err != nil { // a map's keys are sorted
		return "", fmt.Errorf("prompt of %s: %w", p.Request, err)
	}
	sum := sha256.Sum256(bytes.TrimSuffix(canonical.Bytes(), []byte{'\n'}))
	return "sha256:" + hex.EncodeToString(sum[:]), nil
}

// maxShown is how many characters of one text are shown. What is longer is cut,
// and says so: a text must not push the rest of a prompt out of sight.
const maxShown = 300

// Shown is a text as it may be shown to people, on a terminal and on a page: what
// does not print, above all control characters and those that turn the direction
// of writing, is written as \u{202e}, and what is too long is cut.
func Shown(s string) string { return shownUpTo(s, maxShown) }

func shownUpTo(s string, most int) string {
	var b strings.Builder
	n := 0
	for _, r := range s {
		if n++; n > most {
			fmt.Fprintf(&b, "… (%d bytes in all)", len(s))
			break
		}
		if unicode.IsPrint(r) {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, `\u{%x}`, r)
		}
	}
	return b.String()
}

// maxSample is how many characters of a sample are shown.
const maxSample = 4000

// Shown is the description with every text as it may be shown.
func (e Egress) Shown() Egress {
	e.Pack, e.Words, e.Ways = Shown(e.Pack), Shown(e.Words), slices.Clone(e.Ways)
	for i := range e.Ways {
		w := &e.Ways[i]
		w.To, w.Leaves = Shown(w.To), slices.Clone(w.Leaves)
		for j := range w.Leaves {
			w.Leaves[j].Because, w.Leaves[j].Enforced = Shown(w.Leaves[j].Because), Shown(w.Leaves[j].Enforced)
		}
		if x := w.Tunnel; x != nil {
			w.Tunnel = &Exemption{Shown(x.Because), Shown(x.Owner), Shown(x.Until), x.InForce}
		}
		if x := w.Sample; x != nil {
			w.Sample = &Sample{shownUpTo(x.Before, maxSample), shownUpTo(x.After, maxSample)}
		}
	}
	return e
}

func (a Actor) shown() Actor { return Actor{Shown(a.Name), Shown(a.SignedIn)} }

// Shown is the manifest with every text as it may be shown.
func (m Manifest) Shown() Manifest {
	return Manifest{Shown(m.ID), Shown(m.Name), Shown(m.Vendor), Shown(m.Version), Shown(m.Digest)}
}

// Prompted is the approval as the next administrator sees it.
func (a *Approval) Prompted() PromptApproval {
	p := PromptApproval{By: a.Actor.shown(), Rows: rowTexts(a.Rows)}
	if a.Terms.Labels != nil {
		labels := labelTexts(a.Terms.Labels)
		p.Labels = &labels
	}
	if !a.Terms.Until.IsZero() {
		until := a.Terms.Until.UTC()
		p.Until = &until
	}
	return p
}

func rowTexts(rows []remote.Row) []string {
	out := make([]string, len(rows))
	for i, r := range rows {
		out[i] = r.String()
	}
	return out
}

func labelTexts(labels []isogate.LabelPattern) []string {
	out := make([]string, len(labels))
	for i, l := range labels {
		out[i] = string(l)
	}
	slices.Sort(out)
	return out
}

// Tell is what a row says by itself, and what this tenant knows of it.
func (s *State) Tell(row remote.Row) PromptRow {
	pr := PromptRow{Row: row.String(), Host: row.Host, What: kindWords[row.Kind]}
	if row.Kind == remote.TransitWay {
		pr.Words = "the transit " + row.Host + " of the pack"
		return pr
	}
	pr.Port, pr.EndUserData, pr.Region, pr.Risks = row.Port, row.EndUserData, row.Region, RisksOf(row)
	if u := remote.DisplayHost(row.Host); u != row.Host {
		pr.Unicode = Shown(u)
	}
	pr.Registrable = remote.Registrable(row.Host)
	pr.Words = hostWords(row)
	for i, op := range []remote.Operations{remote.Storage, remote.Compute, remote.Fetch, remote.Other} {
		if row.Operations&op != 0 {
			pr.Operations = append(pr.Operations, operationWords[i])
		}
	}
	for i, t := range []remote.Tokens{remote.AppUser, remote.AppSystem} {
		if row.Tokens&t != 0 {
			pr.Tokens = append(pr.Tokens, tokenWords[i])
		}
	}
	pr.Warnings = s.warnings(row, pr.Registrable)
	return pr
}

// WrittenAs is how the manifest writes the address of a row, as [Shown] has it; ""
// where that is not known.
func (st *Standing) WrittenAs(row remote.Row) string {
	for _, same := range []func(remote.Row) bool{func(r remote.Row) bool { return r == row }, func(r remote.Row) bool { return r.Covers(row) }} {
		if i := slices.IndexFunc(st.Declared, same); i >= 0 && i < len(st.Written) {
			return Shown(st.Written[i])
		}
	}
	return ""
}

var kindWords = [...]string{
	remote.NoKind:     "nothing",
	remote.Backend:    "the app's servers send to it",
	remote.Remote:     "it is a server of the app, which is called on the app's behalf",
	remote.Client:     "the app's pages send to it from users' browsers",
	remote.Fonts:      "the app's pages load fonts from it",
	remote.Frames:     "the app's pages show its pages in a frame",
	remote.Images:     "the app's pages load images from it",
	remote.Media:      "the app's pages load sound and video from it",
	remote.Scripts:    "the app's pages run its scripts",
	remote.Styles:     "the app's pages load style sheets from it",
	remote.Navigation: "the app's pages lead users there",
	remote.TransitWay: "a way out of our own that waits for an administrator",
}

var (
	operationWords = [...]string{
		"stores what it gets",
		"computes with what it gets",
		"is sent data when something is fetched from it",
		"does something else with what it gets, which the manifest does not name",
	}
	tokenWords = [...]string{
		"a token that acts as the user who is at work",
		"a token that acts as the app itself",
	}
)

// hostWords says which hosts a row is for.
func hostWords(row remote.Row) string {
	words := "the host " + row.Host + ", and no other"
	if base, wild := strings.CutPrefix(row.Host, "*."); wild {
		words = fmt.Sprintf("every subdomain of %s, not %s itself", base, base)
	}
	if row.Path != "" {
		words += ", at " + Shown(row.Path)
		if strings.HasSuffix(row.Path, "/") {
			words += " and below"
		}
	}
	return words
}

// warnings are what about a row deserves a second look.
func (s *State) warnings(row remote.Row, registrable string) []remote.Warning {
	out := row.Warnings()
	for i := range out {
		out[i].Message = Shown(out[i].Message)
	}
	if !s.seen(registrable) {
		out = append(out, remote.Warning{Code: "new-domain", Message: "nothing at " + registrable + " was ever granted to anybody here"})
	}
	return out
}

// seen reports whether a host of a registrable domain was ever granted, as far as
// the ledger remembers.
func (s *State) seen(registrable string) bool {
	in := func(row remote.Row) bool {
		return row.Kind != remote.TransitWay && remote.Registrable(row.Host) == registrable
	}
	for _, st := range s.parties {
		for _, g := range st.Grants {
			if slices.ContainsFunc(g.Rows, in) {
				return true
			}
		}
		for _, r := range st.Requests { // a grant that is over has no rows any more
			if r.Status == Answered && slices.ContainsFunc(r.Rows, in) {
				return true
			}
		}
	}
	return false
}

// stops says what does not work without a row.
func stops(party Party, row remote.Row) string {
	switch row.Kind {
	case remote.TransitWay:
		return fmt.Sprintf("nothing leaves over the transit %s", row.Host)
	case remote.Backend:
		return fmt.Sprintf("servers of %s cannot send to %s; what the app does with it fails", party, row.Host)
	case remote.Remote:
		return fmt.Sprintf("calls to %s on behalf of %s are refused; what the app does there fails", row.Host, party)
	default:
		return fmt.Sprintf("pages of %s do without %s (%s)", party, row.Host, row.Kind)
	}
}
