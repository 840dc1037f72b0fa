#include "ca/authority.h"

#include <errno.h>
#include <pb_decode.h>
#include <pb_encode.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/random.h"

#define FILE_MAX ((size_t)16 << 10)
#define YEAR_S   (365 * 86400ll)
#define SLACK_S  60 /* between the order and its execution */

struct authority {
	char directory[4096];
	struct id mesh;
	struct key *intermediate_key, *grant_key;
	struct certificate *root, *intermediate;
	murmesh_SignedDocument policy;
};

struct authority *authority_free(struct authority *authority)
{
	if (!authority)
		return NULL;
	key_free(authority->intermediate_key);
	key_free(authority->grant_key);
	certificate_free(authority->root);
	certificate_free(authority->intermediate);
	return mem_free(authority);
}

static int path_of(const struct authority *authority, const char *name, char path[4096])
{
	return file_path(path, 4096, authority->directory, name);
}

static int read_into(const struct authority *authority, const char *name, struct buf *out)
{
	char path[4096];
	int err = path_of(authority, name, path);
	return err < 0 ? err : file_read(path, out);
}

static int write_from(const struct authority *authority, const char *name, struct buf *bytes, unsigned mode)
{
	char path[4096];
	int err = path_of(authority, name, path);
	return err < 0 ? err : file_write(path, buf_head(bytes), buf_len(bytes), mode);
}

static int key_load(const struct authority *authority, const char *name, struct key **ret)
{
	struct buf pem;
	buf_init(&pem, FILE_MAX);
	int err = read_into(authority, name, &pem);
	if (err == 0)
		err = key_private_read(buf_str(&pem), ret);
	buf_wipe(&pem);
	return err;
}

static int key_make(const struct authority *authority, const char *name, struct key **ret)
{
	struct buf pem;
	buf_init(&pem, FILE_MAX);
	*ret = key_generate();
	int err = *ret ? key_private_write(*ret, &pem) : -E_NO_MEMORY;
	if (err == 0)
		err = write_from(authority, name, &pem, 0600);
	buf_wipe(&pem);
	return err;
}

static int certificate_load(const struct authority *authority, const char *name, struct certificate **ret)
{
	struct buf pem;
	buf_init(&pem, FILE_MAX);
	int err = read_into(authority, name, &pem);
	int n = err == 0 ? certificate_read_pem(buf_str(&pem), ret, 1) : err;
	buf_done(&pem);
	return n < 0 ? n : n == 1 ? 0 : -E_CHECKSUM;
}

static int certificate_keep(const struct authority *authority, const char *name, const struct certificate *certificate)
{
	struct buf pem;
	buf_init(&pem, FILE_MAX);
	int err = certificate_write_pem(certificate, &pem);
	if (err == 0)
		err = write_from(authority, name, &pem, 0644);
	buf_done(&pem);
	return err;
}

static int make_policy(struct authority *authority, const struct key *root_key)
{
	murmesh_Policy policy = murmesh_Policy_init_zero;
	struct buf bytes;
	size_t len;
	memcpy(policy.mesh, authority->mesh.bytes, sizeof policy.mesh);
	policy.version = 1;
	str_copy(STR("server"), policy.mode, sizeof policy.mode);
	int err = key_public_write(authority->grant_key, policy.grant_key.bytes, &len);
	if (err < 0)
		return err;
	policy.grant_key.size = (pb_size_t)len;
	murmesh_SignedDocument *signed_policy = &authority->policy;
	pb_ostream_t out = pb_ostream_from_buffer(signed_policy->document.bytes, sizeof signed_policy->document.bytes);
	if (!pb_encode(&out, murmesh_Policy_fields, &policy))
		return -E_INTERNAL;
	signed_policy->document.size = (pb_size_t)out.bytes_written;
	err = key_sign(root_key, CONTEXT_POLICY, signed_policy->document.bytes, out.bytes_written, signed_policy->signature.bytes,
	               &len);
	if (err < 0)
		return err;
	signed_policy->signature.size = (pb_size_t)len;
	buf_init(&bytes, FILE_MAX);
	err = buf_append_be16(&bytes, signed_policy->document.size);
	if (err == 0)
		err = buf_append(&bytes, signed_policy->document.bytes, signed_policy->document.size);
	if (err == 0)
		err = buf_append(&bytes, signed_policy->signature.bytes, signed_policy->signature.size);
	if (err == 0)
		err = write_from(authority, "policy", &bytes, 0644);
	buf_done(&bytes);
	return err;
}

