package remote

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// The egress part of a Forge manifest, as its public schema and documentation
// have it:
//
//	permissions.external = { fetch: {backend: [egress | {remote: KEY}], client: [egress | {remote: KEY}]},
//	                         fonts|frames|images|media|scripts|styles|navigation: [egress], configurable: {enabled} }
//	egress               = ADDRESS | {address: ADDRESS, category: analytics, inScopeEUD: true|false}
//	remotes              = [{key, baseUrl: URL | {default: URL, EU: URL, …}, operations: [storage|compute|fetch|other],
//	                         auth: {appUserToken: {enabled}, appSystemToken: {enabled}}, storage: {inScopeEUD},
//	                         configurable: {name, description, supportedPatterns}}]
//	environment          = {variables: [NAME | {key, default}]}
//	endpoint             = [{key, remote: KEY, route, auth}]       providers.auth[].remotes, app.connect.remote = KEY
//
// Two defaults are the worst case on purpose: no operations is storage, and no
// inScopeEUD is end-user data.

// forgeKeys are the top-level keys by which a Forge manifest is known.
var forgeKeys = []string{"app", "permissions", "remotes", "modules", "providers", "environment", "resources", "connectModules", "endpoint"}

// forgeRegions are the keys of a remote's addresses by region; default is for
// every one that has none of its own.
var forgeRegions = []string{"default", "EU", "US", "AU", "DE", "SG", "CA", "IN", "KR", "JP", "GB", "CH"}

// pageKinds are the lists of permissions.external besides fetch.
var pageKinds = map[string]Kind{
	"fonts": Fonts, "frames": Frames, "images": Images, "media": Media, "scripts": Scripts, "styles": Styles, "navigation": Navigation,
}

// remoteDeclaration is one of the manifest's remotes.
type remoteDeclaration struct {
	at        place
	addresses []regionalAddress
	terms     terms
}

type regionalAddress struct {
	region  string
	written string
	at      place
}

// forge reads a Forge manifest by its top-level keys.
func (m *manifestReader) forge(top map[string]value, keys []string) {
	m.Format = Forge
	for _, k := range keys {
		if !slices.Contains(forgeKeys, k) {
			if hint := nearMiss(k, []string{"permissions", "remotes", "environment", "providers", "endpoint"}); hint != "" {
				m.warn(top[k].at, "the key %.40q is unknown and ignored%s", k, hint)
			}
		}
	}
	m.environment(top["environment"])
	m.forgeApp(top["app"])
	if v, ok := top["remotes"]; ok {
		m.list(v, m.remote)
	}
	if v, ok := top["endpoint"]; ok {
		m.list(v, m.endpoint)
	}
	if v, ok := top["modules"]; ok && kindOf(v.Node) == "a mapping" {
		m.mapping(v, nil, func(key string, v value) {
			if key == "endpoint" {
				m.list(v, m.endpoint)
			}
		})
	}
	if m.connect.Node != nil {
		m.reference(m.connect)
	}
	m.mapping(top["providers"], nil, func(key string, v value) {
		if key == "auth" {
			m.list(v, m.provider)
		}
	})
	// What is handed to a remote is known now, from itself and from its endpoints.
	for _, r := range m.inOrder {
		for _, a := range r.addresses {
			t := r.terms
			t.region = a.region
			m.address(Remote, a.written, a.at, t)
		}
	}
	m.mapping(top["permissions"], []string{"external", "scopes", "content", "enforcement"}, func(key string, v value) {
		switch key {
		case "external":
			m.external(v)
		case "enforcement":
			m.warn(v.at, "permissions.enforcement changes nothing here; what is not consented to does not leave, whatever the app checks itself")
		}
	})
}

const ariPrefix = "ari:cloud:ecosystem::app/"

