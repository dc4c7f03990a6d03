package gateway

import (
	"fmt"
	"slices"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/http1"
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

// tokenOf is the tenant's token of val under l, which only the inside can turn
// back; false for what is too long for one.
func (s *sealing) tokenOf(l isogate.Label, val isogate.Value) (string, bool) {
	r := &s.rows
	var applied isogate.Action
	var err error
	r.token, _, applied, err = s.p.target.obfuscator.Replace(r.token[:0], &isogate.Verdict{Action: isogate.Token, Form: isogate.Form{Name: "text"}, Label: l}, val)
	return string(r.token), err == nil && applied == isogate.Token
}

// subjectOf notes whom the identifiers of the request belong to, if val says so.
func (r *registerRows) subjectOf(s *sealing, v *isogate.Verdict, val isogate.Value) {
	if s.settled || r.several || s.p.transit.Subject == "" || v.Label != s.p.transit.Subject || val.Kind == isogate.Null || len(val.Text) == 0 {
		return
	}
	token, ok := s.tokenOf(v.Label, val)
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
	token, ok := s.tokenOf(v.Label, val)
	switch {
	case !ok:
		return registerSize("one is longer than a token can be")
	case slices.ContainsFunc(r.rows, func(row seal.RegisterRow) bool { return row.Label == v.Label && row.ID == token }):
		return nil
	case len(r.rows) == seal.MaxRegisterRows:
		return registerSize(fmt.Sprintf("there are more than %d", seal.MaxRegisterRows))
	}
	r.rows = append(r.rows, seal.RegisterRow{Label: v.Label, ID: token, Because: s.p.transit.Because(v.Rule), Rule: v.Rule})
	return nil
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
	var value []byte
	for i := range r.rows {
		row := &r.rows[i]
		if row.Subject = r.subject; row.Subject == "" || r.several {
			row.Subject = row.ID
		}
		if i > 0 {
			value = append(value, ", "...)
		}
		value = seal.AppendRegister(value, row)
		if len(value) > seal.MaxRegisterBytes {
			return header, registerSize("they make more than 32 KiB")
		}
	}
	return append(header, http1.Field{Name: seal.HeaderRegister, Value: string(value)}), nil
}
