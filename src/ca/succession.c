#include "ca/succession.h"

#include <errno.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "ca/chain.h"
#include "ca/folder.h"
#include "ca/policy.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/random.h"

#define NEXT   "next-"
#define SWITCH "switch"

/* In the order in which they take their places; "mesh" says that all is there. */
static const char *const files[] = {
	"former.crt", "root.crt", "intermediate.key", "intermediate.crt", "grant.key", "policy", "mesh"
};

static void next_of(const char *name, char out[64])
{
	snprintf(out, 64, NEXT "%s", name);
}

static int forget(const char *directory, const char *name)
{
	char path[4096];
	int err = file_path(path, sizeof path, directory, name);
	return err < 0 ? err : unlink(path) < 0 && errno != ENOENT ? -errno : 0;
}

/* ---- the server asks ---- */

static int key_take(const char *directory, const char *name, struct key **ret)
{
	int err = folder_key_read(directory, name, ret);
	return err == -ENOENT ? folder_key_make(directory, name, ret) : err;
}

static int csr_write(const struct key *key, murmesh_CaRequest *ret)
{
	struct buf csr;
	buf_init(&csr, sizeof ret->csr.bytes);
	int err = certificate_request_write(key, &csr);
	if (err == 0) {
		memcpy(ret->csr.bytes, buf_head(&csr), buf_len(&csr));
		ret->csr.size = (pb_size_t)buf_len(&csr);
	}
	buf_done(&csr);
	return err;
}

static int root_write(const char *directory, murmesh_CaRequest *ret)
{
	struct certificate *root = NULL;
	int err = folder_certificate_read(directory, "root.crt", &root);
	if (err == 0)
		err = certificate_put(root, ret->root.bytes, sizeof ret->root.bytes, &ret->root.size);
	certificate_free(root);
	return err;
}

/* The mesh that is here, or the one that is proposed. */
static int mesh_take(const char *directory, bool *ret_new, murmesh_CaRequest *ret)
{
	struct id mesh;
	int err = folder_id_read(directory, "mesh", &mesh);
	*ret_new = err == -ENOENT;
	if (err == -ENOENT)
		err = folder_id_read(directory, NEXT "mesh", &mesh);
	if (err == -ENOENT) {
		random_id(&mesh);
		err = folder_id_write(directory, NEXT "mesh", &mesh);
	}
	if (err == 0)
		memcpy(ret->mesh, mesh.bytes, sizeof ret->mesh);
	return err < 0 || *ret_new ? err : root_write(directory, ret);
}

/* With that grant key: the first one, or the next after the one that is here. */
static int policy_next(const char *directory, const struct key *grant_key, murmesh_CaRequest *ret)
{
	static murmesh_SignedDocument document;
	static murmesh_Policy policy;
	size_t len;
	int err = folder_policy_read(directory, &document);
	if (err == 0)
		err = policy_decode(&document, &policy);
	else if (err == -ENOENT) {
		policy = (murmesh_Policy)murmesh_Policy_init_zero;
		str_copy(STR("server"), policy.mode, sizeof policy.mode);
		err = 0;
	}
	if (err == 0)
		err = key_public_write(grant_key, policy.grant_key.bytes, &len);
	if (err < 0)
		return err;
	policy.grant_key.size = (pb_size_t)len;
	policy.version++;
	memcpy(policy.mesh, ret->mesh, sizeof policy.mesh);
	ret->has_policy = true;
	return policy_encode(&policy, &ret->policy);
}

int succession_request(const char *directory, bool grant_key, murmesh_CaRequest *ret)
{
	struct key *intermediate = NULL, *grant = NULL;
	bool new;
	*ret = (murmesh_CaRequest)murmesh_CaRequest_init_zero;
	int err = succession_finish(directory);
	if (err == 0)
		err = key_take(directory, SUCCESSION_INTERMEDIATE, &intermediate);
	if (err == 0)
		err = csr_write(intermediate, ret);
	if (err == 0)
		err = mesh_take(directory, &new, ret);
	if (err == 0 && (grant_key || new)) {
		err = key_take(directory, NEXT "grant.key", &grant);
		if (err == 0)
			err = policy_next(directory, grant, ret);
	}
	key_free(intermediate);
	key_free(grant);
	return err;
}

/* ---- the root answers ---- */

