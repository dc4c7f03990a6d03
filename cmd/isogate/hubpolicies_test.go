package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/isogate/isogate/internal/access"
)

// changedPack writes a pack that differs from the one in force: one rule of it ends
// earlier. It is an archive as an author has it, and its directory as it is deployed.
func (w *hubWorld) changedPack(t *testing.T) (archive, dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "pack")
	var text bytes.Buffer
	zipped := gzip.NewWriter(&text)
	out := tar.NewWriter(zipped)
	from := os.DirFS(filepath.Join(w.dir, "pack"))
	err := fs.WalkDir(from, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		file, err := fs.ReadFile(from, name)
		if err != nil {
			return err
		}
		switch name {
		case "pack.yaml":
			file = bytes.Replace(file, []byte("version: 1"), []byte("version: 2"), 1)
		case "transits/support-session.yaml":
			file = bytes.Replace(file, []byte("Personalises the support portal, owner: team-support, until: 2027-06-30}\n  query"),
				[]byte("Personalises the support portal, owner: team-support, until: 2027-03-31}\n  query"), 1)
		}
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), file, 0o600); err != nil {
			return err
		}
		if err := out.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(file)), ModTime: time.Unix(0, 0)}); err != nil {
			return err
		}
		_, err = out.Write(file)
		return err
	})
	if err == nil {
		err = out.Close()
	}
	if err == nil {
		err = zipped.Close()
	}
	archive = filepath.Join(t.TempDir(), "pack.tar.gz")
	if err == nil {
		err = os.WriteFile(archive, text.Bytes(), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return archive, dir
}

// proposal is the page of the change of policy that an author has proposed. Whoever
// needs it first has them propose it.
func (w *hubWorld) proposal() string {
	if w.proposed != "" {
		return w.proposed
	}
	t := w.t
	t.Helper()
	archive, dir := w.changedPack(t)
	b := w.as(t, access.PolicyAuthor)
	b.Open(hubURL + "/policies")
	b.Press("Propose a pack")
	b.Upload("#archive", archive)
	b.Type("Why", "nicknames are not needed for so long")
	b.Press("Check and propose")
	if !strings.HasPrefix(b.Where(), hubURL+"/proposals/sha256:") {
		t.Fatalf("proposing leads to %s: %s", b.Where(), b.Text())
	}
	sees(t, b, []string{"acme 2", "Proposed by paula@acme.example", "of its own tests pass", "from 1 Apr 2027", "Stricter or equal", "You have proposed this pack"}, nil)
	at, err := url.Parse(b.Where())
	if err != nil {
		t.Fatal(err)
	}
	w.proposed, w.proposedDir = at.Path, dir
	return w.proposed
}

// proposalFlow: who proposed a pack cannot approve it, even when an owner lets them approve;
// somebody else can, and it counts once it is deployed.
func (w *hubWorld) proposalFlow(t *testing.T) {
	at := w.proposal()
	author := w.as(t, access.PolicyAuthor)
	if status := author.Submit(hubURL+at+"/approve", url.Values{"reason": {"it is mine"}}); status != http.StatusForbidden {
		t.Errorf("an author's approval answers %d", status)
	}
	sees(t, author, []string{"the right to approve"}, nil)

	owner := w.as(t, access.Owner)
	owner.Open(hubURL + "/people")
	w.prove(owner, access.Owner)
	owner.Touch("Change paula@acme.example")
	give := owner.In(`form[action="/people/paula@acme.example/give"]`)
	give.Choose("Give a role", string(access.PolicyApprover))
	give.Press("Give it to paula@acme.example")
	author.Open(hubURL + at)
	w.prove(author, access.PolicyAuthor)
	author.Open(hubURL + at)
	sees(t, author, []string{"somebody else must approve it, whatever your roles"}, nil)
	if author.Has("Approve") {
		t.Error("who proposed a pack is offered to approve it")
	}
	against := author.Script(`(document.querySelector('input[name="against"]') || {value: ""}).value`)
	if status := author.Submit(hubURL+at+"/approve", url.Values{"reason": {"it is mine"}, "against": {against}}); status < http.StatusBadRequest {
		t.Errorf("who proposed a pack approves it: %d %s", status, author.Text())
	}
	author.Open(hubURL + at)
	sees(t, author, []string{"0 approvals."}, nil)

	viewer := w.as(t, access.Viewer)
	viewer.Open(hubURL + at)
	if viewer.Has("Approve") || viewer.Has("Reject it") || viewer.Has("Withdraw it") {
		t.Error("a viewer is offered to decide on a proposal")
	}

	approver := w.as(t, access.PolicyApprover)
	w.wait(6 * time.Minute)
	approver.Open(hubURL + "/policies")
	approver.In("section[aria-labelledby=waiting]").Press("acme 2")
	if approver.Has("Approve") {
		t.Error("with an old proof, an approval is offered")
	}
	w.prove(approver, access.PolicyApprover)
	approver.Type("Why you approve it", "agreed with the support team")
	approver.Press("Approve")
	sees(t, approver, []string{"1 approval, by petra@acme.example", "agreed with the support team"}, nil)

	// It is deployed, and the one before is kept: what it judged is explained by it.
	before := w.server.gate.Rules().Plan().Digest
	if err := os.CopyFS(filepath.Join(w.dir, "new"), os.DirFS(w.proposedDir)); err != nil {
		t.Fatal(err)
	}
	pack := filepath.Join(w.dir, "pack")
	if err := os.Rename(pack, filepath.Join(w.dir, "old")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(w.dir, "new"), pack); err != nil {
		t.Fatal(err)
	}
	w.server.reload(t.Context())
	if now := w.server.gate.Rules().Plan().Digest; now == before || !strings.HasSuffix(at, now) {
		t.Fatalf("in force is %s, not what was proposed at %s", now, at)
	}
	comesToSay(t, approver, hubURL+"/policies", "acme 1")
	approver.In("section[aria-labelledby=now]").Press("acme 2")
	sees(t, approver, []string{"acme 2"}, nil)
	approver.Open(hubURL + w.release())
	sees(t, approver, []string{"acme, version 1", before}, nil)
}

// playgroundFlow: an author picks a made-up request and sees what would leave of it. What they
// paste is nowhere afterwards.
func (w *hubWorld) playgroundFlow(t *testing.T) {
	b := w.as(t, access.PolicyAuthor)
	b.Open(hubURL + "/")
	b.Press("Playground")
	b.Choose("Transit", "support-session")
	b.Press("Choose")
	const secret = "zebra-crossing@private.example"
	b.Type("Path with query", "/v1/sessions")
	b.Set("#body", `{"user":{"email":"`+secret+`","nickname":"Countess"},"site":{"domain":"tickets.acme.example"}}`)
	b.Press("See what would leave")
	sees(t, b, []string{"What would leave", "user.email", "personal.contact.email", "user.nickname", "seal"}, nil)
	if strings.Contains(b.Where(), "zebra") {
		t.Errorf("what was pasted is in the address %s", b.Where())
	}
	entries, err := os.ReadDir(filepath.Join(w.dir, "state", "journal"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if text, err := os.ReadFile(filepath.Join(w.dir, "state", "journal", e.Name())); err == nil && bytes.Contains(text, []byte(secret)) {
			t.Errorf("what was pasted is in %s", e.Name())
		}
	}
	mayNotSee(t, w.as(t, access.Auditor), "/playground", "values")
}
