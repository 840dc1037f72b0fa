#include <errno.h>
#include <pb_decode.h>
#include <pb_encode.h>

#include "gateway/keep.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "os/clock.h"
#include "os/file.h"
#include "tunnel/grant.h"

#define FILE_MAX ((size_t)64 << 10)

int keep_file(const struct keep *keep, const char *name, char path[4096])
{
	return file_path(path, 4096, keep->directory, name);
}

static int named_file(const struct keep *keep, const char *ending, char path[4096])
{
	char name[64];
	snprintf(name, sizeof name, "%s.%s", keep->name, ending);
	return keep_file(keep, name, path);
}

static int read_whole(const char *path, struct buf *out)
{
	buf_init(out, FILE_MAX);
	return file_read(path, out);
}

static int load_key(struct keep *keep)
{
	char path[4096];
	struct buf pem;
	if (keep->key)
		return 0;
	int err = named_file(keep, "key", path);
	if (err < 0)
		return err;
	err = read_whole(path, &pem);
	if (err == 0)
		err = key_private_read(buf_str(&pem), &keep->key);
	buf_wipe(&pem);
	return err;
}

static int load_chain(struct keep *keep)
{
	struct certificate *chain[3] = { NULL };
	char path[4096];
	struct buf pem;
	int err = named_file(keep, "crt", path);
	if (err < 0)
		return err;
	err = read_whole(path, &pem);
	int n = err == 0 ? certificate_read_pem(buf_str(&pem), chain, 3) : err;
	buf_done(&pem);
	if (n == 3 && certificate_inspect(chain[0], &keep->info) == 0) {
		keep->leaf = chain[0];
		keep->intermediate = chain[1];
		keep->root = chain[2];
		return 0;
	}
	for (int i = 0; i < 3; i++)
		certificate_free(chain[i]);
	return n < 0 ? n : -E_CHECKSUM;
}

static int load_policy(struct keep *keep)
{
	char path[4096];
	struct buf bytes;
	int err = keep_file(keep, "policy", path);
	if (err < 0)
		return err;
	err = read_whole(path, &bytes);
	pb_istream_t in = pb_istream_from_buffer(buf_head(&bytes), buf_len(&bytes));
	if (err == 0 && !pb_decode(&in, murmesh_SignedDocument_fields, &keep->policy))
		err = -E_CHECKSUM;
	buf_done(&bytes);
	return err;
}

/* The certificate file is written last: when it is there, all is. */
int keep_load(struct keep *keep)
{
	int key = load_key(keep), chain = load_chain(keep);
	if (chain == -ENOENT)
		return key == -ENOENT ? 0 : key;
	if (key < 0 || chain < 0)
		return key < 0 ? key : chain;
	int err = load_policy(keep);
	return err < 0 ? err : 1;
}

int keep_key(struct keep *keep)
{
	char path[4096];
	struct buf pem;
	int err = load_key(keep);
	if (err != -ENOENT)
		return err;
	buf_init(&pem, FILE_MAX);
	keep->key = key_generate();
	err = keep->key ? key_private_write(keep->key, &pem) : -E_NO_MEMORY;
	if (err == 0)
		err = named_file(keep, "key", path);
	if (err == 0)
		err = file_write(path, buf_head(&pem), buf_len(&pem), 0600);
	buf_wipe(&pem);
	return err;
}

static int write_policy(const struct keep *keep, const murmesh_SignedDocument *policy)
{
	static uint8_t bytes[sizeof(murmesh_SignedDocument) + 64];
	char path[4096];
	pb_ostream_t out = pb_ostream_from_buffer(bytes, sizeof bytes);
	if (!pb_encode(&out, murmesh_SignedDocument_fields, policy))
		return -E_INTERNAL;
	int err = keep_file(keep, "policy", path);
	return err < 0 ? err : file_write(path, bytes, out.bytes_written, 0600);
}

static int write_chain(const struct keep *keep)
{
	char path[4096];
	struct buf pem;
	buf_init(&pem, FILE_MAX);
	int err = certificate_write_pem(keep->leaf, &pem);
	if (err == 0)
		err = certificate_write_pem(keep->intermediate, &pem);
	if (err == 0)
		err = certificate_write_pem(keep->root, &pem);
	if (err == 0)
		err = named_file(keep, "crt", path);
	if (err == 0)
		err = file_write(path, buf_head(&pem), buf_len(&pem), 0600);
	buf_done(&pem);
	return err;
}

