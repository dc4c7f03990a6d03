package tenant

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

const (
	checkpointFile = "checkpoint.key"
	publicFile     = "isogate.pub"
)

// signerName is the name in signatures of the tenant's checkpoints, and the
// origin of its log.
func (c Config) signerName() string { return "isogate/" + string(c.Tenant) }

// Signer signs the journal's checkpoints with Ed25519, in the form of C2SP
// signed-note (key type 1). It is not changed by Rotate: the log has one key for
// life.
func (k *Keyring) Signer() note.Signer { return k.signer }

// Verifier is the public half of Signer as a C2SP vkey, which auditors are
// given: name, hash and key, joined by "+". The same is in isogate.pub.
func (k *Keyring) Verifier() string { return k.vkey }

func (c Config) writeCheckpointKey(d *dir) error {
	skey, vkey, err := note.GenerateKey(rand.Reader, c.signerName())
	if err != nil {
		return fmt.Errorf("%s: %w", d.file(checkpointFile), err)
	}
	content, err := c.wrap(d, checkpointFile, []byte(skey+"\n"))
	if err != nil {
		return err
	}
	if err := d.write(checkpointFile, content, secretMode); err != nil {
		return err
	}
	return d.write(publicFile, []byte(vkey+"\n"), publicMode)
}

func (c Config) readCheckpointKey(d *dir) (note.Signer, string, error) {
	path := d.file(checkpointFile)
	b, _, err := c.readWrapped(d, checkpointFile)
	if err != nil {
		return nil, "", err
	}
	skey := strings.TrimSpace(string(b))
	signer, err := note.NewSigner(skey)
	if err != nil {
		return nil, "", fmt.Errorf("%s: is no signing key; restore it from a backup", path)
	}
	if signer.Name() != c.signerName() {
		return nil, "", fmt.Errorf("%s: is the key of %q, but the tenant is %q; check the configured tenant and state directory",
			path, strings.TrimPrefix(signer.Name(), "isogate/"), c.Tenant)
	}
	vkey, err := publicOf(skey, signer.Name())
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w; restore it from a backup", path, err)
	}
	return signer, vkey, c.checkPublic(d, vkey)
}

// checkPublic makes sure that auditors are not handed another log's key.
func (c Config) checkPublic(d *dir, vkey string) error {
	pub, _, err := d.read(publicFile, public)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: is missing; write this line into it: %s", d.file(publicFile), vkey)
	}
	if err != nil {
		return err
	}
	if strings.TrimSpace(string(pub)) != vkey {
		return fmt.Errorf("%s: does not belong to %s; write this line into it: %s", d.file(publicFile), checkpointFile, vkey)
	}
	return nil
}

// publicOf computes the vkey of a signer key that note.NewSigner has accepted:
// PRIVATE+KEY+name+hash+base64 of the key type 1 and the seed.
func publicOf(skey, name string) (string, error) {
	parts := strings.SplitN(skey, "+", 5)
	raw, err := base64.StdEncoding.DecodeString(parts[len(parts)-1])
	if err != nil || len(raw) != 1+ed25519.SeedSize {
		return "", errors.New("is no Ed25519 key")
	}
	pub, ok := ed25519.NewKeyFromSeed(raw[1:]).Public().(ed25519.PublicKey)
	if !ok {
		return "", errors.New("is no Ed25519 key")
	}
	return note.NewEd25519VerifierKey(name, pub)
}
