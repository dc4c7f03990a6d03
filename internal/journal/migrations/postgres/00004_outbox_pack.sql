-- +goose Up
-- Which packs were proposed and approved is followed too. Pack entries of before are found
-- as admin entries were.
INSERT INTO outbox (kind, seq) SELECT 'pack', seq FROM entry
	WHERE position(convert_to('"tenant":"' || (SELECT value FROM meta WHERE key = 'tenant') || '","kind":"pack"', 'UTF8') IN body) > 0
	ON CONFLICT DO NOTHING;
