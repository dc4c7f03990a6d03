package hub

import (
	"archive/zip"
	"bytes"
	"context"
	"fmt"
	"html"
	"io"
	"log/slog"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/access"
	"github.com/isogate/isogate/internal/archive"
	"github.com/isogate/isogate/internal/change"
	"github.com/isogate/isogate/internal/consent"
	"github.com/isogate/isogate/internal/policy"
	"github.com/isogate/isogate/internal/trail"
)

// packsOf is the journal as what knows of changes of policy sees it.
type packsOf struct{ *memory }

func (j packsOf) Follow(ctx context.Context, from uint64, every time.Duration, f func(change.Batch) error) error {
	return j.memory.follow(ctx, isogate.KindPack, from, every, func(b consent.Batch) error { return f(change.Batch(b)) })
}

// bureau is a Hub with packs: one in force, an archive, and a book of changes. Pam
// proposes, quin approves, ron does both, vera reads, and dan has every role.
type bureau struct {
	*office // whose API it is
	archive *archive.Archive
	book    *change.Book
	inForce *policy.Pack
	site    *httptest.Server
	log     quiet // what was logged
	proved  time.Time
}

var bureauRoles = map[string][]access.Role{"pam": {access.PolicyAuthor}, "quin": {access.PolicyApprover}, "ron": {access.PolicyAuthor, access.PolicyApprover},
	"vera": {access.Viewer}, "dan": access.Roles}

// hostileText is what somebody hostile writes into a pack.
const hostileText = `"><script>alert(1)</script><img src=x onerror=alert(2)>{{.}}`

// packFiles is a small pack with everything that pages show, of a version.
func packFiles(version int, as string) map[string]string {
	return map[string]string{
		"pack.yaml":         fmt.Sprintf("pack: acme\nversion: %d\ndescription: %q\n", version, "Of acme "+hostileText),
		"destinations.yaml": "destinations:\n  - {name: portal, url: https://portal.example}\n  - {name: api, remote: api.example.com}\n",
		"contracts/c.yaml":  "contract: c\nformat: json\nfields:\n  email: personal.contact.email\n  title: ugc.title\n",
		"transits/session.yaml": "transit: session\ndescription: \"A session\"\npurpose: support\nsource: [product/help]\ndestination: portal\nconsent: none\nmatch: [POST /v1/sessions, \"GET /v1/users/{id}\"]\n" +
			"request:\n  contract: c\n  path: {id: identifier.user.account_id}\n  query: {tab: system.metadata}\n  release:\n" +
			fmt.Sprintf("    - {label: personal.contact.email, as: %s, handling: persisted, because: %q, owner: %q, until: 2099-12-31}\n", as, "For tickets "+hostileText, "team "+hostileText) +
			"    - {label: ugc.title, as: mask, because: Shown, owner: team, until: 2020-01-01}\n",
		"transits/tunnel.yaml": "transit: tunnel\npurpose: app\nsource: [app/x]\ndestination: api\nconsent: admin\nmode: tunnel\nbecause: Pinned\nowner: team\nuntil: 2099-12-31\n",
		"never.yaml":           fmt.Sprintf("- never: {label: security.secret.**, as: allow, purpose: support}\n  because: %q\n", hostileText),
		"tests/a.yaml": fmt.Sprintf("- test: %q\n  transit: session\n  method: POST\n  path: /v1/sessions\n  input: {email: ada@example.com, title: Hi}\n  expect: {output: {email: %s, title: $any}}\n", "mail leaves "+hostileText,
			map[string]string{"allow": "ada@example.com", "mask": "$any", "token": "$token"}[as]),
		"tests/odd <b>name.txt": "x",
	}
}

