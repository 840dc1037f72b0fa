/* The thread through all links, in the file `link`: the number of the last welcome, the latest time that was told, and which machine this is. */
#include <errno.h>

#include "agent/net.h"
#include "base/encode.h"
#include "base/err.h"
#include "base/mem.h"
#include "os/file.h"
#include "os/log.h"

#define SPLIT_MS 20000

/* Not the id itself: machine-id(5) wants it kept. */
static void machine_text(const struct net_role *net, char out[2 * HASH_SIZE + 1])
{
	char text[64];
	uint8_t hash[HASH_SIZE];
	out[0] = 0;
	if (!net->host.machine_id[0])
		return;
	int len = snprintf(text, sizeof text, "murmesh machine %s", net->host.machine_id);
	hash_sha256(text, (size_t)len, hash);
	hex_encode(hash, sizeof hash, out);
}

int net_thread_keep(const struct net_role *net)
{
	char path[4096], text[256], machine[2 * HASH_SIZE + 1];
	machine_text(net, machine);
	int len = snprintf(text, sizeof text, "continuation=%llu\ntime=%lld\nmachine=%s\n", (unsigned long long)net->continuation,
	                   (long long)net->time_least, machine);
	int err = keep_file(&net->keep, "link", path);
	return err < 0 ? err : file_write(path, text, (size_t)len, 0600);
}

/* A file that cannot be read is no reason to come as a stranger: that would look like a copy. */
int net_thread_load(struct net_role *net)
{
	char path[4096], machine[2 * HASH_SIZE + 1];
	struct buf text;
	uint64_t time = 0;
	buf_init(&text, 1024);
	int err = keep_file(&net->keep, "link", path);
	if (err == 0)
		err = file_read(path, &text);
	if (err == -ENOENT)
		return net_thread_keep(net);
	if (err == 0)
		err = str_to_u64(str_setting(buf_str(&text), "continuation"), UINT64_MAX, &net->continuation);
	if (err == 0)
		err = str_to_u64(str_setting(buf_str(&text), "time"), INT64_MAX, &time);
	net->time_least = (int64_t)time;
	machine_text(net, machine);
	struct str before = str_setting(buf_str(&text), "machine");
	net->machine_changed = err == 0 && before.len && machine[0] && !str_is(before, machine);
	net->copied = net->machine_changed;
	if (net->copied)
		log_warning(
		        "this machine's id has changed: it is a copy of the one that enrolled, and asks to become one of its own");
	buf_done(&text);
	return err;
}

void net_begin_anew(struct net_role *net, const struct join_line *line)
{
	char text[JOIN_LINE_SIZE];
	int err = join_line_format(line, text);
	if (err < 0)
		return net_link_later(net, err, NULL);
	net_report(net, "split %s", text);
	mem_wipe(text, sizeof text);
	net_hang_up(net); /* the monitor ends this role */
}

static void on_split(void *ctx, int err, const char *why, const void *response)
{
	struct net_role *net = ctx;
	const murmesh_SplitReply *reply = response;
	struct join_line line;
	struct certificate_info root;
	if (err == 0)
		err = join_line_parse(str_from(reply->join), &line);
	if (err == 0)
		err = certificate_inspect(net->keep.root, &root);
	if (err == 0 && !hash_equal(root.key_hash, line.root_hash)) /* the monitor would not take it, and end */
		err = -E_WRONG_PIN;
	if (err < 0) {
		net->copied = net->machine_changed;
		/* the server does not know of a copy: it was another parent that said so */
		return err == -E_DENIED && !net->copied ? net_link_again(net) : net_link_later(net, err, why);
	}
	str_copy(str_from(net->dialed.host), line.host, sizeof line.host); /* as it is reached from here */
	line.port = net->dialed.port;
	net_begin_anew(net, &line);
	mem_wipe(&line, sizeof line);
}

void net_split(struct net_role *net)
{
	const murmesh_SplitRequest request = { .machine_changed = net->machine_changed, .continuation = net->continuation };
	int err = rpc_unary(net->parent, &rpc_CertificationManager_Split, &request, SPLIT_MS, on_split, net);
	if (err < 0)
		net_link_later(net, err, NULL);
}
