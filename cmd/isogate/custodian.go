package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/custody"
	"github.com/isogate/isogate/internal/hub"
	"github.com/isogate/isogate/internal/obfuscate"
	"github.com/isogate/isogate/internal/policy"
	"github.com/isogate/isogate/internal/tenant"
)

// custodyLandings are the landings of a plan, as a gateway reaches them.
func custodyLandings(plan *policy.Plan, hosts map[string]string, keys *tenant.Keyring, emailDomain string) ([]custody.Landing, error) {
	var out []custody.Landing
	for _, d := range plan.Destinations() {
		if d.Landing == nil || d.URL == nil {
			continue
		}
		l := custody.Landing{Destination: d.Name, URL: d.URL, At: hosts[d.URL.Hostname()], Key: d.Landing}
		c := obfuscate.Config{Tenant: keys.Tenant(), Destination: d.Name, Labels: plan.Labels(d.Name), Keys: keys, EmailDomain: emailDomain, Use: obfuscate.Identifiers}
		var err error
		l.Identifiers, err = obfuscate.New(c)
		if c.Use = obfuscate.Subjects; err == nil {
			l.Subjects, err = obfuscate.New(c)
		}
		if err != nil {
			return nil, fmt.Errorf("destination %s: keys: %w", d.Name, err)
		}
		out = append(out, l)
	}
	return out, nil
}

// custodian is what the outside holds as the Hub shows it.
type custodian struct{ *custody.Custody }

// Landings implements [hub.Custody].
func (c custodian) Landings() []hub.Landing {
	out := []hub.Landing{}
	for _, s := range c.Custody.Landings() {
		v := hub.Landing{Destination: s.Destination, Landing: s.Landing, Valid: s.Valid, Trouble: s.Trouble, Epoch: s.Epoch, NotAfter: instantOf(s.NotAfter),
			Fetched: instantOf(s.Fetched), Acknowledges: s.Acknowledge, Receipt: s.Receipt, ReceiptAt: instantOf(s.ReceiptAt), ReceiptEntry: s.ReceiptIn, Broken: s.Broken,
			KeysOut: s.KeysOut, NextDue: instantOf(s.NextDue), KeysOverdue: s.KeysOverdue, Overdue: []hub.OverdueKey{}, ErasuresOpen: s.Erasures}
		if s.Max > 0 {
			v.Idle, v.Max = s.Idle.String(), s.Max.String()
		}
		if v.Acknowledges == nil {
			v.Acknowledges = []isogate.LabelPattern{}
		}
		for _, k := range s.Overdue {
			v.Overdue = append(v.Overdue, hub.OverdueKey{Key: k.ID.String(), Transit: k.Transit, Handling: k.Handling, Due: k.Due})
		}
		out = append(out, v)
	}
	return out
}

func instantOf(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// Subjects implements [hub.Custody].
func (c custodian) Subjects(ctx context.Context, q hub.SubjectQuery) (hub.SubjectList, error) {
	p, err := c.Custody.Subjects(ctx, custody.Query{Value: q.Value, Destination: q.Destination, After: q.After, Limit: q.Limit})
	if err != nil {
		return hub.SubjectList{}, unknownLanding(err)
	}
	list := hub.SubjectList{Subjects: make([]hub.Subject, len(p.Subjects)), Next: p.Next}
	for i, s := range p.Subjects {
		list.Subjects[i] = hub.Subject{Destination: s.Destination, Label: s.Label, Value: s.Value, Subject: s.Subject, Because: s.Because, Rule: s.Rule,
			Entry: s.Entry, Since: s.Since.UTC(), Last: s.Last.UTC(), Token: s.Token, Unreadable: s.Unreadable}
	}
	return list, nil
}

func unknownLanding(err error) error {
	if errors.Is(err, custody.ErrUnknown) {
		return hub.ErrNoLanding
	}
	return err
}

// Erase implements [hub.Custody].
func (c custodian) Erase(ctx context.Context, o hub.ErasureOrder) ([]hub.Erasure, error) {
	list, err := c.Custody.Erase(ctx, custody.Order{Value: o.Value, Label: o.Label, Destination: o.Destination, Reason: o.Reason,
		By: custody.Actor{Name: o.By.Name, SignedIn: o.By.SignedIn}})
	return erasures(list), unknownLanding(err)
}

// Erasures implements [hub.Custody].
func (c custodian) Erasures() []hub.Erasure { return erasures(c.Custody.Erasures()) }

func erasures(list []custody.Erasure) []hub.Erasure {
	out := make([]hub.Erasure, len(list))
	for i, e := range list {
		out[i] = hub.Erasure{ID: e.ID, Destination: e.Destination, State: e.State, By: e.By, Reason: e.Reason, At: e.At.UTC(), Labels: make([]isogate.Label, len(e.Rows)),
			Confirmed: instantOf(e.Settled), Receipt: e.Receipt}
		for j, r := range e.Rows {
			out[i].Labels[j] = r.Label
		}
	}
	return out
}

// withCustody runs do with what the outside holds, where no gateway runs: over the
// journal that a command has opened.
func withCustody(ctx context.Context, o *opened, logger *slog.Logger, do func(custodian) error) (err error) {
	pack, err := loadPolicy(o.cfg.Pack)
	if err != nil {
		return err
	}
	up := o.cfg.Gateway.Upstream
	landings, err := custodyLandings(pack.Plan(), up.Hosts, o.keys, up.EmailDomain)
	if err != nil {
		return err
	}
	s := &server{cfg: o.cfg, logger: logger, now: o.now}
	client, err := s.newClient(s.newDialer().DialContext)
	if err != nil {
		return err
	}
	defer client.CloseIdle()
	c, err := custody.New(custody.Config{Tenant: o.cfg.Tenant, Journal: o.journal, Client: client, Keys: o.keys, Logger: logger, Now: o.now}, landings...)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	ran := make(chan error, 1)
	go func() { ran <- c.Run(ctx) }()
	defer func() {
		stop()
		err = errors.Join(err, <-ran)
	}()
	reading, done := context.WithTimeout(ctx, reachLedger)
	defer done()
	if err := c.Reach(reading); err != nil {
		return err
	}
	return do(custodian{c})
}
