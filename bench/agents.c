/* agents: many agents in one process, against a real server: real enrolment, TLS, RPC and control links; no roles, tunnels or files.
 *
 *   agents JOIN-LINE N
 *
 * 1. enrols N machines with the join line (it must be good for N uses) and prints "enrolled SECONDS"
 * 2. waits for a line "PORT" on standard input: where the server listens by now
 * 3. opens N control links, prints "online SECONDS", and holds them until its input ends; exits with 1 when one breaks */
#include <signal.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "ca/join_line.h"
#include "crypto/tls.h"
#include "io/io.h"
#include "os/clock.h"
#include "os/fd.h"
#include "os/host.h"
#include "os/socket.h"
#include "rpc/rpc.h"
#include "services.h"
#include "stream/stream.h"

enum { PARALLEL = 64, STEP_MS = 60000, PING_MS = 15000, QUIET_MS = 40000 /* as the agent's net role has them */ };

#define PARENT_KINDS (1u << IDENTITY_COMPONENT | 1u << IDENTITY_RELAY)

struct load;

struct agent {
	struct load *load;
	struct key *key;
	struct certificate *leaf;
	struct rpc_connection *parent;
	murmesh_Token token;
};

struct load {
	struct io_loop *loop;
	struct join_line line;
	struct host host;
	struct certificate *intermediate, *root;
	struct tls_context *pin_tls;
	struct id mesh;
	struct agent *agents;
	void (*begin)(struct agent *agent); /* of the stage under way */
	size_t n, begun, done;
};

static const char *const alpn[] = { "h2", NULL };

static void check(int err, const char *what)
{
	if (err >= 0)
		return;
	fprintf(stderr, "agents: %s: %s\n", what, err_text(err));
	exit(1);
}

static void *check_memory(void *ptr)
{
	check(ptr ? 0 : -E_NO_MEMORY, "memory");
	return ptr;
}

/* ---- stages: all agents do the same, some at a time ---- */

static void begin_next(struct load *load)
{
	if (load->begun < load->n)
		load->begin(&load->agents[load->begun++]);
}

static void agent_done(struct agent *agent)
{
	struct load *load = agent->load;
	if (++load->done == load->n)
		io_loop_stop(load->loop);
	begin_next(load);
}

static void stage_run(struct load *load, const char *name, void (*begin)(struct agent *agent))
{
	uint64_t start = clock_monotonic_us();
	load->begin = begin;
	load->begun = load->done = 0;
	for (int i = 0; i < PARALLEL; i++)
		begin_next(load);
	io_loop_run(load->loop);
	printf("%s %.3f\n", name, (double)(clock_monotonic_us() - start) * 1e-6);
	fflush(stdout);
}

static void dial(struct agent *agent, struct tls_context *tls, const struct rpc_connection_events *events)
{
	static const struct rpc_connection_settings rpc = { .ping_ms = PING_MS, .quiet_ms = QUIET_MS };
	static const struct stream_events none;
	struct load *load = agent->load;
	struct socket_address address;
	struct stream_settings settings = { .connecting = true, .tls = tls, .handshake_ms = STEP_MS };
	check(socket_address_parse(str_from(load->line.host), load->line.port, &address), load->line.host);
	check(settings.fd = socket_connect(&address), "connect");
	struct stream *stream = check_memory(stream_new(load->loop, &settings, &none, NULL));
	agent->parent = check_memory(rpc_connection_new(load->loop, stream, &rpc, events, agent));
}

static void on_closed(void *ctx, int err)
{
	(void)ctx;
	check(err < 0 ? err : -E_CLOSED, "a connection ended");
}

/* ---- enrolment ---- */

static void on_certificate(void *ctx, int err, const char *why, const void *response)
{
	struct agent *agent = ctx;
	struct load *load = agent->load;
	const murmesh_CertificateReply *reply = response;
	struct certificate_info info;
	check(err, *why ? why : "RequestCertificate");
	check(certificate_read(reply->leaf.bytes, reply->leaf.size, &agent->leaf), "leaf");
	if (!load->root) {
		check(certificate_read(reply->intermediate.bytes, reply->intermediate.size, &load->intermediate), "intermediate");
		check(certificate_read(reply->root.bytes, reply->root.size, &load->root), "root");
		check(certificate_inspect(agent->leaf, &info), "leaf");
		load->mesh = info.identity.mesh;
	}
	rpc_connection_free(agent->parent);
	agent_done(agent);
}

