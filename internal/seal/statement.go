package seal

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
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

	ready wrapper // of Public, where the statement was opened
}

// MediaType is the content type of statements and receipts.
const MediaType = "text/plain; charset=utf-8"

// Limits of a statement.
const (
	maxAcknowledges = 200
	maxSession      = 30 * 24 * time.Hour
	maxEpoch        = 24 * time.Hour
)

// kem is the one suite of epoch keys.
const kem = "mlkem768x25519-hkdf-sha256-aes256gcm"

// Check reports what is wrong with the statement.
func (s *Statement) Check() error {
	if err := isogate.CheckName(string(s.Destination), false); err != nil {
		return fmt.Errorf("destination: %w", err)
	}
	if err := checkLanding(s.Landing); err != nil {
		return err
	}
	switch {
	case len(s.Public) != PublicSize:
		return fmt.Errorf("the epoch's public key has %d bytes, not %d", len(s.Public), PublicSize)
	case s.Epoch != epochID(s.Public):
		return errors.New("the epoch's id is not that of its public key")
	case !wholeSecond(s.NotBefore) || !wholeSecond(s.NotAfter) || !s.NotBefore.Before(s.NotAfter) || s.NotAfter.Sub(s.NotBefore) > maxEpoch:
		return errors.New("not-before and not-after: use whole seconds, the first before the second, at most a day apart")
	case s.Idle < time.Second || s.Idle > s.Max || s.Max > maxSession || s.Idle%time.Millisecond != 0 || s.Max%time.Millisecond != 0:
		return errors.New("idle and max: use whole milliseconds, at least 1 s and at most 30 days, idle no longer than max")
	case len(s.Acknowledges) > maxAcknowledges:
		return fmt.Errorf("acknowledges %d labels; use patterns, %d at the most", len(s.Acknowledges), maxAcknowledges)
	}
	for _, p := range s.Acknowledges {
		if _, err := isogate.ParseLabelPattern(string(p)); err != nil {
			return fmt.Errorf("acknowledges: %w", err)
		}
	}
	return nil
}

func wholeSecond(t time.Time) bool {
	return t.Nanosecond() == 0 && t.Unix() > 0 && t.Year() <= 9999
}

// text is what is signed.
func (s *Statement) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "isogate/statement/v1\nlanding %s\ndestination %s\nhome %x\nepoch %s\nkem %s %s\nnot-before %s\nnot-after %s\nidle %d\nmax %d\n",
		s.Landing, s.Destination, s.Home, s.Epoch, kem, base64.StdEncoding.EncodeToString(s.Public),
		s.NotBefore.UTC().Format(time.RFC3339), s.NotAfter.UTC().Format(time.RFC3339), s.Idle.Milliseconds(), s.Max.Milliseconds())
	for _, p := range s.Acknowledges {
		fmt.Fprintf(&b, "acknowledges %s\n", p)
	}
	return b.String()
}

// Sign checks the statement and returns it as a signed note.
func (s *Statement) Sign(signer note.Signer) ([]byte, error) {
	if err := s.Check(); err != nil {
		return nil, fmt.Errorf("seal: statement: %w", err)
	}
	return sign(s.text(), s.Landing, signer)
}

// maxStatement is more bytes than a statement has.
const maxStatement = 32 << 10

// OpenStatement reads a statement, verifies its signature and that the landing
// side named in it is who signed. Whether it is of the right destination, and
// whether it is in force, is for the caller to see; [NewSealer] sees both.
func OpenStatement(b []byte, v note.Verifier) (*Statement, error) {
	text, err := open(b, maxStatement, v)
	if err != nil {
		return nil, fmt.Errorf("seal: statement: %w", err)
	}
	s, err := parseStatement(text, v.Name())
	if err != nil {
		return nil, fmt.Errorf("seal: statement of %s: %w", v.Name(), err)
	}
	return s, nil
}

func parseStatement(text, signer string) (*Statement, error) {
	s := &Statement{}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		var err error
		switch name {
		case "isogate/statement/v1":
		case "landing":
			s.Landing = value
		case "destination":
			s.Destination = isogate.Destination(value)
		case "home":
			if len(value) == 2*len(s.Home) {
				_, err = hex.Decode(s.Home[:], []byte(value))
			}
		case "epoch":
			s.Epoch, err = parseEpochID(value)
		case "kem":
			s.Public, err = base64.StdEncoding.DecodeString(strings.TrimPrefix(value, kem+" "))
		case "not-before":
			s.NotBefore, err = time.Parse(time.RFC3339, value)
		case "not-after":
			s.NotAfter, err = time.Parse(time.RFC3339, value)
		case "idle":
			s.Idle, err = parseMillis(value)
		case "max":
			s.Max, err = parseMillis(value)
		case "acknowledges":
			s.Acknowledges = append(s.Acknowledges, isogate.LabelPattern(value))
		default:
			err = errors.New("an unknown line; both sides must speak the same version")
		}
		if err != nil {
			return nil, fmt.Errorf("%.20q: %w", name, err)
		}
	}
	if err := s.Check(); err != nil {
		return nil, err
	}
	if s.text() != text {
		return nil, errors.New("not as a landing writes it: its lines in their order, each as it is written")
	}
	if s.Landing != signer {
		return nil, fmt.Errorf("it says to be of landing %.100q", s.Landing)
	}
	ready, err := newWrapper(s.Public)
	if err != nil {
		return nil, fmt.Errorf("kem: %w", err)
	}
	s.ready = ready
	return s, nil
}

func parseMillis(s string) (time.Duration, error) {
	n, err := parseInteger(s, maxSession.Milliseconds())
	return time.Duration(n) * time.Millisecond, err
}

// Acknowledged reports whether the landing side keeps the register for the label.
func (s *Statement) Acknowledged(l isogate.Label) bool {
	for _, p := range s.Acknowledges {
		if p.Match(l) {
			return true
		}
	}
	return false
}
