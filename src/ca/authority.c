#include "ca/authority.h"

#include <errno.h>

#include "base/err.h"
#include "base/mem.h"
#include "ca/chain.h"
#include "ca/folder.h"
#include "ca/policy.h"
#include "ca/succession.h"
#include "os/clock.h"
#include "os/random.h"

#define SLACK_S 60 /* between the order and its execution */

struct authority {
	char directory[4096];
	struct id mesh;
	struct key *intermediate_key, *grant_key;
	struct certificate *root, *intermediate;
	struct certificate *formers[FORMERS_MAX];
	size_t n_formers;
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
	for (size_t i = 0; i < authority->n_formers; i++)
		certificate_free(authority->formers[i]);
	return mem_free(authority);
}

static int make_policy(struct authority *authority, const struct key *root_key)
{
	murmesh_Policy policy = murmesh_Policy_init_zero;
	size_t len;
	memcpy(policy.mesh, authority->mesh.bytes, sizeof policy.mesh);
	policy.version = 1;
	str_copy(STR("server"), policy.mode, sizeof policy.mode);
	int err = key_public_write(authority->grant_key, policy.grant_key.bytes, &len);
	if (err < 0)
		return err;
	policy.grant_key.size = (pb_size_t)len;
	err = policy_sign(root_key, &policy, &authority->policy);
	return err < 0 ? err : folder_policy_write(authority->directory, "policy", &authority->policy);
}

/* Everything anew, the file "mesh" last: it says that the rest is complete. */
static int create(struct authority *authority)
{
	const char *directory = authority->directory;
	struct key *root_key = NULL;
	random_id(&authority->mesh);
	int err = folder_key_make(directory, "root.key", &root_key);
	if (err == 0)
		err = folder_key_make(directory, "intermediate.key", &authority->intermediate_key);
	if (err == 0)
		err = folder_key_make(directory, "grant.key", &authority->grant_key);
	if (err == 0)
		err = chain_root_make(&authority->mesh, root_key, &authority->root);
	if (err == 0)
		err = chain_intermediate_make(&authority->mesh, authority->intermediate_key, authority->root, root_key,
		                              &authority->intermediate);
	if (err == 0)
		err = folder_certificate_write(directory, "root.crt", authority->root);
	if (err == 0)
		err = folder_certificate_write(directory, "intermediate.crt", authority->intermediate);
	if (err == 0)
		err = make_policy(authority, root_key);
	key_free(root_key);
	return err < 0 ? err : folder_id_write(directory, "mesh", &authority->mesh);
}

/* Is the policy the root's, for this mesh, with this grant key? */
static int check_policy(const struct authority *authority)
{
	murmesh_Policy policy;
	uint8_t grant_key[KEY_PUBLIC_MAX];
	size_t len;
	int err = key_public_write(authority->grant_key, grant_key, &len);
	if (err == 0)
		err = policy_open(authority->root, &authority->policy, &policy);
	if (err < 0)
		return err == -E_SIGNATURE || err == -E_MESSAGE ? -E_CHECKSUM : err;
	bool ours = memcmp(policy.mesh, authority->mesh.bytes, sizeof policy.mesh) == 0 && policy.grant_key.size == len &&
	            memcmp(policy.grant_key.bytes, grant_key, len) == 0;
	return ours ? 0 : -E_CHECKSUM;
}

static int load_formers(struct authority *authority)
{
	int n = folder_formers_read(authority->directory, authority->formers);
	authority->n_formers = n < 0 ? 0 : (size_t)n;
	return n < 0 ? n : 0;
}

static int load(struct authority *authority)
{
	const char *directory = authority->directory;
	int err = folder_key_read(directory, "intermediate.key", &authority->intermediate_key);
	if (err == 0)
		err = folder_key_read(directory, "grant.key", &authority->grant_key);
	if (err == 0)
		err = folder_certificate_read(directory, "root.crt", &authority->root);
	if (err == 0)
		err = folder_certificate_read(directory, "intermediate.crt", &authority->intermediate);
	if (err == 0)
		err = load_formers(authority);
	if (err == 0)
		err = folder_policy_read(directory, &authority->policy);
	if (err == 0)
		err = chain_check(&authority->mesh, authority->root, authority->intermediate, authority->intermediate_key);
	return err < 0 ? err : check_policy(authority);
}

int authority_open(const char *directory, struct authority **ret, bool *ret_created)
{
	struct authority *authority = mem_alloc(sizeof *authority);
	if (!authority)
		return -E_NO_MEMORY;
	int err = str_copy(str_from(directory), authority->directory, sizeof authority->directory);
	if (err == 0)
		err = succession_finish(directory);
	if (err == 0)
		err = folder_id_read(directory, "mesh", &authority->mesh);
	int waits = err == -ENOENT ? folder_has(directory, SUCCESSION_INTERMEDIATE) : 0;
	*ret_created = err == -ENOENT && !waits;
	if (waits)
		err = waits < 0 ? waits : -E_CA_WAITING; /* no other mesh in place of the one that is on its way */
	else if (err == -ENOENT)
		err = create(authority);
	else if (err == 0)
		err = load(authority);
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

size_t authority_formers(const struct authority *authority, const struct certificate *const **ret)
{
	*ret = (const struct certificate *const *)authority->formers;
	return authority->n_formers;
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
	case AUTHORITY_TIME:
		return key_sign(authority->grant_key, CONTEXT_TIME, bytes, len, out, ret_len);
	case AUTHORITY_MOVE:
		return key_sign(authority->grant_key, CONTEXT_MOVE, bytes, len, out, ret_len);
	case AUTHORITY_RELAY:
		return key_sign(authority->grant_key, CONTEXT_RELAY, bytes, len, out, ret_len);
	case AUTHORITY_RELAYS_ENDED:
		return key_sign(authority->grant_key, CONTEXT_ENDED, bytes, len, out, ret_len);
	}
	return -E_DENIED;
}
