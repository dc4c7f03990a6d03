package policy

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"io/fs"
	"strings"
	"testing"
)

// zipped is an archive of members, in this order.
func zipped(t testing.TB, change func(*zip.FileHeader), members ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i := 0; i < len(members); i += 2 {
		h := &zip.FileHeader{Name: members[i], Method: zip.Deflate}
		if change != nil {
			change(h)
		}
		w, err := z.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(members[i+1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func tarred(t testing.TB, change func(*tar.Header), members ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	g := gzip.NewWriter(&b)
	w := tar.NewWriter(g)
	for i := 0; i < len(members); i += 2 {
		h := &tar.Header{Name: members[i], Mode: 0o644, Size: int64(len(members[i+1])), Typeflag: tar.TypeReg}
		if change != nil {
			change(h)
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := w.Write([]byte(members[i+1])); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, err := range []error{w.Close(), g.Close()} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

// members are the files of a pack below a directory, with what editors and people put
// beside them.
func (f files) members(below string) []string {
	out := []string{below + "README.md", "# Hello", below + ".git/config", "x", below + "tests/.swp", "x"}
	for _, name := range sortedKeys(f) {
		out = append(out, below+name, f[name])
	}
	return out
}

// TestUnpackedIsTheDirectory: an archive of a directory has the digest that a gateway
// finds when it loads the directory.
func TestUnpackedIsTheDirectory(t *testing.T) {
	f := good(t)
	want := f.plan(t).Digest
	for name, b := range map[string][]byte{
		"zip":          zipped(t, nil, f.members("")...),
		"zip of a dir": zipped(t, nil, f.members("acme-12/")...),
		"zip of a Mac": zipped(t, nil, append(f.members("acme-12/"), "__MACOSX/acme-12/._pack.yaml", "x")...),
		"tar":          tarred(t, nil, f.members("")...),
		"tar with ./":  tarred(t, nil, f.members("./")...),
		"tar of a dir": tarred(t, nil, f.members("acme-12/")...),
	} {
		got, err := Unpack(b)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got.Digest() != want {
			t.Errorf("%s: %s, want %s", name, got.Digest(), want)
		}
	}
}

// TestAttackArchives: attack: an archive that is proposed leads out of its directory, has two
// files that are one, a link, a device or a password, or unpacks to more than it is. It is
// refused whatever it says of itself; nothing of it is ever on a disk.
func TestAttackArchives(t *testing.T) {
	p := func(name string) []string { return []string{"pack.yaml", "pack: a\nversion: 1\n", name, "x"} }
	zeros := strings.Repeat("\x00", maxFileBytes)
	many := []string{}
	for i := range maxMembers/2 + 1 {
		many = append(many, "tests/.a"+strings.Repeat("b", i%100)+"/"+strings.Repeat("c", i/100), "")
	}
	var large []string
	for i := range 17 {
		large = append(large, "tests/"+string(rune('a'+i)), zeros)
	}
	link := func(h *zip.FileHeader) {
		if h.Name != "pack.yaml" {
			h.SetMode(fs.ModeSymlink | 0o777)
		}
	}
	typed := func(flag byte) func(*tar.Header) {
		return func(h *tar.Header) {
			if h.Name != "pack.yaml" {
				h.Typeflag, h.Linkname, h.Size = flag, "/etc/passwd", 0
			}
		}
	}
	for name, b := range map[string][]byte{
		"up":                 zipped(t, nil, p("../x.yaml")...),
		"up below":           zipped(t, nil, p("tests/../../x.yaml")...),
		"root":               zipped(t, nil, p("/etc/passwd")...),
		"backslash":          zipped(t, nil, p(`tests\..\..\x`)...),
		"drive":              zipped(t, nil, p(`C:\x`)...),
		"up in tar":          tarred(t, nil, p("../x.yaml")...),
		"root in tar":        tarred(t, nil, p("/etc/passwd")...),
		"dots":               tarred(t, nil, p("tests/./x")...),
		"twice":              zipped(t, nil, p("pack.yaml")...),
		"twice in case":      zipped(t, nil, p("PACK.yaml")...),
		"twice hidden":       tarred(t, nil, append(p("tests/.x"), "tests/.X", "y")...),
		"zip link":           zipped(t, link, p("tests/x")...),
		"tar link":           tarred(t, typed(tar.TypeSymlink), p("tests/x")...),
		"tar hard link":      tarred(t, typed(tar.TypeLink), p("tests/x")...),
		"tar device":         tarred(t, typed(tar.TypeChar), p("tests/x")...),
		"tar pipe":           tarred(t, typed(tar.TypeFifo), p("tests/x")...),
		"encrypted":          zipped(t, func(h *zip.FileHeader) { h.Flags |= 1 }, p("tests/x")...),
		"no pack's file":     zipped(t, nil, p("run.sh")...),
		"nested":             zipped(t, nil, p("transits/a/b.yaml")...),
		"two directories":    zipped(t, nil, "a/pack.yaml", "x", "b/pack.yaml", "y"),
		"no pack":            zipped(t, nil, "a/x.yaml", "x"),
		"empty":              zipped(t, nil),
		"large file":         zipped(t, nil, p("tests/x")[0], "pack: a\n", "tests/x", zeros+"x"),
		"large":              zipped(t, nil, large...),
		"large in tar":       tarred(t, nil, large...),
		"many":               zipped(t, nil, many...),
		"cut":                tarred(t, nil, p("tests/x")...)[:60],
		"neither":            []byte("pack: a\n"),
		"larger than it may": append([]byte("PK\x03\x04"), make([]byte, MaxUpload)...),
	} {
		if f, err := Unpack(b); err == nil {
			t.Errorf("%s: taken as %v", name, listed(f))
		} else if !strings.Contains(err.Error(), " ") || len(err.Error()) > 700 {
			t.Errorf("%s: the error says little, or too much: %v", name, err)
		}
	}
}

// FuzzUnpack: whatever the bytes, what comes out is the files of a pack and nothing else.
func FuzzUnpack(f *testing.F) {
	f.Add(zipped(f, nil, "pack.yaml", "pack: a\nversion: 1\n", "tests/x", "y"))
	f.Add(tarred(f, nil, "a/pack.yaml", "pack: a\nversion: 1\n", "a/tests/x", "y"))
	f.Fuzz(func(t *testing.T, b []byte) {
		files, err := Unpack(b)
		if err != nil {
			return
		}
		if err := files.Whole(); err != nil {
			t.Fatal(err)
		}
		for p := range files.All() {
			if !plainPath(p) {
				t.Fatalf("the path %q leads out", p)
			}
		}
	})
}
