package payload

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/isogate/isogate"
)

var (
	errReplacement  = errors.New("the replacement cannot stand here; this is a fault of the replacer")
	errLooser       = errors.New("the replacement lets out more than its verdict; this is a fault of the replacer")
	errUnnoted      = errors.New("a value that must be registered cannot be noted; this is a fault of the replacer")
	errUnclassified = errors.New("the verdict of unclassified is looser than token, and what nobody classified must not leave in plaintext; use token or a stricter one")
)

// checkUnclassified refuses a table that would let out what nobody classified.
//
// promise: P02
func checkUnclassified(verdicts []isogate.Verdict) error {
	if len(verdicts) > 0 && verdicts[0].Action > isogate.Token {
		return errUnclassified
	}
	return nil
}

func reasonRefused(v *isogate.Verdict) string {
	if v.Label == "" {
		return "no verdict lets it leave"
	}
	return fmt.Sprintf("the verdict of %s is refuse", v.Label)
}

// atPlace says where an error of a replacer came up.
func atPlace(path string, err error) error { return fmt.Errorf("at %s: %w", path, err) }

// note tells the replacer of a value that leaves as it is under a verdict that
// has it registered.
func note(rep Replacer, v *isogate.Verdict, val isogate.Value) error {
	if val.Kind == isogate.Null || len(val.Text) == 0 {
		return nil
	}
	n, ok := rep.(Noter)
	if !ok {
		return errUnnoted
	}
	return n.Note(v, val)
}

// The constants that redact puts in place of a value.
const (
	redactedString = "[redacted]"
	redactedNumber = "0"
	redactedBool   = "false"
	redactedNull   = "null"
)

// replaceText appends what leaves of a text, in a format without types, under a
// verdict that does not let it leave as it is. An action of Refuse or Drop is
// for the caller to carry out.
func replaceText(dst []byte, v *isogate.Verdict, text []byte, rep Replacer) ([]byte, isogate.Action, error) {
	switch v.Action {
	case isogate.Refuse, isogate.Drop:
		return dst, v.Action, nil
	case isogate.Redact:
		return append(dst, redactedString...), v.Action, nil
	}
	out, _, applied, err := rep.Replace(dst, v, isogate.Value{Kind: isogate.String, Text: text})
	switch {
	case err != nil:
	case applied > v.Action:
		err = errLooser
	case applied > isogate.Drop && !utf8.Valid(out[len(dst):]):
		err = errReplacement
	}
	if err != nil {
		return dst, applied, err
	}
	return out, applied, nil
}
