package policy

import (
	"testing"
	"time"
)

// TestEndsListsWhatIsOverOneDay: what ends first comes first, what is over is there
// too, and the end is that at which the rule itself ends.
func TestEndsListsWhatIsOverOneDay(t *testing.T) {
	ends := leavesPack(t).Plan().Ends()
	var mine []End
	for i, e := range ends {
		if i > 0 && e.At.Before(ends[i-1].At) {
			t.Errorf("%s stands behind %s", e.LastDay, ends[i-1].LastDay)
		}
		if e.Transit == "leaves" {
			mine = append(mine, e)
		}
	}
	if len(mine) != 3 {
		t.Fatalf("%d of the transit's three rules: %+v", len(mine), mine)
	}
	over := mine[0]
	if over.Label != "ugc.body" || over.LastDay != "2020-01-01" || over.Owner != "o" || over.Because != "Over" || over.Rule == "" || over.Tunnel {
		t.Errorf("the first is %+v", over)
	}
	if want := time.Date(2020, 1, 2, 0, 0, 0, 0, time.UTC); !over.At.Equal(want) {
		t.Errorf("it is over at %s, not %s", over.At, want)
	}
	tr, _ := leavesPack(t).Plan().Transit("leaves")
	for i := range tr.rules {
		if r := &tr.rules[i]; r.text == "ugc.body" && (r.overAt(over.At.Add(-1)) || !r.overAt(over.At)) {
			t.Error("the rule does not end when it is said to")
		}
	}
}
