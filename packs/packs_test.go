package packs_test

import (
	"testing"
	"time"

	"github.com/isogate/isogate/internal/policy"
)

// now is within the life of every rule of the packs here.
var now = time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)

func TestReferencePackChecks(t *testing.T) {
	if _, err := policy.Check("reference", now); err != nil {
		t.Fatal(err)
	}
}
