package access

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"
)

// Passkeys is how people prove who they are by a key that their device keeps and
// shows to nobody (W3C Web Authentication Level 3). The device must verify its user,
// by a finger, a face or a PIN, and the key must tell by itself whose it is. It is
// safe for concurrent use.
type Passkeys struct {
	party *webauthn.WebAuthn
	key   [32]byte // authenticates tickets, for as long as this process runs
	now   func() time.Time

	mu    sync.Mutex // guards spent
	spent map[string]time.Time
}

// ceremonyHolds is how long somebody may take to show a passkey.
const ceremonyHolds = 5 * time.Minute

// NewPasskeys makes it for the Hub at a URL. Browsers keep passkeys for names of hosts
// over TLS, and for localhost: the error says so of an address.
func NewPasskeys(at *url.URL, name string, now func() time.Time) (*Passkeys, error) {
	host := at.Hostname()
	if _, err := netip.ParseAddr(host); err == nil {
		return nil, fmt.Errorf("access: browsers keep no passkeys for %s: it is no name", host)
	}
	if at.Scheme != "https" && host != "localhost" {
		return nil, fmt.Errorf("access: browsers keep no passkeys for %s: it is not https", at)
	}
	yes := true
	party, err := webauthn.New(&webauthn.Config{RPID: host, RPDisplayName: name, RPOrigins: []string{at.Scheme + "://" + at.Host},
		AttestationPreference:  protocol.PreferNoAttestation,
		AuthenticatorSelection: protocol.AuthenticatorSelection{ResidentKey: protocol.ResidentKeyRequirementRequired, RequireResidentKey: &yes, UserVerification: protocol.VerificationRequired},
	})
	if err != nil {
		return nil, fmt.Errorf("access: %w", err)
	}
	if now == nil {
		now = time.Now
	}
	p := &Passkeys{party: party, now: now, spent: map[string]time.Time{}}
	_, _ = rand.Read(p.key[:])
	return p, nil
}

// ticket is what a browser keeps while its person looks for their passkey. It says
// what was asked, and nobody but this process can have written it: so nothing must be
// kept here of those who only ask.
type ticket struct {
	Session webauthn.SessionData `json:"s"`
	Person  string               `json:"p,omitempty"` // who adds a passkey; "" for a sign-in
	Until   int64                `json:"u"`
}

func (p *Passkeys) seal(t ticket) (string, error) {
	t.Until = p.now().Add(ceremonyHolds).Unix()
	text, err := json.Marshal(t)
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(text) + "." + base64.RawURLEncoding.EncodeToString(p.mac(text)), nil
}

func (p *Passkeys) mac(text []byte) []byte {
	m := hmac.New(sha256.New, p.key[:])
	m.Write(text)
	return m.Sum(nil)
}

// errNoTicket says that nothing was asked that this would be the answer to.
var errNoTicket = refused("passkey", "this gateway did not ask this browser for a passkey, or more than 5 minutes ago; try again")

// open reads a ticket of a person, each once.
func (p *Passkeys) open(s, person string) (ticket, error) {
	head, tail, _ := strings.Cut(s, ".")
	text, err1 := base64.RawURLEncoding.DecodeString(head)
	mac, err2 := base64.RawURLEncoding.DecodeString(tail)
	var t ticket
	if err1 != nil || err2 != nil || !hmac.Equal(mac, p.mac(text)) || json.Unmarshal(text, &t) != nil || t.Person != person || p.now().Unix() >= t.Until {
		return ticket{}, errNoTicket
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, used := p.spent[t.Session.Challenge]; used {
		return ticket{}, errNoTicket
	}
	return t, nil
}

// spend has a ticket's challenge answered once and for all. Only who shows a passkey
// gets here, so that a stranger fills nothing.
func (p *Passkeys) spend(t ticket) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	maps.DeleteFunc(p.spent, func(_ string, at time.Time) bool { return now.Sub(at) > ceremonyHolds })
	if _, used := p.spent[t.Session.Challenge]; used {
		return false
	}
	p.spent[t.Session.Challenge] = now
	return true
}

// keyholder is a person as webauthn knows them.
type keyholder struct {
	name   string
	handle []byte
	keys   []webauthn.Credential
}

// The methods of [webauthn.User].

// WebAuthnID is random, and says nothing of the person.
func (k keyholder) WebAuthnID() []byte { return k.handle }

// WebAuthnName is the person's.
func (k keyholder) WebAuthnName() string { return k.name }

// WebAuthnDisplayName is the person's.
func (k keyholder) WebAuthnDisplayName() string { return k.name }

// WebAuthnCredentials are the passkeys.
func (k keyholder) WebAuthnCredentials() []webauthn.Credential { return k.keys }

func (k *Passkey) credential() webauthn.Credential {
	flags := protocol.FlagUserPresent | protocol.FlagUserVerified
	if k.BackupEligible {
		flags |= protocol.FlagBackupEligible
	}
	return webauthn.Credential{ID: []byte(k.ID), PublicKey: k.Key, Flags: webauthn.NewCredentialFlags(flags),
		Authenticator: webauthn.Authenticator{AAGUID: k.AAGUID, SignCount: k.Count}}
}

