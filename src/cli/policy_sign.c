/* Signing a policy: here, where root.key is, or as a file that is carried there and back. */
#include <errno.h>

#include "base/err.h"
#include "ca/folder.h"
#include "ca/policy.h"
#include "cli/json_file.h"
#include "cli/policy.h"
#include "tunnel/grant.h"

#define KIND "policy"

/* ---- here ---- */

static int sign_here(const struct policy_kept *kept, const murmesh_Policy *next, murmesh_SignedDocument *ret)
{
	struct key *root_key = NULL;
	int err = folder_key_read(kept->directory, "root.key", &root_key);
	if (err == 0)
		err = policy_sign(root_key, next, ret);
	key_free(root_key);
	return err;
}

int policy_set(const struct cli *cli)
{
	static murmesh_SignedDocument document;
	static murmesh_Policy next;
	struct policy_kept kept;
	int code = policy_kept_load(cli, &kept);
	next = kept.policy;
	if (code == CLI_OK && !folder_has(kept.directory, "root.key"))
		code = cli_fail(-E_NO_ROOT_KEY, "the policy was not changed");
	if (code == CLI_OK)
		code = policy_change(cli, &next);
	int err = code == CLI_OK ? sign_here(&kept, &next, &document) : 0;
	if (err < 0)
		code = cli_fail(err, "the policy was not changed");
	if (code == CLI_OK)
		code = policy_kept_replace(cli, &kept, &document);
	policy_kept_done(&kept);
	return code;
}

/* ---- elsewhere ---- */

static int file_write_document(const char *path, const murmesh_SignedDocument *document)
{
	return message_file_write(path, KIND, murmesh_SignedDocument_fields, document);
}

static int file_read_document(const char *path, murmesh_SignedDocument *ret)
{
	int err = message_file_read(path, KIND, murmesh_SignedDocument_fields, ret);
	return err == -E_JSON || err == -E_MESSAGE ? -E_POLICY_FILE : err;
}

int policy_draft(const struct cli *cli)
{
	static murmesh_SignedDocument draft;
	struct policy_kept kept;
	const char *path = cli_text(cli, "out");
	if (!path)
		return cli_fail_because(-E_USAGE, "there is no file to write to", "add --out FILE", "no draft was written");
	int code = policy_kept_load(cli, &kept);
	if (code == CLI_OK)
		code = policy_change(cli, &kept.policy);
	int err = code == CLI_OK ? policy_encode(&kept.policy, &draft) : 0;
	if (code == CLI_OK && err == 0)
		err = file_write_document(path, &draft);
	if (err < 0)
		code = cli_fail(err, "no draft was written to %s", path);
	if (code == CLI_OK)
		cli_note(cli, "%s: not signed yet; where root.key is: murmesh policy sign %s --root DIR", path, path);
	policy_kept_done(&kept);
	return code;
}

/* Newer than what this root signed last, and for the same mesh: the draft comes from a machine that may be in other hands. */
static int check_last(const char *root, const murmesh_Policy *next)
{
	static murmesh_SignedDocument document;
	static murmesh_Policy last;
	int err = folder_policy_read(root, &document);
	if (err == -ENOENT)
		return 0;
	if (err == 0)
		err = policy_decode(&document, &last);
	if (err == 0 && memcmp(last.mesh, next->mesh, sizeof last.mesh) != 0)
		err = -E_CERTIFICATE_FOREIGN;
	return err < 0 ? err : next->version <= last.version ? -E_POLICY_OLD : 0;
}

static int sign_confirmed(const struct cli *cli, const char *path, const char *root, const murmesh_Policy *next)
{
	static murmesh_SignedDocument document;
	struct key *root_key = NULL;
	policy_print(stderr, next);
	int code = cli_confirm(cli, "sign this policy? [y/N] ", "look at it, then add --yes");
	if (code)
		return code;
	int err = folder_key_read(root, "root.key", &root_key);
	if (err == 0)
		err = policy_sign(root_key, next, &document);
	if (err == 0)
		err = folder_policy_write(root, "policy", &document);
	if (err == 0)
		err = file_write_document(path, &document);
	key_free(root_key);
	if (err < 0)
		return cli_fail(err, "the policy in %s was not signed", path);
	cli_note(cli, "%s is signed; on the server: murmesh policy install %s", path, path);
	return CLI_OK;
}

int policy_sign_draft(const struct cli *cli)
{
	static murmesh_SignedDocument draft;
	static murmesh_Policy next;
	const char *path = cli->operands[1], *root = cli_text(cli, "root");
	if (!root)
		return cli_fail_because(-E_USAGE, "it is not said where root.key is", "add --root DIR",
		                        "the policy was not signed");
	int err = folder_has(root, "root.key") ? file_read_document(path, &draft) : -E_NO_ROOT_KEY;
	if (err == 0)
		err = policy_decode(&draft, &next);
	if (err == 0)
		err = policy_acceptable(&next);
	if (err == 0)
		err = check_last(root, &next);
	return err < 0 ? cli_fail(err, "the policy in %s was not signed", path) : sign_confirmed(cli, path, root, &next);
}

int policy_install(const struct cli *cli)
{
	static murmesh_SignedDocument document;
	struct policy_kept kept;
	int code = policy_kept_load(cli, &kept);
	int err = code == CLI_OK ? file_read_document(cli->operands[1], &document) : 0;
	if (err < 0)
		code = cli_fail(err, "the policy in %s cannot be used", cli->operands[1]);
	if (code == CLI_OK)
		code = policy_kept_replace(cli, &kept, &document);
	policy_kept_done(&kept);
	return code;
}
