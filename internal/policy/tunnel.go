package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/isogate/isogate"
)

// Mode is how a transit to an app's remote lets traffic out.
type Mode uint8

const (
	// Inspect: the gateway ends the TLS of the app, and judges request by request and
	// field by field. It is the zero value, and the only mode towards services of ours.
	Inspect Mode = iota
	// Tunnel: a connection passes byte by byte, unread. What leaves is whatever the
	// app sends, so that a tunnel is an exemption, with a reason, an owner and an end.
	Tunnel
)

var modeWords = [...]string{"inspect", "tunnel"}

func (m Mode) String() string {
	if int(m) < len(modeWords) {
		return modeWords[m]
	}
	return fmt.Sprintf("invalid(%d)", uint8(m))
}

// everything is the field and the labels that stand for all that passes a tunnel.
const everything = "**"

// errTunnelEnded is why a tunnel that is over lets nothing pass.
var errTunnelEnded = errors.New("the tunnel is over, and nothing passes; have it approved anew with a later until, or let the transit inspect")

// readMode reads how the traffic passes; ok is false when that is not known.
func (r *reader) readMode(o object, t *Transit) bool {
	n := o.get("mode")
	if n == nil {
		return !o.has("mode")
	}
	s, ok := r.text(n, "mode")
	if !ok {
		return false
	}
	i := slices.Index(modeWords[:], s)
	if i < 0 {
		r.add(n.at, "unknown mode %q; %s", s, didYouMean(s, modeWords[:]))
		return false
	}
	t.Mode = Mode(i) //nolint:gosec // there are two words
	return true
}

// readTunnel reads what makes a tunnel an exemption. It is kept as the rule that
// it amounts to: every label, as it is, for good. Its end is a rule's end.
func (r *reader) readTunnel(o object, t *Transit) {
	if t.Mode != Tunnel {
		for _, key := range exemptionKeys {
			if o.has(key) {
				r.add(o.place(key), "%s belongs to a tunnel or to a rule; move it to the rule it speaks of, under request.release", key)
			}
		}
		return
	}
	for _, key := range []string{"match", "session", "subject", "request", "response"} {
		if o.has(key) {
			r.add(o.place(key), "%s says nothing for a tunnel, which passes every byte unread; remove it, or let the transit inspect", key)
		}
	}
	t.tunnel = &rule{label: everything, text: everything, as: isogate.Allow, handling: isogate.Persisted, guard: noGuard, at: o.place("mode")}
	r.readExemption(o, t.tunnel)
	r.needExemption(o, "the tunnel lets everything out unread", o.place("mode"))
}

// exemptionKeys are what every exemption has to say.
var exemptionKeys = []string{"because", "owner", "until"}

// readExemption reads why, on whose word and until when.
func (r *reader) readExemption(o object, out *rule) {
	out.because, _ = r.optional(o, "because")
	out.owner, _ = r.optional(o, "owner")
	if n := o.get("until"); n != nil {
		out.end, out.until = r.day(n, "until"), n.at
	}
}

// needExemption notes what an exemption does not say.
//
// promise: P09
func (r *reader) needExemption(o object, what string, at position) {
	var lacks []string
	for _, key := range exemptionKeys {
		if !o.has(key) {
			lacks = append(lacks, key)
		}
	}
	if lacks != nil {
		r.add(at, "%s and lacks %s; say why, on whose word and until when", what, strings.Join(lacks, ", "))
	}
}

// Tunnel is the transit over which connections of src to dst pass unread, or nil
// when there is none or the way inspects. Whether it is still open is
// [Transit.OpenAt]'s to say.
func (p *Plan) Tunnel(src isogate.Source, dst isogate.Destination) *Transit {
	return p.tunnels[way{src, dst}]
}

// TunnelEnds is the first instant at which the tunnel is over; the zero time for
// a transit that is none.
func (t *Transit) TunnelEnds() time.Time {
	if t.tunnel == nil {
		return time.Time{}
	}
	return t.tunnel.end
}

// OpenAt reports whether the transit is a tunnel that lets traffic pass at an
// instant. At the zero time it never does.
//
// promise: P09
func (t *Transit) OpenAt(at time.Time) bool {
	return t.Mode == Tunnel && t.tunnel != nil && !t.tunnel.end.IsZero() && t.tunnel.inForce(moment{time: at})
}

// tunnelVerdict is what a tunnel says about everything at an instant.
func (t *Transit) tunnelVerdict(at time.Time) isogate.Verdict {
	if !t.OpenAt(at) {
		return isogate.Verdict{Label: isogate.Opaque}
	}
	return t.tunnel.verdict(isogate.Opaque)
}

// tunnels gathers the tunnels, and notes a way that has one beside any other transit.
func (r *reader) tunnelWays(transits []*Transit) map[way]*Transit {
	first, tunnels := map[way]*Transit{}, map[way]*Transit{}
	for _, t := range transits {
		if t.Destination == nil {
			continue
		}
		noted := map[*Transit]bool{}
		for _, s := range t.Sources {
			w := way{s, t.Destination.Name}
			other := tunnels[w]
			if other == nil && t.Mode == Tunnel {
				other = first[w]
			}
			if first[w] == nil {
				first[w] = t
			}
			switch {
			case other == nil:
			case !noted[other]:
				noted[other] = true
				r.add(t.at, "%s and the transit %s (%s) both lead from %s to %s, and a tunnel must be alone: which of them a connection takes would be a question; keep one",
					t.described(), other.Name, other.at, s, t.Destination.Name)
				continue
			default:
				continue
			}
			if t.Mode == Tunnel {
				tunnels[w] = t
			}
		}
	}
	return tunnels
}

// described is the transit by name and mode, for messages.
func (t *Transit) described() string {
	if t.Mode == Tunnel {
		return "the tunnel " + string(t.Name)
	}
	return "the transit " + string(t.Name)
}

// explainTunnel says what a tunnel means, for whatever field is asked.
func (t *Transit) explainTunnel(name string, at time.Time) Explanation {
	reason := t.explainRule(t.tunnel, moment{time: at})
	e := Explanation{Transit: t.Name, Field: name, At: at, Labels: []LabelReason{}, Verdict: answerOf(t.tunnelVerdict(at)), Tunnel: &reason}
	if !reason.InForce {
		e.WhyNot = []string{fmt.Sprintf("the tunnel at %s ended after %s; to go on, have it approved anew with a later until", reason.Rule, reason.Until)}
	}
	return e
}

// previewTunnel is what leaves over a tunnel: all of it, as it is.
func (t *Transit) previewTunnel(req *Request) (*Outcome, error) {
	switch {
	case !t.OpenAt(req.Time):
		return nil, &RefusedError{Reason: errTunnelEnded}
	case req.Grant != nil && !req.Grant.Everything():
		return nil, &RefusedError{Reason: errNarrowTunnel}
	}
	v := t.tunnelVerdict(req.Time)
	return &Outcome{
		Tunnel: v.Rule, Path: req.Path, Query: req.Query, Headers: req.Headers, Cookies: req.Cookies, Trailers: req.Trailers, Body: req.Body,
		Fields: []isogate.Field{{Path: everything, Label: v.Label, Action: v.Action, Handling: v.Handling.String(), Rule: v.Rule, N: 1}},
	}, nil
}
