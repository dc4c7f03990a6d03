// Package policy reads packs of policy as code, checks them and compiles them
// into the plan that the gateway judges by.
//
// A pack is a directory:
//
//	pack.yaml            its name and version
//	taxonomy.yaml        labels of its own (optional)
//	destinations.yaml    the outside services
//	contracts/*.yaml     which field of a body carries which label
//	transits/*.yaml      the ways out, and the rules that release labels over them
//	never.yaml           what no rule may ever release (optional)
//	tests/               cases, each a request with what must leave of it (optional)
//
// One transit in full, with the contract it uses:
//
//	transit: support-session
//	purpose: support
//	source: [product/help-desk]
//	destination: support-portal
//	consent: user-action                # none, user-action or admin
//	match: [POST /v1/sessions, "GET /v1/users/{accountId}/tickets"]
//	session: header Isogate-Session     # or request, the default
//	subject: personal.contact.email     # whose the identifiers are that a landing registers
//	request:
//	  contract: support-session
//	  release:
//	    - label: personal.contact.email
//	      as: allow
//	      handling: persisted
//	      because: Primary identifier of tickets
//	      owner: team-support
//	      until: 2027-06-30             # in force through that day, UTC
//	      when: method == "POST"        # a CEL condition on the envelope
//	  query: {tab: system.metadata}
//	  path: {accountId: identifier.user.account_id}
//	  headers: {X-Request-Id: identifier.correlation.request_id}
//	response: {restore: true, max: 4MiB}
//
//	contract: support-session
//	format: json
//	fields:
//	  user.email: personal.contact.email
//	  tickets[].title: ugc.title
//	  raw: {label: system.metadata, parse: json}
//
// A destination is a service of ours, or the remote of an app, which apps alone
// reach, with an administrator's consent. The way to a remote is inspected like
// any other, or it is a tunnel, which passes every byte unread and is an
// exemption as a whole:
//
//	transit: vault-upload
//	purpose: app
//	source: [app/vault]
//	destination: vault                  # {name: vault, remote: "upload.vault.example:8443"}
//	consent: admin
//	mode: tunnel
//	because: Backups are encrypted by the app itself
//	owner: team-apps
//	until: 2027-03-31
//	budget: {requests: 48, bytes: 20GiB, per: 24h}
//
// The verdict on a label is its default treatment in the taxonomy, unless a rule
// that selects it is in force; then it is the strictest of all the rules that
// select it. The order of files and rules never matters, a rule that has ended
// never makes anything more exposing, and a field that carries several labels
// has the strictest of their verdicts. What a consent is limited to narrows the
// verdicts, and never loosens one ([Transit.Narrow]).
//
// Towards a destination with a landing what a verdict asks of the far side is
// enforced: what would leave as it is, or in part, for a session or a time is
// sealed, and what stays outside must be registered. Towards others it is declared.
//
// Files are YAML of which only the plain part is taken: no anchors, aliases,
// merge keys, tags or second documents, and no unknown or repeated keys. Every
// mistake of a pack is found in one run, each with its file, line and column,
// what is wrong and what to do.
package policy
