package main

import (
	"fmt"

	"github.com/isogate/isogate/internal/policy"
)

// exitExposing is the status of pack plan where the new pack is more exposing.
const exitExposing = 3

type packPlanCmd struct {
	Old string `arg:"" help:"Directory of the pack as it is."`
	New string `arg:"" help:"Directory of the pack as it is to be."`
	At  string `help:"The instant from which on to compare (2026-11-02T12:00:00Z or 2026-11-02). Without it, now."`
}

// Run prints what changes for what leaves, and answers with the status whether any of
// it is more exposing.
func (c *packPlanCmd) Run(e *env) error {
	at, err := instant(c.At, e.Now)
	if err != nil {
		return err
	}
	before, err := loadPack(c.Old)
	if err != nil {
		return err
	}
	after, err := loadPack(c.New)
	if err != nil {
		return err
	}
	effect := policy.Compare(before.Plan(), after.Plan(), at)
	if e.JSON {
		err = printJSON(e.Stdout, effect)
	} else {
		_, err = fmt.Fprint(e.Stdout, effect.String())
	}
	if err == nil && effect.MoreExposing {
		return errStatus(exitExposing)
	}
	return err
}
