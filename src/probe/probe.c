#include "probe/probe.h"

#include <time.h>

#include "base/mem.h"
#include "io/io.h"
#include "os/clock.h"
#include "os/log.h"
#include "os/random.h"
#include "probe/module.h"
#include "probe/modules/process/process.h"
#include "probe/queue.h"

#define FLUSH_MS    100
#define KEYFRAME_MS 2000
#define TURN_US     500 /* of a keyframe; the loop's other work goes between */
#define QUEUE_AWAY  ((size_t)128 << 10)
#define QUEUE_FULL  (QUEUE_MAX / 2) /* a keyframe goes on when there is less */

static const struct probe_module *const modules[] = { &probe_process, &probe_network };
#define MODULES (sizeof modules / sizeof *modules)

struct port {
	const struct probe_module *type;
	void *module; /* NULL = it is off */
	struct gg_writer writer;
	const char *source;
	bool wanted, under_way;         /* a keyframe */
	bool source_due, source_logged; /* a NOTICE */
	uint64_t lost[GG_LOST_PLACES];
};

struct probe {
	struct probe_settings settings;
	struct io_loop *loop;
	struct gg_source datagrams, control;
	struct gg_writer control_writer;
	struct queue queue, control_queue; /* control goes first, and is made when it can go */
	uint64_t sequence;
	struct io_timer *flush, *keyframe, *turn;
	uint64_t keyframe_at_ms; /* not earlier */
	bool flushing, linked;
	struct port ports[MODULES];
};

uint64_t probe_now_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

struct io_loop *probe_loop(struct probe *probe)
{
	return probe->loop;
}

const struct probe_settings *probe_settings(const struct probe *probe)
{
	return &probe->settings;
}

static struct port *port_find(struct probe *probe, uint8_t module)
{
	for (size_t i = 0; i < MODULES; i++)
		if (probe->ports[i].type->id == module)
			return &probe->ports[i];
	return NULL;
}

/* ---- what the modules call ---- */

static void flush_soon(struct probe *probe)
{
	if (!probe->flushing)
		io_timer_start(probe->flush, FLUSH_MS, 0);
	probe->flushing = true;
}

struct gg_writer *probe_writer(struct probe *probe, uint8_t module)
{
	flush_soon(probe);
	return &port_find(probe, module)->writer;
}

void probe_lost(struct probe *probe, uint8_t module, unsigned place, uint64_t count)
{
	struct port *port = port_find(probe, module);
	if (!port || !count)
		return;
	port->lost[place] += count;
	flush_soon(probe);
}

void probe_source(struct probe *probe, uint8_t module, const char *text)
{
	struct port *port = port_find(probe, module);
	port->source = text;
	port->source_due = true;
	port->source_logged = false;
	flush_soon(probe);
}

static void keyframe_later(struct probe *probe)
{
	uint64_t now = io_loop_now_ms(probe->loop);
	io_timer_start(probe->keyframe, probe->keyframe_at_ms > now ? probe->keyframe_at_ms - now : 0, 0);
}

void probe_keyframe_wanted(struct probe *probe, uint8_t module)
{
	for (size_t i = 0; i < MODULES; i++)
		if (module == GG_CONTROL || module == modules[i]->id)
			probe->ports[i].wanted = true;
	if (probe->linked)
		keyframe_later(probe);
}

bool probe_process_find(struct probe *probe, uint64_t pid, struct gg_process *ret, struct str *ret_command)
{
	struct port *port = port_find(probe, GG_MODULE_PROCESS);
	return port->module && process_find(port->module, pid, ret, ret_command);
}

/* ---- out ---- */

static void on_datagram(void *ctx, struct str datagram, unsigned records)
{
	struct probe *probe = ctx;
	queue_push(&probe->queue, datagram, records);
}

static void on_control_datagram(void *ctx, struct str datagram, unsigned records)
{
	struct probe *probe = ctx;
	queue_push(&probe->control_queue, datagram, records);
}

static void on_dropped(void *ctx, uint8_t module, bool keyframe, unsigned records)
{
	struct probe *probe = ctx;
	struct port *port = port_find(probe, module);
	if (!port)
		return; /* control, when memory is short */
	if (keyframe)
		probe_keyframe_wanted(probe, module);
	else
		port->lost[GG_LOST_QUEUE] += records;
}

