package access

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// maxName is how long a person's name may be, in bytes.
const maxName = 100

// CheckPerson reports what is wrong with s as the name of a person: 1 to 100
// characters of a-z, 0-9 and, inside, one of . - _ + @. An e-mail address is one. So
// nothing in a name acts on a terminal or a page, and no two names look alike but for
// those that are spelt alike.
func CheckPerson(s string) error {
	if s == "" {
		return fmt.Errorf("the name is empty")
	}
	if len(s) > maxName {
		return fmt.Errorf("the name %.20q… is longer than %d characters", s, maxName)
	}
	for i := range len(s) {
		c := s[i]
		alnum := c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
		if !alnum && (!strings.ContainsRune(".-_+@", rune(c)) || i == 0 || i == len(s)-1) {
			return fmt.Errorf("the name %q has %q at character %d; use a-z, 0-9 and, inside, one of . - _ + @", s, c, i+1)
		}
	}
	return nil
}

// Configured is a person of the configuration, with each way by which they may
// sign in. Their roles are theirs as long as they are listed.
type Configured struct {
	Name  string
	Roles []Role
	// TokenSHA256 is the SHA-256 of their bearer token, in lower-case hexadecimal; ""
	// if they have none.
	TokenSHA256 string
	// Subject is who they are to the OpenID provider; "" if they do not sign in by it.
	Subject string
}

// configured is the list by each of the ways.
type configured struct {
	people   map[string]Configured
	tokens   map[Digest]string
	subjects map[string]string
}

// newConfigured checks who they are. Two people with one token or one account would
// be one person who can agree with themself.
func newConfigured(list []Configured) (configured, error) {
	c := configured{map[string]Configured{}, map[Digest]string{}, map[string]string{}}
	for i, p := range list {
		at := fmt.Sprintf("administrators[%d]", i)
		if err := CheckPerson(p.Name); err != nil {
			return c, fmt.Errorf("%s.name: %w", at, err)
		}
		if _, twice := c.people[p.Name]; twice {
			return c, fmt.Errorf("%s.name: %q is there twice", at, p.Name)
		}
		for _, r := range p.Roles {
			if _, err := ParseRole(string(r)); err != nil {
				return c, fmt.Errorf("%s.roles: %w", at, err)
			}
		}
		if p.TokenSHA256 == "" && p.Subject == "" {
			return c, fmt.Errorf("%s: %s has no way to sign in; give token_sha256 or oidc", at, p.Name)
		}
		if p.TokenSHA256 != "" {
			sum := Digest(p.TokenSHA256)
			switch {
			case len(sum) != 64 || strings.Trim(string(sum), "0123456789abcdef") != "":
				return c, fmt.Errorf("%s.token_sha256: is not 64 hexadecimal digits in lower case; make it with: printf %%s TOKEN | sha256sum", at)
			case sum == DigestOf(""):
				return c, fmt.Errorf("%s.token_sha256: is that of an empty token", at)
			case c.tokens[sum] != "":
				return c, fmt.Errorf("%s.token_sha256: another administrator has the same token; give each their own, so that two are two", at)
			}
			c.tokens[sum] = p.Name
		}
		if p.Subject != "" {
			if c.subjects[p.Subject] != "" {
				return c, fmt.Errorf("%s.oidc: another administrator has the same account; give each their own, so that two are two", at)
			}
			c.subjects[p.Subject] = p.Name
		}
		c.people[p.Name] = p
	}
	return c, nil
}

// claimsHold is how long what the provider says of somebody holds after they last
// signed in by it: for their tokens and passkeys, as no session is as long.
const claimsHold = 30 * 24 * time.Hour

// rolesOf are a person's roles at an instant: by the configuration, by an owner, and
// by the provider, less those that an owner took from them.
func (c *configured) rolesOf(p *Person, at time.Time) []Role {
	if p.Removed {
		return nil
	}
	roles := union(c.people[p.Name].Roles, p.Given)
	if at.Before(p.ClaimedAt.Add(claimsHold)) {
		roles = union(roles, p.Claimed)
	}
	roles = without(roles, p.Withheld)
	slices.SortFunc(roles, func(a, b Role) int { return slices.Index(Roles, a) - slices.Index(Roles, b) })
	return roles
}

// CheckConfigured reports what is wrong with a list of people.
func CheckConfigured(list []Configured) error {
	_, err := newConfigured(list)
	return err
}