static int intermediate_sign(const murmesh_CaRequest *request, const struct key *root_key, const struct certificate *root,
                             murmesh_CaAnswer *ret)
{
	struct certificate *intermediate = NULL;
	struct key *subject = NULL;
	struct id mesh;
	uint8_t public[KEY_PUBLIC_MAX];
	size_t len;
	memcpy(mesh.bytes, ret->mesh, sizeof mesh.bytes);
	int err = certificate_request_read(request->csr.bytes, request->csr.size, public, &len);
	if (err == 0)
		err = key_public_read(public, len, &subject);
	if (err == 0)
		err = chain_intermediate_make(&mesh, subject, root, root_key, &intermediate);
	if (err == 0)
		err = certificate_put(intermediate, ret->intermediate.bytes, sizeof ret->intermediate.bytes,
		                      &ret->intermediate.size);
	certificate_free(intermediate);
	key_free(subject);
	return err == -E_INTERNAL ? -E_CA_ROOT : err;
}

int succession_answer(const murmesh_CaRequest *request, const struct key *root_key, const struct certificate *root,
                      murmesh_CaAnswer *ret)
{
	static murmesh_Policy policy;
	*ret = (murmesh_CaAnswer){ .has_policy = request->has_policy };
	memcpy(ret->mesh, request->mesh, sizeof ret->mesh);
	int err = certificate_put(root, ret->root.bytes, sizeof ret->root.bytes, &ret->root.size);
	if (err == 0)
		err = intermediate_sign(request, root_key, root, ret);
	if (err < 0 || !request->has_policy)
		return err;
	err = policy_decode(&request->policy, &policy);
	if (err == 0 && memcmp(policy.mesh, request->mesh, sizeof policy.mesh) != 0)
		err = -E_CERTIFICATE_FOREIGN;
	return err < 0 ? err : policy_sign(root_key, &policy, &ret->policy);
}

/* ---- and the server puts it in place ---- */

struct parts {
	struct id mesh;
	struct certificate *root, *intermediate;
	struct key *intermediate_key, *grant_key; /* grant_key: the next; NULL = it stays */
};

static void parts_done(struct parts *parts)
{
	certificate_free(parts->root);
	certificate_free(parts->intermediate);
	key_free(parts->intermediate_key);
	key_free(parts->grant_key);
}

static bool same_key(const struct certificate *a, const struct certificate *b)
{
	struct certificate_info info_a, info_b;
	return certificate_inspect(a, &info_a) == 0 && certificate_inspect(b, &info_b) == 0 &&
	       hash_equal(info_a.key_hash, info_b.key_hash);
}

/* Of the mesh and under the root that are here, if any are. */
static int root_check(const char *directory, const struct parts *parts)
{
	struct certificate *root = NULL;
	struct id mesh;
	int err = folder_id_read(directory, "mesh", &mesh);
	if (err == -ENOENT)
		return 0;
	if (err == 0)
		err = folder_certificate_read(directory, "root.crt", &root);
	if (err == 0 && (!id_equal(&mesh, &parts->mesh) || !same_key(root, parts->root)))
		err = -E_CA_ANSWER;
	certificate_free(root);
	return err;
}

/* The policy that is here, whether or not the rest is; 0 = none. */
static int version_here(const char *directory, uint64_t *ret)
{
	static murmesh_SignedDocument document;
	static murmesh_Policy policy;
	int err = folder_policy_read(directory, &document);
	*ret = 0;
	if (err == 0)
		err = policy_decode(&document, &policy);
	if (err == 0)
		*ret = policy.version;
	return err == -ENOENT ? 0 : err;
}

/* It names a grant key of which the private half is here: the next one, or the one in use. */
static int grant_key_find(const char *directory, const murmesh_Policy *policy, struct parts *parts)
{
	static const char *const names[] = { NEXT "grant.key", "grant.key" };
	uint8_t public[KEY_PUBLIC_MAX];
	size_t len;
	for (size_t i = 0; i < 2; i++) {
		struct key *key = NULL;
		int err = folder_key_read(directory, names[i], &key);
		if (err == 0)
			err = key_public_write(key, public, &len);
		bool is = err == 0 && len == policy->grant_key.size && memcmp(public, policy->grant_key.bytes, len) == 0;
		if (is && i == 0)
			parts->grant_key = key;
		else
			key_free(key);
		if (is || (err < 0 && err != -ENOENT))
			return err;
	}
	return -E_CA_ANSWER;
}

static int policy_fits(const char *directory, const murmesh_CaAnswer *answer, struct parts *parts)
{
	static murmesh_Policy policy;
	uint64_t version;
	int err = version_here(directory, &version);
	if (err < 0 || !answer->has_policy)
		return err < 0 ? err : version ? 0 : -E_CA_ANSWER;
	err = policy_open(parts->root, &answer->policy, &policy);
	if (err == 0 && memcmp(policy.mesh, answer->mesh, sizeof policy.mesh) != 0)
		err = -E_CA_ANSWER;
	if (err == 0 && policy.version <= version)
		err = -E_POLICY_OLD;
	return err < 0 ? err : grant_key_find(directory, &policy, parts);
}

