/* What brings a mesh back when its certification manager is lost: a file, and the code that opens it.
 *
 * The code is 32 random bytes, not a passphrase of somebody's: the file alone tells nothing to whoever finds it, however long he tries, and it is
 * short enough for a sheet of paper, while what it opens (keys, certificates, policy) is not. */
#include <errno.h>
#include <pb_decode.h>
#include <pb_encode.h>

#include "base/buf.h"
#include "base/encode.h"
#include "base/err.h"
#include "base/mem.h"
#include "ca/folder.h"
#include "ca/policy.h"
#include "ca/succession.h"
#include "cli/ca.h"
#include "cli/json_file.h"
#include "crypto/seal.h"
#include "os/ask.h"
#include "os/file.h"
#include "os/random.h"

#define KIND         "ca recovery"
#define CONTEXT      STR("murmesh recovery 1")
#define CODE_BEGINS  "MR1-"
#define CODE_SIZE    (sizeof CODE_BEGINS + BASE32_SIZE(SEAL_KEY_SIZE))
#define PLAIN_MAX    ((size_t)38 << 10)
#define VERSION_STEP 1000 /* policies may have been made that neither file nor copy knows of */

static void recovery_wipe(murmesh_CaRecovery *recovery)
{
	mem_wipe(recovery, sizeof *recovery);
}

static int fail(int err, const char *what, const char *path)
{
	return cli_fail(err == -E_JSON || err == -E_MESSAGE ? -E_CA_FILE : err, "%s %s", what, path);
}

/* ---- making it ---- */

static int former_write(const struct certificate *certificate, murmesh_CaRecovery *ret)
{
	__typeof__(ret->former[0]) *former = &ret->former[ret->former_count++];
	return certificate_put(certificate, former->bytes, sizeof former->bytes, &former->size);
}

static int formers_collect(const char *directory, murmesh_CaRecovery *ret)
{
	struct certificate *formers[FORMERS_MAX], *intermediate = NULL;
	int n = folder_formers_read(directory, formers);
	int err = n < 0 ? n : folder_certificate_read(directory, "intermediate.crt", &intermediate);
	for (int i = 0; i < n; i++) {
		if (err == 0)
			err = former_write(formers[i], ret);
		certificate_free(formers[i]);
	}
	if (err == 0)
		err = former_write(intermediate, ret);
	certificate_free(intermediate);
	return err;
}

static int root_key_collect(const char *folder, const struct certificate *root, murmesh_CaRecovery *ret)
{
	struct key *key = NULL;
	struct buf pem;
	struct certificate_info info;
	uint8_t hash[HASH_SIZE];
	buf_init(&pem, sizeof ret->root_key.bytes);
	int err = folder_key_read(folder, "root.key", &key);
	if (err == -ENOENT)
		err = -E_NO_ROOT_KEY;
	if (err == 0)
		err = key_public_hash(key, hash);
	if (err == 0)
		err = certificate_inspect(root, &info);
	if (err == 0 && !hash_equal(hash, info.key_hash))
		err = -E_CA_ROOT;
	if (err == 0)
		err = key_private_write(key, &pem);
	if (err == 0) {
		memcpy(ret->root_key.bytes, buf_head(&pem), buf_len(&pem));
		ret->root_key.size = (pb_size_t)buf_len(&pem);
	}
	buf_wipe(&pem);
	key_free(key);
	return err;
}

static int collect(const char *directory, const char *root_folder, murmesh_CaRecovery *ret)
{
	struct certificate *root = NULL;
	struct id mesh;
	int err = folder_certificate_read(directory, "root.crt", &root);
	if (err == 0)
		err = root_key_collect(root_folder, root, ret);
	if (err == 0)
		err = certificate_put(root, ret->root.bytes, sizeof ret->root.bytes, &ret->root.size);
	if (err == 0)
		err = folder_id_read(directory, "mesh", &mesh);
	if (err == 0)
		err = folder_policy_read(directory, &ret->policy);
	if (err == 0)
		err = formers_collect(directory, ret);
	if (err == 0) {
		ret->has_policy = true;
		memcpy(ret->mesh, mesh.bytes, sizeof ret->mesh);
	}
	certificate_free(root);
	return err;
}

