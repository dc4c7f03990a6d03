package main

// toPortal is where the product's requests to the portal go.
const toPortal = "/to/support-portal"

// visit is how the story begins: Ada, who works at Acme, asks for support. What the
// portal learns of her for the while leaves sealed.
func (d *demo) visit() []scene {
	const to = toPortal
	return []scene{
		{
			title:  "Ada opens the support portal",
			moral:  "Five fields have a rule that lets them out. Four are to end with her session: they leave as seals. The rest leaves as tokens.",
			method: "POST", path: to + "/v1/sessions",
			body: `{"user":{"email":"ada.lovelace@acme.example","displayName":"Ada Lovelace","accountId":"acc-81f2","locale":"en-GB",` +
				`"nickname":"Countess","timeZone":"Europe/London"},"site":{"domain":"tickets.acme.example"},` +
				`"tickets":[{"id":"T-17","title":"Payroll run fails","status":"open"}],"product":{"name":"help-center","version":"9.2"}}`,
			status:   201,
			released: []string{"ada.lovelace@acme.example", "9.2"},
			sealed:   []string{"Ada Lovelace", "acc-81f2", "en-GB", "Countess"},
			withheld: []string{"Payroll", "Europe/London"},
			handling: []string{`persisted;fields="user.email"`, "transit-only;fields="},
			returned: []string{"Ada Lovelace", "Countess"},
		},
		{
			title:  "She signs in",
			moral:  "The same address, for another end: the portal may have it for five minutes, so it gets a seal whose key ends then.",
			method: "POST", path: to + "/v1/logins",
			body:     `{"email":"ada.lovelace@acme.example","identityProvider":"login.acme.example","requestId":"r-7"}`,
			status:   201,
			sealed:   []string{"ada.lovelace@acme.example"},
			handling: []string{`temporary;ttl=300;fields="email"`},
		},
		{
			title:  "She wants a code by e-mail",
			moral:  "And once more, for three seconds: so that you can watch it end. A way of this demo's own pack.",
			method: "POST", path: to + "/v1/codes",
			body:     `{"email":"ada.lovelace@acme.example"}`,
			status:   201,
			sealed:   []string{"ada.lovelace@acme.example"},
			handling: []string{`temporary;ttl=3;fields="email"`},
		},
	}
}

// story is what happens then.
func (d *demo) story() []scene {
	const to = toPortal
	return []scene{
		{
			title:  "She opens a ticket",
			moral:  "What people write is theirs: it leaves as tokens, of which only the boundary can make text again.",
			method: "POST", path: to + "/v1/tickets",
			body: `{"ticket":{"subject":"Payslips are wrong","description":"Since Monday my salary shows as 12,450 EUR.",` +
				`"priority":"urgent","requester":{"name":"Ada Lovelace","email":"ada.lovelace@acme.example"}}}`,
			status:   201,
			released: []string{"ada.lovelace@acme.example", "urgent"},
			withheld: []string{"Payslips", "salary", "12,450", "Ada Lovelace"},
			handling: []string{`persisted;fields="ticket.requester.email"`},
			returned: []string{"Payslips are wrong"},
		},
		{
			title:  "She comments on it",
			moral:  "The number in the path is the portal's own, so a rule lets it out; what she writes is hers.",
			method: "POST", path: to + "/v1/tickets/1001/comments",
			body:     `{"comment":{"body":"It is the March payslip, employee 4711.","public":true}}`,
			status:   201,
			withheld: []string{"March payslip", "employee 4711"},
			returned: []string{"March payslip"},
		},
		{
			title:      "She looks at her tickets: the round trip",
			moral:      "The portal stored tokens and answers with them. The gateway turns them back: the product behaves as before.",
			method:     "GET",
			path:       to + "/v1/tickets",
			status:     200,
			showAnswer: true,
			returned:   []string{"Payslips are wrong", "Since Monday my salary shows as 12,450 EUR.", "It is the March payslip, employee 4711."},
		},
		{
			title:  "A release of the product adds a field that nobody classified",
			moral:  "What no contract names is unclassified: its name and value leave obfuscated until somebody labels it.",
			method: "POST", path: to + "/v1/tickets",
			body:     `{"ticket":{"subject":"Second try","x_internal_note":"churn risk, discount 40 percent"}}`,
			status:   201,
			withheld: []string{"x_internal_note", "churn", "discount", "Second try"},
		},
		{
			title:  "A body that two parsers would read differently",
			moral:  "Is the subject “Hello” or the password? The second key is the first one, spelled with an escape. Ambiguity is refused.",
			method: "POST", path: to + "/v1/tickets",
			body:     `{"ticket":{"subject":"Hello","subj\u0065ct":"hunter2-is-my-password"}}`,
			status:   422,
			withheld: []string{"hunter2"},
		},
		{
			title:  "Somebody on the same network without a certificate",
			moral:  "Unknown callers are refused, and the journal says so.",
			method: "POST", path: to + "/v1/tickets", stranger: true,
			body:     `{"ticket":{"subject":"exfiltrated-secret"}}`,
			status:   401,
			withheld: []string{"exfiltrated-secret"},
		},
		{
			title:  "The product tries a way that no policy knows",
			moral:  "There is no transit for it, so there is no way out.",
			method: "POST", path: to + "/v1/exports",
			body:   `{"everything":"customer-database-dump"}`,
			status: 403, withheld: []string{"customer-database-dump"},
		},
	}
}
