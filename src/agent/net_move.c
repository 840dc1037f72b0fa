/* Another parent by order of the server: signed, for relays pass it on; kept; forgotten again when that parent does not answer for so long. */
#include <errno.h>
#include <inttypes.h>

#include "agent/net.h"
#include "base/err.h"
#include "os/file.h"
#include "os/log.h"

#define FILE_MAX 1024

static int move_keep(const struct net_role *net)
{
	const struct net_move *move = &net->move;
	char path[4096], text[FILE_MAX];
	int len = snprintf(text, sizeof text, "created_ms=%" PRId64 "\nhost=%s\nport=%u\nfall_back_s=%u\nreached=%d\n",
	                   move->created_ms, move->to.host, move->to.port, move->fall_back_s, move->reached);
	int err = keep_file(&net->keep, "move", path);
	return err < 0 ? err : file_write(path, text, (size_t)len, 0600);
}

static void on_fall_back(void *ctx)
{
	struct net_role *net = ctx;
	struct net_move *move = &net->move;
	if (!move->to.port || move->reached)
		return;
	log_warning("the parent %s:%u, to which this machine was moved, does not answer: it stays where it was", move->to.host,
	            move->to.port);
	move->to = (struct net_parent){ .port = 0 };
	if (move_keep(net) < 0 || net_parents_load(net) < 0)
		log_warning("after a restart this machine will try the parent that does not answer once more");
}

static void fall_back_begin(struct net_role *net)
{
	struct net_move *move = &net->move;
	if (!move->fall_back)
		move->fall_back = io_timer_new(net->loop, on_fall_back, net);
	if (move->fall_back && move->to.port && !move->reached)
		io_timer_start(move->fall_back, (uint64_t)move->fall_back_s * 1000, 0);
}

int net_move_load(struct net_role *net)
{
	struct net_move *move = &net->move;
	char path[4096];
	struct buf text;
	uint64_t number = 0;
	buf_init(&text, FILE_MAX);
	int err = keep_file(&net->keep, "move", path);
	if (err == 0)
		err = file_read(path, &text);
	struct str lines = buf_str(&text);
	if (err == 0 && (err = str_to_u64(str_setting(lines, "created_ms"), INT64_MAX, &number)) == 0)
		move->created_ms = (int64_t)number;
	if (err == 0)
		err = str_copy(str_setting(lines, "host"), move->to.host, sizeof move->to.host);
	if (err == 0 && (err = str_to_u64(str_setting(lines, "fall_back_s"), UINT32_MAX, &number)) == 0)
		move->fall_back_s = (uint32_t)number;
	move->reached = str_is(str_setting(lines, "reached"), "1");
	if (err == 0)
		err = str_to_u64(str_setting(lines, "port"), 65535, &number);
	move->to.port = err == 0 ? (uint16_t)number : 0;
	buf_done(&text);
	fall_back_begin(net);
	return err == -ENOENT ? 0 : err;
}

static int move_read(struct net_role *net, const murmesh_SignedDocument *document, struct net_move *ret)
{
	murmesh_Move order;
	int err = move_check(net->trust, document, &order);
	if (err == 0)
		err = net_time_order(net, order.created_ms, net->move.created_ms);
	*ret = (struct net_move){ .fall_back = net->move.fall_back,
		                  .created_ms = order.created_ms,
		                  .fall_back_s = order.fall_back_s };
	if (err == 0 && order.parent[0])
		err = join_address_parse(str_from(order.parent), ret->to.host, &ret->to.port);
	return err;
}

void net_move_take(struct net_role *net, const murmesh_SignedDocument *document)
{
	const struct net_move before = net->move;
	struct net_move move;
	int err = move_read(net, document, &move);
	if (err == 0) { /* as net_relay_duty() has it */
		net->move = move;
		err = move_keep(net);
	}
	if (err < 0) {
		net->move = before;
		log_limited(LOG_WARNING, "an order to link to another parent was not taken: %s", err_text(err));
		return net_order_refuse(net, murmesh_Frame_move_tag, err);
	}
	if (net_parents_load(net) < 0)
		log_warning("the order to link to another parent holds after a restart only: its other parents cannot be read");
	fall_back_begin(net);
	if (!net_parent_same(net_parent(net), &net->dialed))
		return net_link_again(net); /* where it is linked it is not to be any more */
	net_move_welcome(net);              /* it may be there already */
	net_parents_better(net);
}

void net_move_welcome(struct net_role *net)
{
	struct net_move *move = &net->move;
	if (!move->to.port || move->reached || !net_parent_same(&net->dialed, &move->to))
		return;
	move->reached = true;
	io_timer_stop(move->fall_back);
	log_info("linked to the parent that this machine was moved to, %s:%u", move->to.host, move->to.port);
	if (move_keep(net) < 0)
		log_warning("that this machine has moved could not be kept");
}
