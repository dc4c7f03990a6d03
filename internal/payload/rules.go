package payload

import (
	"fmt"

	"github.com/isogate/isogate"
)

// Rules is what a body is judged by: where its labels are and what may leave
// of them. It is read only and may serve any number of bodies at once.
type Rules struct {
	Tree *Tree
	// Verdicts has one verdict for each of Tree.Sets(). A set beyond its end is
	// refused. The first is that of unclassified; it may not be looser than
	// token, and a body is refused when it is.
	Verdicts []isogate.Verdict
	Limits   Limits
}

// Limits bounds a body. A field that is zero or less takes its default.
type Limits struct {
	Depth   int   // nested objects and arrays, those inside parsed strings included; default 128
	Value   int   // bytes of one string or name as written, of one element that a selector is matched against, of one form field; default 1 MiB
	Number  int   // bytes of one number; default 128
	Members int   // members of one object, fields of one form; default 65,536
	Body    int64 // bytes of the whole body; default 8 MiB
}

// The defaults of [Limits].
const (
	DefaultDepth   = 128
	DefaultValue   = 1 << 20
	DefaultNumber  = 128
	DefaultMembers = 1 << 16
	DefaultBody    = 8 << 20
)

// maxSpace is how many bytes of white space may stand between two tokens of
// JSON. A walker holds back the text between a comma and the value it leads
// to, so that a member can be dropped; white space must not make that grow.
const maxSpace = 16 << 10

func (l Limits) withDefaults() Limits {
	if l.Depth <= 0 {
		l.Depth = DefaultDepth
	}
	if l.Value <= 0 {
		l.Value = DefaultValue
	}
	if l.Number <= 0 {
		l.Number = DefaultNumber
	}
	if l.Members <= 0 {
		l.Members = DefaultMembers
	}
	if l.Body <= 0 {
		l.Body = DefaultBody
	}
	return l
}

// Replacer makes the replacements of what may not leave as it is. Values whose
// verdict is Allow, Drop, Redact or Refuse never reach it. It must be deterministic, but for what it
// seals: the same value under the same verdict has the same replacement.
type Replacer interface {
	// Replace appends to dst the replacement of val under v, as decoded text, and
	// says of which kind it is and which action was really applied; the walker
	// writes it as its format demands. An action that lets out more than v's
	// fails the body; Drop and Refuse are honoured. val.Text is valid during the
	// call only and must not overlap dst's free space, which the walker sees to.
	Replace(dst []byte, v *isogate.Verdict, val isogate.Value) (out []byte, kind isogate.Kind, applied isogate.Action, err error)
	// ReplaceName appends to dst a pseudonym for a member name that may not leave
	// as it is: keyed, deterministic, different for different names. Under Redact
	// it is a hash, for a constant could not stay unique.
	ReplaceName(dst []byte, v *isogate.Verdict, name []byte) (out []byte, applied isogate.Action, err error)
}

// Noter is a Replacer that is told of values that leave as they are and have to
// be registered with the far side: those whose verdict is Allow with Register
// set. Where a verdict asks for it and the Replacer is no Noter, the body fails:
// what cannot be noted does not leave.
type Noter interface {
	Replacer
	// Note is called once for each such value that leaves, in the order of the
	// body: values of every part and format, also those inside parsed strings, and
	// member names that stay and have a label of their own ([Spec].Key). null and
	// the empty text identify nobody and are not noted, nor is what is left out. A
	// body that is refused later may have had values noted before. v and val are
	// valid during the call only. An error fails the body as one of Replace does.
	//
	// promise: P17
	Note(v *isogate.Verdict, val isogate.Value) error
}

// Refusal is why a body may not leave. It never holds a value, nor a name that
// the contract does not spell.
type Refusal struct {
	Offset int64  // byte of the body, from 0; inside a parsed string, that of the string
	Path   string // the place, as the contract names it; ? stands for a member it does not name
	Reason string // cause and, where there is one, next step
}

func (r *Refusal) Error() string {
	return fmt.Sprintf("byte %d, at %s: %s", r.Offset, r.Path, r.Reason)
}