func (m *manifestReader) forgeApp(v value) {
	at, problem := place{1, 1}, errors.New("the manifest has no app.id; add the id that the app is registered with")
	m.mapping(v, nil, func(key string, v value) {
		switch key {
		case "id":
			at = v.at
			problem = nil
			if s, ok := m.text(v); ok {
				m.App, problem = m.appID(s, at)
			}
		case "name":
			m.Name = m.label(v)
		case "connect":
			m.mapping(v, nil, func(key string, v value) {
				if key == "remote" {
					m.connect = v
				}
			})
		}
	})
	if problem == nil {
		return
	}
	if m.opts.Fragment {
		m.warn(at, "%v", problem)
	} else {
		m.fail(at, "%v", problem)
	}
}

// appID returns the one spelling of an app's id.
func (m *manifestReader) appID(s string, at place) (string, error) {
	s, err := m.expand(s)
	if err != nil {
		return "", fmt.Errorf("app.id: %w", err)
	}
	s = strings.ToLower(s)
	id, whole := strings.CutPrefix(s, ariPrefix)
	if !isUUID(id) {
		return "", errors.New("app.id is not that of a registered app; write " + ariPrefix + " and the app's UUID")
	}
	if strings.Trim(id, "0-") == "" {
		return "", errors.New("app.id is the UUID of zeros, which stands for no app; write the id that the app is registered with")
	}
	if !whole {
		m.warn(at, "app.id is a bare UUID; write %s before it", ariPrefix)
	}
	return ariPrefix + id, nil
}

func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		if dash := i == 8 || i == 13 || i == 18 || i == 23; dash != (s[i] == '-') || !dash && !isHex(s[i]) {
			return false
		}
	}
	return true
}

func (m *manifestReader) environment(v value) {
	m.variables = map[string]string{}
	m.mapping(v, []string{"variables"}, func(_ string, v value) {
		m.list(v, func(v value) {
			if scalar(v.Node) {
				m.variable(v)
				return
			}
			name := ""
			m.mapping(v, []string{"key", "default"}, func(key string, v value) {
				switch key {
				case "key":
					name = m.variable(v)
				case "default":
					if isComposite(v) {
						m.fail(v.at, "%s is %s; write text", v.path, kindOf(v.Node))
					} else if name != "" {
						m.variables[name] = textOf(v.Node)
					}
				}
			})
		})
	})
}

func isComposite(v value) bool {
	k := kindOf(v.Node)
	return k == "a mapping" || k == "a list"
}

func (m *manifestReader) variable(v value) string {
	s, ok := m.text(v)
	if ok && !isVariable(s) {
		m.fail(v.at, "%s is no variable's name; use letters, digits and _", v.path)
		return ""
	}
	return s
}

var remoteKeys = []string{"key", "baseUrl", "operations", "auth", "storage", "configurable"}

func (m *manifestReader) remote(v value) {
	r := &remoteDeclaration{at: v.at, terms: worst}
	var base, configurable, stored value
	inScope := true
	before := len(m.mistakes)
	m.mapping(v, append([]string{"baseURL"}, remoteKeys...), func(key string, v value) {
		switch key {
		case "key":
			if s, ok := m.text(v); ok {
				r.terms.remoteKey = s
				if !isRemoteKey(s) {
					m.fail(v.at, "%s is no remote's key; use 1 to 23 letters, digits, - and _", v.path)
				}
			}
		case "baseURL", "baseUrl":
			if key == "baseURL" {
				m.warn(v.at, "%s is taken for baseUrl; write it so", v.path)
			}
			if base.Node != nil {
				m.fail(v.at, "%s is there beside baseUrl; keep one", v.path)
			}
			base = v
		case "operations":
			r.terms.operations = m.operations(v)
		case "auth":
			r.terms.tokens |= m.auth(v)
		case "storage":
			m.mapping(v, []string{"inScopeEUD"}, func(_ string, v value) {
				if b, ok := m.boolean(v); ok {
					stored, inScope = v, b
				}
			})
		case "configurable":
			configurable = v
			r.terms.configurable = true
		}
	})
	// What storage says is about what is kept. Of a remote that keeps nothing it
	// says nothing, and users' data may well go through.
	switch {
	case stored.Node == nil:
	case r.terms.operations&Storage != 0:
		r.terms.endUserData = inScope
	case !inScope:
		m.warn(stored.at, "%s says nothing of a remote whose operations have no storage; it counts as getting end-user data", stored.path)
	}
	key := r.terms.remoteKey
	good := len(m.mistakes) == before
	switch first := m.remotes[key]; {
	case key == "" && good:
		m.fail(v.at, "%s has no key; give it one", v.path)
	case key == "":
	case first != nil:
		m.fail(v.at, "there are two remotes with the key %.40q, the first in line %d; rename one", key, first.at.line)
	default:
		m.remotes[key] = r
		m.inOrder = append(m.inOrder, r)
	}
	switch {
	case base.Node != nil:
		r.addresses = m.baseURL(base)
	case configurable.Node == nil && good:
		m.fail(v.at, "%s has no baseUrl; add the address of the app's server", v.path)
	}
	if configurable.Node != nil {
		m.configurable(configurable, key)
	}
}