/* What is missing and where all comes from is told in front of the rest. */
static void control_write(struct probe *probe, struct port *port)
{
	uint64_t now = probe_now_ns();
	if (port->source_due && port->source) {
		const struct gg_notice notice = { port->type->id, GG_NOTICE_SOURCE, str_from(port->source) };
		gg_record_write(&probe->control_writer, gg_record_find(&gg_control, GG_NOTICE), now, &notice);
		if (!port->source_logged)
			log_info("source of %s: %s", gg_module_find(port->type->id)->name, port->source);
		port->source_logged = true;
	}
	port->source_due = false;
	for (unsigned place = 0; place < GG_LOST_PLACES; place++) {
		const struct gg_lost lost = { port->type->id, (uint8_t)place, port->lost[place] };
		if (lost.count)
			gg_record_write(&probe->control_writer, gg_record_find(&gg_control, GG_LOST), now, &lost);
		port->lost[place] = 0;
	}
}

size_t probe_take(struct probe *probe, uint8_t *out, size_t size)
{
	if (!probe->linked)
		return 0;
	for (size_t i = 0; i < MODULES; i++)
		control_write(probe, &probe->ports[i]);
	gg_writer_flush(&probe->control_writer);
	size_t len = queue_take(&probe->control_queue, &probe->sequence, out, size);
	return len + queue_take(&probe->queue, &probe->sequence, out + len, size - len);
}

static void on_flush(void *ctx)
{
	struct probe *probe = ctx;
	probe->flushing = false;
	for (size_t i = 0; i < MODULES; i++)
		gg_writer_flush(&probe->ports[i].writer);
	if (probe->linked)
		probe->settings.ready(probe->settings.ctx);
}

/* ---- keyframes ---- */

/* Its first part goes before all events that come from now on: what these name, the keyframe need not. */
static void keyframe_begin(struct port *port)
{
	port->wanted = false;
	port->under_way = true;
	port->source_due = true; /* who asks may know nothing yet */
	gg_writer_keyframe_begin(&port->writer, probe_now_ns());
	port->type->keyframe_begin(port->module);
	gg_writer_keyframe_pause(&port->writer, true);
}

/* Parts stand between events in the order of what is true: what has ended is not named behind its end. */
static void keyframe_write(struct port *port, uint64_t until_us)
{
	gg_writer_keyframe_pause(&port->writer, false);
	do
		port->under_way = port->type->keyframe_next(port->module);
	while (port->under_way && clock_monotonic_us() < until_us);
	if (port->under_way)
		gg_writer_keyframe_pause(&port->writer, true);
	else
		gg_writer_keyframe_end(&port->writer);
}

static struct port *keyframe_under_way(struct probe *probe)
{
	for (size_t i = 0; i < MODULES; i++)
		if (probe->ports[i].under_way)
			return &probe->ports[i];
	return NULL;
}

static void on_turn(void *ctx)
{
	struct probe *probe = ctx;
	struct port *port = keyframe_under_way(probe);
	flush_soon(probe);
	if (buf_len(&probe->queue.bytes) > QUEUE_FULL)
		return io_timer_start(probe->turn, FLUSH_MS, 0);
	keyframe_write(port, clock_monotonic_us() + TURN_US);
	if (keyframe_under_way(probe))
		io_timer_start(probe->turn, 0, 0);
	else
		keyframe_later(probe); /* when another one was asked for meanwhile */
}

static void on_keyframe(void *ctx)
{
	struct probe *probe = ctx;
	if (keyframe_under_way(probe))
		return;
	for (size_t i = 0; i < MODULES; i++)
		if (probe->ports[i].wanted && probe->ports[i].module)
			keyframe_begin(&probe->ports[i]);
	if (!keyframe_under_way(probe))
		return;
	probe->keyframe_at_ms = io_loop_now_ms(probe->loop) + KEYFRAME_MS;
	io_timer_start(probe->turn, 0, 0);
}

