package journal

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/isogate/isogate"
)

// stocked is a journal of nine entries of several kinds, an hour from one to the next.
// In a database it has that one's clock.
func stocked(t *testing.T, at site) (*Journal, []isogate.Entry) {
	t.Helper()
	now := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	cfg := at.config(newKey(t, "isogate/acme"))
	cfg.Now = func() time.Time { return now }
	j, _ := open(t, cfg)
	opened := egress(1)
	var entries []isogate.Entry
	for _, e := range []*isogate.Entry{
		{Kind: isogate.KindPack, Actor: "=HYPERLINK(\"http://evil\")", Act: "pack activated", Detail: map[string]string{"digest": "sha256:1"}},
		opened,
		{Kind: isogate.KindEgress, Stage: isogate.StageClosed, Source: "product/help-center", Destination: "support-portal", Status: 201, DurationUS: 2500, TLS: "TLS 1.3", BytesOut: 10},
		{Kind: isogate.KindEgress, Stage: isogate.StageRefused, Source: "product/billing", Destination: "ledger", Decision: "refused", Reason: "-1 no, \"transit\"\r\nhas it", Method: "PATCH"},
		egress(2),
		{Kind: isogate.KindEgress, Stage: isogate.StageClosed, Status: 502},
		{Kind: isogate.KindEgress, Stage: isogate.StageOpened, Source: "app/bot", Remote: "api.example", Decision: "released", Method: "CONNECT",
			Fields: []isogate.Field{{Path: "a", Label: "ugc.title", Action: isogate.Redact, N: 1}}},
		{Kind: isogate.KindConsent, Actor: "ann", Act: "granted"},
		{Kind: isogate.KindAdmin, Actor: "ann", Act: "signed in"},
	} {
		if e.Stage == isogate.StageClosed && e.Status == 201 {
			e.Of = opened.ID
		}
		if err := j.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		entries = append(entries, *e)
		now = now.Add(time.Hour)
	}
	sealedAll(t, j)
	return j, entries
}

func TestList(t *testing.T) {
	conformance(t, func(t *testing.T, fresh func(testing.TB) site) { listing(t, fresh(t)) })
}

func listing(t *testing.T, at site) {
	j, all := stocked(t, at)
	hour := func(h int) time.Time { return time.Date(2026, 11, 23, h, 0, 0, 0, time.UTC) }
	for _, c := range []struct {
		name string
		f    Filter
		want []int
	}{
		{"all", Filter{}, []int{0, 1, 2, 3, 4, 5, 6, 7, 8}},
		{"newest", Filter{Newest: true, Limit: 2}, []int{8, 7}},
		{"a kind", Filter{Kind: isogate.KindConsent}, []int{7}},
		{"a source", Filter{Source: "product/help-center"}, []int{1, 2, 4}},
		{"a transit", Filter{Transit: "support-session"}, []int{1, 4}},
		{"a destination", Filter{Destination: "ledger"}, []int{3}},
		{"a decision", Filter{Decision: "refused"}, []int{3}},
		{"a stage", Filter{Stage: isogate.StageClosed}, []int{2, 5}},
		{"two things", Filter{Source: "product/help-center", Stage: isogate.StageClosed}, []int{2}},
		{"nothing", Filter{Source: "nobody"}, nil},
		{"a quote", Filter{Source: "' OR 1=1 --"}, nil},
		{"since", Filter{Since: hour(7)}, []int{7, 8}},
		{"before", Filter{Before: hour(2)}, []int{0, 1}},
		{"between", Filter{Since: hour(2), Before: hour(4)}, []int{2, 3}},
		{"since for ever", Filter{Since: time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC), Limit: 1}, []int{0}},
		{"after", Filter{After: all[6].ID}, []int{7, 8}},
		{"after, newest", Filter{After: all[2].ID, Newest: true}, []int{1, 0}},
		{"after what is not there", Filter{After: "00000000000000000000000000", Limit: 1}, []int{0}},
		{"after the last", Filter{After: all[8].ID}, nil},
	} {
		if at.shared && (!c.f.Since.IsZero() || !c.f.Before.IsZero()) {
			continue // that clock is not ours to set
		}
		got, err := j.List(t.Context(), c.f)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		var seqs []int
		for _, e := range got {
			seqs = append(seqs, int(e.Seq))
		}
		if len(seqs) != len(c.want) {
			t.Errorf("%s: %v, want %v", c.name, seqs, c.want)
			continue
		}
		for i := range seqs {
			if seqs[i] != c.want[i] {
				t.Errorf("%s: %v, want %v", c.name, seqs, c.want)
				break
			}
		}
	}
	if _, err := j.List(t.Context(), Filter{Since: time.UnixMilli(1 << 60)}); err == nil {
		t.Error("a time that no ID can have")
	}
	run, err := j.Span(t.Context(), Filter{Since: hour(2), Before: hour(4)})
	if at.shared {
		run, err = j.Span(t.Context(), Filter{Since: all[0].Time.Add(-time.Second), Before: all[8].Time.Add(time.Second)})
		run.First, run.End = run.First+2, run.End-5
	}
	if err != nil || run != (Range{2, 4}) {
		t.Errorf("Span: %v, %v", run, err)
	}
	if _, err := j.Span(t.Context(), Filter{Since: all[8].Time.Add(20 * time.Hour)}); err == nil || !strings.Contains(err.Error(), "no entry was recorded in that time") {
		t.Errorf("Span of nothing: %v", err)
	}
	for _, id := range []isogate.EntryID{"", "x", "01ARZ3NDEKTSV4RRFFQ69G5FAV"} {
		if _, err := j.Get(t.Context(), id); !errors.Is(err, ErrNotFound) {
			t.Errorf("Get %q: %v", id, err)
		}
	}
}

