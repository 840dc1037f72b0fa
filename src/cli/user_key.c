#include "cli/user_key.h"

#include <errno.h>
#include <pb_decode.h>

#include "base/buf.h"
#include "base/encode.h"
#include "base/err.h"
#include "os/clock.h"
#include "os/file.h"

#define FILE_MAX     ((size_t)4 << 10)
#define GRANT_MOST_S 1800 /* from now; a server gives 10 minutes, and clocks differ */
#define ORDER_MOST_S 7200 /* an hour, where another approver has to see it */
#define LINE_BEGINS  "murmesh-user-key "
#define SIGNATURES   (sizeof((murmesh_SignedDocument *)0)->users / sizeof *((murmesh_SignedDocument *)0)->users)

/* ---- the file ---- */

static int folder_path(char path[4096])
{
	return config_path("keys", path, 4096);
}

int user_key_path(char path[4096])
{
	char folder[4096];
	int err = folder_path(folder);
	return err < 0 ? err : file_path(path, 4096, folder, "user.key");
}

int user_key_load(struct key **ret)
{
	char folder[4096], path[4096];
	struct buf pem;
	int err = folder_path(folder);
	if (err == 0)
		err = user_key_path(path);
	if (err == 0)
		err = file_directory_private(folder);
	buf_init(&pem, FILE_MAX);
	if (err == 0)
		err = file_read_secret(path, &pem);
	if (err == 0)
		err = key_private_read(buf_str(&pem), ret);
	buf_wipe(&pem);
	return err;
}

int user_key_make(struct key **ret)
{
	char folder[4096], path[4096];
	struct buf pem;
	int err = folder_path(folder);
	if (err == 0)
		err = user_key_path(path);
	if (err == 0)
		err = file_make_directory(folder, 0700);
	if (err == 0)
		err = file_directory_private(folder);
	if (err == 0 && file_exists(path))
		err = -E_EXISTS;
	if (err < 0)
		return err;
	buf_init(&pem, FILE_MAX);
	struct key *key = key_generate();
	err = key ? key_private_write(key, &pem) : -E_NO_MEMORY;
	if (err == 0)
		err = file_write(path, buf_head(&pem), buf_len(&pem), 0600);
	buf_wipe(&pem);
	if (err < 0)
		key_free(key);
	else
		*ret = key;
	return err;
}

/* ---- the public part ---- */

int user_key_format(const struct key *key, char text[USER_KEY_TEXT_SIZE])
{
	uint8_t public[KEY_PUBLIC_MAX];
	char encoded[BASE64URL_SIZE(KEY_PUBLIC_MAX)];
	size_t len;
	int err = key_public_write(key, public, &len);
	if (err < 0)
		return err;
	base64url_encode(public, len, encoded);
	snprintf(text, USER_KEY_TEXT_SIZE, LINE_BEGINS "%s", encoded);
	return 0;
}

int user_key_parse(struct str text, uint8_t ret[KEY_PUBLIC_MAX], size_t *ret_len)
{
	struct key *key;
	text = str_trim(text);
	while (text.len && (text.ptr[text.len - 1] == '\n' || text.ptr[text.len - 1] == '\r'))
		text.len--;
	if (!str_starts(text, STR(LINE_BEGINS)))
		return -E_USER_KEY_TEXT;
	ssize_t len = base64url_decode(str_skip(text, sizeof LINE_BEGINS - 1), ret, KEY_PUBLIC_MAX);
	if (len <= 0 || key_public_read(ret, (size_t)len, &key) < 0)
		return -E_USER_KEY_TEXT;
	key_free(key);
	*ret_len = (size_t)len;
	return 0;
}

/* ---- signing ---- */

