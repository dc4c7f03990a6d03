package tenant

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	hkdfpb "github.com/tink-crypto/tink-go/v2/proto/hkdf_prf_go_proto"
	"golang.org/x/mod/sumdb/note"
	"google.golang.org/protobuf/proto"
)

// What derives from a keyring elsewhere asks for just this.
var _ interface {
	Primary() uint32
	IDs() []uint32
	Derive(out []byte, id uint32, context ...string) error
} = (*Keyring)(nil)

func mustCreate(t *testing.T) (*Keyring, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "state", "keys")
	k, err := Create(dir, "acme")
	if err != nil {
		t.Fatal(err)
	}
	return k, dir
}

func mustOpen(t *testing.T, dir string) *Keyring {
	t.Helper()
	k, err := Open(dir, "acme")
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func derive(t *testing.T, k *Keyring, id uint32, context ...string) string {
	t.Helper()
	out := make([]byte, 32)
	if err := k.Derive(out, id, context...); err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// wants fails unless err says every one of the texts and wraps is.
func wants(t *testing.T, err, is error, says ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	if is != nil && !errors.Is(err, is) {
		t.Errorf("%v does not wrap %v", err, is)
	}
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("%v does not say %q", err, s)
		}
	}
}

func TestCreateAndOpen(t *testing.T) {
	k, dir := mustCreate(t)
	again := mustOpen(t, dir)
	if k.Primary() == 0 || k.Primary() != again.Primary() || !slices.Equal(k.IDs(), []uint32{k.Primary()}) {
		t.Errorf("%08x, then %08x of %08x", k.Primary(), again.Primary(), k.IDs())
	}
	if derive(t, k, k.Primary(), "a") != derive(t, again, k.Primary(), "a") {
		t.Error("opened again, it derives something else")
	}
	if k.Verifier() != again.Verifier() || k.Tenant() != "acme" || again.Tenant() != "acme" {
		t.Error("opened again, it is another keyring")
	}
	if k.Stale() || again.Stale() {
		t.Error("stale at once")
	}
	for name, want := range map[string]fs.FileMode{"": 0o700, keysetFile: 0o600, checkpointFile: 0o600} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%q: %v, %v", name, info.Mode(), err)
		}
	}
	other, err := Create(filepath.Join(t.TempDir(), "keys"), "acme")
	if err != nil {
		t.Fatal(err)
	}
	if derive(t, other, other.Primary(), "a") == derive(t, k, k.Primary(), "a") || other.Verifier() == k.Verifier() {
		t.Error("two keyrings have the same keys")
	}
}

// What Derive gives can be computed from the key file by RFC 5869 alone.
func TestDeriveIsHKDF(t *testing.T) {
	k, dir := mustCreate(t)
	b, err := os.ReadFile(filepath.Join(dir, keysetFile))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		PrimaryKeyID uint32 `json:"primaryKeyId"`
		Key          []struct {
			KeyData struct{ TypeURL, Value string }
		}
	}
	if err := json.Unmarshal(bytes.ReplaceAll(b, []byte("typeUrl"), []byte("TypeURL")), &file); err != nil {
		t.Fatal(err)
	}
	raw, err := base64.StdEncoding.DecodeString(file.Key[0].KeyData.Value)
	if err != nil {
		t.Fatal(err)
	}
	var key hkdfpb.HkdfPrfKey
	if err := proto.Unmarshal(raw, &key); err != nil {
		t.Fatal(err)
	}
	info := []byte("isogate/tenant/v1")
	for _, s := range []string{"derive", "some", "context"} {
		info = append(binary.BigEndian.AppendUint32(info, uint32(len(s))), s...)
	}
	want, err := hkdf.Key(sha256.New, key.GetKeyValue(), nil, string(info), 100)
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 100)
	if err := k.Derive(got, file.PrimaryKeyID, "some", "context"); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%x, want %x, %v", got, want, err)
	}
}

// promise: P06
func TestDeriveSeparates(t *testing.T) {
	k, _ := mustCreate(t)
	id := k.Primary()
	seen := map[string][]string{}
	for _, context := range [][]string{{"a"}, {"b"}, {"ab"}, {"a", "b"}, {"a", "", "b"}, {"", "ab"}, {"ab", ""}, {""}, {"", ""}, {"digest"}} {
		out := derive(t, k, id, context...)
		if was, ok := seen[out]; ok {
			t.Errorf("%q and %q derive the same", was, context)
		}
		seen[out] = context
		if string(k.state.Load().digest) == out {
			t.Errorf("%q derives the digest key", context)
		}
	}
	for what, err := range map[string]error{
		"no context": k.Derive(make([]byte, 1), id),
		"no bytes":   k.Derive(nil, id, "a"),
		"too many":   k.Derive(make([]byte, maxDerived+1), id, "a"),
		"no key":     k.Derive(make([]byte, 1), id+1, "a"),
		"not open":   new(Keyring).Derive(make([]byte, 1), id, "a"),
	} {
		if err == nil {
			t.Errorf("%s: no error", what)
		}
	}
	if err := k.Derive(make([]byte, maxDerived), id, "a"); err != nil {
		t.Error(err)
	}
}

