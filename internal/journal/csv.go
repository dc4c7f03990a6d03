package journal

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/isogate/isogate"
)

// csvColumns are the columns of ExportCSV. "fields" has, for each field, its
// count, path, label, action and, in brackets, handling and rule, parted by "; ".
var csvColumns = []string{"id", "seq", "time", "tenant", "kind", "stage", "of", "source", "purpose", "transit", "remote", "destination",
	"method", "url", "pack", "consent", "decision", "reason", "streamed", "fields", "bytes_in", "bytes_out", "digest_in", "digest_out",
	"tls", "status", "duration_us", "actor", "act", "detail"}

func csvRow(e isogate.Entry) []string {
	fields := make([]string, len(e.Fields))
	for i, f := range e.Fields {
		parts := []string{strconv.FormatUint(uint64(f.N), 10), f.Path, string(f.Label), f.Action.String()}
		if f.Handling != "" {
			parts = append(parts, "("+strings.TrimSpace(f.Handling+" "+f.TTL)+" by "+f.Rule+")")
		}
		fields[i] = strings.Join(parts, " ")
	}
	detail := make([]string, 0, len(e.Detail))
	for _, k := range sortedKeys(e.Detail) {
		detail = append(detail, k+"="+e.Detail[k])
	}
	of := string(e.Of)
	for _, c := range e.Closes {
		of += fmt.Sprintf(" %s %d", c.Of, c.Status)
	}
	row := []string{string(e.ID), strconv.FormatUint(e.Seq, 10), e.Time.Format(time.RFC3339Nano), string(e.Tenant), string(e.Kind), string(e.Stage),
		strings.TrimSpace(of), string(e.Source), e.Purpose, string(e.Transit), e.Remote, string(e.Destination), e.Method, e.URL, e.Pack, string(e.Consent),
		e.Decision, e.Reason, strconv.FormatBool(e.Streamed), strings.Join(fields, "; "), strconv.FormatInt(e.BytesIn, 10),
		strconv.FormatInt(e.BytesOut, 10), e.DigestIn, e.DigestOut, e.TLS, strconv.Itoa(e.Status), strconv.FormatInt(e.DurationUS, 10),
		e.Actor, e.Act, strings.Join(detail, "; ")}
	for i := range row {
		row[i] = inert(row[i])
	}
	return row
}

// inert keeps a spreadsheet from computing a cell (OWASP, CSV injection): = + - @
// begin formulas, also in their full-width forms, which spreadsheets in East Asian
// languages take for the same, and tab, CR and LF may be dropped before one. So may
// white space, and characters that do not show. It keeps one from computing a part of a cell
// too: many part cells by semicolons or tabs where commas write decimals, and take no
// notice of quotes that are not at the beginning of what they take for a cell.
func inert(cell string) string {
	mark := strings.HasPrefix(cell, "'") || strings.HasPrefix(cell, `"`) // a spreadsheet could take it for its own, and so not show it
	var b strings.Builder
	for at := 0; ; {
		end := len(cell)
		if i := strings.IndexAny(cell[at:], parting); i >= 0 {
			end = at + i
		}
		if part := cell[at:end]; formula(part) || at == 0 && (mark || part == "" && cell != "" && cell[0] != ';') {
			b.WriteByte('\'')
		}
		if end == len(cell) {
			return b.String() + cell[at:]
		}
		b.WriteString(cell[at : end+1])
		at = end + 1
	}
}

const parting = ";\t\r\n"

// formula reports whether a spreadsheet may take a text for one.
func formula(s string) bool {
	for _, r := range s {
		switch {
		case strings.ContainsRune("=+-@＝＋－＠\u2212\ufe62\ufe63\ufe66\ufe6b", r):
			return true
		case !unicode.IsSpace(r) && unicode.IsPrint(r):
			return false
		}
	}
	return false
}
