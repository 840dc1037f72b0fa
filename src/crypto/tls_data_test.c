#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <errno.h>
#include <malloc.h>

#include "base/err.h"
#include "base/fault.h"
#include "crypto/test_pair.h"

static void test_half_close(void **state)
{
	struct pair pair = pair_of();
	(void)state;
	pair_open(&pair);
	assert_int_equal(tls_write(pair.client.tls, "all", 3), 3);
	assert_int_equal(tls_close_write(pair.client.tls), 0);
	assert_int_equal(tls_close_write(pair.client.tls), -E_CLOSED);
	assert_int_equal(tls_write(pair.client.tls, "x", 1), -E_CLOSED);
	pair.up.ended = true;
	assert_text(pair.server.tls, "all");
	assert_true(tls_pending(pair.server.tls));
	assert_read(pair.server.tls, 0);
	assert_false(tls_pending(pair.server.tls));
	assert_read(pair.server.tls, 0);
	/* The other way goes on. */
	assert_int_equal(tls_write(pair.server.tls, "answer", 6), 6);
	assert_text(pair.client.tls, "answer");
	assert_int_equal(tls_close_write(pair.server.tls), 0);
	assert_read(pair.client.tls, 0);
	pair_done(&pair);
}

static void test_truncated(void **state)
{
	struct pair pair = pair_of();
	(void)state;
	pair_open(&pair);
	assert_int_equal(tls_write(pair.client.tls, "half", 4), 4);
	pair.up.ended = true;
	assert_text(pair.server.tls, "half");
	assert_read(pair.server.tls, -E_CLOSED);
	assert_read(pair.server.tls, -E_CLOSED);
	pair_done(&pair);
	/* Inside a record. */
	pair = pair_of();
	pair_open(&pair);
	assert_int_equal(tls_write(pair.client.tls, "half", 4), 4);
	pair.up.bytes.end--;
	assert_read(pair.server.tls, -EAGAIN);
	assert_false(tls_pending(pair.server.tls)); /* there are bytes, but nothing to do with them */
	pair.up.ended = true;
	assert_read(pair.server.tls, -E_CLOSED);
	pair_done(&pair);
	/* Inside the handshake. */
	pair = pair_of();
	pair_start(&pair, NULL, NULL);
	pair.down.ended = true;
	assert_int_equal(tls_handshake(pair.client.tls), -E_CLOSED);
	assert_int_equal(tls_handshake(pair.client.tls), -E_CLOSED);
	pair_done(&pair);
}

static void test_transport_errors(void **state)
{
	struct pair pair = pair_of();
	(void)state;
	pair_open(&pair);
	assert_int_equal(tls_write(pair.client.tls, "last", 4), 4);
	pair.up.error = -ECONNRESET;
	assert_text(pair.server.tls, "last");
	assert_read(pair.server.tls, -ECONNRESET);
	assert_read(pair.server.tls, -ECONNRESET);
	/* Who cannot send any more may still read what had come. */
	assert_int_equal(tls_write(pair.server.tls, "x", 1), -ECONNRESET);
	pair_done(&pair);
	pair = pair_of();
	pair_open(&pair);
	assert_int_equal(tls_write(pair.server.tls, "said before", 11), 11);
	pair.up.error = -EPIPE;
	assert_int_equal(tls_write(pair.client.tls, "x", 1), -EPIPE);
	assert_int_equal(tls_flush(pair.client.tls), -EPIPE);
	assert_text(pair.client.tls, "said before");
	assert_int_equal(tls_close_write(pair.client.tls), -EPIPE);
	pair_done(&pair);
	pair = pair_of();
	pair_start(&pair, NULL, NULL);
	pair.up.error = -EPIPE;
	assert_int_equal(tls_handshake(pair.client.tls), -EPIPE);
	pair_done(&pair);
	/* While something is unsent. */
	pair = pair_of();
	pair_open(&pair);
	pair.up.room = 10;
	assert_int_equal(tls_write(pair.client.tls, "hello", 5), 5);
	pair.up.error = -EPIPE;
	assert_int_equal(tls_flush(pair.client.tls), -EPIPE);
	assert_int_equal(tls_write(pair.client.tls, "x", 1), -EPIPE);
	pair_done(&pair);
}

#define IDLE_MAX ((size_t)100 << 10) /* with the contexts of two */
#define BULK     ((size_t)1 << 20)

