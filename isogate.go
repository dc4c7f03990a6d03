// Package isogate is the vocabulary of an isolated cloud's one way out: what a
// value means ([Label]), what may leave of it ([Action]), how the far side must
// treat it ([Handling]), why it leaves ([Purpose]), the answer for one field
// ([Verdict]) and the record of it ([Entry]).
//
// The zero value of every type here is its strictest one: a forgotten
// assignment refuses. Nothing in this package does I/O.
package isogate

import "fmt"

// Names of the things that a pack and a configuration declare. They are types
// of their own so that one is never passed where another is meant.
type (
	// Tenant names one isolated customer.
	Tenant string
	// Source names an authenticated workload that sends.
	Source string
	// Destination names an outside service of ours.
	Destination string
	// Transit names one allowed way out.
	Transit string
)

// CheckName reports what is wrong with s as the name of a tenant, source,
// destination, transit, contract or pack: 1 to 63 characters of a-z, 0-9, dot,
// dash, underscore and, where slash is set, "/", beginning and ending with a
// letter or digit.
func CheckName(s string, slash bool) error {
	if s == "" {
		return fmt.Errorf("the name is empty")
	}
	if len(s) > 63 {
		return fmt.Errorf("the name %.20q… is longer than 63 characters", s)
	}
	for i := range len(s) {
		c := s[i]
		alnum := c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
		inner := c == '-' || c == '_' || c == '.' || slash && c == '/'
		if !alnum && (!inner || i == 0 || i == len(s)-1) {
			return fmt.Errorf("the name %q has %q at character %d; use a-z, 0-9 and, inside, one of . - _", s, c, i+1)
		}
	}
	return nil
}
