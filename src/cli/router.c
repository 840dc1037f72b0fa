#include "cli/router.h"

#include <errno.h>
#include <fcntl.h>

#include "base/err.h"
#include "base/mem.h"
#include "cli/program.h"
#include "os/fd.h"
#include "os/log.h"

/* ---- words ---- */

/* The value behind "-name:", or NULL. */
static char *value_of(char *word, const char *name)
{
	size_t len = strlen(name);
	return strlen(word) >= len && str_equal_nocase((struct str){ word, len }, str_from(name)) ? word + len : NULL;
}

const char *router_map(const char *word, bool *ret_relay)
{
	char *text = value_of((char *)word, "-relaymap:");
	*ret_relay = text != NULL;
	return text ? text : value_of((char *)word, "-map:");
}

static bool is_one_of(const char *word, const char *const *names)
{
	for (; *names; names++)
		if (str_equal_nocase(str_from(word), str_from(*names)))
			return true;
	return false;
}

static void unused_add(struct router *router, const char *word)
{
	size_t len = strlen(router->unused), name = strcspn(word, ":");
	if (len + name + 2 < sizeof router->unused)
		snprintf(router->unused + len, sizeof router->unused - len, "%s%.*s", len ? " " : "", (int)name, word);
}

/* Whoever lists the processes shall see it no longer than he must. */
static int pass_take(struct router *router, char *value)
{
	int err = str_copy(str_from(value), router->kept, sizeof router->kept);
	mem_wipe(value, strlen(value));
	router->pass = router->kept;
	return err < 0 ? cli_fail(-E_TOO_LONG, "the password cannot be used") : CLI_OK;
}

int router_take(struct router *router, char *word)
{
	static const char *const all[] = { "-all", "-inaddrany", NULL };
	static const char *const unused[] = { "-tray", "-native", "-noupdate", "-oldstyle", "-tlsdump", "-ignorecert", NULL };
	char *value;
	if ((value = value_of(word, "-host:")) != NULL)
		router->host = value;
	else if ((value = value_of(word, "-user:")) != NULL)
		router->user = value;
	else if ((value = value_of(word, "-pass:")) != NULL)
		return pass_take(router, value);
	else if (is_one_of(word, all))
		router->all = true;
	else if (str_equal_nocase(str_from(word), STR("-debug")))
		router->debug = true;
	else if (is_one_of(word, unused) || value_of(word, "-search:") || value_of(word, "-l:"))
		unused_add(router, word);
	else
		return cli_fail_because(-E_USAGE, "neither murmesh nor MeshCentral Router has it", "see `murmesh help map`",
		                        "unknown argument %.64s", word);
	return CLI_OK;
}

/* ---- what they mean ---- */

static int debug_open(void)
{
	int fd = open("debug.log", O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return cli_fail(-errno, "debug.log cannot be written");
	log_all_to(fd); /* until this process ends */
	return CLI_OK;
}

int router_ready(const struct router *router, const struct cli *cli)
{
	if (router->pass)
		cli_note(cli, "warning: -pass: can be seen by others on this machine and stays in the shell's history; `murmesh "
		              "login` asks "
		              "for it and remembers the login for 12 hours");
	if (strstr(router->unused, "-ignorecert"))
		cli_note(cli, "warning: -ignorecert is ignored: the server has to prove who it is");
	if (router->unused[0])
		cli_note(cli, "note: without a meaning here: %s", router->unused);
	return router->debug ? debug_open() : CLI_OK;
}

/* ---- the server ---- */

static bool logged_in(const struct router *router)
{
	struct server_address server;
	struct logins logins;
	struct login login = { 0 };
	int err = logins_init(&logins);
	if (err == 0)
		err = logins_named(&logins, router->host, &server);
	if (err == 0)
		err = logins_load(&logins, &server, &login);
	bool good = err == 0 && (!router->user || str_is(str_from(login.info.common_name), router->user));
	login_done(&login);
	return good;
}

/* As a person would: `murmesh login HOST --user USER`, the password from a pipe or asked for. */
static int login(const struct router *router)
{
	struct cli cli;
	struct cli_problem problem;
	char path[32];
	const char *argv[10] = { "murmesh", "login", "--quiet" };
	int argc = 3, fd = router->pass ? program_secret(router->pass) : -1;
	if (router->pass && fd < 0)
		return cli_fail(fd, "cannot log in to %s", router->host);
	if (router->user) {
		argv[argc++] = "--user";
		argv[argc++] = router->user;
	}
	if (fd >= 0) {
		snprintf(path, sizeof path, "/dev/fd/%d", fd);
		argv[argc++] = "--password-file";
		argv[argc++] = path;
	}
	argv[argc++] = "--";
	argv[argc++] = router->host;
	int err = cli_parse(&cli, argc, (char **)argv, &problem);
	cli.out = stderr;
	int code = err < 0 ? cli_fail_because(err, NULL, NULL, "%s", problem.what) : cli.command->run(&cli);
	fd_close(fd);
	return code;
}

static void server_set(struct cli *cli, const char *host)
{
	for (size_t i = 0; i < cli->n_values; i++)
		if (strcmp(cli->values[i].option->name, "server") == 0)
			cli->values[i].text = host;
}

int router_session(struct router *router, const struct cli *cli, struct session *session)
{
	struct cli there = *cli;
	int code = CLI_OK;
	if (router->host && !logged_in(router))
		code = login(router);
	mem_wipe(router->kept, sizeof router->kept);
	if (router->host)
		server_set(&there, router->host);
	if (code == 0)
		code = session_begin(session, &there);
	if (code)
		return code;
	const char *name = session->login.info.common_name;
	if (!router->user || str_is(str_from(name), router->user))
		return CLI_OK;
	code = cli_fail_because(-E_USAGE, "it is the login of somebody else",
	                        "give -host: too, or leave out -user:", "%s is not logged in here", router->user);
	session_close(session);
	return code;
}
