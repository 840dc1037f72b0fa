/* Messages to this machine: kept in the spool, acknowledged, then laid down as files in net/inbox, for local programs. */
#include <dirent.h>
#include <inttypes.h>

#include "agent/net.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/log.h"
#include "os/random.h"
#include "route/peer.h"

#define INBOX_MAX  10000 /* files; more wait in the spool */
#define INBOX_TAKE 16    /* in one turn of the loop: each is synced */

struct net_router {
	struct net_role *net;
	struct route *route;
	struct spool_disk disk;
	struct peers peers;
	struct peer *parent; /* NULL: offline */
	struct io_task soon;
	struct io_timer *tick;
	char inbox[4096];
	size_t files; /* in it, as far as is known: others take them away */
};

static const struct id *own_id(const struct net_router *router)
{
	return &router->net->keep.info.identity.id;
}

/* As the mesh tells it: by a clock that is days ahead each message would have expired. */
static int64_t now_ms(void)
{
	return trusted_time_or_wall() * 1000;
}

/* ---- the inbox ---- */

static int files_count(struct net_router *router)
{
	DIR *directory = opendir(router->inbox);
	if (!directory)
		return -E_FILE;
	router->files = 0;
	for (struct dirent *entry; (entry = readdir(directory));)
		router->files += entry->d_name[0] != '.';
	closedir(directory);
	return 0;
}

static void time_line(struct buf *out, const char *name, int64_t ms)
{
	char text[CLOCK_TEXT_SIZE];
	clock_format(ms / 1000, text);
	buf_printf(out, "%s: %s\n", name, text);
}

/* Texts of others stand on one line. */
static void text_line(struct buf *out, const char *name, const char *text)
{
	char clean[128];
	buf_printf(out, "%s: %s\n", name, utf8_clean(str_from(text), clean, sizeof clean));
}

static int file_format(const murmesh_Envelope *envelope, struct str body, struct buf *out)
{
	static const char *const priorities[] = { "normal", "low", "high" };
	char id[ID_TEXT_SIZE];
	struct id bytes;
	memcpy(bytes.bytes, envelope->id, sizeof bytes.bytes);
	id_format(&bytes, id);
	buf_printf(out, "Id: %s\n", id);
	text_line(out, "Type", envelope->type);
	if (envelope->from.size) {
		memcpy(bytes.bytes, envelope->from.bytes, sizeof bytes.bytes);
		id_format(&bytes, id);
	}
	buf_printf(out, "From: %s\nPriority: %s\n", envelope->from.size ? id : "server", priorities[envelope->priority]);
	time_line(out, "Created", envelope->created_ms);
	time_line(out, "Expires", envelope->created_ms + envelope_lifetime_ms(envelope));
	if (envelope->key[0])
		text_line(out, "Key", envelope->key);
	int err = buf_printf(out, "Length: %zu\n\n", body.len);
	return err < 0 ? err : buf_append_str(out, body);
}

/* The same message is the same file, however often it comes. */
static int file_lay(struct net_router *router, const murmesh_Envelope *envelope, struct str body)
{
	char name[96], path[sizeof router->inbox + sizeof name], id[ID_TEXT_SIZE];
	struct buf out;
	struct id bytes;
	memcpy(bytes.bytes, envelope->id, sizeof bytes.bytes);
	id_format(&bytes, id);
	buf_init(&out, ENVELOPE_MAX);
	snprintf(name, sizeof name, "%013" PRId64 "-%s", envelope->created_ms, id);
	int err = file_format(envelope, body, &out);
	if (err == 0)
		err = file_path(path, sizeof path, router->inbox, name);
	if (err == 0)
		err = file_write(path, buf_head(&out), buf_len(&out), 0640);
	buf_done(&out);
	return err;
}

static void one_deliver(struct net_router *router, struct str bytes)
{
	static murmesh_Envelope envelope;
	struct str body;
	struct id id;
	int err = envelope_read(bytes, &envelope, &body);
	memcpy(id.bytes, envelope.id, sizeof id.bytes);
	if (err == 0)
		err = file_lay(router, &envelope, body);
	if (err == 0) {
		router->files++;
		route_delivered(router->route, own_id(router), &id, now_ms());
		return;
	}
	log_limited(LOG_WARNING, "a message cannot be written to %s: %s", router->inbox, err_text(err));
	route_refused(router->route, own_id(router), &id, ROUTE_RETRY_S * 1000, now_ms());
}

static void inbox_deliver(struct net_router *router)
{
	struct buf bytes;
	buf_init(&bytes, ENVELOPE_MAX);
	for (int i = 0; i < INBOX_TAKE && router->files < INBOX_MAX; i++) {
		route_credit(router->route, own_id(router), 1);
		if (route_next(router->route, own_id(router), now_ms(), &bytes) != 1)
			break;
		one_deliver(router, buf_str(&bytes));
		buf_clear(&bytes);
	}
	buf_done(&bytes);
}

/* ---- the router ---- */

/* What came in one turn of the loop shares a sync. */
static void on_soon(void *ctx)
{
	struct net_router *router = ctx;
	inbox_deliver(router);
	struct spool_sync *sync = route_sync_begin(router->route);
	if (sync) {
		spool_sync_run(sync);
		route_sync_end(router->route, now_ms());
		io_task_schedule(router->net->loop, &router->soon);
	}
	peers_answer(&router->peers);
}