func zipOf(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, text := range files {
		w, err := z.Create(name)
		if err == nil {
			_, err = io.WriteString(w, text)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func filesOfPack(t *testing.T, files map[string]string) *policy.Files {
	t.Helper()
	contents := map[string][]byte{}
	for name, text := range files {
		contents[name] = []byte(text)
	}
	f, err := policy.NewFiles(contents)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// checked is a pack without rules that have ended, as one that is proposed must be.
func checked(files map[string]string) map[string]string {
	before, _, _ := strings.Cut(files["transits/session.yaml"], "    - {label: ugc.title")
	files["transits/session.yaml"] = before
	return files
}

func newBureau(t *testing.T, approvals int) *bureau {
	t.Helper()
	o := newOffice(t)
	b := &bureau{office: o, proved: time.Now()}
	var err error
	if b.archive, err = archive.New(filepath.Join(t.TempDir(), "packs")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.archive.Close() })
	files := filesOfPack(t, packFiles(1, "mask"))
	if _, err := b.archive.Put(files); err != nil {
		t.Fatal(err)
	}
	if b.inForce, err = files.Load(); err != nil {
		t.Fatal(err)
	}
	b.book = change.New(packsOf{o.journal})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.book.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	if _, err := b.book.Do(t.Context(), change.Act{What: change.Loaded, Actor: change.Actor{Name: "isogate serve"}, Pack: b.inForce.Plan().Digest, Name: "acme", Version: 1}); err != nil {
		t.Fatal(err)
	}
	var people []access.Configured
	for name, roles := range bureauRoles {
		people = append(people, access.Configured{Name: name, Roles: roles, TokenSHA256: sum("token-of-" + name)})
	}
	desk := newDesk(t, o.journal, people...)
	logger := slog.New(slog.NewTextHandler(&b.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	b.hub, err = New(Config{Tenant: "acme", Ledger: o.ledger, Describe: o.hub.describe, Desk: desk, Logger: logger,
		Policies: Policies{InForce: func() *policy.Pack { return b.inForce }, Archive: b.archive, Changes: b.book, Approvals: approvals},
		Visitor: func(r *http.Request) (access.Visitor, error) {
			name := r.Header.Get("Test-Visitor")
			if bureauRoles[name] == nil {
				return access.Visitor{}, access.ErrNobody
			}
			return access.Visitor{Name: name, SignedIn: "passkey", Roles: bureauRoles[name], Session: "s", Proved: b.proved}, nil
		}})
	if err != nil {
		t.Fatal(err)
	}
	b.site = httptest.NewServer(b.hub.Pages())
	t.Cleanup(b.site.Close)
	o.hub, o.api = b.hub, b.hub.API()
	return b
}

// quiet is a log that may be written from many goroutines.
type quiet struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (q *quiet) Write(p []byte) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.b.Write(p)
}

func (q *quiet) String() string {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.b.String()
}

// visit asks for a page as somebody, or posts a form to it.
func (b *bureau) visit(who, method, path, kind string, body []byte) (*http.Response, string) {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), method, b.site.URL+path, bytes.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("Test-Visitor", who)
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	client := &http.Client{Transport: b.site.Client().Transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return resp, string(text)
}

// page is a page that must be there, and harmless.
func (b *bureau) page(who, path string, words ...string) string {
	b.t.Helper()
	resp, text := b.visit(who, "GET", path, "", nil)
	if resp.StatusCode != http.StatusOK {
		b.t.Errorf("GET %s as %s: %d %s", path, who, resp.StatusCode, plainText(text))
	}
	b.harmless(path, text)
	for _, w := range words {
		if !strings.Contains(plainText(text), w) {
			b.t.Errorf("GET %s does not say %q: %s", path, w, plainText(text))
		}
	}
	return text
}

var (
	tagsOf     = regexp.MustCompile(`<[^>]*>`)
	inlineOf   = regexp.MustCompile(`(?i)<[^>]*\s(on[a-z]+|style)\s*=`)
	scriptOf   = regexp.MustCompile(`(?i)<script[^>]*>`)
	linksOf    = regexp.MustCompile(`(?i)(?:href|action|src)="([^"]*)"`)
	quotedOf   = regexp.MustCompile(`"[^"<>]*"`)
	spacesOf   = regexp.MustCompile(`\s+`)
	anyHeading = regexp.MustCompile(`<h1>`)
)

func plainText(page string) string {
	return spacesOf.ReplaceAllString(html.UnescapeString(tagsOf.ReplaceAllString(page, " ")), " ")
}

// harmless checks that nothing of what somebody hostile wrote has become markup.
func (b *bureau) harmless(path, text string) {
	b.t.Helper()
	for _, s := range scriptOf.FindAllString(text, -1) {
		if !strings.Contains(s, `src="/assets/`) {
			b.t.Errorf("%s has the script %s", path, s)
		}
	}
	if m := inlineOf.FindString(quotedOf.ReplaceAllString(text, `""`)); m != "" || strings.Contains(text, "<img") || strings.Contains(text, "<b>") {
		b.t.Errorf("%s has markup of others: %q", path, m)
	}
	for _, m := range linksOf.FindAllStringSubmatch(text, -1) {
		if to := html.UnescapeString(m[1]); !strings.HasPrefix(to, "/") && !strings.HasPrefix(to, "#") || strings.HasPrefix(to, "//") {
			b.t.Errorf("%s links to %q", path, to)
		}
	}
	if n := len(anyHeading.FindAllString(text, -1)); n != 1 {
		b.t.Errorf("%s has %d first headings", path, n)
	}
}

// post sends a form.
func (b *bureau) post(who, path string, fields ...string) (*http.Response, string) {
	b.t.Helper()
	v := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		v.Set(fields[i], fields[i+1])
	}
	return b.visit(who, "POST", path, "application/x-www-form-urlencoded", []byte(v.Encode()))
}

// propose sends the form with an archive.
func (b *bureau) propose(who, reason string, archive []byte) (*http.Response, string) {
	b.t.Helper()
	var body bytes.Buffer
	m := multipart.NewWriter(&body)
	w, err := m.CreateFormFile("archive", "pack.zip")
	if err == nil {
		_, err = w.Write(archive)
	}
	if err == nil {
		err = m.WriteField("reason", reason)
	}
	if err == nil {
		err = m.Close()
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return b.visit(who, "POST", "/proposals", m.FormDataContentType(), body.Bytes())
}

// proposed is a pack that somebody has proposed by the form.
func (b *bureau) proposed(who string, files map[string]string) string {
	b.t.Helper()
	resp, text := b.propose(who, "support needs it "+hostileText, zipOf(b.t, files))
	to := resp.Header.Get("Location")
	if resp.StatusCode != http.StatusSeeOther || !strings.HasPrefix(to, "/proposals/sha256:") {
		b.t.Fatalf("propose as %s: %d %q %s", who, resp.StatusCode, to, plainText(text))
	}
	digest, _, _ := strings.Cut(strings.TrimPrefix(to, "/proposals/"), "?")
	return digest
}

// TestPackIsProposedApprovedAndShown goes from an archive to a pack that gateways load.
//
// promise: P09
func TestPackIsProposedApprovedAndShown(t *testing.T) {
	b := newBureau(t, 1)
	now := b.inForce.Plan().Digest
	b.page("vera", "/policies", "acme 1", now, "No proposal waits", "1 is needed", "would not load it")
	looser := b.proposed("pam", checked(packFiles(2, "allow")))
	b.page("vera", "/policies", "acme 2", "proposed")
	b.page("vera", "/proposals", "acme 2", "pam", "0 of 1")
	text := b.page("vera", "/proposals/"+looser, "More exposing", "email", "mask", "allow", "All 1 of its own tests pass", "no mistakes", "Gateways do not load it yet", "pack proposed by pam", "support needs it")
	if strings.Contains(text, "/approve") || strings.Contains(text, "/withdraw") {
		t.Error("a viewer is offered to decide")
	}
	if text = b.page("pam", "/proposals/"+looser, "somebody else must approve it"); strings.Contains(text, "/approve") || !strings.Contains(text, "/withdraw") {
		t.Error("the author may approve, or not withdraw")
	}
	if err := b.book.State().Approved(looser, 1); err == nil {
		t.Error("a gateway would load what nobody approved")
	}
	// Who approves says which comparison they saw.
	if resp, _ := b.post("quin", "/proposals/"+looser+"/approve", "reason", "ok", "against", looser); resp.StatusCode != http.StatusConflict {
		t.Errorf("approved against another pack: %d", resp.StatusCode)
	}
	if resp, text := b.post("quin", "/proposals/"+looser+"/approve", "reason", "", "against", now); resp.StatusCode != http.StatusBadRequest || !strings.Contains(plainText(text), "the reason is missing") {
		t.Errorf("approved without a reason: %d %s", resp.StatusCode, plainText(text))
	}
	if resp, text := b.post("quin", "/proposals/"+looser+"/approve", "reason", "looked at it", "against", now); resp.StatusCode != http.StatusSeeOther {
		t.Fatalf("approve: %d %s", resp.StatusCode, plainText(text))
	}
	b.page("vera", "/proposals/"+looser, "approved", "quin", "looked at it", "The Hub puts no pack in force")
	if err := b.book.State().Approved(looser, 1); err != nil {
		t.Error(err)
	}
	// The act is in the journal whole.
	var acts []isogate.Entry
	b.journal.mu.Lock()
	for _, e := range b.journal.entries {
		if e.Kind == isogate.KindPack && e.Pack == looser {
			acts = append(acts, e)
		}
	}
	b.journal.mu.Unlock()
	if len(acts) != 2 || acts[0].Act != "pack proposed" || acts[0].Actor != "pam" || acts[1].Act != "pack approved" || acts[1].Actor != "quin" || acts[1].Detail["signed_in"] != "passkey" ||
		acts[1].Detail["effect"] != "more exposing" || acts[1].Detail["against"] != now || acts[1].Reason != "looked at it" {
		t.Errorf("%+v", acts)
	}
	// What is in force is the gateway's to say: once it is deployed, the Hub shows it so.
	p, err := b.archive.Open(looser)
	if err != nil {
		t.Fatal(err)
	}
	b.inForce = p
	if _, err := b.book.Do(t.Context(), change.Act{What: change.Loaded, Actor: change.Actor{Name: "isogate serve"}, Pack: looser, Name: "acme", Version: 2}); err != nil {
		t.Fatal(err)
	}
	b.page("vera", "/policies", "acme 2", "quin", "In force before", "acme 1")
	if resp, _ := b.post("quin", "/proposals/"+looser+"/reject", "reason", "no"); resp.StatusCode != http.StatusConflict {
		t.Errorf("what is in force was rejected: %d", resp.StatusCode)
	}
}

// TestRejectedAndWithdrawn: each ends a proposal, and it can be proposed again.
func TestRejectedAndWithdrawn(t *testing.T) {
	b := newBureau(t, 1)
	files := checked(packFiles(2, "token"))
	digest := b.proposed("pam", files)
	b.page("quin", "/proposals/"+digest, "Stricter or equal", "Reject it")
	if resp, _ := b.post("quin", "/proposals/"+digest+"/reject", "reason", "not now"); resp.StatusCode != http.StatusSeeOther {
		t.Fatalf("reject: %d", resp.StatusCode)
	}
	b.page("vera", "/proposals/"+digest, "rejected", "not now", "has ended")
	if resp, _ := b.post("quin", "/proposals/"+digest+"/approve", "reason", "yes", "against", b.inForce.Plan().Digest); resp.StatusCode != http.StatusConflict {
		t.Errorf("approved after its end: %d", resp.StatusCode)
	}
	if again := b.proposed("pam", files); again != digest {
		t.Errorf("%s, was %s", again, digest)
	}
	if resp, _ := b.propose("pam", "once more", zipOf(t, files)); resp.StatusCode != http.StatusConflict {
		t.Errorf("proposed twice: %d", resp.StatusCode)
	}
	if resp, _ := b.post("ron", "/proposals/"+digest+"/withdraw", "reason", "not mine"); resp.StatusCode != http.StatusConflict {
		t.Errorf("withdrawn by another: %d", resp.StatusCode)
	}
	if resp, _ := b.post("pam", "/proposals/"+digest+"/withdraw", "reason", "a mistake"); resp.StatusCode != http.StatusSeeOther {
		t.Errorf("withdraw: %d", resp.StatusCode)
	}
	b.page("vera", "/proposals/"+digest, "withdrawn", "a mistake")
}

// TestAttackApprovingOnesOwn: attack: who proposed a pack approves it: with both roles, with every
// role, by the API instead of the page, after somebody else has proposed the same, and
// with the digest of a pack that was never proposed. Nothing of that counts, whatever the
// pages show.
//
// promise: P09
func TestAttackApprovingOnesOwn(t *testing.T) {
	b := newBureau(t, 1)
	against := b.inForce.Plan().Digest
	for i, who := range []string{"ron", "dan"} {
		digest := b.proposed(who, checked(packFiles(10+i, "token")))
		if resp, text := b.post(who, "/proposals/"+digest+"/approve", "reason", "mine", "against", against); resp.StatusCode != http.StatusForbidden || !strings.Contains(text, "somebody else must approve") {
			t.Errorf("%s by the page: %d", who, resp.StatusCode)
		}
		body := fmt.Sprintf(`{"reason":"mine","against":%q}`, against)
		b.as(who, "POST", "/proposals/"+digest+"/approve", body).want(403, "somebody else")
		if err := b.book.State().Approved(digest, 1); err == nil {
			t.Errorf("%s has approved their own", who)
		}
	}
	// The same digest, proposed by two: neither counts.
	files := checked(packFiles(20, "token"))
	digest := b.proposed("ron", files)
	if again := b.proposed("dan", files); again != digest {
		t.Fatal("the digests differ")
	}
	for _, who := range []string{"ron", "dan"} {
		b.as(who, "POST", "/proposals/"+digest+"/approve", fmt.Sprintf(`{"reason":"the other's","against":%q}`, against)).want(403)
	}
	// Approved first, and proposed afterwards by the same person: the approval counts no more.
	files = checked(packFiles(21, "token"))
	digest = b.proposed("pam", files)
	b.as("ron", "POST", "/proposals/"+digest+"/approve", fmt.Sprintf(`{"reason":"fine","against":%q}`, against)).want(200, "pack approved")
	if err := b.book.State().Approved(digest, 1); err != nil {
		t.Fatal(err)
	}
	b.proposed("ron", files)
	if err := b.book.State().Approved(digest, 1); err == nil {
		t.Error("who approved it has proposed it since, and the approval still counts")
	}
	b.page("vera", "/proposals/"+digest, "does not count")
	never := filesOfPack(t, packFiles(30, "allow")).Digest()
	b.as("quin", "POST", "/proposals/"+never+"/approve", fmt.Sprintf(`{"reason":"x","against":%q}`, against)).want(404, "nobody has proposed")
	if resp, _ := b.post("quin", "/proposals/..%2F..%2Fetc/approve", "reason", "x", "against", against); resp.StatusCode != http.StatusNotFound {
		t.Errorf("no digest: %d", resp.StatusCode)
	}
}

// as calls the API with somebody's token.
func (b *bureau) as(who, method, path, body string) result {
	b.t.Helper()
	r := httptest.NewRequest(method, Prefix+path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer token-of-"+who)
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/json")
		if strings.HasPrefix(body, "PK") {
			r.Header.Set("Content-Type", "application/octet-stream")
		}
	}
	return b.send(r)
}

// TestAttackApprovingWithoutProof: attack: somebody sits down at the open browser of an
// approver. Without a proof of who they are nothing is approved.
func TestAttackApprovingWithoutProof(t *testing.T) {
	b := newBureau(t, 1)
	digest := b.proposed("pam", checked(packFiles(2, "token")))
	b.proved = time.Now().Add(-time.Hour)
	if text := b.page("quin", "/proposals/"+digest, "Confirm that it is you"); strings.Contains(text, "/approve\"") {
		t.Error("the form is offered without a proof")
	}
	resp, _ := b.post("quin", "/proposals/"+digest+"/approve", "reason", "x", "against", b.inForce.Plan().Digest)
	if to := resp.Header.Get("Location"); resp.StatusCode != http.StatusSeeOther || !strings.HasPrefix(to, "/signin/again?") || !strings.Contains(to, url.QueryEscape("/proposals/"+digest)) {
		t.Errorf("%d to %q", resp.StatusCode, to)
	}
	if err := b.book.State().Approved(digest, 1); err == nil {
		t.Error("it is approved")
	}
}

// TestPolicyRights: who may not, may not: by pages and by the API.
func TestPolicyRights(t *testing.T) {
	b := newBureau(t, 1)
	digest := b.proposed("pam", checked(packFiles(2, "token")))
	against := b.inForce.Plan().Digest
	for who, may := range map[string][4]bool{"vera": {}, "pam": {true, false, true, true}, "quin": {false, true, false, true}} {
		resp, _ := b.propose(who, "x", []byte("PK"))
		if got := resp.StatusCode != http.StatusForbidden; got != may[0] {
			t.Errorf("%s proposes: %t", who, got)
		}
		resp, _ = b.post(who, "/proposals/"+digest+"/reject", "reason", "")
		if got := resp.StatusCode != http.StatusForbidden; got != may[1] {
			t.Errorf("%s rejects: %t", who, got)
		}
		resp, _ = b.post(who, "/proposals/"+digest+"/withdraw", "reason", "")
		if got := resp.StatusCode != http.StatusForbidden; got != may[2] {
			t.Errorf("%s withdraws: %t", who, got)
		}
		for _, method := range []string{"GET", "POST"} {
			resp, _ = b.visit(who, method, "/playground", "application/x-www-form-urlencoded", nil)
			if got := resp.StatusCode != http.StatusForbidden; got != may[3] {
				t.Errorf("%s uses the playground: %t", who, got)
			}
		}
		for path, right := range map[string]int{"/proposals?reason=x": 0, "/proposals/" + digest + "/reject": 1, "/proposals/" + digest + "/withdraw": 2, "/preview": 3} {
			if got := b.as(who, "POST", path, "{}").status != http.StatusForbidden; got != may[right] {
				t.Errorf("%s may POST %s: %t", who, path, got)
			}
		}
		b.as(who, "POST", "/proposals/"+digest+"/approve", fmt.Sprintf(`{"reason":"","against":%q}`, against))
	}
	if err := b.book.State().Approved(digest, 1); err == nil {
		t.Error("something of that approved it")
	}
	if resp, _ := b.visit("nobody", "GET", "/policies", "", nil); resp.StatusCode != http.StatusSeeOther {
		t.Errorf("nobody sees policies: %d", resp.StatusCode)
	}
}

// TestAttackHostilePacks: attack: a pack has markup in its reasons, owners, descriptions, tests
// and file names. Nothing of it is markup on any page, and addresses stay the Hub's own.
func TestAttackHostilePacks(t *testing.T) {
	b := newBureau(t, 1)
	digest := b.proposed("pam", checked(packFiles(2, "allow")))
	for _, d := range []string{digest, b.inForce.Plan().Digest} {
		b.page("dan", "/policies/"+d, "session", "tunnel", "never security.secret.** as allow")
		b.page("dan", "/policies/"+d+"/transits/session", "personal.contact.email", "For tickets", "Any other field")
		b.page("dan", "/policies/"+d+"/transits/tunnel", "every byte passes unread", "Pinned")
		b.page("dan", "/policies/"+d+"/tests", "mail leaves")
		b.page("dan", "/policies/"+d+"/compare")
		b.page("dan", "/policies/"+d+"/files/transits/session.yaml", "For tickets")
		b.page("dan", fileLink(d, "tests/odd <b>name.txt"))
		b.page("dan", "/playground?pack="+d+"&transit=session&sample=0", "ada@example.com", "mail leaves")
	}
	b.page("dan", "/proposals/"+digest, "For tickets")
	b.page("dan", "/policies/"+b.inForce.Plan().Digest+"/transits/session", "ended")
	b.page("dan", "/proposals")
	b.page("dan", "/policies")
	page := b.page("dan", "/policies/"+digest+"/transits/session")
	if link := ruleLink(digest, "transits/session.yaml:13"); !strings.Contains(page, `href="`+link+`"`) {
		t.Errorf("the rule does not link to its line %s", link)
	}
	if page = b.page("dan", ruleLink(digest, "transits/session.yaml:13")); !strings.Contains(page, `id="L13"`) {
		t.Error("the line has no anchor")
	}
	for _, path := range []string{"/policies/" + digest + "/files/..%2F..%2Fetc%2Fpasswd", "/policies/" + digest + "/files/none.yaml", "/policies/sha256:" + strings.Repeat("0", 64), "/policies/sha256:zz", "/policies/" + digest + "/transits/none", "/policies/" + digest + "/transits/%3Cscript%3E",
		"/proposals/" + b.inForce.Plan().Digest, "/playground?pack=x&transit=session", "/playground?transit=%3Cscript%3E"} {
		if resp, text := b.visit("dan", "GET", path, "", nil); resp.StatusCode != http.StatusNotFound {
			t.Errorf("GET %s: %d", path, resp.StatusCode)
		} else {
			b.harmless(path, text)
		}
	}
}

// TestAttackHostileProposals: attack: what is proposed is no archive, leads out, has mistakes, or
// fails its own tests. It is refused with places, and neither kept nor recorded.
func TestAttackHostileProposals(t *testing.T) {
	b := newBureau(t, 1)
	before := b.journal.count()
	mistaken := checked(packFiles(2, "allow"))
	mistaken["pack.yaml"] = "pack: acme\nversion: one\n" + `"<script>": 1` + "\n"
	failing := checked(packFiles(2, "allow"))
	failing["tests/a.yaml"] = strings.Replace(failing["tests/a.yaml"], "email: ada@example.com, title: $any", "email: eve@example.com, title: $any", 1)
	out := checked(packFiles(2, "allow"))
	out["../out.yaml"] = "x"
	for name, c := range map[string]struct {
		archive []byte
		words   string
	}{
		"no archive":    {[]byte("hello"), "neither ZIP nor tar.gz"},
		"nothing":       {nil, "there is no archive"},
		"mistakes":      {zipOf(t, mistaken), "mistakes"},
		"leads out":     {zipOf(t, out), "no plain path"},
		"failing tests": {zipOf(t, failing), "of its own 1 tests, 1 fail"},
		"an ended rule": {zipOf(t, packFiles(2, "allow")), "1 mistake"},
		"large":         {append([]byte("PK\x03\x04"), make([]byte, policy.MaxUpload)...), "larger than 16 MiB"},
	} {
		resp, text := b.propose("pam", "because "+hostileText, c.archive)
		if resp.StatusCode/100 != 4 || !strings.Contains(plainText(text), c.words) {
			t.Errorf("%s: %d %s", name, resp.StatusCode, plainText(text))
		}
		b.harmless(name, text)
		if len(c.archive) > 0 {
			b.as("pam", "POST", "/proposals?reason=x", string(c.archive)).want(422)
		}
	}
	if resp, _ := b.propose("pam", "x", make([]byte, policy.MaxUpload+100<<10)); resp.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("more than may be sent: %d", resp.StatusCode)
	}
	if resp, _ := b.propose("pam", "", zipOf(t, checked(packFiles(2, "token")))); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("no reason: %d", resp.StatusCode)
	}
	if n := b.journal.count(); n != before {
		t.Errorf("%d entries were made", n-before)
	}
	if list, _ := b.archive.List(); len(list) != 1 {
		t.Errorf("%d packs are kept", len(list))
	}
}

// secretBody is what somebody pastes into the playground.
const secretBody = `{"email": "grace.hopper@navy.example", "title": "Very secret title", "shoe": 4711}`

// TestPlaygroundShowsWhatLeaves: side by side, with each field explained, for the pack in
// force and another.
func TestPlaygroundShowsWhatLeaves(t *testing.T) {
	b := newBureau(t, 0)
	digest := b.proposed("pam", checked(packFiles(2, "allow")))
	resp, text := b.post("pam", "/playground", "pack", digest, "transit", "session", "method", "POST", "target", "/v1/sessions?tab=open&other=%3Cb%3E", "headers", "X-Name: Grace\r\nCookie: a=b", "body", secretBody)
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%d %s", resp.StatusCode, plainText(text))
	}
	b.harmless("/playground", text)
	after := plainText(text[strings.Index(text, "Would leave"):strings.Index(text, "Each field")])
	for _, w := range []string{"grace.hopper@navy.example", "email"} {
		if !strings.Contains(after, w) {
			t.Errorf("what would leave does not have %q: %s", w, after)
		}
	}
	for _, w := range []string{"Very secret title", "4711", "shoe", "Grace"} {
		if strings.Contains(after, w) {
			t.Errorf("what would leave has %q: %s", w, after)
		}
	}
	for _, w := range []string{"tab=open", "transits/session.yaml:13", "contracts/c.yaml:4", "For tickets", "for this answer alone", "None of the headers would leave"} {
		if !strings.Contains(plainText(text), w) {
			t.Errorf("the page does not say %q", w)
		}
	}
	// Under the pack in force the address is masked.
	if _, text = b.post("pam", "/playground", "transit", "session", "body", secretBody, "pack", ""); !strings.Contains(text, "Each field") {
		t.Fatal(plainText(text))
	} else if strings.Contains(text[strings.Index(text, "Would leave"):strings.Index(text, "Each field")], "hopper") {
		t.Error("the pack in force lets the address out")
	}
	// What is refused is said with its place.
	_, text = b.post("pam", "/playground", "transit", "session", "pack", "", "body", "{\r\n  \"email\": \"a@b.example\",\r\n  \"email\": \"b@b.example\"}")
	if p := plainText(text); !strings.Contains(p, "Nothing would leave") || !strings.Contains(p, "line 3, column 3") {
		t.Errorf("a broken body: %s", p)
	}
	for field, value := range map[string]string{"at": "soon", "target": "no/path", "headers": "nothing"} {
		if resp, text := b.post("pam", "/playground", "transit", "session", "pack", "", "body", "{}", field, value); resp.StatusCode != http.StatusBadRequest || !strings.Contains(text, "role=\"alert\"") {
			t.Errorf("%s %q: %d", field, value, resp.StatusCode)
		}
	}
}

// TestAttackPastedValues: attack: somebody reads the log, the journal or the addresses for what
// others pasted into the playground. It is in none of them, and not in the answer's headers.
func TestAttackPastedValues(t *testing.T) {
	b := newBureau(t, 0)
	resp, _ := b.post("pam", "/playground", "transit", "session", "pack", "", "body", secretBody, "target", "/v1/users/grace7", "headers", "X-Secret: hopper9")
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%d, cached as %q", resp.StatusCode, resp.Header.Get("Cache-Control"))
	}
	_, _ = b.post("pam", "/playground", "transit", "session", "pack", "", "body", `{"email": grace.hopper`)
	b.as("pam", "POST", "/preview", fmt.Sprintf(`{"transit":"session","method":"POST","path":"/v1/sessions","query":"tab=grace8","body":%q}`, secretBody)).want(200, "grace8")
	b.journal.mu.Lock()
	all := fmt.Sprintf("%+v", b.journal.entries)
	b.journal.mu.Unlock()
	for _, s := range []string{"grace", "hopper", "secret title", "4711"} {
		if strings.Contains(strings.ToLower(all), s) || strings.Contains(strings.ToLower(b.log.String()), s) || strings.Contains(fmt.Sprint(resp.Header), s) {
			t.Errorf("%q is in the log, the journal or the headers", s)
		}
	}
	if resp, _ := b.post("pam", "/playground", "transit", "session", "pack", "", "body", strings.Repeat("a", maxSpecimen+1)); resp.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("a large body: %d", resp.StatusCode)
	}
	if resp, _ := b.post("pam", "/playground", "transit", "session", "body", strings.Repeat("%", 2*maxSpecimen)); resp.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("a very large body: %d", resp.StatusCode)
	}
	if text := b.page("pam", "/playground?transit=session&body="+url.QueryEscape(secretBody)); strings.Contains(text, "hopper") {
		t.Error("a body is taken from an address")
	}
}

