-- +goose Up
-- The seqs of the entries that every gateway must hear of, so that whoever follows
-- reads these and not the whole journal. Of older entries they are found by their
-- bytes: tenant and kind stand beside each other only in an entry's own members, for
-- keys of a detail are sorted and quotes in a text are escaped.
CREATE TABLE outbox (seq INTEGER PRIMARY KEY) STRICT;
INSERT INTO outbox (seq) SELECT seq FROM entry
	WHERE instr(body, CAST('"tenant":"' || (SELECT value FROM meta WHERE key = 'tenant') || '","kind":"consent"' AS BLOB)) > 0;
PRAGMA user_version = 2;
