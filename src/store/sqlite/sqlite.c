#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>

#include "base/err.h"
#include "base/fault.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "os/fd.h"
#include "store/engine.h"

#define QUERIES_MAX     256
#define VALUE_MAX       (1 << 20) /* bytes of one value or row */
#define BUSY_TIMEOUT_MS 5000
#define VERSION_MAX     1000000

struct store_query {
	const char *sql;
	sqlite3_stmt *statement;
	struct store_tx *tx;
	int err;       /* the first since store_query() */
	bool finished; /* has given its last row */
};

struct store_tx {
	sqlite3 *db;
	char detail[STORE_DETAIL_SIZE];
	struct store_query failed; /* stands for a statement that could not be prepared */
	size_t n_queries;
	struct store_query queries[QUERIES_MAX];
};

static int error_of(int code)
{
	if (code == SQLITE_CONSTRAINT_UNIQUE || code == SQLITE_CONSTRAINT_PRIMARYKEY)
		return -E_EXISTS;
	switch (code & 0xff) {
	case SQLITE_NOMEM:
		return -E_NO_MEMORY;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -E_BUSY;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return -E_CHECKSUM;
	default:
		return -E_STORE;
	}
}

static int fail_with(struct store_tx *tx, int err, const char *detail)
{
	utf8_clean(str_from(detail), tx->detail, sizeof tx->detail);
	return err;
}

static int fail(struct store_tx *tx, int code)
{
	bool said = sqlite3_extended_errcode(tx->db) == code;
	return fail_with(tx, error_of(code), said ? sqlite3_errmsg(tx->db) : sqlite3_errstr(code));
}

/* Statements */

static bool parameters_in_order(sqlite3_stmt *statement)
{
	int n = sqlite3_bind_parameter_count(statement);
	for (int i = 1; i <= n; i++) {
		char expected[16];
		const char *name = sqlite3_bind_parameter_name(statement, i);
		snprintf(expected, sizeof expected, "$%d", i);
		if (!name || strcmp(name, expected) != 0)
			return false;
	}
	return true;
}

static struct store_query *query_failed(struct store_tx *tx, int err)
{
	tx->failed = (struct store_query){ .tx = tx, .err = err };
	return &tx->failed;
}

static struct store_query *query_prepare(struct store_tx *tx, const char *sql)
{
	if (tx->n_queries == QUERIES_MAX)
		return query_failed(tx, fail_with(tx, -E_STORE, "too many different statements"));
	sqlite3_stmt *statement = NULL;
	int code = fault_hit() ? SQLITE_NOMEM : sqlite3_prepare_v3(tx->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL);
	if (code != SQLITE_OK)
		return query_failed(tx, fail(tx, code));
	if (!parameters_in_order(statement)) {
		sqlite3_finalize(statement);
		return query_failed(tx, fail_with(tx, -E_STORE, "parameters are not $1, $2, ... in this order"));
	}
	struct store_query *query = &tx->queries[tx->n_queries++];
	*query = (struct store_query){ .sql = sql, .statement = statement, .tx = tx };
	return query;
}

struct store_query *store_query(struct store_tx *tx, const char *sql)
{
	for (size_t i = 0; i < tx->n_queries; i++) {
		struct store_query *query = &tx->queries[i];
		if (query->sql != sql)
			continue;
		sqlite3_reset(query->statement);
		sqlite3_clear_bindings(query->statement);
		query->err = 0;
		query->finished = false;
		return query;
	}
	return query_prepare(tx, sql);
}

static void queries_reset(struct store_tx *tx)
{
	for (size_t i = 0; i < tx->n_queries; i++)
		sqlite3_reset(tx->queries[i].statement);
}

static void bound(struct store_query *query, int code)
{
	if (code != SQLITE_OK)
		query->err = fail(query->tx, code);
}

void store_bind_integer(struct store_query *query, int position, int64_t value)
{
	if (!query->err)
		bound(query, sqlite3_bind_int64(query->statement, position, value));
}

void store_bind_text(struct store_query *query, int position, struct str text)
{
	if (!query->err)
		bound(query, sqlite3_bind_text64(query->statement, position, text.ptr ? text.ptr : "", text.len, SQLITE_TRANSIENT,
		                                 SQLITE_UTF8));
}

void store_bind_blob(struct store_query *query, int position, const void *bytes, size_t len)
{
	if (!query->err)
		bound(query, sqlite3_bind_blob64(query->statement, position, bytes, len, SQLITE_TRANSIENT));
}

void store_bind_id(struct store_query *query, int position, const struct id *id)
{
	store_bind_blob(query, position, id->bytes, sizeof id->bytes);
}

int store_step(struct store_query *query)
{
	if (query->err || query->finished)
		return query->err;
	int code = fault_hit() ? SQLITE_IOERR : sqlite3_step(query->statement);
	if (code == SQLITE_ROW)
		return 1;
	if (code != SQLITE_DONE)
		query->err = fail(query->tx, code);
	query->finished = true;
	sqlite3_reset(query->statement);
	return query->err;
}

