package browsertest

import (
	"context"

	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"
)

// Authenticator is a made-up one inside the machine, with a fingerprint that is always
// the right one, as a laptop has.
type Authenticator struct {
	b  *Browser
	id webauthn.AuthenticatorID
}

// Authenticator gives the window one, with no passkeys.
func (b *Browser) Authenticator() *Authenticator {
	b.tb.Helper()
	a := &Authenticator{b: b}
	b.Do("give an authenticator", webauthn.Enable(), chromedp.ActionFunc(func(ctx context.Context) (err error) {
		a.id, err = webauthn.AddVirtualAuthenticator(&webauthn.VirtualAuthenticatorOptions{
			Protocol: webauthn.AuthenticatorProtocolCtap2, Ctap2version: webauthn.Ctap2versionCtap21, Transport: webauthn.AuthenticatorTransportInternal,
			HasResidentKey: true, HasUserVerification: true, AutomaticPresenceSimulation: true, IsUserVerified: true,
		}).Do(ctx)
		return err
	}))
	return a
}

// Credentials are its passkeys.
func (a *Authenticator) Credentials() (out []*webauthn.Credential) {
	a.b.tb.Helper()
	a.b.Do("read the passkeys", chromedp.ActionFunc(func(ctx context.Context) (err error) {
		out, err = webauthn.GetCredentials(a.id).Do(ctx)
		return err
	}))
	return out
}

// Add puts a passkey on it, as somebody would who has copied it from another.
func (a *Authenticator) Add(c *webauthn.Credential) {
	a.b.tb.Helper()
	a.b.Do("add a passkey", webauthn.AddCredential(a.id, c))
}

// Stranger has it say, or not any more, that the finger is another one.
func (a *Authenticator) Stranger(yes bool) {
	a.b.tb.Helper()
	a.b.Do("change the finger", webauthn.SetUserVerified(a.id, !yes))
}
