/* The next version of a policy: what the options of `murmesh policy set` and `draft` say. */
#include "base/buf.h"
#include "base/err.h"
#include "ca/join_line.h"
#include "cli/policy.h"
#include "cli/user_key.h"
#include "os/file.h"
#include "tunnel/grant.h"

#define APPROVERS_MAX (sizeof((murmesh_Policy *)0)->approvers / sizeof *((murmesh_Policy *)0)->approvers)
#define PARENTS_MAX   (sizeof((murmesh_Policy *)0)->parents / sizeof *((murmesh_Policy *)0)->parents)

static int fail(int err, const char *why, struct str what)
{
	return cli_fail_because(err, why, NULL, "the policy was not changed: %.*s", STR_ARG(what));
}

/* ---- approvers ---- */

struct search {
	struct str name;
	murmesh_Approver *ret;
	bool found;
};

static void on_user(void *ctx, const void *message)
{
	struct search *search = ctx;
	const murmesh_User *user = message;
	if (!str_equal_nocase(search->name, str_from(user->name)))
		return;
	memcpy(search->ret->user, user->id, sizeof search->ret->user);
	str_copy(str_from(user->name), search->ret->name, sizeof search->ret->name);
	search->found = true;
}

static int key_file_read(struct str path, murmesh_Approver *approver)
{
	char name[4096];
	struct buf text;
	size_t len;
	buf_init(&text, 4096);
	int err = str_copy(path, name, sizeof name);
	if (err == 0)
		err = file_read(name, &text);
	if (err == 0)
		err = user_key_parse(buf_str(&text), approver->key.bytes, &len);
	if (err == 0)
		approver->key.size = (pb_size_t)len;
	buf_done(&text);
	return err;
}

/* A name that is there already gets the new key. */
static int approver_put(murmesh_Policy *policy, const murmesh_Approver *approver)
{
	pb_size_t i = 0;
	while (i < policy->approvers_count && memcmp(policy->approvers[i].user, approver->user, sizeof approver->user) != 0)
		i++;
	if (i == APPROVERS_MAX)
		return -E_LIMIT;
	policy->approvers[i] = *approver;
	policy->approvers_count += i == policy->approvers_count;
	return 0;
}

/* NAME=FILE; the server knows whose the name is. */
static int approver_add(struct session *session, murmesh_Policy *policy, struct str text)
{
	murmesh_UserListRequest request = murmesh_UserListRequest_init_zero;
	murmesh_Approver approver = murmesh_Approver_init_zero;
	struct str path, name = str_cut(text, '=', &path);
	struct search search = { .name = name, .ret = &approver };
	int err = name.len && path.len ? session_stream(session, &rpc_People_ListUsers, &request, on_user, &search) : -E_USAGE;
	if (err == 0 && !search.found)
		return cli_fail_because(-E_NOT_FOUND, "there is no such user", "see `murmesh user ls`",
		                        "the policy was not changed: %.*s", STR_ARG(name));
	if (err == 0)
		err = key_file_read(path, &approver);
	if (err == 0)
		err = approver_put(policy, &approver);
	return err < 0 ? fail(err, NULL, text) : CLI_OK;
}

static int approvers_add(const struct cli *cli, murmesh_Policy *policy)
{
	struct str rest = str_from(cli_text(cli, "approver"));
	struct session session;
	int code = session_begin(&session, cli);
	if (code)
		return code;
	while (rest.len && code == CLI_OK)
		code = approver_add(&session, policy, str_trim(str_cut(rest, ',', &rest)));
	session_close(&session);
	return code;
}

static int approver_remove(murmesh_Policy *policy, struct str name)
{
	for (pb_size_t i = 0; i < policy->approvers_count; i++)
		if (str_equal_nocase(name, str_from(policy->approvers[i].name))) {
			policy->approvers[i] = policy->approvers[--policy->approvers_count];
			return CLI_OK;
		}
	return fail(-E_NOT_FOUND, "there is no such approver", name);
}

/* ---- parents ---- */

static int parent_add(murmesh_Policy *policy, struct str text)
{
	char host[JOIN_HOST_SIZE];
	uint16_t port;
	int err = policy->parents_count < PARENTS_MAX ? join_address_parse(text, host, &port) : -E_LIMIT;
	if (err == 0)
		err = str_copy(text, policy->parents[policy->parents_count++], sizeof *policy->parents);
	return err == -E_LIMIT || err == -E_TOO_LONG ? fail(err, NULL, text)
	       : err < 0                             ? fail(-E_USAGE, "a parent is HOST:PORT", text)
	                                             : CLI_OK;
}

static int parents_set(const struct cli *cli, murmesh_Policy *policy)
{
	struct str rest = str_from(cli_text(cli, "parent"));
	int code = CLI_OK;
	policy->parents_count = 0;
	if (str_is(rest, "none"))
		return CLI_OK;
	while (rest.len && code == CLI_OK)
		code = parent_add(policy, str_trim(str_cut(rest, ',', &rest)));
	return code;
}

/* ---- all ---- */

static int apply(const struct cli *cli, murmesh_Policy *policy)
{
	int code = CLI_OK;
	struct str rest = str_from(cli_given(cli, "remove-approver") ? cli_text(cli, "remove-approver") : "");
	while (rest.len && code == CLI_OK)
		code = approver_remove(policy, str_trim(str_cut(rest, ',', &rest)));
	if (code == CLI_OK && cli_given(cli, "approver"))
		code = approvers_add(cli, policy);
	if (code == CLI_OK && cli_given(cli, "parent"))
		code = parents_set(cli, policy);
	if (cli_given(cli, "two-signatures-above"))
		policy->two_signatures_above = (uint32_t)cli_number(cli, "two-signatures-above");
	if (code == CLI_OK && cli_given(cli, "mode") &&
	    str_copy(str_from(cli_text(cli, "mode")), policy->mode, sizeof policy->mode) < 0)
		code = fail(-E_USAGE, "a mode is server or signed", str_from(cli_text(cli, "mode")));
	return code;
}

int policy_change(const struct cli *cli, murmesh_Policy *policy)
{
	static const char *const options[] = { "mode", "approver", "remove-approver", "two-signatures-above", "parent" };
	bool any = false;
	for (size_t i = 0; i < sizeof options / sizeof *options; i++)
		any = any || cli_given(cli, options[i]);
	if (!any)
		return cli_fail_because(-E_USAGE, "nothing is to be changed", "see `murmesh help policy`",
		                        "the policy was not changed");
	int code = apply(cli, policy);
	if (code)
		return code;
	policy->version++;
	int err = policy_acceptable(policy);
	if (err == -E_UNSUPPORTED)
		return fail(-E_USAGE, "a mode is server or signed", str_from(policy->mode));
	return err < 0 ? cli_fail(err, "the policy was not changed") : CLI_OK;
}
