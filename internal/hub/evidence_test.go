package hub

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/rand"
	"html"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/access"
	"github.com/isogate/isogate/internal/evidence"
	"github.com/isogate/isogate/internal/journal"
	"github.com/isogate/isogate/internal/policy"
)

// realJournal is a journal on a disk, as the Hub has it.
func realJournal(t *testing.T) (j *journal.Journal, vkey string) {
	t.Helper()
	secret, vkey, err := note.GenerateKey(rand.Reader, "isogate/acme")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(secret)
	if err != nil {
		t.Fatal(err)
	}
	if j, err = journal.Open(t.Context(), journal.Config{Dir: t.TempDir(), Tenant: "acme", Signer: signer, Verifier: vkey, SealEvery: time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- j.Run(ctx) }()
	t.Cleanup(sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		_ = j.Close()
	}))
	return j, vkey
}

// fullJournal takes nothing more.
type fullJournal struct{ Journal }

func (fullJournal) Append(context.Context, *isogate.Entry) error { return io.ErrShortWrite }

type nothingKept struct{}

func (nothingKept) Files(string) (*policy.Files, error) { return nil, io.EOF }

// TestEvidencePage: whoever may export chooses a period, sees what is in it, and gets a file that
// verifies; that they took it is recorded first, and what cannot be recorded is not given.
func TestEvidencePage(t *testing.T) {
	s := newSeat(t)
	j, vkey := realJournal(t)
	s.hub.journal = j
	s.hub.evidence = evidence.Maker{Journal: j.Reader, Packs: nothingKept{}, Note: func(*isogate.Entry) ([]byte, error) { return nil, io.EOF }, Release: "test"}
	e := &isogate.Entry{Kind: isogate.KindAdmin, Act: "signed in", Actor: "ann"}
	if err := j.Append(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := j.Prove(t.Context(), e.ID); err == nil {
			break
		}
	}
	s.left.count.Rows = 1
	take := func(form url.Values) *http.Response {
		t.Helper()
		r, err := http.NewRequest("POST", s.server.URL+"/evidence", strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		resp, err := s.server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = resp.Body.Close() })
		return resp
	}
	for _, role := range []access.Role{access.Viewer, access.ConsentAdministrator, access.PolicyAuthor, access.Operator} {
		s.sit("vic", role)
		if p := s.get("/evidence"); p.status != http.StatusForbidden {
			t.Errorf("a %s sees the page: %d", role, p.status)
		}
		if resp := take(url.Values{}); resp.StatusCode != http.StatusForbidden {
			t.Errorf("a %s gets the file: %d", role, resp.StatusCode)
		}
	}
	s.sit("ann", access.Auditor)
	p := s.get("/evidence?since=2026-01-01")
	if p.status != 200 || !strings.Contains(p.body, "evidence-from-20260101T000000Z.zip") || !strings.Contains(html.UnescapeString(p.body), vkey) || !strings.Contains(p.body, "Nobody took evidence") {
		t.Errorf("the page: %d\n%s", p.status, p.body)
	}
	for _, bad := range []string{"/evidence?since=yesterday", "/evidence?since=2026-02-01&until=2026-01-01", "/evidence?until=31.1.2026"} {
		if p := s.get(bad); p.status != http.StatusBadRequest || strings.Contains(p.body, "Download") || !strings.Contains(p.body, `role="alert"`) {
			t.Errorf("%s: %d", bad, p.status)
		}
	}
	if resp := take(url.Values{"since": {"2001-01-01"}, "until": {"2001-01-02"}}); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("a period without entries: %d", resp.StatusCode)
	}
	if resp := take(url.Values{"since": {""}, "more": {"1"}}); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("a field that the form has not: %d", resp.StatusCode)
	}
	if list, err := j.List(t.Context(), journal.Filter{Act: actEvidence}); err != nil || len(list) != 0 {
		t.Fatalf("recorded before anything was given: %v, %v", list, err)
	}
	resp := take(url.Values{"since": {"2026-01-01"}, "until": {""}})
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "application/zip" || !strings.Contains(resp.Header.Get("Content-Disposition"), "evidence-from-20260101T000000Z.zip") {
		t.Fatalf("%d %v %v", resp.StatusCode, resp.Header, err)
	}
	v, err := evidence.Verify(bytes.NewReader(b), int64(len(b)), vkey, nil)
	if err != nil || v.Count != 1 {
		t.Errorf("it does not verify: %v", err)
	}
	list, err := j.List(t.Context(), journal.Filter{Act: actEvidence})
	if err != nil || len(list) != 1 || list[0].Actor != "ann" || list[0].Detail[inSignedIn] != "passkey" || list[0].Detail["since"] != "2026-01-01T00:00:00Z" || list[0].Detail["before"] != "" {
		t.Errorf("recorded: %+v, %v", list, err)
	}
	if p := s.get("/evidence"); !strings.Contains(p.body, string(list[0].ID)) {
		t.Error("the page does not say who took it")
	}
	s.hub.journal = fullJournal{j}
	resp = take(url.Values{})
	if b, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusServiceUnavailable || bytes.Contains(b, []byte("PK")) {
		t.Errorf("what cannot be recorded is given: %d", resp.StatusCode)
	}
}

// TestAttackEvidenceFromAnotherSite: attack: a page of another site has an auditor's browser take copies, and
// fill the journal with it.
func TestAttackEvidenceFromAnotherSite(t *testing.T) {
	s := newSeat(t)
	s.sit("ann", access.Auditor)
	r, err := http.NewRequest("POST", s.server.URL+"/evidence", strings.NewReader(""))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	resp, err := s.server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden {
		t.Errorf("status %d", resp.StatusCode)
	}
}

// TestEvidenceThatBreaksOff: whoever gets a file that is not whole sees that it is not.
func TestEvidenceThatBreaksOff(t *testing.T) {
	s := newSeat(t)
	j, _ := realJournal(t)
	s.hub.journal = j
	lines := 0
	for lines < 3000 {
		if err := j.AppendLater(&isogate.Entry{Kind: isogate.KindLanding, Act: "receipt", Destination: "far", Detail: map[string]string{"note": rand.Text() + rand.Text()}}); err != nil {
			t.Fatal(err)
		}
		lines++
	}
	e := &isogate.Entry{Kind: isogate.KindAdmin, Act: "the last one"}
	if err := j.Append(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := j.Prove(t.Context(), e.ID); err == nil {
			break
		}
	}
	// The receipts are read when much of the file has left, and then the journal is gone.
	var once sync.Once
	s.hub.evidence = evidence.Maker{Journal: j.Reader, Packs: nothingKept{}, Release: "test",
		Note: func(*isogate.Entry) ([]byte, error) {
			once.Do(func() { _ = j.Reader.Close() })
			return []byte("a note"), nil
		}}
	s.sit("ann", access.Auditor)
	resp, err := s.server.Client().Post(s.server.URL+"/evidence", "application/x-www-form-urlencoded", nil)
	if err != nil {
		return // broken off before its head: said as well
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil {
		t.Errorf("%d bytes came, as if that were all", len(b))
	}
	if _, err := zip.NewReader(bytes.NewReader(b), int64(len(b))); err == nil {
		t.Error("it can be opened")
	}
}
