package remote

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/isogate/isogate"
)

// native reads a manifest of ours. Every key is known, and what is left out is
// taken for the worst, as in Forge's: no operations is storage, no end_user_data
// is true. The kind must be said.
func (m *manifestReader) native(v value) {
	m.Format = Native
	problem := fmt.Errorf("the manifest has no app; write app: and a name for it")
	at := v.at
	m.mapping(v, []string{"isogate", "app", "name", "vendor", "version", "remotes"}, func(key string, v value) {
		v.path = key
		switch key {
		case "isogate":
			if n, ok := v.Node.(*ast.IntegerNode); !ok || n.GetToken().Value != "1" {
				m.fail(v.at, "isogate is not 1, the version of manifests that is read here; write isogate: 1")
			}
		case "app":
			at = v.at
			if s, ok := m.text(v); ok {
				if problem = isogate.CheckName("app/"+s, true); problem == nil {
					m.App = s
				} else {
					problem = fmt.Errorf("app: %w", problem)
				}
			}
		case "name":
			m.Name = m.label(v)
		case "vendor":
			m.Vendor = m.label(v)
		case "version":
			m.Version = m.label(v)
		case "remotes":
			m.list(v, m.nativeRow)
		}
	})
	switch {
	case problem == nil:
	case m.opts.Fragment:
		m.warn(at, "%v", problem)
	default:
		m.fail(at, "%v", problem)
	}
}

var nativeKeys = []string{"host", "port", "kind", "path", "operations", "end_user_data", "tokens", "region"}

func (m *manifestReader) nativeRow(v value) {
	t := worst
	var kind Kind
	var host, path value
	port := ""
	before := len(m.mistakes)
	m.mapping(v, nativeKeys, func(key string, v value) {
		var err error
		switch key {
		case "host":
			host = v
		case "path":
			path = v
		case "port":
			if n, ok := v.Node.(*ast.IntegerNode); ok {
				port = n.GetToken().Value
			} else {
				err = fmt.Errorf("is %s; write a number from 1 to 65535", kindOf(v.Node))
			}
		case "kind":
			if s, ok := m.text(v); ok {
				if kind, err = ParseKind(s); err != nil || kind == TransitWay {
					err = fmt.Errorf("is no kind of an app's traffic; use one of %s", strings.Join(kindNames[1:TransitWay], ", "))
				}
			}
		case "operations":
			t.operations = m.operations(v)
		case "end_user_data":
			t.endUserData, _ = m.boolean(v)
		case "tokens":
			m.list(v, func(v value) {
				if s, ok := m.text(v); ok {
					one, err := ParseTokens(s)
					if err != nil || strings.Contains(s, ",") {
						m.fail(v.at, "%s is no token; use one of %s", v.path, strings.Join(tokenNames, ", "))
					}
					t.tokens |= one
				}
			})
		case "region":
			if t.region, _ = m.text(v); !IsRegion(t.region) {
				err = fmt.Errorf("is not two capital letters; write EU, or leave it out for every region")
			}
		}
		if err != nil {
			m.fail(v.at, "%s %v", v.path, err)
		}
	})
	if len(m.mistakes) > before {
		return
	}
	if host.Node == nil || kind == NoKind {
		m.fail(v.at, "%s has no host or no kind; write both, as in - {host: api.example.com, kind: backend}", v.path)
		return
	}
	written, ok := m.text(host)
	if !ok {
		return
	}
	if strings.ContainsAny(written, "/:?#") {
		m.fail(host.at, "%s is more than a host; write port and path under keys of their own, and no scheme: it is always https", host.path)
		return
	}
	if port != "" {
		if _, err := parsePort(port); err != nil {
			m.fail(v.at, "%s.port is %.20q, no plain number from 1 to 65535; leave it out for 443", v.path, port)
			return
		}
		if port != strconv.Itoa(443) {
			written += ":" + port
		}
	}
	if path.Node != nil {
		p, ok := m.text(path)
		switch {
		case !ok:
			return
		case kind.servers():
			m.fail(path.at, "%s narrows nothing: servers' traffic is let out by host and port; leave it out", path.path)
			return
		case !strings.HasPrefix(p, "/"):
			m.fail(path.at, "%s does not begin with /; write /v1/ for everything below it", path.path)
			return
		}
		written += p
	}
	m.address(kind, written, host.at, t)
}
