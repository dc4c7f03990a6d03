package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/isogatetest"
)

// twoWays is a site with a second door and an app that was granted two hosts, one
// inspected and one behind a tunnel.
func twoWays(t *testing.T) (s *site, api, files *isogatetest.Far) {
	t.Helper()
	s = withAdministrators(t, "")
	signer, err := isogatetest.NewAuthority("outside of apps", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	far := func(host string) *isogatetest.Far {
		f, err := isogatetest.NewFar(signer, host)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(f.Close)
		return f
	}
	api, files = far("api.example.com"), far("files.example.com")
	old, err := os.ReadFile(filepath.Join(s.dir, "outside.pem"))
	if err != nil {
		t.Fatal(err)
	}
	s.write("outside.pem", string(old)+string(signer.PEM()))
	s.edit("hosts: {", fmt.Sprintf("hosts: {api.example.com: %q, files.example.com: %q, ", api.Address(), files.Address()))
	s.edit("gateway:\n", "gateway:\n  remotes: {listen: \"127.0.0.1:0\"}\n")
	s.edit("sources:\n", "sources:\n  - {name: app/bot, token_sha256: "+tokenSum(botToken)+"}\n")
	s.write("bot.yaml", "isogate: 1\napp: bot\nname: Bot\nremotes:\n  - {host: api.example.com, kind: backend}\n  - {host: files.example.com, kind: backend}\n")
	s.write("pack/destinations.yaml", "destinations:\n  - {name: far, url: https://far.example.com}\n"+
		"  - {name: bot-api, remote: \"api.example.com:443\"}\n  - {name: bot-files, remote: \"files.example.com:443\"}\n")
	s.write("pack/transits/api.yaml", "transit: bot-api\npurpose: app\nsource: [app/bot]\ndestination: bot-api\nconsent: admin\nmatch: [POST /v1/notes]\nrequest: {contract: note}\n")
	s.write("pack/transits/files.yaml", "transit: bot-files\npurpose: app\nsource: [app/bot]\ndestination: bot-files\nconsent: admin\nmode: tunnel\n"+
		"because: it speaks a protocol of its own\nowner: team-bot\nuntil: 2099-01-01\n")
	s.must("tenant", "create", "-c", s.config)
	s.must("app", "import", "bot.yaml")
	for _, c := range s.consents("requested") {
		s.must("consent", "grant", string(c.ID), "--reason", "needed", "--yes")
	}
	return s, api, files
}

// asApp is a client of the bot by the door that serves now.
func (s *site) asApp(line string) *http.Client {
	at := servingApps.FindStringSubmatch(line)[1]
	tr := &http.Transport{
		Proxy:              http.ProxyURL(&url.URL{Scheme: "http", Host: at}),
		ProxyConnectHeader: http.Header{"Proxy-Authorization": {"Bearer " + botToken}},
		TLSClientConfig:    &tls.Config{InsecureSkipVerify: true},
		DialContext:        (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
	}
	s.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 20 * time.Second}
}

// ATTACK: the gateway is killed again and again (kill -9) while an app sends
// requests and opens tunnels, so that something may have left that nobody recorded.
// THIS TEST VERIFIES that every request that the outside received has its entry, and
// that there are no more tunnels at the outside than opened entries of tunnels.
//
// promise: P23
func TestAttackKilledUnderApps(t *testing.T) {
	rounds := 6
	if testing.Short() {
		rounds = 2
	}
	s, api, files := twoWays(t)
	for range rounds {
		s.launch()
		line := s.await("msg=serving")
		kill := len(api.Received()) + 10 + rand.IntN(60)
		var down atomic.Bool
		var all sync.WaitGroup
		for i := range 6 {
			c := s.asApp(line)
			url := "https://api.example.com/v1/notes"
			if i >= 4 {
				c.Transport.(*http.Transport).DisableKeepAlives = true // each request is a tunnel
				url = "https://files.example.com/v1/files"
			}
			all.Go(func() {
				for failed := 0; !down.Load() && failed < 100; {
					res, err := c.Post(url, "application/json", strings.NewReader(`{"state":"open"}`))
					if err != nil {
						failed++ // the ledger may not have heard of its grants yet
						continue
					}
					_, _ = io.Copy(io.Discard, res.Body)
					_ = res.Body.Close()
					if len(api.Received()) >= kill && down.CompareAndSwap(false, true) {
						_ = s.process.Process.Kill()
					}
				}
			})
		}
		all.Wait()
		s.stop(syscall.SIGKILL)
	}
	s.launch() // what was cut short is made good
	s.await("msg=serving")
	if status := s.stop(syscall.SIGTERM); status != exitDone {
		t.Errorf("exit status %d", status)
	}
	known, tunnels := map[string]bool{}, 0
	for _, e := range s.entries() {
		known[string(e.ID)] = true
		if e.Stage == isogate.StageOpened && e.Transit == "bot-files" {
			tunnels++
		}
	}
	for _, r := range api.Received() {
		if !known[r.Header.Get("Isogate-Entry")] {
			t.Errorf("a request arrived whose entry %q is not in the journal", r.Header.Get("Isogate-Entry"))
		}
	}
	if n := len(files.Received()); n > tunnels || n == 0 {
		t.Errorf("%d tunnels arrived, and %d were opened", n, tunnels)
	}
	if n := len(api.Received()); n < rounds*10 {
		t.Errorf("only %d requests arrived", n)
	}
	s.must("journal", "verify", "-c", s.config)
	t.Logf("%d kills, %d requests and %d tunnels arrived, %d entries", rounds, len(api.Received()), len(files.Received()), len(known))
}
