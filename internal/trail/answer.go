package trail

import (
	"context"
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
	// Unlisted is how many rows might have Query.Text in a name that the trail does not
	// keep, because there were too many. They are not among Rows.
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
	Kind, Source, App, Purpose, Transit, Destination, Decision, Pack []Facet
	Label, Action, Handling, Rule                                    []Facet
}

// MaxFacets is how many values of a dimension Facets gives.
const MaxFacets = 500

// List returns the rows that the query selects, newest first or, with Paging.From, oldest first. The
// entries are read from the journal.
func (t *Trail) List(ctx context.Context, q Query, p Paging) (Page, error) {
	return Page{}, ErrBehind
}

// Get returns the row of one entry. Of an entry that closes others, or only says how
// one ended, it is that entry alone. The error is the journal's where there is none.
func (t *Trail) Get(ctx context.Context, id isogate.EntryID) (Row, error) {
	return Row{}, ErrBehind
}

// Count counts what the query selects. It is exact.
func (t *Trail) Count(ctx context.Context, q Query) (Count, error) {
	return Count{}, ErrBehind
}

// Tally counts what the query selects by one dimension, or by several together, such
// as ByDay and ByFamily. Groups are ordered by their keys. A row is in as many groups as its fields
// have keys. Who asks by a dimension in which the query is wide asks for many groups: there are MaxGroups at
// the most, and more is an error.
//
// It is also what knows what is in use: by consent, by remote, by rule, by path of what is
// "unclassified", with the first and last time of each. What is not among the groups was never used.
func (t *Trail) Tally(ctx context.Context, q Query, by ...By) ([]Group, error) {
	return nil, ErrBehind
}

// MaxGroups is how many groups Tally makes.
const MaxGroups = 20_000

// Facets returns what a query could be narrowed by.
func (t *Trail) Facets(ctx context.Context, q Query) (Facets, error) {
	return Facets{}, ErrBehind
}

// Standing is how far the trail is.
func (t *Trail) Standing() Standing { return Standing{} }

// Watch is the seq of the first entry that is not in the trail, and a channel that is
// closed once it is, or an end of an earlier one.
func (t *Trail) Watch() (next uint64, more <-chan struct{}) { return 0, nil }

// Usage is Count, and which labels really left, and how, with the query's fields.
type Usage struct {
	Count
	// Labels are by label and action, of releases only, those with the strictest actions first.
	Labels []LabelUse
}

// LabelUse is how often a label left by an action.
type LabelUse struct {
	Label  isogate.Label
	Action isogate.Action
	Values uint64
	Last   time.Time
}

// Usage tells of what use a consent, a remote, a rule or anything else that the query selects
// was: how often, when first and last, and which labels left by it. Refused requests do not count.
func (t *Trail) Usage(ctx context.Context, q Query) (Usage, error) {
	return Usage{}, ErrBehind
}
