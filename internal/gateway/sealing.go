package gateway

import (
	"errors"
	"fmt"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/http1"
	"github.com/isogate/isogate/internal/payload"
	"github.com/isogate/isogate/internal/policy"
	"github.com/isogate/isogate/internal/seal"
)

// sealing is how the values of one request leave for a destination with a
// landing: the obfuscator's replacements, and around them seals. It notes on the
// way what has to be registered. It is a [payload.Noter], and the passage's own.
type sealing struct {
	p       *passage
	keys    []sealKey // room for seal.MaxKeys from the beginning: a passage of a key must not be moved
	settled bool      // the head has left, or is about to: no key can be asked for any more
	left    []byte    // what a mask left of a value, before it is sealed
	session string    // digest; "" is by request
	rows    registerRows
	refused *refusal // why the walk was broken off, where that is not the content's fault
}

// sealKey is one seal key of a request: at most one per handling and time to live.
type sealKey struct {
	of        policy.Lifetime
	passage   seal.Passage
	unclaimed bool // the wrapped key goes along: the landing has to say that it holds it
}

// errStopped ends a walk that sealing.refused says the reason of.
var errStopped = errors.New("the walk was broken off")

func (s *sealing) reset() {
	if s.session == "" {
		for i := range s.keys {
			if s.keys[i].of.Handling == isogate.TransitOnly {
				s.keys[i].passage.Sealer().Destroy() // by request: nobody else has it
			}
		}
	}
	clear(s.keys) // lets go of the sealers
	s.keys, s.settled, s.session, s.refused = s.keys[:0], false, "", nil
	s.left = bounded(s.left)
	s.rows.reset()
}

// replacer is what the values of the request are replaced by.
func (p *passage) replacer() payload.Replacer {
	if p.target.landing {
		return &p.sealing
	}
	return p.target.obfuscator
}

// maxSession is the longest value, in bytes, that names a session.
const maxSession = 1 << 10

// enter readies the sealing for the request: which session is it of? A header
// that names two sessions, or none at all, has no answer that the caller and a
// receiver must agree on.
//
// promise: P16
func (s *sealing) enter(p *passage) *refusal {
	s.p = p
	if !p.target.landing {
		return nil
	}
	if p.gate.cfg.Landings == nil {
		return noLanding("this gateway keeps no keys for landings")
	}
	name := p.transit.SessionHeader
	if name == "" {
		return nil
	}
	h := p.x.Request.Header
	value, there := h.Lookup(name)
	switch {
	case !there:
		return nil
	case h.Count(name) > 1 || value == "":
		return &refusal{status: 400, code: "header", detail: "the header that carries the session is there more than once, or empty; send it once, with a value, or leave it out"}
	case len(value) > maxSession:
		return &refusal{status: 400, code: "header", detail: "the header that carries the session is longer than 1 KiB"}
	}
	s.session = p.gate.cfg.Landings.SessionDigest(p.transit.Destination.Name, value)
	return nil
}

// noLanding is the refusal where nothing can be sealed for the destination.
func noLanding(why string) *refusal {
	return &refusal{status: 503, code: "no-landing", detail: "nothing can be sealed for this destination, so nothing leaves: " + why, again: true}
}

// Replace implements [payload.Replacer]. What is too long for a seal is hashed,
// as what is too long for a token is.
//
// promise: P16
// promise: P18
func (s *sealing) Replace(dst []byte, v *isogate.Verdict, val isogate.Value) (out []byte, kind isogate.Kind, applied isogate.Action, err error) {
	s.rows.subjectOf(s, v, val)
	obfuscator := s.p.target.obfuscator
	if v.Action != isogate.Seal && !v.Sealed {
		return obfuscator.Replace(dst, v, val)
	}
	applied = v.Action
	if v.Action != isogate.Seal { // what the action leaves is sealed
		s.left, kind, applied, err = obfuscator.Replace(s.left[:0], v, val)
		if err != nil || applied <= isogate.Token { // a constant after all
			return append(dst, s.left...), kind, applied, err
		}
		val = isogate.Value{Kind: kind, Text: s.left}
	}
	if val.Kind == isogate.Null {
		return obfuscator.Replace(dst, &isogate.Verdict{Action: isogate.Redact}, val)
	}
	passage := s.passage(policy.Lifetime{Handling: v.Handling, TTL: v.TTL})
	if passage == nil {
		return dst, isogate.Null, isogate.Refuse, errStopped
	}
	if out, ok := passage.Append(dst, v.Label, val); ok {
		return out, isogate.String, applied, nil
	}
	return obfuscator.Replace(dst, &isogate.Verdict{Action: isogate.Hash, Label: v.Label}, val)
}

// ReplaceName implements [payload.Replacer]: names are not sealed, for they must
// stay the same from one request to the next.
func (s *sealing) ReplaceName(dst []byte, v *isogate.Verdict, name []byte) (out []byte, applied isogate.Action, err error) {
	return s.p.target.obfuscator.ReplaceName(dst, v, name)
}

