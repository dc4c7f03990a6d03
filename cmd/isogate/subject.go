package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/custody"
	"github.com/isogate/isogate/internal/hub"
	"github.com/isogate/isogate/internal/seal"
)

// subjectCmd is how administrators answer a person who asks what of theirs is outside.
type subjectCmd struct {
	List     subjectListCmd     `cmd:"" help:"List identifiers that stay outside by permission: all, or those of one person."`
	Erase    subjectEraseCmd    `cmd:"" help:"Have an identifier, and what belongs to it, erased outside."`
	Erasures subjectErasuresCmd `cmd:"" help:"List erasures, and whether they are confirmed."`
	Landings subjectLandingsCmd `cmd:"" help:"Show where each landing stands: its statement, its receipts, what is overdue."`
}

// fromStdin stands for a value that standard input gives.
const fromStdin = "-"

// maxSubject is the longest value that is read, in bytes.
const maxSubject = 4096

// readValue is a value as an argument, or standard input in place of -, so that it
// stays out of the shell's history.
func readValue(e *env, arg string) (string, error) {
	if arg != fromStdin {
		return arg, nil
	}
	b, err := io.ReadAll(io.LimitReader(e.Stdin, maxSubject+3))
	if err != nil {
		return "", fmt.Errorf("the value on standard input: %w", err)
	}
	v := strings.TrimRight(string(b), "\r\n")
	if v == "" || len(v) > maxSubject {
		return "", fmt.Errorf("the value on standard input has 1 to %d bytes, on one line", maxSubject)
	}
	return v, nil
}

type subjectListCmd struct {
	actor
	Value       string `arg:"" optional:"" help:"The identifier, or the person that it belongs to; - reads it from standard input."`
	Destination string `placeholder:"D" help:"At this destination alone."`
}

// Run lists identifiers.
//
// promise: P17
func (c *subjectListCmd) Run(e *env) error {
	value, err := readValue(e, c.Value)
	if err != nil {
		return err
	}
	return c.actOutside(e, func(a *api) error {
		list := hub.SubjectList{Subjects: []hub.Subject{}}
		for after := ""; ; {
			page, err := c.page(e, a, value, after)
			if err != nil {
				return tell(e, nil, err, nil)
			}
			list.Subjects = append(list.Subjects, page.Subjects...)
			if after = page.Next; after == "" {
				break
			}
		}
		return tell(e, list, nil, func(w io.Writer) {
			if len(list.Subjects) == 0 {
				_, _ = fmt.Fprintln(w, "none")
				return
			}
			t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
			_, _ = fmt.Fprintln(t, "DESTINATION\tLABEL\tIDENTIFIER\tOF\tSINCE\tLAST\tBECAUSE")
			for _, s := range list.Subjects {
				value, of := s.Value, s.Subject
				if s.Unreadable {
					value = "(cannot be turned back)"
				}
				if of == s.Value {
					of = "itself"
				}
				_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", printable(string(s.Destination)), printable(string(s.Label)), printable(value), printable(of), day(s.Since), day(s.Last), printable(s.Because))
			}
			_ = t.Flush()
		})
	})
}

// page asks for a page of the list. A value is never in an address.
func (c *subjectListCmd) page(e *env, a *api, value, after string) (page hub.SubjectList, err error) {
	in := map[string]string{"value": value, "destination": c.Destination, "after": after}
	maps.DeleteFunc(in, func(_, v string) bool { return v == "" })
	if value != "" {
		err = a.post(e.Context, "/subjects/find", in, &page)
		return page, err
	}
	q := url.Values{}
	for name, v := range in {
		q.Set(name, v)
	}
	err = a.get(e.Context, query("/subjects", q), &page)
	return page, err
}

type subjectEraseCmd struct {
	actor
	Value       string `arg:"" help:"The identifier, or the person that it belongs to; - reads it from standard input, so that it is in no shell's history."`
	Label       string `placeholder:"L" help:"Of this label alone."`
	Destination string `placeholder:"D" help:"At this destination alone."`
	Reason      string `required:"" help:"Why, for whoever reads the journal."`
}

// Run has identifiers erased.
//
// promise: P17
func (c *subjectEraseCmd) Run(e *env) error {
	value, err := readValue(e, c.Value)
	if err != nil {
		return err
	}
	body := map[string]any{"value": value, "reason": c.Reason}
	if c.Label != "" {
		if _, err := isogate.ParseLabel(c.Label); err != nil {
			return fmt.Errorf("--label: %w", err)
		}
		body["label"] = c.Label
	}
	if c.Destination != "" {
		body["destination"] = c.Destination
	}
	return c.actOutside(e, func(a *api) error {
		var list hub.ErasureList
		err := a.post(e.Context, "/subjects/erase", body, &list)
		return tell(e, list, err, func(w io.Writer) {
			erasureTable(w, list.Erasures)
			_, _ = fmt.Fprintln(w, "\nThe landings are asked until their services confirm it: isogate subject erasures")
		})
	})
}