// OfferPasskey begins to add a passkey to the visitor's ways in: options are for
// navigator.credentials.create, and the ticket is for the browser to keep.
func (d *Desk) OfferPasskey(p *Passkeys, v Visitor) (options any, kept string, err error) {
	user := keyholder{name: v.Name}
	for _, k := range d.State().Passkeys(v.Name) {
		user.handle = k.Handle
		user.keys = append(user.keys, k.credential())
	}
	if user.handle == nil {
		user.handle = make([]byte, 32)
		_, _ = rand.Read(user.handle)
	}
	creation, session, err := p.party.BeginRegistration(user, webauthn.WithExclusions(webauthn.Credentials(user.keys).CredentialDescriptors()))
	if err != nil {
		return nil, "", fmt.Errorf("access: %w", err)
	}
	kept, err = p.seal(ticket{Session: *session, Person: v.Name})
	return creation, kept, err
}

// AddPasskey ends what OfferPasskey began, with the browser's answer. Name is what its
// person calls the passkey.
func (d *Desk) AddPasskey(ctx context.Context, p *Passkeys, v Visitor, kept, name string, response []byte) error {
	if err := checkWay(name); err != nil {
		return invalid("the passkey's name: %w", err)
	}
	if v.Session == "" {
		return ErrNobody
	}
	t, err := p.open(kept, v.Name)
	if err != nil {
		return err
	}
	parsed, err := protocol.ParseCredentialCreationResponseBytes(response)
	if err != nil {
		return badPasskey(err)
	}
	c, err := p.party.CreateCredential(keyholder{name: v.Name, handle: t.Session.UserID}, t.Session, parsed)
	if err != nil {
		return badPasskey(err)
	}
	if !c.Flags.UserVerified || !p.spend(t) {
		return errNoTicket
	}
	_, err = d.do(ctx, Act{What: PasskeyAdded, Actor: actorOf(v), Person: v.Name, Name: name, Passkey: Passkey{ID: string(c.ID), Key: c.PublicKey, Handle: t.Session.UserID,
		AAGUID: c.Authenticator.AAGUID, Count: c.Authenticator.SignCount, BackupEligible: c.Flags.BackupEligible}})
	return err
}

// badPasskey is a refusal of what a browser says of a passkey.
func badPasskey(err error) error {
	var detail *protocol.Error
	if errors.As(err, &detail) {
		err = fmt.Errorf("%s: %s", detail.Details, detail.DevInfo)
	}
	return refused("passkey", "that is no passkey that can be taken here").because(err)
}

// AskPasskey begins a sign-in: options are for navigator.credentials.get, and the
// ticket is for the browser to keep. Nobody is told who has a passkey.
func (d *Desk) AskPasskey(p *Passkeys) (options any, kept string, err error) {
	assertion, session, err := p.party.BeginDiscoverableLogin(webauthn.WithUserVerification(protocol.VerificationRequired))
	if err != nil {
		return nil, "", fmt.Errorf("access: %w", err)
	}
	kept, err = p.seal(ticket{Session: *session})
	return assertion, kept, err
}

// SignInByPasskey ends what AskPasskey began, with the browser's answer.
func (d *Desk) SignInByPasskey(ctx context.Context, p *Passkeys, kept string, response []byte, again Visitor) (secret string, err error) {
	defer func() {
		if err != nil {
			d.Wrong(ByPasskey)
		}
	}()
	t, err := p.open(kept, "")
	if err != nil {
		return "", err
	}
	parsed, err := protocol.ParseCredentialRequestResponseBytes(response)
	if err != nil {
		return "", badPasskey(err)
	}
	state := d.State()
	var used *Passkey
	_, c, err := p.party.ValidatePasskeyLogin(func(id, handle []byte) (webauthn.User, error) {
		k := state.passkeys[string(id)]
		if k == nil || !bytes.Equal(k.Handle, handle) {
			return nil, errors.New("no such passkey")
		}
		used = k
		return keyholder{k.Person, k.Handle, []webauthn.Credential{k.credential()}}, nil
	}, t.Session, parsed)
	if err != nil || used == nil {
		return "", badPasskey(err)
	}
	if c.Authenticator.CloneWarning {
		return "", refused("passkey", "your passkey has counted backwards: there may be a copy of it. Sign in by another way, remove it and add another")
	}
	if !p.spend(t) {
		return "", errNoTicket
	}
	return d.begin(ctx, Act{Actor: Actor{used.Person, ByPasskey}, Person: used.Person, Proof: d.cfg.Now(), Passkey: Passkey{ID: used.ID, Count: c.Authenticator.SignCount}}, again)
}

// RemovePasskey ends a passkey: the visitor's own, or anybody's for an owner. Id is
// the credential's.
func (d *Desk) RemovePasskey(ctx context.Context, by Visitor, id string) error {
	k := d.State().passkeys[id]
	if k == nil || k.Person != by.Name && !by.May(Own) {
		return ErrNotYours
	}
	if k.Person == by.Name && !d.otherWay(k) {
		return invalid("it is your only way in; add another passkey first")
	}
	_, err := d.do(ctx, Act{What: PasskeyRemoved, Actor: actorOf(by), Person: k.Person, Name: k.Name, Passkey: Passkey{ID: id}})
	return err
}

// otherWay reports whether a passkey's person can sign in without it.
func (d *Desk) otherWay(k *Passkey) bool {
	state := d.State()
	p, _ := state.Person(k.Person)
	c := d.people.people[k.Person]
	return len(state.Passkeys(k.Person)) > 1 || p.Identity != Identity{} || c.TokenSHA256 != "" || c.Subject != ""
}
