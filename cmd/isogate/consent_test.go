package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/access"
	"github.com/isogate/isogate/internal/consent"
	"github.com/isogate/isogate/internal/hub"
	"github.com/isogate/isogate/internal/isogatetest"
	"github.com/isogate/isogate/internal/policy"
	"github.com/isogate/isogate/internal/remote"
)

func tokenSum(s string) string {
	d := sha256.Sum256([]byte(s))
	return hex.EncodeToString(d[:])
}

const botManifest = "isogate: 1\napp: bot\nname: Bot\nremotes:\n  - {host: api.example.com, kind: backend}\n"

// withAdministrators is a site where ada and bob may act, with an app's manifest.
func withAdministrators(t *testing.T, extra string) *site {
	t.Helper()
	s := newSite(t, extra)
	s.edit(anyPort, fmt.Sprintf("%s, administrators: [{name: ada, token_sha256: %s}, {name: bob, token_sha256: %s}]", anyPort, tokenSum("ada-token"), tokenSum("bob-token")))
	s.write("bot.yaml", botManifest)
	return s
}

// anyPort is how a site's hub listens.
const anyPort = `hub: {listen: "127.0.0.1:0"`

// startReachable starts the gateway and writes down where its hub listens, so that
// commands find it.
func (s *site) startReachable() {
	s.t.Helper()
	s.start()
	_, address, _ := strings.Cut(s.hub, "//")
	s.edit(anyPort, fmt.Sprintf("hub: {listen: %q", address))
}

// as runs a command with a token, and returns its status and what it says.
func (s *site) as(token string, args ...string) (int, string) {
	s.t.Helper()
	cmd := s.command(args...)
	cmd.Dir = s.dir
	cmd.Env = append(cmd.Env, tokenVariable+"="+token)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// must runs a command that must succeed as ada, and returns what it says.
func (s *site) must(args ...string) string {
	s.t.Helper()
	status, out := s.as("ada-token", args...)
	if status != exitDone {
		s.t.Fatalf("%s: status %d\n%s", strings.Join(args, " "), status, out)
	}
	return out
}

// consents are those of a state.
func (s *site) consents(status string) []hub.Consent {
	s.t.Helper()
	var list hub.ConsentList
	if err := json.Unmarshal([]byte(s.must("--json", "consent", "list", "--status", status)), &list); err != nil {
		s.t.Fatal(err)
	}
	return list.Consents
}

// The same commands act on a journal that nobody has open, and through the gateway
// that has it open, over TLS too.
//
// promise: P14
// promise: P15
func TestActsThroughTheRunningGateway(t *testing.T) {
	for _, withTLS := range []bool{false, true} {
		t.Run(fmt.Sprintf("tls %v", withTLS), func(t *testing.T) {
			s := withAdministrators(t, "")
			if withTLS {
				// The name on the certificate does not matter: the file says which it is.
				if _, _, err := s.inside.WriteFiles(s.dir, "hub", isogatetest.Leaf{Name: "hub", Hosts: []string{"hub.example.com"}}); err != nil {
					t.Fatal(err)
				}
				s.edit("administrators:", "tls: {cert: hub.pem, key: hub.key}, administrators:")
			}
			s.must("tenant", "create", "-c", s.config)
			s.must("app", "import", "bot.yaml") // in this process
			s.startReachable()
			s.must("app", "import", "bot.yaml", "--as", "app/other") // through the gateway
			open := s.consents("requested")
			if len(open) != 2 {
				t.Fatalf("%d requests, want one of each import", len(open))
			}
			id := string(open[0].ID)
			if status, out := s.as("eve-token", "consent", "grant", id, "--reason", "x", "--yes"); status != exitUnrun || !strings.Contains(out, "token of an administrator") {
				t.Errorf("a stranger: status %d\n%s", status, out)
			}
			s.must("consent", "grant", id, "--reason", "needed", "--yes")
			granted := s.consents("granted")
			if len(granted) != 2 || granted[0].By[0] != (consent.Actor{Name: "ada", SignedIn: access.ByBearer}) {
				t.Fatalf("got %+v", granted)
			}
			s.must("consent", "revoke", string(granted[0].ID), "--reason", "enough")
			if status, out := s.as("ada-token", "consent", "revoke", id); status != exitNo || !strings.Contains(out, "is a request") {
				t.Errorf("status %d\n%s", status, out)
			}
			if withTLS {
				if _, _, err := s.inside.WriteFiles(s.dir, "hub", isogatetest.Leaf{Name: "hub", Hosts: []string{"hub.example.com"}}); err != nil {
					t.Fatal(err)
				}
				if status, out := s.as("ada-token", "consent", "revoke", "--everything"); status != exitUnrun || !strings.Contains(out, "reload the gateway") {
					t.Errorf("another certificate: status %d\n%s", status, out)
				}
			}
			if status := s.stop(syscall.SIGTERM); status != exitDone {
				t.Errorf("serve ended with %d", status)
			}
			s.must("consent", "revoke", "--everything") // in this process again
			s.must("journal", "verify", "-c", s.config)
		})
	}
}

// ATTACK: another program took the hub's address while the gateway does not listen
// there, and waits for tokens; and one that answers what is not the hub's. THIS
// TEST VERIFIES that what it says is not taken for an answer.
func TestAttackImpostorOfTheHub(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
			return
		}
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, "<html>\x1b[2J")
	}), ReadHeaderTimeout: time.Second}
	go func() { _ = server.Serve(l) }()
	defer server.Close()
	a, err := reachHub(&config{Hub: hubConfig{Listen: l.Addr().String()}})
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{a.get(t.Context(), "/apps", nil), a.post(t.Context(), "/revocations", map[string]any{}, nil)} {
		if err == nil || !strings.Contains(err.Error(), "is not this version's hub") || strings.Contains(err.Error(), "\x1b") {
			t.Errorf("got %v", err)
		}
	}
	if _, err := reachHub(&config{Hub: hubConfig{Listen: "hub.example.com:80"}}); err == nil || !strings.Contains(err.Error(), "IP:PORT") {
		t.Errorf("got %v", err)
	}
	if _, err := reachHub(&config{}); err == nil || !strings.Contains(err.Error(), "hub.listen") {
		t.Errorf("got %v", err)
	}
	for listen, base := range map[string]string{"0.0.0.0:1": "http://127.0.0.1:1", ":1": "http://127.0.0.1:1", "[::]:1": "http://[::1]:1", "localhost:1": "http://127.0.0.1:1"} {
		if a, err := reachHub(&config{Hub: hubConfig{Listen: listen}}); err != nil || a.base != base {
			t.Errorf("%s: %+v %v", listen, a, err)
		}
	}
}

