/* A mesh root whose key no server has: requests and answers, carried between two machines. */
#include <errno.h>
#include <sys/stat.h>

#include "base/encode.h"
#include "base/err.h"
#include "ca/chain.h"
#include "ca/folder.h"
#include "ca/policy.h"
#include "ca/succession.h"
#include "cli/ca.h"
#include "cli/json_file.h"
#include "cli/policy.h"
#include "cli/session.h"
#include "os/file.h"
#include "tunnel/grant.h"

#define REQUEST "ca request"
#define ANSWER  "ca answer"

int ca_folder(const struct cli *cli, char out[4096])
{
	char directory[4096];
	int err = cli_directory(cli, directory, sizeof directory);
	return err < 0 ? err : file_path(out, 4096, directory, "ca");
}

int ca_reload(const struct cli *cli, const char *done)
{
	char directory[4096];
	int err = cli_directory(cli, directory, sizeof directory);
	if (err == 0)
		err = session_reload_ca(directory);
	if (err < 0 && err != -E_NO_SERVER)
		return cli_fail_because(err, NULL, "restart the server", "%s, but the server does not use it yet", done);
	cli_note(cli, err == 0 ? "%s, and in use" : "%s; the server uses it when it starts", done);
	return CLI_OK;
}

static int file_err(int err)
{
	return err == -E_JSON || err == -E_MESSAGE ? -E_CA_FILE : err;
}

/* ---- the server's request ---- */

static int init(const char *directory, const char *out)
{
	static murmesh_CaRequest request;
	int err = folder_has(directory, "mesh");
	if (err == 1)
		return -E_EXISTS;
	if (err == 0)
		err = file_make_directory(directory, 0700);
	if (err == 0)
		err = succession_request(directory, true, &request);
	return err < 0 ? err : message_file_write(out, REQUEST, murmesh_CaRequest_fields, &request);
}

int ca_init(const struct cli *cli)
{
	char directory[4096];
	const char *out = cli_given(cli, "out") ? cli_text(cli, "out") : "ca-request.json";
	if (!cli_flag(cli, "offline-root"))
		return cli_fail_because(-E_USAGE, "`murmesh up` makes a mesh root by itself",
		                        "add --offline-root where its key is not to be on this machine", "nothing was made");
	int err = ca_folder(cli, directory);
	if (err == 0)
		err = init(directory, out);
	if (err == -E_EXISTS)
		return cli_fail_because(err, "there is a certification manager already", "see it with `murmesh ca show`",
		                        "nothing was made in %s", directory);
	if (err < 0)
		return cli_fail(err, "the request was not written to %s", out);
	cli_note(cli,
	         "%s: take it to the machine that has or gets the mesh root's key, and there: murmesh ca sign-intermediate %s "
	         "--root DIR",
	         out, out);
	return CLI_OK;
}

/* ---- another intermediate ---- */

static int rotate_here(const char *directory, const murmesh_CaRequest *request)
{
	static murmesh_CaAnswer answer;
	struct certificate *root = NULL;
	struct key *root_key = NULL;
	int err = folder_key_read(directory, "root.key", &root_key);
	if (err == 0)
		err = folder_certificate_read(directory, "root.crt", &root);
	if (err == 0)
		err = succession_answer(request, root_key, root, &answer);
	if (err == 0)
		err = succession_install(directory, &answer);
	key_free(root_key);
	certificate_free(root);
	return err;
}

int ca_rotate(const struct cli *cli)
{
	static murmesh_CaRequest request;
	char directory[4096];
	const char *out = cli_given(cli, "out") ? cli_text(cli, "out") : "ca-request.json";
	int err = ca_folder(cli, directory), here = 0;
	if (err == 0)
		err = folder_has(directory, "mesh");
	err = err == 1 ? 0 : err == 0 ? -E_NOT_FOUND : err;
	if (err == 0)
		err = here = folder_has(directory, "root.key");
	if (err >= 0)
		err = succession_request(directory, cli_flag(cli, "grant-key"), &request);
	if (err == 0)
		err = here ? rotate_here(directory, &request)
		           : message_file_write(out, REQUEST, murmesh_CaRequest_fields, &request);
	if (err == -E_NOT_FOUND)
		return cli_fail_because(err, "there is no certification manager in that folder",
		                        "run it where the server is; its folder is --dir", "there is nothing to rotate");
	if (err < 0)
		return cli_fail(err, "there is no other intermediate in %s", directory);
	if (here)
		return ca_reload(cli, "another intermediate is there");
	cli_note(cli, "%s: where root.key is: murmesh ca sign-intermediate %s --root DIR", out, out);
	return CLI_OK;
}

