/* Users' keys, and a second signature for a run order. */
#include <errno.h>

#include "base/encode.h"
#include "base/err.h"
#include "base/utf8.h"
#include "cli/order_file.h"
#include "cli/policy.h"
#include "cli/user_key.h"
#include "os/clock.h"

/* ---- the key ---- */

static int key_print(const struct cli *cli, const struct key *key)
{
	char text[USER_KEY_TEXT_SIZE], fingerprint[HEX_SIZE(HASH_SIZE)], path[4096] = "";
	uint8_t hash[HASH_SIZE];
	int err = user_key_format(key, text);
	if (err == 0)
		err = key_public_hash(key, hash);
	if (err < 0)
		return cli_fail(err, "the key cannot be shown");
	user_key_path(path);
	hex_encode(hash, sizeof hash, fingerprint);
	if (cli_format(cli) >= CLI_JSON)
		return cli_json_line(cli, json_pack("{s:s, s:s, s:s}", "key", text, "fingerprint", fingerprint, "file", path)) < 0;
	fprintf(cli->out, "%s\n", text);
	cli_note(cli, "fingerprint %s; the secret part is in %s", fingerprint, path);
	return CLI_OK;
}

int policy_key(const struct cli *cli)
{
	struct key *key = NULL;
	struct str operation = str_from(cli->operands[1]);
	char path[4096] = "";
	bool new = str_is(operation, "new");
	if (!new && !str_is(operation, "show"))
		return cli_fail_because(-E_USAGE, "there are `policy key new` and `policy key show`", NULL, "unknown operation %s",
		                        cli->operands[1]);
	int err = new ? user_key_make(&key) : user_key_load(&key);
	user_key_path(path);
	if (err == -E_EXISTS)
		return cli_fail_because(err, "there is a key already", "see it with `murmesh policy key show`",
		                        "no key was made in %s", path);
	if (err == -ENOENT)
		err = -E_USER_KEY;
	if (err < 0)
		return cli_fail(err, "the key in %s cannot be used", path);
	int code = key_print(cli, key);
	key_free(key);
	return code;
}

/* ---- the second signature ---- */

struct shown {
	const struct order_file *file;
	char (*names)[80]; /* of the devices; "" = not known */
};

static void on_device(void *ctx, const void *message)
{
	const struct shown *shown = ctx;
	const murmesh_Device *device = message;
	for (size_t i = 0; i < shown->file->order.count; i++)
		if (memcmp(shown->file->start.devices.bytes + i * sizeof device->id, device->id, sizeof device->id) == 0)
			utf8_clean(str_from(device->full_name), shown->names[i], sizeof shown->names[i]);
}

/* What is signed are ids; their names are the server's word. */
static int names_get(const struct cli *cli, const struct order_file *file, char (*names)[80])
{
	const murmesh_ListRequest all = murmesh_ListRequest_init_zero;
	struct shown shown = { file, names };
	struct session session;
	int code = session_begin(&session, cli);
	if (code)
		return code;
	int err = session_stream(&session, &rpc_Fleet_ListDevices, &all, on_device, &shown);
	if (err < 0)
		code = session_fail(&session, err, "the devices of the order are not known");
	session_close(&session);
	return code;
}

static void order_print(const struct order_file *file, char (*names)[80])
{
	char text[1100], user[HEX_SIZE(16)], device[HEX_SIZE(16)], until[CLOCK_TEXT_SIZE];
	hex_encode(file->order.user, sizeof file->order.user, user);
	clock_format(file->order.until, until);
	fprintf(stderr, "command  ");
	for (pb_size_t i = 0; i < file->order.argv_count; i++)
		fprintf(stderr, "%s'%s'", i ? " " : "", utf8_clean(str_from(file->order.argv[i]), text, sizeof text));
	fprintf(stderr, "\nuser     %s\nuntil    %s\n%u device%s\n", user, until, file->order.count,
	        file->order.count == 1 ? "" : "s");
	for (size_t i = 0; i < file->order.count; i++) {
		hex_encode(file->start.devices.bytes + i * 16, 16, device);
		fprintf(stderr, "         %s %s\n", device, names[i][0] ? names[i] : "(not known to you)");
	}
}

static int approve(const struct cli *cli, struct order_file *file, char (*names)[80])
{
	const char *path = cli->operands[1];
	int code = names_get(cli, file, names);
	if (code)
		return code;
	order_print(file, names);
	if (file->order.until < clock_wall_s())
		return cli_fail_because(-E_GRANT_EXPIRED, "the order's time is over", "have it written again", "%s was not signed",
		                        path);
	code = cli_confirm(cli, "sign this order? [y/N] ", "look at it, then add --yes");
	if (code)
		return code;
	int err = user_sign_seen(&file->start.order);
	if (err == 0)
		err = order_file_write(path, &file->start);
	if (err == -E_EXISTS)
		return cli_fail_because(err, "you have signed it already", "another approver has to", "%s was not signed", path);
	if (err < 0)
		return cli_fail(err, "%s was not signed", path);
	cli_note(cli, "%s is signed; whose order it is: murmesh run --order %s", path, path);
	return CLI_OK;
}

int policy_approve(const struct cli *cli)
{
	static struct order_file file;
	static char names[sizeof file.start.devices.bytes / 16][80];
	int err = order_file_read(cli->operands[1], &file);
	return err < 0 ? cli_fail(err, "the order in %s cannot be used", cli->operands[1]) : approve(cli, &file, names);
}
