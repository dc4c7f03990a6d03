-- +goose Up
-- An entry's row is its place and its exact bytes. Bodies are compact already: what
-- compressing them would save is not worth its time in a commit.
CREATE TABLE entry (seq bigint PRIMARY KEY, body bytea NOT NULL);
ALTER TABLE entry ALTER COLUMN body SET STORAGE EXTERNAL;

-- Where the sequence stands: the next seq, and the ID of the newest entry ('' if
-- there is none). Whoever appends locks this row until its commit, so that commits
-- come in the order of the seqs. Much of a page is kept free for its next versions.
CREATE TABLE head (one boolean PRIMARY KEY CHECK (one), next bigint NOT NULL, last text NOT NULL) WITH (fillfactor = 10);
INSERT INTO head VALUES (true, 0, '');

-- The seqs of the entries that every gateway must hear of, so that whoever follows
-- reads these and not the whole journal.
CREATE TABLE outbox (seq bigint PRIMARY KEY);

-- One row, the last checkpoint signed. nodes is the compact range [0, size): RFC 6962
-- subtree hashes, left to right. note is the signed checkpoint, empty at size 0. The
-- first root is that of no entries: SHA-256 of nothing.
CREATE TABLE checkpoint (
	one bigint PRIMARY KEY CHECK (one = 1),
	size bigint NOT NULL,
	root bytea NOT NULL,
	nodes bytea NOT NULL,
	note bytea NOT NULL
);
INSERT INTO checkpoint VALUES (1, 0, '\xe3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855', '', '');

-- The Merkle log's tiles and bundles by their paths in C2SP tlog-tiles.
CREATE TABLE tile (path text PRIMARY KEY, data bytea NOT NULL);
ALTER TABLE tile ALTER COLUMN data SET STORAGE EXTERNAL;

CREATE TABLE meta (key text PRIMARY KEY, value text NOT NULL);

CREATE TABLE probe (one boolean PRIMARY KEY CHECK (one), fill bytea NOT NULL);
ALTER TABLE probe ALTER COLUMN fill SET STORAGE EXTERNAL;