func TestExportBounds(t *testing.T) {
	conformance(t, func(t *testing.T, fresh func(testing.TB) site) { exportBounds(t, fresh(t)) })
}

func exportBounds(t *testing.T, at site) {
	key := newKey(t, "isogate/acme")
	j, _ := open(t, at.config(key))
	var b bytes.Buffer
	if err := j.Export(t.Context(), &b, Range{}); !errors.Is(err, ErrNothingSealed) {
		t.Errorf("an export of nothing: %v", err)
	}
	if rep, err := j.Verify(t.Context(), key.vkey); err != nil || rep.Tenant != "acme" || rep.Count != 0 {
		t.Errorf("an empty journal: %+v, %v", rep, err)
	}
	if cp, err := j.Checkpoint(t.Context()); err != nil || cp.Size != 0 || len(cp.Note) != 0 {
		t.Errorf("%+v, %v", cp, err)
	}
	e := appendN(t, j, 3)
	sealedAll(t, j)
	if cp, err := j.Checkpoint(t.Context()); err != nil || cp.Size != 3 || cp.Origin != "isogate/acme" {
		t.Errorf("%+v, %v", cp, err)
	}
	if err := j.Export(t.Context(), &b, Range{First: 3}); !errors.Is(err, ErrNothingSealed) {
		t.Errorf("an export behind the end: %v", err)
	}
	if err := j.Export(t.Context(), failing{}, Range{}); !errors.Is(err, errFailing) {
		t.Errorf("an export to a full disk: %v", err)
	}
	if err := j.Export(t.Context(), &b, Range{End: 99}); err != nil {
		t.Error(err)
	}
	if _, err := ProveExport(bytes.NewReader(b.Bytes()), key.vkey, "01ARZ3NDEKTSV4RRFFQ69G5FAV"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a proof of an entry that the export does not have: %v", err)
	}
	if _, err := VerifyExport(bytes.NewReader(b.Bytes()), "acme"); err == nil || !strings.Contains(err.Error(), "the public key") {
		t.Errorf("no key: %v", err)
	}
	p, err := j.Prove(t.Context(), e[1].ID)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := p.Verify("acme"); err == nil {
		t.Error("a proof by no key")
	}
	if _, _, err := p.Verify(newKey(t, "isogate/acme").vkey); err == nil || !strings.Contains(err.Error(), "not signed by the key") {
		t.Errorf("a proof by another key: %v", err)
	}
}

var errFailing = errors.New("no space left")

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errFailing }

// Every byte of a proof, changed, is found.
//
// promise: P22
func TestProofTamper(t *testing.T) {
	conformance(t, func(t *testing.T, fresh func(testing.TB) site) { proofTamper(t, fresh(t)) })
}

func proofTamper(t *testing.T, at site) {
	j, all := stocked(t, at)
	vkey, err := j.Verifier(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p, err := j.Prove(t.Context(), all[4].ID)
	if err != nil {
		t.Fatal(err)
	}
	text, err := p.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	for i := range text {
		bad := bytes.Clone(text)
		bad[i] ^= 1 << (i % 8)
		var q Proof
		if err := q.UnmarshalText(bad); err != nil {
			continue
		}
		if _, _, err := q.Verify(vkey); err == nil {
			t.Fatalf("byte %d (%q) changed: verifies", i, text[i])
		}
	}
	for _, bad := range []string{"", "c2sp.org/tlog-proof@v1\n\n", ProofFormat + "\nindex 1\nextra \n\n", ProofFormat + "\nextra e30=\nextra e30=\n\n", strings.Replace(string(text), "index ", "index 0", 1)} {
		if err := new(Proof).UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%.40q is taken for a proof", bad)
		}
	}
	e, size, err := p.Verify(vkey)
	if err != nil || e.ID != all[4].ID || size != 9 {
		t.Fatal(e, size, err)
	}
}

