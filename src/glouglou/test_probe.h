/* glouglou/test_probe.h: a probe for tests: writes records into Reports as they come on a link.  Not part of the programs. */
#ifndef GLOUGLOU_TEST_PROBE_H
#define GLOUGLOU_TEST_PROBE_H
#include <string.h>

#include "gg_modules.h"

struct test_probe {
	struct gg_source source;
	struct gg_writer process, network, control;
	uint64_t sequence, time_ns;
	bool loses; /* what is sent now gets a number, and does not arrive */
	size_t len;
	char report[16384];
};

static inline void test_probe_send(void *ctx, struct str datagram, unsigned records)
{
	struct test_probe *probe = ctx;
	char *at = probe->report + probe->len;
	(void)records;
	probe->sequence++;
	if (probe->loses || probe->len + 2 + datagram.len > sizeof probe->report)
		return;
	at[0] = (char)(datagram.len >> 8);
	at[1] = (char)datagram.len;
	memcpy(at + 2, datagram.ptr, datagram.len);
	gg_datagram_number((uint8_t *)at + 2, probe->sequence);
	probe->len += 2 + datagram.len;
}

static inline void test_probe_init(struct test_probe *probe, uint32_t session)
{
	memset(probe, 0, sizeof *probe);
	probe->time_ns = 1700000000000000000ull;
	probe->source = (struct gg_source){ .session = session, .send = test_probe_send, .ctx = probe };
	gg_writer_init(&probe->process, &probe->source, GG_MODULE_PROCESS);
	gg_writer_init(&probe->network, &probe->source, GG_MODULE_NETWORK);
	gg_writer_init(&probe->control, &probe->source, GG_CONTROL);
}

/* All that was written since the last time, as a Report has it. */
static inline struct str test_probe_report(struct test_probe *probe)
{
	gg_writer_flush(&probe->process);
	gg_writer_flush(&probe->network);
	gg_writer_flush(&probe->control);
	struct str report = { probe->report, probe->len };
	probe->len = 0;
	return report;
}

static inline void test_probe_exec(struct test_probe *probe, uint64_t pid, uint64_t parent, const char *name)
{
	const struct gg_process_exec exec = { .process = { pid, 1000 },
		                              .exe = str_from(name),
		                              .argv = str_from(name),
		                              .parent = { parent, parent ? 1000 : 0 },
		                              .command = str_from(name) };
	gg_process_exec_write(&probe->process, probe->time_ns, &exec);
}

static inline void test_probe_exit(struct test_probe *probe, uint64_t pid, const char *name)
{
	const struct gg_process_exit end = { .process = { pid, 1000 }, .known = 1, .code = 3, .command = str_from(name) };
	gg_process_exit_write(&probe->process, probe->time_ns, &end);
}

/* 10.0.0.1:port to 10.0.0.2:80. */
static inline struct gg_flow test_probe_flow(uint16_t port)
{
	return (struct gg_flow){ .protocol = 6,
		                 .source = { { 10, 0, 0, 1 }, false },
		                 .source_port = port,
		                 .destination = { { 10, 0, 0, 2 }, false },
		                 .destination_port = 80 };
}

static inline void test_probe_connect(struct test_probe *probe, uint16_t port, uint64_t pid, const char *name)
{
	const struct gg_network_newconn begin = {
		.owner = pid > 0, .flow = test_probe_flow(port), .process = { pid, 1000 }, .command = str_from(name)
	};
	gg_network_newconn_write(&probe->network, probe->time_ns, &begin);
}

static inline void test_probe_bytes(struct test_probe *probe, uint16_t port, uint64_t bytes)
{
	const struct gg_network_data data = { .flow = test_probe_flow(port), .bytes = bytes, .packets = 1 };
	gg_network_data_write(&probe->network, probe->time_ns, &data);
}

static inline void test_probe_disconnect(struct test_probe *probe, uint16_t port, uint64_t bytes)
{
	const struct gg_network_delconn end = { .flow = test_probe_flow(port), .bytes = bytes };
	gg_network_delconn_write(&probe->network, probe->time_ns, &end);
}

static inline void test_probe_lost(struct test_probe *probe, uint64_t count)
{
	const struct gg_lost lost = { .module = GG_MODULE_PROCESS, .place = GG_LOST_KERNEL, .count = count };
	gg_record_write(&probe->control, gg_record_find(&gg_control, GG_LOST), probe->time_ns, &lost);
}

static inline void test_probe_notice(struct test_probe *probe, uint8_t kind, const char *text)
{
	const struct gg_notice notice = { .module = GG_MODULE_PROCESS, .kind = kind, .text = str_from(text) };
	gg_record_write(&probe->control, gg_record_find(&gg_control, GG_NOTICE), probe->time_ns, &notice);
}
#endif
