/* The agent's end of tunnel legs on a port of its own, with a mesh made for it, for stock clients: agent_end DIR TARGET...
 *
 * Writes user.crt and user.key for the client beside the mesh's root.crt; prints one JSON line with the port and with grants for the targets;
 * ends at the end of its standard input. */
#include <errno.h>
#include <pb_encode.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/encode.h"
#include "base/err.h"
#include "ca/authority.h"
#include "io/io.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/random.h"
#include "os/socket.h"
#include "stream/stream.h"
#include "tunnel/agent_end.h"

struct program {
	struct io_loop *loop;
	struct authority *authority;
	struct trust *trust;
	struct tls_context *tls;
	struct agent_end *end;
	struct identity device, user;
	struct io_watch *accept, *input;
	char *grant, *expired;
	int listener;
};

static void require(int err, const char *what)
{
	if (err >= 0)
		return;
	fprintf(stderr, "%s: %s\n", what, err_text(err));
	exit(1);
}

/* ---- the mesh ---- */

static struct certificate *issue(const struct program *program, const struct identity *identity, const struct key *key)
{
	char device[ID_TEXT_SIZE];
	uint8_t public[KEY_PUBLIC_MAX];
	size_t len;
	struct certificate *certificate;
	id_format(&identity->id, device);
	const struct str names[] = { str_from(device), STR("127.0.0.1") };
	const struct certificate_order order = { .profile = CERTIFICATE_LEAF,
		                                 .identity = *identity,
		                                 .common_name = STR("test"),
		                                 .names = names,
		                                 .n_names = identity->kind == IDENTITY_NODE ? 2 : 0,
		                                 .not_before = clock_wall_s() - 1800,
		                                 .not_after = clock_wall_s() + 3600 };
	require(key_public_write(key, public, &len), "public key");
	require(authority_issue(program->authority, &order, public, len, &certificate), "certificate");
	return certificate;
}

static void write_file(const char *directory, const char *name, const struct buf *bytes)
{
	char path[4096];
	require(file_path(path, sizeof path, directory, name), "path");
	require(file_write(path, buf_head(bytes), buf_len(bytes), 0600), path);
}

static void make_user(struct program *program, const char *directory)
{
	struct key *key = key_generate();
	struct buf pem;
	program->user = (struct identity){ *authority_mesh(program->authority), IDENTITY_USER, { { 0 } } };
	random_id(&program->user.id);
	struct certificate *leaf = issue(program, &program->user, key);
	buf_init(&pem, 16384);
	require(certificate_write_pem(leaf, &pem), "certificate");
	write_file(directory, "user.crt", &pem);
	buf_clear(&pem);
	require(key_private_write(key, &pem), "key");
	write_file(directory, "user.key", &pem);
	buf_done(&pem);
	certificate_free(leaf);
	key_free(key);
}

static void make_device(struct program *program)
{
	static const char *const alpn[] = { "http/1.1", "h2", NULL };
	struct key *key = key_generate();
	program->device = (struct identity){ *authority_mesh(program->authority), IDENTITY_NODE, { { 0 } } };
	random_id(&program->device.id);
	struct certificate *leaf = issue(program, &program->device, key);
	const struct tls_settings settings = { .server = true,
		                               .leaf = leaf,
		                               .intermediate = authority_intermediate(program->authority),
		                               .root = authority_root(program->authority),
		                               .key = key,
		                               .mesh = program->device.mesh,
		                               .kinds = 1u << IDENTITY_USER,
		                               .alpn = alpn,
		                               .alpn_optional = true };
	require(tls_context_new(&settings, &program->tls), "TLS");
	require(trust_new(authority_root(program->authority), authority_policy(program->authority), &program->device,
	                  &program->trust),
	        "trust");
	certificate_free(leaf);
	key_free(key);
}

