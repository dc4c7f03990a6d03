package journal

import (
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/isogate/isogate"
)

// The bytes of an entry are what is hashed, signed, exported and verified, so
// there is one way to write them: compact JSON in the order of the fields of
// isogate.Entry, the zero ones left out as their tags say, strings escaped as
// encoding/json does without HTML escaping, keys of Detail sorted. They are
// written once. An entry begins with its ID at a fixed place:
//
//	{"id":"01JD3T8CZ0W6X2V8V5W7K9QJ4M","seq":0,"time":"2026-11-23T22:01:07.123456Z","tenant":"acme",…}
//
// The head (id, seq, time) is known only when the entry's place is, so the tail
// is encoded before, by whoever appends, and the two are joined by the writer.

const (
	idOffset = len(`{"id":"`)
	idLength = 26
	// headRoom is more than a head can be long.
	headRoom = 128
	// maxEntry is the longest entry in bytes: C2SP tlog-tiles gives a length 16 bits.
	maxEntry = 1<<16 - 1
)

func appendHead(dst []byte, id isogate.EntryID, seq uint64, at time.Time) []byte {
	dst = append(dst, `{"id":"`...)
	dst = append(dst, id...)
	dst = append(dst, `","seq":`...)
	dst = strconv.AppendUint(dst, seq, 10)
	dst = append(dst, `,"time":"`...)
	dst = at.AppendFormat(dst, time.RFC3339Nano)
	return append(dst, '"')
}

// idOf reads the ID at its fixed place.
func idOf(body []byte) isogate.EntryID {
	if len(body) < idOffset+idLength {
		return ""
	}
	return isogate.EntryID(body[idOffset : idOffset+idLength])
}

func appendTail(dst []byte, e *isogate.Entry) []byte {
	dst = append(dst, `,"tenant":`...)
	dst = appendString(dst, string(e.Tenant))
	dst = append(dst, `,"kind":`...)
	dst = appendString(dst, string(e.Kind))
	dst = appendMember(dst, "stage", string(e.Stage))
	dst = appendMember(dst, "of", string(e.Of))
	if len(e.Closes) > 0 {
		dst = append(dst, `,"closes":[`...)
		for i := range e.Closes {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendClosing(dst, &e.Closes[i])
		}
		dst = append(dst, ']')
	}
	dst = appendMember(dst, "source", string(e.Source))
	dst = appendMember(dst, "purpose", e.Purpose)
	dst = appendMember(dst, "transit", string(e.Transit))
	dst = appendMember(dst, "remote", e.Remote)
	dst = appendMember(dst, "destination", string(e.Destination))
	dst = appendMember(dst, "method", e.Method)
	dst = appendMember(dst, "url", e.URL)
	dst = appendMember(dst, "pack", e.Pack)
	dst = appendMember(dst, "consent", string(e.Consent))
	dst = appendMember(dst, "decision", e.Decision)
	dst = appendMember(dst, "reason", e.Reason)
	if e.Streamed {
		dst = append(dst, `,"streamed":true`...)
	}
	if len(e.Fields) > 0 {
		dst = append(dst, `,"fields":[`...)
		for i := range e.Fields {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendField(dst, &e.Fields[i])
		}
		dst = append(dst, ']')
	}
	if len(e.Seals) > 0 {
		dst = append(dst, `,"seals":[`...)
		for i := range e.Seals {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendSealUse(dst, &e.Seals[i])
		}
		dst = append(dst, ']')
	}
	dst = appendInt(dst, "bytes_in", e.BytesIn)
	dst = appendInt(dst, "bytes_out", e.BytesOut)
	dst = appendMember(dst, "digest_in", e.DigestIn)
	dst = appendMember(dst, "digest_out", e.DigestOut)
	dst = appendMember(dst, "tls", e.TLS)
	dst = appendInt(dst, "status", int64(e.Status))
	dst = appendInt(dst, "duration_us", e.DurationUS)
	dst = appendMember(dst, "actor", e.Actor)
	dst = appendMember(dst, "act", e.Act)
	if len(e.Detail) > 0 {
		dst = append(dst, `,"detail":{`...)
		for i, k := range sortedKeys(e.Detail) {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendString(dst, k)
			dst = append(dst, ':')
			dst = appendString(dst, e.Detail[k])
		}
		dst = append(dst, '}')
	}
	return append(dst, '}')
}

func appendClosing(dst []byte, c *isogate.Closing) []byte {
	dst = append(dst, `{"of":`...)
	dst = appendString(dst, string(c.Of))
	dst = append(dst, `,"status":`...)
	dst = strconv.AppendInt(dst, int64(c.Status), 10)
	dst = append(dst, `,"duration_us":`...)
	dst = strconv.AppendInt(dst, c.DurationUS, 10)
	return append(dst, '}')
}

func appendField(dst []byte, f *isogate.Field) []byte {
	dst = append(dst, `{"path":`...)
	dst = appendString(dst, f.Path)
	dst = append(dst, `,"label":`...)
	dst = appendString(dst, string(f.Label))
	dst = append(dst, `,"action":`...)
	dst = appendString(dst, f.Action.String())
	dst = appendMember(dst, "handling", f.Handling)
	dst = appendMember(dst, "ttl", f.TTL)
	dst = appendMember(dst, "rule", f.Rule)
	dst = append(dst, `,"n":`...)
	dst = strconv.AppendUint(dst, uint64(f.N), 10)
	if f.Sealed {
		dst = append(dst, `,"sealed":true`...)
	}
	if f.Registered {
		dst = append(dst, `,"registered":true`...)
	}
	if f.Declared {
		dst = append(dst, `,"declared":true`...)
	}
	return append(dst, '}')
}

func appendSealUse(dst []byte, u *isogate.SealUse) []byte {
	dst = append(dst, `{"key":`...)
	dst = appendString(dst, u.Key)
	dst = append(dst, `,"request":`...)
	dst = strconv.AppendUint(dst, u.Request, 10)
	dst = append(dst, `,"handling":`...)
	dst = appendString(dst, u.Handling)
	dst = appendMember(dst, "ttl", u.TTL)
	return append(dst, '}')
}

func appendMember(dst []byte, name, s string) []byte {
	if s == "" {
		return dst
	}
	dst = append(dst, ',', '"')
	dst = append(dst, name...)
	dst = append(dst, '"', ':')
	return appendString(dst, s)
}

func appendInt(dst []byte, name string, n int64) []byte {
	if n == 0 {
		return dst
	}
	dst = append(dst, ',', '"')
	dst = append(dst, name...)
	dst = append(dst, '"', ':')
	return strconv.AppendInt(dst, n, 10)
}

const hexDigits = "0123456789abcdef"

func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c < utf8.RuneSelf {
			dst = append(dst, s[from:i]...)
			switch c {
			case '"', '\\':
				dst = append(dst, '\\', c)
			case '\b':
				dst = append(dst, '\\', 'b')
			case '\f':
				dst = append(dst, '\\', 'f')
			case '\n':
				dst = append(dst, '\\', 'n')
			case '\r':
				dst = append(dst, '\\', 'r')
			case '\t':
				dst = append(dst, '\\', 't')
			default:
				dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
			}
			i++
			from = i
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			dst = append(dst, s[from:i]...)
			dst = append(dst, `\ufffd`...)
			from = i + size
		case r == '\u2028' || r == '\u2029':
			dst = append(dst, s[from:i]...)
			dst = append(dst, `\u202`...)
			dst = append(dst, hexDigits[r&15])
			from = i + size
		}
		i += size
	}
	dst = append(dst, s[from:]...)
	return append(dst, '"')
}