/* A renewal changes neither the mesh root nor who this is, and never brings an older policy back: whoever answers is a server of this mesh,
 * but no more than that. */
static int check_renewal(const struct keep *old, const struct keep *new, const struct certificate_info *root,
                         const struct trust *trust)
{
	struct certificate_info old_root;
	struct trust *old_trust = NULL;
	int err = certificate_inspect(old->root, &old_root);
	if (err == 0 && !hash_equal(old_root.key_hash, root->key_hash))
		err = -E_WRONG_PIN;
	if (err == 0 && !identity_equal(&old->info.identity, &new->info.identity))
		err = -E_CERTIFICATE_IDENTITY;
	if (err == 0)
		err = trust_new(old->root, &old->policy, &old->info.identity, &old_trust);
	if (err == 0 && trust_version(trust) < trust_version(old_trust))
		err = -E_POLICY_OLD;
	trust_free(old_trust);
	return err;
}

static int check(const struct keep *old, struct keep *new, enum identity_kind kind, const uint8_t pin[HASH_SIZE])
{
	struct certificate_info root;
	struct identity identity;
	struct trust *trust = NULL;
	uint8_t own[HASH_SIZE];
	int err = certificate_inspect(new->leaf, &new->info);
	if (err == 0)
		err = certificate_inspect(new->root, &root);
	if (err == 0)
		err = key_public_hash(old->key, own);
	if (err == 0 && (!new->info.has_identity || !hash_equal(own, new->info.key_hash)))
		err = -E_CERTIFICATE;
	if (err == 0 && pin && !hash_equal(pin, root.key_hash))
		err = -E_WRONG_PIN;
	if (err == 0)
		err = certificate_verify(new->leaf, new->intermediate, new->root, &new->info.identity.mesh, 1u << kind,
		                         old->now ? old->now() : clock_wall_s(), &identity);
	if (err == 0)
		err = trust_new(new->root, &new->policy, &identity, &trust);
	if (err == 0 && old->leaf)
		err = check_renewal(old, new, &root, trust);
	trust_free(trust);
	return err;
}

int keep_install(struct keep *keep, const murmesh_CertificateReply *reply, enum identity_kind kind, const uint8_t pin[HASH_SIZE])
{
	struct keep new = { .directory = keep->directory, .name = keep->name, .policy = reply->policy, .now = keep->now };
	int err = reply->has_policy ? certificate_read(reply->leaf.bytes, reply->leaf.size, &new.leaf) : -E_MESSAGE;
	if (err == 0)
		err = certificate_read(reply->intermediate.bytes, reply->intermediate.size, &new.intermediate);
	if (err == 0)
		err = certificate_read(reply->root.bytes, reply->root.size, &new.root);
	if (err == 0)
		err = check(keep, &new, kind, pin);
	if (err == 0)
		err = write_policy(&new, &new.policy);
	if (err == 0)
		err = write_chain(&new);
	if (err < 0) {
		keep_done(&new);
		return err;
	}
	new.key = keep->key;
	keep->key = NULL;
	keep_done(keep);
	*keep = new;
	return 0;
}

int keep_policy(struct keep *keep, const murmesh_SignedDocument *policy)
{
	struct trust *old = NULL, *new = NULL;
	int err = trust_new(keep->root, policy, &keep->info.identity, &new);
	if (err == 0)
		err = trust_new(keep->root, &keep->policy, &keep->info.identity, &old);
	if (err == 0 && trust_version(new) <= trust_version(old))
		err = -E_POLICY_OLD;
	if (err == 0)
		err = write_policy(keep, policy);
	if (err == 0)
		keep->policy = *policy;
	trust_free(old);
	trust_free(new);
	return err;
}

void keep_done(struct keep *keep)
{
	keep->key = key_free(keep->key);
	keep->leaf = certificate_free(keep->leaf);
	keep->intermediate = certificate_free(keep->intermediate);
	keep->root = certificate_free(keep->root);
}
