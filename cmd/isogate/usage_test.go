package main

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/hub"
)

// TestConsentShowsItsUse: what left by a grant is counted out of the journal, and is
// not asked for by itself.
//
// promise: P14
func TestConsentShowsItsUse(t *testing.T) {
	s := withAdministrators(t, "")
	s.must("tenant", "create", "-c", s.config)
	s.must("app", "import", "bot.yaml")
	id := string(s.consents("requested")[0].ID)
	s.must("consent", "grant", id, "--reason", "needed", "--yes")
	g := string(s.consents("granted")[0].ID)
	if out := s.must("consent", "show", g, "--usage"); !strings.Contains(out, "0 releases") || !strings.Contains(out, "never") {
		t.Errorf("before anything left:\n%s", out)
	}
	s.opened(func(ctx context.Context, op *opened) error {
		for _, e := range []*isogate.Entry{
			{Kind: isogate.KindEgress, Decision: isogate.Released.String(), Stage: isogate.StageOpened, Source: "app/bot", Transit: "bot-api", Remote: "api.example.com:443", Consent: isogate.EntryID(g), BytesOut: 1000,
				Fields: []isogate.Field{{Path: "a", Label: "system.status", Action: isogate.Allow, N: 3}, {Path: "b", Label: "ugc.body", Action: isogate.Token, N: 1}}},
			{Kind: isogate.KindEgress, Decision: isogate.Refused.String(), Stage: isogate.StageRefused, Source: "app/bot", Transit: "bot-api", Remote: "api.example.com:443", Consent: isogate.EntryID(g)},
		} {
			if err := op.journal.Append(ctx, e); err != nil {
				return err
			}
		}
		return nil
	})
	out := s.must("consent", "show", g, "--usage")
	for _, want := range []string{"1 release, 1000 bytes", "api.example.com", "system.status", "allow", "ugc.body", "token"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
	var v hub.Consent
	if err := json.Unmarshal([]byte(s.must("--json", "consent", "show", g, "--usage")), &v); err != nil || v.Usage == nil || v.Usage.Releases != 1 || len(v.Usage.Labels) != 2 || len(v.Usage.Rows) == 0 || v.Usage.Rows[0].Releases != 1 || v.Usage.Labels[0].Values != 3 {
		t.Errorf("got %+v, %v", v.Usage, err)
	}
	if out := s.must("consent", "show", g); strings.Contains(out, "release") {
		t.Errorf("the journal was read without being asked:\n%s", out)
	}
}
