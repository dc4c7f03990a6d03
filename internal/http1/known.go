package http1

import "strings"

// known numbers the fields that this package has something to say about.
type known uint8

const (
	unknown known = iota
	kHost
	kContentLength
	kTransferEncoding
	kConnection
	kExpect
	kUpgrade
	kHTTP2Settings
	kTE
	kTrailer
	kKeepAlive
	kProxyConnection
	kDate
	kLocation
	// Others that have one value only, and what describes the body.
	kContentType
	kContentEncoding
	kContentRange
	kContentLocation
	kContentDisposition
	kAuthorization
	kProxyAuthorization
	kCookie
	kRange
	kIfRange
	kIfModifiedSince
	kIfUnmodifiedSince
	kMaxForwards
	kOrigin
	kReferer
	kUserAgent
	kFrom
	kETag
	kAge
	kExpires
	kLastModified
	kRetryAfter
	kSetCookie
	kCacheControl
	kWWWAuthenticate
	kProxyAuthenticate
	kVary
)

// knownOf looks up a name in canonical spelling.
func knownOf[T string | []byte](name T) known {
	switch string(name) {
	case "Host":
		return kHost
	case "Content-Length":
		return kContentLength
	case "Transfer-Encoding":
		return kTransferEncoding
	case "Connection":
		return kConnection
	case "Expect":
		return kExpect
	case "Upgrade":
		return kUpgrade
	case "Http2-Settings":
		return kHTTP2Settings
	case "Te":
		return kTE
	case "Trailer":
		return kTrailer
	case "Keep-Alive":
		return kKeepAlive
	case "Proxy-Connection":
		return kProxyConnection
	case "Date":
		return kDate
	case "Location":
		return kLocation
	case "Content-Type":
		return kContentType
	case "Content-Encoding":
		return kContentEncoding
	case "Content-Range":
		return kContentRange
	case "Content-Location":
		return kContentLocation
	case "Content-Disposition":
		return kContentDisposition
	case "Authorization":
		return kAuthorization
	case "Proxy-Authorization":
		return kProxyAuthorization
	case "Cookie":
		return kCookie
	case "Range":
		return kRange
	case "If-Range":
		return kIfRange
	case "If-Modified-Since":
		return kIfModifiedSince
	case "If-Unmodified-Since":
		return kIfUnmodifiedSince
	case "Max-Forwards":
		return kMaxForwards
	case "Origin":
		return kOrigin
	case "Referer":
		return kReferer
	case "User-Agent":
		return kUserAgent
	case "From":
		return kFrom
	case "Etag":
		return kETag
	case "Age":
		return kAge
	case "Expires":
		return kExpires
	case "Last-Modified":
		return kLastModified
	case "Retry-After":
		return kRetryAfter
	case "Set-Cookie":
		return kSetCookie
	case "Cache-Control":
		return kCacheControl
	case "Www-Authenticate":
		return kWWWAuthenticate
	case "Proxy-Authenticate":
		return kProxyAuthenticate
	case "Vary":
		return kVary
	}
	return unknown
}

func set(ks ...known) (bits uint64) {
	for _, k := range ks {
		bits |= 1 << k
	}
	return bits
}

var (
	// singles are the fields of which a message may have one line only. Two would
	// let two programs pick different ones.
	singles = set(kHost, kContentLength, kTransferEncoding, kConnection, kExpect, kDate, kLocation, kContentType,
		kContentEncoding, kContentRange, kContentLocation, kContentDisposition, kAuthorization, kProxyAuthorization,
		kCookie, kRange, kIfRange, kIfModifiedSince, kIfUnmodifiedSince, kMaxForwards, kOrigin, kReferer, kUserAgent,
		kFrom, kETag, kAge, kExpires, kLastModified, kRetryAfter)

	// framing are the fields that say where a message ends or what becomes of the
	// connection: this package writes them, its callers do not.
	framing = set(kContentLength, kTransferEncoding, kConnection, kUpgrade, kHTTP2Settings, kTE, kTrailer, kKeepAlive,
		kProxyConnection)

	// headOnly are the fields that change what a message means, where it goes or who
	// sends it, and therefore may not come after its body (RFC 9110, 6.5.1).
	headOnly = framing | singles | set(kSetCookie, kCacheControl, kWWWAuthenticate, kProxyAuthenticate, kVary)
)

func (k known) in(bits uint64) bool { return k != unknown && bits>>k&1 != 0 }

// HopByHop reports whether a field belongs to one connection alone (RFC 9110,
// 7.6.1) and so is never handed on. Case does not matter.
func HopByHop(name string) bool {
	b := []byte(name)
	canonicalise(b)
	k := knownOf(b)
	return k.in(framing) && k != kContentLength || k == kProxyAuthorization || k == kProxyAuthenticate
}

// aliases reports whether a name turns into one that this package knows once
// "_" is read as "-", as CGI and its heirs do.
func aliases(name []byte) bool {
	s := strings.ReplaceAll(string(name), "_", "-")
	b := []byte(s)
	canonicalise(b)
	return knownOf(b) != unknown
}
