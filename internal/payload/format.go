package payload

import "io"

// Format rewrites bodies of one kind. Its values are stateless and may be used
// by any number of goroutines.
type Format interface {
	// Name is the name a contract calls the format by, such as "json".
	Name() string
	// Accepts reports whether bodies of a media type are of the format; the type is
	// given as type/subtype in lower case, without parameters.
	Accepts(mediaType string) bool
	// MediaType is the media type that a rewritten body is sent with.
	MediaType() string
	// Rewrite appends the rewritten body to dst. A body that may not leave yields
	// dst as it was and a [*Refusal]; an error of rep is returned wrapped. An empty
	// body is refused: whether one is meant is the caller's to know. dst and src
	// must not overlap. The counts go to tally.
	Rewrite(dst, src []byte, r *Rules, rep Replacer, tally *Tally) ([]byte, error)
	// Stream does the same from src to w and holds no more of the body than its
	// largest value (see [Limits]). After an error the part before it may already
	// have been written; the far side must not take that for the whole. An error
	// of src or w is returned wrapped.
	Stream(w io.Writer, src io.Reader, r *Rules, rep Replacer, tally *Tally) error
}

// FormatNamed returns the format a contract calls by name:
//
//	json     application/json and every application type ending in +json
//	ndjson   application/x-ndjson, application/ndjson, application/jsonl, application/x-jsonlines
//	form     application/x-www-form-urlencoded
func FormatNamed(name string) (Format, bool) {
	for _, f := range [...]Format{jsonFormat{}, ndjsonFormat{}, formFormat{}} {
		if f.Name() == name {
			return f, true
		}
	}
	return nil, false
}