static int sealed_write(const char *path, const murmesh_CaRecovery *recovery, const uint8_t key[SEAL_KEY_SIZE])
{
	static uint8_t plain[PLAIN_MAX];
	struct buf sealed;
	json_t *file = json_object();
	pb_ostream_t out = pb_ostream_from_buffer(plain, sizeof plain);
	buf_init(&sealed, PLAIN_MAX + SEAL_OVERHEAD);
	int err = pb_encode(&out, murmesh_CaRecovery_fields, recovery)
	                  ? seal_make(key, CONTEXT, (struct str){ (const char *)plain, out.bytes_written }, &sealed)
	                  : -E_TOO_LONG;
	mem_wipe(plain, sizeof plain);
	if (err == 0)
		err = json_bytes_set(file, "sealed", buf_head(&sealed), buf_len(&sealed));
	if (err == 0)
		err = json_file_write(path, KIND, file);
	json_decref(file);
	buf_done(&sealed);
	return err;
}

static int code_print(const struct cli *cli, const uint8_t code[SEAL_KEY_SIZE], const char *path)
{
	char text[CODE_SIZE];
	memcpy(text, CODE_BEGINS, sizeof CODE_BEGINS);
	base32_encode(code, SEAL_KEY_SIZE, text + sizeof CODE_BEGINS - 1);
	if (cli_format(cli) >= CLI_JSON)
		return cli_json_line(cli, json_pack("{s:s, s:s}", "code", text, "file", path)) < 0;
	fprintf(cli->out, "%s\n", text);
	cli_note(cli,
	         "this code opens %s, and is shown this once: keep it on paper, the file elsewhere, and neither on this machine; "
	         "both together are "
	         "the mesh root's key",
	         path);
	return CLI_OK;
}

int ca_recovery(const struct cli *cli)
{
	static murmesh_CaRecovery recovery;
	char directory[4096];
	uint8_t code[SEAL_KEY_SIZE], key[SEAL_KEY_SIZE];
	const char *path = cli_text(cli, "out");
	if (!path)
		return cli_fail_because(-E_USAGE, "there is no file to write to", "add --out FILE", "no recovery file was written");
	int err = ca_folder(cli, directory);
	if (err == 0)
		err = collect(directory, cli_given(cli, "root") ? cli_text(cli, "root") : directory, &recovery);
	random_bytes(code, sizeof code);
	hash_hkdf(code, sizeof code, CONTEXT, key);
	if (err == 0)
		err = sealed_write(path, &recovery, key);
	recovery_wipe(&recovery);
	int exit = err == -E_NO_ROOT_KEY
	                   ? cli_fail_because(err, NULL, "add --root DIR, the folder with root.key", "%s was not written", path)
	           : err < 0 ? cli_fail(err, "%s was not written", path)
	                     : code_print(cli, code, path);
	mem_wipe(code, sizeof code);
	mem_wipe(key, sizeof key);
	return exit;
}

/* ---- and using it ---- */

static int code_read(const struct cli *cli, uint8_t ret[SEAL_KEY_SIZE])
{
	struct buf text;
	char typed[CODE_SIZE + 8] = "";
	struct str code, rest;
	int err;
	buf_init(&text, 1024);
	if (cli_given(cli, "code-file")) {
		err = cli_secret_read(cli_text(cli, "code-file"), &text);
		code = str_trim(str_cut(buf_str(&text), '\n', &rest));
	} else {
		err = ask_line("Recovery code: ", true, typed, sizeof typed);
		code = str_trim(str_from(typed));
	}
	if (err == 0 && (!str_starts(code, STR(CODE_BEGINS)) ||
	                 base32_decode(str_skip(code, sizeof CODE_BEGINS - 1), ret, SEAL_KEY_SIZE) != SEAL_KEY_SIZE))
		err = -E_RECOVERY_CODE;
	buf_wipe(&text);
	mem_wipe(typed, sizeof typed);
	return err;
}