func isRemoteKey(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			return false
		}
	}
	return s != "" && len(s) <= 23
}

func (m *manifestReader) baseURL(v value) []regionalAddress {
	if scalar(v.Node) {
		return []regionalAddress{{"", textOf(v.Node), v.at}}
	}
	var list []regionalAddress
	before := len(m.mistakes)
	m.mapping(v, forgeRegions, func(region string, v value) {
		if s, ok := m.text(v); ok {
			if region == "default" {
				region = ""
			}
			list = append(list, regionalAddress{region, s, v.at})
		}
	})
	if len(list) == 0 && len(m.mistakes) == before {
		m.fail(v.at, "%s has no address; write default: https://api.example.com", v.path)
	}
	return list
}

// operations reads a list of operations; an empty one is as none: storage.
func (m *manifestReader) operations(v value) Operations {
	var all Operations
	m.list(v, func(v value) {
		if s, ok := m.text(v); ok {
			o, err := ParseOperations(s)
			if err != nil || strings.Contains(s, ",") {
				m.fail(v.at, "%s is no operation; use one of %s", v.path, strings.Join(operationNames, ", "))
			}
			all |= o
		}
	})
	if all == 0 {
		return Storage
	}
	return all
}

func (m *manifestReader) auth(v value) Tokens {
	var all Tokens
	m.mapping(v, []string{"appUserToken", "appSystemToken"}, func(key string, v value) {
		t := AppUser
		if key == "appSystemToken" {
			t = AppSystem
		}
		m.mapping(v, []string{"enabled"}, func(_ string, v value) {
			if b, ok := m.boolean(v); ok && b {
				all |= t
			}
		})
	})
	return all
}

// configurable reads where an administrator may enter an address.
func (m *manifestReader) configurable(v value, key string) {
	c := Configurable{RemoteKey: key, Line: v.at.line, Column: v.at.column}
	m.mapping(v, []string{"name", "description", "supportedPatterns"}, func(field string, v value) {
		switch field {
		case "name":
			c.Name = m.label(v)
		case "description":
			c.Description = m.label(v)
		case "supportedPatterns":
			m.list(v, func(v value) {
				s, ok := m.text(v)
				if !ok {
					return
				}
				if m.addresses++; m.addresses > maxRows {
					m.tooManyRows(v.at, "more than %d addresses", maxRows)
					return
				}
				host, port, _, err := CanonicalAddress(Remote, s)
				if err != nil {
					m.Refused = append(m.Refused, RefusedAddress{visible(s), Remote, v.at.line, v.at.column, key, err.Error()})
					return
				}
				if port != 443 {
					host = fmt.Sprintf("%s:%d", host, port)
				}
				c.Patterns = append(c.Patterns, host)
			})
		}
	})
	m.Configurable = append(m.Configurable, c)
}

// endpoint reads one endpoint: it may hand tokens to its remote. What else it has
// is not about egress.
func (m *manifestReader) endpoint(v value) {
	var to *remoteDeclaration
	var tokens Tokens
	m.mapping(v, nil, func(key string, v value) {
		switch key {
		case "remote":
			to = m.reference(v)
		case "auth":
			tokens = m.auth(v)
		}
	})
	if to != nil {
		to.terms.tokens |= tokens
	}
}

