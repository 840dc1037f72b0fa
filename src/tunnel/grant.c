#include "tunnel/grant.h"

#include <pb_decode.h>
#include <pb_encode.h>

#include "base/encode.h"
#include "base/err.h"
#include "base/mem.h"

#define CLOCK_SLACK_S 60
#define GRANT_MAX     6000 /* bytes; as text at most GRANT_TEXT_SIZE */

#define APPROVERS_MAX (sizeof((murmesh_Policy *)0)->approvers / sizeof *((murmesh_Policy *)0)->approvers)

struct approver {
	uint8_t user[sizeof(struct id)];
	struct key *key;
	uint8_t key_hash[HASH_SIZE];
};

/* Grants whose signature by the grant key was found good: the same bytes need no second look. */
#define EXPECTED_MAX 64
struct expected {
	size_t next;
	struct {
		uint8_t document[HASH_SIZE];
		size_t len;
		uint8_t signature[sizeof((murmesh_SignedDocument *)0)->signature.bytes];
	} all[EXPECTED_MAX];
};

struct trust {
	struct identity self;
	struct expected *expected; /* NULL = none yet */
	struct key *grant_key;
	uint64_t version; /* of the policy */
	bool users_sign;  /* mode "signed" */
	uint32_t two_above;
	struct approver approvers[APPROVERS_MAX];
	size_t n_approvers;
};

static int document_read(const murmesh_SignedDocument *document, const pb_msgdesc_t *type, void *ret)
{
	pb_istream_t in = pb_istream_from_buffer(document->document.bytes, document->document.size);
	return pb_decode(&in, type, ret) ? 0 : -E_MESSAGE;
}

static int open_document(const struct key *key, struct str context, const murmesh_SignedDocument *document,
                         const pb_msgdesc_t *type, void *ret)
{
	int err = key_verify(key, context, document->document.bytes, document->document.size, document->signature.bytes,
	                     document->signature.size);
	return err < 0 ? err : document_read(document, type, ret);
}

/* ---- grants that are expected ---- */

static bool is_expected(const struct trust *trust, const murmesh_SignedDocument *grant)
{
	uint8_t hash[HASH_SIZE];
	bool is = false;
	if (!trust->expected)
		return false;
	hash_sha256(grant->document.bytes, grant->document.size, hash);
	for (size_t i = 0; !is && i < EXPECTED_MAX; i++)
		is = trust->expected->all[i].len && trust->expected->all[i].len == grant->signature.size &&
		     memcmp(trust->expected->all[i].signature, grant->signature.bytes, grant->signature.size) == 0 &&
		     hash_equal(trust->expected->all[i].document, hash);
	return is;
}

void grant_expect(struct trust *trust, const murmesh_SignedDocument *grant)
{
	if (!trust->expected)
		trust->expected = mem_alloc(sizeof *trust->expected);
	struct expected *expected = trust->expected;
	if (!expected || key_verify(trust->grant_key, CONTEXT_GRANT, grant->document.bytes, grant->document.size,
	                            grant->signature.bytes, grant->signature.size) < 0)
		return;
	size_t at = expected->next++ % EXPECTED_MAX;
	hash_sha256(grant->document.bytes, grant->document.size, expected->all[at].document);
	memcpy(expected->all[at].signature, grant->signature.bytes, grant->signature.size);
	expected->all[at].len = grant->signature.size;
}

/* ---- the policy ---- */

/* A person and a key stand for each other: who is named twice could sign twice. */
static int approver_add(struct trust *trust, const murmesh_Approver *approver)
{
	struct approver *new = &trust->approvers[trust->n_approvers];
	int err = key_public_read(approver->key.bytes, approver->key.size, &new->key);
	if (err < 0)
		return err;
	trust->n_approvers++;
	memcpy(new->user, approver->user, sizeof new->user);
	err = key_public_hash(new->key, new->key_hash);
	for (const struct approver *at = trust->approvers; err == 0 && at < new; at++)
		if (hash_equal(at->key_hash, new->key_hash) || memcmp(at->user, new->user, sizeof new->user) == 0)
			err = -E_POLICY;
	return err;
}

static int take_policy(struct trust *trust, const murmesh_Policy *policy)
{
	trust->version = policy->version;
	trust->two_above = policy->two_signatures_above;
	trust->users_sign = str_is(str_from(policy->mode), "signed");
	if (!trust->users_sign && !str_is(str_from(policy->mode), "server"))
		return -E_UNSUPPORTED;
	int err = key_public_read(policy->grant_key.bytes, policy->grant_key.size, &trust->grant_key);
	for (pb_size_t i = 0; err == 0 && i < policy->approvers_count; i++)
		err = approver_add(trust, &policy->approvers[i]);
	return err < 0 ? err : trust->users_sign && !trust->n_approvers ? -E_POLICY : 0;
}

