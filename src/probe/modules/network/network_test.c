/* Packets, flows and what the kernel says of sockets: crafted. */
#include "base/test.h"

#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/tcp.h>
#include <sys/socket.h>

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
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
