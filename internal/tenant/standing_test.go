package tenant

import (
	"path/filepath"
	"slices"
	"testing"
)

// TestStandingTellsOfAWithdrawnKey: that the key-encryption key is gone is seen before
// the next start fails, and what is in memory stays in use.
func TestStandingTellsOfAWithdrawnKey(t *testing.T) {
	kek, _ := mustKEK(t)
	c := Config{Dir: filepath.Join(t.TempDir(), "keys"), Tenant: "acme", KEK: kek}
	k, err := c.Create()
	if err != nil {
		t.Fatal(err)
	}
	if s := k.Standing(); s.Trouble != nil || s.Stale || !s.Wrapped || !slices.Equal(s.IDs, k.IDs()) {
		t.Errorf("fresh keys: %+v", s)
	}
	k.cfg.KEK = withdrawn{}
	before := derive(t, k, k.Primary(), "a")
	if s := k.Standing(); s.Trouble == nil || s.Stale {
		t.Errorf("the key-encryption key is gone: %+v", s)
	}
	if derive(t, k, k.Primary(), "a") != before {
		t.Error("to look has changed what is in memory")
	}
	k.cfg.KEK = kek
	other, err := c.Open()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Rotate(); err != nil {
		t.Fatal(err)
	}
	if s := k.Standing(); s.Trouble != nil || !s.Stale || len(s.IDs) != 1 {
		t.Errorf("another process has rotated: %+v", s)
	}
	if s := (&Keyring{}).Standing(); s.Trouble == nil {
		t.Error("a keyring that is not open has no trouble")
	}
}
