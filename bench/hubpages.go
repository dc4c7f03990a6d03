package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/journal"
)

// hubPage is an address of the Hub that somebody asks for.
type hubPage struct{ what, path string }

// hubPageTimes is how often each is asked for, one after the other.
const hubPageTimes = 30

// hubPagesQuestion: how long does the Hub take for each of its pages, over a journal of millions
// of entries?
func hubPagesQuestion(ctx context.Context, b *bench, r *report) error {
	dir := b.keep
	if dir == "" {
		dir = filepath.Join(b.dir, "hub")
	}
	at, is, err := b.hubJournal(ctx, dir)
	if err != nil {
		return err
	}
	if err := hubTrail(ctx, dir); err != nil {
		return err
	}
	for _, d := range []string{at, filepath.Join(dir, "trail")} {
		if err := forget(d); err != nil {
			return err
		}
	}
	h, err := startHub(ctx, dir)
	if err != nil {
		return err
	}
	defer h.stop()
	ready := time.Since(h.began)
	pages, err := h.pages(ctx, is)
	if err != nil {
		return err
	}
	var table [][]string
	worst := map[bool]hubWorst{}
	for _, p := range pages {
		took := make([]time.Duration, hubPageTimes)
		size := 0
		for i := range took {
			began := time.Now()
			if size, err = h.ask(ctx, p.path); err != nil {
				return fmt.Errorf("%s (%s): %w", p.what, p.path, err)
			}
			took[i] = time.Since(began)
		}
		first := took[0]
		slices.Sort(took)
		p50, p95, most := took[len(took)/2], took[len(took)*95/100], took[len(took)-1]
		if of := strings.HasPrefix(p.what, "API: "); p95 > worst[of].took {
			worst[of] = hubWorst{p95, p.what}
		}
		table = append(table, []string{p.what, millis(p50), millis(p95), millis(most), millis(first), fmt.Sprintf("%d KiB", (size+1023)/1024)})
	}
	r.say("## The Hub's pages, over %s entries", thousands(b.entries))
	r.say("A Hub over a journal of %s entries of %d days, %s of them rows (the rest say how releases ended), sealed; its ledger, its trail and a pack, asked over HTTP on loopback by another process, for each address %d times in a row. "+
		"%s grants of administrators are in force, and users gave %s consents, %s a day. First is the first of those times. "+
		"The process answers %.1f s after its start, with the files of journal and trail taken out of the page cache before: it reads every consent of the journal, and what the trail has for each day.",
		thousands(b.entries), hubDays, thousands(is.rows), hubPageTimes, thousands(hubIdle*hubIdleRows+len(hubParties)), thousands(is.users), thousands(is.users/hubDays), ready.Seconds())
	r.table([]string{"page", "p50", "p95", "max", "first", "bytes"}, table)
	r.budget("Hub: any page over 10 million entries, any filter, p95", "≤ 300 ms", worst[false].took <= hubBudget, worst[false].String())
	r.budget("Hub: any call of its API, p95", "≤ 300 ms", worst[true].took <= hubBudget, worst[true].String())
	return nil
}

// hubWorst is what took longest.
type hubWorst struct {
	took time.Duration
	what string
}

func (w hubWorst) String() string { return millis(w.took) + " (" + w.what + ")" }

// hubTrail builds the trail as far as it is not built.
func hubTrail(ctx context.Context, dir string) error {
	j, err := journal.OpenReader(filepath.Join(dir, "journal"))
	if err != nil {
		return err
	}
	defer func() { _ = j.Close() }()
	_, err = buildTrail(ctx, filepath.Join(dir, "trail"), j)
	return err
}

// hubProcess is a Hub in a process of its own.
type hubProcess struct {
	base  string
	began time.Time
	stop  func()
}

