package isogate

import "time"

// EntryID names one journal entry: a ULID, 26 characters, ordered by time.
type EntryID string

// EntryKind is what an entry is about.
type EntryKind string

// The kinds of entries.
const (
	KindEgress  EntryKind = "egress"
	KindConsent EntryKind = "consent"
	KindPack    EntryKind = "pack"
	KindKey     EntryKind = "key"
	KindLanding EntryKind = "landing"
	KindAdmin   EntryKind = "admin"
	KindUpdate  EntryKind = "update"
)

// Stage is where in a request's life an egress entry was written. A released
// request has an opened entry, durable before its first byte leaves, and a
// closed one that names it and says how it ended. An opened entry without its
// closed one means that the gateway stopped in between: something may have left.
type Stage string

// The stages of an egress entry.
const (
	StageRefused Stage = "refused"
	StageOpened  Stage = "opened"
	StageClosed  Stage = "closed"
)

// Entry is one record of the journal, as JSON one object. It never carries a
// value of a payload. ID, Seq, Time and Tenant are the journal's to fill in.
type Entry struct {
	ID     EntryID   `json:"id"`
	Seq    uint64    `json:"seq"`
	Time   time.Time `json:"time"`
	Tenant Tenant    `json:"tenant"`
	Kind   EntryKind `json:"kind"`

	// Of an egress entry.

	Stage       Stage       `json:"stage,omitempty"`
	Of          EntryID     `json:"of,omitempty"`     // closed: the opened entry it ends
	Closes      []Closing   `json:"closes,omitempty"` // closed: several opened entries that ended as they should
	Source      Source      `json:"source,omitempty"`
	Purpose     string      `json:"purpose,omitempty"`
	Transit     Transit     `json:"transit,omitempty"`
	Remote      string      `json:"remote,omitempty"`
	Destination Destination `json:"destination,omitempty"`
	Method      string      `json:"method,omitempty"`
	URL         string      `json:"url,omitempty"`  // the template that matched, never the URL as sent
	Pack        string      `json:"pack,omitempty"` // digest of the pack it was judged by
	Consent     EntryID     `json:"consent,omitempty"`
	Decision    string      `json:"decision,omitempty"`
	Reason      string      `json:"reason,omitempty"`
	Streamed    bool        `json:"streamed,omitempty"` // the fields are counted in the closed entry
	Fields      []Field     `json:"fields,omitempty"`
	Seals       []SealUse   `json:"seals,omitempty"` // the seal keys that values of this request were sealed under
	BytesIn     int64       `json:"bytes_in,omitempty"`
	BytesOut    int64       `json:"bytes_out,omitempty"`
	DigestIn    string      `json:"digest_in,omitempty"`  // keyed: says nothing without the tenant's key
	DigestOut   string      `json:"digest_out,omitempty"` // SHA-256 of the body that left
	TLS         string      `json:"tls,omitempty"`
	Status      int         `json:"status,omitempty"`
	DurationUS  int64       `json:"duration_us,omitempty"`

	// Of the other kinds.

	Actor  string            `json:"actor,omitempty"` // who acted, and how they signed in
	Act    string            `json:"act,omitempty"`   // what was done, such as "pack activated"
	Detail map[string]string `json:"detail,omitempty"`
}

// Closing is how one release ended about which there is nothing more to say: its
// body was judged whole, and the answer reached the caller.
type Closing struct {
	Of         EntryID `json:"of"` // the opened entry
	Status     int     `json:"status"`
	DurationUS int64   `json:"duration_us"`
}

// SealUse names one seal key that values of a request were sealed under. What
// the landing side states about a seal, that it was revealed or that its key was
// destroyed, names the same key and the same number.
type SealUse struct {
	Key      string `json:"key"`     // the key's id
	Request  uint64 `json:"request"` // which request under this key it was, from 1
	Handling string `json:"handling"`
	TTL      string `json:"ttl,omitempty"`
}

// Field is how one field of a request was treated, counted over its values. At
// most one of Sealed, Registered and Declared says how its handling is kept; none
// does where nothing left that could be turned back outside, or no handling is
// asked for.
type Field struct {
	Path     string `json:"path"` // as the contract names it; never a key of the payload that the contract does not name
	Label    Label  `json:"label"`
	Action   Action `json:"action"`
	Handling string `json:"handling,omitempty"`
	TTL      string `json:"ttl,omitempty"`
	Rule     string `json:"rule,omitempty"` // file:line; absent when the label's default treatment decided
	N        uint32 `json:"n"`

	Sealed     bool `json:"sealed,omitempty"`     // it left under a seal key, with which it ends
	Registered bool `json:"registered,omitempty"` // it left in plaintext, and the landing side's register can list and erase it
	Declared   bool `json:"declared,omitempty"`   // the far side was told of the handling, and nothing but its word keeps it
}

// FieldOf describes n values at path that were treated by v, with action really applied.
func FieldOf(path string, v Verdict, applied Action, n uint32) Field {
	f := Field{Path: path, Label: v.Label, Action: applied, Rule: v.Rule, N: n}
	if v.Rule != "" || v.Sealed || v.Register { // of several labels, one's rule may ask it where another's default decides
		f.Handling = v.Handling.String()
	}
	if v.TTL > 0 {
		f.TTL = v.TTL.String()
	}
	switch {
	case applied <= Token:
		// Nothing left that the far side could read.
	case applied == Seal || v.Sealed:
		f.Sealed = true
	case applied == Allow && v.Register:
		f.Registered = true
	default:
		f.Declared = f.Handling != ""
	}
	return f
}
