package evidence

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/isogate/isogate/internal/seal"
)

func sealEvent(at time.Time) seal.Event {
	return seal.Event{Kind: seal.Destroyed, At: at, Key: seal.ID{9}, Cause: seal.CauseEnded}
}

// pack makes an archive of parts as evidence is written, with a manifest of what they are, so that
// what is found is not the manifest.
func pack(t testing.TB, parts []part) []byte {
	t.Helper()
	var m manifest
	i := slices.IndexFunc(parts, func(p part) bool { return p.name == manifestName })
	if err := json.Unmarshal(parts[i].content, &m); err != nil {
		t.Fatal(err)
	}
	m.Files = nil
	var b bytes.Buffer
	a := newArchive(&b)
	for _, p := range parts {
		if p.name == manifestName {
			continue
		}
		if err := a.write(p.name, p.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.finish(&m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestAttackEvidence: attack: somebody who can make any archive they like, with a manifest that
// fits it, wants an auditor to see another story than the journal tells: other figures, an entry
// less, a shorter period, another pack, a consent that was never given. Each is found and named.
//
// promise: P22
func TestAttackEvidence(t *testing.T) {
	w := newWorld(t)
	middle, grants := w.days()
	p := Period{Since: middle, Before: middle.Add(18 * time.Hour)}
	good := unpack(t, w.made(p))
	wide := unpack(t, w.made(Period{}))
	narrow := unpack(t, w.made(Period{Since: middle.Add(2 * time.Hour), Before: p.Before}))
	late := unpack(t, w.made(Period{Since: middle, Before: middle.Add(6 * time.Hour)}))
	other := newWorld(t)
	other.days()
	foreign := unpack(t, other.made(Period{}))

	of := func(parts []part, name string) []byte {
		for _, p := range parts {
			if p.name == name {
				return p.content
			}
		}
		t.Fatalf("there is no %s", name)
		return nil
	}
	replace := func(name string, f func([]byte) []byte) func([]part) []part {
		return func(parts []part) []part {
			for i := range parts {
				if parts[i].name == name {
					parts[i].content = f(bytes.Clone(parts[i].content))
				}
			}
			return parts
		}
	}
	swap := func(name, old, new string) func([]part) []part {
		return replace(name, func(b []byte) []byte {
			if !bytes.Contains(b, []byte(old)) {
				t.Fatalf("%s has no %q", name, old)
			}
			return bytes.ReplaceAll(b, []byte(old), []byte(new))
		})
	}
	take := func(name string, from []part) func([]part) []part {
		return replace(name, func([]byte) []byte { return of(from, name) })
	}
	without := func(prefix string) func([]part) []part {
		return func(parts []part) []part {
			out := slices.DeleteFunc(slices.Clone(parts), func(p part) bool { return strings.HasPrefix(p.name, prefix) })
			if len(out) == len(parts) {
				t.Fatalf("there is no %s", prefix)
			}
			return out
		}
	}
	add := func(name, content string) func([]part) []part {
		return func(parts []part) []part { return append([]part{{name, []byte(content)}}, parts...) }
	}
	both := func(fs ...func([]part) []part) func([]part) []part {
		return func(parts []part) []part {
			for _, f := range fs {
				parts = f(parts)
			}
			return parts
		}
	}
	packFile := packDir(w.pack.Digest()) + "transits/n.yaml"
	for _, c := range []struct {
		name   string
		do     func([]part) []part
		damage string
	}{
		{"other figures for people", swap(reportName, "<dt>Refused</dt><dd>1 ", "<dt>Refused</dt><dd>0 "), reportName},
		{"other figures for programs", swap(figuresName, `"refused": 1`, `"refused": 0`), figuresName},
		{"other instructions", swap(readmeName, "TAKE THE KEY FROM SOMEWHERE ELSE", "TAKE THE KEY FROM THIS FILE"), readmeName},
		{"the report of another period", take(reportName, wide), reportName},
		{"an entry less", replace(entriesName, func(b []byte) []byte { return cutLine(b, 3) }), entriesName},
		{"an entry changed", swap(entriesName, `"reason":"no consent"`, `"reason":"all is well"`), entriesName},
		{"the entries of another journal", take(entriesName, foreign), entriesName},
		{"another key", swap(keyName, "isogate/acme", "isogate/evil"), keyName},
		{"another checkpoint", take(checkpointName, foreign), ""},
		{"a shorter run", func([]part) []part { return rename(narrow, p) }, entriesName},
		{"a run that ends early", func([]part) []part { return rename(late, p) }, entriesName},
		{"a shorter run without its edge", func([]part) []part { return without(edgeBefore)(rename(narrow, p)) }, edgeBefore},
		{"a shorter run with the right edge", func([]part) []part {
			return replace(edgeBefore, func([]byte) []byte { return of(good, edgeBefore) })(rename(narrow, p))
		}, edgeBefore},
		{"a longer run", func([]part) []part { return rename(wide, p) }, entriesName},
		{"another rule in a pack", swap(packFile, "purpose: support", "purpose: billing"), packDir(w.pack.Digest())},
		{"a rule less in a pack", without(packFile), packDir(w.pack.Digest())},
		{"a file more in a pack", add(packDir(w.pack.Digest())+"never.yaml", "[]\n"), packDir(w.pack.Digest())},
		{"a pack left out", without(packDir(w.pack.Digest())), figuresName},
		{"a pack that nobody named", add(packDir(packOf(t, 9, w.lkey).Digest())+"pack.yaml", "x"), packDir(packOf(t, 9, w.lkey).Digest())},
		{"a consent left out", without(beforeDir + string(grants[0])), figuresName},
		{"a consent of another journal", func(parts []part) []part {
			return append([]part{{beforeName(foreign), of(foreign, beforeName(foreign))}}, parts...)
		}, ""},
		{"a consent that is another", replace(beforeDir+string(grants[0])+proofSuffix, func([]byte) []byte { return of(good, edgeBefore) }), beforeDir + string(grants[0])},
		{"a receipt less", replace(receiptsName, func(b []byte) []byte { return cutLine(b, 0) }), receiptsName},
		{"a receipt changed", swap(receiptsName, "billing.plan", "ugc.title"), receiptsName},
		{"another tenant", replaceManifest(t, func(m *manifest) { m.Tenant = "evil" }), manifestName},
		{"another format", replaceManifest(t, func(m *manifest) { m.Format = "isogate-evidence/2" }), manifestName},
		{"fewer earlier acts than it says", replaceManifest(t, func(m *manifest) { m.Earlier = 5 }), figuresName},
		{"no period", replaceManifest(t, func(m *manifest) { m.Period = Period{} }), ""},
		{"something else", add("notes.txt", "x"), ""},
		{"a path that leads out", add("../evil", "x"), ""},
		{"an absolute path", add("/etc/cron.d/evil", "x"), ""},
		{"a path that leads out of a pack", add(packsDir+strings.Repeat("0", 64)+"/../../../evil", "x"), packsDir},
		{"a path of another system", add(packsDir+strings.Repeat("0", 64)+`/..\..\evil`, "x"), packsDir},
		{"no entries", without(entriesName), entriesName},
		{"no report", without(reportName), reportName},
		{"no checkpoint", both(without(checkpointName)), checkpointName},
		{"no receipts", without(receiptsName), receiptsName},
	} {
		t.Run(c.name, func(t *testing.T) {
			if len(of(good, receiptsName)) == 0 || len(of(good, edgeBefore)) == 0 || len(of(good, edgeAfter)) == 0 {
				t.Fatal("the file has too little in it to be attacked")
			}
			parts := make([]part, len(good))
			copy(parts, good)
			b := pack(t, c.do(parts))
			_, err := w.verify(b)
			var d *DamageError
			if !errors.As(err, &d) {
				t.Fatalf("%v", err)
			}
			if c.damage != "" && !strings.HasPrefix(d.Damages[0].File, c.damage) {
				t.Errorf("it names %v, want %s", d.Damages[0], c.damage)
			}
		})
	}
	if _, err := w.verify(pack(t, good)); err != nil {
		t.Errorf("what is packed again as it was: %v", err)
	}
	if _, err := Verify(bytes.NewReader(pack(t, good)), int64(len(pack(t, good))), other.vkey, noteOf); err == nil {
		t.Error("it verifies by another journal's key")
	}
}

func cutLine(b []byte, n int) []byte {
	lines := bytes.SplitAfter(b, []byte("\n"))
	return bytes.Join(slices.Delete(lines, n, n+1), nil)
}

// rename says that the file is of a period.
func rename(parts []part, p Period) []part {
	out := slices.Clone(parts)
	for i := range out {
		if out[i].name == manifestName {
			var m manifest
			if json.Unmarshal(out[i].content, &m) == nil {
				m.Period = p
				out[i].content, _ = json.Marshal(m)
			}
		}
	}
	return out
}

func replaceManifest(t *testing.T, f func(*manifest)) func([]part) []part {
	return func(parts []part) []part {
		for i := range parts {
			if parts[i].name == manifestName {
				var m manifest
				if err := json.Unmarshal(parts[i].content, &m); err != nil {
					t.Fatal(err)
				}
				f(&m)
				parts[i].content, _ = json.Marshal(m)
			}
		}
		return parts
	}
}

// beforeName is some proof in an archive.
func beforeName(parts []part) string {
	for _, p := range parts {
		if strings.HasPrefix(p.name, "edges/") || strings.HasPrefix(p.name, beforeDir) {
			return p.name
		}
	}
	return keyName
}

// TestAttackArchives: attack: the archive itself is made so that one reader sees other files than another, or
// that unpacking it does not end.
func TestAttackArchives(t *testing.T) {
	w := newWorld(t)
	w.days()
	good := w.made(Period{})
	parts := unpack(t, good)
	zipped := func(f func(z *zip.Writer)) []byte {
		var b bytes.Buffer
		z := zip.NewWriter(&b)
		f(z)
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	all := func(z *zip.Writer, header func(*zip.FileHeader)) {
		for _, p := range parts {
			h := &zip.FileHeader{Name: p.name, Method: zip.Deflate}
			if header != nil {
				header(h)
			}
			f, err := z.CreateHeader(h)
			if err == nil {
				_, err = f.Write(p.content)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := w.verify(zipped(func(z *zip.Writer) { all(z, nil) })); err != nil {
		t.Fatalf("the same files: %v", err)
	}
	twice := zipped(func(z *zip.Writer) {
		all(z, nil)
		f, _ := z.Create(reportName)
		_, _ = f.Write([]byte("another report"))
	})
	lie := bytes.Clone(good) // the directory says that a file is longer
	at := bytes.LastIndex(lie, []byte("PK\x01\x02"))
	lie[at+24]++
	for name, b := range map[string][]byte{
		"empty":                 nil,
		"not an archive":        []byte("PK\x03\x04 nothing"),
		"a file twice":          twice,
		"a comment":             zipped(func(z *zip.Writer) { all(z, nil); _ = z.SetComment("<script>") }),
		"a comment of a file":   zipped(func(z *zip.Writer) { all(z, func(h *zip.FileHeader) { h.Comment = "x" }) }),
		"extra data":            zipped(func(z *zip.Writer) { all(z, func(h *zip.FileHeader) { h.Extra = []byte{9, 9, 1, 0, 7} }) }),
		"a time":                zipped(func(z *zip.Writer) { all(z, func(h *zip.FileHeader) { h.Modified = time.Unix(1e9, 0) }) }),
		"symbolic links":        zipped(func(z *zip.Writer) { all(z, func(h *zip.FileHeader) { h.SetMode(0o777 | 1<<27) }) }),
		"stored, not deflated":  zipped(func(z *zip.Writer) { all(z, func(h *zip.FileHeader) { h.Method = zip.Store }) }),
		"something before it":   append([]byte("#!/bin/sh\necho evil\n"), good...),
		"a length that is none": lie,
		"something behind it":   append(bytes.Clone(good), "PK\x05\x06"+strings.Repeat("\x00", 18)...),
		"a bomb": zipped(func(z *zip.Writer) {
			f, _ := z.Create(beforeDir + strings.Repeat("0", 26) + proofSuffix)
			_, _ = f.Write(bytes.Repeat([]byte{0}, 64<<20))
			all(z, nil)
		}),
	} {
		_, err := w.verify(b)
		var d *DamageError
		if !errors.As(err, &d) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Every byte counts: one that is changed is found, wherever it is.
	missed := 0
	for i := 0; i < len(good); i += 13 {
		bad := bytes.Clone(good)
		bad[i] ^= 0x41
		if _, err := w.verify(bad); err == nil {
			missed++
			t.Logf("byte %d of %d", i, len(good))
		}
	}
	if missed > 0 {
		t.Errorf("%d changed bytes are not found", missed)
	}
}

// FuzzVerify: whatever the file is, verifying it ends, with a verdict or a damage that is named.
func FuzzVerify(f *testing.F) {
	w := newWorld(f)
	middle, _ := w.days()
	for _, p := range []Period{{}, {Since: middle}} {
		f.Add(w.made(p))
	}
	f.Add([]byte("PK\x05\x06" + strings.Repeat("\x00", 18)))
	good := w.made(Period{})
	w.stop()
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := Verify(bytes.NewReader(b), int64(len(b)), w.vkey, noteOf)
		var d *DamageError
		if err != nil && !errors.As(err, &d) {
			t.Fatalf("neither: %v", err)
		}
		if err == nil && !bytes.Equal(b, good) && v.Count == 0 {
			t.Fatal(fmt.Sprint("a verdict about nothing: ", v))
		}
	})
}