// TestPolicyAPI: the API answers as it is described, with what the pages show.
func TestPolicyAPI(t *testing.T) {
	b := newBureau(t, 2)
	now := b.inForce.Plan().Digest
	list := into[PackList](b.as("vera", "GET", "/packs", "").want(200))
	if len(list.Packs) != 1 || !list.Packs[0].InForce || list.Packs[0].Digest != now || list.Packs[0].Needed != 2 {
		t.Errorf("%+v", list)
	}
	done := into[PackDone](b.as("pam", "POST", "/proposals?reason=why", string(zipOf(t, checked(packFiles(2, "allow"))))).want(200))
	digest := done.Pack.Digest
	if done.Act != "pack proposed" || done.Pack.Standing != "proposed" || done.Pack.Acts[0].Effect != "more exposing" {
		t.Errorf("%+v", done)
	}
	if p := into[PackList](b.as("vera", "GET", "/proposals", "").want(200)); len(p.Packs) != 1 || p.Packs[0].Digest != digest {
		t.Errorf("%+v", p)
	}
	if d := into[PackDetail](b.as("vera", "GET", "/packs/"+digest, "").want(200)); len(d.Files) != 8 || len(d.Transits) != 2 || len(d.Invariants) != 1 {
		t.Errorf("%+v", d)
	}
	e := into[policy.Effect](b.as("vera", "GET", "/packs/"+digest+"/effect", "").want(200))
	if !e.MoreExposing || e.Before != now || e.After != digest {
		t.Errorf("%+v", e)
	}
	if e = into[policy.Effect](b.as("vera", "GET", "/packs/"+digest+"/effect?against="+digest, "").want(200)); !e.None() {
		t.Errorf("%+v", e)
	}
	if v := into[TransitView](b.as("vera", "GET", "/packs/"+digest+"/transits/session", "").want(200)); len(v.Rules) != 1 || len(v.Fields) != 4 || v.Purpose != "support" {
		t.Errorf("%+v", v)
	}
	b.as("vera", "GET", "/packs/"+digest+"/transits/tunnel", "").want(200)
	if v := into[ProposalView](b.as("vera", "GET", "/proposals/"+digest, "").want(200)); v.Effect == nil || !v.Effect.MoreExposing || len(v.Tests) != 1 {
		t.Errorf("%+v", v)
	}
	for i, who := range []string{"quin", "dan"} {
		got := into[PackDone](b.as(who, "POST", "/proposals/"+digest+"/approve", fmt.Sprintf(`{"reason":"ok","against":%q}`, now)).want(200))
		if got.Pack.Approvals != i+1 || (got.Pack.Refused == "") != (i == 1) {
			t.Errorf("%+v", got)
		}
	}
	b.as("ron", "POST", "/proposals/"+digest+"/reject", `{"reason":"no"}`).want(200, "pack rejected")
	b.as("pam", "POST", "/proposals/"+digest+"/withdraw", `{"reason":"no"}`).want(409, "ended already")
	pv := into[Preview](b.as("pam", "POST", "/preview", fmt.Sprintf(`{"pack":%q,"transit":"session","path":"/v1/sessions","query":"tab=open","headers":[{"name":"A","value":"b"}],"body":%q}`, digest, secretBody)).want(200))
	if pv.Decision != isogate.Released || !strings.Contains(pv.Body, "grace.hopper") || strings.Contains(pv.Body, "4711") || pv.Query == "" || len(pv.Fields) < 4 {
		t.Errorf("%+v", pv)
	}
	if pv = into[Preview](b.as("pam", "POST", "/preview", `{"transit":"session","body":"{"}`).want(200)); pv.Decision != isogate.Refused || pv.Line != 1 || pv.Reason == "" {
		t.Errorf("%+v", pv)
	}
	b.as("pam", "POST", "/preview", `{"transit":"none"}`).want(404)
	b.as("vera", "GET", "/packs/sha256:00", "").want(404)
}

