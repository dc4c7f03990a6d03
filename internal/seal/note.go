package seal

import (
	"encoding/base64"
	"errors"
	"fmt"
	"unicode/utf8"

	"golang.org/x/mod/sumdb/note"
)

// checkLanding reports what is wrong with the name of a landing side, which is
// that of a signing key (C2SP signed-note): such as desk.example/landing-1.
func checkLanding(name string) error {
	if name == "" || len(name) > 128 || !utf8.ValidString(name) {
		return errors.New("landing: use a name of 1 to 128 bytes, such as desk.example/landing-1")
	}
	for _, r := range name {
		if r <= ' ' || r == '+' || r > '~' {
			return fmt.Errorf("landing: the name %q has %q; use printable ASCII without space and +", name, r)
		}
	}
	return nil
}

// sign returns text as a note of signer, which must have the landing side's name.
func sign(text, landing string, signer note.Signer) ([]byte, error) {
	if signer.Name() != landing {
		return nil, fmt.Errorf("seal: landing %s: the signing key is of %s", landing, signer.Name())
	}
	return note.Sign(&note.Note{Text: text}, signer)
}

// open returns the text of a note that v verifies. A note with any other signature
// as well is refused: the bytes of a receipt are what the next one names.
func open(b []byte, most int, v note.Verifier) (string, error) {
	if len(b) > most {
		return "", fmt.Errorf("longer than %d bytes", most)
	}
	n, err := note.Open(b, note.VerifierList(v))
	if err != nil {
		return "", fmt.Errorf("not signed by %s: %w", v.Name(), err)
	}
	if len(n.Sigs) != 1 || len(n.UnverifiedSigs) != 0 {
		return "", errors.New("more than one signature")
	}
	// Base64 has several spellings of one signature, and receipts are named by
	// their bytes.
	if _, err := base64.StdEncoding.Strict().DecodeString(n.Sigs[0].Base64); err != nil {
		return "", errors.New("not written as its signer writes it")
	}
	again, err := note.Sign(n)
	if err != nil || string(again) != string(b) {
		return "", errors.New("not written as its signer writes it")
	}
	return n.Text, nil
}
