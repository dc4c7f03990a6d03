package evidence

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"strings"
	"time"

	"github.com/isogate/isogate/internal/consent"
)

//go:embed report.html
var reportPage string

//go:embed report.css
var reportStyle string

// policyOfReport lets the page's one style sheet in, and nothing else, wherever it is opened.
func policyOfReport() string {
	sum := sha256.Sum256([]byte(reportStyle))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; form-action 'none'"
}

// moment is a time for people.
func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// writeReport writes report.html.
func writeReport(w io.Writer, s *Summary) error {
	t, err := template.New(reportName).Funcs(template.FuncMap{
		"shown":  func(v any) string { return consent.Shown(fmt.Sprint(v)) },
		"moment": moment,
		"stamp":  func(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) },
		"period": period,
		"sum":    func(digest string) string { return strings.TrimPrefix(digest, "sha256:") },
		"number": number,
		// The style sheet and its policy are this program's own text.
		"style":  func() template.CSS { return template.CSS(reportStyle) }, //nolint:gosec // embedded
		"policy": policyOfReport,
	}).Parse(reportPage)
	if err != nil {
		return err
	}
	return t.Execute(w, s)
}

// number writes a count in groups of three digits.
func number(v any) string {
	s := fmt.Sprint(v)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "\u202f" + s[i:]
	}
	return s
}
