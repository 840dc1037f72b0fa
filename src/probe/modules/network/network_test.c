/* Packets, flows and what the kernel says of sockets: crafted, and of real ones. */
#include "base/test.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/err.h"
#include "probe/modules/network/network.h"

static const uint8_t syn4[] = { /* 10.0.0.1:40000 > 10.0.0.2:80, with an IP option */
	                        0x46, 0, 0,    44,   0, 1,  0x40, 0, 64, 6, 0, 0, 10, 0, 0,    1,    10,   0,    0, 2, 1, 1,
	                        1,    1, 0x9c, 0x40, 0, 80, 0,    0, 0,  1, 0, 0, 0,  0, 0x50, 0x02, 0xff, 0xff, 0, 0, 0, 0
};
static const uint8_t udp6[] = { /* [2001:db8::1]:5353 > [ff02::fb]:5353, behind a hop-by-hop header */
	                        0x60, 0,    0,  0, 0, 16,   0, 1, 0x20, 1, 0xd,  0xb8, 0,    0,    0, 0, 0, 0, 0,
	                        0,    0,    0,  0, 1, 0xff, 2, 0, 0,    0, 0,    0,    0,    0,    0, 0, 0, 0, 0,
	                        0,    0xfb, 17, 0, 5, 2,    0, 0, 1,    0, 0x14, 0xe9, 0x14, 0xe9, 0, 8, 0, 0
};
static const uint8_t echo4[] = { 0x45, 0, 0, 28, 0, 1, 0, 0, 64, 1, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 8, 0, 0, 0, 0x12, 0x34, 0, 1 };
static const uint8_t reply4[] = { 0x45, 0, 0, 28, 0, 1, 0, 0, 64, 1, 0, 0, 10, 0, 0, 2, 10, 0, 0, 1, 0, 0, 0, 0, 0x12, 0x34, 0, 1 };

static bool parse(const uint8_t *bytes, size_t len, struct packet *ret)
{
	uint8_t *copy = malloc(len ? len : 1); /* of exactly this length: reading beyond is found by a sanitizer */
	memcpy(copy, bytes, len);
	bool ok = packet_parse((struct str){ (const char *)copy, len }, 1500, ret);
	free(copy);
	return ok;
}

static void test_packets(void **state)
{
	struct packet packet;
	char text[GG_FLOW_TEXT];
	(void)state;
	assert_true(parse(syn4, sizeof syn4, &packet));
	assert_string_equal(gg_flow_text(&packet.flow, text), "10.0.0.1-40000-10.0.0.2-80");
	assert_int_equal(packet.tcp, PACKET_SYN);
	assert_int_equal(packet.bytes, 1500);
	assert_true(parse(udp6, sizeof udp6, &packet));
	assert_string_equal(gg_flow_text(&packet.flow, text), "2001:db8::1-5353-ff02::fb-5353-udp");
	assert_int_equal(packet.tcp, 0);
	assert_true(parse(echo4, sizeof echo4, &packet));
	assert_string_equal(gg_flow_text(&packet.flow, text), "10.0.0.1-4660-10.0.0.2-0-icmp");
}

static void test_packets_cut(void **state)
{
	struct packet packet;
	(void)state;
	for (size_t len = 0; len < 24 + 14; len++)
		assert_false(parse(syn4, len, &packet));
	for (size_t len = 0; len < 48 + 4; len++)
		assert_false(parse(udp6, len, &packet));
}

static void test_packets_odd(void **state)
{
	uint8_t bytes[sizeof syn4];
	struct packet packet;
	(void)state;
	memcpy(bytes, syn4, sizeof bytes);
	bytes[7] = 1; /* a later fragment */
	assert_false(parse(bytes, sizeof bytes, &packet));
	memcpy(bytes, syn4, sizeof bytes);
	bytes[0] = 0x44; /* a header shorter than itself */
	assert_false(parse(bytes, sizeof bytes, &packet));
	bytes[0] = 0x4f; /* longer than the packet */
	assert_false(parse(bytes, sizeof bytes, &packet));
	bytes[0] = 0x56;
	assert_false(parse(bytes, sizeof bytes, &packet));
	memcpy(bytes, syn4, sizeof bytes);
	bytes[9] = 132; /* SCTP */
	assert_false(parse(bytes, sizeof bytes, &packet));
	uint8_t chain[40 + 10 * 8] = { 0x60, [6] = 0 }; /* extensions without end */
	assert_false(parse(chain, sizeof chain, &packet));
}