/* A transport that takes and gives little at a time. */
static void test_bulk(void **state)
{
	static const size_t chunks[] = { 1000, 16406, 100000, SIZE_MAX };
	static uint8_t sent[BULK], got[BULK];
	(void)state;
	for (size_t i = 0; i < BULK; i++)
		sent[i] = (uint8_t)(i * 31 + (i >> 8));
	for (unsigned i = 0; i < sizeof chunks / sizeof *chunks; i++) {
		struct pair pair = pair_of();
		pair.server.settings.read_ahead = (size_t)256 << 10;
		pair_open(&pair);
		pair.up.chunk = chunks[i];
		pair.up.room = chunks[i] == SIZE_MAX ? (size_t)1 << 20 : 2 * chunks[i];
		memset(got, 0, sizeof got);
		for (size_t in = 0, out = 0; out < BULK;) {
			unsigned sends = pair.up.sends;
			ssize_t n = in < BULK ? tls_write(pair.client.tls, sent + in, BULK - in) : tls_flush(pair.client.tls);
			assert_true(pair.up.sends <= sends + 2); /* what was unsent, and this write at once */
			assert_true(n >= 0 || n == -EAGAIN);
			assert_true(n <= 256 << 10);
			in += n > 0 ? (size_t)n : 0;
			do {
				n = tls_read(pair.server.tls, got + out, BULK - out < 300000 ? BULK - out : 300000);
				assert_true(n > 0 || n == -EAGAIN || out == BULK);
				out += n > 0 ? (size_t)n : 0;
			} while (tls_pending(pair.server.tls) && out < BULK);
		}
		assert_memory_equal(sent, got, BULK);
		assert_int_equal(tls_flush(pair.client.tls), 0);
		pair_done(&pair);
	}
}

static void test_write_backs_up(void **state)
{
	struct pair pair = pair_of();
	(void)state;
	pair_open(&pair);
	pair.up.room = 0;
	assert_int_equal(tls_write(pair.client.tls, "", 0), 0);
	assert_int_equal(tls_write(pair.client.tls, "one", 3), 3);
	assert_int_equal(tls_flush(pair.client.tls), -EAGAIN);
	assert_int_equal(tls_write(pair.client.tls, "two", 3), -EAGAIN);
	pair.up.room = 1 << 20;
	pair.up.chunk = 1;
	assert_int_equal(tls_close_write(pair.client.tls), -EAGAIN); /* behind what is unsent */
	while (tls_flush(pair.client.tls) == -EAGAIN) {
	}
	assert_int_equal(tls_flush(pair.client.tls), 0);
	assert_text(pair.server.tls, "one");
	assert_read(pair.server.tls, 0);
	pair_done(&pair);
}

static void test_handshake_by_bytes(void **state)
{
	struct pair pair = pair_of();
	(void)state;
	pair_start(&pair, NULL, NULL);
	pair.up.chunk = pair.down.chunk = 1;
	pair.up.room = pair.down.room = 3;
	assert_int_equal(tls_write(pair.client.tls, "early", 5), -EAGAIN);
	pair_shake(&pair);
	assert_int_equal(pair.client.result, 0);
	assert_int_equal(pair.server.result, 0);
	pair.up.chunk = pair.down.chunk = pair.up.room = pair.down.room = 1000;
	assert_passes(&pair);
	pair_done(&pair);
}

/* The first data may come in one piece with the end of the handshake. */
static void test_pending(void **state)
{
	struct pair pair = pair_of();
	char out[2];
	(void)state;
	pair_start(&pair, NULL, NULL);
	assert_int_equal(tls_handshake(pair.client.tls), -EAGAIN);
	assert_int_equal(tls_handshake(pair.server.tls), -EAGAIN);
	assert_int_equal(tls_handshake(pair.server.tls), -EAGAIN);
	assert_int_equal(tls_handshake(pair.client.tls), 0);
	assert_int_equal(tls_write(pair.client.tls, "data", 4), 4);
	assert_int_equal(tls_handshake(pair.server.tls), 0);
	assert_true(tls_pending(pair.server.tls));
	assert_int_equal(tls_read(pair.server.tls, out, 2), 2);
	assert_true(tls_pending(pair.server.tls));
	assert_int_equal(tls_read(pair.server.tls, out, 2), 2);
	assert_false(tls_pending(pair.server.tls));
	pair_done(&pair);
}

static void test_tampered(void **state)
{
	struct pair pair = pair_of();
	(void)state;
	pair_open(&pair);
	assert_int_equal(tls_write(pair.client.tls, "good", 4), 4);
	assert_int_equal(tls_write(pair.client.tls, "bad", 3), 3);
	pair.up.bytes.data[pair.up.bytes.end - 1] ^= 1;
	assert_text(pair.server.tls, "good");
	assert_true(tls_pending(pair.server.tls));
	pair.up.ended = true;
	assert_read(pair.server.tls, -E_TLS); /* and not the end of file, however often one asks */
	assert_read(pair.server.tls, -E_TLS);
	assert_int_equal(tls_write(pair.server.tls, "x", 1), -E_TLS);
	assert_read(pair.client.tls, -E_TLS); /* by an alert */
	assert_read(pair.client.tls, -E_TLS);
	pair_done(&pair);
}

