/* probe_bench: what the probe costs.
 * probe_packet   parsing, finding the flow and counting, by packet; FLOWS flows, in no order
 * probe_codec    writing a record, and reading it again
 * probe_forks    as root: children that end at once, as fast as one process makes them; what was reported, lost, and the probe's CPU by event
 * probe_keyframe while SLEEPERS processes more wait: until everything was said once, and the most CPU between two looks of the loop at its other work */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gg_modules.h"
#include "io/io.h"
#include "os/clock.h"
#include "os/log.h"
#include "probe/modules/network/network.h"
#include "probe/probe.h"

#define ROUNDS  3
#define FLOWS   1000
#define PACKETS 2000000
#define RECORDS 2000000
#define FORKS   50000

#define SLEEPERS  4000
#define KEYFRAMES 3

static double load(void)
{
	double load = 0;
	getloadavg(&load, 1);
	return load;
}

static double own_cpu(void)
{
	struct rusage usage;
	getrusage(RUSAGE_SELF, &usage);
	return (double)usage.ru_utime.tv_sec + (double)usage.ru_stime.tv_sec +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
}

static void check(bool ok, const char *what)
{
	if (!ok) {
		fprintf(stderr, "probe_bench: %s\n", what);
		exit(1);
	}
}

/* ---- packets ---- */

static void measure_packets(void)
{
	uint8_t bytes[96] = {
		0x45, 0, 0, 84, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0x9c, 0x40, 0, 80, [33] = PACKET_ACK
	};
	struct flows *flows = flows_new();
	struct packet packet;
	uint32_t random = 1;
	double begun = own_cpu();
	for (unsigned i = 0; i < PACKETS; i++) {
		random = random * 1664525 + 1013904223;
		uint16_t of = (uint16_t)((random >> 16) % FLOWS);
		memcpy(bytes + 14, &of, 2);
		check(packet_parse((struct str){ (const char *)bytes, sizeof bytes }, 1500, &packet), "packet");
		struct flow *flow = flows_get(flows, &packet.flow);
		if (!flow)
			flow = flows_add(flows, &packet.flow);
		flow_count_packet(flow, &packet, i);
	}
	double cpu = own_cpu() - begun;
	printf("{\"result\": \"probe_packet\", \"flows\": %zu, \"cpu_us\": %.4f, \"load\": %.2f}\n", flows_count(flows),
	       cpu * 1e6 / PACKETS, load());
	flows_free(flows);
}

/* ---- records ---- */

static uint64_t records_read;

static void on_datagram(void *ctx, struct str bytes, unsigned records)
{
	struct gg_datagram datagram;
	struct gg_record record;
	union gg_any any;
	size_t at = 0;
	(void)ctx, (void)records;
	gg_datagram_number((uint8_t *)(uintptr_t)bytes.ptr, 1);
	check(gg_datagram_read(bytes, &datagram) == GG_OK, "datagram");
	while (gg_record_next(&datagram, &at, &record))
		records_read +=
		        gg_record_read(gg_record_find(gg_module_find(datagram.module), record.type), &record, &any) == GG_OK;
}

static void measure_codec(void)
{
	const struct gg_source source = { 0, 1, on_datagram, NULL };
	const struct gg_process_fork fork = { { 4711, 1700000000123 }, { 4712, 1700000000456 }, STR("bash") };
	struct gg_writer writer;
	double begun = own_cpu();
	records_read = 0;
	gg_writer_init(&writer, &source, GG_MODULE_PROCESS);
	for (unsigned i = 0; i < RECORDS; i++)
		gg_process_fork_write(&writer, 1700000000000000000 + i, &fork);
	gg_writer_flush(&writer);
	check(records_read == RECORDS, "records");
	printf("{\"result\": \"probe_codec\", \"cpu_us\": %.4f, \"load\": %.2f}\n", (own_cpu() - begun) * 1e6 / RECORDS, load());
}

/* ---- forks ---- */

struct world {
	struct io_loop *loop;
	struct io_timer *tick;
	struct probe *probe;
	pid_t storm;
	uint64_t events, lost, ended_us;
};

static void on_ready(void *ctx)
{
	static uint8_t bytes[16384];
	struct world *world = ctx;
	struct gg_datagram datagram;
	struct gg_record record;
	struct gg_lost lost;
	for (size_t len; (len = probe_take(world->probe, bytes, sizeof bytes));) {
		struct str rest = { (const char *)bytes, len }, one;
		while (gg_link_next(&rest, &one)) {
			size_t at = 0;
			check(gg_datagram_read(one, &datagram) == GG_OK, "datagram");
			while (gg_record_next(&datagram, &at, &record)) {
				world->events += datagram.module == GG_MODULE_PROCESS && !(datagram.flags & GG_IN_KEYFRAME);
				if (datagram.module == GG_CONTROL && record.type == GG_LOST &&
				    gg_record_read(gg_record_find(&gg_control, GG_LOST), &record, &lost) == GG_OK)
					world->lost += lost.count;
			}
		}
	}
}

static int on_owners(void *ctx, const uint64_t *inodes, size_t n)
{
	(void)ctx, (void)inodes, (void)n;
	return -1;
}

static pid_t storm_start(void)
{
	pid_t storm = fork();
	check(storm >= 0, "fork");
	if (storm)
		return storm;
	for (unsigned i = 0; i < FORKS; i++) {
		pid_t pid = vfork();
		if (pid == 0)
			_exit(0);
		waitpid(pid, NULL, 0);
	}
	_exit(0);
}