static int parts_read(const char *directory, const murmesh_CaAnswer *answer, struct parts *parts)
{
	memcpy(parts->mesh.bytes, answer->mesh, sizeof parts->mesh.bytes);
	int err = certificate_read(answer->root.bytes, answer->root.size, &parts->root);
	if (err == 0)
		err = certificate_read(answer->intermediate.bytes, answer->intermediate.size, &parts->intermediate);
	if (err < 0)
		return -E_CA_ANSWER;
	err = folder_key_read(directory, SUCCESSION_INTERMEDIATE, &parts->intermediate_key);
	if (err == 0)
		err = chain_check(&parts->mesh, parts->root, parts->intermediate, parts->intermediate_key);
	if (err == -E_CHECKSUM || err == -E_CERTIFICATE || err == -ENOENT) /* for another request, or another root's */
		return -E_CA_ANSWER;
	if (err == 0)
		err = root_check(directory, parts);
	if (err == 0)
		err = policy_fits(directory, answer, parts);
	return err;
}

/* A certification manager that begins, of a mesh that does not: what the answer says came before. */
static int formers_adopt(const char *directory, const murmesh_CaAnswer *answer, const struct certificate *root)
{
	struct certificate *formers[sizeof answer->former / sizeof *answer->former];
	size_t n = 0;
	int err = 0;
	for (; err == 0 && n < answer->former_count; n += err == 0)
		err = certificate_read(answer->former[n].bytes, answer->former[n].size, &formers[n]);
	for (size_t i = 0; err == 0 && i < n; i++)
		err = certificate_check_intermediate(formers[i], root);
	if (err < 0)
		err = -E_CA_ANSWER;
	else
		err = n ? folder_formers_adopt(directory, NEXT "former.crt", formers, n) : forget(directory, NEXT "former.crt");
	for (size_t i = 0; i < n; i++)
		certificate_free(formers[i]);
	return err;
}

static int next_write(const char *directory, const murmesh_CaAnswer *answer, const struct parts *parts)
{
	int err = parts->grant_key ? 0 : forget(directory, NEXT "grant.key"); /* of a request that is given up */
	int follows = err == 0 ? folder_has(directory, "intermediate.crt") : err;
	if (err == 0)
		err = follows < 0 ? follows
		      : follows   ? folder_formers_write(directory, NEXT "former.crt")
		                  : formers_adopt(directory, answer, parts->root);
	if (err == 0)
		err = folder_certificate_write(directory, NEXT "root.crt", parts->root);
	if (err == 0)
		err = folder_certificate_write(directory, NEXT "intermediate.crt", parts->intermediate);
	if (err == 0)
		err = answer->has_policy ? folder_policy_write(directory, NEXT "policy", &answer->policy)
		                         : forget(directory, NEXT "policy");
	return err < 0 ? err : folder_id_write(directory, NEXT "mesh", &parts->mesh);
}

int succession_install(const char *directory, const murmesh_CaAnswer *answer)
{
	struct parts parts = { 0 };
	int err = succession_finish(directory);
	if (err == 0)
		err = parts_read(directory, answer, &parts);
	if (err == 0)
		err = next_write(directory, answer, &parts);
	if (err == 0)
		err = folder_write(directory, SWITCH, "", 0, 0600);
	parts_done(&parts);
	return err < 0 ? err : succession_finish(directory);
}

static int take_place(const char *directory, const char *name)
{
	char next[64], from[4096], to[4096];
	next_of(name, next);
	int err = folder_has(directory, next);
	if (err <= 0)
		return err;
	err = file_path(from, sizeof from, directory, next);
	if (err == 0)
		err = file_path(to, sizeof to, directory, name);
	return err < 0 ? err : file_rename(from, to);
}

int succession_finish(const char *directory)
{
	int err = folder_has(directory, SWITCH);
	if (err <= 0)
		return err;
	for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
		err = take_place(directory, files[i]);
		if (err < 0)
			return err;
	}
	return forget(directory, SWITCH);
}

int succession_check(const char *directory, const char *copies)
{
	int has = folder_has(directory, "mesh"), waits = has == 0 ? folder_has(directory, SUCCESSION_INTERMEDIATE) : 0;
	if (has || waits) /* a switch that was interrupted has both */
		return has < 0 ? has : waits < 0 ? waits : waits && folder_has(directory, SWITCH) == 0 ? -E_CA_WAITING : 0;
	int lost = folder_has(copies, "policy");
	return lost < 0 ? lost : lost ? -E_CA_LOST : 0;
}
