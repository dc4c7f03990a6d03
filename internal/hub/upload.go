package hub

import (
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"

	"github.com/isogate/isogate/internal/consent"
	"github.com/isogate/isogate/internal/policy"
)

// larger are the requests whose bodies may have more than maxBody, by pattern without
// the API's prefix.
var larger = map[string]int64{
	"POST /proposals":  policy.MaxUpload + 64<<10, // and what a form puts around it
	"POST /playground": 4 * maxSpecimen,           // percent-encoded
	"POST /preview":    4 * maxSpecimen,
}

// bodyLimit is the largest body that a request to a pattern may have, in bytes.
func bodyLimit(pattern string) int64 {
	if n := larger[pattern]; n > 0 {
		return n
	}
	return maxBody
}

// upload reads a form with one file, without writing it anywhere: texts of the fields
// that are named, and the file's bytes.
func upload(r *http.Request, file string, names ...string) (texts map[string]string, body []byte, err error) {
	m, err := r.MultipartReader()
	if err != nil {
		return nil, nil, badRequest("the form is not one with a file; load the page again")
	}
	texts = map[string]string{}
	for {
		part, err := m.NextPart()
		switch {
		case errors.Is(err, io.EOF):
			return texts, body, nil
		case err != nil:
			return nil, nil, readProblem(err)
		}
		if err := takePart(part, file, names, texts, &body); err != nil {
			return nil, nil, err
		}
	}
}

// maxField is the largest text field of such a form, in bytes.
const maxField = 8 << 10

func takePart(part *multipart.Part, file string, names []string, texts map[string]string, body *[]byte) error {
	name := part.FormName()
	if name == file {
		if *body != nil {
			return badRequest("the field %q is there twice", name)
		}
		b, err := io.ReadAll(part)
		if err != nil {
			return readProblem(err)
		}
		*body = b
		return nil
	}
	for _, n := range names {
		if n != name {
			continue
		}
		if _, twice := texts[name]; twice {
			return badRequest("the field %q is there twice", name)
		}
		b, err := io.ReadAll(io.LimitReader(part, maxField+1))
		if err != nil {
			return readProblem(err)
		}
		if len(b) > maxField {
			return badRequest("the field %q is larger than %d bytes", name, maxField)
		}
		texts[name] = string(b)
		return nil
	}
	return badRequest("unknown field %q of the form; load the page again", consent.Shown(name))
}

// readProblem is what is said of a body that did not arrive.
func readProblem(err error) error {
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return problem(http.StatusRequestEntityTooLarge, "too-large", fmt.Sprintf("what was sent is larger than %d bytes", large.Limit))
	}
	return badRequest("the form did not arrive whole")
}
