package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/consent"
)

// tellOfTheAttachment is the story of a file that leaves by a person's own action.
func (d *demo) tellOfTheAttachment(ctx context.Context) {
	const user, ticket, way = "acc-81f2", "1001", "support-attachment"
	s := scene{
		method: "PUT", path: "/to/support-portal/v1/tickets/" + ticket + "/attachments",
		body:   `{"attachment":{"file_name":"payslip-of-ada.txt","content_type":"text/plain","content":"March, net: 12,450.00 EUR","author":"Ada Lovelace"}}`,
		header: map[string]string{"Isogate-User": user}, status: http.StatusCreated,
		released: []string{"March, net: 12,450.00 EUR", "text/plain"},
		withheld: []string{"payslip-of-ada", "Ada Lovelace", user},
		handling: []string{`persisted;fields="attachment.content`},
		returned: []string{"payslip-of-ada.txt"},
	}

	d.act("Ada attaches a file to her ticket", "What she presses is the consent: for this ticket, once, for five minutes. The product asks for it when she does.")
	id, err := d.giveConsent(ctx, way, user, ticket)
	if err != nil {
		d.failf("%v; the rest of the attachment's story is left out", err)
		return
	}
	s.consent, s.header["Isogate-Consent"] = id, string(id)
	d.run(s)
	if action, known := d.server.office.ledger.Actions.Get(id, d.server.now()); !known || action.UsedBy == "" {
		d.failf("the ledger does not know that the consent was used")
	} else {
		d.line("ledger", "it was used by entry %s", action.UsedBy)
	}

	d.act("The same consent a second time", "It was for one use. A program that kept it has nothing.")
	s.status, s.consent, s.brief = http.StatusForbidden, "", true
	s.released, s.handling, s.returned = nil, nil, nil
	d.run(s)
}

// giveConsent tells the gateway of a user's own action, as the product does.
func (d *demo) giveConsent(ctx context.Context, way isogate.Transit, user, subject string) (isogate.EntryID, error) {
	body, err := json.Marshal(map[string]any{"transit": way, "user": user, "subject": subject})
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.base+"/consents", bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := d.product.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err
	}
	var given struct {
		Consent isogate.EntryID
		Once    bool
	}
	if err := json.Unmarshal(answer, &given); err != nil || resp.StatusCode != http.StatusCreated || !given.Once {
		return "", fmt.Errorf("the gateway gave no consent: %d %s", resp.StatusCode, answer)
	}
	d.line("sent", "POST /consents %s", body)
	e, err := d.server.journal.Get(ctx, given.Consent)
	if err != nil {
		return "", err
	}
	if e.Act != consent.Given.String() || e.Transit != way || e.Detail["user"] == "" || e.Detail["subject"] == "" {
		d.failf("entry %s is not that of the consent: %+v", e.ID, e)
	}
	if raw, err := json.Marshal(e); err != nil || strings.Contains(string(raw), user) {
		d.failf("the journal names the user")
	}
	d.line("entry", "%s %s, of a user and a subject that are there as digests", e.ID, e.Act)
	return given.Consent, nil
}
