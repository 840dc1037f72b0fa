#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/encode.h"
#include "base/err.h"
#include "base/mem.h"
#include "cli/session.h"
#include "os/ask.h"
#include "os/clock.h"
#include "os/fd.h"
#include "stream/stream.h"

enum { BUSY_TRIES = 20, BUSY_PAUSE_US = 500000 };

struct attempt {
	const struct cli *cli;
	struct logins logins;
	struct server_address server;
	murmesh_LoginProof proof;
	struct login login;
	char why[512]; /* of the last failure; "" = as err.def has it */
};

static const char *const alpn[] = { "h2", NULL };

/* ---- which server ---- */

/* The only one that is known serves when none is named. */
static int server_choose(struct attempt *attempt)
{
	struct server_address known[SERVERS_MAX];
	const char *text = attempt->cli->n_operands ? attempt->cli->operands[0] : NULL;
	if (text && server_address_parse(str_from(text), &attempt->server) < 0)
		return cli_fail_because(-E_USAGE, "this is not HOST[:PORT][#FINGERPRINT]",
		                        "write it as in fleet.example.org:8443; the fingerprint is the mesh root's SHA-256 that "
		                        "`murmesh up` prints",
		                        "cannot log in to %s", text);
	if (text)
		return 0;
	int n = logins_list(&attempt->logins, known, SERVERS_MAX);
	if (n != 1)
		return cli_fail_because(-E_USAGE, n > 1 ? "you are logged in to several servers" : "no server is known yet",
		                        "name it: murmesh login HOST[:PORT]", "cannot log in");
	attempt->server = known[0];
	return 0;
}

/* ---- which mesh root ---- */

static int root_pin(const struct certificate *root, uint8_t pin[HASH_SIZE])
{
	struct certificate_info info;
	int err = certificate_inspect(root, &info);
	if (err == 0)
		memcpy(pin, info.key_hash, HASH_SIZE);
	return err;
}

/* Asks the server which root it has, and says nothing to it. */
static int root_ask(struct attempt *attempt, uint8_t pin[HASH_SIZE])
{
	const struct tls_settings unknown = { .verify = TLS_VERIFY_UNKNOWN, .alpn = alpn };
	struct session session;
	int err = session_init(&session);
	if (err == 0)
		err = session_dial(&session, attempt->server.host, attempt->server.port, &unknown);
	if (err == 0)
		err = root_pin(tls_peer_certificate(stream_tls(rpc_connection_stream(session.server))), pin);
	str_copy(str_from(session.why), attempt->why, sizeof attempt->why);
	session_close(&session);
	return err;
}

static int login_fail(const struct attempt *attempt, int err)
{
	return cli_fail_because(err, attempt->why[0] ? attempt->why : NULL, NULL, "not logged in to %s", attempt->server.text);
}

static int root_confirm(struct attempt *attempt)
{
	char fingerprint[HEX_SIZE(HASH_SIZE)], answer[8], question[512];
	if (!ask_possible())
		return cli_fail_because(-E_USAGE, "this server is not known yet, and there is no terminal to ask at",
		                        "add the fingerprint that `murmesh up` prints: murmesh login HOST:PORT#FINGERPRINT",
		                        "not logged in to %s", attempt->server.text);
	int err = root_ask(attempt, attempt->server.pin);
	if (err < 0)
		return login_fail(attempt, err);
	hex_encode(attempt->server.pin, HASH_SIZE, fingerprint);
	snprintf(question, sizeof question,
	         "The server %s is not known yet. Its mesh root has the fingerprint\n  SHA-256 %s\n"
	         "Compare it with what `murmesh up` prints on the server. Is it the same? [yes/no] ",
	         attempt->server.text, fingerprint);
	err = ask_line(question, false, answer, sizeof answer);
	if (err < 0 || !str_equal_nocase(str_from(answer), STR("yes")))
		return cli_fail_because(-E_CANCELLED, "its fingerprint was not confirmed",
		                        "ask who runs the server for the fingerprint", "not logged in to %s", attempt->server.text);
	return 0;
}

