package seal

import "github.com/isogate/isogate"

// Limits of one request's Isogate-Register.
const (
	MaxRegisterRows  = 200
	MaxRegisterBytes = 32 << 10 // over all its field lines
)

// RegisterRow is one identifier that stays outside. It names values by the
// tenant's own tokens, which the landing side cannot turn back.
type RegisterRow struct {
	Label   isogate.Label
	ID      string // the token (igt1…) of the identifier
	Subject string // the token of whom it belongs to; ID if it stands for itself
	Because string // why it is kept, as the rule says; at most 500 bytes of UTF-8
	Rule    string // file:line
}

// AppendRegister appends one member of the Isogate-Register header field. Members
// are joined by ", ".
func AppendRegister(dst []byte, r *RegisterRow) []byte { panic("seal: not yet") }

// ParseRegister reads the Isogate-Register field lines of a request. It is strict
// as [ParseHeader] is, and refuses more than [MaxRegisterRows] and
// [MaxRegisterBytes].
func ParseRegister(lines []string) ([]RegisterRow, error) { panic("seal: not yet") }