func TestConsentConfiguration(t *testing.T) {
	sum, other := tokenSum("a"), tokenSum("b")
	one := "{name: ada, token_sha256: " + sum + "}"
	for conf, want := range map[string]string{
		"hub: {listen: 127.0.0.1:1, administrators: [" + one + "]}":                                                                 "",
		"hub: {listen: '[::1]:1', administrators: [" + one + "]}":                                                                   "",
		"hub: {listen: 0.0.0.0:1}":                                                                                                  "",
		"hub: {listen: 0.0.0.0:1, administrators: [" + one + "]}":                                                                   "hub.tls: is missing",
		"hub: {listen: ':1', administrators: [" + one + "]}":                                                                        "hub.tls: is missing",
		"hub: {listen: 10.0.0.1:1, tls: {cert: a, key: b}, administrators: [" + one + "]}":                                          "",
		"hub: {listen: 10.0.0.1:1, tls: {cert: a}, administrators: [" + one + "]}":                                                  "cert and key go together",
		"hub: {administrators: [" + one + ", {name: bob, token_sha256: " + sum + "}]}":                                              "the same token",
		"hub: {administrators: [" + one + ", {name: ada, token_sha256: " + other + "}]}":                                            "is there twice",
		"hub: {administrators: [{name: Ada, token_sha256: " + sum + "}]}":                                                           "administrators[0].name",
		"hub: {administrators: [{name: ada, token_sha256: x}]}":                                                                     "64 hexadecimal digits",
		"hub: {administrators: [{name: ada, token: secret}]}":                                                                       "token",
		"consent: {lease: 10ms}":                                                                                                    "consent.lease",
		"consent: {answer_within: 10s}":                                                                                             "consent.answer_within",
		"consent: {second_administrator: [everything]}":                                                                             "unknown risk",
		"consent: {second_administrator: [wildcard]}\nhub: {administrators: [" + one + "]}":                                         "nobody could ever grant",
		"consent: {second_administrator: [tokens]}\nhub: {administrators: [" + one + ", {name: bob, token_sha256: " + other + "}]}": "",
	} {
		file := filepath.Join(t.TempDir(), "isogate.yaml")
		text := "tenant: acme\npack: ./pack\ngateway: {transits: {listen: 127.0.0.1:0, tls: {cert: a, key: b}}}\nsources: [{name: app/bot, token_sha256: " + sum + "}]\n" + conf + "\n"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := loadConfig(file)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s\ngives: %v\nwant: %s", conf, err, want)
		}
	}
}