int trust_new(const struct certificate *root, const murmesh_SignedDocument *signed_policy, const struct identity *self,
              struct trust **ret)
{
	murmesh_Policy policy;
	struct trust *trust = mem_alloc(sizeof *trust);
	struct key *root_key = certificate_key(root);
	int err = trust && root_key ? 0 : -E_NO_MEMORY;
	if (err == 0)
		err = open_document(root_key, CONTEXT_POLICY, signed_policy, murmesh_Policy_fields, &policy);
	if (err == 0 && memcmp(policy.mesh, self->mesh.bytes, sizeof policy.mesh) != 0)
		err = -E_CERTIFICATE_FOREIGN;
	if (err == 0) {
		trust->self = *self;
		err = take_policy(trust, &policy);
	}
	key_free(root_key);
	if (err < 0)
		trust_free(trust);
	else
		*ret = trust;
	return err;
}

int policy_acceptable(const murmesh_Policy *policy)
{
	struct trust *trust = mem_alloc(sizeof *trust);
	int err = trust ? take_policy(trust, policy) : -E_NO_MEMORY;
	trust_free(trust);
	return err;
}

struct trust *trust_free(struct trust *trust)
{
	if (!trust)
		return NULL;
	key_free(trust->grant_key);
	mem_free(trust->expected);
	for (size_t i = 0; i < trust->n_approvers; i++)
		key_free(trust->approvers[i].key);
	return mem_free(trust);
}

uint64_t trust_version(const struct trust *trust)
{
	return trust->version;
}

/* ---- users' signatures ---- */

static const struct approver *signer(const struct trust *trust, struct str context, const murmesh_SignedDocument *document,
                                     const murmesh_UserSignature *signature)
{
	for (const struct approver *at = trust->approvers; at < trust->approvers + trust->n_approvers; at++)
		if (hash_equal(at->key_hash, signature->key_hash))
			return key_verify(at->key, context, document->document.bytes, document->document.size,
			                  signature->signature.bytes, signature->signature.size) == 0
			               ? at
			               : NULL;
	return NULL;
}

/* In mode "signed": the user's own, and with `two` that of another approver.  One that is no approver's is not overlooked. */
static int users_check(const struct trust *trust, struct str context, const murmesh_SignedDocument *document,
                       const uint8_t user[sizeof(struct id)], bool two)
{
	bool own = false, other = false;
	if (!trust->users_sign)
		return 0;
	for (pb_size_t i = 0; i < document->users_count; i++) {
		const struct approver *approver = signer(trust, context, document, &document->users[i]);
		if (!approver)
			return -E_USER_SIGNATURE;
		if (memcmp(approver->user, user, sizeof approver->user) == 0)
			own = true;
		else
			other = true;
	}
	return !own ? -E_USER_SIGNATURE : two && !other ? -E_SECOND_SIGNATURE : 0;
}

/* ---- grants and orders ---- */

int grant_check(const struct trust *trust, const murmesh_SignedDocument *signed_grant, const struct identity *user, int64_t now,
                murmesh_Grant *ret)
{
	int err = is_expected(trust, signed_grant)
	                  ? document_read(signed_grant, murmesh_Grant_fields, ret)
	                  : open_document(trust->grant_key, CONTEXT_GRANT, signed_grant, murmesh_Grant_fields, ret);
	if (err < 0)
		return err;
	if (memcmp(ret->mesh, trust->self.mesh.bytes, sizeof ret->mesh) != 0 ||
	    memcmp(ret->device, trust->self.id.bytes, sizeof ret->device) != 0 || user->kind != IDENTITY_USER ||
	    memcmp(ret->user, user->id.bytes, sizeof ret->user) != 0)
		return -E_GRANT;
	if (now - CLOCK_SLACK_S > ret->until)
		return -E_GRANT_EXPIRED;
	return users_check(trust, CONTEXT_USER_GRANT, signed_grant, ret->user, false);
}

int time_check(const struct trust *trust, const murmesh_SignedTime *time, int64_t *ret)
{
	murmesh_Time document;
	int err = key_verify(trust->grant_key, CONTEXT_TIME, time->document.bytes, time->document.size, time->signature.bytes,
	                     time->signature.size);
	pb_istream_t in = pb_istream_from_buffer(time->document.bytes, time->document.size);
	if (err == 0 && !pb_decode(&in, murmesh_Time_fields, &document))
		err = -E_MESSAGE;
	if (err == 0 && memcmp(document.mesh, trust->self.mesh.bytes, sizeof document.mesh) != 0)
		err = -E_CERTIFICATE_FOREIGN;
	if (err == 0)
		*ret = document.seconds;
	return err;
}

int move_check(const struct trust *trust, const murmesh_SignedDocument *signed_move, murmesh_Move *ret)
{
	int err = open_document(trust->grant_key, CONTEXT_MOVE, signed_move, murmesh_Move_fields, ret);
	bool ours = err == 0 && memcmp(ret->mesh, trust->self.mesh.bytes, sizeof ret->mesh) == 0 &&
	            memcmp(ret->device, trust->self.id.bytes, sizeof ret->device) == 0;
	return err < 0 ? err : ours ? 0 : -E_CERTIFICATE_FOREIGN;
}