/* One on the command line counts more than what is remembered: a server that was made anew is logged in to that way. */
static int pin_choose(struct attempt *attempt)
{
	struct certificate *root;
	if (attempt->server.pinned)
		return 0;
	int err = logins_root(&attempt->logins, &attempt->server, &root);
	if (err == -ENOENT)
		return root_confirm(attempt);
	if (err == 0) {
		err = root_pin(root, attempt->server.pin);
		certificate_free(root);
	}
	return err < 0 ? cli_fail(err, "%s cannot be used", attempt->logins.path) : 0;
}

/* ---- who ---- */

/* The first line is the password, the second, if there, the code. */
static int proof_read(const char *path, murmesh_LoginProof *proof)
{
	struct buf text;
	buf_init(&text, 2048);
	int err = cli_secret_read(path, &text);
	struct str second, first = str_cut(buf_str(&text), '\n', &second), rest;
	second = str_trim(str_cut(second, '\n', &rest));
	if (first.len && first.ptr[first.len - 1] == '\r')
		first.len--;
	if (err == 0)
		err = str_copy(first, proof->password, sizeof proof->password);
	if (err == 0)
		err = str_copy(second, proof->code, sizeof proof->code);
	buf_wipe(&text);
	return err;
}

static int name_get(struct attempt *attempt)
{
	const char *name = cli_text(attempt->cli, "user");
	int err = 0;
	if (name)
		err = str_copy(str_from(name), attempt->proof.name, sizeof attempt->proof.name);
	else if (!ask_possible())
		return cli_fail_because(-E_USAGE, "there is no terminal to ask at", "add --user NAME", "whose login is it?");
	else
		err = ask_line("Name: ", false, attempt->proof.name, sizeof attempt->proof.name);
	return err < 0 ? cli_fail(err, "the name cannot be used") : 0;
}

static int password_get(struct attempt *attempt)
{
	const char *path = cli_text(attempt->cli, "password-file");
	char question[128];
	int err;
	snprintf(question, sizeof question, "Password of %s: ", attempt->proof.name);
	if (path)
		err = proof_read(path, &attempt->proof);
	else if (!ask_possible())
		return cli_fail_because(-E_USAGE, "there is no terminal to ask at",
		                        "add --password-file FILE, or - for standard input", "no password is given");
	else
		err = ask_line(question, true, attempt->proof.password, sizeof attempt->proof.password);
	return err < 0 ? cli_fail(err, "the password cannot be used") : 0;
}

/* ---- asking the server ---- */

static int csr_make(struct attempt *attempt)
{
	struct buf csr;
	buf_init(&csr, sizeof attempt->proof.csr.bytes);
	attempt->login.key = key_generate();
	int err = attempt->login.key ? certificate_request_write(attempt->login.key, &csr) : -E_NO_MEMORY;
	if (err == 0) {
		memcpy(attempt->proof.csr.bytes, buf_head(&csr), buf_len(&csr));
		attempt->proof.csr.size = (pb_size_t)buf_len(&csr);
	}
	buf_done(&csr);
	return err;
}

/* What came back has to be of the mesh whose root we believe. */
static int reply_take(struct attempt *attempt, const murmesh_CertificateReply *reply)
{
	uint8_t pin[HASH_SIZE];
	int err = login_take(&attempt->login, reply);
	if (err == 0)
		err = root_pin(attempt->login.root, pin);
	return err < 0 ? err : hash_equal(pin, attempt->server.pin) ? 0 : -E_WRONG_PIN;
}

static int password_send(struct attempt *attempt)
{
	struct tls_settings pinned = { .verify = TLS_VERIFY_PIN, .alpn = alpn };
	struct session session;
	murmesh_CertificateReply *reply = mem_alloc(sizeof *reply);
	memcpy(pinned.pin, attempt->server.pin, sizeof pinned.pin);
	int err = session_init(&session);
	if (err == 0 && !reply)
		err = -E_NO_MEMORY;
	if (err == 0)
		err = session_dial(&session, attempt->server.host, attempt->server.port, &pinned);
	if (err == 0)
		err = session_unary(&session, &rpc_Login_Password, &attempt->proof, reply, sizeof *reply);
	str_copy(str_from(session.why), attempt->why, sizeof attempt->why);
	session_close(&session);
	if (err == 0)
		err = reply_take(attempt, reply);
	mem_free(reply);
	return err;
}