// ATTACK: texts in the ledger that would move a terminal's cursor or turn its
// direction, written by whoever could. THIS TEST VERIFIES that nothing a command
// prints about them has a character that acts.
func TestAttackHostileTextsOnTerminals(t *testing.T) {
	const evil = "\x1b]0;x\x07\u202egnp.exe\u2066\n\r\x9b\u200d"
	row := remote.Row{Kind: remote.Backend, Host: "api.example.com", Port: 443}
	act := func(seq uint64, a consent.Act) consent.Act {
		a.Seq, a.ID, a.At, a.Party = seq, isogate.EntryID(fmt.Sprint("entry", seq)), time.Now(), "app/bot"
		a.Actor, a.Reason = consent.Actor{Name: evil, SignedIn: evil}, evil
		return a
	}
	state, why := (&consent.State{}).Fold(
		act(0, consent.Act{What: consent.Declared, Rows: []remote.Row{row}, Manifest: consent.Manifest{ID: evil, Name: evil + strings.Repeat("x", 10_000), Vendor: evil, Version: evil, Digest: evil}}),
		act(1, consent.Act{What: consent.Requested, Rows: []remote.Row{row}, Answer: time.Hour}),
	)
	if err := errors.Join(why...); err != nil {
		t.Fatal(err)
	}
	egress := func(consent.Party, remote.Row) consent.Egress {
		return consent.Egress{Pack: evil, Words: evil, Ways: []consent.Way{{To: evil, Transit: "x", Leaves: []consent.Leaf{{Label: "a", Because: evil}},
			Tunnel: &consent.Exemption{Because: evil, Owner: evil, Until: evil}, Sample: &consent.Sample{Before: evil, After: evil}}}}
	}
	v, _, err := hub.FindConsent(state, "entry1", egress, time.Now())
	if err != nil || v.Prompt == nil {
		t.Fatalf("%+v %v", v, err)
	}
	var out bytes.Buffer
	showConsent(&out, &v)
	app, _ := hub.FindApp(state, "app/bot", time.Now())
	_, _ = fmt.Fprintln(&out, identity(app.App))
	consentTable(&out, app.Consents)
	im := hub.Import{Manifest: hub.Manifest{App: consent.Manifest{Name: evil}, Rows: []hub.DeclaredRow{{Row: row.String(), Written: evil}, {Row: evil}},
		Refused: []hub.Refused{{Written: evil, Reason: evil}}, Warnings: []hub.Finding{{Message: evil}}}}
	showManifest(&out, "bot.yaml", &im.Manifest)
	for _, line := range strings.Split(out.String(), "\n") {
		if printable(line) != line {
			t.Errorf("a line that acts: %q", line)
		}
		if len(line) > 2000 {
			t.Errorf("a line of %d bytes", len(line))
		}
	}
	p := &refused{}
	p.Detail = evil
	if msg := p.Error(); printable(msg) != msg {
		t.Errorf("an error that acts: %q", msg)
	}
}

