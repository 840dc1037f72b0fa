/* What a device sends, through collect's checks and past them, into viz with somebody watching. */
#include <assert.h>
#include <string.h>

#include "base/utf8.h"
#include "collect/collect.h"
#include "viz/viz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void text_check(const char *text, size_t size)
{
	struct str s = str_from(text);
	assert(s.len < size && utf8_valid(s));
	for (size_t i = 0; i < s.len; i++)
		assert((unsigned char)text[i] >= ' ');
}

static bool crowded(void *ctx)
{
	(void)ctx;
	return false;
}

static int send_batch(void *ctx, const murmesh_LiveBatch *batch)
{
	(void)ctx;
	for (size_t i = 0; i < batch->changes_count; i++) {
		const murmesh_LiveChange *change = &batch->changes[i];
		if (change->which_body == murmesh_LiveChange_node_tag) {
			text_check(change->body.node.id, sizeof change->body.node.id);
			text_check(change->body.node.label, sizeof change->body.node.label);
			text_check(change->body.node.detail, sizeof change->body.node.detail);
		} else if (change->which_body == murmesh_LiveChange_row_tag) {
			text_check(change->body.row.subject, sizeof change->body.row.subject);
			text_check(change->body.row.object, sizeof change->body.row.object);
			text_check(change->body.row.detail, sizeof change->body.row.detail);
		}
	}
	return 0;
}

static void to_device(void *stream, struct str datagrams)
{
	(void)stream, (void)datagrams;
}

static void superseded(void *stream)
{
	(void)stream;
}

static void appended(void *ctx)
{
	(void)ctx;
}

static void watch(struct viz *viz, bool fleet, uint64_t now_ms, struct viz_watch **ret)
{
	static const struct viz_sink sink = { crowded, send_batch };
	static murmesh_WatchAnnouncement announcement;
	announcement = (murmesh_WatchAnnouncement){ .ticket = { fleet }, .all = fleet, .devices_count = 1 };
	announcement.devices[0].size = 16;
	if (viz_announce(viz, &announcement, now_ms) < 0 || viz_watch_open(viz, announcement.ticket, &sink, NULL, now_ms, ret) < 0)
		*ret = NULL;
}

static void put(struct viz *viz, const struct events_batch *from, uint64_t now_ms)
{
	static murmesh_EventBatch batch;
	batch.gone = from->gone;
	batch.left_out_datagrams = from->left_out_datagrams;
	batch.datagrams.size = (pb_size_t)from->datagrams.len;
	memcpy(batch.datagrams.bytes, from->datagrams.ptr, from->datagrams.len);
	viz_batch(viz, &batch, now_ms);
}

/* Half of it as it is, half by way of collect. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct collect_events events = { to_device, superseded, appended };
	static const struct events_settings settings = { (size_t)2 << 20, 10000 };
	static const struct id id;
	struct viz_watch *of_one, *of_all;
	struct collect_device *device;
	struct events_batch batch;
	struct events_cursor cursor = { 0 };
	uint64_t now_ms = 1000;
	if (size > EVENTS_BATCH_MAX)
		return 0;
	struct viz *viz = viz_new();
	struct collect *collect = collect_new(&settings, &events, NULL);
	assert(viz && collect && collect_open(collect, &id, &now_ms, now_ms, &device) == 0);
	watch(viz, false, now_ms, &of_one);
	watch(viz, true, now_ms, &of_all);
	assert(of_one && of_all);
	batch = (struct events_batch){ .datagrams = { (const char *)data, size } };
	put(viz, &batch, now_ms);
	viz_tick(viz, now_ms += 100);
	collect_report(device, batch.datagrams, now_ms);
	while (events_next(collect_store(collect), &cursor, &batch))
		put(viz, &batch, now_ms);
	for (unsigned i = 0; i < 4; i++)
		viz_tick(viz, now_ms += 1000);
	viz_watch_close(of_one);
	viz_watch_close(of_all);
	viz_free(viz);
	collect_free(collect);
	return 0;
}
