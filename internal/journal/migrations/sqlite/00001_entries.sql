-- +goose Up
-- The schema keeps nothing twice: an entry's row is its place and its exact bytes.
CREATE TABLE entry (seq INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;
-- One row, the last checkpoint signed. nodes is the compact range [0, size): RFC 6962
-- subtree hashes, left to right. note is the signed checkpoint, exactly as
-- published, empty at size 0. The first root is that of no entries: SHA-256 of nothing.
CREATE TABLE checkpoint (
	one INTEGER PRIMARY KEY CHECK (one = 1),
	size INTEGER NOT NULL,
	root BLOB NOT NULL,
	nodes BLOB NOT NULL,
	note BLOB NOT NULL
) STRICT;
INSERT INTO checkpoint VALUES (1, 0, x'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855', x'', x'');
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE probe (one INTEGER PRIMARY KEY CHECK (one = 1), fill BLOB NOT NULL) STRICT;
PRAGMA application_id = 1230196554;
PRAGMA user_version = 1;
