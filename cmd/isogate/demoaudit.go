package main

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/journal"
)

// audit does what an auditor does: takes an export, verifies it by the public
// key alone, and finds out what happens when somebody changes one byte of it.
func (d *demo) audit(ctx context.Context) {
	d.say("\nThe auditor's part\n   The journal is exported, and verified by the public key alone.\n\n")
	export, err := d.export(ctx)
	if err != nil {
		d.failf("no export: %v", err)
		return
	}
	report, err := journal.VerifyExport(bytes.NewReader(export), d.server.keys.Verifier())
	if err != nil {
		d.failf("the export does not verify: %v", err)
		return
	}
	d.say("   verified: %d entries of %s, Merkle root %.16s…\n", report.Count, report.Tenant, report.Root)
	if len(report.Unclosed) > 0 {
		d.failf("%d releases were never closed: %v", len(report.Unclosed), report.Unclosed)
	}
	tampered := bytes.Replace(export, []byte(`"decision":"refused"`), []byte(`"decision":"refusex"`), 1)
	if _, err = journal.VerifyExport(bytes.NewReader(tampered), d.server.keys.Verifier()); err == nil {
		d.failf("an export with one byte changed verifies")
		return
	}
	d.say("   one byte changed: %v\n", err)
}

// export waits until a checkpoint covers what has happened so far.
func (d *demo) export(ctx context.Context) ([]byte, error) {
	mark := &isogate.Entry{Kind: isogate.KindAdmin, Actor: "isogate demo", Act: "the story ended"}
	if err := d.server.journal.Append(ctx, mark); err != nil {
		return nil, err
	}
	ctx, stop := context.WithTimeout(ctx, 30*time.Second)
	defer stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		cp, err := d.server.journal.Checkpoint(ctx)
		if err == nil && cp.Size > mark.Seq {
			var b bytes.Buffer
			err := d.server.journal.Export(ctx, &b, journal.Range{})
			return b.Bytes(), err
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(errors.New("no checkpoint came"), err)
		case <-tick.C:
		}
	}
}