// provider reads one provider of authorisation: it talks to remotes.
func (m *manifestReader) provider(v value) {
	m.mapping(v, nil, func(key string, v value) {
		switch key {
		case "remotes":
			m.list(v, func(v value) { m.reference(v) })
		case "actions":
			m.mapping(v, nil, func(_ string, v value) {
				m.mapping(v, nil, func(key string, v value) {
					if key == "remote" {
						m.reference(v)
					}
				})
			})
		}
	})
}

// reference returns the remote that a value names.
func (m *manifestReader) reference(v value) *remoteDeclaration {
	s, ok := m.text(v)
	if !ok {
		return nil
	}
	r := m.remotes[s]
	if r == nil {
		hint := nearMiss(s, slices.Sorted(maps.Keys(m.remotes)))
		if hint == "" {
			hint = "; declare it under remotes"
		}
		m.fail(v.at, "%s names the remote %.40q, which is not declared%s", v.path, s, hint)
	}
	return r
}

// external reads permissions.external.
func (m *manifestReader) external(v value) {
	keys := []string{"fetch", "fonts", "frames", "images", "media", "scripts", "styles", "navigation", "configurable"}
	m.mapping(v, keys, func(key string, v value) {
		switch key {
		case "fetch":
			m.mapping(v, append([]string{"backend", "client"}, keys[1:8]...), func(key string, v value) {
				kind, page := pageKinds[key]
				switch {
				case key == "backend":
					kind = Backend
				case key == "client":
					kind = Client
				case page:
					// Seen in manifests that are in use. Asking for it lets nothing out unasked.
					m.warn(v.at, "%s is taken for permissions.external.%s; move it there", v.path, key)
				}
				m.list(v, func(v value) { m.egress(kind, v) })
			})
		case "configurable":
			m.mapping(v, []string{"enabled"}, func(_ string, v value) {
				if b, ok := m.boolean(v); ok && b {
					m.Configurable = append(m.Configurable, Configurable{Line: v.at.line, Column: v.at.column})
				}
			})
		default:
			m.list(v, func(v value) { m.egress(pageKinds[key], v) })
		}
	})
}

// egress reads one address, or one reference to a remote, of a list.
func (m *manifestReader) egress(kind Kind, v value) {
	if scalar(v.Node) {
		m.address(kind, textOf(v.Node), v.at, worst)
		return
	}
	if kindOf(v.Node) != "a mapping" {
		m.fail(v.at, "%s is %s; write an address, as in https://api.example.com", v.path, kindOf(v.Node))
		return
	}
	t := worst
	var written, remote value
	others, before := 0, len(m.mistakes)
	keys := []string{"address", "category", "inScopeEUD"}
	if kind == Backend || kind == Client {
		keys = append(keys, "remote")
	}
	m.mapping(v, keys, func(key string, v value) {
		switch key {
		case "address":
			written = v
		case "remote":
			remote = v
		case "category":
			others++
			if t.category, _ = m.text(v); t.category != "" && t.category != "analytics" {
				m.fail(v.at, "%s is %.40q; the only category is analytics", v.path, t.category)
			}
		case "inScopeEUD":
			others++
			if b, ok := m.boolean(v); ok {
				t.endUserData = b
			}
		}
	})
	switch {
	case written.Node != nil && remote.Node != nil:
		m.fail(v.at, "%s has both address and remote; keep one", v.path)
	case remote.Node != nil && others > 0:
		m.fail(v.at, "%s has a remote and more; say it where the remote is declared", v.path)
	case remote.Node != nil:
		r := m.reference(remote)
		if r == nil {
			return
		}
		for _, a := range r.addresses {
			t := r.terms
			t.region = a.region
			m.address(kind, a.written, remote.at, t)
		}
	case written.Node != nil:
		if s, ok := m.text(written); ok {
			m.address(kind, s, written.at, t)
		}
	case len(m.mistakes) == before:
		m.fail(v.at, "%s has no address; write address: https://api.example.com", v.path)
	}
}