static int load_policy(struct authority *authority)
{
	struct buf bytes;
	uint16_t len;
	const uint8_t *document;
	buf_init(&bytes, FILE_MAX);
	int err = read_into(authority, "policy", &bytes);
	struct reader r = { buf_head(&bytes), buf_len(&bytes) };
	if (err == 0 && (reader_be16(&r, &len) < 0 || reader_bytes(&r, len, &document) < 0 ||
	                 len > sizeof authority->policy.document.bytes || r.len > sizeof authority->policy.signature.bytes))
		err = -E_CHECKSUM;
	if (err == 0) {
		authority->policy.document.size = len;
		memcpy(authority->policy.document.bytes, document, len);
		authority->policy.signature.size = (pb_size_t)r.len;
		memcpy(authority->policy.signature.bytes, r.ptr, r.len);
	}
	buf_done(&bytes);
	return err;
}

static int issue_authority(enum certificate_profile profile, const char *name, const struct id *mesh, const struct key *subject,
                           const struct certificate *issuer, const struct key *issuer_key, struct certificate **ret)
{
	char common_name[64], mesh_text[ID_TEXT_SIZE];
	id_format(mesh, mesh_text);
	snprintf(common_name, sizeof common_name, "%s %.8s", name, mesh_text);
	const struct certificate_order order = { .profile = profile,
		                                 .identity = { .mesh = *mesh },
		                                 .common_name = str_from(common_name),
		                                 .not_before = clock_wall_s() - 3600,
		                                 .not_after = clock_wall_s() + (profile == CERTIFICATE_ROOT ? 20 : 5) * YEAR_S };
	return certificate_issue(&order, subject, issuer, issuer_key, ret);
}

/* Everything anew, the file "mesh" last: it says that the rest is complete. */
static int create(struct authority *authority)
{
	struct key *root_key = NULL;
	struct buf id;
	char text[ID_TEXT_SIZE];
	random_id(&authority->mesh);
	int err = key_make(authority, "root.key", &root_key);
	if (err == 0)
		err = key_make(authority, "intermediate.key", &authority->intermediate_key);
	if (err == 0)
		err = key_make(authority, "grant.key", &authority->grant_key);
	if (err == 0)
		err = issue_authority(CERTIFICATE_ROOT, "murmesh root", &authority->mesh, root_key, NULL, root_key,
		                      &authority->root);
	if (err == 0)
		err = issue_authority(CERTIFICATE_INTERMEDIATE, "murmesh intermediate", &authority->mesh,
		                      authority->intermediate_key, authority->root, root_key, &authority->intermediate);
	if (err == 0)
		err = certificate_keep(authority, "root.crt", authority->root);
	if (err == 0)
		err = certificate_keep(authority, "intermediate.crt", authority->intermediate);
	if (err == 0)
		err = make_policy(authority, root_key);
	key_free(root_key);
	buf_init(&id, sizeof text);
	id_format(&authority->mesh, text);
	if (err == 0)
		err = buf_append_str(&id, str_from(text));
	if (err == 0)
		err = write_from(authority, "mesh", &id, 0644);
	buf_done(&id);
	return err;
}

/* Do certificates that it issues verify?  At a moment that does not depend on this machine's clock. */
static int check_chain(const struct authority *authority)
{
	struct certificate_info info;
	struct certificate *leaf;
	struct identity identity;
	int err = certificate_inspect(authority->intermediate, &info);
	const struct certificate_order order = { .profile = CERTIFICATE_LEAF,
		                                 .identity = { authority->mesh, IDENTITY_COMPONENT, authority->mesh },
		                                 .common_name = STR("check"),
		                                 .not_before = info.not_before,
		                                 .not_after = info.not_before + 60 };
	if (err == 0)
		err = certificate_issue(&order, authority->intermediate_key, authority->intermediate, authority->intermediate_key,
		                        &leaf);
	if (err < 0)
		return err;
	err = certificate_verify(leaf, authority->intermediate, authority->root, &authority->mesh, 1u << IDENTITY_COMPONENT,
	                         info.not_before, &identity);
	certificate_free(leaf);
	return err < 0 ? -E_CHECKSUM : 0;
}