func TestCSV(t *testing.T) {
	conformance(t, func(t *testing.T, fresh func(testing.TB) site) { asCSV(t, fresh(t)) })
}

func asCSV(t *testing.T, at site) {
	j, all := stocked(t, at)
	var b bytes.Buffer
	if err := j.ExportCSV(t.Context(), &b, Filter{}); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&b).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != 10 {
		t.Fatalf("%d rows", len(rows))
	}
	cell := func(row int, column string) string {
		for i, c := range rows[0] {
			if c == column {
				return rows[row][i]
			}
		}
		t.Fatalf("no column %q", column)
		return ""
	}
	for _, c := range []struct {
		row          int
		column, want string
	}{
		{1, "actor", `'=HYPERLINK("http://evil")`},
		{1, "detail", "digest=sha256:1"},
		{4, "reason", "'-1 no, \"transit\"\nhas it"}, // the reader turns CRLF into LF
		{2, "fields", "1 user.email personal.contact.email allow (persisted by transits/support-session.yaml:11); 3 tickets[].title ugc.title token"},
		{2, "time", all[1].Time.Format(time.RFC3339Nano)},
		{9, "seq", "8"},
	} {
		if got := cell(c.row, c.column); got != c.want {
			t.Errorf("row %d, %s: %q, want %q", c.row, c.column, got, c.want)
		}
	}
	if err := j.ExportCSV(t.Context(), failing{}, Filter{}); !errors.Is(err, errFailing) {
		t.Errorf("to a full disk: %v", err)
	}
}

func TestOCSF(t *testing.T) {
	conformance(t, func(t *testing.T, fresh func(testing.TB) site) { asOCSF(t, fresh(t)) })
}

func asOCSF(t *testing.T, at site) {
	j, all := stocked(t, at)
	var b bytes.Buffer
	if err := j.ExportOCSF(t.Context(), &b, Filter{Kind: isogate.KindEgress}); err != nil {
		t.Fatal(err)
	}
	var events []map[string]any
	for dec := json.NewDecoder(&b); dec.More(); {
		var e map[string]any
		if err := dec.Decode(&e); err != nil {
			t.Fatal(err)
		}
		events = append(events, e)
	}
	if len(events) != 6 {
		t.Fatalf("%d events, want the 6 egress entries", len(events))
	}
	get := func(i int, path ...string) any {
		var v any = events[i]
		for _, p := range path {
			if list, ok := v.([]any); ok {
				v = list[0]
			}
			v = v.(map[string]any)[p]
		}
		return v
	}
	for _, c := range []struct {
		got, want any
	}{
		{get(0, "activity_id"), 6.0},
		{get(0, "metadata", "correlation_uid"), string(all[1].ID)},
		{get(1, "metadata", "correlation_uid"), string(all[1].ID)},
		{get(0, "data_classifications", "category_id"), 1.0},
		{get(1, "http_response", "code"), 201.0},
		{get(1, "status_id"), 1.0},
		{get(1, "duration"), 2.0},
		{get(1, "tls", "version"), "TLS 1.3"},
		{get(2, "activity_id"), 99.0},
		{get(2, "activity_name"), "PATCH"},
		{get(2, "action_id"), 2.0},
		{get(2, "status_id"), 2.0},
		{get(4, "status_id"), 2.0},
		{get(5, "dst_endpoint", "name"), "api.example"},
	} {
		if c.got != c.want {
			t.Errorf("%v, want %v", c.got, c.want)
		}
	}
	if err := j.ExportOCSF(t.Context(), failing{}, Filter{}); !errors.Is(err, errFailing) {
		t.Errorf("to a full disk: %v", err)
	}
	mixed := isogate.Entry{Fields: []isogate.Field{{Label: "personal.name", N: 2}, {Label: "ugc.title", N: 1}, {Label: "billing.plan", N: 1}, {Label: "system.metadata", N: 5}}}
	var names []string
	for _, c := range classifications(&mixed) {
		names = append(names, fmt.Sprintf("%s %d %d", c.Category, c.CategoryID, c.Total))
	}
	if got := strings.Join(names, ", "); got != "Financial 3 1, Other 99 5, Personal 1 3" {
		t.Errorf("%s", got)
	}
}
