package journal

import (
	"errors"
	"testing"

	flog "github.com/transparency-dev/formats/log"
	"github.com/transparency-dev/merkle/rfc6962"
)

// The signer that the log is given signs one checkpoint, once the database has it.
func TestGuardSignsOnlyWhatTheEntriesMake(t *testing.T) {
	key := newKey(t, "isogate/acme")
	empty := &kept{root: rfc6962.DefaultHasher.EmptyRoot(), tree: ranges.NewEmptyRange(0)}
	was, err := empty.extend([][]byte{rfc6962.DefaultHasher.HashLeaf([]byte("a"))})
	if err != nil {
		t.Fatal(err)
	}
	now, err := was.extend([][]byte{rfc6962.DefaultHasher.HashLeaf([]byte("b")), rfc6962.DefaultHasher.HashLeaf([]byte("c"))})
	if err != nil {
		t.Fatal(err)
	}
	keeps := 0
	var keepErr error
	g := &guard{Signer: key.signer, want: now, keep: func(k *kept) error { keeps++; return keepErr }}
	sign := func(origin string, size uint64, root []byte) error {
		_, err := g.Sign(flog.Checkpoint{Origin: origin, Size: size, Hash: root}.Marshal())
		return err
	}
	if _, err := g.Sign([]byte("a letter\n")); err == nil {
		t.Error("signs what is not a checkpoint")
	}
	for _, c := range []struct {
		origin string
		size   uint64
		root   []byte
	}{
		{"isogate/acme", 3, was.root},
		{"isogate/acme", 4, now.root},
		{"isogate/umbrella", 3, now.root},
		{"isogate/umbrella", 0, empty.root},
	} {
		if err := sign(c.origin, c.size, c.root); err == nil {
			t.Errorf("signs %s %d", c.origin, c.size)
		}
	}
	if err := sign("isogate/acme", 1, was.root); !errors.Is(err, errEarly) {
		t.Errorf("before the batch is complete: %v", err)
	}
	if note, err := g.outcome(); note != nil || !errors.Is(err, errFork) {
		t.Errorf("outcome: %s, %v", note, err)
	}
	if err := sign("isogate/acme", 0, empty.root); err != nil {
		t.Errorf("the empty log, which every log begins as: %v", err)
	}
	if keeps != 0 {
		t.Fatalf("kept %d", keeps)
	}
	keepErr = errOvertaken
	if err := sign("isogate/acme", 3, now.root); !errors.Is(err, errOvertaken) {
		t.Errorf("signs what the database did not take: %v", err)
	}
	keepErr = nil
	for range 2 { // the second time from memory
		if err := sign("isogate/acme", 3, now.root); err != nil {
			t.Fatal(err)
		}
	}
	if note, err := g.outcome(); err != nil || len(note) == 0 || keeps != 2 {
		t.Errorf("outcome: %s, %v; kept %d times", note, err, keeps)
	}
}

// Compare and swap: a checkpoint replaces the one it was made from and no other.
func TestKeepIsCompareAndSwap(t *testing.T) {
	j, _ := open(t, newKey(t, "isogate/acme").config(t.TempDir()))
	appendN(t, j, 1)
	sealedAll(t, j)
	was, err := j.kept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	older := &kept{root: rfc6962.DefaultHasher.EmptyRoot(), tree: ranges.NewEmptyRange(0)}
	now, err := was.extend([][]byte{rfc6962.DefaultHasher.HashLeaf([]byte("b"))})
	if err != nil {
		t.Fatal(err)
	}
	now.note = []byte("signed")
	err = j.queue.run(t.Context(), keepAct(older, now))
	if !errors.Is(err, errOvertaken) {
		t.Fatalf("a checkpoint made from an older one: %v", err)
	}
	if still, err := j.kept(t.Context()); err != nil || still.size != was.size {
		t.Fatal(still, err)
	}
	if err := j.Ready(); err != nil { // the writer does not mind
		t.Fatal(err)
	}
	appendN(t, j, 1)
}
