package hub

import (
	"net/url"
	"strings"
)

// local is where somebody is sent after they have signed in: a page of the Hub's own,
// or the overview if to is anything else. An address that a stranger made must not
// lead a person from the Hub's sign-in to a page that looks like it.
//
// Browsers take "//host", "/\host" and either with tabs or line ends in between for
// another host (WHATWG URL, section 4.4).
func local(to string) string {
	const home = "/"
	if len(to) > 2000 || !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") || strings.ContainsFunc(to, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '\\' }) {
		return home
	}
	u, err := url.Parse(to)
	if err != nil || u.IsAbs() || u.Host != "" || u.User != nil || u.Opaque != "" || u.Fragment != "" {
		return home
	}
	if strings.HasPrefix(u.Path, "//") || strings.Contains(u.Path, `\`) || strings.HasPrefix(u.Path, "/signin") || strings.HasPrefix(u.Path, "/signout") {
		return home
	}
	for segment := range strings.SplitSeq(u.Path, "/") {
		if segment == "." || segment == ".." {
			return home
		}
	}
	return u.EscapedPath() + query(u)
}

func query(u *url.URL) string {
	if u.RawQuery == "" {
		return ""
	}
	return "?" + u.RawQuery
}
