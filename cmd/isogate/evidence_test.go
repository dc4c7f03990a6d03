package main

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestAuditorTakesEvidence: from the running gateway an auditor takes a file by the API, and verifies it with
// the command and the public key alone; changed by a byte it does not verify, and the exports
// for other programs come with it.
//
// promise: P22
func TestAuditorTakesEvidence(t *testing.T) {
	s := newSite(t, "")
	s.edit(anyPort, anyPort+", administrators: [{name: ann, roles: [auditor], token_sha256: "+tokenSum("ann-token")+"}, {name: vic, roles: [viewer], token_sha256: "+tokenSum("vic-token")+"}]")
	s.start()
	for range 3 {
		if resp, body, err := s.post(`{"state":"open","title":"a secret title"}`); err != nil || resp.StatusCode != 200 {
			t.Fatalf("%v %v %s", err, resp, body)
		}
	}
	get := func(token, path string) (int, []byte) {
		t.Helper()
		r, err := http.NewRequest("GET", s.hub+"/api/v1"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		resp, err := (&http.Client{}).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, b
	}
	if status, b := get("vic-token", "/evidence"); status != http.StatusForbidden || bytes.HasPrefix(b, []byte("PK")) {
		t.Fatalf("a viewer gets %d %.80s", status, b)
	}
	if status, b := get("ann-token", "/evidence?since=soon"); status != http.StatusBadRequest {
		t.Fatalf("%d %s", status, b)
	}
	name, key := filepath.Join(s.dir, "evidence.zip"), filepath.Join(s.dir, "state", "keys", "isogate.pub")
	// What was let out is under a checkpoint within a second.
	var file []byte
	deadline := time.Now().Add(30 * time.Second)
	for {
		status, b := get("ann-token", "/evidence?since=2020-01-01")
		if status != http.StatusOK && status != http.StatusConflict {
			t.Fatalf("%d %s", status, b)
		}
		var said string
		if status == http.StatusOK {
			file = b
			s.write("evidence.zip", string(file))
			out, err := s.command("journal", "verify", name, "--key", key).CombinedOutput()
			if said = string(out); err != nil || !strings.Contains(said, "verified: evidence of acme") {
				t.Fatalf("%v\n%s", err, said)
			}
			if strings.Contains(said, "the pack sha256:") {
				t.Errorf("the pack that judged is missing:\n%s", said)
			}
		}
		if strings.Contains(said, "\n3 released") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d, and at last: %s", status, said)
		}
	}
	if bytes.Contains(file, []byte("secret")) {
		t.Error("the file has a value")
	}
	file[len(file)/2] ^= 1
	if err := os.WriteFile(name, file, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := s.command("journal", "verify", name, "--key", key).CombinedOutput(); err == nil || !strings.Contains(string(out), "does not verify") {
		t.Errorf("changed: %v\n%s", err, out)
	}
	for format, want := range map[string]string{"csv": "id,seq,time", "jsonl": `"kind":"egress"`, "ocsf": `"class_uid":4002`} {
		deadline := time.Now().Add(30 * time.Second)
		for {
			status, b := get("ann-token", "/entries/export?kind=egress&format="+format)
			if status == 200 && bytes.Contains(b, []byte(want)) && bytes.Contains(b, []byte("product/help-center")) {
				break
			}
			if time.Now().After(deadline) { // the projection is as far as the journal soon
				t.Fatalf("%s: %d %.200s", format, status, b)
			}
		}
	}
	if status, _ := get("vic-token", "/entries/export?format=csv"); status != http.StatusForbidden {
		t.Errorf("a viewer exports: %d", status)
	}
	s.stop(os.Interrupt)
	taken := 0
	for _, e := range s.entries() {
		if e.Act == "evidence exported" {
			taken++
			if e.Actor != "ann" || e.Detail["signed_in"] == "" || e.Detail["since"] != "2020-01-01T00:00:00Z" {
				t.Errorf("%+v", e)
			}
		}
	}
	if taken == 0 {
		t.Error("nobody is recorded to have taken it")
	}
}
