package hub

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/isogate/isogate/internal/access"
)

// What pages about people do, the API does: an owner invites, gives and takes roles, ends
// sessions, tokens and everything of a person; everybody makes tokens of their own.
// Every call and answer is as openapi.json says.
//
// promise: P15
func TestPeopleByTheAPI(t *testing.T) {
	o := newOffice(t)
	if me := into[Me](o.call("ada", "GET", "/me", "").want(200)); me.Name != "ada" || me.SignedIn != access.ByBearer || !slices.Equal(me.Rights, []string{"read", "values", "decide"}) {
		t.Errorf("ada is %+v", me)
	}
	in := into[Invitation](o.call("olga", "POST", "/people", `{"name":"grace","roles":["viewer"]}`).want(200))
	_, key, _ := strings.Cut(in.URL, "/signin/link?key=")
	secret, err := o.hub.desk.SignInByLink(t.Context(), key, "")
	if err != nil {
		t.Fatal(err)
	}
	grace := func() access.Visitor {
		v, _ := o.hub.desk.Visitor(secret)
		return v
	}
	if v := grace(); v.Name != "grace" || !v.May(access.Read) {
		t.Errorf("grace is %+v", v)
	}
	p := into[PersonView](o.call("olga", "POST", "/people/grace/roles", `{"give":["auditor"],"take":["viewer"],"reason":"moves"}`).want(200))
	if !slices.Equal(p.Roles, []access.Role{access.Auditor}) || !slices.Equal(p.Withheld, []access.Role{access.Viewer}) || !grace().May(access.Export) {
		t.Errorf("grace is %+v", p)
	}
	if list := into[PersonList](o.call("olga", "GET", "/people", "").want(200)); len(list.People) != 4 || list.People[2].Name != "grace" || list.People[2].Sessions != 1 || !list.People[0].Configured {
		t.Errorf("people are %+v", list)
	}
	sessions := into[SessionList](o.call("olga", "GET", "/sessions", "").want(200)).Sessions
	if len(sessions) != 1 || sessions[0].Person != "grace" || sessions[0].SignedIn != access.ByLink+" of olga" || string(sessions[0].ID) == secret {
		t.Errorf("sessions are %+v", sessions)
	}
	made := into[TokenView](o.call("ada", "POST", "/tokens", `{"name":"ci","rights":["read","decide"],"days":30}`).want(201))
	tokens["adas"] = made.Token
	defer delete(tokens, "adas")
	if me := into[Me](o.call("adas", "GET", "/me", "").want(200)); me.Name != "ada" || me.SignedIn != "API token ci" || !slices.Equal(me.Rights, []string{"read", "decide"}) {
		t.Errorf("ada's token is %+v", me)
	}
	c := o.asked(api)
	d := into[Done](o.call("adas", "POST", "/consents/"+string(c.ID)+"/grant", granted(c, "")).want(200))
	if by := d.Consent.By[0]; by.Name != "ada" || by.SignedIn != "API token ci" {
		t.Errorf("it was granted by %+v", by)
	}
	o.call("adas", "GET", "/subjects", "").want(403, "urn:isogate:problem:right", "the right to values")
	o.call("adas", "POST", "/tokens", `{"name":"more","rights":["read"],"days":1}`).want(400, "makes no API tokens")
	if list := into[TokenList](o.call("olga", "GET", "/tokens", "").want(200)); len(list.Tokens) != 1 || list.Tokens[0].Token != "" || list.Tokens[0].Used == nil {
		t.Errorf("tokens are %+v", list)
	}
	if list := into[TokenList](o.call("bob", "GET", "/tokens", "").want(200)); len(list.Tokens) != 0 {
		t.Errorf("bob's are %+v", list)
	}
	o.call("olga", "POST", "/tokens/"+string(made.ID)+"/revoke", "").want(204)
	o.call("adas", "GET", "/me", "").want(401)
	o.call("olga", "POST", "/sessions/"+string(sessions[0].ID)+"/revoke", "").want(204)
	if grace().Name != "" {
		t.Error("grace still sits there")
	}
	if p := into[PersonView](o.call("olga", "POST", "/people/grace/remove", `{"reason":"left"}`).want(200)); !p.Removed || len(p.Roles) != 0 {
		t.Errorf("grace is %+v", p)
	}
	for path, body := range map[string]string{
		"/people": `{"name":"Eve","roles":["viewer"]}`, "/people/grace/roles": `{"give":["root"]}`, "/people/ada/roles": `{}`, "/people/olga/roles": `{"take":["owner"]}`, "/people/olga/remove": `{}`,
		"/tokens": `{"name":"x","rights":["own"],"days":400}`, "/people/Eve/roles": `{"give":["owner"]}`,
	} {
		o.call("olga", "POST", path, body).want(400)
	}
	o.call("olga", "POST", "/sessions/"+string(access.DigestOf("x"))+"/revoke", "").want(404)
	for _, path := range []string{"/people", "/sessions"} {
		o.call("ada", "GET", path, "").want(403, "the right to own")
	}
}

// What a person sees of themself and of others is told to the second, and never with
// what opens anything.
func TestNoSecretOnPages(t *testing.T) {
	h := newHouse(t, nil)
	olga := h.browser().as("olga")
	made := olga.post("/account/tokens", map[string][]string{"name": {"ci"}, "rights[]": {"read"}, "days": {"1"}}).want(200)
	at := strings.Index(made.body, access.TokenPrefix)
	token := made.body[at : at+len(access.TokenPrefix)+43]
	link := olga.post("/people", map[string][]string{"name": {"grace"}, "roles[]": {"viewer"}}).want(200)
	_, key, _ := strings.Cut(link.body, "/signin/link?key=")
	key = key[:43]
	for _, path := range []string{"/account", "/people", "/sessions", "/tokens", "/signin", "/signin/again"} {
		page := olga.get(path).want(200).body
		for what, secret := range map[string]string{"session": olga.secret(), "token": token, "link": key, "configured token": tokens["olga"]} {
			if strings.Contains(page, secret) {
				t.Errorf("%s has the secret of the %s", path, what)
			}
		}
	}
	r, _ := http.NewRequest(http.MethodGet, h.server.URL+Prefix+"/sessions", nil)
	r.Header.Set("Authorization", "Bearer "+tokens["olga"])
	if g := olga.do(r).want(200); strings.Contains(g.body, olga.secret()) {
		t.Error("the API tells a session's secret")
	}
	if day := fmt.Sprint(time.Now().UTC().Year()); !strings.Contains(olga.get("/account").body, day) {
		t.Error("the account does not say when")
	}
}