static void on_token(void *ctx, int err, const char *why, const void *response)
{
	static murmesh_CertificateRequest request;
	struct agent *agent = ctx;
	struct load *load = agent->load;
	uint8_t secret_key[HASH_SIZE], csr_hash[HASH_SIZE];
	struct buf csr;
	check(err, *why ? why : "RequestToken");
	agent->token = *(const murmesh_Token *)response;
	agent->key = check_memory(key_generate());
	buf_init(&csr, sizeof request.csr.bytes);
	check(certificate_request_write(agent->key, &csr), "request");
	request = (murmesh_CertificateRequest){ .kind = murmesh_CertificateKind_NODE };
	memcpy(request.enrolment, agent->token.enrolment, sizeof request.enrolment);
	memcpy(request.csr.bytes, buf_head(&csr), buf_len(&csr));
	request.csr.size = (pb_size_t)buf_len(&csr);
	join_secret_key(load->line.secret, secret_key);
	hash_sha256(buf_head(&csr), buf_len(&csr), csr_hash);
	join_proof(secret_key, csr_hash, str_from(agent->token.full_name), request.proof);
	buf_done(&csr);
	str_copy(str_from(load->host.os), request.os, sizeof request.os);
	str_copy(str_from(load->host.architecture), request.arch, sizeof request.arch);
	str_copy(STR(MURMESH_VERSION), request.version, sizeof request.version);
	check(rpc_unary(agent->parent, &rpc_CertificationManager_RequestCertificate, &request, STEP_MS, on_certificate, agent),
	      "RequestCertificate");
}

static void on_pinned(void *ctx)
{
	struct agent *agent = ctx;
	murmesh_TokenRequest request = { .name = "load" };
	memcpy(request.key_id, agent->load->line.key.bytes, sizeof request.key_id);
	check(rpc_unary(agent->parent, &rpc_CertificationManager_RequestToken, &request, STEP_MS, on_token, agent), "RequestToken");
}

static void enrol(struct agent *agent)
{
	static const struct rpc_connection_events events = { NULL, on_pinned, on_closed };
	dial(agent, agent->load->pin_tls, &events);
}

/* ---- the control link ---- */

static void on_frame(void *ctx, const void *message)
{
	if (((const murmesh_Frame *)message)->which_body == murmesh_Frame_welcome_tag)
		agent_done(ctx);
}

static void on_link_closed(void *ctx, int err, const char *why)
{
	(void)ctx;
	check(err < 0 ? err : -E_CLOSED, *why ? why : "a link ended");
}

static void on_linked(void *ctx)
{
	static const struct rpc_call_events events = { on_frame, NULL, NULL, on_link_closed };
	struct agent *agent = ctx;
	const struct host *host = &agent->load->host;
	murmesh_Frame frame = { .which_body = murmesh_Frame_hello_tag };
	murmesh_Hello *hello = &frame.body.hello;
	str_copy(STR(MURMESH_VERSION), hello->version, sizeof hello->version);
	str_copy(str_from(host->os), hello->os, sizeof hello->os);
	str_copy(str_from(host->architecture), hello->arch, sizeof hello->arch);
	str_copy(str_from(host->name), hello->host_name, sizeof hello->host_name);
	struct rpc_call *call = check_memory(rpc_call_open(agent->parent, &rpc_MessageRouter_Link, NULL, 0, &events, agent));
	check(rpc_call_send(call, &frame), "Link");
}

static void link_up(struct agent *agent)
{
	static const struct rpc_connection_events events = { NULL, on_linked, on_closed };
	struct load *load = agent->load;
	struct tls_context *tls;
	const struct tls_settings settings = { .verify = TLS_VERIFY_REQUIRED,
		                               .leaf = agent->leaf,
		                               .intermediate = load->intermediate,
		                               .root = load->root,
		                               .key = agent->key,
		                               .mesh = load->mesh,
		                               .kinds = PARENT_KINDS,
		                               .alpn = alpn };
	check(tls_context_new(&settings, &tls), "TLS");
	dial(agent, tls, &events);
	tls_context_free(tls); /* the connection keeps it */
}

/* ---- the program ---- */

static void on_input(void *ctx, unsigned events)
{
	(void)events;
	io_loop_stop(((struct load *)ctx)->loop);
}

static void hold(struct load *load)
{
	struct io_watch *input = check_memory(io_watch_new(load->loop, STDIN_FILENO, on_input, load));
	io_watch_set(input, IO_READABLE);
	io_loop_run(load->loop);
}

static uint64_t number(const char *text, uint64_t most)
{
	uint64_t value = 0;
	check(str_to_u64(str_trim(str_from(text)), most, &value), text);
	return value;
}

int main(int argc, char **argv)
{
	static struct load load;
	char port[16] = "";
	if (argc != 3)
		return 2;
	signal(SIGPIPE, SIG_IGN);
	fd_limit_raise();
	check(join_line_parse(str_from(argv[1]), &load.line), argv[1]);
	load.n = (size_t)number(argv[2], 15000);
	load.agents = check_memory(mem_alloc_array(load.n, sizeof *load.agents));
	for (size_t i = 0; i < load.n; i++)
		load.agents[i].load = &load;
	host_read(&load.host);
	load.loop = check_memory(io_loop_new());

	struct tls_settings pin = { .verify = TLS_VERIFY_PIN, .kinds = PARENT_KINDS, .alpn = alpn };
	memcpy(pin.pin, load.line.root_hash, sizeof pin.pin);
	check(tls_context_new(&pin, &load.pin_tls), "TLS");
	stage_run(&load, "enrolled", enrol);
	if (!fgets(port, sizeof port, stdin))
		return 1;
	port[strcspn(port, "\n")] = 0;
	load.line.port = (uint16_t)number(port, 65535);
	stage_run(&load, "online", link_up);
	hold(&load);
	return 0;
}