/* ---- the root's answer ---- */

struct ceremony {
	const char *folder; /* --root */
	struct key *key;
	struct certificate *certificate;
	murmesh_CaRequest request;
	bool new; /* the root is to be made */
};

static void fingerprint_print(const char *what, const uint8_t hash[HASH_SIZE])
{
	char text[HEX_SIZE(HASH_SIZE)];
	hex_encode(hash, HASH_SIZE, text);
	fprintf(stderr, "%-12s %s\n", what, text);
}

/* The root that is in the folder; of a folder with the key alone the certificate that came along, if it is that key's. */
static int root_load(struct ceremony *ceremony)
{
	uint8_t own[HASH_SIZE];
	struct certificate_info info;
	int err = folder_key_read(ceremony->folder, "root.key", &ceremony->key);
	if (err == 0)
		err = folder_certificate_read(ceremony->folder, "root.crt", &ceremony->certificate);
	if (err == -ENOENT && ceremony->key)
		err = ceremony->request.root.size
		              ? certificate_read(ceremony->request.root.bytes, ceremony->request.root.size, &ceremony->certificate)
		              : -E_CA_ROOT;
	if (err == 0)
		err = key_public_hash(ceremony->key, own);
	if (err == 0)
		err = certificate_inspect(ceremony->certificate, &info);
	return err < 0 ? err : hash_equal(own, info.key_hash) ? 0 : -E_CA_ROOT;
}

/* A root signs for one mesh, and policies only forward.  A new server that asks under an old root becomes that mesh's. */
static int request_fit(struct ceremony *ceremony)
{
	static murmesh_SignedDocument document;
	static murmesh_Policy last, next;
	murmesh_CaRequest *request = &ceremony->request;
	struct id mesh;
	int err = folder_id_read(ceremony->folder, "mesh", &mesh);
	if (err == -ENOENT)
		return 0;
	bool same = err == 0 && memcmp(mesh.bytes, request->mesh, sizeof request->mesh) == 0;
	if (err == 0 && !same && request->root.size)
		return -E_CERTIFICATE_FOREIGN;
	memcpy(request->mesh, mesh.bytes, sizeof request->mesh);
	if (err < 0 || !request->has_policy)
		return err;
	err = policy_decode(&request->policy, &next);
	if (err == 0)
		err = folder_policy_read(ceremony->folder, &document);
	if (err == -ENOENT)
		last = (murmesh_Policy)murmesh_Policy_init_zero;
	else if (err == 0)
		err = policy_decode(&document, &last);
	if (err < 0 && err != -ENOENT)
		return err;
	if (!same && last.version) { /* all stays but the key, which was lost with the server */
		const __typeof__(next.grant_key) grant_key = next.grant_key;
		next = last;
		next.grant_key = grant_key;
		next.version++;
	} else if (next.version <= last.version)
		return -E_POLICY_OLD;
	memcpy(next.mesh, mesh.bytes, sizeof next.mesh);
	return policy_encode(&next, &request->policy);
}

static int root_make(struct ceremony *ceremony)
{
	struct id mesh;
	memcpy(mesh.bytes, ceremony->request.mesh, sizeof mesh.bytes);
	int err = file_make_directory(ceremony->folder, 0700);
	if (err == 0)
		err = folder_key_make(ceremony->folder, "root.key", &ceremony->key);
	if (err == 0)
		err = chain_root_make(&mesh, ceremony->key, &ceremony->certificate);
	return err;
}

/* What is signed, to compare with what the server shows. */
static int request_print(const struct ceremony *ceremony)
{
	static murmesh_Policy policy;
	char mesh[HEX_SIZE(16)];
	uint8_t public[KEY_PUBLIC_MAX], hash[HASH_SIZE];
	size_t len;
	int err = certificate_request_read(ceremony->request.csr.bytes, ceremony->request.csr.size, public, &len);
	if (err == 0 && ceremony->request.has_policy)
		err = policy_decode(&ceremony->request.policy, &policy);
	if (err == 0 && ceremony->request.has_policy)
		err = policy_acceptable(&policy);
	if (err < 0)
		return err;
	hex_encode(ceremony->request.mesh, sizeof ceremony->request.mesh, mesh);
	hash_sha256(public, len, hash);
	fprintf(stderr, "%-12s %s\n", "mesh", mesh);
	fingerprint_print("intermediate", hash);
	if (ceremony->key && key_public_hash(ceremony->key, hash) == 0)
		fingerprint_print("root", hash);
	else
		fprintf(stderr, "there is no root.key in %s: a new mesh root is made there\n", ceremony->folder);
	if (ceremony->request.has_policy) {
		fprintf(stderr, "and a policy:\n");
		policy_print(stderr, &policy);
	}
	return 0;
}

