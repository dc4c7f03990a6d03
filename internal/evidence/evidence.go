// Package evidence makes one file of what an audit of a period needs, and verifies
// such a file by the journal's public key alone.
//
// The file is a ZIP archive:
//
//	README.txt            what is in it, and how to verify it
//	report.html           for people: readable, printable, without script
//	report.json           the same figures, for programs
//	entries.jsonl         the entries of the period, as [journal.VerifyExport] reads them
//	before/ID.proof       consents and the pack from before the period that still counted in it, each with its proof
//	edges/*.proof         the entries next to the run, which are not of the period: nothing of it is left out
//	packs/HEX/…           the packs that judged, by the digits of their digest, file by file
//	receipts.jsonl        what landings signed in the period, note by note
//	checkpoint            the signed checkpoint that all of it is under
//	isogate.pub           the public key that it was made for
//	manifest.json         format, period, and the SHA-256 of each file
//
// Nothing in it is believed because the file says so. Entries are what the signed
// checkpoint covers; proofs lead to the same checkpoint; a pack is what its digest, which
// entries name, is over; a note is what a landing signed, whose key a pack names; and
// both reports are made anew from the entries and compared byte by byte. What is not
// there is said, in the report and by whoever verifies it.
//
// Memory does not grow with the number of entries, on either side.
package evidence

import (
	"errors"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/policy"
)

// Format names the form of the file in its manifest.
const Format = "isogate-evidence/1"

// The names of the files in it.
const (
	readmeName     = "README.txt"
	reportName     = "report.html"
	figuresName    = "report.json"
	entriesName    = "entries.jsonl"
	receiptsName   = "receipts.jsonl"
	checkpointName = "checkpoint"
	keyName        = "isogate.pub"
	manifestName   = "manifest.json"
	beforeDir      = "before/"
	edgeBefore     = "edges/before.proof"
	edgeAfter      = "edges/after.proof"
	proofSuffix    = ".proof"
	packsDir       = "packs/"
)

// Packs is where packs are kept by their digest; internal/archive is it.
type Packs interface {
	Files(digest string) (*policy.Files, error)
}

// NoteOf returns the note of a landing's receipt from its entry, as it was signed;
// internal/custody knows how entries carry one.
type NoteOf func(e *isogate.Entry) ([]byte, error)

// Period is a time from Since on and before Before; zero times do not bound it.
type Period struct {
	Since  time.Time `json:"since,omitzero"`
	Before time.Time `json:"before,omitzero"`
}

// ErrPeriod says that a period is none.
var ErrPeriod = errors.New("the period ends before it begins; name an earlier since or a later before")

// maxBefore is how many consents from before the period the file has at the most, the
// newest; a proof is about 3 KiB.
const maxBefore = 20_000

// manifest is manifest.json.
type manifest struct {
	Format  string         `json:"format"`
	Release string         `json:"release"` // that made it, for people
	Tenant  isogate.Tenant `json:"tenant"`
	Period  Period         `json:"period"`
	// Earlier is how many consents from before the period were left out, the oldest.
	Earlier int    `json:"earlier,omitempty"`
	Files   []file `json:"files"`
}

// file is one file of the archive, but for the manifest itself.
type file struct {
	Path   string `json:"path"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}
