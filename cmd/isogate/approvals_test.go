package main

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/policy"
)

// hubAs calls the Hub's API as somebody of the configuration.
func (s *site) hubAs(who, method, path string, body []byte) (int, string) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.hub+"/api/v1"+path, bytes.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer token-of-"+who)
	r.Header.Set("Content-Type", "application/json")
	resp, err := (&http.Client{}).Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// packed is an archive of the site's pack, and its digest.
func (s *site) packed() (archive []byte, digest string) {
	s.t.Helper()
	files, err := policy.ReadFiles(filepath.Join(s.dir, "pack"))
	if err != nil {
		s.t.Fatal(err)
	}
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, src := range files.All() {
		w, err := z.Create(name)
		if err == nil {
			_, err = w.Write(src)
		}
		if err != nil {
			s.t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		s.t.Fatal(err)
	}
	return b.Bytes(), files.Digest()
}

// ATTACK: somebody who can write the pack's directory, or who both writes and
// approves policy, puts a pack in force that nobody else has looked at: by a reload, by
// a restart, by approving it themself.
// THIS TEST VERIFIES: with packs.approvals, serve loads a pack only once as many
// people who did not propose it have approved exactly it, and says why not; a reload keeps
// the last good one, a start is refused.
//
// promise: P09
func TestAttackUnapprovedPack(t *testing.T) {
	s := newSite(t, "")
	var people strings.Builder
	for name, roles := range map[string]string{"pam": "policy-author", "quin": "policy-approver", "ron": "policy-author, policy-approver"} {
		sum := sha256.Sum256([]byte("token-of-" + name))
		fmt.Fprintf(&people, "{name: %s, roles: [%s], token_sha256: %s}, ", name, roles, hex.EncodeToString(sum[:]))
	}
	config := func(approvals int) {
		text := s.read("isogate.yaml")
		text, _, _ = strings.Cut(text, "hub:")
		s.write("isogate.yaml", text+fmt.Sprintf("hub: {listen: \"127.0.0.1:0\", administrators: [%s]}\npacks: {approvals: %d}\n", people.String(), approvals))
	}
	propose := func(who string) string {
		archive, digest := s.packed()
		if status, body := s.hubAs(who, "POST", "/proposals?reason=why", archive); status != http.StatusOK || !strings.Contains(body, digest) {
			t.Fatalf("propose: %d %s", status, body)
		}
		return digest
	}
	approve := func(who, digest, against string) int {
		body, err := json.Marshal(map[string]string{"reason": "looked at it", "against": against})
		if err != nil {
			t.Fatal(err)
		}
		status, _ := s.hubAs(who, "POST", "/proposals/"+digest+"/approve", body)
		return status
	}

	// Before approvals are asked for, the pack in force is proposed and approved.
	config(0)
	s.start()
	first := propose("pam")
	if status := approve("quin", first, first); status != http.StatusOK {
		t.Fatalf("approve: %d", status)
	}
	if status := s.stop(syscall.SIGTERM); status != 0 {
		t.Fatalf("exit status %d", status)
	}
	config(1)
	s.start()
	// The second is on the disk, and proposed by somebody who may also approve.
	s.write("pack/pack.yaml", "pack: test\nversion: 2\n")
	s.hangup()
	if line := s.await("not reloaded"); !strings.Contains(line, "nobody has proposed it") {
		t.Errorf("%s", line)
	}
	second := propose("ron")
	s.hangup()
	if line := s.await("not reloaded"); !strings.Contains(line, "of 1 person who did not propose it, 0 approved it") {
		t.Errorf("%s", line)
	}
	if status := approve("ron", second, first); status != http.StatusForbidden {
		t.Errorf("approved by its author: %d", status)
	}
	s.hangup()
	s.await("not reloaded")
	if resp, body, err := s.post(`{"state":"open"}`); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("the last good pack does not judge: %v %v %s", err, resp, body)
	}
	if status := approve("quin", second, first); status != http.StatusOK {
		t.Errorf("approve: %d", status)
	}
	s.hangup()
	s.await("msg=reloaded")
	if status := s.stop(syscall.SIGTERM); status != 0 {
		t.Errorf("exit status %d", status)
	}
	var refused []string
	for _, e := range s.entries() {
		if e.Act == "pack refused" {
			refused = append(refused, e.Detail["refused"])
			if e.Pack != first || !strings.Contains(e.Reason, "not approved") {
				t.Errorf("%+v", e)
			}
		}
	}
	if !slices.Equal(refused, []string{second, second, second}) {
		t.Errorf("refused: %v, want %s three times", refused, second)
	}
	if !slices.ContainsFunc(s.entries(), func(e isogate.Entry) bool { return e.Act == "pack loaded" && e.Pack == second }) {
		t.Error("the second was never loaded")
	}
	// A third that nobody has seen does not start; one that was approved does.
	s.write("pack/pack.yaml", "pack: test\nversion: 3\n")
	_, third := s.packed()
	if out := s.fails(); !strings.Contains(out, third+" is not approved: nobody has proposed it") || !strings.Contains(out, "propose exactly these files at the Hub") {
		t.Errorf("started, or said: %s", out)
	}
	s.write("pack/pack.yaml", "pack: test\nversion: 2\n")
	s.start()
	if status := s.stop(syscall.SIGTERM); status != 0 {
		t.Errorf("exit status %d", status)
	}
}

func (s *site) read(name string) string {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(s.dir, name))
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text)
}
