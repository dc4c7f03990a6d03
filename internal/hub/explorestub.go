package hub

import (
	"encoding/json"
	"io"
	"iter"

	"github.com/isogate/isogate"
)

func stubWrite(w io.Writer, entries iter.Seq2[isogate.Entry, error]) error {
	enc := json.NewEncoder(w)
	for e, err := range entries {
		if err != nil {
			return err
		}
		if err := enc.Encode(e); err != nil {
			return err
		}
	}
	return nil
}
