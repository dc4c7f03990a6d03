-- +goose Up
-- Who may sit at the Hub is followed too. Admin entries of before are found by their
-- bytes: tenant and kind stand beside each other only in an entry's own members.
INSERT INTO outbox (kind, seq) SELECT 'admin', seq FROM entry
	WHERE position(convert_to('"tenant":"' || (SELECT value FROM meta WHERE key = 'tenant') || '","kind":"admin"', 'UTF8') IN body) > 0
	ON CONFLICT DO NOTHING;
