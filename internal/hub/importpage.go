package hub

import (
	"encoding/base64"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/isogate/isogate/internal/consent"
)

// importPage asks for a manifest, and then says what importing it would do.
type importPage struct {
	Form filled
	// Text is what was pasted or uploaded, to be mended; Carried the same in base64, for the
	// bytes to come back as they are: a form would change its line ends.
	Text    string
	Carried string
	Would   *Import // nil before a manifest was looked at
	Rows    []importRow
	As      string
}

// Findings are the mistakes of the manifest.
func (p importPage) Findings() []Finding {
	if p.Form.wrong == nil {
		return nil
	}
	return p.Form.wrong.Findings
}

// importRow is one declared address.
type importRow struct {
	DeclaredRow
	Told  consent.PromptRow
	Class string
	Why   []string
}

func (h *Hub) importPage(v *visit) error {
	q, err := v.parameters("as")
	if err != nil {
		return err
	}
	return v.show("app-import", "Import a manifest", importPage{As: consent.Shown(q.Get("as"))})
}

// importCheck says what importing a manifest would do, and changes nothing.
func (h *Hub) importCheck(v *visit) error {
	f, src, err := v.manifestForm()
	if err != nil {
		return err
	}
	return v.tryImport(f, src)
}

// tryImport runs the import dry and shows what came of it.
func (v *visit) tryImport(f filled, src []byte) error {
	p := importPage{Form: f, Carried: base64.StdEncoding.EncodeToString(src), As: f.Get("as")}
	if utf8.Valid(src) {
		p.Text = string(src)
	}
	in, err := f.importing(src)
	if err == nil {
		in.dry = true
		var would Import
		if would, err = v.clerk().importApp(v.Context(), in); err == nil {
			p.show(v, &would)
			return v.show("app-import", "Import a manifest", p)
		}
	}
	return v.importAgain(p, err)
}

// importAgain shows the form again with what was wrong.
func (v *visit) importAgain(p importPage, err error) error {
	f, status, err := p.Form.because(err, "manifest", "as", "env", "reason")
	if err != nil {
		return err
	}
	p.Form = f
	return v.showStatus(status, "app-import", "Import a manifest", p)
}

// show lays out what an import would do.
func (p *importPage) show(v *visit, would *Import) {
	p.Would = would
	for _, r := range would.Manifest.Rows {
		row := importRow{DeclaredRow: r}
		if rows, err := parseRows(&[]string{r.Row}); err == nil {
			row.Told = v.state.Tell(rows[0])
		}
		for _, c := range would.Changes {
			if c.Row == r.Row {
				row.Class, row.Why = c.Class, c.Why
			}
		}
		p.Rows = append(p.Rows, row)
	}
}

// importConfirm imports the manifest that was looked at.
func (h *Hub) importConfirm(v *visit) error {
	f, err := v.fill("carried", "as", "env", "reason", "again")
	if err != nil {
		return err
	}
	src, err := base64.StdEncoding.DecodeString(f.Get("carried"))
	if err != nil {
		return badRequest("the manifest did not come back as it was; begin again")
	}
	in, err := f.importing(src)
	var done Import
	if err == nil {
		done, err = v.clerk().importApp(v.Context(), in)
	}
	if err != nil {
		return v.importAgain(importPage{Form: f, Text: string(src), Carried: f.Get("carried"), As: f.Get("as")}, err)
	}
	if done.Request != "" {
		return v.seeOther("/consents/"+string(done.Request), "imported")
	}
	return v.seeOther(partyPath(done.Party), "imported")
}

// importing reads the fields beside the manifest.
func (f filled) importing(src []byte) (importing, error) {
	in := importing{src: src, as: strings.TrimSpace(f.Get("as")), reason: f.Get("reason"), again: f.Get("again") == "yes"}
	if len(src) == 0 {
		return in, about("manifest", badRequest("there is no manifest; paste one, or choose its file"))
	}
	var pairs []string
	for line := range strings.Lines(f.Get("env")) {
		if line = strings.TrimSpace(line); line != "" {
			pairs = append(pairs, line)
		}
	}
	var err error
	in.env, err = environment(pairs)
	return in, err
}

// manifestForm reads a form that has a manifest as a file or as text. A file's bytes
// are as they are; text loses the carriage returns that a form adds to its line ends.
func (v *visit) manifestForm() (filled, []byte, error) {
	if mt, _, _ := mime.ParseMediaType(v.Header.Get("Content-Type")); mt != "multipart/form-data" {
		f, err := v.fill("manifest", "as", "env", "reason", "again")
		return f, unixLines(f.Get("manifest")), err
	}
	if err := v.ParseMultipartForm(maxBody); err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			return filled{}, nil, problem(http.StatusRequestEntityTooLarge, "too-large", "the manifest is larger than any may be, 512 KiB")
		}
		return filled{}, nil, badRequest("the form is not well-formed")
	}
	defer func() { _ = v.MultipartForm.RemoveAll() }()
	files := v.MultipartForm.File["file"]
	if len(files) > 1 || len(v.MultipartForm.File) > len(v.MultipartForm.File["file"]) {
		return filled{}, nil, badRequest("choose one file")
	}
	f, err := v.fill("manifest", "as", "env", "reason", "again")
	if err != nil {
		return f, nil, err
	}
	if len(files) == 0 || files[0].Size == 0 {
		return f, unixLines(f.Get("manifest")), nil
	}
	file, err := files[0].Open()
	if err != nil {
		return f, nil, badRequest("the file did not arrive whole")
	}
	defer file.Close()
	src, err := io.ReadAll(file)
	return f, src, err
}

func unixLines(s string) []byte { return []byte(strings.ReplaceAll(s, "\r\n", "\n")) }
