package seal

import (
	"bytes"
	"crypto/hpke"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/isogate/isogate"
)

var update = flag.Bool("update", false, "write testdata/vectors.json anew")

const vectorsFile = "testdata/vectors.json"

// vectors are what another program needs to see that it reads what we write. All
// but the wrapped keys, which have randomness in them, come out the same again.
type vectors struct {
	Home  string `json:"home"`
	Epoch struct {
		Seed   string `json:"seed"` // of the private half (draft-ietf-hpke-pq)
		ID     string `json:"id"`
		Public string `json:"public"`
	} `json:"epoch"`
	Keys      []keyVector   `json:"keys"`
	Register  registerRows  `json:"register"`
	Verifier  string        `json:"verifier"`
	Statement string        `json:"statement"`
	Receipt   receiptVector `json:"receipt"`
}

type keyVector struct {
	Context contextVector `json:"context"`
	Bytes   string        `json:"context_bytes"`
	Key     string        `json:"key"`
	ID      string        `json:"id"`
	Info    string        `json:"hpke_info"`
	Wrapped string        `json:"wrapped"`
	Header  string        `json:"header"` // 1234 ms after the key was made
	Held    string        `json:"header_once_held"`
	Seals   []sealVector  `json:"seals"`
}

type contextVector struct {
	Tenant      isogate.Tenant      `json:"tenant"`
	Destination isogate.Destination `json:"destination"`
	Transit     isogate.Transit     `json:"transit"`
	Handling    isogate.Handling    `json:"handling"`
	Session     string              `json:"session,omitempty"`
	ByRequest   bool                `json:"by_request,omitempty"`
	TTL         int64               `json:"ttl_ms,omitempty"`
	Window      int64               `json:"window_ms,omitempty"`
	Made        int64               `json:"made_ms"`
}

type sealVector struct {
	Request uint64        `json:"request"`
	Counter uint32        `json:"counter"`
	Age     int64         `json:"age_ms"`
	Label   isogate.Label `json:"label"`
	Kind    string        `json:"kind"`
	Value   string        `json:"value"`
	Seal    string        `json:"seal"`
}

type registerRows struct {
	Rows   []RegisterRow `json:"rows"`
	Header string        `json:"header"`
}

type receiptVector struct {
	Note   string `json:"note"`
	Digest string `json:"digest"`
}

// makeVectors makes all of it, with the wrapped keys and the epoch of was.
func makeVectors(t *testing.T, was *vectors) *vectors {
	t.Helper()
	v := &vectors{Home: was.Home, Epoch: was.Epoch}
	private := vectorEpoch(t, was)
	st := &Statement{Destination: "support-portal", Landing: "desk.example/landing-1", Epoch: private.ID(), Public: private.Public(),
		NotBefore: start.Truncate(time.Second).Add(-time.Minute), NotAfter: start.Truncate(time.Second).Add(19 * time.Minute),
		Idle: 15 * time.Minute, Max: 8 * time.Hour, Acknowledges: []isogate.LabelPattern{"account.**", "personal.contact.email"}}
	if _, err := hex.Decode(st.Home[:], []byte(v.Home)); err != nil {
		t.Fatal(err)
	}
	v.Epoch.ID, v.Epoch.Public = private.ID().String(), string(inBase64(private.Public()))
	byRequest := transitOnly()
	byRequest.Session, byRequest.ByRequest = "", true
	for i, c := range []Context{transitOnly(), temporary(5 * time.Minute), byRequest} {
		c.Made, c.Window = start, 0
		if c.Handling == isogate.Temporary {
			c.Window = Window(c.TTL)
		}
		key := new([keySize]byte)
		for j := range key {
			key[j] = byte(32*i + j)
		}
		now := start
		k, err := newSealer(c, st, func() time.Time { return now }, start, key)
		if err != nil {
			t.Fatal(err)
		}
		kv := keyVector{Context: contextVector{c.Tenant, c.Destination, c.Transit, c.Handling, c.Session, c.ByRequest, c.TTL.Milliseconds(), c.Window.Milliseconds(), c.Made.UnixMilli()},
			Bytes: hex.EncodeToString(c.append(nil)), Key: hex.EncodeToString(key[:]), ID: k.ID().String(), Info: hex.EncodeToString(wrapInfo(k.aad, st.Epoch)), Wrapped: string(k.wrapped)}
		if i < len(was.Keys) && was.Keys[i].Wrapped != "" {
			kv.Wrapped = was.Keys[i].Wrapped
			k.wrapped = []byte(kv.Wrapped)
		}
		p := k.Passage()
		for _, val := range []isogate.Value{text("mia@example.com"), {Kind: isogate.Number, Text: []byte("12480498776781")}, {Kind: isogate.Bool, Text: []byte("true")}, text("")} {
			now = now.Add(100 * time.Millisecond)
			kv.Seals = append(kv.Seals, sealVector{1, uint32(len(kv.Seals) + 1), now.Sub(start).Milliseconds(), email, val.Kind.String(), string(val.Text), sealed(t, &p, email, val)})
		}
		now = start.Add(1234 * time.Millisecond)
		kv.Header = string(k.AppendHeader(nil))
		k.SetHeld()
		kv.Held = string(k.AppendHeader(nil))
		v.Keys = append(v.Keys, kv)
	}
	v.Register.Rows = []RegisterRow{
		{Label: account, ID: "igt1aibaueqy277j4qzakeo7jcgc7df7cnk5hpdoaqlax7f3hypvbl4rxniausa", Subject: "igt1aibaueqy277j4qzakeo7jcgc7df7cnk5hpdoaqlax7f3hypvbl4rxniausa", Because: "billing", Rule: "transits/billing.yaml:12"},
		{Label: email, ID: "igt1abcdefgh", Subject: "igt1aibaueqy277j4qzakeo7jcgc7df7cnk5hpdoaqlax7f3hypvbl4rxniausa", Because: "invoices, é", Rule: "transits/billing.yaml:19"},
	}
	var line []byte
	for i := range v.Register.Rows {
		if i > 0 {
			line = append(line, ", "...)
		}
		line = AppendRegister(line, &v.Register.Rows[i])
	}
	v.Register.Header = string(line)
	signer, _ := keys(t, 7, st.Landing)
	_, v.Verifier = vectorKey(t)
	b, err := st.Sign(signer)
	if err != nil {
		t.Fatal(err)
	}
	v.Statement = string(b)
	if b, err = someReceipt().Sign(signer); err != nil {
		t.Fatal(err)
	}
	v.Receipt = receiptVector{string(b), Digest(b)}
	return v
}

