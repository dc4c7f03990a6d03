package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/isogate/isogate"
)

// Everything about a transit but the verdicts: who, where, by which requests, on
// whose word.

// textsOf is the texts of some things.
func textsOf[T any](things []T, text func(T) string) []string {
	out := make([]string, len(things))
	for i, t := range things {
		out[i] = text(t)
	}
	return out
}

func (t *Transit) sourceTexts() []string {
	return textsOf(t.Sources, func(s isogate.Source) string { return string(s) })
}

// Matches are the patterns of the transit as the pack writes them, METHOD PATH.
func (t *Transit) Matches() []string {
	return textsOf(t.patterns, func(p *pattern) string { return p.text })
}

// Place is where a destination is: its URL, or host:port.
func (d *Destination) Place() string {
	if d.Remote != nil {
		return d.Remote.String()
	}
	return d.URL.String()
}

func newWays(t *Transit) []Change {
	where := fmt.Sprintf("%s to %s (%s)", strings.Join(t.sourceTexts(), ", "), t.Destination.Name, t.Destination.Place())
	return []Change{{What: "way", After: where, Looser: true}}
}

func oldWays(t *Transit) []Change {
	where := fmt.Sprintf("%s to %s (%s)", strings.Join(t.sourceTexts(), ", "), t.Destination.Name, t.Destination.Place())
	return []Change{{What: "way", Before: where}}
}

// compareWays is what differs between two versions of a transit.
func compareWays(was, is *Transit) (out []Change) {
	set := func(what string, before, after []string) {
		for _, s := range after {
			if !slices.Contains(before, s) {
				out = append(out, Change{What: what, After: s, Looser: true})
			}
		}
		for _, s := range before {
			if !slices.Contains(after, s) {
				out = append(out, Change{What: what, Before: s})
			}
		}
	}
	one := func(what, before, after string, looser bool, why string) {
		if before != after {
			if !looser {
				why = ""
			}
			out = append(out, Change{what, before, after, looser, why})
		}
	}
	set("source", was.sourceTexts(), is.sourceTexts())
	set("match", was.Matches(), is.Matches())
	one("destination", string(was.Destination.Name), string(is.Destination.Name), true, "what leaves goes elsewhere")
	one("place of the destination", was.Destination.Place(), is.Destination.Place(), true, "what leaves goes elsewhere")
	one("landing", was.Destination.LandingKey, is.Destination.LandingKey, was.Destination.LandingKey != "" && is.Destination.LandingKey != "" || !is.landed(),
		"what is sealed is opened by another, or by nobody who holds keys")
	one("purpose", was.Purpose.String(), is.Purpose.String(), true, "what leaves is for something else than it was allowed for")
	// Of none of the two that ask for something can be said that it asks for more: with a user's
	// own action nothing leaves on its own, and with an administrator's no user has to act.
	one("consent", was.Consent.String(), is.Consent.String(), was.Consent != NoConsent, "what was refused without the one leaves with the other")
	one("user_action", was.UserAction.String(), is.UserAction.String(), was.UserAction != nil && is.UserAction != nil && !is.UserAction.within(was.UserAction), "other acts count as the user's own")
	one("mode", was.Mode.String(), is.Mode.String(), is.Mode == Tunnel, "everything passes unread")
	one("budget", was.Budget.text(), is.Budget.text(), !is.Budget.within(was.Budget), "more may leave in a time")
	one("session", was.SessionHeader, is.SessionHeader, is.SessionHeader != "", "what is transit-only lives for another session")
	one("subject", string(was.Subject), string(is.Subject), was.Subject != "" && is.landed(), "what is erased by whom it belongs to is found by that no more")
	one("restore", fmt.Sprint(was.Response.Restore), fmt.Sprint(is.Response.Restore), is.Response.Restore, "tokens that come back are turned into the originals")
	one("largest response", fmt.Sprint(was.Response.Max), fmt.Sprint(is.Response.Max), false, "")
	if was.Mode != Tunnel && is.Mode != Tunnel {
		one("format of the body", was.formatName(), is.formatName(), is.Format != nil, "bodies leave that were not understood")
	}
	return out
}

func (t *Transit) formatName() string {
	if t.Format == nil {
		return ""
	}
	return t.Format.Name()
}

// String says in words what counts as the user's own action; "" if none is asked for.
func (u *UserAction) String() string {
	if u == nil {
		return ""
	}
	s := fmt.Sprintf("user in %s, subject in %s, within %s", u.User, u.Subject, u.TTL)
	if u.Once {
		s += ", once"
	}
	return s
}

// within reports whether every act that u takes is one that o takes, for no longer.
func (u *UserAction) within(o *UserAction) bool {
	return u.User == o.User && u.Subject == o.Subject && u.TTL <= o.TTL && (u.Once || !o.Once)
}

func (b Budget) text() string {
	if !b.Stated() {
		return ""
	}
	return fmt.Sprintf("%d requests and %d bytes in %s", b.Requests, b.Bytes, b.Per)
}

// within reports whether b never lets out more than o.
func (b Budget) within(o Budget) bool {
	return !o.Stated() || b.Stated() && b.Requests <= o.Requests && b.Bytes <= o.Bytes && b.Per >= o.Per
}

// elsewhere finds where an app's traffic goes now that this transit took before: taken
// away from it, it may fall to a wildcard that was there all the time and judges it
// more loosely. Two transits of services of ours cannot share a request.
func elsewhere(was, is *Transit, after *Plan) (out []Change) {
	r := was.Destination.Remote
	if r == nil {
		return nil
	}
	for _, s := range was.Sources {
		if reachesRemote(after, s, *r) {
			continue
		}
		for _, t := range after.transits {
			if o := t.Destination.Remote; o != nil && t != is && slices.Contains(t.Sources, s) && r.within(*o) {
				out = append(out, Change{What: "traffic", Before: fmt.Sprintf("%s to %s", s, r), After: "judged by the transit " + string(t.Name), Looser: true,
					Why: "it is not refused now, but falls to a wildcard"})
			}
		}
	}
	return out
}

// reachesRemote reports whether a source has a transit to exactly this remote.
func reachesRemote(p *Plan, s isogate.Source, r RemoteHost) bool {
	return slices.ContainsFunc(p.transits, func(t *Transit) bool {
		return t.Destination.Remote != nil && *t.Destination.Remote == r && slices.Contains(t.Sources, s)
	})
}