static void on_tick(void *ctx)
{
	struct net_router *router = ctx;
	if (router->files >= INBOX_MAX)
		files_count(router);
	route_tick(router->route, now_ms());
	io_task_schedule(router->net->loop, &router->soon);
}

static void on_ready(void *ctx, const struct id *destination)
{
	struct net_router *router = ctx;
	if (id_is_zero(destination) && router->parent)
		peer_send(router->parent, now_ms());
	io_task_schedule(router->net->loop, &router->soon);
}

static void on_dead(void *ctx, const struct id *destination, const struct id *envelope, enum route_dead why)
{
	char message[ID_TEXT_SIZE];
	(void)ctx;
	id_format(envelope, message);
	log_limited(LOG_INFO, "message %s %s: %s", message,
	            id_is_zero(destination) ? "does not reach the server" : "was not laid into the inbox", route_dead_name(why));
}

static void on_damaged(void *ctx, const struct spool_damage *damage)
{
	(void)ctx;
	log_warning("the spool's segment %016" PRIx64 ", bytes %" PRIu64 " to %" PRIu64 ": %s", damage->segment, damage->at,
	            damage->at + damage->len,
	            damage->err    ? err_text(damage->err)
	            : damage->torn ? "the end of what was being written when the agent ended"
	                           : "damaged");
}

static int route_begin(struct net_router *router)
{
	static const struct route_events events = { route_giver_tell, on_ready, on_dead, NULL, on_damaged };
	const char *directory = router->net->keep.directory;
	struct route_settings settings = route_settings_device;
	char path[4096];
	int err = file_path(path, sizeof path, directory, "spool");
	if (err == 0)
		err = file_path(router->inbox, sizeof router->inbox, directory, "inbox");
	if (err == 0)
		err = file_make_directory(router->inbox, 0750);
	if (err == 0)
		err = files_count(router);
	if (err == 0)
		err = spool_disk_open(path, &router->disk);
	settings.spool.disk = router->disk;
	settings.self = *own_id(router);
	settings.random = random_bytes;
	random_bytes(settings.spool.seed, sizeof settings.spool.seed);
	if (err == 0)
		err = route_open(&settings, &events, router, now_ms(), &router->route);
	return err < 0 ? err : route_attach(router->route, own_id(router));
}

static int router_begin(struct net_role *net)
{
	struct net_router *router = mem_alloc(sizeof *router);
	if (!router)
		return -E_NO_MEMORY;
	net->router = router;
	router->net = net;
	io_task_init(&router->soon, on_soon, router);
	router->tick = io_timer_new(net->loop, on_tick, router);
	int err = router->tick ? route_begin(router) : -E_NO_MEMORY;
	if (err < 0) {
		net_envelope_free(net);
		return err;
	}
	peers_init(&router->peers, router->route);
	io_timer_start(router->tick, 0, ROUTE_TICK_MS);
	return 0;
}

void net_envelope_free(struct net_role *net)
{
	struct net_router *router = net->router;
	if (!router)
		return;
	net_envelope_end(net);
	net->router = NULL;
	io_task_cancel(&router->soon);
	io_timer_free(router->tick);
	route_free(router->route);
	spool_disk_close(&router->disk);
	mem_free(router);
}

/* ---- the parent's link ---- */

static int parent_send(void *ctx, const murmesh_Frame *frame)
{
	const struct net_router *router = ctx;
	return router->net->link ? rpc_call_send(router->net->link, frame) : -E_CLOSED;
}

static bool parent_crowded(void *ctx)
{
	const struct net_router *router = ctx;
	return router->net->link && rpc_call_crowded(router->net->link);
}

static void parent_failed(void *ctx, int err)
{
	struct net_router *router = ctx;
	log_limited(LOG_WARNING, "the parent's messages cannot be read: %s", err_text(err));
	if (router->net->link)
		rpc_call_cancel(router->net->link);
}

static int parent_destination(void *ctx, const murmesh_Envelope *envelope, struct id *ret)
{
	const struct net_router *router = ctx;
	if (envelope->which_to != murmesh_Envelope_node_tag ||
	    memcmp(envelope->to.node, own_id(router)->bytes, sizeof envelope->to.node) != 0)
		return -E_NOT_FOUND;
	*ret = *own_id(router);
	return 0;
}

void net_envelope_begin(struct net_role *net)
{
	static const struct peer_events events = { parent_send, parent_crowded, parent_failed, parent_destination };
	static const struct id server;
	int err = net->router ? 0 : router_begin(net);
	net_envelope_end(net);
	if (err == 0)
		err = peer_new(&net->router->peers, &server, &events, net->router, &net->router->parent);
	if (err < 0)
		log_warning("messages are not taken: %s", err_text(err));
}

void net_envelope_end(struct net_role *net)
{
	if (net->router)
		net->router->parent = peer_free(net->router->parent);
}

void net_envelope_frame(struct net_role *net, const murmesh_Frame *frame)
{
	if (!net->router || !net->router->parent)
		return;
	peer_frame(net->router->parent, frame, now_ms());
	io_task_schedule(net->loop, &net->router->soon);
}

void net_envelope_send(struct net_role *net)
{
	if (net->router && net->router->parent)
		peer_send(net->router->parent, now_ms());
}