static int sealed_read(const char *path, const uint8_t code[SEAL_KEY_SIZE], murmesh_CaRecovery *ret)
{
	static uint8_t sealed[PLAIN_MAX + SEAL_OVERHEAD];
	uint8_t key[SEAL_KEY_SIZE];
	struct buf plain;
	json_t *file = NULL;
	buf_init(&plain, PLAIN_MAX + 1);
	int err = json_file_read(path, KIND, &file);
	ssize_t len = err < 0 ? err : json_bytes_get(file, "sealed", sealed, sizeof sealed);
	json_decref(file);
	hash_hkdf(code, SEAL_KEY_SIZE, CONTEXT, key);
	err = len < 0 ? (int)len : seal_open(key, CONTEXT, (struct str){ (const char *)sealed, (size_t)len }, &plain);
	pb_istream_t in = pb_istream_from_buffer(buf_head(&plain), buf_len(&plain));
	if (err == 0 && !pb_decode(&in, murmesh_CaRecovery_fields, ret))
		err = -E_MESSAGE;
	buf_wipe(&plain);
	mem_wipe(key, sizeof key);
	return err == -E_SIGNATURE ? -E_RECOVERY_CODE : err;
}

struct recovery {
	murmesh_CaRecovery file;
	murmesh_CaRequest request;
	murmesh_CaAnswer answer;
	murmesh_SignedDocument copy; /* of the policy, beside the database */
	murmesh_Policy policy, other;
	struct key *root_key;
	struct certificate *root;
	char ca[4096], db[4096];
};

static int root_take(struct recovery *recovery)
{
	struct certificate_info info;
	uint8_t hash[HASH_SIZE];
	int err = key_private_read((struct str){ (const char *)recovery->file.root_key.bytes, recovery->file.root_key.size },
	                           &recovery->root_key);
	if (err == 0)
		err = certificate_read(recovery->file.root.bytes, recovery->file.root.size, &recovery->root);
	if (err == 0)
		err = key_public_hash(recovery->root_key, hash);
	if (err == 0)
		err = certificate_inspect(recovery->root, &info);
	if (err == 0)
		err = policy_open(recovery->root, &recovery->file.policy, &recovery->policy);
	bool fits = err == 0 && hash_equal(hash, info.key_hash) &&
	            memcmp(recovery->policy.mesh, recovery->file.mesh, sizeof recovery->policy.mesh) == 0;
	return err == -E_NO_MEMORY ? err : fits ? 0 : -E_CA_FILE;
}

/* The newest that is known, of what the root has signed, with the grant key of the request. */
static int policy_make(struct recovery *recovery)
{
	int err = folder_policy_read(recovery->db, &recovery->copy);
	if (err == 0)
		err = policy_open(recovery->root, &recovery->copy, &recovery->other);
	bool newer = err == 0 && recovery->other.version > recovery->policy.version &&
	             memcmp(recovery->other.mesh, recovery->file.mesh, sizeof recovery->other.mesh) == 0;
	if (newer)
		recovery->policy = recovery->other;
	err = policy_decode(&recovery->request.policy, &recovery->other);
	if (err < 0)
		return err;
	recovery->policy.grant_key = recovery->other.grant_key;
	recovery->policy.version += VERSION_STEP;
	return policy_encode(&recovery->policy, &recovery->request.policy);
}

void ca_formers_add(const char *db, const struct certificate *root, murmesh_CaAnswer *answer)
{
	struct certificate *copies[FORMERS_MAX];
	int n = folder_certificates_read(db, "intermediates.crt", copies, FORMERS_MAX);
	for (int i = 0; i < n; i++) {
		__typeof__(answer->former[0]) *former = &answer->former[answer->former_count];
		bool room = answer->former_count < sizeof answer->former / sizeof *answer->former;
		if (room && certificate_check_intermediate(copies[i], root) == 0 &&
		    certificate_put(copies[i], former->bytes, sizeof former->bytes, &former->size) == 0)
			answer->former_count++;
		certificate_free(copies[i]);
	}
}

