#include "store/store.h"

/* Times are seconds since 1970 UTC, 0 = never; ids are 16 bytes.  A migration that was released is never changed: write the next one. */
static const char *const migrations[] = {
	/* The last number given out for each computer name, in lower case.  A row is never deleted, so that no number comes twice. */
	"CREATE TABLE tokens ("
	" name TEXT NOT NULL PRIMARY KEY,"
	" last INTEGER NOT NULL"
	") STRICT, WITHOUT ROWID;"

	"CREATE TABLE devices ("
	" id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),"
	" name TEXT NOT NULL,"
	" token INTEGER NOT NULL,"
	" os TEXT NOT NULL,"
	" arch TEXT NOT NULL,"
	" version TEXT NOT NULL,"
	" parent BLOB NOT NULL CHECK (length(parent) = 16),"
	" created INTEGER NOT NULL,"
	" last_seen INTEGER NOT NULL,"
	" retired INTEGER NOT NULL"
	") STRICT, WITHOUT ROWID;"
	"CREATE UNIQUE INDEX devices_name ON devices (lower(name), token);"

	"CREATE TABLE users ("
	" id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),"
	" name TEXT NOT NULL,"
	" role TEXT NOT NULL CHECK (role IN ('viewer', 'operator', 'administrator')),"
	" created INTEGER NOT NULL,"
	" disabled INTEGER NOT NULL"
	") STRICT, WITHOUT ROWID;"
	"CREATE UNIQUE INDEX users_name ON users (lower(name));"

	"CREATE TABLE join_keys ("
	" id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),"
	" secret_key BLOB NOT NULL CHECK (length(secret_key) = 32),"
	" created INTEGER NOT NULL,"
	" expires INTEGER NOT NULL,"
	" uses_left INTEGER NOT NULL CHECK (uses_left >= 0),"
	" group_name TEXT NOT NULL,"
	" created_by BLOB NOT NULL CHECK (length(created_by) = 16)"
	") STRICT, WITHOUT ROWID;"
	"CREATE INDEX join_keys_expires ON join_keys (expires);"

	/* Pending while csr_hash and device are NULL. */
	"CREATE TABLE enrolments ("
	" token BLOB NOT NULL PRIMARY KEY CHECK (length(token) = 16),"
	" key_id BLOB NOT NULL REFERENCES join_keys (id) ON DELETE CASCADE,"
	" name TEXT NOT NULL,"
	" number INTEGER NOT NULL,"
	" created INTEGER NOT NULL,"
	" csr_hash BLOB CHECK (length(csr_hash) = 32),"
	" device BLOB CHECK (length(device) = 16),"
	" CHECK ((csr_hash IS NULL) = (device IS NULL))"
	") STRICT, WITHOUT ROWID;"
	"CREATE UNIQUE INDEX enrolments_csr ON enrolments (key_id, csr_hash);"

	"CREATE TABLE certificates ("
	" serial BLOB NOT NULL PRIMARY KEY CHECK (length(serial) = 20),"
	" kind TEXT NOT NULL,"
	" subject BLOB NOT NULL CHECK (length(subject) = 16),"
	" key_hash BLOB NOT NULL CHECK (length(key_hash) = 32),"
	" not_before INTEGER NOT NULL,"
	" not_after INTEGER NOT NULL,"
	" revoked_at INTEGER NOT NULL"
	") STRICT, WITHOUT ROWID;"
	"CREATE INDEX certificates_subject ON certificates (subject);"
	"CREATE INDEX certificates_key_hash ON certificates (key_hash);"
	"CREATE INDEX certificates_not_after ON certificates (not_after);"

	/* Append-only; audit/audit.h defines the hash. */
	"CREATE TABLE audit ("
	" seq INTEGER NOT NULL PRIMARY KEY,"
	" time INTEGER NOT NULL,"
	" actor TEXT NOT NULL,"
	" action TEXT NOT NULL,"
	" object TEXT NOT NULL,"
	" detail TEXT NOT NULL,"
	" previous_hash BLOB NOT NULL CHECK (length(previous_hash) = 32),"
	" hash BLOB NOT NULL CHECK (length(hash) = 32)"
	") STRICT;",

	/* What users prove themselves with; who has no row has no password. */
	"CREATE TABLE proofs ("
	" user BLOB NOT NULL PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,"
	" password TEXT NOT NULL," /* argon2id, encoded */
	" totp_secret BLOB CHECK (length(totp_secret) = 20),"
	" totp_pending BLOB CHECK (length(totp_pending) = 20),"
	" totp_counter INTEGER NOT NULL" /* of the last code used */
	") STRICT, WITHOUT ROWID;"

	/* The hashes are SHA-256 of the secrets. */
	"CREATE TABLE sessions ("
	" hash BLOB NOT NULL PRIMARY KEY CHECK (length(hash) = 32),"
	" user BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,"
	" created INTEGER NOT NULL,"
	" expires INTEGER NOT NULL,"
	" seen INTEGER NOT NULL,"
	" address TEXT NOT NULL"
	") STRICT, WITHOUT ROWID;"
	"CREATE INDEX sessions_user ON sessions (user, created);"

	"CREATE TABLE login_links ("
	" hash BLOB NOT NULL PRIMARY KEY CHECK (length(hash) = 32),"
	" user BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,"
	" expires INTEGER NOT NULL"
	") STRICT, WITHOUT ROWID;"

	/* name: SHA-256 of the name in lower case, also of one that nobody has (known = 0). */
	"CREATE TABLE login_failures ("
	" name BLOB NOT NULL PRIMARY KEY CHECK (length(name) = 32),"
	" known INTEGER NOT NULL,"
	" failures INTEGER NOT NULL,"
	" until INTEGER NOT NULL,"
	" last INTEGER NOT NULL"
	") STRICT, WITHOUT ROWID;"
	"CREATE INDEX login_failures_last ON login_failures (known, last);",

	/* Names of groups and tags are in lower case.  tags: sorted, a blank between two; all that read a device want them whole. */
	"ALTER TABLE devices ADD COLUMN group_name TEXT NOT NULL DEFAULT '';"
	"ALTER TABLE devices ADD COLUMN tags TEXT NOT NULL DEFAULT '';"

	/* What a machine last said of itself: message Inventory of proto/router.proto, cleaned. */
	"CREATE TABLE inventories ("
	" device BLOB NOT NULL PRIMARY KEY REFERENCES devices (id) ON DELETE CASCADE,"
	" time INTEGER NOT NULL,"
	" inventory BLOB NOT NULL"
	") STRICT, WITHOUT ROWID;",

	/* Where a role holds: in all groups, or in these (a blank between two). */
	"ALTER TABLE users ADD COLUMN all_groups INTEGER NOT NULL DEFAULT 1;"
	"ALTER TABLE users ADD COLUMN groups TEXT NOT NULL DEFAULT '';"
	"ALTER TABLE users ADD COLUMN last_login INTEGER NOT NULL DEFAULT 0;"
	/* Until when its user counts as proved; 1: opened by a link, so that he may choose a password without knowing the old one. */
	"ALTER TABLE sessions ADD COLUMN proved_until INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE sessions ADD COLUMN by_link INTEGER NOT NULL DEFAULT 0;",

	"CREATE TABLE tasks ("
	" id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),"
	" user BLOB NOT NULL CHECK (length(user) = 16),"
	" session BLOB NOT NULL CHECK (length(session) = 32)," /* its SHA-256 */
	" user_name TEXT NOT NULL,"
	" title TEXT NOT NULL,"
	" selector TEXT NOT NULL,"
	" started INTEGER NOT NULL,"
	" ended INTEGER NOT NULL,"
	" total INTEGER NOT NULL,"
	" done INTEGER NOT NULL,"
	" failed INTEGER NOT NULL,"
	" open INTEGER NOT NULL CHECK (open >= 0)," /* devices that are not through */
	" state TEXT NOT NULL"
	") STRICT, WITHOUT ROWID;"
	"CREATE INDEX tasks_started ON tasks (started);"

	/* Apart: a task's own row changes often. */
	"CREATE TABLE task_commands ("
	" task BLOB NOT NULL PRIMARY KEY REFERENCES tasks (id) ON DELETE CASCADE,"
	" command BLOB NOT NULL"
	") STRICT, WITHOUT ROWID;"

	"CREATE TABLE task_devices ("
	" task BLOB NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,"
	" device BLOB NOT NULL CHECK (length(device) = 16),"
	" name TEXT NOT NULL,"
	" state TEXT NOT NULL,"
	" code INTEGER NOT NULL,"
	" error INTEGER NOT NULL,"
	" output TEXT NOT NULL,"
	" PRIMARY KEY (task, device)"
	") STRICT;",

	/* approve: 1 = who comes with it waits until somebody approves. */
	"ALTER TABLE join_keys ADD COLUMN approve INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE join_keys ADD COLUMN network TEXT NOT NULL DEFAULT '';" /* where it works: os/network.h; '' = everywhere */

	"CREATE TABLE approvals ("
	" device BLOB NOT NULL PRIMARY KEY CHECK (length(device) = 16),"
	" token BLOB NOT NULL CHECK (length(token) = 16)," /* of the enrolment */
	" name TEXT NOT NULL,"
	" number INTEGER NOT NULL,"
	" group_name TEXT NOT NULL,"
	" os TEXT NOT NULL,"
	" arch TEXT NOT NULL,"
	" version TEXT NOT NULL,"
	" key_hash BLOB NOT NULL CHECK (length(key_hash) = 32),"
	" address TEXT NOT NULL,"
	" asked INTEGER NOT NULL,"
	" state TEXT NOT NULL CHECK (state IN ('waiting', 'approved', 'rejected'))"
	") STRICT, WITHOUT ROWID;"
	"CREATE INDEX approvals_state ON approvals (state, asked);",

	/* A device may wait more than once in its life. */
	"DROP INDEX approvals_state;"
	"ALTER TABLE approvals RENAME TO approvals_before;"
	"CREATE TABLE approvals ("
	" device BLOB NOT NULL CHECK (length(device) = 16),"
	" kind TEXT NOT NULL CHECK (kind IN ('new', 'renewal', 'copy')),"
	" token BLOB NOT NULL CHECK (length(token) = 16)," /* of the enrolment of a new one; else zeros */
	" name TEXT NOT NULL,"
	" number INTEGER NOT NULL,"
	" group_name TEXT NOT NULL,"
	" os TEXT NOT NULL,"
	" arch TEXT NOT NULL,"
	" version TEXT NOT NULL,"
	" key_hash BLOB NOT NULL CHECK (length(key_hash) = 32),"
	" address TEXT NOT NULL,"
	" asked INTEGER NOT NULL,"
	" state TEXT NOT NULL CHECK (state IN ('waiting', 'approved', 'rejected')),"
	" PRIMARY KEY (device, kind)"
	") STRICT, WITHOUT ROWID;"
	"INSERT INTO approvals SELECT device, 'new', token, name, number, group_name, os, arch, version, key_hash, address, asked, "
	"state"
	" FROM approvals_before;"
	"DROP TABLE approvals_before;"
	"CREATE INDEX approvals_state ON approvals (state, asked);"

	/* src/ca/continuity.h */
	"CREATE TABLE continuities ("
	" device BLOB NOT NULL PRIMARY KEY REFERENCES devices (id) ON DELETE CASCADE,"
	" acknowledged INTEGER NOT NULL,"
	" issued INTEGER NOT NULL,"
	" frozen INTEGER NOT NULL," /* since; 0 = not */
	" copies_below INTEGER NOT NULL,"
	" copies_let_in INTEGER NOT NULL"
	") STRICT, WITHOUT ROWID;",

	/* Devices that others may link to. */
	"ALTER TABLE devices ADD COLUMN relay INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE devices ADD COLUMN relay_address TEXT NOT NULL DEFAULT '';",

	/* signs: since when its management part signs inventories; forged: when one was refused last that it had not signed. */
	"ALTER TABLE devices ADD COLUMN signs INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE devices ADD COLUMN forged INTEGER NOT NULL DEFAULT 0;",

	/* Each hello asks for the revoked ones: without it, it looked at every certificate of the fleet. */
	"CREATE INDEX certificates_revoked ON certificates (revoked_at) WHERE revoked_at > 0;",

	/* src/ca/components.h.  roles: bits. */
	"CREATE TABLE components ("
	" id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),"
	" name TEXT NOT NULL,"
	" number INTEGER NOT NULL,"
	" roles INTEGER NOT NULL,"
	" address TEXT NOT NULL,"
	" created INTEGER NOT NULL,"
	" last_seen INTEGER NOT NULL,"
	" revoked INTEGER NOT NULL"
	") STRICT, WITHOUT ROWID;"
	"ALTER TABLE join_keys ADD COLUMN components INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE approvals ADD COLUMN components INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE approvals ADD COLUMN reach TEXT NOT NULL DEFAULT '';",

	"ALTER TABLE tasks ADD COLUMN component BLOB NOT NULL DEFAULT x'00000000000000000000000000000000' CHECK (length(component) "
	"= 16);",
};

const struct store_schema store_schema_server = {
	.application = 0x4d4d5331, /* "MMS1" */
	.n_migrations = sizeof migrations / sizeof *migrations,
	.migrations = migrations,
};