// promise: P37 — after a rotation the old key derives what it derived before.
func TestRotate(t *testing.T) {
	k, dir := mustCreate(t)
	first := k.Primary()
	before := derive(t, k, first, "a")
	digest := k.Digest([]byte("body"))
	reader := mustOpen(t, dir)
	for n := 2; n <= 4; n++ {
		if err := k.Rotate(); err != nil {
			t.Fatal(err)
		}
		if len(k.IDs()) != n || k.IDs()[0] != k.Primary() || k.IDs()[n-1] != first {
			t.Fatalf("after %d keys: %08x, primary %08x, first %08x", n, k.IDs(), k.Primary(), first)
		}
	}
	if k.Primary() == first || derive(t, k, k.Primary(), "a") == before || derive(t, k, first, "a") != before {
		t.Error("the old key does not derive what it did, or the new one does")
	}
	if k.Stale() {
		t.Error("stale by its own rotation")
	}
	if !reader.Stale() {
		t.Fatal("another process does not notice")
	}
	if changed, err := reader.Reload(); !changed || err != nil {
		t.Fatal(changed, err)
	}
	if reader.Stale() || !slices.Equal(reader.IDs(), k.IDs()) || derive(t, reader, first, "a") != before {
		t.Error("the reload did not bring the new keyset")
	}
	if changed, err := reader.Reload(); changed || err != nil {
		t.Error("reloaded the same:", changed, err)
	}
	if ok, err := k.CheckDigest([]byte("body"), digest); !ok || err != nil {
		t.Error("a digest from before the rotation:", ok, err)
	}
	if k.Verifier() != mustOpen(t, dir).Verifier() {
		t.Error("the log's key has changed")
	}
}

