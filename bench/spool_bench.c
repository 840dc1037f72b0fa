/* spool_bench [DIRECTORY]: what the message router makes durable a second: envelopes with bodies of 256 bytes for 100 devices come, are synced in groups
 * (one thread takes, another syncs, as in core), are acknowledged, sent and answered.  In DIRECTORY (default: here) and, for the cost without a disk, in memory
 * (/dev/shm).  One JSON line a result; beside it what a sync of this disk costs at least: one page written and synced, in turns. */
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "figures.h"
#include "os/clock.h"
#include "os/random.h"
#include "route/route.h"

enum { DEVICES = 100, BODY = 256, PAGES = 40 };
static const uint64_t run_us = 4000000;

static void check(bool ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	exit(1);
}

struct bench {
	struct route_settings settings;
	struct route *route;
	pthread_t thread;
	sem_t begun, ended;
	struct spool_sync *sync;
	bool stopping;
	struct buf envelope, out;
	size_t id_at;   /* in the envelope */
	int64_t now_ms; /* of this batch, as of a frame */
	uint64_t accepted, answered, syncs, sync_us;
};

/* ---- the second thread ---- */

static void *sync_main(void *ctx)
{
	struct bench *bench = ctx;
	for (;;) {
		while (sem_wait(&bench->begun) < 0)
			;
		if (bench->stopping)
			return NULL;
		uint64_t before = clock_monotonic_us();
		spool_sync_run(bench->sync);
		bench->sync_us += clock_monotonic_us() - before;
		sem_post(&bench->ended);
	}
}

/* ---- the router's thread ---- */

static struct id device_id(unsigned number)
{
	return (struct id){ { 1, (uint8_t)number } };
}

static void on_accepted(void *ctx, void *token, int err)
{
	struct bench *bench = ctx;
	(void)token;
	check(err == 0, "accepted");
	bench->accepted++;
}

static void on_ready(void *ctx, const struct id *destination)
{
	struct bench *bench = ctx;
	struct reader reader;
	struct id id;
	while (route_next(bench->route, destination, bench->now_ms, &bench->out) == 1) {
		reader = (struct reader){ buf_head(&bench->out) + bench->id_at, sizeof id };
		memcpy(id.bytes, reader.ptr, sizeof id.bytes);
		route_delivered(bench->route, destination, &id, bench->now_ms);
		route_credit(bench->route, destination, 1);
		buf_clear(&bench->out);
		bench->answered++;
	}
}

static void on_damaged(void *ctx, const struct spool_damage *damage)
{
	(void)ctx;
	(void)damage;
	check(false, "damaged");
}

static void envelope_make(struct bench *bench)
{
	static const char body[BODY];
	murmesh_Envelope envelope = { .which_to = murmesh_Envelope_node_tag, .type = "bench", .created_ms = clock_wall_s() * 1000 };
	memset(envelope.id, 0xa5, sizeof envelope.id);
	buf_init(&bench->envelope, ENVELOPE_MAX);
	buf_init(&bench->out, ENVELOPE_MAX);
	check(envelope_write(&envelope, (struct str){ body, sizeof body }, &bench->envelope) == 0, "envelope");
	bench->id_at = (size_t)((uint8_t *)memchr(buf_head(&bench->envelope), 0xa5, buf_len(&bench->envelope)) -
	                        buf_head(&bench->envelope));
}

static int offer(struct bench *bench, uint64_t number)
{
	const struct id device = device_id(number % DEVICES);
	memcpy(bench->envelope.data + bench->envelope.start + bench->id_at, &number, sizeof number);
	return route_accept(bench->route, &device, buf_str(&bench->envelope), bench->now_ms, NULL);
}

