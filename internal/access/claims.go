package access

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

// maxGroups is how many groups of somebody are looked at.
const maxGroups = 2000

// known reads who somebody is out of what the provider claims.
func (p *Provider) known(id *oidc.IDToken, claims map[string]json.RawMessage, w walk) (known, error) {
	k := known{Identity: Identity{id.Issuer, id.Subject}, name: p.name(claims)}
	now := p.cfg.Now()
	var at int64
	if v := claims["auth_time"]; v != nil && json.Unmarshal(v, &at) == nil && at > 0 {
		if k.proof = time.Unix(at, 0); k.proof.After(now.Add(skew)) {
			return known{}, refused("provider", "the provider says that you proved who you are in the future; its clock or this one is wrong")
		}
	}
	// What the browser asked for proves nothing: it is the provider's word that counts,
	// and it has signed when it last asked.
	if w.Again && (k.proof.IsZero() || now.Sub(k.proof) > walkHolds) {
		return known{}, refused("stale", "the provider was asked to have you prove again who you are, and does not say that it did (auth_time)")
	}
	groups := p.groups(claims)
	if groups == nil {
		k.noRole = fmt.Sprintf("the provider does not say which groups you are in: its claim %s is missing", p.cfg.RolesClaim)
		return k, nil
	}
	for _, g := range groups {
		k.roles = union(k.roles, p.cfg.Roles[g])
	}
	if len(k.roles) == 0 {
		k.noRole = fmt.Sprintf("of the %d groups that the provider's claim %s has for you none gives a role here", len(groups), p.cfg.RolesClaim)
	}
	return k, nil
}

// name is what somebody is called, "" if what the provider says cannot be used: an
// e-mail address that it has not verified is whatever its person typed.
func (p *Provider) name(claims map[string]json.RawMessage) string {
	said := text(claims[p.cfg.NameClaim])
	name := strings.ToLower(said)
	// Some other letters become those of ASCII in lower case, such as the sign for kelvin.
	if CheckPerson(name) != nil || len(said) != len(name) {
		return ""
	}
	if strings.Contains(name, "@") || p.cfg.NameClaim == "email" {
		if v := string(claims["email_verified"]); v != "true" && v != `"true"` {
			return ""
		}
	}
	return name
}

// groups are those that the claim of roles has; nil if it is not there. It may be a
// list or one word, and inside other claims: realm_access.roles.
func (p *Provider) groups(claims map[string]json.RawMessage) []string {
	v := claims[p.cfg.RolesClaim]
	if v == nil {
		in := claims
		parts := strings.Split(p.cfg.RolesClaim, ".")
		for i, part := range parts {
			if i == len(parts)-1 {
				v = in[part]
				break
			}
			var next map[string]json.RawMessage
			if json.Unmarshal(in[part], &next) != nil {
				return nil
			}
			in = next
		}
	}
	if v == nil {
		return nil
	}
	groups := []string{}
	if one := text(v); one != "" {
		return append(groups, one)
	}
	if json.Unmarshal(v, &groups) != nil {
		return nil
	}
	if groups == nil {
		return []string{}
	}
	return groups[:min(len(groups), maxGroups)]
}

// text is a claim that is a string, "" if it is none.
func text(v json.RawMessage) string {
	var s string
	if v == nil || json.Unmarshal(v, &s) != nil {
		return ""
	}
	return s
}

// errorCode is an OAuth error code as people may be shown it (RFC 6749 section 5.2):
// whoever made the address has chosen it.
func errorCode(s string) string {
	if s == "" || len(s) > 60 || strings.Trim(s, "abcdefghijklmnopqrstuvwxyz_") != "" {
		return "it gives no reason"
	}
	return s
}
