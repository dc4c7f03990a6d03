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