static double cpu_seconds(void)
{
	struct timespec now;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void sync_end(struct bench *bench)
{
	while (sem_wait(&bench->ended) < 0)
		;
	route_sync_end(bench->route, clock_wall_s() * 1000);
	bench->sync = NULL;
}

static void sync_begin(struct bench *bench)
{
	bench->sync = route_sync_begin(bench->route);
	if (!bench->sync)
		return;
	bench->syncs++;
	sem_post(&bench->begun);
}

static void run(struct bench *bench)
{
	uint64_t until = clock_monotonic_us() + run_us;
	for (uint64_t number = 1; clock_monotonic_us() < until;) {
		int ended, err = 0;
		bench->now_ms = clock_wall_ms();
		for (int i = 0; i < 64 && err == 0; i++)
			number += (err = offer(bench, number)) == 0;
		if (bench->sync && (err < 0 || (sem_getvalue(&bench->ended, &ended) == 0 && ended > 0)))
			sync_end(bench);
		if (!bench->sync)
			sync_begin(bench);
	}
	for (; bench->sync; sync_begin(bench)) /* until all is kept and answered */
		sync_end(bench);
}

/* ---- what the disk costs ---- */

static int compare(const void *a, const void *b)
{
	uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
	return left < right ? -1 : left > right;
}

static uint64_t page_sync_us(const struct spool_disk *disk)
{
	static const char page[4096];
	static uint64_t took[PAGES];
	int file = disk->create(disk->ctx, "page");
	check(file >= 0, "page");
	for (int i = 0; i < PAGES; i++) {
		uint64_t before = clock_monotonic_us();
		check(disk->write(disk->ctx, file, (uint64_t)i * sizeof page, page, sizeof page) == 0 &&
		              disk->sync(disk->ctx, file) == 0,
		      "page");
		took[i] = clock_monotonic_us() - before;
	}
	disk->close(disk->ctx, file);
	disk->remove(disk->ctx, "page");
	qsort(took, PAGES, sizeof *took, compare);
	return took[PAGES / 2];
}

static int file_remove(void *ctx, const char *name)
{
	const struct spool_disk *disk = ctx;
	return disk->remove(disk->ctx, name);
}

static void measure(const char *name, const char *parent)
{
	static const struct route_events events = { on_accepted, on_ready, NULL, NULL, on_damaged };
	struct bench bench = { .settings = route_settings_server };
	struct spool_disk *disk = &bench.settings.spool.disk;
	char directory[4096];
	snprintf(directory, sizeof directory, "%s/murmesh-bench-XXXXXX", parent);
	check(mkdtemp(directory) && spool_disk_open(directory, disk) == 0, directory);
	random_bytes(bench.settings.spool.seed, sizeof bench.settings.spool.seed);
	bench.settings.random = random_bytes;
	bench.settings.self.bytes[0] = 9;
	uint64_t page_us = page_sync_us(disk);
	check(route_open(&bench.settings, &events, &bench, clock_wall_s() * 1000, &bench.route) == 0, "open");
	for (unsigned i = 0; i < DEVICES; i++) {
		const struct id id = device_id(i);
		check(route_attach(bench.route, &id) == 0, "attach");
		route_credit(bench.route, &id, 64);
	}
	envelope_make(&bench);
	sem_init(&bench.begun, 0, 0);
	sem_init(&bench.ended, 0, 0);
	check(pthread_create(&bench.thread, NULL, sync_main, &bench) == 0, "thread");
	const struct figures figures = figures_begin();
	double cpu = cpu_seconds();
	uint64_t before = clock_monotonic_us();
	run(&bench);
	double seconds = (double)(clock_monotonic_us() - before) * 1e-6;
	cpu = cpu_seconds() - cpu;
	bench.stopping = true;
	sem_post(&bench.begun);
	pthread_join(bench.thread, NULL);
	check(bench.answered == bench.accepted, "answered");
	printf("{\"result\":\"%s\",\"envelopes_per_s\":%.0f,\"cpu_us\":%.2f,\"per_sync\":%.0f,\"sync_ms\":%.2f,"
	       "\"page_sync_ms\":%.2f,\"body_bytes\":%d,",
	       name, (double)bench.accepted / seconds, cpu * 1e6 / (double)bench.accepted,
	       (double)bench.accepted / (double)bench.syncs, (double)bench.sync_us * 1e-3 / (double)bench.syncs,
	       (double)page_us * 1e-3, BODY);
	figures_end(&figures);
	route_free(bench.route);
	disk->names(disk->ctx, file_remove, disk);
	spool_disk_close(disk);
	rmdir(directory);
	buf_done(&bench.envelope);
	buf_done(&bench.out);
}

int main(int argc, char **argv)
{
	measure("spool", argc > 1 ? argv[1] : ".");
	measure("spool_memory", "/dev/shm");
	return 0;
}
