package obfuscate

import (
	"bytes"
	"unicode/utf8"

	"github.com/isogate/isogate"
)

// hidden stands for what a mask hides; its length says nothing.
const hidden = "****"

// mask appends val with most of it hidden, and reports false for what cannot be
// masked. Of a string of n characters (Unicode code points) it never shows more
// than n/2, whatever the form asks for; invalid UTF-8 shows nothing.
//
//	plain    ****
//	first-N  Mari****
//	last-N   ****4242
//	email    m****@example.org, or m****@**** where the domain would be more than half
//
// A number keeps its type: an integer shows its first or last digits as a
// number, first-N followed by four zeros. Any other number cannot be masked.
func mask(dst []byte, form isogate.Form, val isogate.Value) ([]byte, bool) {
	switch val.Kind {
	case isogate.String:
		return maskText(dst, form, val.Text), true
	case isogate.Number:
		return maskInteger(dst, form, val.Text)
	default:
		return dst, false
	}
}

func maskText(dst []byte, form isogate.Form, text []byte) []byte {
	if !utf8.Valid(text) {
		return append(dst, hidden...)
	}
	half := utf8.RuneCount(text) / 2
	switch form.Name {
	case "first":
		dst = append(dst, text[:prefixLen(text, min(form.N, half))]...)
		return append(dst, hidden...)
	case "last":
		dst = append(dst, hidden...)
		return append(dst, text[suffixStart(text, min(form.N, half)):]...)
	case "email":
		return maskEmail(dst, text, half)
	}
	return append(dst, hidden...)
}

// maskEmail shows the first character and the domain, as far as budget characters go.
func maskEmail(dst, text []byte, budget int) []byte {
	local, domain, ok := bytes.Cut(text, []byte{'@'})
	if !ok || len(local) == 0 || len(domain) == 0 || bytes.IndexByte(domain, '@') >= 0 {
		return append(dst, hidden...)
	}
	// The "@" is the receiver's to see in any case, and counts.
	if budget--; budget >= 1 {
		dst = append(dst, local[:prefixLen(local, 1)]...)
		budget--
	}
	dst = append(dst, hidden+"@"...)
	if utf8.RuneCount(domain) <= budget {
		return append(dst, domain...)
	}
	return append(dst, hidden...)
}

// prefixLen is how many bytes the first n characters of text have.
func prefixLen(text []byte, n int) int {
	at := 0
	for ; n > 0 && at < len(text); n-- {
		_, size := utf8.DecodeRune(text[at:])
		at += size
	}
	return at
}

// suffixStart is where the last n characters of text begin.
func suffixStart(text []byte, n int) int {
	at := len(text)
	for ; n > 0 && at > 0; n-- {
		_, size := utf8.DecodeLastRune(text[:at])
		at -= size
	}
	return at
}

func maskInteger(dst []byte, form isogate.Form, text []byte) ([]byte, bool) {
	digits := bytes.TrimPrefix(text, []byte{'-'})
	if digitRun(digits) < len(digits) || len(digits) > 1 && digits[0] == '0' {
		return dst, false
	}
	n := min(form.N, len(digits)/2)
	if n < 1 {
		return dst, false // the plain and the e-mail form have no number
	}
	if form.Name == "first" {
		dst = append(dst, digits[:n]...)
		return append(dst, "0000"...), true
	}
	// A number has no leading zeros.
	last := bytes.TrimLeft(digits[len(digits)-n:], "0")
	if len(last) == 0 {
		return append(dst, '0'), true
	}
	return append(dst, last...), true
}
