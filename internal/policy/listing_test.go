package policy

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// listed is the files as a map.
func listed(f *Files) map[string]string {
	m := map[string]string{}
	for p, src := range f.All() {
		m[p] = string(src)
	}
	return m
}

// TestListingIsWhatTheDigestIsOver: whoever has sha256sum can check an archived pack.
func TestListingIsWhatTheDigestIsOver(t *testing.T) {
	dir := good(t).write(t)
	read, err := ReadFiles(dir)
	if err != nil {
		t.Fatal(err)
	}
	p, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	n, err := read.WriteTo(&b)
	if err != nil || n != int64(b.Len()) || n != read.Size() {
		t.Fatalf("wrote %d of %d (said to be %d): %v", n, b.Len(), read.Size(), err)
	}
	sum := sha256.Sum256(b.Bytes())
	if got := "sha256:" + hex.EncodeToString(sum[:]); got != p.Plan().Digest || got != read.Digest() {
		t.Errorf("the listing has %s, the files %s, the plan %s", got, read.Digest(), p.Plan().Digest)
	}
	again, err := ReadListing(&b)
	if err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(listed(again), listed(read)) || again.Digest() != read.Digest() {
		t.Errorf("read back: %v, want %v", listed(again), listed(read))
	}
	loaded, err := again.Load()
	if err != nil {
		t.Fatal(err)
	}
	if loaded.Plan().Digest != p.Plan().Digest || loaded.Cases() != p.Cases() {
		t.Errorf("loaded from the listing: %s with %d cases, want %s with %d", loaded.Plan().Digest, loaded.Cases(), p.Plan().Digest, p.Cases())
	}
	if src, ok := again.File("pack.yaml"); !ok || !bytes.Contains(src, []byte("version")) {
		t.Errorf("pack.yaml: %q, %v", src, ok)
	}
	if _, ok := again.File("none.yaml"); ok {
		t.Error("there is a file that is none")
	}
}

// TestFilesAreOfOneMoment: what was read does not change with the directory, and a pack
// that cannot be read whole has no listing.
func TestFilesAreOfOneMoment(t *testing.T) {
	dir := good(t).write(t)
	read, err := ReadFiles(dir)
	if err != nil {
		t.Fatal(err)
	}
	before := read.Digest()
	if err := os.WriteFile(filepath.Join(dir, "pack.yaml"), []byte("pack: other\nversion: 9\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := read.Load()
	if err != nil || read.Digest() != before || p.Plan().Name == "other" {
		t.Errorf("%v; %s, was %s", err, read.Digest(), before)
	}
	if err := os.Symlink("pack.yaml", filepath.Join(dir, "transits", "link.yaml")); err != nil {
		t.Fatal(err)
	}
	if read, err = ReadFiles(dir); err != nil {
		t.Fatal(err)
	}
	if n, err := read.WriteTo(&bytes.Buffer{}); n != 0 || err == nil {
		t.Errorf("%d bytes of a pack that is not whole were written: %v", n, err)
	}
	for range 2 { // loading it changes nothing about it
		if _, err := read.Load(); err == nil {
			t.Error("it loads")
		}
	}
}

func sized(b []byte) []byte {
	return append(binary.BigEndian.AppendUint64(nil, uint64(len(b))), b...)
}

func listing(parts ...string) []byte {
	var b []byte
	for _, p := range parts {
		b = append(b, sized([]byte(p))...)
	}
	return b
}

// TestAttackListings: attack: a listing names a file outside the pack's directory, or says
// that it is larger than it is. Whatever it says, nothing but the files of a pack comes
// out of it.
func TestAttackListings(t *testing.T) {
	for name, l := range map[string][]byte{
		"up":            listing("../pack.yaml", "x"),
		"below tests":   listing("tests/../../x.yaml", "x"),
		"root":          listing("/etc/passwd", "x"),
		"backslash":     listing(`tests\..\x`, "x"),
		"in a name":     listing(`tests/..\..\x`, "x"),
		"hidden":        listing("tests/.x", "x"),
		"hidden folder": listing("tests/.git/x", "x"),
		"line end":      listing("tests/x\ny", "x"),
		"no pack's":     listing("run.sh", "x"),
		"nested":        listing("transits/deep/x.yaml", "x"),
		"folder":        listing("tests/", "x"),
		"not UTF-8":     listing("tests/\xff", "x"),
		"twice":         listing("pack.yaml", "x", "pack.yaml", "y"),
		"out of order":  listing("tests/x", "x", "pack.yaml", "y"),
		"long path":     listing("tests/"+strings.Repeat("a", maxPath), "x"),
		"no content":    listing("pack.yaml"),
		"cut":           listing("pack.yaml", "xyz")[:20],
		"cut length":    listing("pack.yaml", "xyz")[:12],
		"says too much": append(sized([]byte("pack.yaml")), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff),
		"lies":          append(sized([]byte("pack.yaml")), 0, 0, 0, 0, 0, 0x40, 0, 0),
		"large":         append(sized([]byte("pack.yaml")), sized(make([]byte, maxFileBytes+1))...),
	} {
		if f, err := ReadListing(bytes.NewReader(l)); err == nil {
			t.Errorf("%s: taken as %v", name, listed(f))
		}
	}
	if _, err := NewFiles(map[string][]byte{"../x.yaml": nil}); err == nil {
		t.Error("NewFiles takes a path that leads out")
	}
	f, err := NewFiles(map[string][]byte{"tests/b": []byte("2"), "pack.yaml": []byte("1")})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := f.WriteTo(&b); err != nil || !bytes.Equal(b.Bytes(), listing("pack.yaml", "1", "tests/b", "2")) {
		t.Errorf("%q: %v", b.Bytes(), err)
	}
}

// FuzzListing: what is taken is what would be written, and so has one digest.
func FuzzListing(f *testing.F) {
	f.Add(listing("pack.yaml", "pack: a\nversion: 1\n", "tests/x.json", "{}"))
	f.Add(listing("../x", ""))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		files, err := ReadListing(bytes.NewReader(b))
		if err != nil {
			return
		}
		var again bytes.Buffer
		if _, err := files.WriteTo(&again); err != nil || !bytes.Equal(again.Bytes(), b) {
			t.Fatalf("%q is written as %q: %v", b, again.Bytes(), err)
		}
		for p := range files.All() {
			if !filepath.IsLocal(p) || strings.Contains(p, "..") && filepath.Clean(p) != p {
				t.Fatalf("the path %q leads out", p)
			}
		}
	})
}