// startHub starts it, and waits until it answers.
func startHub(ctx context.Context, dir string) (*hubProcess, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	addr := ln.Addr().String()
	if err := ln.Close(); err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, "hubserve", "-dir", dir, "-addr", addr)
	cmd.Stderr = os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	h := &hubProcess{base: "http://" + addr, began: time.Now()}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	gone := make(chan error, 1)
	go func() { gone <- cmd.Wait() }()
	h.stop = func() {
		_ = cmd.Process.Signal(os.Interrupt)
		<-gone
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := h.ask(ctx, "/readyz"); err == nil {
			if _, err := h.ask(ctx, "/"); err == nil {
				return h, nil
			}
		}
		select {
		case <-tick.C:
		case err := <-gone:
			gone <- err
			return nil, fmt.Errorf("the Hub ended: %w", err)
		case <-ctx.Done():
			h.stop()
			return nil, ctx.Err()
		}
	}
}

// ask asks for a page, or calls the API, and reads all of the answer; of a live tail, its first line.
func (h *hubProcess) ask(ctx context.Context, path string) (size int, err error) {
	body, err := h.get(ctx, path)
	return len(body), err
}

func (h *hubProcess) get(ctx context.Context, path string) ([]byte, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.base+path, nil)
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(path, "/api/") {
		req.Header.Set("Authorization", "Bearer "+hubToken)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		said, _ := io.ReadAll(io.LimitReader(resp.Body, 300))
		return nil, fmt.Errorf("%s: %s", resp.Status, said)
	}
	if resp.Header.Get("Content-Type") != "text/event-stream" {
		return io.ReadAll(resp.Body)
	}
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "data:") {
			return lines.Bytes(), nil
		}
	}
	return nil, errors.Join(errors.New("the tail ended"), lines.Err())
}

var hubOlderRE = regexp.MustCompile(`href="(/explore\?[^"]*after=[^"]*)"`)