/* Is the policy the root's, for this mesh, with this grant key? */
static int check_policy(const struct authority *authority)
{
	const murmesh_SignedDocument *document = &authority->policy;
	murmesh_Policy policy;
	uint8_t grant_key[KEY_PUBLIC_MAX];
	size_t len;
	struct key *root_key = certificate_key(authority->root);
	int err = root_key ? key_public_write(authority->grant_key, grant_key, &len) : -E_NO_MEMORY;
	if (err == 0)
		err = key_verify(root_key, CONTEXT_POLICY, document->document.bytes, document->document.size,
		                 document->signature.bytes, document->signature.size);
	key_free(root_key);
	if (err < 0)
		return err == -E_SIGNATURE ? -E_CHECKSUM : err;
	pb_istream_t in = pb_istream_from_buffer(document->document.bytes, document->document.size);
	bool ours = pb_decode(&in, murmesh_Policy_fields, &policy) &&
	            memcmp(policy.mesh, authority->mesh.bytes, sizeof policy.mesh) == 0 && policy.grant_key.size == len &&
	            memcmp(policy.grant_key.bytes, grant_key, len) == 0;
	return ours ? 0 : -E_CHECKSUM;
}

static int load(struct authority *authority)
{
	int err = key_load(authority, "intermediate.key", &authority->intermediate_key);
	if (err == 0)
		err = key_load(authority, "grant.key", &authority->grant_key);
	if (err == 0)
		err = certificate_load(authority, "root.crt", &authority->root);
	if (err == 0)
		err = certificate_load(authority, "intermediate.crt", &authority->intermediate);
	if (err == 0)
		err = load_policy(authority);
	if (err == 0)
		err = check_chain(authority);
	return err < 0 ? err : check_policy(authority);
}

int authority_open(const char *directory, struct authority **ret, bool *ret_created)
{
	struct authority *authority = mem_alloc(sizeof *authority);
	struct buf id;
	if (!authority)
		return -E_NO_MEMORY;
	buf_init(&id, ID_TEXT_SIZE);
	int err = str_copy(str_from(directory), authority->directory, sizeof authority->directory);
	if (err == 0)
		err = read_into(authority, "mesh", &id);
	*ret_created = err == -ENOENT;
	if (err == -ENOENT)
		err = create(authority);
	else if (err == 0) {
		err = id_parse(buf_str(&id), &authority->mesh) < 0 ? -E_CHECKSUM : 0;
		if (err == 0)
			err = load(authority);
	}
	buf_done(&id);
	if (err < 0)
		authority_free(authority);
	else
		*ret = authority;
	return err;
}

const struct id *authority_mesh(const struct authority *authority)
{
	return &authority->mesh;
}

const struct certificate *authority_root(const struct authority *authority)
{
	return authority->root;
}

const struct certificate *authority_intermediate(const struct authority *authority)
{
	return authority->intermediate;
}

const murmesh_SignedDocument *authority_policy(const struct authority *authority)
{
	return &authority->policy;
}

static bool times_allowed(const struct certificate_order *order, int64_t now)
{
	int64_t life = order->identity.kind == IDENTITY_USER ? AUTHORITY_USER_S : AUTHORITY_LEAF_S;
	return order->not_after <= now + life + SLACK_S && order->not_before >= now - 3600;
}

int authority_issue(const struct authority *authority, const struct certificate_order *order, const uint8_t *key, size_t key_len,
                    struct certificate **ret)
{
	struct key *subject;
	if (!times_allowed(order, clock_wall_s()))
		return -E_DENIED;
	int err = key_public_read(key, key_len, &subject);
	if (err < 0)
		return err;
	err = certificate_issue(order, subject, authority->intermediate, authority->intermediate_key, ret);
	key_free(subject);
	return err;
}

int authority_sign(const struct authority *authority, enum authority_purpose purpose, const void *bytes, size_t len,
                   uint8_t out[KEY_SIGNATURE_MAX], size_t *ret_len)
{
	switch (purpose) {
	case AUTHORITY_GRANT:
		return key_sign(authority->grant_key, CONTEXT_GRANT, bytes, len, out, ret_len);
	case AUTHORITY_ORDER:
		return key_sign(authority->grant_key, CONTEXT_ORDER, bytes, len, out, ret_len);
	}
	return -E_DENIED;
}
