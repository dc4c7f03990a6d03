-- +goose Up
-- What several landings of one destination have together. No seal key is here, and
-- nothing that opens one but what is encrypted to keys that are in memory only.
-- Every row that a member believes carries an HMAC, mac, under a key that is derived
-- from the landing's identity: who can write here and no more cannot make one.

CREATE TABLE meta (key text PRIMARY KEY, value text NOT NULL);

-- The members, one row per start of one. note is what it says about itself, renewed
-- every second or two with the next beat. Whoever is gone does not come back, and
-- one other takes up what it left (adopter); declined are those who could not take all.
CREATE TABLE member (
	instance text PRIMARY KEY,
	note bytea NOT NULL,
	mac bytea NOT NULL,
	beat bigint NOT NULL DEFAULT 0,
	gone boolean NOT NULL DEFAULT false,
	adopter text NOT NULL DEFAULT '',
	declined text[] NOT NULL DEFAULT '{}'
) WITH (fillfactor = 50);

-- Which member answers for the keys whose IDs begin with a home.
CREATE TABLE home (home bytea PRIMARY KEY, instance text NOT NULL);

-- Which member has which key in memory: so that there is a receipt for each even if
-- its member is not there to write it.
CREATE TABLE live (
	key bytea NOT NULL,
	instance text NOT NULL,
	tenant text NOT NULL,
	temporary boolean NOT NULL,
	mac bytea NOT NULL,
	PRIMARY KEY (key, instance)
);
CREATE INDEX live_instance ON live (instance);

-- What is to be part of a receipt.
CREATE TABLE event (
	id bytea PRIMARY KEY,
	n bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
	tenant text NOT NULL,
	body bytea NOT NULL,
	mac bytea NOT NULL
);
CREATE INDEX event_order ON event (tenant, n);

-- The receipts, and per tenant where their chain ends. Whoever adds one locks the
-- chain's row until its commit.
CREATE TABLE chain (tenant text PRIMARY KEY, number bigint NOT NULL, digest text NOT NULL, mac bytea NOT NULL) WITH (fillfactor = 50);
CREATE TABLE receipt (
	tenant text NOT NULL,
	number bigint NOT NULL,
	at bigint NOT NULL,
	note bytea NOT NULL,
	PRIMARY KEY (tenant, number)
);
CREATE INDEX receipt_at ON receipt (at);

-- Letters to one member, sealed to its box: keys under which shared keys are.
CREATE TABLE letter (n bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY, instance text NOT NULL, sealed bytea NOT NULL, mac bytea NOT NULL);
CREATE INDEX letter_instance ON letter (instance);

-- Temporary keys, encrypted under the key of the window in which they end. The member
-- that has the key (maker) made that one; it is in the members' memory only. born is
-- by the maker's clock; ends is the window's end in milliseconds since 1970.
CREATE TABLE shared (
	key bytea PRIMARY KEY,
	maker text NOT NULL,
	ends bigint NOT NULL,
	facts bytea NOT NULL,
	sealed bytea NOT NULL
);

-- Ends of sessions and keys that some member could not be told directly.
CREATE TABLE ending (
	n bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
	at bigint NOT NULL,
	body bytea NOT NULL,
	mac bytea NOT NULL
);

-- The register: which identifiers the service was given and keeps, by the tenants' own
-- tokens; and the erasures that were asked for, without their values. Times are
-- milliseconds since 1970 by this server's clock.
CREATE TABLE identifier (
	tenant text NOT NULL, label text NOT NULL, id text NOT NULL, subject text NOT NULL,
	because text NOT NULL, rule text NOT NULL, entry text NOT NULL, since bigint NOT NULL, last bigint NOT NULL,
	PRIMARY KEY (tenant, label, id, subject)
);
CREATE INDEX identifier_id ON identifier (tenant, id);
CREATE TABLE erasure (
	tenant text NOT NULL, id text NOT NULL, state text NOT NULL, asked bigint NOT NULL, done bigint NOT NULL DEFAULT 0,
	cause text NOT NULL DEFAULT '', overdue bigint NOT NULL DEFAULT 0, noted bigint NOT NULL DEFAULT 0,
	PRIMARY KEY (tenant, id)
);
CREATE TABLE erasing (
	tenant text NOT NULL, erasure text NOT NULL, label text NOT NULL, id text NOT NULL,
	PRIMARY KEY (tenant, erasure, label, id)
);

-- Identifiers in requests that the service has not answered, and through which member.
CREATE TABLE passing (
	tenant text NOT NULL, label text NOT NULL, id text NOT NULL, member text NOT NULL, at bigint NOT NULL,
	PRIMARY KEY (tenant, label, id, member)
);
CREATE INDEX passing_at ON passing (at);
