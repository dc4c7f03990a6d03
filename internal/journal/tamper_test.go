package journal

import (
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api"
)

// change runs SQL on a journal's database behind its back.
func change(t testing.TB, dir, query string, args ...any) {
	t.Helper()
	db, err := sql.Open("sqlite", dsn(filepath.Join(dir, dbName)))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(query, args...); err != nil {
		t.Fatal(err)
	}
}

func bundleHashes(bundle []byte) ([][]byte, error) {
	var b api.EntryBundle
	if err := b.UnmarshalText(bundle); err != nil {
		return nil, err
	}
	hashes := make([][]byte, len(b.Entries))
	for i, e := range b.Entries {
		hashes[i] = rfc6962.DefaultHasher.HashLeaf(e)
	}
	return hashes, nil
}

// tampering is one change of a journal, in SQL or to a file of the log.
type tampering struct {
	name, query, file string
	shared            string // the query in PostgreSQL's words
	want              string
}

// Attack: someone with the operator's rights changes what the journal says.
// Each change is found by verify, and the entry is named.
//
// promise: P22
func TestTamperedStateIsNamed(t *testing.T) {
	for _, c := range []tampering{
		{name: "a row changed", query: `UPDATE entry SET body = CAST(replace(CAST(body AS TEXT), '"released"', '"refused"') AS BLOB) WHERE seq = 270`,
			shared: `UPDATE entry SET body = convert_to(replace(convert_from(body, 'UTF8'), '"released"', '"refused"'), 'UTF8') WHERE seq = 270`, want: "entry 270 "},
		{name: "a row blanked", query: `UPDATE entry SET body = x'00' WHERE seq = 0`, shared: `UPDATE entry SET body = '\x00' WHERE seq = 0`, want: "entry 0: its bytes are not those that were sealed"},
		{name: "rows swapped", query: `UPDATE entry SET body = (SELECT body FROM entry e WHERE e.seq = 11 - entry.seq) WHERE seq IN (5, 6)`, want: "entry 5 "},
		{name: "a row removed", query: `DELETE FROM entry WHERE seq = 100`, want: "entry 100 is missing"},
		{name: "the newest rows removed", query: `DELETE FROM entry WHERE seq > 290`, want: "entry 291: it is missing"},
		{name: "the checkpoint put back", query: `UPDATE checkpoint SET size = 1`, want: "the checkpoint in the database was changed"},
		{name: "the note changed", query: `UPDATE checkpoint SET note = CAST(replace(CAST(note AS TEXT), 'isogate/acme', 'isogate/acne') AS BLOB)`,
			shared: `UPDATE checkpoint SET note = convert_to(replace(convert_from(note, 'UTF8'), 'isogate/acme', 'isogate/acne'), 'UTF8')`, want: "the log is called"},
		{name: "a consent kept from followers", query: `DELETE FROM outbox`, want: "entry 42 (01"},
		{name: "a consent announced as something else", query: `UPDATE outbox SET kind = 'landing'`, want: "entry 42 (01"},
		{name: "a bundle changed", file: "tile/entries/000", shared: `UPDATE tile SET data = overlay(data PLACING 'X' FROM 40) WHERE path = 'tile/entries/000'`, want: "its copy in the log's bundle"},
		{name: "a tile changed", file: "tile/0/000", shared: `UPDATE tile SET data = set_byte(data, 77, 255 - get_byte(data, 77)) WHERE path = 'tile/0/000'`, want: "a leaf hash was changed; the entries themselves verify"},
		{name: "the published checkpoint changed", file: "checkpoint", want: "is not signed by the key"},
	} {
		t.Run(c.name, func(t *testing.T) {
			conformance(t, func(t *testing.T, fresh func(testing.TB) site) { tampered(t, fresh(t), c) })
		})
	}
}

func tampered(t *testing.T, at site, c tampering) {
	key := newKey(t, "isogate/acme")
	if at.shared && c.shared == "" && c.file != "" {
		t.Skip("there the database has no such file")
	}
	j, stop := open(t, at.config(key))
	for i := range 300 {
		e := egress(i)
		if i == 42 {
			e = consent(i)
		}
		if err := j.AppendLater(e); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	query := c.query
	if at.shared && c.shared != "" {
		query = c.shared
	}
	if query != "" {
		at.change(t, query)
	} else {
		path := filepath.Join(j.cfg.Dir, logName, c.file)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		i := len(b) - 10
		switch c.file {
		case "tile/entries/000":
			i = strings.Index(string(b), `"seq":7,`) + 20
		case "tile/0/000":
			i = 77
		}
		b[i] ^= 1
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	_, err := at.reader(t).Verify(t.Context(), key.vkey)
	if err == nil || !strings.Contains(err.Error(), c.want) {
		t.Fatalf("verify: %v; want %q", err, c.want)
	}
}

func TestVerifyNamesOnlyWhatIsDamaged(t *testing.T) {
	key, dir := newKey(t, "isogate/acme"), t.TempDir()
	sealedJournal(t, key, dir, 300)
	change(t, dir, `UPDATE entry SET body = CAST(replace(CAST(body AS TEXT), '"POST"', '"PUT"') AS BLOB) WHERE seq IN (3, 257, 299)`)
	r, err := OpenReader(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	_, err = r.Verify(t.Context(), key.vkey)
	var d *DamageError
	if !errors.As(err, &d) || len(d.Damages) != 3 || d.Damages[0].Seq != 3 || d.Damages[1].Seq != 257 || d.Damages[2].Seq != 299 {
		t.Fatal(err)
	}
}
