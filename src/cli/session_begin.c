/* Which server a command is for. */
#include <errno.h>

#include "base/err.h"
#include "cli/session.h"
#include "os/file.h"

static int local_begin(struct session *session, const char *directory)
{
	char what[4200];
	int err = session_open(session, directory);
	if (err == 0)
		return 0;
	snprintf(what, sizeof what, "the server in %.4000s cannot be used", directory);
	int code = session_fail(session, err, what);
	session_close(session);
	return code;
}

static int login_fail(const struct session *session, const struct logins *logins, const struct server_address *server, int err)
{
	char why[4400], try[SERVER_TEXT_SIZE + 32];
	snprintf(try, sizeof try, "log in again: murmesh login %s", server->text);
	switch (err) {
	case -E_NOT_PRIVATE:
	case -E_CHECKSUM:
	case -E_FILE:
		snprintf(why, sizeof why, "%s: %s", logins->path, err_text(err));
		return cli_fail_because(err, why, err == -E_CHECKSUM ? try : NULL, "the login at %s cannot be used", server->text);
	case -ENOENT:
		return cli_fail_because(-E_SESSION, "nobody is logged in there", try, "the server %s cannot be used", server->text);
	case -E_SESSION:
		return cli_fail_because(err, "the login has ended; it is good for 12 hours", try, "the server %s cannot be used",
		                        server->text);
	case -E_CERTIFICATE:
	case -E_CERTIFICATE_FOREIGN:
	case -E_CERTIFICATE_IDENTITY:
	case -E_CERTIFICATE_USAGE:
		return cli_fail_because(err, NULL, try, "the server %s cannot be used", server->text);
	default:
		return cli_fail_because(err, session->why[0] ? session->why : NULL, NULL, "the server %s cannot be used",
		                        server->text);
	}
}

static int login_begin(struct session *session, struct logins *logins, const struct server_address *server)
{
	int err = session_init(session);
	if (err == 0)
		err = logins_load(logins, server, &session->login);
	if (err == 0)
		err = session_dial_login(session, server->host, server->port);
	if (err == 0)
		return 0;
	int code = login_fail(session, logins, server, err);
	session_close(session);
	return code;
}

static int several_fail(const struct server_address *known, int n)
{
	char why[600];
	size_t len = (size_t)snprintf(why, sizeof why, "you are logged in to %d servers:", n);
	for (int i = 0; i < n && len < sizeof why; i++)
		len += (size_t)snprintf(why + len, sizeof why - len, "%s %s", i ? "," : "", known[i].text);
	return cli_fail_because(-E_USAGE, why, "choose one with --server HOST", "which server is meant?");
}

int session_begin(struct session *session, const struct cli *cli)
{
	struct server_address known[SERVERS_MAX];
	struct logins logins;
	char directory[4096], socket[4200];
	const char *server = cli_text(cli, "server");
	int err = cli_directory(cli, directory, sizeof directory), n;
	if (server && cli_text(cli, "dir"))
		return cli_fail_because(-E_USAGE, "--dir and --server exclude each other", "choose one of them",
		                        "which server is meant?");
	if (server) {
		err = logins_init(&logins);
		if (err == 0)
			err = logins_named(&logins, server, &known[0]);
		return err < 0 ? cli_fail(err, "the server %s cannot be used", server) : login_begin(session, &logins, &known[0]);
	}
	snprintf(socket, sizeof socket, "%s/run/core.sock", directory);
	if (err == 0 && (cli_directory_named(cli) || file_exists(socket)))
		return local_begin(session, directory);
	n = logins_init(&logins) == 0 ? logins_list(&logins, known, SERVERS_MAX) : 0;
	if (n == 1)
		return login_begin(session, &logins, &known[0]);
	if (n > 1)
		return several_fail(known, n);
	return err < 0 ? cli_fail(err, "no server is known here") : local_begin(session, directory);
}