// passage is the request's place under its key of a handling and time to live;
// nil after a refusal.
func (s *sealing) passage(of policy.Lifetime) *seal.Passage {
	for i := range s.keys {
		if k := &s.keys[i]; k.of == of {
			return &k.passage
		}
	}
	if s.refused = s.ask(of); s.refused != nil {
		return nil
	}
	return &s.keys[len(s.keys)-1].passage
}

// ask asks for a key.
func (s *sealing) ask(of policy.Lifetime) *refusal {
	c := seal.Context{Tenant: s.p.rules.tenant, Destination: s.p.transit.Destination.Name, Transit: s.p.transit.Name, Handling: of.Handling}
	switch {
	case s.settled:
		return &refusal{status: 500, code: "broken", detail: "a value was to be sealed under a key that was not sent ahead"}
	case len(s.keys) == seal.MaxKeys:
		return &refusal{status: 422, code: "content", detail: fmt.Sprintf("the request needs more than %d seal keys; let the transit's rules have fewer different times to live", seal.MaxKeys)}
	case of.Handling == isogate.Temporary:
		c.TTL = of.TTL
	case of.Handling == isogate.TransitOnly:
		c.Session, c.ByRequest = s.session, s.session == ""
	default:
		return &refusal{status: 500, code: "broken", detail: "a value that stays outside was to be sealed"}
	}
	sealer, err := s.p.gate.cfg.Landings.Key(c.Destination, c)
	if err != nil {
		return noLanding(err.Error())
	}
	if s.keys == nil {
		s.keys = make([]sealKey, 0, seal.MaxKeys)
	}
	s.keys = append(s.keys, sealKey{of: of, passage: sealer.Passage()})
	s.p.gate.cfg.Metrics.keys.WithLabelValues(of.Handling.String()).Inc()
	return nil
}

// settle asks for every key that a streamed body may want: its head leaves before
// its values are seen. What is to be registered has to be in the head too, so that
// a body that may have such a value has to be held.
func (s *sealing) settle(rules *policy.Rules) *refusal {
	if rules.Registers {
		return &refusal{status: 413, code: "register-size", detail: "the body is too large to hold and may have an identifier that stays outside, which the landing must register first; send a smaller body, or raise the gateway's limit for bodies that are held"}
	}
	for _, of := range rules.Seals {
		if s.passage(of) == nil {
			return s.refused
		}
	}
	s.settled = true
	return nil
}

// uses says in the entry which keys the request used.
func (s *sealing) uses(dst []isogate.SealUse) []isogate.SealUse {
	for i := range s.keys {
		k := &s.keys[i]
		use := isogate.SealUse{Key: k.passage.Sealer().ID().String(), Request: k.passage.Number(), Handling: k.of.Handling.String()}
		if k.of.TTL > 0 {
			use.TTL = k.of.TTL.String()
		}
		dst = append(dst, use)
	}
	return dst
}

// ids are the keys that the request used.
func (s *sealing) ids() []seal.ID {
	ids := make([]seal.ID, len(s.keys))
	for i := range s.keys {
		ids[i] = s.keys[i].passage.Sealer().ID()
	}
	return ids
}

// announce has the keys recorded, which comes before the entry.
func (s *sealing) announce() error {
	if len(s.keys) == 0 {
		return nil
	}
	return s.p.gate.cfg.Landings.Sending(s.p.transit.Destination.Name, s.ids())
}

// appendHeader appends what the landing has to know of the keys. It says how old
// they are, so it is made when all that may take long is done.
func (s *sealing) appendHeader(header http1.Fields) http1.Fields {
	if len(s.keys) == 0 {
		return header
	}
	list := members{header: header, name: seal.HeaderSeal}
	for i := range s.keys {
		sealer := s.keys[i].passage.Sealer()
		s.keys[i].unclaimed = !sealer.Held()
		list.next = sealer.AppendHeader(list.next[:0])
		list.add()
	}
	return list.end()
}

// members writes the members of an RFC 9651 list into as many field lines as
// receivers with a limit for a line need.
type members struct {
	header http1.Fields
	name   string
	line   []byte
	next   []byte // the member to add
	size   int    // bytes of all members
}

// maxMembers is the longest line, in bytes, that several members share: half of
// what http1 takes, and what other receivers often do.
const maxMembers = 8 << 10

func (m *members) add() {
	m.size += len(m.next)
	if len(m.line) > 0 && len(m.line)+2+len(m.next) > maxMembers {
		m.end()
	}
	if len(m.line) > 0 {
		m.line = append(m.line, ", "...)
	}
	m.line = append(m.line, m.next...)
}

// end writes the line at hand.
func (m *members) end() http1.Fields {
	m.header = append(m.header, http1.Field{Name: m.name, Value: string(m.line)})
	m.line = m.line[:0]
	return m.header
}

// OpenSeal implements [seal.Opener] for the keys of this very request.
//
// promise: P37
func (s *sealing) OpenSeal(scratch []byte, id seal.ID, raw []byte) (seal.Opened, seal.Outcome) {
	for i := range s.keys {
		if sealer := s.keys[i].passage.Sealer(); sealer.ID() == id {
			return sealer.OpenSeal(scratch, id, raw)
		}
	}
	return seal.Opened{}, seal.Withheld
}