/* The link is away: what is left of it nobody could use. */
static void keyframes_stop(struct probe *probe)
{
	io_timer_stop(probe->keyframe);
	io_timer_stop(probe->turn);
	for (size_t i = 0; i < MODULES; i++)
		probe->ports[i].under_way = false;
}

void probe_linked(struct probe *probe, bool linked)
{
	if (linked == probe->linked)
		return;
	probe->linked = linked;
	queue_limit(&probe->queue, linked ? QUEUE_MAX : QUEUE_AWAY);
	if (!linked)
		return keyframes_stop(probe);
	probe->keyframe_at_ms = 0;
	probe_keyframe_wanted(probe, GG_CONTROL);
}

/* ---- in ---- */

static void control_heed(struct probe *probe, const struct gg_record *record)
{
	const struct gg_record_type *type = gg_record_find(&gg_control, record->type);
	struct gg_keyframe_wanted wanted;
	if (record->type == GG_KEYFRAME_WANTED && gg_record_read(type, record, &wanted) == GG_OK)
		probe_keyframe_wanted(probe, wanted.module);
}

void probe_receive(struct probe *probe, struct str datagrams)
{
	struct gg_datagram datagram;
	struct gg_record record;
	struct str bytes;
	while (gg_link_next(&datagrams, &bytes)) {
		size_t at = 0;
		if (gg_datagram_read(bytes, &datagram) != GG_OK || datagram.module != GG_CONTROL)
			continue;
		while (gg_record_next(&datagram, &at, &record))
			control_heed(probe, &record);
	}
}

void probe_owner(struct probe *probe, uint64_t inode, uint64_t pid)
{
	struct gg_process process;
	struct str command;
	if (!probe_process_find(probe, pid, &process, &command))
		return;
	for (size_t i = 0; i < MODULES; i++)
		if (probe->ports[i].module && probe->ports[i].type->owner)
			probe->ports[i].type->owner(probe->ports[i].module, inode, &process, command);
}

/* ---- life ---- */

static uint32_t session_new(void)
{
	uint32_t session = 0;
	while (!session)
		random_bytes(&session, sizeof session);
	return session;
}

struct probe *probe_new(struct io_loop *loop, const struct probe_settings *settings)
{
	struct probe *probe = mem_alloc(sizeof *probe);
	if (!probe)
		return NULL;
	probe->loop = loop;
	probe->settings = *settings;
	probe->datagrams = (struct gg_source){ 0, session_new(), on_datagram, probe };
	probe->control = (struct gg_source){ 0, probe->datagrams.session, on_control_datagram, probe };
	gg_writer_init(&probe->control_writer, &probe->control, GG_CONTROL);
	queue_init(&probe->queue, QUEUE_AWAY, on_dropped, probe);
	queue_init(&probe->control_queue, QUEUE_AWAY, on_dropped, probe);
	probe->flush = io_timer_new(loop, on_flush, probe);
	probe->keyframe = io_timer_new(loop, on_keyframe, probe);
	probe->turn = io_timer_new(loop, on_turn, probe);
	bool ok = probe->flush && probe->keyframe && probe->turn;
	for (size_t i = 0; i < MODULES; i++) {
		probe->ports[i].type = modules[i];
		gg_writer_init(&probe->ports[i].writer, &probe->datagrams, modules[i]->id);
	}
	for (size_t i = 0; i < MODULES && ok; i++) {
		if (modules[i]->id == GG_MODULE_NETWORK && !settings->network)
			continue;
		probe->ports[i].module = modules[i]->open(probe);
		ok = probe->ports[i].module != NULL;
	}
	return ok ? probe : probe_free(probe);
}

void probe_start(struct probe *probe)
{
	for (size_t i = 0; i < MODULES; i++)
		if (probe->ports[i].module)
			modules[i]->start(probe->ports[i].module);
}

struct probe *probe_free(struct probe *probe)
{
	if (!probe)
		return NULL;
	for (size_t i = 0; i < MODULES; i++)
		if (probe->ports[i].type)
			probe->ports[i].module = modules[i]->close(probe->ports[i].module);
	io_timer_free(probe->flush);
	io_timer_free(probe->keyframe);
	io_timer_free(probe->turn);
	queue_done(&probe->queue);
	queue_done(&probe->control_queue);
	return mem_free(probe);
}
