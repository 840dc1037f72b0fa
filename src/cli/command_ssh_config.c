#include "base/err.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "cli/devices.h"
#include "cli/program.h"

#define LINE_SIZE 9000 /* twice the longest path */

/* Names that stand alone name exactly one device: those of several are left to their full names. */
struct host {
	struct list node;
	char name[64], full_name[96], id[ID_TEXT_SIZE];
};

struct hosts {
	struct list list;
	const struct cli *cli;
	char proxy[LINE_SIZE];
};

static int host_add(void *ctx, const murmesh_Device *device)
{
	struct hosts *hosts = ctx;
	struct id id;
	/* what ssh reads holds nothing that a server could put there */
	if (!name_valid(str_from(device->name)) || !name_valid(str_from(device->full_name)))
		return 0;
	struct host *host = mem_alloc(sizeof *host);
	if (!host)
		return -E_NO_MEMORY;
	memcpy(id.bytes, device->id, sizeof id.bytes);
	id_format(&id, host->id);
	str_copy(str_from(device->name), host->name, sizeof host->name);
	str_copy(str_from(device->full_name), host->full_name, sizeof host->full_name);
	list_append(&hosts->list, &host->node);
	return 0;
}

static bool name_taken(const struct hosts *hosts, const struct host *host)
{
	struct str name = str_from(host->name);
	LIST_EACH(at, &hosts->list) {
		const struct host *other = LIST_ENTRY(at, struct host, node);
		if (other != host &&
		    (str_equal_nocase(name, str_from(other->name)) || str_equal_nocase(name, str_from(other->full_name))))
			return true;
	}
	return false;
}

static void lower(char *text)
{
	for (; *text; text++)
		*text = (char)(*text >= 'A' && *text <= 'Z' ? *text + ('a' - 'A') : *text);
}

/* As people wrote them, and in lower case: ssh compares every letter. */
static void host_print(const struct hosts *hosts, const struct host *host)
{
	FILE *out = hosts->cli->out;
	const char *user = cli_text(hosts->cli, "user");
	char small[sizeof host->name], small_full[sizeof host->full_name];
	str_copy(str_from(host->name), small, sizeof small);
	str_copy(str_from(host->full_name), small_full, sizeof small_full);
	lower(small);
	lower(small_full);
	fprintf(out, "Host %s", host->full_name);
	if (strcmp(small_full, host->full_name) != 0)
		fprintf(out, " %s", small_full);
	if (!name_taken(hosts, host))
		fprintf(out, " %s%s%s", host->name, strcmp(small, host->name) ? " " : "", strcmp(small, host->name) ? small : "");
	fprintf(out, "\n\tProxyCommand %s nc %s %%p\n\tHostKeyAlias murmesh-%s\n\tCheckHostIP no\n", hosts->proxy, host->id,
	        host->id);
	if (user)
		fprintf(out, "\tUser %s\n", user);
	fputc('\n', out);
}

/* ssh reads a percent sign as the beginning of something else. */
static int proxy_make(struct hosts *hosts)
{
	char line[LINE_SIZE / 2];
	size_t len = 0;
	int err = program_command_line(hosts->cli, line, sizeof line);
	if (err < 0)
		return cli_fail(err, "no command for ssh can be written");
	for (const char *at = line; *at; at++) {
		hosts->proxy[len++] = *at;
		if (*at == '%')
			hosts->proxy[len++] = '%';
	}
	return CLI_OK;
}

static int user_check(const struct cli *cli)
{
	const char *user = cli_text(cli, "user");
	if (!user || name_valid(str_from(user)))
		return CLI_OK;
	return cli_fail(-E_NAME, "the user %s cannot be written", user);
}

static int hosts_list(struct hosts *hosts, struct session *session)
{
	const char *query = hosts->cli->n_operands ? hosts->cli->operands[0] : "name:*";
	int err = devices_each(session, str_from(query), host_add, hosts);
	if (err == -E_NOT_FOUND && !hosts->cli->n_operands)
		return CLI_OK;
	return err < 0 ? devices_fail(session, err, str_from(query)) : CLI_OK;
}

static int run(const struct cli *cli)
{
	static struct hosts hosts;
	struct session session;
	hosts.cli = cli;
	list_init(&hosts.list);
	int code = user_check(cli);
	if (code == 0)
		code = proxy_make(&hosts);
	if (code == 0)
		code = session_begin(&session, cli);
	if (code)
		return code;
	code = hosts_list(&hosts, &session);
	if (code == 0)
		LIST_EACH(at, &hosts.list)
			host_print(&hosts, LIST_ENTRY(at, struct host, node));
	while (!list_empty(&hosts.list)) {
		struct host *host = LIST_ENTRY(hosts.list.next, struct host, node);
		list_remove(&host->node);
		mem_free(host);
	}
	session_close(&session);
	return code;
}

static const struct cli_option options[] = {
	{ "user", 'u', "NAME", CLI_TEXT, "the user there (else as ssh has it)", NULL, 0 },
	{ 0 },
};

static const struct cli_example examples[] = {
	{ "murmesh ssh-config > ~/.ssh/murmesh.conf",
	  "then put `Include murmesh.conf` at the top of ~/.ssh/config: ssh, scp, rsync and ansible know all devices" },
	{ "murmesh ssh-config 'tag:web' --user root", "only some, with a user" },
	{ 0 },
};

const struct cli_command command_ssh_config = {
	.name = "ssh-config",
	.summary = "write what ssh, scp and rsync need to reach devices by their names",
	.usage = "[QUERY]",
	.options = options,
	.examples = examples,
	.run = run,
	.operands_most = 1,
};
