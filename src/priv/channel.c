#include "priv/channel.h"

#include <errno.h>
#include <fcntl.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fault.h"
#include "base/list.h"
#include "base/mem.h"
#include "io/io.h"
#include "os/fd.h"

#define QUEUE_MAX  64   /* packets */
#define TURN_MAX   16   /* packets received before others have their turn */
#define DRAIN_MAX  1024 /* a socket holds fewer; the role may have given its end to somebody who goes on sending */
#define PACKET_MAX (1 + CONTROL_TEXT_MAX) /* of those received */

struct packet {
	struct list node;
	int passed; /* own copy, or -1 */
	size_t len;
	uint8_t bytes[];
};

struct channel {
	int fd;
	struct io_watch *watch;
	struct list queue;
	size_t queued;
	channel_cb cb;
	void *ctx;
};

static void packet_free(struct channel *channel, struct packet *packet)
{
	list_remove(&packet->node);
	channel->queued--;
	fd_close(packet->passed);
	mem_free(packet);
}

static int packet_queue(struct channel *channel, const struct buf *bytes, int passed)
{
	if (channel->queued == QUEUE_MAX)
		return -E_FULL;
	struct packet *packet = mem_alloc(sizeof *packet + buf_len(bytes));
	if (!packet)
		return -E_NO_MEMORY;
	packet->passed = passed < 0 ? -1 : fcntl(passed, F_DUPFD_CLOEXEC, 0);
	if (passed >= 0 && packet->passed < 0) {
		mem_free(packet);
		return -errno;
	}
	packet->len = buf_len(bytes);
	memcpy(packet->bytes, buf_head(bytes), packet->len);
	list_append(&channel->queue, &packet->node);
	channel->queued++;
	return io_watch_set(channel->watch, IO_READABLE | IO_WRITABLE);
}

static void queue_flush(struct channel *channel)
{
	LIST_EACH(at, &channel->queue) {
		struct packet *packet = LIST_ENTRY(at, struct packet, node);
		int err = fd_send(channel->fd, packet->bytes, packet->len, &packet->passed, packet->passed < 0 ? 0 : 1);
		if (err == -EAGAIN)
			return;
		packet_free(channel, packet);
		if (err < 0)
			channel->cb(channel->ctx, CHANNEL_BROKEN, STR(""));
	}
	io_watch_set(channel->watch, IO_READABLE);
}

/* False when there is nothing more, for now or for good. */
static bool receive(struct channel *channel)
{
	uint8_t bytes[PACKET_MAX];
	int fds[FD_PASS_MAX];
	size_t n;
	ssize_t len = fd_receive(channel->fd, bytes, sizeof bytes, fds, &n);
	if (len == -EAGAIN)
		return false;
	while (n)
		fd_close(fds[--n]);
	if (len == 0 || len == -ECONNRESET) {
		io_watch_set(channel->watch, 0);
		return false;
	}
	if (len < 0)
		channel->cb(channel->ctx, CHANNEL_BROKEN, STR(""));
	else
		channel->cb(channel->ctx, bytes[0], (struct str){ (const char *)bytes + 1, (size_t)len - 1 });
	return true;
}

static void on_event(void *ctx, unsigned events)
{
	struct channel *channel = ctx;
	if (events & IO_WRITABLE)
		queue_flush(channel);
	for (unsigned i = 0; i < TURN_MAX && receive(channel); i++)
		;
}

struct channel *channel_new(struct io_loop *loop, int fd, channel_cb cb, void *ctx)
{
	struct channel *channel = mem_alloc(sizeof *channel);
	if (!channel) {
		fd_close(fd);
		return NULL;
	}
	*channel = (struct channel){ .fd = fd, .cb = cb, .ctx = ctx };
	list_init(&channel->queue);
	channel->watch = io_watch_new(loop, fd, on_event, channel);
	if (!channel->watch || io_watch_set(channel->watch, IO_READABLE) < 0)
		return channel_free(channel);
	return channel;
}

struct channel *channel_free(struct channel *channel)
{
	if (!channel)
		return NULL;
	LIST_EACH(at, &channel->queue)
		packet_free(channel, LIST_ENTRY(at, struct packet, node));
	io_watch_free(channel->watch);
	fd_close(channel->fd);
	return mem_free(channel);
}

static int send_or_queue(struct channel *channel, const struct buf *bytes, int passed)
{
	int err = -EAGAIN;
	if (list_empty(&channel->queue))
		err = fd_send(channel->fd, buf_head(bytes), buf_len(bytes), &passed, passed < 0 ? 0 : 1);
	return err == -EAGAIN ? packet_queue(channel, bytes, passed) : err;
}

int channel_send(struct channel *channel, enum control_kind kind, struct str payload, int passed)
{
	struct buf packet;
	buf_init(&packet, 1 + CONTROL_START_MAX);
	int err = control_encode(kind, payload, &packet);
	if (err == 0)
		err = send_or_queue(channel, &packet, passed);
	buf_done(&packet);
	return err;
}

void channel_drain(struct channel *channel)
{
	for (unsigned i = 0; i < DRAIN_MAX && receive(channel); i++)
		;
}
