package hub

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"time"

	"github.com/isogate/isogate/internal/access"
)

// ticketHolds is how long a browser keeps what it was asked for a passkey with.
const ticketHolds = 5 * time.Minute

// keys are the desk and the passkeys, where there are both.
func (h *Hub) keys() (*access.Desk, *access.Passkeys, error) {
	if h.desk == nil || h.passkeys == nil {
		return nil, nil, problem(http.StatusNotFound, "not-found", "browsers keep no passkeys for the address of this Hub; it needs a name, and TLS")
	}
	return h.desk, h.passkeys, nil
}

// script reads what a script of the Hub's own sends. Only such a script can say that
// it is JSON: a form of another site cannot.
func (v *visit) script(into any) error {
	if mt, _, err := mime.ParseMediaType(v.Header.Get("Content-Type")); err != nil || mt != "application/json" {
		return problem(http.StatusUnsupportedMediaType, "media-type", "the body must be application/json")
	}
	body, err := io.ReadAll(v.Body)
	if err != nil {
		return badRequest("the body did not arrive whole")
	}
	if json.Unmarshal(body, into) != nil {
		return badRequest("the body is not the JSON that it must be")
	}
	return nil
}

// options answers a script with what it asks the browser for a passkey with.
func (v *visit) options(options any, kept string, err error) error {
	if err != nil {
		return err
	}
	http.SetCookie(v.w, v.hub.cookie(ofPasskey, kept, ticketHolds))
	v.hub.write(v.w, http.StatusOK, "application/json", options)
	return nil
}

// next tells a script which page comes next.
func (v *visit) next(path string) error {
	v.hub.write(v.w, http.StatusOK, "application/json", map[string]string{"to": path})
	return nil
}

// ticket is what the browser was asked with; it is forgotten by that.
func (v *visit) ticket() string {
	kept := v.hub.secretOf(v.Request, ofPasskey)
	http.SetCookie(v.w, v.hub.cookie(ofPasskey, "", 0))
	return kept
}

// inWords answers a script with why not, as a problem.
func (v *visit) inWords(err error) error {
	v.hub.refuse(v.w, problemOf(err))
	return nil
}

func (h *Hub) askPasskey(v *visit) error {
	d, p, err := h.keys()
	if err != nil {
		return v.inWords(err)
	}
	if err := v.script(&struct{}{}); err != nil {
		return v.inWords(err)
	}
	return v.options(d.AskPasskey(p))
}

func (h *Hub) signInByPasskey(v *visit) error {
	d, p, err := h.keys()
	if err != nil {
		return v.inWords(err)
	}
	var in struct {
		To         string          `json:"to"`
		Again      bool            `json:"again"`
		Credential json.RawMessage `json:"credential"`
	}
	if err := v.script(&in); err != nil {
		return v.inWords(err)
	}
	again := access.Visitor{}
	if in.Again {
		again = v.who
	}
	secret, err := d.SignInByPasskey(v.Context(), p, v.ticket(), in.Credential, again)
	if err != nil {
		h.wrong(v.Request, access.ByPasskey)
		h.unseated(err)
		return v.inWords(signInProblem(err))
	}
	h.sitDown(v.w, v.Request, secret)
	return v.next(local(in.To))
}

func (h *Hub) offerPasskey(v *visit) error {
	d, p, err := h.keys()
	if err != nil {
		return v.inWords(err)
	}
	if err := v.script(&struct{}{}); err != nil {
		return v.inWords(err)
	}
	return v.options(d.OfferPasskey(p, v.who))
}

func (h *Hub) addPasskey(v *visit) error {
	d, p, err := h.keys()
	if err != nil {
		return v.inWords(err)
	}
	var in struct {
		Name       string          `json:"name"`
		Credential json.RawMessage `json:"credential"`
	}
	if err := v.script(&in); err != nil {
		return v.inWords(err)
	}
	if err := d.AddPasskey(v.Context(), p, v.who, v.ticket(), in.Name, in.Credential); err != nil {
		h.unseated(err)
		return v.inWords(signInProblem(err))
	}
	return v.next("/account?said=passkey-added")
}

func (h *Hub) removePasskey(v *visit) error {
	d, err := h.door()
	if err != nil {
		return err
	}
	if err := v.nothing(); err != nil {
		return err
	}
	id, err := base64.RawURLEncoding.DecodeString(v.PathValue("id"))
	if err == nil {
		err = d.RemovePasskey(v.Context(), mine(v.who), string(id))
	} else {
		err = errors.Join(access.ErrNotYours, err)
	}
	if err != nil {
		return signInProblem(err)
	}
	return v.seeOther("/account", "passkey-removed")
}
