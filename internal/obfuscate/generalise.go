package obfuscate

import "github.com/isogate/isogate"

// generalise appends a coarser value of the same kind, and reports false, with
// nothing appended, for whatever the form does not understand: what is not
// understood is never passed.
//
//	year month day hour  an RFC 3339 date or date-time; a number of seconds or milliseconds since 1970
//	network-N            an IP address
//	step-N               a number, also spelled in a string
//	prefix-N             a postcode
//	geo-N                a coordinate, or "latitude,longitude"
func generalise(dst []byte, form isogate.Form, val isogate.Value) ([]byte, bool) {
	text, number := val.Text, val.Kind == isogate.Number
	if !number && val.Kind != isogate.String {
		return dst, false
	}
	switch form.Name {
	case "year", "month", "day", "hour":
		if number {
			return appendCoarseUnix(dst, form.Name, text)
		}
		return appendCoarseDate(dst, form.Name, text)
	case "network":
		if number {
			return dst, false
		}
		return appendNetwork(dst, form.N, text)
	case "step":
		return appendStep(dst, form.N, text)
	case "prefix":
		return appendPostcode(dst, form.N, text, number)
	case "geo":
		return appendGeo(dst, form.N, text, number)
	}
	return dst, false
}

// appendPostcode appends the first n characters of a postcode: 3 to 10 letters,
// digits, spaces and dashes, with a digit among them. A number is taken as its
// digits. One that is not longer than n is not understood: it would pass whole.
func appendPostcode(dst []byte, n int, text []byte, number bool) ([]byte, bool) {
	if len(text) < 3 || len(text) > 10 || len(text) <= n || n < 1 {
		return dst, false
	}
	if number && (digitRun(text) < len(text) || text[0] == '0') {
		return dst, false // a sign, a fraction, an exponent
	}
	digits := 0
	for _, c := range text {
		switch {
		case c >= '0' && c <= '9':
			digits++
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == ' ' || c == '-':
		default:
			return dst, false
		}
	}
	if digits == 0 {
		return dst, false
	}
	prefix := text[:n]
	for len(prefix) > 0 && (prefix[len(prefix)-1] == ' ' || prefix[len(prefix)-1] == '-') {
		prefix = prefix[:len(prefix)-1]
	}
	return append(dst, prefix...), len(prefix) > 0
}
