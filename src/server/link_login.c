#include "server/link_login.h"

#include "base/err.h"
#include "base/list.h"
#include "base/mem.h"
#include "crypto/certificate.h"
#include "io/io.h"
#include "os/socket.h"
#include "rpc/rpc.h"
#include "services.h"

#define ASKING_MAX      6 /* core takes 10, the console's among them */
#define PER_ADDRESS_MAX 4
#define WAITING_MAX     256
#define WAIT_MS         1000
#define ASK_MS          35000 /* core waits 30 s for a hash */

struct login {
	struct list node; /* asking or waiting */
	struct link_logins *logins;
	struct rpc_call *call;
	struct socket_source from;
	uint64_t until_ms;
	int err;
	char why[128];
};

struct link_logins {
	struct io_loop *loop;
	struct io_timer *timer;
	struct list asking, waiting; /* the oldest first */
	size_t n_asking, n_waiting;
};

static bool login_room(const struct link_logins *logins, const struct socket_source *from)
{
	size_t n = 0;
	LIST_EACH(at, &logins->asking)
		n += memcmp(LIST_ENTRY(at, struct login, node)->from.key, from->key, sizeof from->key) == 0;
	LIST_EACH(at, &logins->waiting)
		n += memcmp(LIST_ENTRY(at, struct login, node)->from.key, from->key, sizeof from->key) == 0;
	return n < PER_ADDRESS_MAX && logins->n_asking < ASKING_MAX && logins->n_waiting < WAITING_MAX;
}

static void login_free(struct login *login)
{
	list_remove(&login->node);
	rpc_call_unref(login->call);
	mem_free(login);
}

/* ---- failures wait ---- */

static void on_timer(void *ctx)
{
	struct link_logins *logins = ctx;
	uint64_t now = io_loop_now_ms(logins->loop);
	while (!list_empty(&logins->waiting)) {
		struct login *login = LIST_ENTRY(logins->waiting.next, struct login, node);
		if (login->until_ms > now) {
			io_timer_start(logins->timer, login->until_ms - now, 0);
			return;
		}
		rpc_call_finish(login->call, login->err, login->why);
		logins->n_waiting--;
		login_free(login);
	}
}

static void login_wait(struct login *login, int err, const char *why)
{
	struct link_logins *logins = login->logins;
	login->err = err;
	snprintf(login->why, sizeof login->why, "%s", why);
	login->until_ms = io_loop_now_ms(logins->loop) + WAIT_MS;
	if (list_empty(&logins->waiting))
		io_timer_start(logins->timer, WAIT_MS, 0);
	list_remove(&login->node);
	list_append(&logins->waiting, &login->node);
	logins->n_waiting++;
}

/* ---- asking core ---- */

static void login_over(struct login *login, int err, const char *why, const void *response)
{
	login->logins->n_asking--;
	if (err < 0 && err != -E_BUSY && err != -E_CODE_WANTED)
		return login_wait(login, err, why);
	if (err < 0)
		rpc_call_finish(login->call, err, why);
	else
		rpc_call_reply(login->call, response);
	login_free(login);
}

static void on_answer(void *ctx, int err, const char *why, const void *response)
{
	login_over(ctx, err, why, response);
}

static int ask(struct login *login, struct rpc_connection *core, const murmesh_LoginProof *proof, const struct socket_address *peer)
{
	static murmesh_CheckedLogin checked;
	size_t key_len;
	int err = certificate_request_read(proof->csr.bytes, proof->csr.size, checked.key.bytes, &key_len);
	if (err < 0)
		return err;
	checked.key.size = (pb_size_t)key_len;
	checked.has_proof = true;
	checked.proof = *proof;
	checked.proof.csr.size = 0;
	socket_address_format(peer, checked.address);
	err = core ? rpc_unary(core, &rpc_Core_UserLogin, &checked, ASK_MS, on_answer, login) : -E_BUSY;
	mem_wipe(&checked, sizeof checked);
	return err;
}

void link_login(struct link_logins *logins, struct rpc_connection *core, struct rpc_call *call, const murmesh_LoginProof *proof,
                int fd)
{
	struct socket_address peer;
	struct socket_source from;
	if (socket_peer(fd, &peer) < 0)
		return rpc_call_finish(call, -E_CLOSED, NULL);
	socket_address_source(&peer, &from);
	struct login *login = login_room(logins, &from) ? mem_alloc(sizeof *login) : NULL;
	if (!login)
		return rpc_call_finish(call, -E_BUSY, "too many people log in at the moment");
	login->logins = logins;
	login->call = rpc_call_ref(call);
	login->from = from;
	list_append(&logins->asking, &login->node);
	logins->n_asking++;
	int err = ask(login, core, proof, &peer);
	if (err < 0)
		login_over(login, err, "", NULL);
}

/* ---- the whole ---- */

struct link_logins *link_logins_new(struct io_loop *loop)
{
	struct link_logins *logins = mem_alloc(sizeof *logins);
	if (!logins)
		return NULL;
	logins->loop = loop;
	list_init(&logins->asking);
	list_init(&logins->waiting);
	logins->timer = io_timer_new(loop, on_timer, logins);
	return logins->timer ? logins : link_logins_free(logins);
}

struct link_logins *link_logins_free(struct link_logins *logins)
{
	if (!logins)
		return NULL;
	LIST_EACH(at, &logins->waiting)
		login_free(LIST_ENTRY(at, struct login, node));
	io_timer_free(logins->timer);
	return mem_free(logins);
}
