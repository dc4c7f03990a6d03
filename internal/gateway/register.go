package gateway

import (
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/http1"
	"github.com/isogate/isogate/internal/obfuscate"
	"github.com/isogate/isogate/internal/seal"
)

// registerRows are the identifiers of one request that stay outside, and whom
// they belong to. There are tokens in them, and no value.
type registerRows struct {
	rows []seal.RegisterRow
	// subject is the token of the value with the transit's subject label. Where a
	// request has several, nothing says which identifier is whose.
	subject string
	several bool
	token   []byte
}

func (r *registerRows) reset() {
	clear(r.rows)
	r.rows, r.subject, r.several = r.rows[:0], "", false
}

// tokenOf is o's token of val under l, which only the inside can turn back; false
// for what is too long for one.
func (s *sealing) tokenOf(o *obfuscate.Obfuscator, l isogate.Label, val isogate.Value) (string, bool) {
	r := &s.rows
	var applied isogate.Action
	var err error
	r.token, _, applied, err = o.Replace(r.token[:0], &isogate.Verdict{Action: isogate.Token, Form: isogate.Form{Name: "text"}, Label: l}, val)
	return string(r.token), err == nil && applied == isogate.Token
}

// subjectOf notes whom the identifiers of the request belong to, if val says so.
func (r *registerRows) subjectOf(s *sealing, v *isogate.Verdict, val isogate.Value) {
	if s.settled || r.several || s.p.transit.Subject == "" || v.Label != s.p.transit.Subject || val.Kind == isogate.Null || len(val.Text) == 0 {
		return
	}
	token, ok := s.tokenOf(s.p.target.subjects, v.Label, val)
	if r.several = !ok || r.subject != "" && r.subject != token; !r.several {
		r.subject = token
	}
}

// Note implements [payload.Noter]: val leaves as it is and stays outside.
//
// promise: P17
func (s *sealing) Note(v *isogate.Verdict, val isogate.Value) error {
	s.rows.subjectOf(s, v, val)
	switch {
	case s.refused != nil:
	case s.settled:
		s.refused = &refusal{status: 500, code: "broken", detail: "an identifier was to be registered after the head had left"}
	case !s.p.gate.cfg.Landings.Acknowledged(s.p.transit.Destination.Name, v.Label):
		s.refused = &refusal{status: 403, code: "not-acknowledged", detail: "the landing has not stated that it keeps a register of " + string(v.Label) + "; let it acknowledge the label, or do not let it stay outside"}
	default:
		s.refused = s.rows.add(s, v, val)
	}
	if s.refused != nil {
		return errStopped
	}
	return nil
}

func (r *registerRows) add(s *sealing, v *isogate.Verdict, val isogate.Value) *refusal {
	token, ok := s.tokenOf(s.p.target.identifiers, v.Label, val)
	switch {
	case !ok:
		return registerSize("one is longer than a token can be")
	case slices.ContainsFunc(r.rows, func(row seal.RegisterRow) bool { return row.Label == v.Label && row.ID == token }):
		return nil
	case len(r.rows) == seal.MaxRegisterRows:
		return registerSize(fmt.Sprintf("there are more than %d", seal.MaxRegisterRows))
	}
	row := seal.RegisterRow{Label: v.Label, ID: token, Subject: token, Because: shortened(s.p.transit.Because(v.Rule), seal.MaxBecause), Rule: shortened(v.Rule, seal.MaxRule)}
	if err := row.Check(); err != nil {
		return &refusal{status: 422, code: "content", detail: "an identifier cannot be registered: " + err.Error()}
	}
	r.rows = append(r.rows, row)
	return nil
}

// shortened is a text of the pack's as it fits into the register: cut, and not in
// the middle of a character.
func shortened(s string, most int) string {
	for len(s) > most {
		_, n := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-n]
	}
	return s
}

func registerSize(why string) *refusal {
	return &refusal{status: 413, code: "register-size", detail: "the identifiers that stay outside do not fit into one request's register: " + why + "; send them in several requests"}
}

// appendHeader appends what the landing has to register before it passes the
// request on.
func (r *registerRows) appendHeader(header http1.Fields) (http1.Fields, *refusal) {
	if len(r.rows) == 0 {
		return header, nil
	}
	list := members{name: seal.HeaderRegister, header: header}
	for i := range r.rows {
		row := &r.rows[i]
		if r.subject != "" && !r.several {
			row.Subject = r.subject
		}
		list.next = seal.AppendRegister(list.next[:0], row)
		if list.add(); list.size+2*i > seal.MaxRegisterBytes { // with what joins them
			return header, registerSize("they make more than 32 KiB")
		}
	}
	return list.end(), nil
}
