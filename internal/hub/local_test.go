package hub

import (
	"net/url"
	"strings"
	"testing"
)

// FuzzLocal: whatever somebody is to be sent to after they have signed in, it is a
// page of the same host, and the sign-in does not lead to itself.
func FuzzLocal(f *testing.F) {
	for _, s := range []string{"/", "/explore?x=%2f#y", "//e", "/\\e", "/%2f/e", "/.//e", "/a/..//e", "https:e", "/signin", "/\t/e", "/a?//e"} {
		f.Add(s)
	}
	base, err := url.Parse("https://hub.acme.example/signin/token")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, to string) {
		got := local(to)
		u, err := base.Parse(got)
		if err != nil || u.Host != base.Host || u.Scheme != base.Scheme || !strings.HasPrefix(got, "/") || strings.HasPrefix(u.Path, "//") || strings.HasPrefix(u.Path, "/signin") || strings.ContainsAny(got, "\\\t\r\n ") {
			t.Errorf("%q leads to %q", to, got)
		}
		if local(got) != got {
			t.Errorf("%q leads to %q, and that to %q", to, got, local(got))
		}
	})
}