// What is said to leave is what the pack lets out under the row.
//
// promise: P12
func TestDescriptionOfEgress(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"pack.yaml":           "pack: test\nversion: 1\n",
		"destinations.yaml":   "destinations:\n  - {name: api, remote: api.example.com}\n  - {name: old, remote: old.example.com}\n  - {name: all, remote: \"*.example.org\"}\n  - {name: ours, url: https://ours.example.com}\n",
		"contracts/note.yaml": "contract: note\nformat: json\nfields: {state: system.status, title: ugc.title}\n",
		"transits/api.yaml": "transit: api\npurpose: app\nsource: [app/bot]\ndestination: api\nconsent: admin\nmatch: [POST /**]\nrequest:\n  contract: note\n  release:\n" +
			"    - {label: ugc.title, as: allow, handling: persisted, because: The bot reads it, owner: team, until: 2099-01-01}\n",
		"transits/old.yaml":  "transit: old\npurpose: app\nsource: [app/bot]\ndestination: old\nconsent: admin\nmode: tunnel\nbecause: Encrypted\nowner: team\nuntil: 2020-01-01\n",
		"transits/all.yaml":  "transit: all\npurpose: app\nsource: [app/bot]\ndestination: all\nconsent: admin\nmode: tunnel\nbecause: Encrypted\nowner: team\nuntil: 2099-01-01\n",
		"transits/ours.yaml": "transit: ours\npurpose: support\nsource: [product/help-center]\ndestination: ours\nconsent: admin\nmatch: [POST /x]\nrequest: {contract: note}\n",
		"tests/api.yaml":     "- {test: a title, transit: api, method: POST, path: /x, input: {title: Hello}, expect: {output: {title: Hello}}}\n",
	} {
		file := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	pack, err := policy.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	d := describer{pack: func() *policy.Pack { return pack }, now: func() time.Time { return time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC) }}
	for row, want := range map[string]string{
		"backend api.example.com:443 operations=storage end-user-data":   "allow ugc.title persisted The bot reads it; fields leave as listed; sample Hello",
		"backend api.example.com:443 operations=storage":                 "token ugc.title; fields leave as listed",
		"backend api.example.com:443 operations=fetch end-user-data":     "token ugc.title; fields leave as listed",
		"backend api.example.com:8443 operations=storage end-user-data":  "nothing leaves until",
		"backend else.example.com:443 operations=storage end-user-data":  "nothing leaves until",
		"backend ours.example.com:443 operations=storage end-user-data":  "nothing leaves until",
		"backend *.example.com:443 operations=storage end-user-data":     "allow ugc.title persisted The bot reads it; tunnel over; nothing leaves through the tunnel; fields leave as listed; to the other hosts; sample Hello",
		"backend old.example.com:443 operations=storage end-user-data":   "tunnel over; nothing leaves through the tunnel",
		"backend a.b.example.org:443 operations=storage end-user-data":   "tunnel open; everything that is sent",
		"backend *.sub.example.org:443 operations=storage end-user-data": "tunnel open; everything that is sent",
		"backend *.example.org:443 operations=storage end-user-data":     "tunnel open; everything that is sent",
		"backend a.example.org:443 operations=compute end-user-data":     "tunnel open; nothing leaves through the tunnel",
		"backend example.org:443 operations=storage end-user-data":       "nothing leaves until",
		"transit ours":    "token ugc.title; fields leave as listed",
		"transit nothing": "nothing leaves until",
	} {
		r, err := remote.ParseRow(row)
		if err != nil {
			t.Fatal(err)
		}
		party := consent.Party("app/bot")
		if r.Kind == remote.TransitWay {
			party = consent.OfTransit(isogate.Transit(r.Host))
		}
		e := d.describe(party, r)
		if e.Pack != pack.Plan().Digest {
			t.Errorf("%s: by pack %q", row, e.Pack)
		}
		var said []string
		for _, w := range e.Ways {
			for _, l := range w.Leaves {
				said = append(said, strings.TrimSpace(fmt.Sprintf("%s %s %s %s", l.Action, l.Label, l.Handling, l.Because)))
			}
			if w.Tunnel != nil {
				said = append(said, map[bool]string{true: "tunnel open", false: "tunnel over"}[w.Tunnel.InForce])
			}
		}
		said = append(said, e.Words)
		for _, w := range e.Ways {
			if w.Sample != nil {
				said = append(said, "sample "+w.Sample.After)
			}
		}
		all := strings.Join(said, "; ")
		for _, part := range strings.Split(want, "; ") {
			for word := range strings.FieldsSeq(part) {
				if !strings.Contains(all, word) {
					t.Errorf("%s\nsays %s\nwant %s", row, all, want)
					break
				}
			}
		}
		if !strings.Contains(want, "allow") && strings.Contains(all, "allow ugc") {
			t.Errorf("%s\nsays that it lets out what it does not: %s", row, all)
		}
	}
	d.sources = (&config{Sources: []sourceConfig{{Name: "app/bot"}, {Name: "app/bot-pages", App: "app/bot", Kinds: []string{"client"}}}}).senders
	for kind, want := range map[remote.Kind]string{remote.Backend: "fields leave", remote.Client: "the pack has no way there", remote.Fonts: "no source"} {
		if e := d.describe("app/bot", remote.Row{Kind: kind, Host: "api.example.com", Port: 443}); !strings.Contains(e.Words, want) {
			t.Errorf("%s: %q, want %q", kind, e.Words, want)
		}
	}
	if e := d.describe("app/other", remote.Row{Kind: remote.Backend, Host: "api.example.com", Port: 443}); len(e.Ways) != 0 {
		t.Errorf("another app has the ways %+v", e.Ways)
	}
}
