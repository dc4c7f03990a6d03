-- +goose Up
-- Whoever follows follows one kind of entries, and there are more of one than of
-- another. Before, consents were all there was to follow.
CREATE TABLE outbox_by_kind (kind TEXT NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (kind, seq)) WITHOUT ROWID, STRICT;
INSERT INTO outbox_by_kind (kind, seq) SELECT 'consent', seq FROM outbox;
DROP TABLE outbox;
ALTER TABLE outbox_by_kind RENAME TO outbox;
PRAGMA user_version = 3;