// usedTrail is a trail that counts what a test says.
type usedTrail struct {
	Trail
	count  trail.Count
	groups map[trail.By][]trail.Group
	asked  []trail.Query
}

func (u *usedTrail) Count(_ context.Context, q trail.Query) (trail.Count, error) {
	u.asked = append(u.asked, q)
	return u.count, nil
}

func (u *usedTrail) Tally(_ context.Context, q trail.Query, by ...trail.By) ([]trail.Group, error) {
	u.asked = append(u.asked, q)
	return u.groups[by[len(by)-1]], nil
}

func (u *usedTrail) Standing() trail.Standing { return trail.Standing{} }

// TestUnusedAndUnlabelledAreSaid: what may leave and never did under this pack is said, with
// since when that is counted, and so are fields that were seen and that nobody has named.
//
// promise: P05
func TestUnusedAndUnlabelledAreSaid(t *testing.T) {
	b := newBureau(t, 0)
	used := func(action isogate.Action, n uint64) trail.Count {
		c := trail.Count{Rows: 1, Released: 7, Last: time.Now().Add(-time.Hour)}
		c.Values[action] = n
		return c
	}
	u := &usedTrail{count: used(isogate.Mask, 9), groups: map[trail.By][]trail.Group{
		trail.ByTransit: {{Key: []string{"session"}, Count: used(isogate.Mask, 9)}},
		trail.ByRule:    {{Key: []string{"session", "transits/session.yaml:13"}, Count: used(isogate.Mask, 9)}},
		trail.ByPath:    {{Key: []string{"a.?" + hostileText}, Count: used(isogate.Redact, 4)}, {Key: []string{"?"}, Count: used(isogate.Redact, 40)}},
	}}
	b.hub.trail = u
	digest := b.inForce.Plan().Digest
	text := plainText(b.page("vera", "/policies/"+digest+"/transits/session", "7 times under this pack", "counted since", "unused"))
	if !strings.Contains(text, "9 1 hour ago") || strings.Index(text, "40") > strings.Index(text, "a.?") {
		t.Errorf("%s", text)
	}
	if strings.Count(text, "unused") != 1 {
		t.Errorf("one rule is unused: %s", text)
	}
	for _, q := range u.asked {
		if q.Pack != digest || q.Transit != "session" || q.Decision != "released" {
			t.Errorf("it counts %+v", q)
		}
	}
	v := into[TransitView](b.as("vera", "GET", "/packs/"+digest+"/transits/session", "").want(200))
	if *v.Used != 7 || *v.Rules[0].Values != 9 || v.Rules[0].Unused || !v.Rules[1].Unused || v.Since == nil || len(v.Unlabelled) != 2 || v.Unlabelled[0].Values != 40 {
		t.Errorf("%+v", v)
	}
	b.page("vera", "/policies/"+digest, "1 unused")
}

// TestADifferenceIsShown: what differs between the texts of two packs, with what is around it.
func TestADifferenceIsShown(t *testing.T) {
	lines, large := linesDiff([]byte("a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n"), []byte("a\nb\nc\nd\ne\nF\ng\nh\ni\nj\nk\n"))
	var got []string
	for _, l := range lines {
		got = append(got, fmt.Sprint(l.Sign, l.Text, l.Old, "/", l.New))
	}
	want := []string{" c3/3", " d4/4", " e5/5", "-f6/0", "+F0/6", " g7/7", " h8/8", " i9/9", " j10/10", "+k0/11"}
	if large || strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("%q", got)
	}
	if lines, large = linesDiff(nil, []byte("a\n")); large || len(lines) != 1 || lines[0].Sign != "+" {
		t.Errorf("%v", lines)
	}
	if _, large = linesDiff([]byte(strings.Repeat("a\n", 3000)), []byte(strings.Repeat("b\n", 3000))); !large {
		t.Error("a very large difference is worked out")
	}
	if _, large = linesDiff([]byte("\xff"), []byte("a")); !large {
		t.Error("what is no text is compared")
	}
}
