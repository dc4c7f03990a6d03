package isogatetest

import (
	"strings"
	"testing"

	"github.com/isogate/isogate/internal/remote"
)

// ATTACK: a destination is spelled so that whoever judges it and whoever connects
// to it understand two different ones: addresses in every notation, escapes,
// delimiters, look-alikes, odd ports; or its name tells what should not leave.
// THIS TEST VERIFIES that the parsing of a request's place and the matching of
// rows together let each of them reach the allowed host or nothing. The gateway's
// doors are tried with the same list.
//
// promise: P12
func TestSpellings(t *testing.T) {
	wild := remote.Row{Kind: remote.Backend, Host: AllowedWildcard, Port: AllowedPort}
	rows := []remote.Row{{Kind: remote.Backend, Host: AllowedHost, Port: AllowedPort}, wild}
	seen := map[string]bool{}
	count := map[Outcome]int{}
	for _, s := range Spellings() {
		if seen[s.Text] || s.Why == "" || strings.ContainsAny(s.Text, "\r\n") {
			t.Errorf("%q is there twice, without a reason, or with a line break", s.Text)
		}
		seen[s.Text] = true
		count[s.Want]++
		host, port, err := remote.ParseAuthority(s.Text, 0)
		got := Refuse
		for _, r := range rows {
			if err == nil && r.Allows(remote.Backend, host, port, "/") && (r != wild || !remote.DataInName(host)) {
				got = Reach
			}
		}
		if got != s.Want {
			t.Errorf("%q (%s): %q, %d, %v: outcome %d; want %d", s.Text, s.Why, host, port, err, got, s.Want)
		}
		if got == Reach {
			if again, err := remote.CanonicalHost(host); err != nil || again != host {
				t.Errorf("%q reaches %q, which is not canonical", s.Text, host)
			}
		}
	}
	if count[Refuse] < 140 || count[Reach] < 10 {
		t.Errorf("only %d are refused and %d reach the host", count[Refuse], count[Reach])
	}
	t.Logf("%d refused, %d reach", count[Refuse], count[Reach])
}