int store_exec(struct store_query *query)
{
	int rows;
	while ((rows = store_step(query)) > 0)
		;
	return rows;
}

int64_t store_changed(const struct store_tx *tx)
{
	return sqlite3_changes64(tx->db);
}

int store_error(const struct store_query *query)
{
	return query->err;
}

/* Whether the column holds a value of this type; if not, the query has failed. */
static bool column_is(struct store_query *query, int column, int type)
{
	if (!query->err && (query->finished || sqlite3_column_type(query->statement, column) != type))
		query->err = fail_with(query->tx, -E_CHECKSUM, query->sql);
	return !query->err;
}

bool store_is_null(struct store_query *query, int column)
{
	return query->err || query->finished || sqlite3_column_type(query->statement, column) == SQLITE_NULL;
}

int64_t store_integer(struct store_query *query, int column)
{
	return column_is(query, column, SQLITE_INTEGER) ? sqlite3_column_int64(query->statement, column) : 0;
}

void store_text(struct store_query *query, int column, char *out, size_t size)
{
	out[0] = 0;
	if (!column_is(query, column, SQLITE_TEXT))
		return;
	struct str text = { (const char *)sqlite3_column_text(query->statement, column), 0 };
	text.len = (size_t)sqlite3_column_bytes(query->statement, column);
	if (!text.ptr)
		query->err = fail(query->tx, SQLITE_NOMEM);
	else if (str_has(text, 0) || !utf8_valid(text) || str_copy(text, out, size) < 0)
		query->err = fail_with(query->tx, -E_CHECKSUM, query->sql);
}

void store_blob(struct store_query *query, int column, void *out, size_t len)
{
	memset(out, 0, len);
	if (!column_is(query, column, SQLITE_BLOB))
		return;
	const void *bytes = sqlite3_column_blob(query->statement, column);
	if (bytes && (size_t)sqlite3_column_bytes(query->statement, column) == len)
		memcpy(out, bytes, len);
	else
		query->err = fail_with(query->tx, -E_CHECKSUM, query->sql);
}

size_t store_bytes(struct store_query *query, int column, void *out, size_t size)
{
	if (!column_is(query, column, SQLITE_BLOB))
		return 0;
	const void *bytes = sqlite3_column_blob(query->statement, column); /* NULL when it is empty */
	size_t len = (size_t)sqlite3_column_bytes(query->statement, column);
	if (len > size || (len && !bytes)) {
		query->err = fail_with(query->tx, -E_CHECKSUM, query->sql);
		return 0;
	}
	if (len)
		memcpy(out, bytes, len);
	return len;
}

void store_id(struct store_query *query, int column, struct id *ret)
{
	store_blob(query, column, ret->bytes, sizeof ret->bytes);
}

/* Transactions */

bool engine_active(const struct store_tx *tx)
{
	return !sqlite3_get_autocommit(tx->db);
}

const char *engine_detail(const struct store_tx *tx)
{
	return tx->detail;
}

static void rollback(struct store_tx *tx)
{
	queries_reset(tx);
	if (engine_active(tx))
		sqlite3_exec(tx->db, "ROLLBACK", NULL, NULL, NULL);
}

int engine_begin(struct store_tx *tx)
{
	tx->detail[0] = 0;
	rollback(tx); /* should an earlier one have failed for want of memory */
	return store_exec(store_query(tx, "BEGIN IMMEDIATE"));
}

int engine_commit(struct store_tx *tx)
{
	int err = store_exec(store_query(tx, "COMMIT"));
	if (err < 0)
		rollback(tx);
	return err;
}

int engine_job(struct store_tx *tx, struct store_job *job)
{
	tx->detail[0] = 0;
	int err = store_exec(store_query(tx, "SAVEPOINT job"));
	if (err < 0)
		return err;
	err = job->run(tx, job);
	queries_reset(tx);
	if (!engine_active(tx)) /* SQLite itself gave it up; the detail is of the statement that did it */
		return -E_STORE;
	int end = err < 0 ? store_exec(store_query(tx, "ROLLBACK TO job")) : 0;
	if (end == 0)
		end = store_exec(store_query(tx, "RELEASE job"));
	if (end == 0)
		return err;
	rollback(tx);
	return end;
}

int store_check(struct store_tx *tx)
{
	char said[STORE_DETAIL_SIZE];
	struct store_query *query = store_query(tx, "PRAGMA integrity_check(1)");
	if (store_step(query) > 0)
		store_text(query, 0, said, sizeof said);
	int err = store_error(query);
	if (err < 0)
		return err;
	return str_is(str_from(said), "ok") ? 0 : fail_with(tx, -E_CHECKSUM, said);
}

/* Opening */

static int exec(struct store_tx *tx, const char *sql)
{
	int code = fault_hit() ? SQLITE_IOERR : sqlite3_exec(tx->db, sql, NULL, NULL, NULL);
	return code == SQLITE_OK ? 0 : fail(tx, code);
}