/* ---- flows ---- */

static struct packet packet_of(const uint8_t *bytes, size_t len, uint32_t wire, uint8_t tcp)
{
	struct packet packet;
	assert_true(parse(bytes, len, &packet));
	packet.bytes = wire;
	packet.tcp = tcp;
	return packet;
}

static struct packet turned(struct packet packet)
{
	struct gg_flow flow = packet.flow;
	packet.flow.source = flow.destination;
	packet.flow.source_port = flow.destination_port;
	packet.flow.destination = flow.source;
	packet.flow.destination_port = flow.source_port;
	return packet;
}

static void test_flow(void **state)
{
	struct flows *flows = flows_new();
	struct packet there = packet_of(syn4, sizeof syn4, 100, PACKET_SYN), back = turned(there);
	(void)state;
	assert_null(flows_get(flows, &there.flow));
	struct flow *flow = flows_add(flows, &there.flow);
	assert_ptr_equal(flows_get(flows, &there.flow), flow);
	assert_ptr_equal(flows_get(flows, &back.flow), flow);
	struct packet other = there;
	other.flow.source_port++;
	assert_null(flows_get(flows, &other.flow));
	other = there;
	other.flow.protocol = PROTOCOL_UDP;
	assert_null(flows_get(flows, &other.flow));

	flow_count_packet(flow, &there, 10);
	flow_count_packet(flow, &there, 20);
	flow_count_packet(flow, &back, 30);
	assert_int_equal(flow->fresh[0].bytes, 200);
	assert_int_equal(flow->fresh[0].packets, 2);
	assert_int_equal(flow->fresh[1].bytes, 100);
	assert_int_equal(flow->seen_ms, 30);
	assert_false(flow_over(flow, 31));
	there.tcp = PACKET_FIN | PACKET_ACK;
	flow_count_packet(flow, &there, 40);
	flow_count_packet(flow, &there, 41); /* again: still one side only */
	assert_false(flow_over(flow, 50));
	assert_true(flow_over(flow, 41 + 60001));
	back.tcp = PACKET_FIN | PACKET_ACK;
	flow_count_packet(flow, &back, 50);
	assert_true(flow_over(flow, 50));
	flows_remove(flows, flow);
	assert_int_equal(flows_count(flows), 0);
	flows_free(flows);
}

static void test_flow_reset_and_quiet(void **state)
{
	struct flows *flows = flows_new();
	struct packet reset = packet_of(syn4, sizeof syn4, 40, PACKET_RST), mdns = packet_of(udp6, sizeof udp6, 80, 0);
	(void)state;
	struct flow *tcp = flows_add(flows, &reset.flow), *udp = flows_add(flows, &mdns.flow);
	assert_false(flow_over(tcp, 500000));
	flow_count_packet(tcp, &reset, 1);
	assert_true(flow_over(tcp, 1));
	flow_count_packet(udp, &mdns, 1);
	assert_false(flow_over(udp, 30001));
	assert_true(flow_over(udp, 30002));
	flows_free(flows);
}

static void test_echo_is_one_flow(void **state)
{
	struct flows *flows = flows_new();
	struct packet echo = packet_of(echo4, sizeof echo4, 28, 0), reply = packet_of(reply4, sizeof reply4, 28, 0);
	(void)state;
	struct flow *flow = flows_add(flows, &echo.flow);
	assert_ptr_equal(flows_get(flows, &reply.flow), flow);
	flow_count_packet(flow, &echo, 1);
	flow_count_packet(flow, &reply, 1);
	assert_int_equal(flow->fresh[0].packets, 1);
	assert_int_equal(flow->fresh[1].packets, 1);
	flows_free(flows);
}