// pages are all that is asked for.
func (h *hubProcess) pages(ctx context.Context, is hubJournal) (all []hubPage, err error) {
	add := func(what, path string) { all = append(all, hubPage{what, path}) }
	for _, span := range []string{"day", "week", "month"} {
		add("overview, "+span, "/?span="+span)
	}
	add("consents", "/consents")
	add("consents of one app", "/consents?party=app%2Fapp-00")
	add("a grant that much left by", "/consents/"+string(is.grant))
	add("apps", "/apps")
	add("an app", "/apps/app/app-00")
	explore := func(what string, pairs ...string) {
		q := url.Values{}
		for i := 0; i < len(pairs); i += 2 {
			q.Add(pairs[i], pairs[i+1])
		}
		path := "/explore"
		if len(q) > 0 {
			path += "?" + q.Encode()
		}
		add("what left: "+what, path)
	}
	explore("no filter")
	for _, s := range []string{"hour", "day", "week", "month", "quarter"} {
		explore("span "+s, "span", s)
	}
	explore("from and to, odd", "since", "2026-09-03T07:13:00Z", "before", "2026-11-11T22:41:00Z")
	explore("from and to, three hours", "since", "2026-10-14T07:13:00Z", "before", "2026-10-14T10:41:00Z")
	for _, f := range [][2]string{
		{"source", "product/service-0"}, {"source", "app/app-39"}, {"app", "app-00"}, {"app", "app-39"}, {"purpose", "support"}, {"purpose", "identity"},
		{"transit", "transit-00"}, {"transit", "transit-11"}, {"destination", "destination-0"}, {"destination", "destination-7"}, {"destination", "api2.vendor-39.example"},
		{"label", "personal.**"}, {"label", "billing.amount"}, {"label", "unclassified"}, {"path", "part0.field0"}, {"path", "email"}, {"action", "allow"}, {"action", "hash"},
		{"handling", "persisted"}, {"handling", "temporary"}, {"decision", "released"}, {"decision", "refused"}, {"rule", "transits/transit-01.yaml:11"}, {"rule", "transits/transit-11.yaml:20"},
		{"pack", is.digest}, {"pack", hubDigest(0, "")}, {"consent", string(is.grant)}, {"consent", string(is.user)}, {"open", "no"},
		{"kind", "egress"}, {"kind", "consent"}, {"kind", "landing"}, {"kind", "admin"}, {"kind", "update"}, {"q", "contact"}, {"q", "vendor-39"}, {"q", "xyzzy"},
	} {
		explore(f[0]+"="+short(f[1]), f[0], f[1])
	}
	explore("decision and purpose", "decision", "released", "purpose", "support")
	explore("label and action", "label", "personal.**", "action", "allow")
	explore("transit and open", "transit", "transit-01", "open", "no")
	explore("consent and label", "consent", string(is.grant), "label", "personal.**")
	explore("text and decision", "q", "vendor", "decision", "refused")
	explore("decision, purpose and label", "decision", "released", "purpose", "support", "label", "personal.**")
	explore("source, destination and handling", "source", "product/service-1", "destination", "destination-1", "handling", "persisted")
	explore("label, action and a month", "label", "personal.contact.email", "action", "token", "span", "month")
	explore("user's consent, text and action", "consent", string(is.user), "q", "contact", "action", "token")
	explore("nothing that there is", "transit", "transit-00", "destination", "destination-7")
	deep, err := h.deep(ctx, "/explore", 10)
	if err != nil {
		return nil, err
	}
	add("what left: the tenth page behind the first", deep)
	add("what left: far behind", "/explore?after=o4000000")
	add("what left: refused, far behind", "/explore?decision=refused&after=o4000000")
	one := func(query string) (isogate.EntryID, error) {
		body, err := h.get(ctx, "/api/v1/entries?limit=1&"+query)
		if err != nil {
			return "", err
		}
		var list struct {
			Entries []struct{ Entry isogate.Entry }
		}
		if err := json.Unmarshal(body, &list); err != nil || len(list.Entries) == 0 {
			return "", fmt.Errorf("no entry of %s: %w", query, err)
		}
		return list.Entries[0].Entry.ID, nil
	}
	for _, e := range []struct{ what, query string }{{"a release", "decision=released"}, {"an old release", "decision=released&before=2026-09-03"}, {"a refusal", "decision=refused"}, {"a consent", "kind=consent&before=2026-11-25"}, {"a receipt", "kind=landing"}} {
		id, err := one(e.query)
		if err != nil {
			return nil, err
		}
		add("entry: "+e.what, "/entries/"+string(id))
		if strings.HasSuffix(e.what, "release") {
			add("proof: "+e.what, "/entries/"+string(id)+"/proof")
		}
	}
	add("policies", "/policies")
	add("the pack in force", "/policies/"+is.digest)
	add("a transit of it", "/policies/"+is.digest+"/transits/transit-01")
	add("health", "/health")
	add("outside", "/outside")
	add("people", "/people")
	add("API: entries", "/api/v1/entries")
	add("API: entries of a label, a thousand", "/api/v1/entries?label=personal.**&limit=1000")
	add("API: entries/count", "/api/v1/entries/count")
	add("API: entries/count of a label", "/api/v1/entries/count?label=personal.**")
	add("API: entries/tally by day and family", "/api/v1/entries/tally?by=day&by=family")
	add("API: entries/tally by hour and action", "/api/v1/entries/tally?by=hour&by=action")
	add("API: entries/tally by transit and path", "/api/v1/entries/tally?by=transit&by=path")
	add("API: overview, month", "/api/v1/overview?span=month")
	add("API: consents", "/api/v1/consents")
	add("live tail, its page", "/explore/tail")
	body, err := h.get(ctx, "/explore/tail")
	if err != nil {
		return nil, err
	}
	if m := regexp.MustCompile(`[?&;]from=([0-9]+)`).FindSubmatch(body); m != nil {
		var n int
		if _, err := fmt.Sscan(string(m[1]), &n); err == nil && n > 100 {
			add("live tail, its first event", fmt.Sprintf("/explore/tail/events?from=%d", n-100))
		}
	}
	return all, nil
}

// deep is the address of a page some pages behind a first one.
func (h *hubProcess) deep(ctx context.Context, path string, n int) (string, error) {
	for range n {
		body, err := h.get(ctx, path)
		if err != nil {
			return "", err
		}
		m := hubOlderRE.FindSubmatch(body)
		if m == nil {
			return "", fmt.Errorf("%s has no page behind it", path)
		}
		path = strings.ReplaceAll(string(m[1]), "&amp;", "&")
	}
	return path, nil
}

func short(s string) string {
	if len(s) > 28 {
		return s[:14] + "…" + s[len(s)-8:]
	}
	return s
}
