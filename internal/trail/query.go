package trail

import (
	"time"

	"github.com/isogate/isogate"
)

// Query selects rows; its zero value selects all of them. What is set must all be true of
// a row.
//
// Label, Path, Action, Handling and Rule are about fields: a row is selected if one of its
// fields has all of them, and where fields or their values are counted, only such
// fields are. A streamed release has its fields once it has ended.
type Query struct {
	// Since and Before bound the time: from Since on, and before Before. The trail knows
	// times to the millisecond.
	Since, Before time.Time
	Kind          isogate.EntryKind
	// Source is a source, and App one that is an app, by its name without "app/".
	Source isogate.Source
	App    string
	// Purpose is that of an egress entry.
	Purpose string
	Transit isogate.Transit
	// Destination is a destination's name, or the host of a remote.
	Destination isogate.Destination
	// Decision is released or refused.
	Decision string
	// Consent is the consent that a request went by; of a consent entry, the request or
	// grant that it is about, or that it is itself.
	Consent isogate.EntryID
	// Pack is the digest of a pack.
	Pack string

	// Label selects labels by whole segments. As no pattern selects them, "unclassified"
	// and "opaque" stand for themselves.
	Label isogate.LabelPattern
	// Path is a field's path, as the contract has it.
	Path string
	// Actions are those of which a field must have one.
	Actions []isogate.Action
	// Handling is a field's handling.
	Handling string
	// Rule is file:line.
	Rule string

	// Open selects releases of which no end is recorded: they go on, or the gateway
	// stopped while they did.
	Open bool
	// Text is looked for, without regard to the case of letters, in names: source, transit,
	// purpose, destination, remote, method, URL template, act and actor, and the fields' labels, paths and
	// rules. Never in values, which no entry has, nor in reasons and details. A field whose names have it is a
	// reason to select the row; it does not restrict which fields are counted.
	Text string
}

// By is what rows or fields are counted by.
type By uint8

// What to count by. The first are about a row, the last about its fields.
const (
	_ By = iota
	ByHour
	ByDay
	ByKind
	BySource
	ByPurpose
	ByTransit
	ByDestination // the name of a destination
	ByRemote      // a remote, as host:port
	ByDecision
	ByConsent
	ByPack
	ByMethod
	ByActor
	ByAct

	ByFamily // the first segment of a label
	ByBranch // its first two
	ByLabel
	ByPath
	ByAction
	ByHandling
	ByRule
)

// Others is the key of what the trail does not tell apart any more, because there are
// more different ones than it keeps. The rows themselves are found by an exact name all
// the same.
const Others = "(others)"