static int sign(const struct key *key, struct str context, murmesh_SignedDocument *document)
{
	uint8_t own[HASH_SIZE];
	size_t len;
	int err = key_public_hash(key, own);
	for (pb_size_t i = 0; err == 0 && i < document->users_count; i++)
		if (hash_equal(document->users[i].key_hash, own))
			err = -E_EXISTS;
	if (err == 0 && document->users_count == SIGNATURES)
		err = -E_LIMIT;
	if (err < 0)
		return err;
	murmesh_UserSignature *signature = &document->users[document->users_count];
	err = key_sign(key, context, document->document.bytes, document->document.size, signature->signature.bytes, &len);
	if (err < 0)
		return err;
	memcpy(signature->key_hash, own, sizeof own);
	signature->signature.size = (pb_size_t)len;
	document->users_count++;
	return 0;
}

/* Once for all that a command does.  Without a key it goes unsigned; with one that cannot be used it does not go at all. */
static int signer_load(struct session *session)
{
	char path[4096] = "";
	int err = session->signer || session->unsigned_only ? 0 : user_key_load(&session->signer);
	if (err == -ENOENT || err == -E_NOT_FOUND) {
		session->unsigned_only = true;
		return 0;
	}
	user_key_path(path);
	if (err < 0)
		snprintf(session->why, sizeof session->why, "%.400s: %s", path, err_text(err));
	return err;
}

static bool same(const void *a, const void *b, size_t len)
{
	return memcmp(a, b, len) == 0;
}

static bool grant_as_asked(const struct session *session, const murmesh_TunnelRequest *request, const murmesh_Grant *grant)
{
	const struct identity *user = &session->login.info.identity;
	bool targets = grant->targets_count == request->targets_count;
	for (pb_size_t i = 0; targets && i < grant->targets_count; i++)
		targets = str_is(str_from(grant->targets[i]), request->targets[i]);
	return targets && same(grant->mesh, user->mesh.bytes, sizeof grant->mesh) &&
	       same(grant->user, user->id.bytes, sizeof grant->user) &&
	       same(grant->device, request->device, sizeof grant->device) && grant->rights == request->rights &&
	       grant->until <= clock_wall_s() + GRANT_MOST_S;
}

int user_sign_grant(struct session *session, const murmesh_TunnelRequest *request, murmesh_SignedDocument *document)
{
	static murmesh_Grant grant;
	pb_istream_t in = pb_istream_from_buffer(document->document.bytes, document->document.size);
	int err = signer_load(session);
	if (err < 0 || !session->signer)
		return err;
	if (!pb_decode(&in, murmesh_Grant_fields, &grant) || !grant_as_asked(session, request, &grant))
		return -E_NOT_AS_ASKED;
	document->users_count = 0;
	return sign(session->signer, CONTEXT_USER_GRANT, document);
}

static bool order_as_asked(const struct session *session, const murmesh_OrderRequest *request, const murmesh_Order *order)
{
	const struct identity *user = &session->login.info.identity;
	bool command = order->argv_count == request->argv_count;
	for (pb_size_t i = 0; command && i < order->argv_count; i++)
		command = str_is(str_from(order->argv[i]), request->argv[i]);
	return command && same(order->mesh, user->mesh.bytes, sizeof order->mesh) &&
	       same(order->user, user->id.bytes, sizeof order->user) &&
	       same(order->digest, request->digest, sizeof order->digest) && order->count == request->count &&
	       order->terminal == request->terminal && order->until <= clock_wall_s() + ORDER_MOST_S;
}

int user_sign_order(struct session *session, const murmesh_OrderRequest *request, murmesh_SignedDocument *document)
{
	static murmesh_Order order;
	pb_istream_t in = pb_istream_from_buffer(document->document.bytes, document->document.size);
	int err = signer_load(session);
	if (err < 0 || !session->signer)
		return err;
	if (!pb_decode(&in, murmesh_Order_fields, &order) || !order_as_asked(session, request, &order))
		return -E_NOT_AS_ASKED;
	document->users_count = 0;
	return sign(session->signer, CONTEXT_USER_ORDER, document);
}

int user_sign_seen(murmesh_SignedDocument *order)
{
	struct key *key = NULL;
	int err = user_key_load(&key);
	if (err == -ENOENT || err == -E_NOT_FOUND)
		err = -E_USER_KEY;
	if (err == 0)
		err = sign(key, CONTEXT_USER_ORDER, order);
	key_free(key);
	return err;
}