int duty_check(const struct trust *trust, const murmesh_SignedDocument *signed_duty, murmesh_RelayDuty *ret)
{
	int err = open_document(trust->grant_key, CONTEXT_RELAY, signed_duty, murmesh_RelayDuty_fields, ret);
	bool ours = err == 0 && memcmp(ret->mesh, trust->self.mesh.bytes, sizeof ret->mesh) == 0 &&
	            memcmp(ret->device, trust->self.id.bytes, sizeof ret->device) == 0;
	return err < 0 ? err : ours ? 0 : -E_CERTIFICATE_FOREIGN;
}

int ended_check(const struct trust *trust, const murmesh_SignedDocument *signed_ended, murmesh_RelaysEnded *ret)
{
	int err = open_document(trust->grant_key, CONTEXT_ENDED, signed_ended, murmesh_RelaysEnded_fields, ret);
	bool ours = err == 0 && memcmp(ret->mesh, trust->self.mesh.bytes, sizeof ret->mesh) == 0;
	return err < 0 ? err : ours ? 0 : -E_CERTIFICATE_FOREIGN;
}

int target_format(struct str host, uint16_t port, char *out, size_t size)
{
	bool v6 = str_has(host, ':');
	int n = snprintf(out, size, "%s%.*s%s:%u", v6 ? "[" : "", STR_ARG(host), v6 ? "]" : "", port);
	return n < 0 || (size_t)n >= size ? -E_TOO_LONG : 0;
}

static bool is_self(struct str host)
{
	return host.len == 0 || str_equal_nocase(host, STR("localhost")) || str_is(host, "127.0.0.1") || str_is(host, "::1");
}

int target_format_udp(struct str host, uint16_t port, char *out, size_t size)
{
	char target[300];
	int err = target_format(host, port, target, sizeof target);
	int n = err < 0 ? err : snprintf(out, size, "%s/udp", target);
	return n < 0 || (size_t)n >= size ? -E_TOO_LONG : 0;
}

static int target_allowed(const murmesh_Grant *grant, struct str host, uint16_t port,
                          int (*format)(struct str host, uint16_t port, char *out, size_t size))
{
	char wanted[300], device[300];
	if (format(host, port, wanted, sizeof wanted) < 0 || format(STR(""), port, device, sizeof device) < 0 ||
	    !(grant->rights & murmesh_Right_CONNECT))
		return -E_GRANT;
	for (pb_size_t i = 0; i < grant->targets_count; i++) {
		struct str target = str_from(grant->targets[i]);
		if (str_equal_nocase(target, str_from(wanted)) || (is_self(host) && str_is(target, device)))
			return 0;
	}
	return -E_GRANT;
}

int grant_allows_target(const murmesh_Grant *grant, struct str host, uint16_t port)
{
	return target_allowed(grant, host, port, target_format);
}

int grant_allows_udp(const murmesh_Grant *grant, struct str host, uint16_t port)
{
	return target_allowed(grant, host, port, target_format_udp);
}

/* ---- a grant in a field ---- */

int grant_text_write(const murmesh_SignedDocument *grant, char out[GRANT_TEXT_SIZE])
{
	static uint8_t bytes[GRANT_MAX];
	pb_ostream_t stream = pb_ostream_from_buffer(bytes, sizeof bytes);
	if (!pb_encode(&stream, murmesh_SignedDocument_fields, grant))
		return -E_TOO_LONG;
	base64url_encode(bytes, stream.bytes_written, out);
	return 0;
}

int grant_text_read(struct str text, murmesh_SignedDocument *ret)
{
	static uint8_t bytes[GRANT_TEXT_SIZE];
	ssize_t len = base64url_decode(text, bytes, sizeof bytes);
	if (len <= 0)
		return -E_GRANT;
	pb_istream_t in = pb_istream_from_buffer(bytes, (size_t)len);
	return pb_decode(&in, murmesh_SignedDocument_fields, ret) ? 0 : -E_GRANT;
}

int order_check(const struct trust *trust, const murmesh_SignedDocument *signed_order, const uint8_t *devices, size_t devices_len,
                int64_t now, murmesh_Order *ret)
{
	uint8_t digest[HASH_SIZE];
	size_t id_size = sizeof trust->self.id.bytes;
	int err = open_document(trust->grant_key, CONTEXT_ORDER, signed_order, murmesh_Order_fields, ret);
	if (err < 0)
		return err;
	hash_sha256(devices, devices_len, digest);
	if (memcmp(ret->mesh, trust->self.mesh.bytes, sizeof ret->mesh) != 0 || !hash_equal(digest, ret->digest) ||
	    devices_len % id_size || devices_len / id_size != ret->count || (ret->argv_count > 0) == ret->terminal ||
	    (ret->terminal && ret->count != 1))
		return -E_GRANT;
	if (now - CLOCK_SLACK_S > ret->until)
		return -E_GRANT_EXPIRED;
	for (size_t at = 0; at < devices_len; at += id_size)
		if (memcmp(devices + at, trust->self.id.bytes, id_size) == 0)
			return users_check(trust, CONTEXT_USER_ORDER, signed_order, ret->user,
			                   trust->two_above && ret->count > trust->two_above);
	return -E_GRANT;
}
