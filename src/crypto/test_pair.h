/* crypto/test_pair.h: a TLS client and a TLS server with wires between them, for tests. */
#ifndef CRYPTO_TEST_PAIR_H
#define CRYPTO_TEST_PAIR_H
#include "base/buf.h"
#include "crypto/test_mesh.h"
#include "crypto/tls_internal.h"

/* One direction between two connections. */
struct wire {
	struct buf bytes;
	size_t chunk; /* most that one send or recv moves */
	size_t room;  /* most that is held */
	bool ended;   /* recv gives the end of file behind the bytes */
	int error;    /* of send, or of recv behind the bytes */
	unsigned sends;
};
struct side {
	struct tls_settings settings;
	struct tls_context *context;
	struct tls *tls;
	struct wire *in, *out;
	int result;
};
struct pair {
	struct wire up, down;
	struct side client, server;
};

struct test_world {
	struct test_mesh mesh, other;                    /* ours and a foreign one */
	struct test_leaf component, node, user, foreign; /* foreign: a component of the other mesh */
};
extern struct test_world world;
extern int64_t test_now; /* what both sides hold for the time */
extern const struct tls_transport wire_transport;

int world_set_up(void **state); /* for cmocka, around a group */
int world_tear_down(void **state);

void wire_init(struct wire *wire);
/* Settings with which all goes well; a test changes what it is about. */
struct pair pair_of(void);
struct pair pair_pinned(void); /* as of a client that joins */
/* Both at the same address until pair_done(). */
void pair_start(struct pair *pair, const struct identity *client_expects, const struct identity *server_expects);
void pair_shake(struct pair *pair);
void pair_open(struct pair *pair); /* starts, and asserts that both come through the handshake */
void pair_done(struct pair *pair);

void assert_text(struct tls *tls, const char *text);
void assert_read(struct tls *tls, int result);
void assert_passes(struct pair *pair);
#endif
