#include "collect/collect.h"

#include <string.h>

#include "base/err.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "os/clock.h"
#include "os/random.h"

struct collect_device {
	struct list node;
	struct collect *collect;
	struct id id;
	void *stream; /* NULL: the link has ended */
	uint64_t left_ms;
	uint32_t session;
	struct gg_order order;
	uint64_t budget, budget_ms; /* of cost, and when it was reckoned */
	uint64_t left_out;          /* events since the last batch */
	uint32_t left_out_datagrams;
	bool keyframe_wanted;
	uint64_t asked_ms; /* 0 = never */
	uint64_t asked;    /* sequence number of the last request */
};

struct collect {
	struct events *store;
	const struct collect_events *events;
	void *ctx;
	struct map *by_id;
	struct list devices;
	uint32_t session; /* of the datagrams that go to devices */
	struct collect_counters counters;
};

struct collect *collect_new(const struct events_settings *settings, const struct collect_events *events, void *ctx)
{
	uint8_t seed[16];
	struct collect *collect = mem_alloc(sizeof *collect);
	if (!collect)
		return NULL;
	random_bytes(seed, sizeof seed);
	list_init(&collect->devices);
	collect->events = events;
	collect->ctx = ctx;
	collect->session = 1 + (uint32_t)random_below(UINT32_MAX);
	collect->by_id = map_new(seed, COLLECT_DEVICES_MAX);
	collect->store = events_new(settings);
	return collect->by_id && collect->store ? collect : collect_free(collect);
}

static void device_free(struct collect_device *device)
{
	map_remove(device->collect->by_id, &device->id, sizeof device->id);
	list_remove(&device->node);
	mem_free(device);
}

struct collect *collect_free(struct collect *collect)
{
	if (!collect)
		return NULL;
	LIST_EACH(at, &collect->devices)
		device_free(LIST_ENTRY(at, struct collect_device, node));
	map_free(collect->by_id);
	events_free(collect->store);
	return mem_free(collect);
}

const struct collect_counters *collect_counters(struct collect *collect)
{
	collect->counters.devices = map_count(collect->by_id);
	return &collect->counters;
}

struct events *collect_store(struct collect *collect)
{
	return collect->store;
}

/* ---- streams ---- */

static struct collect_device *device_new(struct collect *collect, const struct id *id, uint64_t now_ms)
{
	struct collect_device *device = mem_alloc(sizeof *device);
	if (!device || map_put(collect->by_id, id, sizeof *id, device) < 0)
		return mem_free(device);
	device->collect = collect;
	device->id = *id;
	device->budget = COLLECT_BURST;
	device->budget_ms = now_ms;
	list_append(&collect->devices, &device->node);
	return device;
}

int collect_open(struct collect *collect, const struct id *id, void *stream, uint64_t now_ms, struct collect_device **ret)
{
	struct collect_device *device = map_get(collect->by_id, id, sizeof *id);
	if (!device && map_count(collect->by_id) == COLLECT_DEVICES_MAX)
		return -E_LIMIT;
	if (!device)
		device = device_new(collect, id, now_ms);
	if (!device)
		return -E_NO_MEMORY;
	void *older = device->stream;
	device->stream = stream;
	if (older) {
		collect->counters.superseded++;
		collect->events->superseded(older);
	}
	*ret = device;
	return 0;
}

void collect_close(struct collect_device *device, uint64_t now_ms)
{
	device->stream = NULL;
	device->left_ms = now_ms;
}

/* ---- asking for keyframes ---- */

struct request {
	uint8_t bytes[2 + GG_DATAGRAM_MAX];
	size_t len;
};

static void request_take(void *ctx, struct str datagram, unsigned records)
{
	struct request *request = ctx;
	(void)records;
	request->bytes[0] = (uint8_t)(datagram.len >> 8);
	request->bytes[1] = (uint8_t)datagram.len;
	memcpy(request->bytes + 2, datagram.ptr, datagram.len);
	request->len = 2 + datagram.len;
}

static void keyframe_ask(struct collect_device *device, uint64_t now_ms)
{
	struct collect *collect = device->collect;
	struct request request = { .len = 0 };
	const struct gg_source source = { .session = collect->session, .send = request_take, .ctx = &request };
	const struct gg_keyframe_wanted wanted = { .module = GG_CONTROL };
	struct gg_writer writer;
	gg_writer_init(&writer, &source, GG_CONTROL);
	gg_record_write(&writer, gg_record_find(&gg_control, GG_KEYFRAME_WANTED), (uint64_t)clock_wall_s() * 1000000000, &wanted);
	gg_writer_flush(&writer);
	gg_datagram_number(request.bytes + 2, ++device->asked);
	device->asked_ms = now_ms;
	device->keyframe_wanted = false;
	collect->counters.asked++;
	collect->events->send(device->stream, (struct str){ (const char *)request.bytes, request.len });
}

static bool ask_due(const struct collect_device *device, uint64_t now_ms)
{
	return device->stream && device->keyframe_wanted && (!device->asked_ms || now_ms - device->asked_ms >= COLLECT_ASK_MS);
}

