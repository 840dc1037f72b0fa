/* The policy that a server has, and putting another in its place. */
#include <errno.h>

#include "base/err.h"
#include "ca/folder.h"
#include "ca/policy.h"
#include "cli/policy.h"
#include "cli/session.h"
#include "os/file.h"
#include "tunnel/grant.h"

int policy_kept_load(const struct cli *cli, struct policy_kept *ret)
{
	char directory[4096];
	*ret = (struct policy_kept){ 0 };
	int err = cli_directory(cli, directory, sizeof directory);
	if (err == 0)
		err = file_path(ret->directory, sizeof ret->directory, directory, "ca");
	if (err == 0)
		err = folder_certificate_read(ret->directory, "root.crt", &ret->root);
	if (err == 0)
		err = folder_policy_read(ret->directory, &ret->document);
	if (err == 0)
		err = policy_open(ret->root, &ret->document, &ret->policy);
	if (err == -ENOENT)
		return cli_fail_because(-E_NOT_FOUND, "there is no certification manager in that folder",
		                        "run it where the server is; its folder is --dir", "the policy in %s cannot be read",
		                        ret->directory);
	if (err == -EACCES)
		return cli_fail_because(-E_DENIED, "it is the server's", "run it as the folder's owner",
		                        "the policy in %s cannot be read", ret->directory);
	return err < 0 ? cli_fail(err, "the policy in %s cannot be used", ret->directory) : CLI_OK;
}

void policy_kept_done(struct policy_kept *kept)
{
	certificate_free(kept->root);
}

static int check(const struct policy_kept *kept, const murmesh_SignedDocument *document, murmesh_Policy *policy)
{
	int err = policy_open(kept->root, document, policy);
	if (err == 0 && memcmp(policy->mesh, kept->policy.mesh, sizeof policy->mesh) != 0)
		err = -E_CERTIFICATE_FOREIGN;
	if (err == 0 && policy->version <= kept->policy.version)
		err = -E_POLICY_OLD;
	if (err == 0 && (policy->grant_key.size != kept->policy.grant_key.size ||
	                 memcmp(policy->grant_key.bytes, kept->policy.grant_key.bytes, policy->grant_key.size) != 0))
		err = -E_POLICY_GRANT_KEY;
	return err < 0 ? err : policy_acceptable(policy);
}

int policy_kept_replace(const struct cli *cli, const struct policy_kept *kept, const murmesh_SignedDocument *document)
{
	static murmesh_Policy policy;
	char directory[4096];
	int err = cli_directory(cli, directory, sizeof directory);
	if (err == 0)
		err = check(kept, document, &policy);
	if (err == 0)
		err = folder_policy_write(kept->directory, "policy", document);
	if (err < 0)
		return cli_fail(err, "the policy was not changed");
	err = session_reload_ca(directory);
	if (err < 0 && err != -E_NO_SERVER)
		return cli_fail_because(err, NULL, "restart the server",
		                        "version %llu is in the server's folder, but not in force yet",
		                        (unsigned long long)policy.version);
	if (cli_format(cli) >= CLI_JSON)
		return cli_json_line(cli, policy_json(&policy)) < 0;
	cli_note(cli,
	         err == 0 ? "version %llu of the policy is in force; devices take it as they hear of it"
	                  : "version %llu of the policy is in force when the server starts",
	         (unsigned long long)policy.version);
	return CLI_OK;
}
