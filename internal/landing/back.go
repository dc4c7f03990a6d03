package landing

import (
	"crypto/rand"

	"github.com/isogate/isogate/internal/http1"
)

// A browser may keep a page that somebody has left as it was, with its values, and
// show it again when they go back; Chromium does so for minutes, no-store or not,
// unless a cookie that scripts cannot read has changed since. So one changes with
// each page that somebody who is signed in gets. What a screen shows when somebody
// never leaves the page, or comes back to it from another site, it shows.

// backCookie is that cookie. It says nothing, and the service never gets it.
func backCookie(x *http1.Exchange) string {
	if x.Request.TLS != nil {
		return "__Host-isogate-page"
	}
	return "isogate-page"
}

// noWayBack adds the cookie to the head of a page.
//
// promise: P41
func noWayBack(x *http1.Exchange, header http1.Fields) http1.Fields {
	switch x.Request.Header.Get("Sec-Fetch-Dest") {
	case "", "document", "frame", "iframe": // not what a page loads
	default:
		return header
	}
	cookie := backCookie(x) + "=" + rand.Text() + "; Path=/; HttpOnly; SameSite=Strict"
	if x.Request.TLS != nil {
		cookie += "; Secure"
	}
	return append(header, http1.Field{Name: "Set-Cookie", Value: cookie})
}
