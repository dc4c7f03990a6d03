package obfuscate

// decimal is a number of RFC 8259 §6 without an exponent, as it was spelled.
// All that is done with it is done on its digits: a float64 would change them.
type decimal struct {
	negative bool
	whole    []byte // no leading zero unless it is the only digit
	fraction []byte
}

// maxDigits bounds the digits of a number that is generalised.
const maxDigits = 400

// parseDecimal reads the whole of s. A number with an exponent is not understood.
func parseDecimal(s []byte) (d decimal, ok bool) {
	if len(s) > maxDigits {
		return d, false
	}
	if len(s) > 0 && s[0] == '-' {
		d.negative, s = true, s[1:]
	}
	n := digitRun(s)
	if n == 0 || n > 1 && s[0] == '0' {
		return d, false
	}
	d.whole, s = s[:n], s[n:]
	if len(s) == 0 {
		return d, true
	}
	if s[0] != '.' {
		return d, false
	}
	d.fraction = s[1:]
	return d, len(d.fraction) > 0 && digitRun(d.fraction) == len(d.fraction)
}

func digitRun(s []byte) int {
	for i, c := range s {
		if c < '0' || c > '9' {
			return i
		}
	}
	return len(s)
}

// integer reports whether nothing but zeros follows the point.
func (d decimal) integer() bool { return allZero(d.fraction) }

func allZero(s []byte) bool {
	for _, c := range s {
		if c != '0' {
			return false
		}
	}
	return true
}

// appendStep appends the largest multiple of step that is not above the number
// that text spells, exactly, however many digits it has.
func appendStep(dst []byte, step int, text []byte) ([]byte, bool) {
	d, ok := parseDecimal(text)
	if !ok || step < 1 {
		return dst, false
	}
	rest := 0 // the whole part modulo step
	for _, c := range d.whole {
		rest = (rest*10 + int(c-'0')) % step
	}
	change := -rest
	if d.negative {
		// Down is away from zero.
		change = 0
		if rest > 0 || !d.integer() {
			change = step - rest
		}
	}
	begin := len(dst)
	dst = append(dst, "-0000000000"...) // room for a sign and for a step of ten digits
	dst = append(dst, d.whole...)
	for i := len(dst) - 1; i > begin && change != 0; i-- {
		v := int(dst[i]-'0') + change
		change = v / 10
		if v %= 10; v < 0 {
			v += 10
			change--
		}
		dst[i] = byte('0' + v) // 0 to 9
	}
	first := begin + 1
	for first < len(dst)-1 && dst[first] == '0' {
		first++
	}
	if d.negative && dst[first] != '0' {
		first--
		dst[first] = '-'
	}
	return append(dst[:begin], dst[first:]...), true
}

// appendGeo cuts a coordinate in decimal degrees, or in a string
// "latitude,longitude", to n decimals: the digits behind are dropped, never
// rounded up, so that nothing says which of two cells the place was nearer to.
func appendGeo(dst []byte, n int, text []byte, number bool) ([]byte, bool) {
	begin := len(dst)
	for i, c := range text {
		if c != ',' || number {
			continue
		}
		dst, ok := appendDegrees(dst, n, text[:i], 90)
		if !ok {
			return dst[:begin], false
		}
		second := text[i+1:]
		dst = append(dst, ',')
		if len(second) > 0 && second[0] == ' ' {
			dst, second = append(dst, ' '), second[1:]
		}
		if dst, ok = appendDegrees(dst, n, second, 180); !ok {
			return dst[:begin], false
		}
		return dst, true
	}
	return appendDegrees(dst, n, text, 180)
}

func appendDegrees(dst []byte, n int, text []byte, limit int) ([]byte, bool) {
	d, ok := parseDecimal(text)
	if !ok || len(d.whole) > 3 {
		return dst, false
	}
	whole, _ := digits(d.whole, len(d.whole))
	if whole > limit || whole == limit && !d.integer() {
		return dst, false
	}
	fraction := d.fraction[:min(n, len(d.fraction))]
	if d.negative && (whole > 0 || !allZero(fraction)) {
		dst = append(dst, '-')
	}
	dst = append(dst, d.whole...)
	if len(fraction) > 0 {
		dst = append(append(dst, '.'), fraction...)
	}
	return dst, true
}