/* What a hostile peer makes of its connection. */
static void key_update(struct side *side, int type)
{
	assert_int_equal(SSL_key_update(side->tls->ssl, type), 1);
	assert_int_equal(tls_write(side->tls, "x", 1), 1);
}

static void test_key_updates(void **state)
{
	struct pair pair = pair_of();
	char out[128];
	(void)state;
	pair_open(&pair);
	for (unsigned i = 0; i < 64; i++)
		key_update(&pair.client, i % 2 ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED);
	assert_int_equal(tls_read(pair.server.tls, out, sizeof out), 64);
	assert_passes(&pair);
	key_update(&pair.client, SSL_KEY_UPDATE_NOT_REQUESTED);
	key_update(&pair.client, SSL_KEY_UPDATE_NOT_REQUESTED);
	assert_read(pair.server.tls, -E_PROTOCOL);
	assert_int_equal(pair.server.tls->messages, 65); /* the rest is not looked at */
	assert_read(pair.server.tls, -E_PROTOCOL);
	assert_int_equal(tls_write(pair.server.tls, "x", 1), -E_PROTOCOL);
	pair_done(&pair);
}

/* With enough data between them key updates are what they are for. */
static void test_key_updates_with_data(void **state)
{
	static char bulk[(size_t)256 << 10];
	struct pair pair = pair_of();
	(void)state;
	pair_open(&pair);
	for (unsigned i = 0; i < 100; i++) {
		assert_int_equal(SSL_key_update(pair.client.tls->ssl, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
		assert_int_equal(tls_write(pair.client.tls, bulk, sizeof bulk), sizeof bulk);
		while (tls_read(pair.server.tls, bulk, sizeof bulk) > 0) {
		}
		assert_read(pair.server.tls, -EAGAIN);
	}
	pair_done(&pair);
}

/* After 2^20 records a connection takes a new key: one write makes more than its own record. */
static void test_key_renewed(void **state)
{
	struct pair pair = pair_of();
	size_t renewed = 0;
	char out[64];
	(void)state;
	pair_open(&pair);
	assert_int_equal(tls_write(pair.client.tls, "x", 1), 1);
	size_t record = buf_len(&pair.up.bytes);
	assert_text(pair.server.tls, "x");
	for (unsigned i = 1; i < 1u << 20; i++) {
		assert_int_equal(tls_write(pair.client.tls, "x", 1), 1);
		renewed += buf_len(&pair.up.bytes) != record;
		assert_int_equal(tls_read(pair.server.tls, out, sizeof out), 1);
	}
	assert_int_equal(renewed, 1);
	assert_passes(&pair);
	pair_done(&pair);
}

static void assert_forgotten(const struct tls *tls)
{
	X509 *peer = SSL_get0_peer_certificate(tls->ssl);
	assert_int_equal(X509_get_ext_count(peer), 0);
	assert_int_equal(X509_NAME_entry_count(X509_get_subject_name(peer)), 0);
	assert_int_equal(sk_X509_num(SSL_get_peer_cert_chain(tls->ssl)), 0);
}

/* An open connection keeps of its peer's certificate what tls_peer() tells. */
static void test_peer_forgotten(void **state)
{
	struct pair pair = pair_of();
	(void)state;
	pair_open(&pair);
	assert_forgotten(pair.client.tls);
	assert_forgotten(pair.server.tls);
	assert_ptr_equal(X509_get0_pubkey(SSL_get0_peer_certificate(pair.client.tls->ssl)),
	                 X509_get0_pubkey(SSL_get0_peer_certificate(pair.server.tls->ssl)));
	assert_true(identity_equal(&tls_peer(pair.client.tls)->identity, &world.component.identity));
	assert_true(identity_equal(&tls_peer(pair.server.tls)->identity, &world.node.identity));
	assert_passes(&pair);
	pair_done(&pair);
}

static ssize_t nested_recv(void *ctx, void *out, size_t size)
{
	return tls_read(((struct side *)ctx)->tls, out, size);
}

static ssize_t nested_send(void *ctx, const void *bytes, size_t len)
{
	return tls_write(((struct side *)ctx)->tls, bytes, len);
}

/* TLS inside TLS: the front may be all that a network lets through. */
static void test_nested(void **state)
{
	static const struct tls_transport inside = { nested_recv, nested_send };
	static uint8_t sent[(size_t)256 << 10], got[sizeof sent];
	struct pair outer = pair_of(), inner = pair_of();
	(void)state;
	pair_open(&outer);
	assert_int_equal(tls_context_new(&inner.client.settings, &inner.client.context), 0);
	assert_int_equal(tls_context_new(&inner.server.settings, &inner.server.context), 0);
	inner.client.tls = tls_new(inner.client.context, &inside, &outer.client, NULL);
	inner.server.tls = tls_new(inner.server.context, &inside, &outer.server, NULL);
	pair_shake(&inner);
	assert_int_equal(inner.client.result, 0);
	assert_int_equal(inner.server.result, 0);
	assert_passes(&inner);
	for (size_t i = 0; i < sizeof sent; i++)
		sent[i] = (uint8_t)(i * 7 + (i >> 10));
	assert_int_equal(tls_write(inner.client.tls, sent, sizeof sent), sizeof sent);
	size_t out = 0;
	for (unsigned i = 0; i < 1000 && out < sizeof got; i++) {
		ssize_t n = tls_read(inner.server.tls, got + out, sizeof got - out);
		out += n > 0 ? (size_t)n : 0;
		tls_flush(inner.client.tls);
	}
	assert_memory_equal(sent, got, sizeof got);
	tls_free(inner.client.tls);
	tls_free(inner.server.tls);
	tls_context_free(inner.client.context);
	tls_context_free(inner.server.context);
	pair_done(&outer);
}

/* Between records a connection holds no buffer: OpenSSL's four for these two ends would be 96 KiB. */
static void test_idle_memory(void **state)
{
	struct pair first = pair_of(), second = pair_of();
	(void)state;
	pair_open(&first); /* makes what is made once */
	assert_passes(&first);
	size_t before = mallinfo2().uordblks;
	pair_open(&second);
	assert_passes(&second);
	assert_read(second.client.tls, -EAGAIN);
	assert_read(second.server.tls, -EAGAIN);
	buf_trim(&second.up.bytes);
	buf_trim(&second.down.bytes);
	assert_true(mallinfo2().uordblks < before + IDLE_MAX);
	pair_done(&second);
	pair_done(&first);
}

/* All of a connection with allocation n failing: an error or success, never a leak or a crash. */
static bool fault_run(long n)
{
	struct pair pair = pair_pinned();
	pair.client.settings.alpn = pair.server.settings.alpn = (const char *const[]){ "h2", NULL };
	wire_init(&pair.up);
	wire_init(&pair.down);
	pair.client.in = pair.server.out = &pair.down;
	pair.server.in = pair.client.out = &pair.up;
	pair.client.settings.leaf = world.node.certificate;
	pair.client.settings.key = world.node.key;
	fault_arm(n);
	int err = tls_context_new(&pair.client.settings, &pair.client.context);
	if (!err)
		err = tls_context_new(&pair.server.settings, &pair.server.context);
	if (!err) {
		pair.client.tls = tls_new(pair.client.context, &wire_transport, &pair.client, NULL);
		pair.server.tls = tls_new(pair.server.context, &wire_transport, &pair.server, NULL);
		err = pair.client.tls && pair.server.tls ? 0 : -E_NO_MEMORY;
	}
	if (!err) {
		pair.up.chunk = pair.down.chunk = 700; /* so that something is unsent */
		pair_shake(&pair);
		err = pair.client.result ? pair.client.result : pair.server.result;
	}
	if (!err)
		err = tls_write(pair.client.tls, "x", 1) == 1 ? 0 : -E_NO_MEMORY;
	bool hit = !fault_armed();
	fault_arm(0);
	assert_true(hit ? err < 0 : err == 0);
	pair_done(&pair);
	return hit;
}

static void test_no_memory(void **state)
{
	long n = 1;
	(void)state;
	while (fault_run(n))
		n++;
	assert_true(n > 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_half_close),       cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_transport_errors), cmocka_unit_test(test_bulk),
		cmocka_unit_test(test_write_backs_up),   cmocka_unit_test(test_handshake_by_bytes),
		cmocka_unit_test(test_pending),          cmocka_unit_test(test_tampered),
		cmocka_unit_test(test_key_updates),      cmocka_unit_test(test_key_updates_with_data),
		cmocka_unit_test(test_key_renewed),      cmocka_unit_test(test_peer_forgotten),
		cmocka_unit_test(test_nested),           cmocka_unit_test(test_idle_memory),
		cmocka_unit_test(test_no_memory),
	};
	return cmocka_run_group_tests(tests, world_set_up, world_tear_down);
}
