package obfuscate

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"strconv"

	"github.com/isogate/isogate"
)

// What Replace cannot put into an output. The caller carries them out.
var (
	// ErrRefused says that the whole request must be refused.
	ErrRefused = errors.New("obfuscate: the verdict refuses the request")
	// ErrDropped says that the field must be removed.
	ErrDropped = errors.New("obfuscate: the verdict drops the field; remove it together with its name")
	// ErrSealed says that a value is to be sealed, for which a landing side and its key are needed.
	ErrSealed = errors.New("obfuscate: the verdict seals the value, but there is no landing side to hold the key; use token")
)

// What is hashed is preceded by one byte, so that a number and a string spelled
// alike, or a value and a name, have nothing in common.
const (
	domainString = 's'
	domainNumber = 'n'
	domainName   = 'm'
)

// Redacted is what a string becomes under redact.
const Redacted = "[redacted]"

// Replace appends the replacement of val under v, as decoded text, and says of
// which kind it is and which action was really applied:
//
//   - null stays null (redact, being a constant of its type)
//   - a bool can only be redacted: one bit cannot hide behind a keyed map,
//     except in a token of the form text, which makes it a string
//   - a number under token becomes a number that cannot be turned back (hash),
//     except in the form text, which makes it a string
//   - a string too long for a token, or for an e-mail-shaped one, is hashed
//   - what mask or generalise does not understand is redacted
//
// It returns ErrRefused, ErrDropped or ErrSealed where no replacement can be
// given, and dst unchanged with every error. Errors never carry the value.
//
// promise: P03 — only Allow copies a value.
func (o *Obfuscator) Replace(dst []byte, v *isogate.Verdict, val isogate.Value) (out []byte, kind isogate.Kind, applied isogate.Action, err error) {
	switch v.Action {
	case isogate.Drop:
		return dst, isogate.Null, isogate.Drop, ErrDropped
	case isogate.Seal:
		return dst, isogate.Null, isogate.Refuse, ErrSealed
	case isogate.Allow:
		if val.Kind == isogate.Null {
			return append(dst, "null"...), isogate.Null, isogate.Allow, nil
		}
		return append(dst, val.Text...), val.Kind, isogate.Allow, nil
	case isogate.Redact:
		out, kind, applied = redact(dst, val.Kind)
		return out, kind, applied, nil
	case isogate.Hash, isogate.Token:
		return o.replaceKeyed(dst, v, val)
	case isogate.Mask:
		if out, ok := mask(dst, v.Form, val); ok {
			return out, val.Kind, isogate.Mask, nil
		}
	case isogate.Generalise:
		if out, ok := generalise(dst, v.Form, val); ok {
			return out, val.Kind, isogate.Generalise, nil
		}
	default: // Refuse, and whatever is not an action
		return dst, isogate.Null, isogate.Refuse, ErrRefused
	}
	out, kind, applied = redact(dst, val.Kind)
	return out, kind, applied, nil
}

// redact appends the constant of a kind.
func redact(dst []byte, kind isogate.Kind) ([]byte, isogate.Kind, isogate.Action) {
	switch kind {
	case isogate.Null:
		dst = append(dst, "null"...)
	case isogate.Bool:
		dst = append(dst, "false"...)
	case isogate.Number:
		dst = append(dst, '0')
	default:
		dst, kind = append(dst, Redacted...), isogate.String
	}
	return dst, kind, isogate.Redact
}

