package isogate_test

import (
	"os"
	"testing"

	"github.com/isogate/isogate/internal/check"
)

// floors is the house's plan. An import goes down, never sideways or up; what
// each room answers is in docs/architecture.md.
var floors = check.Floors{
	Of: map[string]int{
		".":                    0,
		"internal/taxonomy":    1,
		"internal/obfuscate":   1,
		"internal/tenant":      1,
		"internal/journal":     1,
		"internal/remote":      1,
		"internal/payload":     1,
		"internal/http1":       1,
		"internal/guess":       1,
		"internal/policy":      2,
		"internal/consent":     2,
		"internal/seal":        2,
		"internal/trail":       2,
