#include "tunnel/udp_end.h"

#include <errno.h>

#include "base/err.h"
#include "base/list.h"
#include "base/mem.h"
#include "h1/h1.h"
#include "io/io.h"
#include "os/datagram.h"
#include "os/fd.h"
#include "tunnel/udp_flow.h"

#define ROUNDS    64                 /* datagrams of one socket a turn: others want the loop too */
#define EARLY_MAX ((size_t)64 << 10) /* bytes that wait for the look-up of a name */

struct udp_end {
	struct io_loop *loop;
	struct udp_end_settings settings;
	struct list targets;
	size_t room;
	uint64_t lost; /* by flows that are over */
};

/* One stream, from its request to its end. */
struct udp_target {
	struct list node;
	struct udp_end *end; /* NULL: it is over, the look-up's answer frees it */
	struct udp_flow flow;
	struct datagrams early;
	struct io_watch *watch; /* NULL: not connected */
	int fd;
	bool resolving, refused, peer_ended;
	uint16_t port;
	uint64_t lost;
	char name[300];
};

static void target_free(struct udp_target *target)
{
	struct udp_end *end = target->end;
	end->lost += udp_flow_lost(&target->flow) + target->early.lost + target->lost;
	list_remove(&target->node);
	--*end->settings.n_flows;
	target->end = NULL;
	udp_flow_done(&target->flow);
	datagrams_done(&target->early);
	io_watch_free(target->watch);
	fd_close(target->fd);
	if (!target->resolving)
		mem_free(target);
}

/* Without waiting for the user's end: what it still sends is not heard. */
static void target_reset(struct udp_target *target, uint32_t error)
{
	h2_stream_reset(target->flow.stream, error);
	target_free(target);
}

/* ---- answers ---- */

static int answer(struct udp_target *target, int err, struct str details, struct buf *reason)
{
	struct h2_head head = { .n = 0 };
	char status[4];
	snprintf(status, sizeof status, "%u", err ? h1_status(err) : 200);
	h2_head_add(&head, STR(":status"), str_from(status));
	int failed = err ? h1_proxy_status_write(reason, err, details) : 0;
	h2_head_add(&head, err ? STR("proxy-status") : STR("capsule-protocol"), err ? buf_str(reason) : STR("?1"));
	return failed < 0 ? failed : h2_stream_respond(target->flow.stream, &head, err != 0);
}

/* The stream ends when the answer is gone. */
static void refuse(struct udp_target *target, int err)
{
	struct buf reason;
	target->end->settings.refused(target->end->settings.ctx, err, target->name);
	buf_init(&reason, 1024);
	target->refused = true;
	if (answer(target, err, STR(""), &reason) < 0)
		target_reset(target, H2_INTERNAL_ERROR);
	buf_done(&reason);
}

/* ---- datagrams ---- */

static int refusal(int err)
{
	switch (-err) {
	case ECONNREFUSED:
		return -E_TARGET_REFUSED;
	case EMFILE:
	case ENFILE:
		return -E_LIMIT;
	default:
		return err > -E_FIRST ? -E_TARGET_UNREACHABLE : err;
	}
}

/* What says nothing about the target: this datagram cannot be sent, others can. */
static bool is_loss(int err)
{
	return err == -EAGAIN || err == -EMSGSIZE || err == -ENOBUFS || err == -ENOMEM || err == -EPERM;
}

static int on_datagram(void *ctx, struct str datagram)
{
	struct udp_target *target = ctx;
	if (!target->watch) {
		datagrams_add(&target->early, datagram);
		return 0;
	}
	int err = datagram_send(target->fd, datagram.ptr, datagram.len);
	bool lost = is_loss(err);
	target->lost += lost;
	return lost ? 0 : err;
}

/* The target has refused a datagram: the next one begins anew. */
static void target_fail(struct udp_target *target, int err)
{
	target->end->settings.refused(target->end->settings.ctx, refusal(err), target->name);
	target_reset(target, err == -E_PROTOCOL ? H2_PROTOCOL_ERROR : H2_CONNECT_ERROR);
}

static void on_socket(void *ctx, unsigned events)
{
	struct udp_target *target = ctx;
	uint8_t *scratch = io_loop_scratch(target->end->loop);
	(void)events;
	for (int i = 0; i < ROUNDS; i++) {
		ssize_t n = datagram_receive(target->fd, scratch, IO_SCRATCH);
		if (n == -EAGAIN)
			return;
		if (n < 0)
			return target_fail(target, (int)n);
		udp_flow_send(&target->flow, (struct str){ (const char *)scratch, (size_t)n });
	}
}

/* ---- the target ---- */

static void early_send(struct udp_target *target)
{
	struct str first;
	int err = 0;
	while (err == 0 && datagrams_first(&target->early, &first)) {
		err = on_datagram(target, first);
		datagrams_drop_first(&target->early);
	}
	if (err < 0)
		target_fail(target, err);
}

static int target_open(struct udp_target *target, const struct socket_address *address)
{
	target->fd = datagram_connect(address);
	if (target->fd < 0)
		return target->fd;
	target->watch = io_watch_new(target->end->loop, target->fd, on_socket, target);
	if (target->watch && io_watch_set(target->watch, IO_READABLE) == 0)
		return 0;
	target->watch = io_watch_free(target->watch);
	target->fd = fd_close(target->fd);
	return -E_NO_MEMORY;
}

