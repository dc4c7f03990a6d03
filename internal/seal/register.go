package seal

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/obfuscate"
)

// Limits of one request's Isogate-Register.
const (
	MaxRegisterRows  = 200
	MaxRegisterBytes = 32 << 10 // over all its field lines
	MaxBecause       = 500      // bytes
	MaxRule          = 300      // bytes
	MaxRegisterToken = 4 << 10  // characters: of an identifier of some 2 KiB
)

// RegisterRow is one identifier that stays outside. It names values by the
// tenant's own tokens, which the landing side cannot turn back.
type RegisterRow struct {
	Label   isogate.Label
	ID      string // the token (igt1…) of the identifier
	Subject string // the token of whom it belongs to; ID if it stands for itself
	Because string // why it is kept, as the rule says; 1 to 500 bytes of UTF-8
	Rule    string // file:line; 1 to 300 bytes of UTF-8
}

// Check reports what is wrong with the row, in words without its tokens.
func (r *RegisterRow) Check() error {
	if _, err := isogate.ParseLabel(string(r.Label)); err != nil {
		return err
	}
	if len(r.Label) > math.MaxUint8 {
		return errors.New("label: longer than 255 bytes")
	}
	if r.Label.Reserved() {
		return fmt.Errorf("label %s: nothing unclassified is kept", r.Label)
	}
	for _, t := range []struct{ what, text string }{{"id", r.ID}, {"subject", r.Subject}} {
		if !isToken(t.text) {
			return fmt.Errorf("%s: not a token, which begins with igt1 and has %d characters at the most", t.what, MaxRegisterToken)
		}
	}
	for _, t := range []struct {
		what, text string
		most       int
	}{{"because", r.Because, MaxBecause}, {"rule", r.Rule, MaxRule}} {
		if t.text == "" || len(t.text) > t.most || !utf8.ValidString(t.text) {
			return fmt.Errorf("%s: use 1 to %d bytes of UTF-8", t.what, t.most)
		}
	}
	return nil
}

// isToken reports whether s has the form of a token, in lower case.
func isToken(s string) bool {
	body, ok := strings.CutPrefix(s, "igt1")
	return ok && len(s) <= MaxRegisterToken && len(body) > 1 && obfuscate.Base32Run([]byte(body)) == len(body) && strings.ToLower(s) == s
}

// AppendRegister appends one member of the Isogate-Register header field. Members
// are joined by ", ". The row must be one that Check finds nothing wrong with.
//
//	"account.id";id="igt1b…";subject="igt1b…";because=%"billing";rule=%"transits/billing.yaml:12"
func AppendRegister(dst []byte, r *RegisterRow) []byte {
	dst = append(append(append(dst, '"'), r.Label...), `";id="`...)
	dst = append(append(dst, r.ID...), `";subject="`...)
	dst = append(append(dst, r.Subject...), `";because=`...)
	dst = append(appendDisplay(dst, r.Because), `;rule=`...)
	return appendDisplay(dst, r.Rule)
}

// ParseRegister reads the Isogate-Register field lines of a request. It is strict
// as [ParseHeader] is, and refuses more than [MaxRegisterRows] and
// [MaxRegisterBytes].
func ParseRegister(lines []string) ([]RegisterRow, error) {
	members, err := splitMembers(lines, MaxRegisterBytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", HeaderRegister, err)
	}
	if len(members) > MaxRegisterRows {
		return nil, fmt.Errorf("%s: %d identifiers; a request has %d at the most", HeaderRegister, len(members), MaxRegisterRows)
	}
	out := make([]RegisterRow, len(members))
	for i, m := range members {
		if out[i], err = parseRow(m); err != nil {
			return nil, fmt.Errorf("%s: member %d: %w", HeaderRegister, i+1, err)
		}
	}
	return out, nil
}

func parseRow(m string) (RegisterRow, error) {
	item, params, err := splitParams(m)
	if err != nil {
		return RegisterRow{}, err
	}
	r := RegisterRow{Label: isogate.Label(unquote(item))}
	for _, p := range params {
		switch p.name {
		case "id":
			r.ID = unquote(p.value)
		case "subject":
			r.Subject = unquote(p.value)
		case "because":
			r.Because, err = parseDisplay(p.value)
		case "rule":
			r.Rule, err = parseDisplay(p.value)
		default:
			return RegisterRow{}, fmt.Errorf("parameter %.20q is unknown; both sides must speak the same version", p.name)
		}
		if err != nil {
			return RegisterRow{}, fmt.Errorf("parameter %s: %w", p.name, err)
		}
	}
	if err := r.Check(); err != nil {
		return RegisterRow{}, err
	}
	if string(AppendRegister(nil, &r)) != m {
		return RegisterRow{}, errors.New("not as a gateway writes it: parameters in their order, each once")
	}
	return r, nil
}