static int bring_back(struct recovery *recovery)
{
	murmesh_CaAnswer *answer = &recovery->answer;
	int err = root_take(recovery);
	if (err == 0)
		err = file_make_directory(recovery->ca, 0700);
	if (err == 0)
		err = succession_request(recovery->ca, true, &recovery->request);
	if (err < 0)
		return err;
	memcpy(recovery->request.mesh, recovery->file.mesh, sizeof recovery->request.mesh);
	err = policy_make(recovery);
	if (err == 0)
		err = succession_answer(&recovery->request, recovery->root_key, recovery->root, answer);
	if (err < 0)
		return err;
	answer->former_count = recovery->file.former_count;
	for (pb_size_t i = 0; i < recovery->file.former_count; i++) {
		answer->former[i].size = recovery->file.former[i].size;
		memcpy(answer->former[i].bytes, recovery->file.former[i].bytes, recovery->file.former[i].size);
	}
	ca_formers_add(recovery->db, recovery->root, answer);
	return succession_install(recovery->ca, answer);
}

/* For policies to come; not into the server's folder by itself. */
static int root_write(const char *folder, const struct recovery *recovery)
{
	struct id mesh;
	memcpy(mesh.bytes, recovery->file.mesh, sizeof mesh.bytes);
	int err = file_make_directory(folder, 0700);
	if (err == 0)
		err = folder_write(folder, "root.key", recovery->file.root_key.bytes, recovery->file.root_key.size, 0600);
	if (err == 0)
		err = folder_certificate_write(folder, "root.crt", recovery->root);
	if (err == 0)
		err = folder_policy_write(folder, "policy", &recovery->answer.policy);
	return err < 0 ? err : folder_id_write(folder, "mesh", &mesh);
}

static int recover(const struct cli *cli, struct recovery *recovery, const uint8_t code[SEAL_KEY_SIZE])
{
	const char *path = cli->operands[1];
	int err = folder_has(recovery->ca, "mesh");
	if (err == 1)
		return cli_fail_because(-E_EXISTS, "there is a certification manager", "see it with `murmesh ca show`",
		                        "nothing was changed in %s", recovery->ca);
	if (err == 0)
		err = sealed_read(path, code, &recovery->file);
	if (err == 0)
		err = bring_back(recovery);
	if (err < 0)
		return fail(err, "nothing was brought back from", path);
	if (cli_given(cli, "root"))
		err = root_write(cli_text(cli, "root"), recovery);
	if (err < 0)
		return fail(err, "the certification manager is back, but the mesh root's key was not written to",
		            cli_text(cli, "root"));
	return ca_reload(cli, "the certification manager is back, with new keys");
}

int ca_recover(const struct cli *cli)
{
	static struct recovery recovery;
	char directory[4096];
	uint8_t code[SEAL_KEY_SIZE];
	if (!cli_given(cli, "code-file") && !ask_possible())
		return cli_fail_because(-E_USAGE, "there is no terminal to ask at", "add --code-file FILE, or - for standard input",
		                        "no recovery code is given");
	int err = code_read(cli, code);
	if (err == 0)
		err = cli_directory(cli, directory, sizeof directory);
	if (err == 0)
		err = file_path(recovery.ca, sizeof recovery.ca, directory, "ca");
	if (err == 0)
		err = file_path(recovery.db, sizeof recovery.db, directory, "db");
	int exit = err < 0 ? cli_fail(err, "nothing was brought back from %s", cli->operands[1]) : recover(cli, &recovery, code);
	key_free(recovery.root_key);
	certificate_free(recovery.root);
	recovery_wipe(&recovery.file);
	mem_wipe(code, sizeof code);
	return exit;
}
