package http1

import "testing"

// Whatever is refused as an authority is refused with a reason, and nothing is
// too broken to find one.
func FuzzAuthority(f *testing.F) {
	for _, s := range []string{"", ":", ":443", "h", "h:443", "[::1]:443", "[::1", "[::1%25lo]:1", "[]", "]", "a..b", ".", "u@h", `h\`, "h%2e", "h/x", "h,i", "h:0", "h:443:1", "\xff", "*.h", "h.:1", "\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if why := whyHost(s); !validHost(s) && why == "" {
			t.Errorf("%q is refused without a reason", s)
		}
	})
}
