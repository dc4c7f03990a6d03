package policy

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func writePack(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		p := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(strings.TrimPrefix(text, "\n")), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

var support = map[string]string{
	"pack.yaml":         "pack: acme\nversion: 12\n",
	"destinations.yaml": "destinations:\n  - {name: support-portal, url: https://support.example, landing: {public_key: abc}}\n",
	"contracts/support-session.yaml": `
contract: support-session
format: json
fields:
  user.email: personal.contact.email
  user.displayName: personal.name.display
  tickets[].title: ugc.title
  attributes[key=user.email].value.stringValue: personal.contact.email   # keyed arrays
  meta.*: system.metadata                                                 # any key; ** any depth
  "labels.'app.kubernetes.io/name'": system.metadata                      # keys with dots, quoted
  raw: {label: system.metadata, parse: json}                              # JSON inside a string
`,
	"transits/support-session.yaml": `
transit: support-session
purpose: support
source: [product/help-center]
destination: support-portal
consent: user-action               # none | user-action | admin
match: [POST /v1/sessions, "GET /v1/users/{accountId}/tickets"]
session: header Isogate-Session    # what "session" means for transit-only; default: the request
request:
  contract: support-session
  release:
    - {label: personal.contact.email, as: allow, handling: persisted,
       because: Primary identifier for ticket creation and communication, owner: team-support, until: 2027-06-30}
    - {label: personal.name.display, as: allow, handling: transit-only, because: Shown in the support UI, owner: team-support, until: 2027-06-30}
  query: {tab: system.metadata}
  path:  {accountId: identifier.user.account_id}
  headers: {X-Request-Id: identifier.correlation.request_id}
response: {restore: true, max: 4MiB}
`,
}

func TestBasic(t *testing.T) {
	p, err := Load(writePack(t, support))
	if err != nil {
		t.Fatal(err)
	}
	tr, params, err := p.Plan().Match("product/help-center", "support-portal", "GET", "/v1/users/a%20b/tickets")
	t.Log(tr, params, err)
	r := tr.Decide(Envelope{Time: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)})
	t.Logf("%+v", r.Body.Verdicts)
	r = tr.Decide(Envelope{})
	t.Logf("%+v", r.Body.Verdicts)
}