static void test_table_is_bounded(void **state)
{
	struct flows *flows = flows_new();
	struct packet packet = packet_of(syn4, sizeof syn4, 40, PACKET_SYN);
	size_t at = 0, n = 0;
	(void)state;
	for (unsigned i = 0; i < FLOWS_MAX; i++) {
		memcpy(packet.flow.source.bytes, &i, 4);
		assert_non_null(flows_add(flows, &packet.flow));
	}
	packet.flow.protocol = PROTOCOL_UDP;
	assert_null(flows_add(flows, &packet.flow));
	while (flows_next(flows, &at))
		n++;
	assert_int_equal(n, FLOWS_MAX);
	flows_free(flows);
}

static void test_opener(void **state)
{
	struct packet packet = packet_of(syn4, sizeof syn4, 40, PACKET_SYN);
	(void)state;
	assert_true(packet_from_opener(&packet));
	packet.tcp = PACKET_SYN | PACKET_ACK;
	assert_false(packet_from_opener(&packet));
	packet.tcp = PACKET_ACK;
	assert_true(packet_from_opener(&packet)); /* 40000 to 80 */
	packet = turned(packet);
	assert_false(packet_from_opener(&packet));
	packet.flow.protocol = PROTOCOL_UDP;
	assert_true(packet_from_opener(&packet));
}

/* ---- sockets ---- */

struct row {
	struct inet_diag_msg message;
	struct nlattr other;
	uint32_t value;
	struct nlattr attribute;
	struct tcp_info info;
} __attribute__((packed, aligned(4)));

static struct row row_make(void)
{
	struct row row = { .message = { .idiag_family = AF_INET, .idiag_state = 1, .idiag_inode = 4711 } };
	row.message.id.idiag_src[0] = __builtin_bswap32(0x0a000001);
	row.message.id.idiag_dst[0] = __builtin_bswap32(0x0a000002);
	row.message.id.idiag_sport = __builtin_bswap16(40000);
	row.message.id.idiag_dport = __builtin_bswap16(80);
	row.other = (struct nlattr){ 8, INET_DIAG_TOS };
	row.attribute = (struct nlattr){ sizeof row.attribute + sizeof row.info, INET_DIAG_INFO };
	row.info.tcpi_bytes_acked = 1000;
	row.info.tcpi_bytes_received = 2000;
	return row;
}

static bool row_parse(const struct row *row, size_t len, struct diag_socket *ret)
{
	void *copy = malloc(len ? len : 1);
	memcpy(copy, row, len);
	bool ok = diag_parse((struct str){ copy, len }, PROTOCOL_TCP, ret);
	free(copy);
	return ok;
}

static void test_socket(void **state)
{
	struct row row = row_make();
	struct diag_socket socket;
	char text[GG_FLOW_TEXT];
	(void)state;
	assert_true(row_parse(&row, sizeof row, &socket));
	assert_string_equal(gg_flow_text(&socket.flow, text), "10.0.0.1-40000-10.0.0.2-80");
	assert_int_equal(socket.inode, 4711);
	assert_int_equal(socket.sent, 1000);
	assert_int_equal(socket.received, 2000);
	assert_false(socket.listening);
	row.message.idiag_state = 10;
	assert_true(row_parse(&row, sizeof row, &socket) && socket.listening);
	row = row_make();
	row.message.idiag_family = AF_INET6; /* IPv4 as IPv6 */
	memset(row.message.id.idiag_src, 0, 32);
	row.message.id.idiag_src[2] = row.message.id.idiag_dst[2] = __builtin_bswap32(0xffff);
	row.message.id.idiag_src[3] = __builtin_bswap32(0x0a000001);
	row.message.id.idiag_dst[3] = __builtin_bswap32(0x0a000002);
	assert_true(row_parse(&row, sizeof row, &socket));
	assert_string_equal(gg_flow_text(&socket.flow, text), "10.0.0.1-40000-10.0.0.2-80");
}