/* The root remembers what it has signed: a server that begins anew does not. */
static int intermediates_keep(const struct ceremony *ceremony, murmesh_CaAnswer *answer)
{
	struct certificate *all[FORMERS_MAX + 1];
	int kept = folder_certificates_read(ceremony->folder, "intermediates.crt", all, FORMERS_MAX);
	size_t n = kept > 0 ? (size_t)kept : 0;
	int err = kept < 0 && kept != -ENOENT ? kept
	                                      : certificate_read(answer->intermediate.bytes, answer->intermediate.size, &all[n]);
	n += err == 0;
	if (err == 0)
		err = folder_formers_adopt(ceremony->folder, "intermediates.crt", all, n);
	for (size_t i = 0; i < n; i++)
		certificate_free(all[i]);
	return err;
}

static int answer(struct ceremony *ceremony, const char *out)
{
	static murmesh_CaAnswer answer;
	struct id mesh;
	memcpy(mesh.bytes, ceremony->request.mesh, sizeof mesh.bytes);
	int err = ceremony->new ? root_make(ceremony) : 0;
	if (err == 0)
		err = succession_answer(&ceremony->request, ceremony->key, ceremony->certificate, &answer);
	if (err == 0 && !ceremony->request.root.size)
		ca_formers_add(ceremony->folder, ceremony->certificate, &answer);
	if (err == 0)
		err = intermediates_keep(ceremony, &answer);
	if (err == 0)
		err = folder_certificate_write(ceremony->folder, "root.crt", ceremony->certificate);
	if (err == 0)
		err = folder_id_write(ceremony->folder, "mesh", &mesh);
	if (err == 0 && answer.has_policy)
		err = folder_policy_write(ceremony->folder, "policy", &answer.policy);
	return err < 0 ? err : message_file_write(out, ANSWER, murmesh_CaAnswer_fields, &answer);
}

static int hold(const struct cli *cli, struct ceremony *ceremony)
{
	const char *path = cli->operands[1], *out = cli_given(cli, "out") ? cli_text(cli, "out") : "ca-answer.json";
	uint8_t hash[HASH_SIZE];
	int err = file_err(message_file_read(path, REQUEST, murmesh_CaRequest_fields, &ceremony->request));
	int has = err < 0 ? err : folder_has(ceremony->folder, "root.key");
	ceremony->new = has == 0;
	err = has < 0 ? has : has ? root_load(ceremony) : ceremony->request.root.size ? -E_NO_ROOT_KEY : 0;
	if (err == 0)
		err = request_fit(ceremony);
	if (err == 0)
		err = request_print(ceremony);
	if (err < 0)
		return cli_fail(err, "%s was not signed", path);
	int code = cli_confirm(cli, "sign it? [y/N] ", "look at it, then add --yes");
	if (code)
		return code;
	err = answer(ceremony, out);
	if (err < 0)
		return cli_fail(err, "%s was not signed", path);
	if (ceremony->new &&key_public_hash(ceremony->key, hash) == 0)
		fingerprint_print("new root", hash);
	cli_note(cli, "%s: on the server: murmesh ca install %s", out, out);
	return CLI_OK;
}

int ca_sign_intermediate(const struct cli *cli)
{
	static struct ceremony ceremony;
	ceremony.folder = cli_text(cli, "root");
	if (!ceremony.folder)
		return cli_fail_because(-E_USAGE, "it is not said where the mesh root's key is, or is to be", "add --root DIR",
		                        "nothing was signed");
	int code = hold(cli, &ceremony);
	key_free(ceremony.key);
	certificate_free(ceremony.certificate);
	return code;
}

/* ---- back at the server ---- */

int ca_install(const struct cli *cli)
{
	static murmesh_CaAnswer answer;
	struct certificate *root = NULL;
	char directory[4096], db[4096];
	int err = ca_folder(cli, directory);
	if (err == 0)
		err = file_path(db, sizeof db, directory, "../db");
	if (err == 0)
		err = file_err(message_file_read(cli->operands[1], ANSWER, murmesh_CaAnswer_fields, &answer));
	if (err == 0 && certificate_read(answer.root.bytes, answer.root.size, &root) == 0)
		ca_formers_add(db, root, &answer);
	certificate_free(root);
	if (err == 0)
		err = succession_install(directory, &answer);
	return err < 0 ? cli_fail(err, "%s was not installed", cli->operands[1])
	               : ca_reload(cli, "the certification manager is installed");
}
