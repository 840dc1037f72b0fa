#include "audit/audit.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/utf8.h"
#include "store/store.h"

#define COLUMNS   "seq, time, actor, action, object, detail, previous_hash, hash"
#define ENTRY_MAX 2048 /* bytes of the canonical encoding */

static int append_text(struct buf *out, const char *text)
{
	struct str s = str_from(text);
	int err = buf_append_be32(out, (uint32_t)s.len);
	return err < 0 ? err : buf_append_str(out, s);
}

static int entry_encode(const struct audit_entry *entry, struct buf *out)
{
	const char *const texts[] = { entry->actor, entry->action, entry->object, entry->detail };
	static const char mark[] = "murmesh audit 1";
	int err = buf_append(out, mark, sizeof mark); /* with its zero byte */
	if (err == 0)
		err = buf_append_be64(out, (uint64_t)entry->seq);
	if (err == 0)
		err = buf_append_be64(out, (uint64_t)entry->time);
	for (size_t i = 0; err == 0 && i < sizeof texts / sizeof *texts; i++)
		err = append_text(out, texts[i]);
	if (err == 0)
		err = buf_append(out, entry->previous_hash, HASH_SIZE);
	return err;
}

static int entry_hash(const struct audit_entry *entry, uint8_t ret_hash[HASH_SIZE])
{
	struct buf encoded;
	buf_init(&encoded, ENTRY_MAX);
	int err = entry_encode(entry, &encoded);
	if (err == 0)
		hash_sha256(buf_head(&encoded), buf_len(&encoded), ret_hash);
	buf_done(&encoded);
	return err;
}

static int entry_read(struct store_query *query, struct audit_entry *ret)
{
	ret->seq = store_integer(query, 0);
	ret->time = store_integer(query, 1);
	store_text(query, 2, ret->actor, sizeof ret->actor);
	store_text(query, 3, ret->action, sizeof ret->action);
	store_text(query, 4, ret->object, sizeof ret->object);
	store_text(query, 5, ret->detail, sizeof ret->detail);
	store_blob(query, 6, ret->previous_hash, HASH_SIZE);
	store_blob(query, 7, ret->hash, HASH_SIZE);
	return store_error(query);
}

int audit_head(struct store_tx *tx, struct audit_head *ret)
{
	struct store_query *query = store_query(tx, "SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1");
	*ret = (struct audit_head){ 0 };
	if (store_step(query) > 0) {
		ret->seq = store_integer(query, 0);
		store_blob(query, 1, ret->hash, HASH_SIZE);
	}
	return store_error(query);
}

static int entry_insert(struct store_tx *tx, const struct audit_entry *entry)
{
	struct store_query *query = store_query(tx, "INSERT INTO audit (" COLUMNS ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8)");
	store_bind_integer(query, 1, entry->seq);
	store_bind_integer(query, 2, entry->time);
	store_bind_text(query, 3, str_from(entry->actor));
	store_bind_text(query, 4, str_from(entry->action));
	store_bind_text(query, 5, str_from(entry->object));
	store_bind_text(query, 6, str_from(entry->detail));
	store_bind_blob(query, 7, entry->previous_hash, HASH_SIZE);
	store_bind_blob(query, 8, entry->hash, HASH_SIZE);
	return store_exec(query);
}

int audit_append(struct store_tx *tx, int64_t now, const struct audit_event *event)
{
	struct audit_head head;
	int err = audit_head(tx, &head);
	if (err < 0)
		return err;
	struct audit_entry entry = { .seq = head.seq + 1, .time = now };
	utf8_clean(event->actor, entry.actor, sizeof entry.actor);
	utf8_clean(event->action, entry.action, sizeof entry.action);
	utf8_clean(event->object, entry.object, sizeof entry.object);
	utf8_clean(event->detail, entry.detail, sizeof entry.detail);
	memcpy(entry.previous_hash, head.hash, HASH_SIZE);
	err = entry_hash(&entry, entry.hash);
	return err < 0 ? err : entry_insert(tx, &entry);
}

int audit_list(struct store_tx *tx, int64_t before, struct str text, unsigned limit,
               int (*each)(void *ctx, const struct audit_entry *entry), void *ctx)
{
	int rows;
	struct store_query *query = store_query(
	        tx, "SELECT " COLUMNS " FROM audit WHERE seq < $1 AND ($2 = ''"
	            " OR instr(lower(actor || char(10) || action || char(10) || object || char(10) || detail), lower($2)))"
	            " ORDER BY seq DESC LIMIT $3");
	store_bind_integer(query, 1, before > 0 ? before : INT64_MAX);
	store_bind_text(query, 2, text);
	store_bind_integer(query, 3, limit < AUDIT_LIST_MAX ? limit : AUDIT_LIST_MAX);
	while ((rows = store_step(query)) > 0) {
		struct audit_entry entry;
		int err = entry_read(query, &entry);
		if (err == 0)
			err = each(ctx, &entry);
		if (err < 0)
			return err;
	}
	return rows;
}

/* Whether the entry is the one that follows *at, which then moves on; else at->seq is its number. */
static int entry_check(const struct audit_entry *entry, struct audit_head *at)
{
	uint8_t hash[HASH_SIZE];
	bool follows = entry->seq == at->seq + 1 && memcmp(entry->previous_hash, at->hash, HASH_SIZE) == 0;
	int err = entry_hash(entry, hash);
	if (err < 0)
		return err;
	at->seq++;
	if (!follows || memcmp(entry->hash, hash, HASH_SIZE) != 0)
		return -E_AUDIT_CHAIN;
	memcpy(at->hash, hash, HASH_SIZE);
	return 0;
}

int audit_verify(struct store_tx *tx, struct audit_head *at, unsigned entries)
{
	int rows = 0, err = 0;
	struct store_query *query = store_query(tx, "SELECT " COLUMNS " FROM audit WHERE seq > $1 ORDER BY seq LIMIT $2");
	store_bind_integer(query, 1, at->seq ? at->seq : INT64_MIN); /* nor may one stand before the first */
	store_bind_integer(query, 2, entries);
	unsigned seen = 0;
	while (err == 0 && (rows = store_step(query)) > 0) {
		struct audit_entry entry;
		err = entry_read(query, &entry);
		if (err == -E_CHECKSUM) { /* a value that audit_append() never wrote */
			at->seq++;
			err = -E_AUDIT_CHAIN;
		} else if (err == 0) {
			err = entry_check(&entry, at);
		}
		seen++;
	}
	if (err < 0 || rows < 0)
		return err < 0 ? err : rows;
	return seen == entries;
}