/* Stops a second after the storm. */
static void on_tick(void *ctx)
{
	struct world *world = ctx;
	if (!world->ended_us && waitpid(world->storm, NULL, WNOHANG) == world->storm)
		world->ended_us = clock_monotonic_us();
	if (world->ended_us && clock_monotonic_us() > world->ended_us + 1000000)
		io_loop_stop(world->loop);
}

static void measure_forks(void)
{
	static struct world world;
	memset(&world, 0, sizeof world);
	int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	const struct probe_settings settings = { .proc = proc, .ready = on_ready, .owners = on_owners, .ctx = &world };
	world.loop = io_loop_new();
	world.tick = io_timer_new(world.loop, on_tick, &world);
	world.probe = probe_new(world.loop, &settings);
	check(world.probe, "probe");
	probe_start(world.probe);
	probe_linked(world.probe, true);
	double cpu = own_cpu();
	uint64_t begun = clock_monotonic_us();
	world.storm = storm_start();
	io_timer_start(world.tick, 10, 10);
	io_loop_run(world.loop);
	double seconds = (double)(world.ended_us - begun) * 1e-6;
	printf("{\"result\": \"probe_forks\", \"forks_per_s\": %.0f, \"forks\": %d, \"events\": %llu, \"lost\": %llu, "
	       "\"cpu_us_per_event\": "
	       "%.2f, \"load\": %.2f}\n",
	       FORKS / seconds, FORKS, (unsigned long long)world.events, (unsigned long long)world.lost,
	       (own_cpu() - cpu) * 1e6 / (double)world.events, load());
	probe_free(world.probe);
	io_timer_free(world.tick);
	io_loop_free(world.loop);
	close(proc);
}

/* ---- keyframes ---- */

struct keyframes {
	struct io_loop *loop;
	struct io_timer *tick;
	struct probe *probe;
	struct gg_frame frame;
	unsigned whole, records;
	double seen, longest;
};

static void on_keyframes_ready(void *ctx)
{
	static uint8_t bytes[16384];
	struct keyframes *world = ctx;
	struct gg_datagram datagram;
	bool begins, ends;
	for (size_t len; (len = probe_take(world->probe, bytes, sizeof bytes));) {
		struct str rest = { (const char *)bytes, len }, one;
		while (gg_link_next(&rest, &one)) {
			check(gg_datagram_read(one, &datagram) == GG_OK, "datagram");
			if (datagram.module != GG_MODULE_PROCESS || !(datagram.flags & GG_IN_KEYFRAME))
				continue;
			check(gg_frame_take(&world->frame, &datagram, &begins, &ends) == GG_OK, "keyframe");
			world->records += datagram.records - 1;
			world->whole += ends;
		}
	}
	if (world->whole)
		io_loop_stop(world->loop);
}

/* What was used since the last one, other work could not have; by the processor's time, so that other programs do not count. */
static void on_keyframes_tick(void *ctx)
{
	struct keyframes *world = ctx;
	double now = own_cpu();
	if (world->seen > 0 && now - world->seen > world->longest)
		world->longest = now - world->seen;
	world->seen = now;
	io_timer_start(world->tick, 0, 0);
}

static void keyframe_take(struct keyframes *world)
{
	uint64_t begun_us = clock_monotonic_us();
	double cpu = own_cpu();
	world->whole = world->records = 0;
	world->seen = world->longest = 0;
	probe_linked(world->probe, true);
	io_loop_run(world->loop);
	printf("{\"result\": \"probe_keyframe\", \"processes\": %u, \"ms\": %.1f, \"cpu_ms\": %.1f, \"longest_turn_cpu_ms\": %.2f, "
	       "\"load\": %.2f}\n",
	       world->records, (double)(clock_monotonic_us() - begun_us) * 1e-3, (own_cpu() - cpu) * 1e3, world->longest * 1e3,
	       load());
	probe_linked(world->probe, false);
}

static void measure_keyframes(void)
{
	static struct keyframes world;
	static pid_t sleepers[SLEEPERS];
	for (unsigned i = 0; i < SLEEPERS; i++) {
		sleepers[i] = fork();
		check(sleepers[i] >= 0, "fork");
		if (sleepers[i] == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			pause();
			_exit(0);
		}
	}
	int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	const struct probe_settings settings = {
		.proc = proc, .arguments = true, .ready = on_keyframes_ready, .owners = on_owners, .ctx = &world
	};
	memset(&world, 0, sizeof world);
	world.loop = io_loop_new();
	world.tick = io_timer_new(world.loop, on_keyframes_tick, &world);
	world.probe = probe_new(world.loop, &settings);
	check(world.probe, "probe");
	probe_start(world.probe);
	io_timer_start(world.tick, 0, 0);
	for (unsigned i = 0; i < KEYFRAMES; i++)
		keyframe_take(&world);
	for (unsigned i = 0; i < SLEEPERS; i++) {
		kill(sleepers[i], SIGKILL);
		waitpid(sleepers[i], NULL, 0);
	}
	probe_free(world.probe);
	io_timer_free(world.tick);
	io_loop_free(world.loop);
	close(proc);
}

int main(void)
{
	log_init("probe_bench");
	for (unsigned round = 0; round < ROUNDS; round++) {
		measure_packets();
		measure_codec();
		if (geteuid() == 0)
			measure_forks();
		measure_keyframes();
		fflush(stdout);
	}
	return 0;
}
