/* The server of this machine: core.sock tells local users by their credentials, and gives them certificates. */
#include <errno.h>

#include "base/err.h"
#include "base/mem.h"
#include "cli/session.h"
#include "os/file.h"

/* Its calls are told by its end. */
static void on_local_closed(void *ctx, int err)
{
	(void)err;
	rpc_connection_drop(ctx);
}

/* *ret becomes NULL when the server ends it. */
static int local_open(struct io_loop *loop, const char *directory, struct rpc_connection **ret)
{
	static const struct rpc_connection_events events = { NULL, NULL, on_local_closed };
	static const struct rpc_connection_settings settings = { .server = false };
	char path[4096];
	int err = file_path(path, sizeof path, directory, "run/core.sock");
	int fd = err < 0 ? err : socket_unix_connect(path);
	if (fd < 0)
		return fd == -EACCES ? -E_DENIED : -E_NO_SERVER;
	*ret = rpc_connection_plain(loop, fd, &settings, &events, ret);
	return *ret ? 0 : -E_NO_MEMORY;
}

static int local_ask(const char *directory, const struct rpc_method *method, void *ret, size_t size)
{
	struct session session;
	struct rpc_connection *local = NULL;
	murmesh_Nothing request = murmesh_Nothing_init_zero;
	int err = session_init(&session);
	if (err == 0)
		err = local_open(session.loop, directory, &local);
	if (err == 0)
		err = session_call(&session, local, method, &request, ret, size);
	rpc_connection_free(local);
	session_close(&session);
	return err;
}

int session_describe(const char *directory, murmesh_ServerDescription *ret)
{
	return local_ask(directory, &rpc_Local_Describe, ret, sizeof *ret);
}

int session_reload_ca(const char *directory)
{
	murmesh_Nothing reply;
	return local_ask(directory, &rpc_Local_ReloadCa, &reply, sizeof reply);
}

int session_login_link(const char *directory, murmesh_LoginLinkReply *ret)
{
	return local_ask(directory, &rpc_Local_LoginLink, ret, sizeof *ret);
}

static int local_login(struct session *session, struct rpc_connection *local)
{
	murmesh_LoginRequest request = murmesh_LoginRequest_init_zero;
	murmesh_CertificateReply *reply = mem_alloc(sizeof *reply);
	size_t len;
	session->login.key = key_generate();
	int err = reply && session->login.key ? key_public_write(session->login.key, request.key.bytes, &len) : -E_NO_MEMORY;
	if (err == 0) {
		request.key.size = (pb_size_t)len;
		err = session_call(session, local, &rpc_Local_Login, &request, reply, sizeof *reply);
	}
	if (err == 0)
		err = login_take(&session->login, reply);
	mem_free(reply);
	return err;
}

int session_open(struct session *session, const char *directory)
{
	struct rpc_connection *local = NULL;
	murmesh_Nothing nothing = murmesh_Nothing_init_zero;
	int err = session_init(session);
	if (err == 0)
		err = local_open(session->loop, directory, &local);
	if (err == 0)
		err = session_call(session, local, &rpc_Local_Describe, &nothing, &session->description,
		                   sizeof session->description);
	if (err == 0)
		err = local_login(session, local);
	rpc_connection_free(local);
	return err < 0 ? err : session_dial_login(session, "127.0.0.1", (uint16_t)session->description.front_port);
}
