package landing

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/isogate/isogate"
)

// Erasure is what a landing asks a service to erase.
type Erasure struct {
	ID          string         `json:"erasure"`
	Tenant      isogate.Tenant `json:"tenant"`
	Identifiers []Identifier   `json:"identifiers"`
	// Deadline is when the landing states that the service did not confirm. It goes
	// on asking.
	Deadline time.Time `json:"deadline"`
}

// Identifier is one value that the service got in plaintext and is to forget. It
// prints as REDACTED.
type Identifier struct {
	Label isogate.Label `json:"label"`
	Value string        `json:"value"`
}

// MaxErasure is the longest body of a call-out, in bytes.
const MaxErasure = 2 << 20

// ReadErasure reads the body of a landing's call-out and checks its
// Isogate-Signature header field by the landing's public key, which is that of the
// pack. Whoever can reach the service's address for call-outs could have it erase
// what they like: answer 403 to what is an error here. The body must be the
// bytes that came, at most [MaxErasure] of them.
//
// The answer is 200 or 204 when it is erased, 404 when there is nothing of it, and
// 202 when it will be later. The same erasure may come again.
func ReadErasure(publicKey, signature string, body []byte) (Erasure, error) {
	v, err := note.NewVerifier(publicKey)
	if err != nil {
		return Erasure{}, fmt.Errorf("landing: the public key is none; use that of the pack's landing, as isogate landing init prints it: %w", err)
	}
	if len(body) > MaxErasure {
		return Erasure{}, fmt.Errorf("landing: a call-out of more than %d bytes", MaxErasure)
	}
	signed, err := base64.StdEncoding.DecodeString(signature)
	if err != nil {
		return Erasure{}, errors.New("landing: Isogate-Signature is no base64; only a landing calls here")
	}
	n, err := note.Open(signed, note.VerifierList(v))
	if err != nil {
		return Erasure{}, fmt.Errorf("landing: the call-out is not signed by %s; see that the pack's landing and this service have the same public key", v.Name())
	}
	var e Erasure
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&e); err != nil || d.More() {
		return Erasure{}, errors.New("landing: the call-out is not as docs/formats.md has it; this library may be older than the landing")
	}
	sum := sha256.Sum256(body)
	if n.Text != "isogate/erasure/v1\n"+e.ID+"\n"+base64.StdEncoding.EncodeToString(sum[:])+"\n" {
		return Erasure{}, errors.New("landing: the signature is over another call-out")
	}
	return e, nil
}

// LogValue implements [slog.LogValuer].
func (Identifier) LogValue() slog.Value { return slog.StringValue(redacted) }

func (Identifier) String() string { return redacted }

// Format implements [fmt.Formatter], so that no verb reaches the value.
func (Identifier) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte(redacted)) }