func vectorKey(t *testing.T) (skey, vkey string) {
	t.Helper()
	return noteKeys(t, 7, "desk.example/landing-1")
}

func vectorEpoch(t *testing.T, v *vectors) *Epoch {
	t.Helper()
	seed, err := hex.DecodeString(v.Epoch.Seed)
	if err != nil {
		t.Fatal(err)
	}
	private, err := hpke.MLKEM768X25519().NewPrivateKey(seed)
	if err != nil {
		t.Fatal(err)
	}
	return newEpoch(private)
}

func readVectors(t *testing.T) *vectors {
	t.Helper()
	v := &vectors{}
	b, err := os.ReadFile(vectorsFile)
	if err == nil {
		err = json.Unmarshal(b, v)
	}
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// The vectors for others are what we write, and we read them. A change of them is
// a change of the format, and breaks who wrote a client.
func TestVectors(t *testing.T) {
	if *update {
		v := makeVectors(t, &vectors{Home: "0a0b0c0d", Epoch: struct {
			Seed   string `json:"seed"`
			ID     string `json:"id"`
			Public string `json:"public"`
		}{Seed: strings.Repeat("5e", 32)}})
		b, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(vectorsFile, append(b, '\n'), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	v := readVectors(t)
	if again := makeVectors(t, v); !reflect.DeepEqual(again, v) {
		a, _ := json.MarshalIndent(again, "", "  ")
		t.Errorf("%s is not what is written now:\n%s", vectorsFile, a)
	}
	e := vectorEpoch(t, v)
	for _, kv := range v.Keys {
		as, err := ParseHeader([]string{kv.Header}, kv.Context.Tenant, kv.Context.Destination)
		if err != nil {
			t.Fatal(err)
		}
		var key [32]byte
		if err := e.Unwrap(as[0], &key); err != nil || hex.EncodeToString(key[:]) != kv.Key {
			t.Errorf("%s: %v", kv.ID, err)
		}
		for _, sv := range kv.Seals {
			id, raw, ok := Parse([]byte(sv.Seal))
			o, err := OpenKey(&key, &as[0].Context, raw, nil)
			if !ok || id.String() != kv.ID || err != nil {
				t.Fatalf("%s: %v", sv.Seal, err)
			}
			if string(o.Value) != sv.Value || o.Kind.String() != sv.Kind || o.Label != sv.Label || o.Request != sv.Request || o.Age.Milliseconds() != sv.Age {
				t.Errorf("%s: %s %s %d %s", sv.Seal, o.Label, o.Kind, o.Request, o.Age)
			}
		}
	}
	_, verifier := keys(t, 7, "desk.example/landing-1")
	if _, err := OpenStatement([]byte(v.Statement), verifier); err != nil {
		t.Error(err)
	}
	if _, err := OpenReceipt([]byte(v.Receipt.Note), verifier); err != nil {
		t.Error(err)
	}
	if rows, err := ParseRegister([]string{v.Register.Header}); err != nil || !reflect.DeepEqual(rows, v.Register.Rows) {
		t.Error(rows, err)
	}
}

// The examples of docs/formats.md are out of the vectors.
func TestWorkedExample(t *testing.T) {
	doc, err := os.ReadFile("../../docs/formats.md")
	if err != nil {
		t.Fatal(err)
	}
	v := readVectors(t)
	k := v.Keys[0]
	short := func(s string) string { return s[:strings.Index(s, ";key=:")+len(";key=:")+8] }
	for what, want := range map[string]string{
		"key": k.Key, "id": k.ID, "context": k.Bytes, "seal": k.Seals[0].Seal, "header": short(k.Header), "header once held": k.Held,
		"register": v.Register.Header[:strings.Index(v.Register.Header, ", ")], "statement": v.Statement[strings.Index(v.Statement, "not-before"):],
		"beginning of the statement": v.Statement[:strings.Index(v.Statement, "kem ")], "receipt": v.Receipt.Note, "digest": v.Receipt.Digest, "verifier": v.Verifier,
	} {
		if !bytes.Contains(doc, []byte(want)) {
			t.Errorf("docs/formats.md does not have the %s:\n%s", what, want)
		}
	}
}
