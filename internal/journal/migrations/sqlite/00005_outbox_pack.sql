-- +goose Up
-- Which packs were proposed and approved is followed too. Pack entries of before are found
-- as admin entries were.
INSERT INTO outbox (kind, seq) SELECT 'pack', seq FROM entry
	WHERE instr(body, CAST('"tenant":"' || (SELECT value FROM meta WHERE key = 'tenant') || '","kind":"pack"' AS BLOB)) > 0;
PRAGMA user_version = 5;
