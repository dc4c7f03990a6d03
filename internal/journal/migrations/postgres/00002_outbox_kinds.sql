-- +goose Up
-- Whoever follows follows one kind of entries, and there are more of one than of
-- another. Before, consents were all there was to follow; gateways of that release
-- that still run announce nothing else.
ALTER TABLE outbox ADD COLUMN kind text NOT NULL DEFAULT 'consent';
ALTER TABLE outbox DROP CONSTRAINT outbox_pkey;
ALTER TABLE outbox ADD PRIMARY KEY (kind, seq);
