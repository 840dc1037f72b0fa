#include "manage/record.h"

#include "base/encode.h"
#include "base/err.h"
#include "store/store.h"

/* ---- writing ---- */

#define SIGNED_SIZE (2 * sizeof(struct id) + 8 + HASH_SIZE)

static void signed_bytes(const struct record_signer *signer, const struct audit_head *head, uint8_t out[SIGNED_SIZE])
{
	memcpy(out, signer->self.mesh.bytes, sizeof(struct id));
	memcpy(out + sizeof(struct id), signer->self.id.bytes, sizeof(struct id));
	for (int i = 0; i < 8; i++)
		out[2 * sizeof(struct id) + (size_t)i] = (uint8_t)((uint64_t)head->seq >> (56 - 8 * i));
	memcpy(out + 2 * sizeof(struct id) + 8, head->hash, HASH_SIZE);
}

static int head_sign(struct store_tx *tx, const struct record_signer *signer, const struct audit_head *head)
{
	uint8_t bytes[SIGNED_SIZE], signature[KEY_SIGNATURE_MAX];
	size_t len;
	signed_bytes(signer, head, bytes);
	int err = key_sign(signer->key, CONTEXT_RECORD, bytes, sizeof bytes, signature, &len);
	if (err < 0)
		return err;
	struct store_query *query = store_query(tx, "INSERT INTO audit_signatures (seq, signature) VALUES ($1, $2)");
	store_bind_integer(query, 1, head->seq);
	store_bind_blob(query, 2, signature, len);
	return store_exec(query);
}

static int prune(struct store_tx *tx, int64_t last)
{
	if (last % RECORD_PRUNED || last <= RECORD_ENTRIES_MAX)
		return 0;
	struct store_query *query = store_query(tx, "DELETE FROM audit WHERE seq <= $1");
	store_bind_integer(query, 1, last - RECORD_ENTRIES_MAX);
	int err = store_exec(query);
	if (err < 0)
		return err;
	query = store_query(tx, "DELETE FROM audit_signatures WHERE seq <= $1");
	store_bind_integer(query, 1, last - RECORD_ENTRIES_MAX);
	return store_exec(query);
}

int record_append(struct store_tx *tx, const struct record_signer *signer, int64_t now, const struct audit_event *event)
{
	struct audit_head head;
	int err = audit_append(tx, now, event);
	if (err == 0)
		err = audit_head(tx, &head);
	if (err == 0)
		err = head_sign(tx, signer, &head);
	return err < 0 ? err : prune(tx, head.seq);
}

int record_order(struct store_tx *tx, const struct record_signer *signer, int64_t now, const char *what, const murmesh_Order *order)
{
	char user[ID_TEXT_SIZE], nonce[ID_TEXT_SIZE], actor[ID_TEXT_SIZE + 8], detail[2 * HASH_SIZE + 32], hex[2 * HASH_SIZE + 1];
	uint8_t hash[HASH_SIZE];
	struct id id;
	struct digest *arguments = digest_new();
	if (!arguments)
		return -E_NO_MEMORY;
	for (pb_size_t i = 0; i < order->argv_count; i++)
		digest_add(arguments, order->argv[i], strlen(order->argv[i]) + 1);
	digest_read(arguments, hash);
	digest_free(arguments);
	hex_encode(hash, sizeof hash, hex);
	memcpy(id.bytes, order->user, sizeof id.bytes);
	id_format(&id, user);
	memcpy(id.bytes, order->nonce, sizeof id.bytes);
	id_format(&id, nonce);
	snprintf(actor, sizeof actor, "user %s", user);
	snprintf(detail, sizeof detail, "arguments %s", hex);
	const struct audit_event event = { str_from(actor), str_from(what), str_from(nonce), str_from(detail) };
	return record_append(tx, signer, now, &event);
}

int record_end(struct store_tx *tx, const struct record_signer *signer, int64_t now, const char *what, const struct id *nonce,
               int exit_code)
{
	char text[ID_TEXT_SIZE], detail[32];
	id_format(nonce, text);
	snprintf(detail, sizeof detail, "exit %d", exit_code);
	const struct audit_event event = { STR("agent"), str_from(what), str_from(text), str_from(detail) };
	return record_append(tx, signer, now, &event);
}

/* ---- verifying ---- */

/* Where the chain begins now.  Only what had to make room is missing before. */
static int begin(struct store_tx *tx, struct audit_head *at)
{
	struct audit_head last;
	struct store_query *query = store_query(tx, "SELECT seq, previous_hash FROM audit ORDER BY seq LIMIT 1");
	if (store_step(query) > 0 && store_integer(query, 0) > 1) {
		at->seq = store_integer(query, 0) - 1;
		store_blob(query, 1, at->hash, HASH_SIZE);
	}
	int err = store_error(query);
	if (err == 0)
		err = audit_head(tx, &last);
	return err < 0 || !at->seq || last.seq - at->seq >= RECORD_ENTRIES_MAX ? err : -E_AUDIT_CHAIN;
}

static int signature_check(struct store_query *query, const struct record_signer *signer, struct audit_head *at)
{
	uint8_t bytes[SIGNED_SIZE], signature[KEY_SIGNATURE_MAX];
	at->seq = store_integer(query, 0);
	store_blob(query, 1, at->hash, HASH_SIZE);
	if (store_is_null(query, 2))
		return -E_SIGNATURE;
	size_t len = store_bytes(query, 2, signature, sizeof signature);
	int err = store_error(query);
	signed_bytes(signer, at, bytes);
	return err < 0 ? -E_SIGNATURE : key_verify(signer->key, CONTEXT_RECORD, bytes, sizeof bytes, signature, len);
}

static int signatures_check(struct store_tx *tx, const struct record_signer *signer, struct audit_head *at, int64_t last)
{
	int rows, err = 0;
	struct store_query *query = store_query(tx, "SELECT audit.seq, audit.hash, audit_signatures.signature FROM audit"
	                                            " LEFT JOIN audit_signatures ON audit_signatures.seq = audit.seq"
	                                            " WHERE audit.seq > $1 AND audit.seq <= $2 ORDER BY audit.seq");
	store_bind_integer(query, 1, at->seq);
	store_bind_integer(query, 2, last);
	while (err == 0 && (rows = store_step(query)) != 0)
		err = rows < 0 ? rows : signature_check(query, signer, at);
	return err;
}

int record_verify(struct store_tx *tx, const struct record_signer *signer, struct audit_head *at, unsigned entries)
{
	int err = at->seq ? 0 : begin(tx, at);
	struct audit_head end = *at;
	int more = err < 0 ? err : audit_verify(tx, &end, entries);
	if (more < 0) {
		*at = end;
		return more;
	}
	err = signatures_check(tx, signer, at, end.seq);
	return err < 0 ? err : more;
}
