package archive

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/isogate/isogate/internal/policy"
)

// pack is a small good pack of a version.
func pack(t *testing.T, version int) *policy.Files {
	t.Helper()
	f, err := policy.NewFiles(map[string][]byte{
		"pack.yaml":         fmt.Appendf(nil, "pack: test\nversion: %d\n", version),
		"destinations.yaml": []byte("destinations:\n  - {name: far, url: https://far.example.com}\n"),
		"contracts/n.yaml":  []byte("contract: n\nformat: json\nfields:\n  state: system.status\n"),
		"transits/n.yaml": []byte("transit: n\npurpose: support\nsource: [product/help]\ndestination: far\nconsent: none\n" +
			"match: [POST /v1/n]\nrequest: {contract: n}\n"),
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func open(t *testing.T) (*Archive, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "state", "packs")
	a, err := New(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	return a, dir
}

func file(dir, digest string) string {
	return filepath.Join(dir, strings.TrimPrefix(digest, "sha256:")+".pack")
}

func TestKeptByDigest(t *testing.T) {
	a, dir := open(t)
	var digests []string
	for v := 1; v <= 3; v++ {
		d, err := a.Put(pack(t, v))
		if err != nil {
			t.Fatal(err)
		}
		if d != pack(t, v).Digest() {
			t.Errorf("version %d is kept as %s, want %s", v, d, pack(t, v).Digest())
		}
		at := time.Unix(1_800_000_000+int64(v), 0)
		if err := os.Chtimes(file(dir, d), at, at); err != nil {
			t.Fatal(err)
		}
		if again, err := a.Put(pack(t, v)); err != nil || again != d {
			t.Errorf("put again: %s, %v", again, err)
		}
		digests = append(digests, d)
	}
	for i, d := range digests {
		p, err := a.Open(d)
		if err != nil {
			t.Fatal(err)
		}
		if p.Plan().Version != i+1 || p.Plan().Digest != d {
			t.Errorf("%s opens as version %d, %s", d, p.Plan().Version, p.Plan().Digest)
		}
		// sha256sum of the file is its name.
		raw, err := os.ReadFile(file(dir, d))
		if err != nil {
			t.Fatal(err)
		}
		if sum := sha256.Sum256(raw); "sha256:"+hex.EncodeToString(sum[:]) != d {
			t.Errorf("%s has the digest %x", d, sum)
		}
		if info, err := os.Stat(file(dir, d)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v %v", info.Mode(), err)
		}
	}
	list, err := a.List()
	if err != nil {
		t.Fatal(err)
	}
	for i, k := range list {
		if want := digests[2-i]; k.Digest != want || k.Bytes != pack(t, 3-i).Size() || k.Since.Unix() != 1_800_000_003-int64(i) {
			t.Errorf("entry %d of the list is %+v, want %s", i, k, want)
		}
	}
	if len(list) != 3 {
		t.Errorf("%d are listed", len(list))
	}
	if _, err := a.Open("sha256:" + strings.Repeat("0", 64)); !errors.Is(err, ErrNotKept) {
		t.Errorf("a pack that is not kept: %v", err)
	}
}

// TestDamagedIsSaid: what does not match its digest is never taken for that pack, and is
// put right when the pack comes again.
func TestDamagedIsSaid(t *testing.T) {
	other := pack(t, 2)
	for name, damage := range map[string]func(path string) error{
		"another pack": func(p string) error {
			f, err := os.Create(p)
			if err == nil {
				_, err = other.WriteTo(f)
			}
			return errors.Join(err, f.Close())
		},
		"a byte": func(p string) error {
			raw, err := os.ReadFile(p)
			if err == nil {
				raw[len(raw)-1] ^= 1
				err = os.WriteFile(p, raw, 0o600)
			}
			return err
		},
		"cut":   func(p string) error { return os.Truncate(p, 100) },
		"empty": func(p string) error { return os.Truncate(p, 0) },
		"large": func(p string) error { return os.Truncate(p, maxListing+1) },
		"link": func(p string) error {
			return errors.Join(os.Rename(p, p+".away"), os.Symlink(p+".away", p))
		},
		"folder": func(p string) error { return errors.Join(os.Remove(p), os.Mkdir(p, 0o700)) },
	} {
		t.Run(name, func(t *testing.T) {
			a, dir := open(t)
			d, err := a.Put(pack(t, 1))
			if err != nil {
				t.Fatal(err)
			}
			if err := damage(file(dir, d)); err != nil {
				t.Fatal(err)
			}
			var damaged *DamagedError
			if _, err := a.Files(d); !errors.As(err, &damaged) || damaged.Digest != d {
				t.Fatalf("Files: %v", err)
			}
			if _, err := a.Open(d); !errors.As(err, &damaged) {
				t.Fatalf("Open: %v", err)
			}
			_, err = a.Put(pack(t, 1))
			if name == "folder" { // not ours to take away
				if err == nil {
					t.Fatal("a folder was replaced")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if p, err := a.Open(d); err != nil || p.Plan().Version != 1 {
				t.Errorf("not put right: %v", err)
			}
		})
	}
}

// TestAttackDigestsThatArePaths: attack: a digest from a URL or an entry names a file
// elsewhere. Nothing but 64 hexadecimal digits becomes part of a path.
func TestAttackDigestsThatArePaths(t *testing.T) {
	a, dir := open(t)
	if err := os.WriteFile(filepath.Join(dir, "..", "secret.pack"), []byte("s"), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := a.Put(pack(t, 1))
	if err != nil {
		t.Fatal(err)
	}
	hexed := strings.TrimPrefix(d, "sha256:")
	for _, digest := range []string{"", "sha256:", "sha256:../secret", "../secret", hexed, "sha256:" + strings.ToUpper(hexed), "sha256:./" + hexed[2:],
		d + "\x00", d + "/", "sha512:" + hexed, "sha256:" + hexed + hexed} {
		if _, err := a.Open(digest); !errors.Is(err, ErrNotKept) {
			t.Errorf("%q: %v", digest, err)
		}
	}
}

// TestAttackSharedDirectory: attack: somebody else on the machine reads what an old pack
// let out, or puts a directory of their own in its place.
func TestAttackSharedDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "packs")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := New(dir); err == nil || !strings.Contains(err.Error(), "chmod 700") {
		t.Errorf("a directory that others can read: %v", err)
	}
	link := filepath.Join(t.TempDir(), "packs")
	if err := os.Symlink(t.TempDir(), link); err != nil {
		t.Fatal(err)
	}
	if _, err := New(link); err == nil {
		t.Error("a link is taken for the archive")
	}
}

// TestOffersHaveALimit: who may only propose cannot fill the disk; a pack in force is kept all the same.
func TestOffersHaveALimit(t *testing.T) {
	a, dir := open(t)
	if _, err := a.Offer(pack(t, 1)); err != nil {
		t.Fatal(err)
	}
	big := file(dir, "sha256:"+strings.Repeat("a", 64))
	if err := os.WriteFile(big, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(big, OfferedMost); err != nil { // a sparse file
		t.Fatal(err)
	}
	if _, err := a.Offer(pack(t, 2)); !errors.Is(err, ErrFull) {
		t.Errorf("offered to a full archive: %v", err)
	}
	if _, err := a.Offer(pack(t, 1)); err != nil {
		t.Errorf("offered what is there: %v", err)
	}
	if _, err := a.Put(pack(t, 2)); err != nil {
		t.Errorf("in force: %v", err)
	}
}

// TestCompiledOnceAndHeldFew: many who ask for one pack share one, and few are held.
func TestCompiledOnceAndHeldFew(t *testing.T) {
	a, _ := open(t)
	d, err := a.Put(pack(t, 1))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	got := make([]*policy.Pack, 8)
	for i := range got {
		wg.Go(func() { got[i], _ = a.Open(d) })
	}
	wg.Wait()
	for _, p := range got {
		if p == nil || p != got[0] {
			t.Fatal("it was compiled more than once")
		}
	}
	for v := 2; v <= cached+1; v++ {
		d, err := a.Put(pack(t, v))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.Open(d); err != nil {
			t.Fatal(err)
		}
	}
	if len(a.cache.packs) != cached {
		t.Errorf("%d are held, want %d", len(a.cache.packs), cached)
	}
	if p, err := a.Open(d); err != nil || p == got[0] {
		t.Errorf("the oldest is still held: %v", err)
	}
}

// TestKilledOnItsWay: what a killed process left is no pack, and goes.
func TestKilledOnItsWay(t *testing.T) {
	a, dir := open(t)
	d := pack(t, 1).Digest()
	left := file(dir, d) + ".123" + part
	fresh := file(dir, d) + ".456" + part
	for _, p := range []string{left, fresh} {
		if err := os.WriteFile(p, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	old := time.Now().Add(-2 * onItsWay)
	if err := os.Chtimes(left, old, old); err != nil {
		t.Fatal(err)
	}
	if list, err := a.List(); err != nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
	b, err := New(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
	if _, err := os.Stat(fresh); err != nil {
		t.Errorf("what another process is writing has gone: %v", err)
	}
}
