package trail

import (
	"time"

	"github.com/isogate/isogate"
)

// Row is one entry, as the journal has it, and how it ended.
type Row struct {
	// Entry is the entry. A streamed release has the fields, bytes and digests of its closing
	// entry, once there is one.
	Entry isogate.Entry
	// End is how a release ended; nil while it has not, or of what is no release.
	End *End
	// Unreadable says that the journal's row cannot be read: somebody changed it. Of
	// Entry there is only Seq.
	Unreadable bool
}

// End is how a release ended.
type End struct {
	// Seq is that of the entry that says so, which may say it of several.
	Seq uint64
	// Status is the answer's, or what the gateway answered instead of it.
	Status int
	// Took is how long the request took.
	Took time.Duration
	// Reason is why it did not end as it should; "" if it did.
	Reason string
}

// Open reports whether it is a release without an end.
func (r Row) Open() bool { return r.Entry.Stage == isogate.StageOpened && r.End == nil }

// Page is a piece of a list.
type Page struct {
	Rows []Row
	// Next is the cursor of the page behind this one; "" if there is none.
	Next string
}

// Paging says which piece of a list is asked for. The zero value is the newest rows,
// newest first.
type Paging struct {
	// After is Page.Next of the piece before.
	After string
	// From is a seq: the rows from it on, oldest first, as a live tail needs them.
	// Page.Next goes on behind them, and is then never "".
	From *uint64
	// Limit is how many rows there may be; zero is DefaultLimit, and more than MaxLimit is MaxLimit.
	Limit int
}

// Limits of [Paging].
const (
	DefaultLimit = 50
	MaxLimit     = 1000
)

// Count is what was selected, altogether.
type Count struct {
	// Rows is how many rows there are, Released and Refused how many of them are egress
	// of this decision, and Open how many releases have no end.
	Rows, Released, Refused, Open uint64
	// Failed is how many releases ended with a status of 500 or more.
	Failed uint64
	// BytesIn and BytesOut are the bodies' of the rows selected, as entries have them.
	BytesIn, BytesOut int64
	// Took is the time that releases with an end took, altogether.
	Took time.Duration
	// Values is how many values were treated by each action, of the fields selected;
	// the index is the action.
	Values [isogate.Allow + 1]uint64
	// First and Last are the times of the first row and the last; zero if there is none.
	First, Last time.Time
	// Unlisted is how many rows might be selected by a name that the trail does not keep,
	// because there were too many. They are not among Rows.
	Unlisted uint64
}

// Group is what was selected and has one key.
type Group struct {
	// Key has an element for each By that was asked for. Hours and days are written as
	// in RFC 3339, in UTC: 2026-11-26T05:00:00Z and 2026-11-26.
	Key []string
	// Count is of the rows that have it, or one field that has it. Where it is about
	// fields, Values are of those that have it.
	Count
}

// Facet is one value of a dimension, and how many rows have it.
type Facet struct {
	Value string
	Rows  uint64
}

// Facets are the values that each dimension has, those with the most rows first, among the
// rows that a query selects with what it says of this dimension left out. Of a dimension there
// are MaxFacets at the most.
type Facets struct {
	Kind, Source, App, Purpose, Transit, Destination, Remote, Decision, Pack []Facet
	Label, Action, Handling, Rule                                            []Facet
}

// MaxFacets is how many values of a dimension Facets gives.
const MaxFacets = 500

// Usage is Count, and which labels really left, and how, with the query's fields.
type Usage struct {
	Count
	// Labels are how the labels of the selected fields were treated, the loosest actions first.
	Labels []LabelUse
}

// LabelUse is how often an action was applied to a label.
type LabelUse struct {
	Label  isogate.Label
	Action isogate.Action
	// Rows is how many releases had it, Values how many values.
	Rows, Values uint64
	// First and Last are of the first and last of these releases.
	First, Last time.Time
}
