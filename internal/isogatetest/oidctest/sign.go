package oidctest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
)

// signer signs ID tokens by one key.
type signer struct {
	algorithm string
	id        string
	key       crypto.Signer
}

func newSigner(algorithm string) (*signer, error) {
	s := &signer{algorithm: algorithm, id: rand.Text()[:8]}
	var err error
	switch algorithm {
	case "ES256":
		s.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "RS256", "PS256":
		s.key, err = rsa.GenerateKey(rand.Reader, 2048)
	case "EdDSA":
		_, s.key, err = ed25519.GenerateKey(rand.Reader)
	default:
		err = fmt.Errorf("there is no algorithm %q here", algorithm)
	}
	return s, err
}

// sign is claims as a compact JWS, or as something that passes itself off as one.
func (s *signer) sign(claims map[string]any, a Attack) (string, error) {
	by := s
	if a.UnknownKey {
		stranger, err := newSigner(s.algorithm)
		if err != nil {
			return "", err
		}
		stranger.id = s.id // it says that it is the one that everybody knows
		by = stranger
	}
	algorithm := by.algorithm
	if a.Algorithm != "" {
		algorithm = a.Algorithm
	}
	head, err := json.Marshal(map[string]string{"alg": algorithm, "typ": "JWT", "kid": by.id})
	if err != nil {
		return "", err
	}
	body, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	text := encode(head) + "." + encode(body)
	sum := sha256.Sum256([]byte(text))
	var signature []byte
	switch algorithm {
	case "none":
	case "HS256": // by what everybody may know: the public key
		der, err := x509.MarshalPKIXPublicKey(by.key.Public())
		if err != nil {
			return "", err
		}
		mac := hmac.New(sha256.New, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
		mac.Write([]byte(text))
		signature = mac.Sum(nil)
	case "ES256":
		r, v, err := ecdsa.Sign(rand.Reader, by.key.(*ecdsa.PrivateKey), sum[:])
		if err != nil {
			return "", err
		}
		signature = append(r.FillBytes(make([]byte, 32)), v.FillBytes(make([]byte, 32))...)
	case "RS256":
		signature, err = by.key.Sign(rand.Reader, sum[:], crypto.SHA256)
	case "PS256":
		signature, err = by.key.Sign(rand.Reader, sum[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256})
	case "EdDSA":
		signature, err = by.key.Sign(rand.Reader, []byte(text), crypto.Hash(0))
	default:
		err = fmt.Errorf("there is no algorithm %q here", algorithm)
	}
	return text + "." + encode(signature), err
}

// jwks answers with the key that signs.
func (p *Provider) jwks(w http.ResponseWriter, _ *http.Request) {
	p.mu.Lock()
	s := p.signer
	p.mu.Unlock()
	key := map[string]string{"use": "sig", "alg": s.algorithm, "kid": s.id}
	switch public := s.key.Public().(type) {
	case *ecdsa.PublicKey:
		point, err := public.Bytes() // 4, x, y
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		key["kty"], key["crv"], key["x"], key["y"] = "EC", "P-256", encode(point[1:33]), encode(point[33:])
	case *rsa.PublicKey:
		key["kty"], key["n"], key["e"] = "RSA", encode(public.N.Bytes()), encode(big.NewInt(int64(public.E)).Bytes())
	case ed25519.PublicKey:
		key["kty"], key["crv"], key["x"] = "OKP", "Ed25519", encode(public)
	}
	answer(w, http.StatusOK, map[string]any{"keys": []any{key}})
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