func erasureTable(w io.Writer, list []hub.Erasure) {
	if len(list) == 0 {
		_, _ = fmt.Fprintln(w, "none")
		return
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "ENTRY\tDESTINATION\tSTATE\tIDENTIFIERS\tBY\tASKED\tCONFIRMED")
	for _, x := range list {
		confirmed := "-"
		if x.Confirmed != nil {
			confirmed = fmt.Sprintf("%s, receipt %d", day(*x.Confirmed), x.Receipt)
		}
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%s\t%s\t%s\n", printable(string(x.ID)), printable(string(x.Destination)), printable(x.State), len(x.Labels), printable(x.By), day(x.At), confirmed)
	}
	_ = t.Flush()
}

type subjectErasuresCmd struct{ actor }

// Run lists erasures.
func (c *subjectErasuresCmd) Run(e *env) error {
	return c.actOutside(e, func(a *api) error {
		var list hub.ErasureList
		err := a.get(e.Context, "/erasures", &list)
		return tell(e, list, err, func(w io.Writer) { erasureTable(w, list.Erasures) })
	})
}

type subjectLandingsCmd struct{ actor }

// Run shows the landings. It answers no while something is overdue or broken.
//
// promise: P41
func (c *subjectLandingsCmd) Run(e *env) error {
	return c.actOutside(e, func(a *api) error {
		var list hub.LandingList
		if err := a.get(e.Context, "/landings", &list); err != nil {
			return tell(e, nil, err, nil)
		}
		if err := tell(e, list, nil, func(w io.Writer) { landingTable(w, list.Landings) }); err != nil {
			return err
		}
		for _, l := range list.Landings {
			if l.Broken != "" || l.KeysOverdue > 0 {
				return errNo{errors.New("a landing has not stated what it must; see the journal's entries of kind landing")}
			}
		}
		return nil
	})
}

func landingTable(w io.Writer, list []hub.Landing) {
	if len(list) == 0 {
		_, _ = fmt.Fprintln(w, "none")
		return
	}
	for i, l := range list {
		if i > 0 {
			_, _ = fmt.Fprintln(w)
		}
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		line := func(name, format string, args ...any) {
			_, _ = fmt.Fprintf(t, "%s\t%s\n", name, printable(fmt.Sprintf(format, args...)))
		}
		line("destination", "%s", l.Destination)
		line("landing", "%s", l.Landing)
		switch {
		case l.Valid:
			line("statement", "in force until %s", stamped(l.NotAfter))
		default:
			line("statement", "none in force, so that nothing can be sealed for it")
		}
		if l.Trouble != "" {
			line("trouble", "%s", l.Trouble)
		}
		line("receipts", "%d, the last of %s", l.Receipt, stamped(l.ReceiptAt))
		if l.Broken != "" {
			line("BROKEN", "%s", l.Broken)
		}
		line("keys out", "%d, the next due %s", l.KeysOut, stamped(l.NextDue))
		if l.KeysOverdue > 0 {
			line("OVERDUE", "%d", l.KeysOverdue)
			for _, k := range l.Overdue {
				line("", "%s of %s, %s, due %s", k.Key, k.Transit, k.Handling, day(k.Due))
			}
		}
		line("erasures", "%d open", l.ErasuresOpen)
		_ = t.Flush()
	}
}

func stamped(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return day(*t)
}

// showLife prints what became of what left, as far as landings have stated it.
//
// promise: P21
// promise: P41
func showLife(w io.Writer, l *custody.Life, now time.Time) {
	if !slices.ContainsFunc(l.Fields, func(f custody.FieldLife) bool { return f.Kept != "" }) {
		return
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "\nFIELD\tLEFT\tREVEALED\tEND")
	for i := range l.Fields {
		f := &l.Fields[i]
		if f.Kept == "" {
			continue
		}
		revealed, end := "-", "-"
		switch f.Kept {
		case custody.KeptSealed:
			revealed = "never"
			if f.Revealed > 0 {
				revealed = fmt.Sprintf("%s to %s, last %s", times(f.Revealed), plural(len(f.Viewers), "viewer"), day(f.Last))
			}
			if f.Key >= 0 {
				end = endOf(&l.Keys[f.Key], now)
			}
		case custody.KeptRegistered:
			end = "when it is erased: isogate subject list"
		}
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", printable(f.Path), f.Kept, printable(revealed), printable(end))
	}
	_ = t.Flush()
}

// endOf says how, or when at the latest, a seal key ends.
func endOf(k *custody.KeyLife, now time.Time) string {
	switch {
	case k.Cause == seal.CauseNotHeld:
		return fmt.Sprintf("not held by the landing, as it stated %s, receipt %d, entry %s", day(k.Ended), k.Receipt, k.In)
	case !k.Ended.IsZero():
		return fmt.Sprintf("destroyed %s (%s), receipt %d, entry %s", day(k.Ended), k.Cause, k.Receipt, k.In)
	case k.Refused:
		return "the landing did not take it"
	case k.Overdue != "" || !k.Due.IsZero() && now.After(k.Due.Add(custody.DefaultGrace)):
		return "receipt overdue, was due " + day(k.Due)
	case k.Due.IsZero():
		return "unknown: no entry says that the key left"
	}
	return "alive until " + day(k.Due) + " at the latest"
}

func times(n uint64) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
