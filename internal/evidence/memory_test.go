package evidence

import (
	"bytes"
	"io"
	"runtime"
	"testing"

	"github.com/isogate/isogate"
)

// weighed looks, every so many bytes, at how much memory is in use, and keeps the most.
type weighed struct {
	n, next int
	most    uint64
	buf     *bytes.Buffer // keeps what is written, if set
}

func (w *weighed) weigh(n int) {
	if w.n += n; w.n < w.next {
		return
	}
	w.next = w.n + 64<<10
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	w.most = max(w.most, m.HeapAlloc)
}

func (w *weighed) Write(p []byte) (int, error) {
	w.weigh(len(p))
	if w.buf != nil {
		return w.buf.Write(p)
	}
	return len(p), nil
}

type weighedReader struct {
	*bytes.Reader
	w weighed
}

func (r *weighedReader) ReadAt(p []byte, off int64) (int, error) {
	r.w.weigh(len(p))
	return r.Reader.ReadAt(p, off)
}

var _ io.ReaderAt = (*weighedReader)(nil)

// TestMemoryDoesNotGrow: ten times as many entries need no more memory, to write them and to verify them.
func TestMemoryDoesNotGrow(t *testing.T) {
	var made, read [2]uint64
	for i, n := range []int{2_000, 20_000} {
		w := newWorld(t)
		w.load(1)
		for range n {
			e := &isogate.Entry{Kind: isogate.KindEgress, Stage: isogate.StageRefused, Source: "app/bot", Decision: "refused", Status: 403, Reason: "no consent",
				Detail: map[string]string{"x": string(bytes.Repeat([]byte("y"), 1000))}}
			if err := w.j.AppendLater(e); err != nil {
				t.Fatal(err)
			}
		}
		w.record(&isogate.Entry{Kind: isogate.KindAdmin, Act: "the last one"})
		w.sealed()
		e, err := w.maker().Begin(t.Context(), Period{})
		if err != nil {
			t.Fatal(err)
		}
		out := &weighed{}
		if err := e.WriteTo(t.Context(), out); err != nil {
			t.Fatal(err)
		}
		made[i] = out.most
		file := w.made(Period{})
		w.stop()
		var before runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		in := &weighedReader{Reader: bytes.NewReader(file)}
		if _, err := Verify(in, int64(len(file)), w.vkey, noteOf); err != nil {
			t.Fatal(err)
		}
		read[i] = max(in.w.most, before.HeapAlloc) - before.HeapAlloc
	}
	const slack = 6 << 20 // the entries themselves are 25 MB
	if made[1] > made[0]+slack {
		t.Errorf("writing needs %d bytes for 2,000 entries and %d for 20,000", made[0], made[1])
	}
	if read[1] > read[0]+slack {
		t.Errorf("verifying needs %d bytes for 2,000 entries and %d for 20,000", read[0], read[1])
	}
}
