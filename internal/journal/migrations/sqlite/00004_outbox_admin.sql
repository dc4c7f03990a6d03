-- +goose Up
-- Who may sit at the Hub is followed too. Admin entries of before are found as consents
-- were: tenant and kind stand beside each other only in an entry's own members.
INSERT INTO outbox (kind, seq) SELECT 'admin', seq FROM entry
	WHERE instr(body, CAST('"tenant":"' || (SELECT value FROM meta WHERE key = 'tenant') || '","kind":"admin"' AS BLOB)) > 0;
PRAGMA user_version = 4;
