#include "store/store.h"

/* A migration that was released is never changed: write the next one. */
static const char *const migrations[] = {
	"CREATE TABLE orders ("
	" nonce BLOB NOT NULL PRIMARY KEY CHECK (length(nonce) = 16),"
	" valid_until INTEGER NOT NULL,"
	" state TEXT NOT NULL CHECK (state IN ('started', 'finished', 'interrupted')),"
	" started INTEGER NOT NULL,"
	" exit_code INTEGER NOT NULL,"
	" command TEXT NOT NULL"
	") STRICT, WITHOUT ROWID;"
	"CREATE INDEX orders_valid_until ON orders (valid_until);",

	/* src/manage/record.h; the hash is audit/audit.h's */
	"CREATE TABLE audit ("
	" seq INTEGER NOT NULL PRIMARY KEY,"
	" time INTEGER NOT NULL,"
	" actor TEXT NOT NULL,"
	" action TEXT NOT NULL,"
	" object TEXT NOT NULL,"
	" detail TEXT NOT NULL,"
	" previous_hash BLOB NOT NULL CHECK (length(previous_hash) = 32),"
	" hash BLOB NOT NULL CHECK (length(hash) = 32)"
	") STRICT;"
	"CREATE TABLE audit_signatures ("
	" seq INTEGER NOT NULL PRIMARY KEY,"
	" signature BLOB NOT NULL"
	") STRICT;",
};

const struct store_schema store_schema_agent = {
	.application = 0x4d4d4731, /* "MMG1" */
	.n_migrations = sizeof migrations / sizeof *migrations,
	.migrations = migrations,
};