void collect_ask_all(struct collect *collect)
{
	LIST_EACH(at, &collect->devices)
		LIST_ENTRY(at, struct collect_device, node)->keyframe_wanted = true;
}

/* ---- reports ---- */

static bool budget_take(struct collect_device *device, const struct gg_datagram *datagram, size_t len, uint64_t now_ms)
{
	uint64_t cost = len + (uint64_t)datagram->records * COLLECT_RECORD_COST;
	uint64_t passed_ms = now_ms - device->budget_ms, more = passed_ms < 60000 ? passed_ms * COLLECT_RATE / 1000 : COLLECT_BURST;
	device->budget = device->budget + more > COLLECT_BURST ? COLLECT_BURST : device->budget + more;
	device->budget_ms = now_ms;
	if (device->budget < cost)
		return false;
	device->budget -= cost;
	return true;
}

/* Notes its number, and whether some are missing in front of it. */
static enum gg_bad order_take(struct collect_device *device, const struct gg_datagram *datagram)
{
	bool new = datagram->session != device->session;
	if (new) {
		device->session = datagram->session;
		memset(&device->order, 0, sizeof device->order);
	}
	enum gg_bad bad = gg_order_check(&device->order, datagram->sequence);
	if (bad != GG_OK)
		return bad;
	uint64_t lost = gg_order_lost(&device->order);
	bool late = datagram->sequence < device->order.highest;
	gg_order_commit(&device->order, datagram->sequence);
	if (!late && gg_order_lost(&device->order) > lost)
		device->collect->counters.lost += gg_order_lost(&device->order) - lost;
	device->keyframe_wanted |= (new && datagram->sequence > 1) || (!late && gg_order_lost(&device->order) > lost);
	return GG_OK;
}

static enum gg_bad datagram_check(struct collect_device *device, struct str bytes, struct gg_datagram *ret)
{
	enum gg_bad bad = gg_datagram_read(bytes, ret);
	if (bad == GG_OK && ret->probe != 0)
		bad = GG_BAD_HEADER; /* on a link there is one probe */
	return bad == GG_OK ? order_take(device, ret) : bad;
}

/* True: to be kept. */
static bool datagram_take(struct collect_device *device, struct str bytes, uint64_t now_ms)
{
	struct collect_counters *counters = &device->collect->counters;
	struct gg_datagram datagram;
	enum gg_bad bad = datagram_check(device, bytes, &datagram);
	counters->datagrams++;
	if (bad != GG_OK) {
		counters->bad[bad]++;
		return false;
	}
	if (!budget_take(device, &datagram, bytes.len, now_ms)) {
		counters->left_out++;
		device->left_out += datagram.records;
		device->left_out_datagrams++;
		device->keyframe_wanted = true;
		return false;
	}
	counters->records += datagram.records;
	counters->bytes += bytes.len;
	return true;
}

static bool batch_store(struct collect_device *device, struct str datagrams, bool gone, uint64_t now_ms)
{
	struct collect *collect = device->collect;
	const struct events_batch batch = { .device = device->id,
		                            .left_out = device->left_out,
		                            .left_out_datagrams = device->left_out_datagrams,
		                            .gone = gone,
		                            .datagrams = datagrams };
	if (events_append(collect->store, now_ms, &batch) < 0) {
		collect->counters.not_stored++;
		device->keyframe_wanted = true;
		return false;
	}
	device->left_out = 0;
	device->left_out_datagrams = 0;
	collect->events->appended(collect->ctx);
	return true;
}

void collect_report(struct collect_device *device, struct str datagrams, uint64_t now_ms)
{
	static uint8_t kept[EVENTS_BATCH_MAX];
	struct collect *collect = device->collect;
	struct str bytes;
	size_t len = 0;
	collect->counters.reports++;
	while (gg_link_next(&datagrams, &bytes)) {
		if (!datagram_take(device, bytes, now_ms))
			continue;
		if (len + 2 + bytes.len > sizeof kept) {
			batch_store(device, (struct str){ (const char *)kept, len }, false, now_ms);
			len = 0;
		}
		memcpy(kept + len, bytes.ptr - 2, 2 + bytes.len); /* with the length in front of it */
		len += 2 + bytes.len;
	}
	if (datagrams.len)
		collect->counters.bad[GG_BAD_LENGTH]++;
	if (len)
		batch_store(device, (struct str){ (const char *)kept, len }, false, now_ms);
	if (ask_due(device, now_ms))
		keyframe_ask(device, now_ms);
}

void collect_tick(struct collect *collect, uint64_t now_ms)
{
	unsigned asks = 0;
	events_expire(collect->store, now_ms);
	LIST_EACH(at, &collect->devices) {
		struct collect_device *device = LIST_ENTRY(at, struct collect_device, node);
		if (!device->stream && now_ms - device->left_ms >= COLLECT_GRACE_MS) {
			if (batch_store(device, (struct str){ 0 }, true, now_ms))
				device_free(device);
		} else if (asks < COLLECT_ASKS_MAX && ask_due(device, now_ms)) {
			keyframe_ask(device, now_ms);
			asks++;
		}
	}
}
