package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/consent"
	"github.com/isogate/isogate/internal/policy"
	"github.com/isogate/isogate/internal/remote"
)

// hubParties are those that send by consents of administrators: transits first, then
// apps, as moulds name them by their number.
var hubParties = func() (all []hubParty) {
	for t := range hubTransits {
		name := isogate.Transit(fmt.Sprintf("transit-%02d", t))
		all = append(all, hubParty{consent.Party("transit/" + name), []remote.Row{consent.TransitRow(name)}})
	}
	for a := range hubApps {
		p := hubParty{consent.Party(fmt.Sprintf("app/app-%02d", a)), nil}
		for variant := range 3 {
			p.rows = append(p.rows, hubRow(fmt.Sprintf("api%d.vendor-%d.example", variant, a)))
		}
		all = append(all, p)
	}
	return all
}()

type hubParty struct {
	party consent.Party
	rows  []remote.Row
}

const (
	hubTransits = 12
	hubApps     = 40
	// hubIdle is how many apps were granted hubIdleRows rows, one by one, that they never used, and ask for one more.
	hubIdle     = 300
	hubIdleRows = 10
)

func hubRow(host string) remote.Row {
	return remote.Row{Kind: remote.Backend, Host: host, Port: 443, Operations: remote.Compute, EndUserData: true}
}

var ada = consent.Actor{Name: "ada", SignedIn: "passkey"}

// act writes an act of the ledger.
func (w *hubWriter) act(at time.Time, a consent.Act) (isogate.EntryID, uint64) {
	id, _ := w.place(at)
	e := a.Entry()
	e.ID, e.Seq, e.Time, e.Tenant = id, uint64(w.seq), at.Truncate(time.Microsecond), "bench"
	body, _ := json.Marshal(e) // an entry always can be
	_, _ = w.outbox.Exec("consent", int64(w.seq))
	w.put(body)
	w.is.rows++
	return id, e.Seq
}

// grant writes how one party came to a grant: it asked, and somebody agreed.
func (w *hubWriter) grant(at time.Time, p hubParty, rows []remote.Row) isogate.EntryID {
	asked, base := w.act(at, consent.Act{What: consent.Requested, Party: p.party, Rows: rows, Actor: consent.Actor{Name: "grace", SignedIn: "passkey"}, Answer: consent.DefaultAnswer, Reason: "it is needed"})
	id, _ := w.act(at, consent.Act{What: consent.Granted, Party: p.party, Of: asked, Base: base, Rows: rows, Actor: ada, Terms: consent.Terms{Until: hubEnd.AddDate(0, 3, 0)}, Reason: "it is needed"})
	return id
}

// declare writes the manifest of an app.
func (w *hubWriter) declare(at time.Time, p hubParty) {
	if _, app := p.party.Source(); app {
		w.act(at, consent.Act{What: consent.Declared, Party: p.party, Rows: p.rows, Actor: ada,
			Manifest: consent.Manifest{ID: "ari:cloud:ecosystem::" + string(p.party), Name: "The app " + string(p.party), Version: "1.0.0", Digest: "sha256:" + strings.Repeat("ab", 32)}})
	}
}

// renew gives every party a grant in place of the one that it had.
func (w *hubWriter) renew(at time.Time) {
	for i, p := range hubParties {
		if was := w.grants[i]; was == "" {
			w.declare(at, p)
		} else {
			w.act(at, consent.Act{What: consent.Revoked, Party: p.party, Of: was, Actor: ada, Reason: "it is renewed"})
		}
		w.grants[i] = w.grant(at, p, p.rows)
	}
}

// idle gives an app its grants, and has it ask for more.
func (w *hubWriter) idle(at time.Time, i int) {
	p := hubParty{consent.Party(fmt.Sprintf("app/idle-%03d", i)), nil}
	for row := range hubIdleRows + 1 {
		p.rows = append(p.rows, hubRow(fmt.Sprintf("api%d.idle-%d.example", row, i)))
	}
	w.declare(at, p)
	for row := range hubIdleRows {
		w.grant(at, p, p.rows[row:row+1])
	}
	if i%10 == 0 {
		w.act(at, consent.Act{What: consent.Requested, Party: p.party, Rows: p.rows[hubIdleRows:], Actor: consent.Actor{Name: "grace", SignedIn: "passkey"}, Answer: 180 * 24 * time.Hour, Reason: "it is needed"})
	}
}

// user writes that a user let something out.
func (w *hubWriter) user(at time.Time) isogate.EntryID {
	id, _ := w.act(at, consent.Act{What: consent.Given, Actor: consent.Actor{Name: "product/service-0"}, Transit: "transit-00", Source: "product/service-0",
		User: string(w.hex(nil, 32)), Subject: string(w.hex(nil, 32)), Terms: consent.Terms{Until: at.Add(time.Hour)}})
	return id
}

// loaded writes that gateways judge by a pack.
func (w *hubWriter) loaded(at time.Time, digest string, version int) {
	for _, gateway := range []string{"gate-1", "gate-2"} {
		w.other(at, "pack", fmt.Sprintf(`"pack":%q,"actor":"isogate serve","act":"pack loaded","detail":{"gateway":%q,"name":"acme","version":"%d"}`, digest, gateway, version))
	}
}

// hubPack writes the pack that is in force at the end, with the rules that entries name.
func hubPack(dir string) (*policy.Pack, error) {
	if err := os.RemoveAll(dir); err != nil {
		return nil, err
	}
	if err := write(dir, "pack.yaml", "pack: acme\nversion: 6\n"); err != nil {
		return nil, err
	}
	var to strings.Builder
	to.WriteString("destinations:\n")
	for d := range 8 {
		fmt.Fprintf(&to, "  - {name: destination-%d, url: https://destination-%d.example}\n", d, d)
	}
	if err := write(dir, "destinations.yaml", to.String()); err != nil {
		return nil, err
	}
	for t := range hubTransits {
		var c, s strings.Builder
		fmt.Fprintf(&c, "contract: part-%02d\nformat: json\nfields:\n", t)
		consents := "none"
		if t%3 == 1 {
			consents = "admin"
		}
		fmt.Fprintf(&s, "transit: transit-%02d\npurpose: %s\nsource: [product/service-%d]\ndestination: destination-%d\nconsent: %s\nmatch: [\"POST /t%d/v1/sessions\", \"POST /t%d/v2/events\"]\nrequest:\n  contract: part-%02d\n  release:\n",
			t, hubPurposes[t%len(hubPurposes)], t%5, t%8, consents, t, t, t)
		for f := range 4 + t%9 {
			label := hubLabels[(t+f)%len(hubLabels)]
			if label == "unclassified" {
				label = "system.metadata"
			}
			fmt.Fprintf(&c, "  part%d.field%d: %s\n", f%3, f, label)
			if label = hubLabels[(t+f)%len(hubLabels)]; label == "unclassified" {
				label = "system.**"
			}
			fmt.Fprintf(&s, "    - {label: %q, as: mask, handling: persisted, because: Needed, owner: bench, until: 2027-06-30}\n", label)
		}
		name := fmt.Sprintf("-%02d.yaml", t)
		if err := write(dir, "contracts/part"+name, c.String()); err != nil {
			return nil, err
		}
		if err := write(dir, "transits/transit"+name, s.String()); err != nil {
			return nil, err
		}
	}
	return policy.Load(filepath.Clean(dir))
}
