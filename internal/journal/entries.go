package journal

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"io"
	"iter"
	"math"

	"github.com/isogate/isogate"
)

// Entries are the entries that the filter selects, in order, as they were when it was
// called: what is recorded meanwhile is not among them. A limit of zero is none. They
// are read a thousand at a time, and nothing is held in the database while one is
// looked at, so that whoever writes them to a slow reader keeps nobody waiting. An
// error ends them.
func (r *Reader) Entries(ctx context.Context, f Filter) iter.Seq2[isogate.Entry, error] {
	return func(yield func(isogate.Entry, error) bool) {
		end, err := r.count(ctx)
		if err != nil {
			yield(isogate.Entry{}, err)
			return
		}
		left := f.Limit
		if left <= 0 {
			left = math.MaxInt
		}
		page := make([]isogate.Entry, 0, scanPage)
		for left > 0 {
			page = page[:0]
			f.Limit = min(scanPage, left)
			err := r.scan(ctx, f, func(e *isogate.Entry) error {
				page = append(page, *e)
				return nil
			})
			for i := range page {
				if page[i].Seq < end && !yield(page[i], nil) {
					return
				}
			}
			if err != nil {
				yield(isogate.Entry{}, err)
			}
			if err != nil || len(page) < f.Limit || !f.Newest && page[len(page)-1].Seq >= end {
				return
			}
			left -= len(page)
			f.After = page[len(page)-1].ID
		}
	}
}

// WriteCSV writes entries as CSV (RFC 4180) with a line of column names. A cell that
// a spreadsheet could take for a formula gets an apostrophe before it. It is for
// reading; only [Reader.Export] can be verified.
func WriteCSV(w io.Writer, entries iter.Seq2[isogate.Entry, error]) error {
	out := csv.NewWriter(w)
	out.UseCRLF = true
	if err := out.Write(csvColumns); err != nil {
		return err
	}
	for e, err := range entries {
		if err == nil {
			err = out.Write(csvRow(e))
		}
		if err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

// WriteJSONL writes entries as one JSON object per line. It is for reading; only
// [Reader.Export] can be verified.
func WriteJSONL(w io.Writer, entries iter.Seq2[isogate.Entry, error]) error {
	out := bufio.NewWriter(w)
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	for e, err := range entries {
		if err == nil {
			err = enc.Encode(e)
		}
		if err != nil {
			return err
		}
	}
	return out.Flush()
}

// ExportCSV writes the entries that the filter selects; see [WriteCSV].
func (r *Reader) ExportCSV(ctx context.Context, w io.Writer, f Filter) error {
	return WriteCSV(w, r.Entries(ctx, f))
}

// ExportOCSF writes the entries that the filter selects; see [WriteOCSF].
func (r *Reader) ExportOCSF(ctx context.Context, w io.Writer, f Filter) error {
	return WriteOCSF(w, r.Entries(ctx, f))
}