/* What others do to the server must not keep this one out. */
static int password_send_patiently(struct attempt *attempt)
{
	int err = password_send(attempt);
	for (int i = 0; i < BUSY_TRIES && err == -E_BUSY; i++) {
		if (i == 0)
			cli_note(attempt->cli, "the server is busy with other logins; trying again for a while");
		usleep(BUSY_PAUSE_US);
		err = password_send(attempt);
	}
	return err;
}

static int refused(struct attempt *attempt, int err)
{
	if (err == -E_WRONG_PIN)
		return cli_fail_because(err, "its mesh root is not the one with this fingerprint",
		                        "get the fingerprint from who runs the server; if it is right, somebody stands between",
		                        "not logged in to %s", attempt->server.text);
	if (err == -E_CODE_WANTED)
		return cli_fail_because(err, NULL, "put it in the second line of the password file", "not logged in to %s",
		                        attempt->server.text);
	return login_fail(attempt, err);
}

static int code_ask(struct attempt *attempt)
{
	int err = ask_line("Code of your authenticator: ", false, attempt->proof.code, sizeof attempt->proof.code);
	return err < 0 ? err : password_send_patiently(attempt);
}

static int login_print(const struct attempt *attempt)
{
	const struct certificate_info *info = &attempt->login.info;
	char until[CLOCK_TEXT_SIZE], fingerprint[HEX_SIZE(HASH_SIZE)];
	clock_format(info->not_after, until);
	hex_encode(attempt->server.pin, HASH_SIZE, fingerprint);
	if (cli_format(attempt->cli) >= CLI_JSON)
		return cli_json_line(attempt->cli, json_pack("{s:s, s:o, s:s, s:s}", "server", attempt->server.text, "user",
		                                             cli_json_text(str_from(info->common_name)), "until", until,
		                                             "fingerprint", fingerprint)) < 0;
	cli_note(attempt->cli, "logged in to %s as %s until %s", attempt->server.text, info->common_name, until);
	return CLI_OK;
}

static int login_make(struct attempt *attempt)
{
	int code = server_choose(attempt);
	if (code == 0)
		code = pin_choose(attempt);
	if (code == 0)
		code = name_get(attempt);
	if (code == 0)
		code = password_get(attempt);
	if (code)
		return code;
	int err = csr_make(attempt);
	if (err == 0)
		err = password_send_patiently(attempt);
	if (err == -E_CODE_WANTED && ask_possible())
		err = code_ask(attempt);
	if (err < 0)
		return refused(attempt, err);
	err = logins_keep(&attempt->logins, &attempt->server, &attempt->login);
	return err < 0 ? cli_fail(err, "%s cannot be written", attempt->logins.path) : login_print(attempt);
}

static int run(const struct cli *cli)
{
	static struct attempt attempt;
	attempt.cli = cli;
	int err = logins_init(&attempt.logins);
	int code = err < 0 ? cli_fail(err, "no folder to keep the login in: HOME is not set") : login_make(&attempt);
	login_done(&attempt.login);
	mem_wipe(&attempt.proof, sizeof attempt.proof);
	return code;
}

static const struct cli_option options[] = {
	{ "user", 'u', "NAME", CLI_TEXT, "whose login it is (else asked)", NULL, 0 },
	{ "password-file", 0, "FILE", CLI_FILE,
	  "password in its first line, code of the authenticator in the second; - is standard input", NULL, 0 },
	{ 0 },
};

static const struct cli_example examples[] = {
	{ "murmesh login fleet.example.org", "port 8443; shows the fingerprint of a new server and asks" },
	{ "murmesh login 192.0.2.7:9443#42bd7f4a...d3be", "with the fingerprint that `murmesh up` prints" },
	{ "murmesh login fleet.example.org --user anna --password-file -", "for a script" },
	{ 0 },
};

const struct cli_command command_login = {
	.name = "login",
	.summary = "log in to a server from any machine, for 12 hours",
	.usage = "[HOST[:PORT][#FINGERPRINT]]",
	.options = options,
	.examples = examples,
	.run = run,
	.operands_most = 1,
};
