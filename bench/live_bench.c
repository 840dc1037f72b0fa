/* live_bench: what one event costs collect and viz, without processes around them.  One JSON line a result; CPU of this process. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "base/id.h"
#include "base/mem.h"
#include "collect/collect.h"
#include "glouglou/test_probe.h"
#include "viz/viz.h"

enum { REPORTS = 20000, RECORDS = 60, TICKS = 200 };

static uint64_t batches, changes;

static double cpu_seconds(void)
{
	struct rusage usage;
	getrusage(RUSAGE_SELF, &usage);
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
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

static bool crowded(void *ctx)
{
	(void)ctx;
	return false;
}

static int take(void *ctx, const murmesh_LiveBatch *batch)
{
	(void)ctx;
	batches++;
	changes += batch->changes_count;
	return 0;
}

static void fail(const char *what)
{
	fprintf(stderr, "live_bench: %s\n", what);
	exit(1);
}

/* Processes that start, connect, send and end, of which about 400 run at a time. */
static void write_events(struct test_probe *probe, uint64_t round)
{
	for (unsigned i = 0; i < RECORDS / 6; i++) {
		uint64_t pid = 1 + (round * (RECORDS / 6) + i) % 400;
		uint16_t port = (uint16_t)(1000 + pid);
		test_probe_exit(probe, pid, "worker");
		test_probe_disconnect(probe, port, 1);
		test_probe_exec(probe, pid, 1 + pid / 20, "worker");
		test_probe_connect(probe, port, pid, "worker");
		test_probe_bytes(probe, port, 1000);
		test_probe_bytes(probe, port, 1000);
	}
}

static void intake(void)
{
	static const struct collect_events events = { to_device, superseded, appended };
	static struct test_probe probe;
	static murmesh_EventBatch message;
	static const struct id id = { { 1 } };
	struct collect *collect = collect_new(&events_settings_default, &events, NULL);
	struct viz *viz = viz_new();
	struct collect_device *device;
	struct events_cursor cursor = { 0 };
	struct events_batch batch;
	double in_collect = 0, in_viz = 0;
	if (!collect || !viz || collect_open(collect, &id, &probe, 1, &device) < 0)
		fail("memory");
	test_probe_init(&probe, 1);
	for (uint64_t i = 0; i < REPORTS; i++) {
		write_events(&probe, i);
		struct str report = test_probe_report(&probe);
		double begin = cpu_seconds();
		collect_report(device, report, i * 100);
		double middle = cpu_seconds();
		while (events_next(collect_store(collect), &cursor, &batch)) {
			message.datagrams.size = (pb_size_t)batch.datagrams.len;
			memcpy(message.datagrams.bytes, batch.datagrams.ptr, batch.datagrams.len);
			viz_batch(viz, &message, i * 100);
		}
		in_collect += middle - begin;
		in_viz += cpu_seconds() - middle;
	}
	double n = (double)collect_counters(collect)->records;
	printf("{\"result\": \"live_intake\", \"records\": %.0f, \"collect_us\": %.3f, \"viz_us\": %.3f}\n", n,
	       in_collect * 1e6 / n, in_viz * 1e6 / n);
	viz_free(viz);
	collect_free(collect);
}

/* One watcher of a graph that changes all the time, at its largest. */
static void watching(unsigned processes)
{
	static const struct viz_sink sink = { crowded, take };
	static struct test_probe probe;
	static murmesh_EventBatch message;
	static murmesh_WatchAnnouncement announcement;
	struct viz *viz = viz_new();
	struct viz_watch *watch;
	announcement = (murmesh_WatchAnnouncement){ .devices_count = 1 };
	announcement.devices[0].size = 16;
	if (!viz || viz_announce(viz, &announcement, 1) < 0 || viz_watch_open(viz, announcement.ticket, &sink, NULL, 1, &watch) < 0)
		fail("memory");
	test_probe_init(&probe, 1);
	batches = changes = 0;
	double begin = cpu_seconds();
	for (unsigned i = 0; i < TICKS; i++) {
		for (unsigned k = 0; k < (i ? 5 : processes); k++) {
			test_probe_exec(&probe, 1 + (i * 5 + k) % processes, i ? 1 : k / 20, i ? "changed" : "worker");
			if (probe.len < 14000 && k + 1 < (i ? 5 : processes))
				continue;
			struct str report = test_probe_report(&probe);
			message.datagrams.size = (pb_size_t)report.len;
			memcpy(message.datagrams.bytes, report.ptr, report.len);
			viz_batch(viz, &message, 1 + i * VIZ_TICK_MS);
		}
		viz_tick(viz, 1 + i * VIZ_TICK_MS);
	}
	double cpu = cpu_seconds() - begin;
	printf("{\"result\": \"live_watch\", \"processes\": %u, \"tick_ms\": %.3f, \"changes_per_tick\": %.1f, \"state_mb\": "
	       "%.2f}\n",
	       processes, cpu * 1000 / TICKS, (double)changes / TICKS, (double)viz_counters(viz)->bytes / (1 << 20));
	viz_watch_close(watch);
	viz_free(viz);
}

int main(void)
{
	intake();
	watching(100);
	watching(480);
	watching(30000);
	return 0;
}
