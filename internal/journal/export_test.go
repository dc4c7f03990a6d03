package journal

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
)

// exported makes a journal of n entries and returns it with its export.
func exported(t *testing.T, n int, run Range) (*Journal, testKey, []byte) {
	t.Helper()
	key := newKey(t, "isogate/acme")
	j, _ := open(t, key.config(t.TempDir()))
	for range n {
		if err := j.AppendLater(egress(1)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the entries", func() bool { c, err := j.count(t.Context()); return err == nil && c == uint64(n) })
	sealedAll(t, j)
	var b bytes.Buffer
	if err := j.Export(t.Context(), &b, run); err != nil {
		t.Fatal(err)
	}
	return j, key, b.Bytes()
}

// promise: P22
func TestExportVerifies(t *testing.T) {
	for _, n := range []int{1, 2, 255, 256, 257, 700} {
		j, key, all := exported(t, n, Range{})
		rep, err := VerifyExport(bytes.NewReader(all), key.vkey)
		if err != nil || rep.Size != uint64(n) || rep.Count != uint64(n) || len(rep.Unclosed) != n {
			t.Fatalf("%d entries: %+v, %v", n, rep, err)
		}
		if rep, err = j.Verify(t.Context(), key.vkey); err != nil || rep.Size != uint64(n) {
			t.Fatalf("%d entries live: %+v, %v", n, rep, err)
		}
		for _, run := range []Range{{0, 1}, {uint64(n) / 2, 0}, {uint64(n) / 3, uint64(n)/3 + 1}, {uint64(n) - 1, 0}, {uint64(n) / 7, uint64(n) - uint64(n)/7}} {
			var b bytes.Buffer
			if err := j.Export(t.Context(), &b, run); err != nil {
				t.Fatal(run, err)
			}
			rep, err := VerifyExport(bytes.NewReader(b.Bytes()), key.vkey)
			if err != nil || rep.First != run.First {
				t.Fatalf("%d entries, run %v: %+v, %v", n, run, rep, err)
			}
			for _, id := range []string{string(rep.FirstID), string(rep.LastID)} {
				p, err := ProveExport(bytes.NewReader(b.Bytes()), key.vkey, rep.FirstID)
				if err != nil {
					t.Fatal(run, id, err)
				}
				if _, _, err := p.Verify(key.vkey); err != nil {
					t.Fatal(run, id, err)
				}
				live, err := j.Prove(t.Context(), rep.FirstID)
				if err != nil {
					t.Fatal(err)
				}
				a, _ := live.MarshalText()
				b, _ := p.MarshalText()
				if !bytes.Equal(a, b) {
					t.Fatalf("the proof from the export differs:\n%s\n%s", a, b)
				}
				var again Proof
				if err := again.UnmarshalText(a); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// Every byte of an export, changed, is found; in an entry, the entry is named.
//
// promise: P22
func TestExportTamper(t *testing.T) {
	for _, run := range []Range{{}, {3, 5}, {254, 0}} {
		_, key, all := exported(t, 259, run)
		first := int(run.First)
		lines := bytes.SplitAfter(all, []byte("\n"))
		at, seq := 0, first
		for _, l := range lines {
			entry := bytes.HasPrefix(l, []byte(`{"id"`))
			for i := range l {
				// All of the bytes of the short runs, which have every kind of line, and some of the long one's.
				if run == (Range{}) && i%331 != 0 {
					continue
				}
				bad := bytes.Clone(all)
				bad[at+i] ^= 1 << (i % 8)
				_, err := VerifyExport(bytes.NewReader(bad), key.vkey)
				var d *DamageError
				if !errors.As(err, &d) {
					t.Fatalf("run %v: byte %d of %.60q… flipped: %v", run, i, l, err)
				}
				if entry && (!d.Damages[0].Entry || d.Damages[0].Seq != uint64(seq)) {
					t.Fatalf("run %v: byte %d of entry %d flipped: names %v", run, i, seq, err)
				}
			}
			at += len(l)
			if entry {
				seq++
			}
		}
	}
}

func TestExportLines(t *testing.T) {
	_, key, all := exported(t, 300, Range{})
	lines := bytes.SplitAfter(all, []byte("\n"))
	lines = lines[:len(lines)-1]
	join := func(parts ...[][]byte) []byte {
		var b []byte
		for _, p := range parts {
			b = append(b, bytes.Join(p, nil)...)
		}
		return b
	}
	for _, c := range []struct {
		name  string
		bytes []byte
		want  string
	}{
		{"an entry removed", join(lines[:8], lines[9:]), "entry 7 "},
		{"an entry removed at a block's end", join(lines[:256], lines[257:]), "entry 255: it is missing here"},
		{"an entry twice", join(lines[:8], lines[7:]), "entry 7 "},
		{"two entries swapped", join(lines[:5], lines[6:7], lines[5:6], lines[7:]), "entry 4 "},
		{"a line of leaf hashes removed", join(lines[:257], lines[258:]), "leaf hashes"},
		{"the checkpoint removed", join(lines[:len(lines)-1]), "without its checkpoint"},
		{"a line more", join(lines, lines[3:4]), "something follows"},
		{"cut off", all[:len(all)-1], "cut off"},
		{"cut off in an entry", all[:len(all)/2], "cut off"},
		{"nothing", nil, "empty"},
		{"a block removed", join(lines[:1], lines[258:]), "entry 0 "},
		{"a count that is not true", bytes.Replace(all, []byte(`"count":300}`), []byte(`"count":1000000000000000000}`), 1), "it is missing here"},
		{"leaf hashes of far away", bytes.Replace(all, []byte(`{"first":256,`), []byte(`{"first":99999999999999,`), 1), "cannot be read"},
		{"an entry as its first line", join(lines[1:]), "first line"},
	} {
		_, err := VerifyExport(bytes.NewReader(c.bytes), key.vkey)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want %q", c.name, err, c.want)
		}
	}
	other := newKey(t, "isogate/acme")
	if _, err := VerifyExport(bytes.NewReader(all), other.vkey); err == nil {
		t.Error("verifies by another key")
	}
}

// fixedKey is the same key in every process of a fuzzing run.
func fixedKey(t testing.TB, name string) testKey {
	t.Helper()
	seed := make([]byte, ed25519.SeedSize)
	public, ok := ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey)
	if !ok {
		t.Fatal("not an Ed25519 key")
	}
	vkey, err := note.NewEd25519VerifierKey(name, public)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(vkey, "+") // name, hash, key
	signer, err := note.NewSigner("PRIVATE+KEY+" + name + "+" + parts[1] + "+" + base64.StdEncoding.EncodeToString(append([]byte{1}, seed...)))
	if err != nil {
		t.Fatal(err)
	}
	return testKey{signer, vkey}
}

func FuzzVerifyExport(f *testing.F) {
	key := fixedKey(f, "isogate/acme")
	j, stop := open(f, key.config(f.TempDir()))
	appendN(f, j, 4)
	sealedAll(f, j)
	for _, run := range []Range{{}, {1, 3}} {
		var b bytes.Buffer
		if err := j.Export(f.Context(), &b, run); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	stop()
	f.Fuzz(func(t *testing.T, b []byte) {
		rep, err := VerifyExport(bytes.NewReader(b), key.vkey)
		if err == nil && (rep.Size != 4 || rep.Tenant != "acme") {
			t.Errorf("verifies: %+v", rep)
		}
	})
}