static void test_socket_malformed(void **state)
{
	struct row row = row_make();
	struct diag_socket socket;
	(void)state;
	for (size_t len = 0; len < sizeof row; len++)
		assert_int_equal(row_parse(&row, len, &socket), len >= sizeof row.message);
	assert_int_equal(socket.sent, 0);
	row.other.nla_len = 0;
	assert_true(row_parse(&row, sizeof row, &socket) && socket.sent == 0);
	row.other.nla_len = UINT16_MAX;
	assert_true(row_parse(&row, sizeof row, &socket) && socket.sent == 0);
	row.message.idiag_family = AF_UNIX;
	assert_false(row_parse(&row, sizeof row, &socket));
}

/* ---- tables ---- */

#define REST " 00000000:00000000 00:00000000 00000000  1000        0 4711 1 0000000000000000 20 4 30 10 -1"

static bool line_parse(const char *line, uint8_t protocol, struct diag_socket *ret)
{
	size_t len = strlen(line);
	char *copy = malloc(len ? len : 1);
	memcpy(copy, line, len);
	bool ok = tables_parse((struct str){ copy, len }, protocol, ret);
	free(copy);
	return ok;
}

static uint32_t words_of(const char *address)
{
	return inet_addr(address); /* as this machine has them in memory: so does the kernel print them */
}

static void test_lines(void **state)
{
	struct diag_socket socket;
	char text[GG_FLOW_TEXT], line[256];
	(void)state;
	snprintf(line, sizeof line, "   7: %08X:9C40 %08X:0050 01" REST, words_of("10.0.0.1"), words_of("10.0.0.2"));
	assert_true(line_parse(line, PROTOCOL_TCP, &socket));
	assert_string_equal(gg_flow_text(&socket.flow, text), "10.0.0.1-40000-10.0.0.2-80");
	assert_int_equal(socket.inode, 4711);
	assert_false(socket.listening);
	assert_true(line_parse(line, PROTOCOL_UDP, &socket));
	assert_string_equal(gg_flow_text(&socket.flow, text), "10.0.0.1-40000-10.0.0.2-80-udp");
	snprintf(line, sizeof line, "12345: 0000000000000000%08X%08X:9C40 0000000000000000%08X%08X:0050 01" REST, htonl(0xffff),
	         words_of("10.0.0.1"), htonl(0xffff), words_of("10.0.0.2"));
	assert_true(line_parse(line, PROTOCOL_TCP, &socket));
	assert_string_equal(gg_flow_text(&socket.flow, text), "10.0.0.1-40000-10.0.0.2-80");
	snprintf(line, sizeof line, "12345: %08X0000000000000000%08X:9C40 %08X0000000000000000%08X:0050 01" REST, htonl(0x20010db8),
	         htonl(1), htonl(0x20010db8), htonl(2));
	assert_true(line_parse(line, PROTOCOL_TCP, &socket));
	assert_string_equal(gg_flow_text(&socket.flow, text), "2001:db8::1-40000-2001:db8::2-80");
	assert_true(line_parse("0: 00000000:0016 00000000:0000 0A" REST, PROTOCOL_TCP, &socket) && socket.listening);
	assert_int_equal(socket.flow.source_port, 22);
}

