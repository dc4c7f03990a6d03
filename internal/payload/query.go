package payload

import (
	"bytes"
	"fmt"

	"github.com/isogate/isogate"
)

// MaxParameters is how many parameters a query may have.
const MaxParameters = 1000

// queryScratch is what one query is worked on with.
type queryScratch struct{ raw, name, value, made []byte }

// RewriteQuery appends to dst what may leave of a query, which is given without
// its question mark. The same name may come more than once; each value is judged.
// The name of a parameter that is not named is replaced and its value treated as
// unclassified. A parameter without "=" is a name alone. What leaves as it is
// keeps its spelling; the rest is percent-encoded. Refused with a [*Refusal]
// whose offset counts from the beginning of raw: an empty parameter, a percent
// sign without two hexadecimal digits (%u before all), an encoded NUL, a
// semicolon or another character that must be encoded, text that is not UTF-8,
// and more than [MaxParameters]. A plus sign is read as a space when a value is
// replaced and a name is matched.
//
// promise: P03
func RewriteQuery(dst []byte, raw string, r *NameRules, rep Replacer, tally *Tally) ([]byte, error) {
	if err := checkUnclassified(r.Verdicts); err != nil || raw == "" {
		return dst, err
	}
	s, ok := r.Names.pool.Get().(*queryScratch)
	if !ok {
		s = &queryScratch{}
	}
	defer r.Names.pool.Put(s)
	s.raw = append(s.raw[:0], raw...)
	q := query{r: r, rep: rep, queryScratch: s, part: tally.part(&r.Names.ledger, r.Verdicts)}
	out := dst
	for at, count := 0, 1; ; count++ {
		end := len(raw)
		if n := bytes.IndexByte(s.raw[at:], '&'); n >= 0 {
			end = at + n
		}
		if count > MaxParameters {
			return dst, q.refuse(at, 0, fmt.Sprintf("there are more than %d parameters", MaxParameters))
		}
		var err error
		if out, err = q.parameter(out, len(out) > len(dst), at, end); err != nil {
			return dst, err
		}
		if end == len(raw) {
			return out, nil
		}
		at = end + 1
	}
}

// query is one query while it is rewritten.
type query struct {
	*queryScratch
	r    *NameRules
	rep  Replacer
	part *part
}

func (q *query) refuse(at int, place uint32, reason string) error {
	return &Refusal{Offset: int64(at), Path: q.part.of.paths[place], Reason: reason}
}

// parameter appends what may leave of the parameter raw[at:end].
func (q *query) parameter(dst []byte, kept bool, at, end int) (out []byte, err error) {
	raw := q.raw[at:end]
	if len(raw) == 0 {
		return dst, q.refuse(at, 0, "a parameter is empty")
	}
	name, value, hasValue := bytes.Cut(raw, []byte("="))
	var bad int
	var reason string
	if q.name, bad, reason = appendDecoded(q.name[:0], name); reason != "" {
		return dst, q.refuse(at+bad, 0, "a name has "+reason)
	}
	place, named := q.r.Names.places[string(q.name)]
	if q.value, bad, reason = appendDecoded(q.value[:0], value); reason != "" {
		return dst, q.refuse(at+len(name)+1+bad, place, "a value has "+reason)
	}
	set := q.r.Names.defs[place]
	v := judge(q.r.Verdicts, set, false)
	if v.Action == isogate.Refuse {
		return dst, q.refuse(at, place, reasonRefused(&v))
	}
	if v.Action == isogate.Drop {
		q.part.count(place, set, false, isogate.Drop)
		return dst, nil
	}
	out = dst
	if kept {
		out = append(out, '&')
	}
	naming := isogate.Allow
	if named {
		out = append(out, name...)
	} else {
		q.made, naming, err = q.rep.ReplaceName(q.made[:0], &v, q.name)
		switch {
		case err != nil:
		case naming > max(v.Action, isogate.Hash): // a constant could not stay unique, so redact is a hash here
			err = errLooser
		case naming <= isogate.Drop || len(q.made) == 0 || !validText(q.made):
			err = errReplacement
		}
		if err != nil {
			return dst, atPlace(q.part.of.paths[1], err)
		}
		out = appendEncoded(out, q.made)
	}
	applied := v.Action
	if hasValue {
		out = append(out, '=')
		if v.Action == isogate.Allow {
			out = append(out, value...)
			if v.Register {
				err = note(q.rep, &v, isogate.Value{Kind: isogate.String, Text: q.value})
			}
		} else {
			q.made, applied, err = replaceText(q.made[:0], &v, q.value, q.rep)
			out = appendEncoded(out, q.made)
		}
		switch {
		case err != nil:
			return dst, atPlace(q.part.of.paths[place], err)
		case applied == isogate.Refuse:
			return dst, q.refuse(at, place, reasonRefused(&v))
		}
		q.part.count(place, set, false, applied)
		if applied == isogate.Drop {
			return dst, nil
		}
	}
	if !named {
		q.part.count(1, 0, false, naming)
	}
	return out, nil
}
