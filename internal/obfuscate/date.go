package obfuscate

import (
	"strconv"
	"time"
)

// moment is a date or date-time as it was spelled.
type moment struct {
	t        time.Time // in UTC
	clock    bool      // has a time of day
	sep      byte      // between date and time
	fraction int       // digits of a second
	zone     string    // how UTC is spelled in the same style; "" for a date
}

// appendCoarseDate cuts a date (RFC 3339 full-date) or date-time down to unit.
// The result has the shape of the original, in UTC: what was cut off is zero,
// and the offset, which says where somebody lives, is gone. An offset may be
// without its colon, as ISO 8601 allows.
func appendCoarseDate(dst []byte, unit string, text []byte) ([]byte, bool) {
	m, ok := parseMoment(text)
	if !ok {
		return dst, false
	}
	m.t = cut(m.t, unit)
	if m.t.Year() < 0 || m.t.Year() > 9999 {
		return dst, false // the offset led out of what the form can spell
	}
	dst = m.t.AppendFormat(dst, "2006-01-02")
	if !m.clock {
		return dst, true
	}
	dst = append(dst, m.sep)
	dst = m.t.AppendFormat(dst, "15:04:05")
	for i := range m.fraction {
		if i == 0 {
			dst = append(dst, '.')
		}
		dst = append(dst, '0')
	}
	return append(dst, m.zone...), true
}

// cut returns the beginning of the unit that t lies in.
func cut(t time.Time, unit string) time.Time {
	y, mo, d := t.Date()
	switch unit {
	case "year":
		return time.Date(y, time.January, 1, 0, 0, 0, 0, time.UTC)
	case "month":
		return time.Date(y, mo, 1, 0, 0, 0, 0, time.UTC)
	case "day":
		return time.Date(y, mo, d, 0, 0, 0, 0, time.UTC)
	default:
		return time.Date(y, mo, d, t.Hour(), 0, 0, 0, time.UTC)
	}
}

// digits reads n decimal digits at the beginning of s.
func digits(s []byte, n int) (int, bool) {
	if len(s) < n {
		return 0, false
	}
	v := 0
	for _, c := range s[:n] {
		if c < '0' || c > '9' {
			return 0, false
		}
		v = v*10 + int(c-'0')
	}
	return v, true
}

func parseMoment(s []byte) (m moment, ok bool) {
	if len(s) < 10 || s[4] != '-' || s[7] != '-' {
		return m, false
	}
	y, ok1 := digits(s, 4)
	mo, ok2 := digits(s[5:], 2)
	d, ok3 := digits(s[8:], 2)
	if !ok1 || !ok2 || !ok3 || mo < 1 || mo > 12 || d < 1 {
		return m, false
	}
	m.t = time.Date(y, time.Month(mo), d, 0, 0, 0, 0, time.UTC)
	if m.t.Day() != d {
		return m, false // such as the 30th of February
	}
	if s = s[10:]; len(s) == 0 {
		return m, true
	}
	if len(s) < 10 || (s[0] != 'T' && s[0] != 't' && s[0] != ' ') || s[3] != ':' || s[6] != ':' {
		return m, false
	}
	h, ok1 := digits(s[1:], 2)
	mi, ok2 := digits(s[4:], 2)
	sec, ok3 := digits(s[7:], 2)
	if !ok1 || !ok2 || !ok3 || h > 23 || mi > 59 || sec > 60 {
		return m, false
	}
	m.clock, m.sep = true, s[0]
	if s = s[9:]; s[0] == '.' {
		for m.fraction+1 < len(s) && s[m.fraction+1] >= '0' && s[m.fraction+1] <= '9' {
			m.fraction++
		}
		if m.fraction == 0 || m.fraction > 9 {
			return m, false
		}
		s = s[m.fraction+1:]
	}
	offset, zone, ok := parseOffset(s)
	if !ok {
		return m, false
	}
	m.zone = zone
	// A leap second belongs to the minute that it ends.
	m.t = m.t.Add(time.Duration(h)*time.Hour + time.Duration(mi)*time.Minute + time.Duration(min(sec, 59))*time.Second - offset)
	return m, true
}

// parseOffset reads an offset from UTC and says how zero is spelled in its style.
func parseOffset(s []byte) (offset time.Duration, zero string, ok bool) {
	if len(s) == 1 && (s[0] == 'Z' || s[0] == 'z') {
		return 0, "Z", true
	}
	if len(s) < 5 || (s[0] != '+' && s[0] != '-') {
		return 0, "", false
	}
	minutes, zero := s[3:], "+0000"
	if s[3] == ':' {
		minutes, zero = s[4:], "+00:00"
	}
	h, ok1 := digits(s[1:], 2)
	mi, ok2 := digits(minutes, 2)
	if !ok1 || !ok2 || len(minutes) != 2 || h > 23 || mi > 59 {
		return 0, "", false
	}
	offset = time.Duration(h)*time.Hour + time.Duration(mi)*time.Minute
	if s[0] == '-' {
		offset = -offset
	}
	return offset, zero, true
}

// Numbers below firstMillis count seconds (until the year 5138), those below
// firstMicros milliseconds. Larger ones are not understood.
const (
	firstMillis = 100_000_000_000
	firstMicros = 100_000_000_000_000
)

// appendCoarseUnix cuts a time in seconds or milliseconds since 1970, with or
// without a fraction, down to unit.
func appendCoarseUnix(dst []byte, unit string, text []byte) ([]byte, bool) {
	d, ok := parseDecimal(text)
	if !ok || len(d.whole) > 15 {
		return dst, false
	}
	n, _ := digits(d.whole, len(d.whole))
	v := int64(n)
	if v >= firstMicros {
		return dst, false
	}
	millis := v >= firstMillis
	if d.negative {
		v = -v
		if !d.integer() {
			v-- // down, not towards zero
		}
	}
	if millis {
		return strconv.AppendInt(dst, cut(time.UnixMilli(v).UTC(), unit).UnixMilli(), 10), true
	}
	return strconv.AppendInt(dst, cut(time.Unix(v, 0).UTC(), unit).Unix(), 10), true
}
