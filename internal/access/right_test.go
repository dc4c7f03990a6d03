package access

import "testing"

// TestNobodyMayNothing: what is not named gives no right, and what names no right
// is for nobody.
func TestNobodyMayNothing(t *testing.T) {
	if (Visitor{}).May(Read) || Role("").May(Read) || Role("admin").May(Read) {
		t.Error("who has no role may read")
	}
	all := Visitor{Roles: Roles}
	if all.May(0) || all.May(Own+1) {
		t.Error("a right that is none is had")
	}
	for _, r := range []Right{Read, Values, Export, Decide, Propose, Approve, Operate, Own} {
		if !all.May(r) {
			t.Errorf("no role gives the right to %s", r)
		}
	}
}

// TestDutiesAreSeparate: no role both proposes and approves, and only one gives roles.
func TestDutiesAreSeparate(t *testing.T) {
	for _, r := range Roles {
		if r.May(Propose) && r.May(Approve) {
			t.Errorf("%s proposes and approves", r)
		}
		if r.May(Own) != (r == Owner) {
			t.Errorf("%s says who has which role", r)
		}
	}
	if Auditor.May(Values) || Viewer.May(Values) || Viewer.May(Export) {
		t.Error("who only reads sees values, or takes entries away")
	}
}

// What each role may do, written down a second time: whoever changes the one must
// mean it.
func TestRolesAndRights(t *testing.T) {
	want := map[Role]map[Right]bool{
		"":                   {},
		"root":               {},
		Viewer:               {Read: true},
		Auditor:              {Read: true, Export: true},
		ConsentAdministrator: {Read: true, Values: true, Decide: true},
		PolicyAuthor:         {Read: true, Values: true, Propose: true},
		PolicyApprover:       {Read: true, Values: true, Approve: true},
		Operator:             {Read: true, Operate: true},
		Owner:                {Read: true, Values: true, Export: true, Decide: true, Operate: true, Own: true},
	}
	for role, may := range want {
		for right := range Right(20) {
			if got := (Visitor{Name: "ada", Roles: []Role{role}}).May(right); got != may[right] {
				t.Errorf("%q and %s: %t", role, right, got)
			}
		}
	}
	for _, r := range Roles {
		if _, known := want[r]; !known {
			t.Errorf("the role %s is not in the table", r)
		}
		if got, err := ParseRole(string(r)); got != r || err != nil {
			t.Errorf("%s is read as %q: %v", r, got, err)
		}
	}
	for _, r := range Rights {
		if got, err := ParseRight(r.String()); got != r || err != nil {
			t.Errorf("%s is read as %s: %v", r, got, err)
		}
	}
	for _, s := range []string{"", "none", "Owner", "owner "} {
		if r, err := ParseRole(s); err == nil {
			t.Errorf("the role %q is read as %q", s, r)
		}
		if r, err := ParseRight(s); err == nil {
			t.Errorf("the right %q is read as %s", s, r)
		}
	}
}

// A token's rights narrow those of its person, and never widen them.
func TestTokensNarrow(t *testing.T) {
	for _, role := range Roles {
		for _, only := range append([]Right{0}, Rights...) {
			v := Visitor{Name: "ada", Roles: []Role{role}, Only: []Right{only}}
			for _, right := range Rights {
				if got, want := v.May(right), right == only && role.May(right); got != want {
					t.Errorf("%s with a token for %s and %s: %t", role, only, right, got)
				}
			}
		}
	}
	if (Visitor{Name: "ada", Roles: Roles, Only: []Right{}}).May(Read) {
		t.Error("a token without rights may read")
	}
}