// Each of several processes rotates from what it had read long ago; no key is lost.
func TestRotateAtOnce(t *testing.T) {
	_, dir := mustCreate(t)
	const processes, times = 4, 5
	done := make(chan error)
	for range processes {
		k := mustOpen(t, dir)
		go func() {
			var err error
			for range times {
				err = errors.Join(err, k.Rotate())
			}
			done <- err
		}()
	}
	for range processes {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if n := len(mustOpen(t, dir).IDs()); n != 1+processes*times {
		t.Errorf("%d keys, want %d", n, 1+processes*times)
	}
}

func TestReloadKeepsTheOldOnError(t *testing.T) {
	k, dir := mustCreate(t)
	path := filepath.Join(dir, keysetFile)
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Rotate(); err != nil {
		t.Fatal(err)
	}
	ids := k.IDs()
	for what, spoil := range map[string]func() error{
		"put back from before": func() error { return os.WriteFile(path, old, 0o600) },
		"broken":               func() error { return os.WriteFile(path, old[:len(old)/2], 0o600) },
		"open to others":       func() error { return os.Chmod(path, 0o640) },
		"gone":                 func() error { return os.Remove(path) },
	} {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		if what != "gone" && !k.Stale() {
			t.Errorf("%s: not noticed", what)
		}
		if changed, err := k.Reload(); changed || err == nil {
			t.Errorf("%s: %v, %v", what, changed, err)
		}
		if err := k.Rotate(); err == nil {
			t.Errorf("%s: rotated", what)
		}
		if !slices.Equal(k.IDs(), ids) {
			t.Errorf("%s: %08x, want %08x", what, k.IDs(), ids)
		}
		derive(t, k, k.Primary(), "a")
		if err := os.WriteFile(path, old, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := new(Keyring).Reload(); err == nil {
		t.Error("the zero Keyring was reloaded")
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if !k.Stale() || !new(Keyring).Stale() {
		t.Error("what is not there is not stale")
	}
	_, err = k.Reload()
	wants(t, err, fs.ErrNotExist, dir)
}

func TestSignerAndVerifier(t *testing.T) {
	k, dir := mustCreate(t)
	pub, err := os.ReadFile(filepath.Join(dir, publicFile))
	if err != nil || strings.TrimSpace(string(pub)) != k.Verifier() {
		t.Fatalf("%s, want %s, %v", pub, k.Verifier(), err)
	}
	v, err := note.NewVerifier(k.Verifier())
	if err != nil {
		t.Fatal(err)
	}
	signed, err := note.Sign(&note.Note{Text: "isogate/acme\n1\nroot\n"}, k.Signer())
	if err != nil {
		t.Fatal(err)
	}
	n, err := note.Open(signed, note.VerifierList(v))
	if err != nil || len(n.Sigs) != 1 || n.Sigs[0].Name != "isogate/acme" {
		t.Errorf("%v, %v", n, err)
	}
}

func TestDigest(t *testing.T) {
	k, _ := mustCreate(t)
	body := []byte("a body that nobody should be able to guess from its digest")
	whole := k.Digest(body)
	var w hash.Hash = k.DigestWriter()
	_, _ = w.Write(body[:7])
	_, _ = w.Write(body[7:])
	if got := w.(*Digester).Text(); got != whole {
		t.Errorf("in pieces %s, as a whole %s", got, whole)
	}
	if !strings.HasPrefix(whole, fmt.Sprintf("hmac-sha256:%08x:", k.Primary())) || len(whole) != len("hmac-sha256:01234567:")+64 {
		t.Error(whole)
	}
	if strings.HasSuffix(whole, fmt.Sprintf("%x", sha256.Sum256(body))) {
		t.Error("the digest is not keyed")
	}
	if k.Digest(nil) == whole {
		t.Error("two bodies, one digest")
	}
	for digest, want := range map[string]bool{whole: true, k.Digest(body[1:]): false} {
		if ok, err := k.CheckDigest(body, digest); ok != want || err != nil {
			t.Errorf("%s: %v, %v", digest, ok, err)
		}
	}
	unknown := fmt.Sprintf("hmac-sha256:%08x:%s", k.Primary()+1, whole[len(whole)-64:])
	for _, bad := range []string{"", "x", "sha256:00000001:" + whole[len(whole)-64:], "hmac-sha256:zz:00", whole + "00", whole[:len(whole)-1], unknown} {
		if ok, err := k.CheckDigest(body, bad); ok || err == nil {
			t.Errorf("%q: %v, %v", bad, ok, err)
		}
	}
	other, _ := mustCreate(t)
	if other.Digest(body)[21:] == whole[21:] {
		t.Error("two tenants, one digest")
	}
}

// No way of printing a keyring shows a key.
func TestNeverPrinted(t *testing.T) {
	k, dir := mustCreate(t)
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%q"} {
		if got := fmt.Sprintf(format, k); got != redacted {
			t.Errorf("%s: %.60s", format, got)
		}
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", slog.Any("keys", k))
	text, err := json.Marshal(map[string]any{"keys": k})
	if err != nil || !strings.Contains(string(text), redacted) || !strings.Contains(log.String(), redacted) {
		t.Errorf("%s, %s, %v", text, log.String(), err)
	}
	if k.String() != redacted || k.GoString() != redacted {
		t.Error("String or GoString")
	}
	skey, err := os.ReadFile(filepath.Join(dir, checkpointFile))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(fmt.Sprintf("%+v %#v", k.Signer(), k.Signer()), string(bytes.TrimSpace(skey[30:]))) {
		t.Error("the signer prints its key")
	}
}

func TestBadConfig(t *testing.T) {
	for what, c := range map[string]Config{
		"no tenant":    {Dir: t.TempDir()},
		"a bad tenant": {Dir: t.TempDir(), Tenant: "../umbrella"},
		"no directory": {Tenant: "acme"},
	} {
		if _, err := c.Create(); err == nil {
			t.Errorf("%s: created", what)
		}
		if _, err := c.Open(); err == nil {
			t.Errorf("%s: opened", what)
		}
	}
}

// A keyset of another kind is refused, and one without keys.
func TestForeignKeysets(t *testing.T) {
	_, dir := mustCreate(t)
	kek := filepath.Join(t.TempDir(), "kek.json")
	if _, err := CreateKEK(kek); err != nil {
		t.Fatal(err)
	}
	other, err := os.ReadFile(kek)
	if err != nil {
		t.Fatal(err)
	}
	for content, say := range map[string]string{
		string(other): "no keyset of PRF keys",
		"{}":          "is no keyset",
		"[]":          "is no keyset",
		"":            "is no keyset",
	} {
		if err := os.WriteFile(filepath.Join(dir, keysetFile), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err = Open(dir, "acme")
		wants(t, err, nil, filepath.Join(dir, keysetFile), say, "backup")
	}
}
