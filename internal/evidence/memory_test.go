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
	w.next = w.n + 128<<10
	w.most = max(w.most, inUse())
}

// inUse is how many bytes of memory something still refers to.
func inUse() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
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

// TestMemoryDoesNotGrow: eight times as many entries need no more memory, to write them and to verify them.
func TestMemoryDoesNotGrow(t *testing.T) {
	var made, read [2]uint64
	for i, n := range []int{500, 4_000} {
		w := newWorld(t)
		w.load(1)
		for range n {
			e := &isogate.Entry{Kind: isogate.KindEgress, Stage: isogate.StageRefused, Source: "app/bot", Decision: "refused", Status: 403, Reason: "no consent",
				Detail: map[string]string{"x": string(bytes.Repeat([]byte("y"), 4000))}}
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
		was := inUse()
		out := &weighed{}
		if err := e.WriteTo(t.Context(), out); err != nil {
			t.Fatal(err)
		}
		made[i] = max(out.most, was) - was
		file := w.made(Period{})
		w.stop()
		was = inUse()
		in := &weighedReader{Reader: bytes.NewReader(file)}
		if _, err := Verify(in, int64(len(file)), w.vkey, noteOf); err != nil {
			t.Fatal(err)
		}
		read[i] = max(in.w.most, was) - was
	}
	const slack = 6 << 20 // the entries themselves are 17 MB
	t.Logf("writing: %d and %d bytes; verifying: %d and %d", made[0], made[1], read[0], read[1])
	if made[1] > made[0]+slack {
		t.Errorf("writing needs %d bytes for 500 entries and %d for 4,000", made[0], made[1])
	}
	if read[1] > read[0]+slack {
		t.Errorf("verifying needs %d bytes for 500 entries and %d for 4,000", read[0], read[1])
	}
}
