package main

import (
	"slices"
	"testing"
	"time"

	"github.com/isogate/isogate/internal/policy"
)

// The example's configuration is read, and fits the pack that lies beside it:
// each of its sources may send over some transit.
func TestExampleConfiguration(t *testing.T) {
	cfg, err := loadConfig("../../examples/minimal/isogate.yaml")
	if err != nil {
		t.Fatal(err)
	}
	pack, err := policy.Check(cfg.Pack, time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range cfg.Sources {
		if !slices.ContainsFunc(pack.Plan().Transits(), func(tr *policy.Transit) bool { return slices.Contains(tr.Sources, s.Name) }) {
			t.Errorf("no transit lets %s send", s.Name)
		}
	}
	if len(cfg.Sources) == 0 {
		t.Error("the example has no source")
	}
}

// The landing's example is read, and is of a kind that a pack knows: somebody may see
// what is sealed, and somebody is told to erase.
func TestExampleLanding(t *testing.T) {
	cfg, err := loadLanding("../../examples/landing/landing.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if len(cfg.Viewers.Allowed) == 0 || cfg.Erase.URL == "" || len(cfg.Acknowledges) == 0 {
		t.Errorf("the example shows too little: %+v", cfg)
	}
	if name := string(cfg.Destination); name != "support-portal" {
		t.Errorf("no shipped pack knows the destination %s", name)
	}
}
