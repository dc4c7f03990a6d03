package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/hub"
	"github.com/isogate/isogate/internal/isogatetest"
)

// scene is one request of the demo, and everything that must be observed of it.
type scene struct {
	title, moral string
	method, path string
	body         string
	header       map[string]string
	stranger     bool   // sent by somebody without a certificate
	app          string // sent by the app, to this host
	showAnswer   bool   // the answer is part of the scene
	brief        bool   // what is sent was seen already

	status   int
	consent  isogate.EntryID // by which it leaves, or for which it waits
	released []string        // must arrive in plaintext
	sealed   []string        // must arrive as seals
	withheld []string        // must not arrive in any position
	handling []string        // members that Isogate-Handling must have
	returned []string        // must be in the answer that the sender gets
}

// tell tells of one scene as a part of the story.
func (d *demo) tell(s scene) {
	d.act(s.title, s.moral)
	d.run(s)
}

// run runs one scene, shows what was sent beside what arrived, and checks it.
func (d *demo) run(s scene) {
	client, base, far := d.product, d.base, d.portal.place
	switch {
	case s.stranger:
		client = d.stranger
	case s.app != "":
		client, base, far = d.bot.client, "https://"+s.app, d.bot.hosts[s.app]
		s.withheld = append(s.withheld, d.bot.Token)
	}
	before, connected := len(far.received()), far.far.Connections()
	status, header, answer, err := send(client, base, s)
	if err != nil {
		d.failf("the request failed: %v", err)
		return
	}
	arrived := far.received()[before:]
	d.show(s, far, arrived, status, answer)
	d.check(s, arrived, status, header, answer)
	if s.status >= 400 && far.far.Connections() != connected {
		d.failf("somebody connected to the other side for what was refused")
	}
}

func send(c *http.Client, base string, s scene) (status int, header http.Header, body []byte, err error) {
	req, err := http.NewRequest(s.method, base+s.path, strings.NewReader(s.body)) //nolint:noctx // the client has a timeout
	if err != nil {
		return 0, nil, nil, err
	}
	if s.body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("X-Request-Id", "3f1c2a")
	req.Header.Set("Isogate-Session", "demo-session")
	req.Header.Set("Cookie", "sid=product-cookie-secret")
	for name, value := range s.header {
		req.Header.Set(name, value)
	}
	resp, err := c.Do(req)
	var refused *isogatetest.NotConnected
	if errors.As(err, &refused) {
		return refused.Status, http.Header{}, refused.Body, nil
	}
	if err != nil {
		return 0, nil, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err = io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header, body, err
}

func (d *demo) show(s scene, far *place, arrived []isogatetest.Received, status int, answer []byte) {
	sent, sender, to := s.method+" "+s.path, "PRODUCT", "PORTAL"
	if s.app != "" {
		sent, sender, to = s.method+" "+s.app+s.path, "APP", "VENDOR"
	}
	left := pretty([]byte(s.body))
	if s.brief {
		left = nil
	}
	if len(arrived) == 0 {
		columns(d.out, "SENT     "+sent, "ARRIVED  nothing", left, nil)
	}
	for _, r := range arrived {
		right := pretty(r.Body)
		if s.brief {
			right = nil
		}
		columns(d.out, "SENT     "+sent, "ARRIVED  "+r.Method+" "+r.Target, left, right)
		if h := r.Header.Get("Isogate-Handling"); h != "" && !s.brief {
			for i, member := range strings.Split(h, ", ") {
				d.say("   %-18s %s\n", map[bool]string{true: "Isogate-Handling:"}[i == 0], member)
			}
		}
	}
	d.say("   answer %d", status)
	if status >= 400 || s.showAnswer {
		var problem struct{ Detail string }
		if json.Unmarshal(answer, &problem) == nil && problem.Detail != "" {
			d.say(": %s", problem.Detail)
		}
	}
	d.say("\n")
	if s.showAnswer {
		columns(d.out, "THE "+to+" ANSWERED", "THE "+sender+" GOT", pretty(far.lastAnswer()), pretty(answer))
	}
}

// check compares what was observed with what must be.
func (d *demo) check(s scene, arrived []isogatetest.Received, status int, header http.Header, answer []byte) {
	if status != s.status {
		d.failf("the answer has status %d, not %d: %s", status, s.status, answer)
	}
	want := 1
	if s.status >= 400 {
		want = 0
	}
	if len(arrived) != want {
		d.failf("%d requests arrived, not %d", len(arrived), want)
	}
	for _, r := range arrived {
		all := r.Target + "\n" + fmt.Sprint(r.Header) + "\n" + string(r.Body)
		for _, secret := range append(s.withheld, "product-cookie-secret") {
			if strings.Contains(all, secret) {
				d.failf("%q left in plaintext", secret)
			}
		}
		for _, secret := range s.sealed {
			if strings.Contains(all, secret) {
				d.failf("%q left in plaintext", secret)
			}
		}
		if n := len(sealText.FindAllString(all, -1)); n < len(s.sealed) {
			d.failf("%d seals arrived, not %d", n, len(s.sealed))
		}
		for _, plain := range s.released {
			if !strings.Contains(all, plain) {
				d.failf("%q did not arrive", plain)
			}
		}
		for _, h := range s.handling {
			if !strings.Contains(r.Header.Get("Isogate-Handling"), h) {
				d.failf("the other side was not told %s", h)
			}
		}
	}
	for _, back := range s.returned {
		if !bytes.Contains(answer, []byte(back)) {
			d.failf("%q did not come back to the sender", back)
		}
	}
	entry := header.Get("Isogate-Entry")
	if status >= 400 {
		var problem struct{ Entry, Consent string }
		if err := json.Unmarshal(answer, &problem); err != nil {
			d.failf("the refusal is no problem+json: %v", err)
		}
		entry = problem.Entry
		if want := hub.Prefix + "/consents/" + string(s.consent); s.consent != "" && problem.Consent != want {
			d.failf("the sender was told of %q, not of %s", problem.Consent, want)
		}
	}
	e, err := d.server.journal.Get(context.Background(), isogate.EntryID(entry))
	switch {
	case err != nil:
		d.failf("the journal has no entry %q: %v", entry, err)
	case (status >= 400) != (e.Decision == isogate.Refused.String()):
		d.failf("the entry says %s", e.Decision)
	case s.consent != "" && e.Consent != s.consent:
		d.failf("the entry names the consent %q, not %s", e.Consent, s.consent)
	default:
		d.say("   entry  %s %s%s\n", e.ID, e.Decision, counts(e.Fields))
		if d.first == "" {
			d.first = e.ID
		}
	}
	for _, secret := range slices.Concat(s.withheld, s.released, s.sealed) {
		if raw, err := json.Marshal(e); err != nil || bytes.Contains(raw, []byte(secret)) {
			d.failf("the journal holds the value %q", secret)
		}
	}
}