/* The first of them that can be sent to. */
static void targets_open(struct udp_target *target, const struct str *addresses, size_t n)
{
	struct socket_address address;
	int err = -E_TARGET_NAME;
	for (size_t i = 0; i < n && err < 0; i++)
		if (socket_address_parse(addresses[i], target->port, &address) == 0)
			err = target_open(target, &address);
	if (err < 0)
		return refuse(target, refusal(err));
	if (answer(target, 0, STR(""), NULL) < 0)
		return target_reset(target, H2_INTERNAL_ERROR);
	early_send(target);
}

static void on_addresses(void *ctx, int err, const struct str *addresses, size_t n)
{
	struct udp_target *target = ctx;
	target->resolving = false;
	if (!target->end)
		mem_free(target);
	else if (err < 0)
		refuse(target, err);
	else
		targets_open(target, addresses, n);
}

static void target_find(struct udp_target *target, const char *host)
{
	static const struct str itself = STR("127.0.0.1");
	const struct udp_end_settings *settings = &target->end->settings;
	struct str name = str_from(host);
	struct socket_address address;
	if (str_equal_nocase(name, STR("localhost")))
		return targets_open(target, &itself, 1);
	if (socket_address_parse(name, target->port, &address) == 0)
		return targets_open(target, &name, 1);
	target->resolving = true;
	int err = settings->resolve(settings->ctx, name, on_addresses, target);
	if (err == 0)
		return;
	target->resolving = false;
	refuse(target, err);
}

/* ---- the stream ---- */

static void on_data(void *ctx, const uint8_t *bytes, size_t len)
{
	struct udp_target *target = ctx;
	h2_stream_consume(target->flow.stream, len);
	if (target->refused) /* never looked at */
		return;
	int err = udp_flow_receive(&target->flow, bytes, len, on_datagram, target);
	if (err < 0)
		target_fail(target, err);
}

/* The user's end closes the flow. */
static void on_end(void *ctx)
{
	struct udp_target *target = ctx;
	target->peer_ended = true;
	if (target->refused)
		return;
	if (target->resolving || h2_stream_end(target->flow.stream, NULL) < 0)
		return target_reset(target, H2_CANCEL);
	target_free(target);
}

static void on_sent(void *ctx)
{
	struct udp_target *target = ctx;
	if (!target->peer_ended) /* it was refused: what the user still sends is of no use */
		h2_stream_reset(target->flow.stream, H2_NO_ERROR);
}

static void on_drained(void *ctx)
{
	udp_flow_drained(&((struct udp_target *)ctx)->flow);
}

static void on_closed(void *ctx, uint32_t error)
{
	struct udp_target *target = ctx;
	(void)error;
	target->flow.stream = NULL;
	target_free(target);
}

static int authorize(const struct udp_end *end, const struct h2_head *head, const char *host, uint16_t port)
{
	static murmesh_SignedDocument document;
	static murmesh_Grant grant;
	const struct udp_end_settings *settings = &end->settings;
	int err = grant_text_read(h2_head_get(head, "murmesh-grant"), &document);
	if (err == 0)
		err = grant_check(settings->trust(settings->ctx), &document, &settings->user, settings->now(), &grant);
	return err < 0 ? err : grant_allows_udp(&grant, str_from(host), port);
}

int udp_end_request(struct udp_end *end, struct h2_stream *stream, const struct h2_head *head)
{
	static const struct h2_stream_events events = { NULL, on_data, NULL, on_end, on_sent, on_drained, on_closed };
	struct udp_target *target = mem_alloc(sizeof *target);
	char host[256] = "";
	if (!target)
		return -E_NO_MEMORY;
	*target = (struct udp_target){ .end = end, .fd = -1 };
	list_append(&end->targets, &target->node);
	++*end->settings.n_flows;
	datagrams_init(&target->early, EARLY_MAX, &end->room);
	udp_flow_init(&target->flow, &end->room);
	udp_flow_open(&target->flow, stream);
	h2_stream_set_events(stream, &events, target);
	int err = str_is(h2_head_get(head, ":protocol"), "connect-udp")
	                  ? udp_path_parse(h2_head_get(head, ":path"), host, &target->port)
	                  : -E_UNSUPPORTED;
	target_format_udp(str_from(host), target->port, target->name, sizeof target->name);
	if (err == 0)
		err = authorize(end, head, host, target->port);
	if (err == 0 && *end->settings.n_flows > UDP_FLOWS_MAX)
		err = -E_LIMIT;
	if (err < 0)
		refuse(target, err);
	else
		target_find(target, host);
	return 0;
}

/* ---- the end ---- */

struct udp_end *udp_end_new(struct io_loop *loop, const struct udp_end_settings *settings)
{
	struct udp_end *end = mem_alloc(sizeof *end);
	if (!end)
		return NULL;
	*end = (struct udp_end){ .loop = loop, .settings = *settings, .room = UDP_LEG_QUEUE };
	list_init(&end->targets);
	return end;
}

struct udp_end *udp_end_free(struct udp_end *end)
{
	if (!end)
		return NULL;
	while (!list_empty(&end->targets))
		target_free(LIST_ENTRY(end->targets.next, struct udp_target, node));
	return mem_free(end);
}

uint64_t udp_end_lost(const struct udp_end *end)
{
	uint64_t lost = end->lost;
	LIST_EACH(at, &end->targets) {
		const struct udp_target *target = LIST_ENTRY(at, struct udp_target, node);
		lost += udp_flow_lost(&target->flow) + target->early.lost + target->lost;
	}
	return lost;
}
