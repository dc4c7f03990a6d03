package hub

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/consent"
	"github.com/isogate/isogate/internal/remote"
	"github.com/isogate/isogate/internal/trail"
)

// actLine is one act of the ledger as a page tells of it.
type actLine struct {
	Entry  isogate.EntryID // "" where only the ledger's state tells of it
	At     time.Time
	What   string
	By     consent.Actor
	Reason string
	Of     isogate.EntryID // the request or grant that it is about
	Prompt string          // digest of what was shown
	Rows   []string        // that it is about
	Gained []string        // what the party might use afterwards and not before
	Lost   []string        // and the other way round
	Until  *time.Time
	Labels *[]string
	Seq    uint64
}

// Tone is how a line of acts looks.
func (a actLine) Tone() string {
	switch a.What {
	case consent.Granted.String(), consent.Approved.String():
		return "good"
	case consent.Denied.String(), consent.Revoked.String(), consent.Blocked.String():
		return "bad"
	case consent.Modified.String(), consent.Expired.String():
		return "warn"
	}
	return ""
}

// lineOf tells of an act.
func lineOf(a *consent.Act) actLine {
	l := actLine{Entry: a.ID, At: a.At.UTC(), What: a.What.String(), By: shownActor(a.Actor), Reason: consent.Shown(a.Reason), Of: a.Of,
		Prompt: consent.Shown(a.Prompt), Rows: texts(a.Rows), Gained: texts(without(a.After, a.Before)), Lost: texts(without(a.Before, a.After)),
		Until: instant(a.Terms.Until), Seq: a.Seq}
	if a.Party == consent.Everybody {
		l.Gained, l.Lost = nil, nil // of everybody, entries do not list it
	}
	if a.Terms.Labels != nil {
		labels := []string{}
		for _, p := range a.Terms.Labels {
			labels = append(labels, string(p))
		}
		l.Labels = &labels
	}
	return l
}

// without are the rows of a that are not of b.
func without(a, b []remote.Row) (out []remote.Row) {
	for _, r := range a {
		if !slices.Contains(b, r) {
			out = append(out, r)
		}
	}
	return out
}

// maxActs is how many acts a page tells of.
const maxActs = 200

// actsOn are the acts on requests and grants, the newest first. Where there is no
// trail, it is what the ledger's state still tells of them.
func (k clerk) actsOn(ctx context.Context, ids ...isogate.EntryID) []actLine {
	var lines []actLine
	if k.hub.trail != nil {
		for _, id := range ids {
			found, err := k.acts(ctx, trail.Query{Kind: isogate.KindConsent, Consent: id}, func(*consent.Act) bool { return true })
			if err != nil {
				return k.remembered(ids)
			}
			lines = append(lines, found...)
		}
	}
	if len(lines) == 0 {
		return k.remembered(ids)
	}
	return newestFirst(lines)
}

// lookedBack is of how many requests and grants of a party the acts are told of.
const lookedBack = 10

// actsOf are the last acts on a party, the newest first; nil where nobody knows. Those
// on its last requests and grants are asked for by these; others, such as imports and
// blocks, are found among the ledger's last acts, of which users' own actions may be many.
func (k clerk) actsOf(ctx context.Context, st *consent.Standing) []actLine {
	if k.hub.trail == nil {
		return nil
	}
	of := func(a *consent.Act) bool { return a.Party == st.Party || a.Party == consent.Everybody }
	lines, err := k.acts(ctx, trail.Query{Kind: isogate.KindConsent}, of)
	if err != nil {
		return nil
	}
	var ids []isogate.EntryID
	for _, r := range st.Requests[max(0, len(st.Requests)-lookedBack):] {
		ids = append(ids, r.ID)
	}
	for _, g := range st.Grants[max(0, len(st.Grants)-lookedBack):] {
		ids = append(ids, g.ID)
	}
	for _, id := range ids {
		found, err := k.acts(ctx, trail.Query{Kind: isogate.KindConsent, Consent: id}, of)
		if err != nil {
			return nil
		}
		lines = append(lines, found...)
	}
	return newestFirst(lines)
}

// newestFirst sorts acts, of which each is told of once.
func newestFirst(lines []actLine) []actLine {
	slices.SortFunc(lines, func(a, b actLine) int { return cmp.Compare(b.Seq, a.Seq) })
	return slices.CompactFunc(lines, func(a, b actLine) bool { return a.Seq == b.Seq })
}

// acts reads acts from the journal.
func (k clerk) acts(ctx context.Context, q trail.Query, want func(*consent.Act) bool) (lines []actLine, err error) {
	page, err := k.hub.trail.List(ctx, q, trail.Paging{Limit: trail.MaxLimit})
	if err != nil {
		if !errors.Is(err, trail.ErrBehind) {
			k.hub.logger.Warn("acts cannot be listed", slog.Any("error", err))
		}
		return nil, err
	}
	for i := range page.Rows {
		if page.Rows[i].Unreadable {
			continue
		}
		a, err := consent.ReadAct(&page.Rows[i].Entry)
		if err != nil || a.What == consent.Given || a.What == consent.Used || !want(&a) {
			continue
		}
		if lines = append(lines, lineOf(&a)); len(lines) == maxActs {
			break
		}
	}
	return lines, nil
}

// remembered is what the ledger's state tells of requests and grants.
func (k clerk) remembered(ids []isogate.EntryID) (lines []actLine) {
	for _, id := range ids {
		if r, found := k.state.Request(id); found {
			lines = append(lines, actLine{Entry: r.ID, At: r.Opened.UTC(), What: consent.Requested.String(), By: shownActor(r.By), Reason: consent.Shown(r.Reason), Rows: texts(r.Rows)})
			for _, a := range r.Approvals {
				lines = append(lines, actLine{At: a.At.UTC(), What: consent.Approved.String(), By: shownActor(a.Actor), Rows: texts(a.Rows), Until: instant(a.Terms.Until)})
			}
			if r.Answer != "" && r.Status != consent.Answered {
				lines = append(lines, actLine{Entry: r.Answer, What: viewRequest(r, k.now).Status, By: shownActor(r.AnsweredBy)})
			}
		}
		if g, found := k.state.Grant(id); found {
			for _, by := range g.By[max(0, len(g.By)-1):] {
				lines = append(lines, actLine{Entry: g.ID, At: g.At.UTC(), What: consent.Granted.String(), By: shownActor(by), Reason: consent.Shown(g.Reason), Rows: texts(g.Rows), Until: instant(g.Terms.Until)})
			}
			if !g.Ended.IsZero() {
				lines = append(lines, actLine{At: g.Ended.UTC(), What: g.Status.String()})
			}
		}
	}
	slices.Reverse(lines)
	return lines
}
