package main

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/consent"
	"github.com/isogate/isogate/internal/isogatetest"
)

// The app of the demo, and where its manifests say that it sends to.
const (
	botName                    = "triage-bot"
	botSource  isogate.Source  = "app/" + botName
	botParty   consent.Party   = consent.Party(botSource)
	apiHost                    = "api.triage.example"
	statsHost                  = "collect.stats.example"
	queueHost                  = "queue.triage.example"
	queueAt                    = queueHost + ":8883"
	modelsHost                 = "models.triage.example" // of the second version
	queueWay   isogate.Transit = "triage-queue"
)

// bot is a made-up third-party app inside, and its vendor's hosts outside. Of the
// gateway it knows where its proxy is and what to trust, as any app would.
type bot struct {
	isogatetest.Proxied
	client *http.Client
	hosts  map[string]*place
	queue  *isogatetest.Queue
	abroad *x509.CertPool  // the outside's authority alone
	waits  isogate.EntryID // the request that nobody answers in the story
}

func newBot(outside *isogatetest.Authority) (*bot, error) {
	b := &bot{Proxied: isogatetest.Proxied{Token: rand.Text()}, hosts: map[string]*place{}, abroad: outside.Pool()}
	var err error
	if b.queue, err = isogatetest.NewQueue(outside, queueHost); err != nil {
		return nil, err
	}
	for _, host := range []string{apiHost, statsHost, modelsHost} {
		if b.hosts[host], err = newPlace(outside, host, sortIssue); err != nil {
			b.close()
			return nil, err
		}
	}
	return b, nil
}

// sortIssue is the vendor's cleverness.
func sortIssue(r isogatetest.Received) (status int, body any) {
	var in struct{ Issue, Reporter map[string]json.RawMessage }
	_ = json.Unmarshal(r.Body, &in)
	return http.StatusCreated, map[string]any{"team": "payroll", "ask": in.Reporter["name"], "because": in.Issue["body"]}
}

// install gives the app what an operator gives it: where its proxy is, and the
// authority that it inspects by.
func (b *bot) install(door, authority string) error {
	pem, err := os.ReadFile(authority) //nolint:gosec // of the demo's own state
	if err != nil {
		return fmt.Errorf("demo: the interception authority: %w; a state of an older version has none: name another directory with --state", err)
	}
	b.Door, b.Roots = door, x509.NewCertPool()
	if !b.Roots.AppendCertsFromPEM(pem) {
		return errors.New("demo: the interception authority is no certificate")
	}
	b.client = b.Client()
	return nil
}

func (b *bot) close() {
	for _, p := range b.hosts {
		if p != nil {
			p.close()
		}
	}
	b.queue.Close()
}

// sortTicket is the app at its work: it shows its vendor a ticket.
func sortTicket() scene {
	return scene{
		app: apiHost, method: "POST", path: "/v1/issues", status: http.StatusCreated,
		body: `{"issue":{"title":"Payslips are wrong","body":"Since Monday my salary shows as 12,450 EUR.","priority":"urgent"},` +
			`"reporter":{"id":"acc-81f2","name":"Ada Lovelace","email":"ada.lovelace@acme.example"}}`,
		released: []string{"Payslips are wrong", "Ada Lovelace", "urgent"},
		withheld: []string{"salary", "12,450", "acc-81f2", "ada.lovelace@acme.example"},
		handling: []string{`persisted;fields="issue.title"`, `transit-only;fields="reporter.name"`},
		returned: []string{"Since Monday my salary shows as 12,450 EUR."},
	}
}

// sendStatistics is the app's reporting to a company that nobody has heard of.
func sendStatistics() scene {
	return scene{app: statsHost, method: "POST", path: "/v1/events", body: `{"event":"triage.sorted","count":3}`, status: http.StatusForbidden}
}

// fetchModel is what the second version does.
func fetchModel() scene {
	return scene{app: modelsHost, method: "GET", path: "/v1/models/2", status: http.StatusForbidden}
}