static void test_lines_odd(void **state)
{
	static const char good[] = "0: 01010101:9C40 02020202:0050 01" REST;
	static const char *const bad[] = {
		"",
		" ",
		"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode",
		"0: 01010101:9C40 02020202:0050 06" REST,                         /* waits for late packets */
		"0: 01010101:9C40 02020202:0050 001" REST,                        /* digits */
		"0: 0101010:9C40 02020202:0050 01" REST,                          /* digits */
		"0: 01010101:9C4 02020202:0050 01" REST,                          /* digits */
		"0: 01010101 02020202:0050 01" REST,                              /* no port */
		"0: 0101010a:9C40 02020202:0050 01" REST,                         /* not a capital */
		"0: 01010101:9C40 00000000000000000000000000000001:0050 01" REST, /* two families */
		"0: 01010101:9C40 02020202:0050 01 1 2 3 4 5 -1",                 /* inode */
		"0: 01010101:9C40 02020202:0050 01 1 2 3 4 5 18446744073709551616",
	};
	struct diag_socket socket;
	char cut[sizeof good];
	(void)state;
	assert_true(line_parse(good, PROTOCOL_TCP, &socket));
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_false(line_parse(bad[i], PROTOCOL_TCP, &socket));
	assert_false(line_parse("0: 00000000:0035 00000000:0000 07" REST, PROTOCOL_TCP, &socket));
	assert_true(line_parse("0: 00000000:0035 00000000:0000 07" REST, PROTOCOL_UDP, &socket) && socket.bound);
	size_t inode = (size_t)(strstr(good, "4711") - good);
	for (size_t len = 0; len < sizeof good; len++) {
		memcpy(cut, good, len);
		cut[len] = 0;
		assert_int_equal(line_parse(cut, PROTOCOL_TCP, &socket), len > inode);
	}
}

struct wanted {
	uint16_t port; /* of this end */
	uint64_t inode;
	unsigned found, listening, all;
	bool v6, bound;
};

static void on_socket(void *ctx, const struct diag_socket *socket)
{
	struct wanted *wanted = ctx;
	wanted->all++;
	if (socket->flow.source_port != wanted->port)
		return;
	if (socket->listening)
		wanted->listening++;
	else if (socket->inode == wanted->inode) {
		assert_int_equal(socket->bound, wanted->bound);
		assert_int_equal(socket->flow.source.v6, wanted->v6);
		wanted->found++;
	}
}

static int tables_all(struct tables *tables, struct wanted *wanted)
{
	int more;
	wanted->found = wanted->listening = wanted->all = 0;
	while ((more = tables_read(tables, on_socket, wanted)) > 0)
		;
	return more;
}

static void wanted_set(struct wanted *wanted, int fd)
{
	struct sockaddr_in6 address; /* the port is where IPv4 has it */
	socklen_t len = sizeof address;
	struct stat status;
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
	assert_int_equal(fstat(fd, &status), 0);
	*wanted = (struct wanted){ .port = ntohs(address.sin6_port), .inode = status.st_ino };
}

/* A listener and one connected to it, on loopback; udp: connected to itself. */
static void pair_open(int family, int type, int ret[2])
{
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	struct sockaddr *address = family == AF_INET ? (struct sockaddr *)&v4 : (struct sockaddr *)&v6;
	socklen_t len = family == AF_INET ? sizeof v4 : sizeof v6;
	ret[0] = socket(family, type | SOCK_CLOEXEC, 0);
	ret[1] = socket(family, type | SOCK_CLOEXEC, 0);
	if (bind(ret[0], address, len) < 0) {
		assert_int_equal(family, AF_INET6);
		skip(); /* there is none here */
	}
	assert_int_equal(getsockname(ret[0], address, &len), 0);
	if (type == SOCK_STREAM)
		assert_int_equal(listen(ret[0], 1), 0);
	assert_int_equal(connect(ret[1], address, len), 0);
}

static void sockets_are_found(int family, int type)
{
	struct wanted client, server;
	int pair[2], err, proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	size_t before = test_descriptors();
	struct tables *tables = tables_open(proc, &err);
	assert_non_null(tables);
	pair_open(family, type, pair);
	wanted_set(&client, pair[1]);
	wanted_set(&server, pair[0]);
	client.v6 = server.v6 = family == AF_INET6;
	server.bound = type == SOCK_DGRAM;
	assert_int_equal(tables_all(tables, &client), 0);
	assert_int_equal(client.found, 1);
	assert_int_equal(tables_all(tables, &server), 0);
	assert_int_equal(server.listening, type == SOCK_STREAM);
	assert_int_equal(server.found, type == SOCK_DGRAM);
	close(pair[0]);
	close(pair[1]);
	assert_int_equal(tables_all(tables, &client), 0); /* read anew */
	assert_int_equal(client.found, 0);
	assert_int_equal(tables_left(tables), 0);
	tables_close(tables);
	assert_int_equal(test_descriptors(), before);
	close(proc);
}

