package seal

import (
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/isogate/isogate"
)

// Statement is what a landing side says about itself: which key to wrap seal keys
// to, how long sessions last at the most, and of which labels it keeps the
// register. It is a signed note (C2SP signed-note) under the landing side's
// long-term key, whose name is the landing side's.
type Statement struct {
	Destination isogate.Destination
	Landing     string // the landing side's name, which is the signing key's
	Home        [4]byte
	Epoch       EpochID
	Public      []byte // of the epoch; 1216 bytes
	// NotBefore and NotAfter are when keys may be wrapped to the epoch; whole seconds.
	NotBefore, NotAfter time.Time
	// Idle and Max are how long a session lives without a request, and at all; whole
	// milliseconds.
	Idle, Max time.Duration
	// Acknowledges are the labels whose persisted identifiers it registers, lists and erases.
	Acknowledges []isogate.LabelPattern
}

// MediaType is the content type of statements and receipts.
const MediaType = "text/plain; charset=utf-8"

// Sign checks the statement and returns it as a signed note.
func (s *Statement) Sign(signer note.Signer) ([]byte, error) { panic("seal: not yet") }

// OpenStatement reads a statement, verifies its signature and that the landing
// side named in it is who signed. Whether it is of the right destination, and
// whether it is in force, is for the caller to see; [NewSealer] sees both.
func OpenStatement(b []byte, v note.Verifier) (*Statement, error) { panic("seal: not yet") }

// Acknowledged reports whether the landing side keeps the register for the label.
func (s *Statement) Acknowledged(l isogate.Label) bool {
	for _, p := range s.Acknowledges {
		if p.Match(l) {
			return true
		}
	}
	return false
}