static int configure(struct store_tx *tx)
{
	sqlite3_busy_timeout(tx->db, BUSY_TIMEOUT_MS);
	sqlite3_limit(tx->db, SQLITE_LIMIT_LENGTH, VALUE_MAX);
	sqlite3_limit(tx->db, SQLITE_LIMIT_ATTACHED, 0);
	sqlite3_db_config(tx->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_db_config(tx->db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
	sqlite3_db_config(tx->db, SQLITE_DBCONFIG_ENABLE_VIEW, 0, NULL);
	sqlite3_db_config(tx->db, SQLITE_DBCONFIG_DQS_DML, 0, NULL);
	sqlite3_db_config(tx->db, SQLITE_DBCONFIG_DQS_DDL, 0, NULL);
	/* temp_store: what a savepoint may take back, and what is sorted, stays in memory; no temporary file can be opened later. */
	return exec(tx, "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA foreign_keys = ON;"
	                "PRAGMA temp_store = MEMORY; PRAGMA synchronous = FULL; PRAGMA journal_size_limit = 4194304");
}

static int pragma_integer(struct store_tx *tx, const char *sql, int64_t *ret)
{
	struct store_query *query = store_query(tx, sql);
	if (store_step(query) > 0)
		*ret = store_integer(query, 0);
	int err = store_error(query);
	sqlite3_reset(query->statement);
	return err;
}

static int use_wal(struct store_tx *tx)
{
	char mode[16] = "";
	struct store_query *query = store_query(tx, "PRAGMA journal_mode = WAL");
	if (store_step(query) > 0)
		store_text(query, 0, mode, sizeof mode);
	int err = store_error(query);
	sqlite3_reset(query->statement);
	if (err < 0)
		return err;
	return str_is(str_from(mode), "wal") ? 0 : fail_with(tx, -E_STORE, "this file system cannot hold a write-ahead log");
}

/* One step, as a transaction: after a crash the database has the old or the new version. */
static int migrate(struct store_tx *tx, const struct store_schema *schema, size_t version)
{
	char marks[96];
	snprintf(marks, sizeof marks, "PRAGMA application_id = %u; PRAGMA user_version = %zu", schema->application, version + 1);
	int err = engine_begin(tx);
	if (err == 0)
		err = exec(tx, schema->migrations[version]);
	if (err == 0)
		err = exec(tx, marks);
	if (err == 0)
		err = engine_commit(tx);
	if (err < 0)
		rollback(tx);
	return err;
}

static int prepare(struct store_tx *tx, const struct store_schema *schema)
{
	int64_t version = 0, application = 0;
	int err = configure(tx);
	if (err == 0)
		err = pragma_integer(tx, "PRAGMA user_version", &version);
	if (err == 0)
		err = pragma_integer(tx, "PRAGMA application_id", &application);
	if (err < 0)
		return err;
	if (version < 0 || version > VERSION_MAX)
		return fail_with(tx, -E_CHECKSUM, "the version number is impossible");
	if (version > 0 && application != schema->application)
		return fail_with(tx, -E_STORE, "this is the database of another program");
	if ((size_t)version > schema->n_migrations)
		return -E_STORE_NEWER;
	err = use_wal(tx);
	for (size_t at = (size_t)version; err == 0 && at < schema->n_migrations; at++)
		err = migrate(tx, schema, at);
	return err;
}

struct store_tx *engine_close(struct store_tx *tx)
{
	if (!tx)
		return NULL;
	for (size_t i = 0; i < tx->n_queries; i++)
		sqlite3_finalize(tx->queries[i].statement);
	sqlite3_close(tx->db);
	return mem_free(tx);
}

/* Makes the file when it is missing, here for its mode; the files beside it inherit it.  Never replaces one. */
static int file_touch(const char *path)
{
	if (fault_hit())
		return -EIO;
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600);
	if (fd < 0)
		return -errno;
	fd_close(fd);
	return 0;
}

/* The source of randomness is opened once: a confined process would be left with time and pid. */
void store_warm_up(void)
{
	uint8_t discarded;
	sqlite3_randomness(sizeof discarded, &discarded);
}

int engine_open(const char *path, const struct store_schema *schema, struct store_tx **ret, char detail[STORE_DETAIL_SIZE])
{
	store_warm_up();
	detail[0] = 0;
	struct store_tx *tx = mem_alloc(sizeof *tx);
	if (!tx)
		return -E_NO_MEMORY;
	int err = file_touch(path);
	if (err == 0) {
		int code =
		        sqlite3_open_v2(path, &tx->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);
		err = code == SQLITE_OK ? prepare(tx, schema) : fail(tx, code);
	}
	if (err < 0) {
		utf8_clean(str_from(tx->detail), detail, STORE_DETAIL_SIZE);
		engine_close(tx);
		return err;
	}
	*ret = tx;
	return 0;
}