// replaceKeyed replaces under the keys of the label.
func (o *Obfuscator) replaceKeyed(dst []byte, v *isogate.Verdict, val isogate.Value) ([]byte, isogate.Kind, isogate.Action, error) {
	keys := o.labels[v.Label]
	if keys == nil {
		return dst, isogate.Null, isogate.Refuse, o.unknown(v.Label)
	}
	token := v.Action == isogate.Token
	asText := token && v.Form.Name == "text" && len(val.Text) <= maxScalar
	s := o.borrow()
	defer o.giveBack(s)
	switch {
	case val.Kind == isogate.Null, val.Kind == isogate.Bool && !asText:
		out, kind, applied := redact(dst, val.Kind)
		return out, kind, applied, nil
	case val.Kind == isogate.Number && !asText:
		return keys.appendNumber(dst, s, val.Text), isogate.Number, isogate.Hash, nil
	case token && v.Form.Name == "email":
		out, applied := o.appendEmailToken(dst, s, keys, val.Text)
		return out, isogate.String, applied, nil
	case token:
		if out, ok := keys.token.appendToken(dst, s, val.Text, val.Kind); ok {
			return out, isogate.String, isogate.Token, nil
		}
	}
	return keys.appendHash(dst, s, domainString, val.Text), isogate.String, isogate.Hash, nil
}

func (o *Obfuscator) unknown(label isogate.Label) error {
	return fmt.Errorf("obfuscate: there are no keys of label %q for destination %q; name the label in Config.Labels", label, o.destination)
}

// hashSize is how many bytes of the MAC a hash shows: 160 bits, so that equal
// hashes mean equal values up to 2^80 of them.
const hashSize = 20

// hashLen is the length of a hash in characters.
const hashLen = len(hashPrefix) + hashSize*8/5

// appendHash appends the text form of a hash.
func (k *labelKeys) appendHash(dst []byte, s *scratch, domain byte, value []byte) []byte {
	k.hash.sum(s, domain, value)
	dst = append(dst, hashPrefix...)
	return AppendBase32(dst, s.digest[:hashSize])
}

// A replaced number has always fifteen digits: it says nothing about the
// original's size, and is exact as float64, which many receivers read numbers as.
const (
	leastNumber  = 100_000_000_000_000
	numberValues = 900_000_000_000_000
)

// appendNumber appends the number that stands for value.
func (k *labelKeys) appendNumber(dst []byte, s *scratch, value []byte) []byte {
	k.hash.sum(s, domainNumber, value)
	// The high half of a product scales 64 random bits to the range evenly.
	n, _ := bits.Mul64(binary.BigEndian.Uint64(s.digest[:8]), numberValues)
	return strconv.AppendUint(dst, leastNumber+n, 10)
}

// appendEmailToken appends a token, or else a hash, in the shape of an address.
func (o *Obfuscator) appendEmailToken(dst []byte, s *scratch, keys *labelKeys, value []byte) ([]byte, isogate.Action) {
	if bucket, ok := BucketFor(len(value)); ok && o.emailLen(tokenLen(bucket)) <= maxAddress {
		s.text, _ = keys.token.appendToken(s.text[:0], s, value, isogate.String)
		return o.appendEmail(dst, s.text), isogate.Token
	}
	s.text = keys.appendHash(s.text[:0], s, domainString, value)
	return o.appendEmail(dst, s.text), isogate.Hash
}

// maxName is the longest member name, in bytes, that is replaced reversibly.
const maxName = 63

// ReplaceName appends a pseudonym for the name of a member: letters and digits
// beginning with a letter, at most 140 of them, the same for the same name
// everywhere on the way to this destination, whatever the label of the value.
// Where v lets a token out, the pseudonym is a token, which Restore turns back;
// where v is stricter, or the name is longer than 63 bytes, it is a hash. No
// verdict lets the name itself out.
//
// promise: P03 P37
func (o *Obfuscator) ReplaceName(dst []byte, v *isogate.Verdict, name []byte) (out []byte, applied isogate.Action, err error) {
	switch {
	case v.Action == isogate.Refuse || v.Action > isogate.Allow:
		return dst, isogate.Refuse, ErrRefused
	case v.Action == isogate.Drop:
		return dst, isogate.Drop, ErrDropped
	case o.names == nil:
		return dst, isogate.Refuse, o.unknown(v.Label)
	}
	s := o.borrow()
	defer o.giveBack(s)
	if v.Action >= isogate.Token && len(name) <= maxName {
		dst, _ = o.names.token.appendToken(dst, s, name, isogate.String)
		return dst, isogate.Token, nil
	}
	return o.names.appendHash(dst, s, domainName, name), isogate.Hash, nil
}