static void test_tables_of_sockets(void **state)
{
	(void)state;
	sockets_are_found(AF_INET, SOCK_STREAM);
	sockets_are_found(AF_INET, SOCK_DGRAM);
}

static void test_tables_of_sockets_v6(void **state)
{
	(void)state;
	sockets_are_found(AF_INET6, SOCK_STREAM);
	sockets_are_found(AF_INET6, SOCK_DGRAM);
}

/* A folder that stands for /proc, with one table of so many rows, and at its end what is no row. */
static int proc_make(char *path, unsigned rows, const char *end)
{
	char name[64];
	assert_non_null(mkdtemp(path));
	snprintf(name, sizeof name, "%s/self", path);
	assert_int_equal(mkdir(name, 0700), 0);
	snprintf(name, sizeof name, "%s/self/net", path);
	assert_int_equal(mkdir(name, 0700), 0);
	snprintf(name, sizeof name, "%s/self/net/tcp", path);
	FILE *file = fopen(name, "we");
	assert_non_null(file);
	fputs("  sl  local_address\n", file);
	for (unsigned i = 0; i < rows; i++)
		fprintf(file, "%4u: 0100007F:%04X 0200007F:0050 01" REST "\n", i, i % 0x10000);
	fputs(end, file);
	fclose(file);
	return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void proc_remove(const char *path, int proc)
{
	unlinkat(proc, "self/net/tcp", 0);
	unlinkat(proc, "self/net", AT_REMOVEDIR);
	unlinkat(proc, "self", AT_REMOVEDIR);
	close(proc);
	rmdir(path);
}

static void table_has(unsigned rows, const char *end, unsigned taken, unsigned left)
{
	char path[] = "/tmp/probe-tables-XXXXXX";
	struct wanted wanted = { 0 };
	int err, proc = proc_make(path, rows, end);
	struct tables *tables = tables_open(proc, &err);
	assert_non_null(tables);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(tables_all(tables, &wanted), 0);
		assert_int_equal(wanted.all, taken);
		assert_int_equal(tables_left(tables), left);
	}
	tables_close(tables);
	proc_remove(path, proc);
}

static void test_tables_are_bounded(void **state)
{
	(void)state;
	table_has(TABLES_ROWS, "", TABLES_ROWS, 0);
	table_has(TABLES_ROWS + 1, "", TABLES_ROWS, 1);
	table_has(TABLES_ROWS + 1000, "", TABLES_ROWS, 1);
}

/* Lines that are cut, or never end. */
static void test_tables_odd(void **state)
{
	static char endless[100000];
	(void)state;
	memset(endless, 'F', sizeof endless - 1);
	table_has(3, "   4: 0100007F:0001 0200007F:0050 01" REST, 3, 0);
	table_has(3, endless, 3, 0);
	table_has(0, "\n\n: : : :\n", 0, 0);
}

static void test_tables_missing(void **state)
{
	int err, nothing = open("/dev", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	(void)state;
	assert_null(tables_open(nothing, &err));
	assert_int_equal(err, -E_UNSUPPORTED);
	assert_null(tables_close(NULL));
	close(nothing);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_packets),
		cmocka_unit_test(test_packets_cut),
		cmocka_unit_test(test_packets_odd),
		cmocka_unit_test(test_flow),
		cmocka_unit_test(test_flow_reset_and_quiet),
		cmocka_unit_test(test_echo_is_one_flow),
		cmocka_unit_test(test_table_is_bounded),
		cmocka_unit_test(test_opener),
		cmocka_unit_test(test_socket),
		cmocka_unit_test(test_socket_malformed),
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_lines_odd),
		cmocka_unit_test(test_tables_of_sockets),
		cmocka_unit_test(test_tables_of_sockets_v6),
		cmocka_unit_test(test_tables_are_bounded),
		cmocka_unit_test(test_tables_odd),
		cmocka_unit_test(test_tables_missing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
