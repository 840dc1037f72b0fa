#include "gateway/link_login.h"

#include "account/attempts.h"
#include "base/err.h"
#include "base/mem.h"
#include "crypto/certificate.h"
#include "os/socket.h"
#include "rpc/rpc.h"
#include "services.h"

#define ASK_MS 35000 /* core waits 30 s for a hash */

struct link_logins {
	struct attempts *attempts;
};

struct login {
	struct attempt *attempt;
	struct rpc_call *call;
	int err;
	char why[128];
};

static void login_free(struct login *login)
{
	attempt_release(login->attempt);
	rpc_call_unref(login->call);
	mem_free(login);
}

static void on_waited(void *ctx)
{
	struct login *login = ctx;
	rpc_call_finish(login->call, login->err, login->why);
	login_free(login);
}

static void login_over(struct login *login, int err, const char *why, const void *response)
{
	if (err < 0 && err != -E_BUSY && err != -E_CODE_WANTED) {
		login->err = err;
		snprintf(login->why, sizeof login->why, "%s", why);
		return attempt_wait(login->attempt, on_waited, login);
	}
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
	const struct rpc_origin *origin = rpc_call_origin(login->call);
	if (origin)
		str_copy(str_from(origin->address), checked.address, sizeof checked.address);
	else
		socket_address_format(peer, checked.address);
	err = core ? rpc_unary(core, &rpc_Core_UserLogin, &checked, ASK_MS, on_answer, login) : -E_BUSY;
	mem_wipe(&checked, sizeof checked);
	return err;
}

static void login_begin(struct attempt *attempt, struct rpc_connection *core, struct rpc_call *call,
                        const murmesh_LoginProof *proof, const struct socket_address *peer)
{
	struct login *login = mem_alloc(sizeof *login);
	if (!login) {
		attempt_release(attempt);
		return rpc_call_finish(call, -E_NO_MEMORY, NULL);
	}
	login->attempt = attempt;
	login->call = rpc_call_ref(call);
	int err = ask(login, core, proof, peer);
	if (err < 0)
		login_over(login, err, "", NULL);
}

void link_login(struct link_logins *logins, struct rpc_connection *core, struct rpc_call *call, const murmesh_LoginProof *proof,
                int fd)
{
	struct socket_address peer;
	struct attempt *attempt;
	const struct rpc_origin *origin = rpc_call_origin(call);
	int err = origin ? socket_address_parse(str_from(origin->address), 0, &peer) : socket_peer(fd, &peer);
	err = err < 0 ? -E_CLOSED : attempt_take_of(logins->attempts, &peer, &attempt);
	if (err < 0)
		return rpc_call_finish(call, err, err == -E_BUSY ? "too many people log in at the moment" : NULL);
	login_begin(attempt, core, call, proof, &peer);
}

struct link_logins *link_logins_new(struct io_loop *loop)
{
	static const struct attempts_limits limits = { .asking = 6,
		                                       .each = 4 }; /* core takes 10, those of the console among them */
	struct link_logins *logins = mem_alloc(sizeof *logins);
	if (!logins)
		return NULL;
	logins->attempts = attempts_new(loop, limits);
	return logins->attempts ? logins : link_logins_free(logins);
}

struct link_logins *link_logins_free(struct link_logins *logins)
{
	if (logins)
		attempts_free(logins->attempts);
	return mem_free(logins);
}
