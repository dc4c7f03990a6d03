package payload

import (
	"io"
	"strings"
)

type jsonFormat struct{}

func (jsonFormat) Name() string { return "json" }

func (jsonFormat) Accepts(mediaType string) bool {
	return mediaType == "application/json" || strings.HasPrefix(mediaType, "application/") && strings.HasSuffix(mediaType, "+json")
}

func (jsonFormat) MediaType() string { return "application/json" }

func (jsonFormat) Rewrite(dst, src []byte, r *Rules, rep Replacer, tally *Tally) ([]byte, error) {
	return rewrite((*walker).value, dst, src, r, rep, tally)
}

func (jsonFormat) Stream(dst io.Writer, src io.Reader, r *Rules, rep Replacer, tally *Tally) error {
	return stream((*walker).value, dst, src, r, rep, tally)
}

type ndjsonFormat struct{}

func (ndjsonFormat) Name() string { return "ndjson" }

func (ndjsonFormat) Accepts(mediaType string) bool {
	switch mediaType {
	case "application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines":
		return true
	}
	return false
}

func (ndjsonFormat) MediaType() string { return "application/x-ndjson" }

func (ndjsonFormat) Rewrite(dst, src []byte, r *Rules, rep Replacer, tally *Tally) ([]byte, error) {
	return rewrite((*walker).values, dst, src, r, rep, tally)
}

func (ndjsonFormat) Stream(dst io.Writer, src io.Reader, r *Rules, rep Replacer, tally *Tally) error {
	return stream((*walker).values, dst, src, r, rep, tally)
}

// value rewrites the one value of a JSON body.
func (w *walker) value() error { return w.walk(w.tree.root) }

// values rewrites the lines of an NDJSON body.
func (w *walker) values() error {
	w.lines = true
	return w.walk(w.tree.root)
}