/* base64url of a grant for these targets, as the field murmesh-grant has it. */
static char *make_grant(const struct program *program, char **targets, int n, int64_t until)
{
	static murmesh_SignedDocument document;
	murmesh_Grant grant = { .rights = murmesh_Right_CONNECT, .until = until };
	uint8_t bytes[8192];
	size_t len;
	memcpy(grant.mesh, program->device.mesh.bytes, sizeof grant.mesh);
	memcpy(grant.user, program->user.id.bytes, sizeof grant.user);
	memcpy(grant.device, program->device.id.bytes, sizeof grant.device);
	for (int i = 0; i < n; i++)
		require(str_copy(str_from(targets[i]), grant.targets[grant.targets_count++], sizeof grant.targets[0]), "target");
	pb_ostream_t out = pb_ostream_from_buffer(document.document.bytes, sizeof document.document.bytes);
	require(pb_encode(&out, murmesh_Grant_fields, &grant) ? 0 : -E_MESSAGE, "grant");
	document.document.size = (pb_size_t)out.bytes_written;
	require(authority_sign(program->authority, AUTHORITY_GRANT, document.document.bytes, out.bytes_written,
	                       document.signature.bytes, &len),
	        "signature");
	document.signature.size = (pb_size_t)len;
	out = pb_ostream_from_buffer(bytes, sizeof bytes);
	require(pb_encode(&out, murmesh_SignedDocument_fields, &document) ? 0 : -E_MESSAGE, "grant");
	char *text = malloc(BASE64URL_SIZE(sizeof bytes));
	if (!text)
		exit(1);
	base64url_encode(bytes, out.bytes_written, text);
	return text;
}

/* ---- the end ---- */

static int on_resolve(void *ctx, struct str host, agent_end_addresses done, void *done_ctx)
{
	(void)ctx, (void)host, (void)done, (void)done_ctx;
	return -E_TARGET_NAME;
}

static void on_rpc(void *ctx, struct stream *stream, const struct id *pair)
{
	(void)pair;
	(void)ctx;
	stream_free(stream);
}

static void on_refused(void *ctx, int err, const char *target, const struct id *pair)
{
	(void)ctx;
	(void)pair;
	fprintf(stderr, "refused: %s %s %s\n", target, err_name(err), err_text(err));
}

static void on_accept(void *ctx, unsigned events)
{
	struct program *program = ctx;
	const struct id pair = { { 0 } };
	(void)events;
	int fd = socket_accept(program->listener);
	if (fd >= 0)
		agent_end_leg(program->end, fd, STR(""), &pair);
}

static void on_input(void *ctx, unsigned events)
{
	struct program *program = ctx;
	char byte;
	(void)events;
	if (read(0, &byte, 1) == 0)
		io_loop_stop(program->loop);
}

static uint16_t listen_somewhere(struct program *program)
{
	struct socket_address address;
	require(socket_address_parse(STR("127.0.0.1"), 0, &address), "address");
	program->listener = socket_listen(&address);
	require(program->listener, "listener");
	require(socket_local(program->listener, &address), "listener");
	return socket_address_port(&address);
}

int main(int argc, char **argv)
{
	static struct program program; /* nothing of it is freed before the end */
	bool created;
	program.loop = io_loop_new();
	if (argc < 2 || !program.loop)
		return 2;
	require(authority_open(argv[1], &program.authority, &created), "authority");
	make_user(&program, argv[1]);
	make_device(&program);
	const struct agent_end_settings settings = { .tls = program.tls,
		                                     .trust = program.trust,
		                                     .now = clock_wall_s,
		                                     .resolve = on_resolve,
		                                     .rpc = on_rpc,
		                                     .refused = on_refused,
		                                     .ctx = &program };
	program.end = agent_end_new(program.loop, &settings);
	uint16_t port = listen_somewhere(&program);
	program.accept = io_watch_new(program.loop, program.listener, on_accept, &program);
	program.input = io_watch_new(program.loop, 0, on_input, &program);
	if (!program.end || !program.accept || !program.input)
		return 1;
	io_watch_set(program.accept, IO_READABLE);
	io_watch_set(program.input, IO_READABLE);
	program.grant = make_grant(&program, argv + 2, argc - 2, clock_wall_s() + 600);
	program.expired = make_grant(&program, argv + 2, argc - 2, clock_wall_s() - 600);
	printf("{\"port\": %u, \"grant\": \"%s\", \"expired\": \"%s\"}\n", port, program.grant, program.expired);
	fflush(stdout);
	io_loop_run(program.loop);
	return 0;
}
