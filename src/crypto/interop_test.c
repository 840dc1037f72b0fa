/* Certificates and TLS against the openssl program. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "crypto/test_mesh.h"
#include "crypto/tls.h"
#include "os/file.h"
#include "os/proc.h"
#include "os/socket.h"

#define PROGRAM  "/usr/bin/openssl"
#define PATIENCE 20000 /* milliseconds until a test gives up */

_Static_assert(TEST_NOW == 1800000000, "as -attime in the commands");

static char directory[] = "/tmp/murmesh-test-XXXXXX";
static struct test_mesh mesh;
static struct test_leaf component, node;

static int64_t now(void)
{
	return TEST_NOW;
}

static void save(const char *name, const struct buf *content)
{
	char path[128];
	assert_int_equal(file_path(path, sizeof path, directory, name), 0);
	assert_int_equal(file_write(path, buf_head(content), buf_len(content), 0600), 0);
}

static struct buf load(const char *name)
{
	char path[128];
	struct buf content;
	buf_init(&content, 1 << 16);
	assert_int_equal(file_path(path, sizeof path, directory, name), 0);
	assert_int_equal(file_read(path, &content), 0);
	return content;
}

static void save_certificate(const char *name, const struct certificate *certificate)
{
	struct buf pem;
	buf_init(&pem, 1 << 16);
	assert_int_equal(certificate_write_pem(certificate, &pem), 0);
	save(name, &pem);
	buf_done(&pem);
}

static void save_key(const char *name, const struct key *key)
{
	struct buf pem;
	buf_init(&pem, 1 << 16);
	assert_int_equal(key_private_write(key, &pem), 0);
	save(name, &pem);
	buf_wipe(&pem);
}

static int set_up(void **state)
{
	(void)state;
	signal(SIGPIPE, SIG_IGN);
	assert_non_null(mkdtemp(directory));
	mesh = test_mesh_new(1);
	component = test_leaf_new(&mesh, IDENTITY_COMPONENT, 3);
	node = test_leaf_new(&mesh, IDENTITY_NODE, 4);
	save_certificate("root.pem", mesh.root);
	save_certificate("intermediate.pem", mesh.intermediate);
	save_certificate("component.pem", component.certificate);
	save_certificate("node.pem", node.certificate);
	save_key("component.key", component.key);
	save_key("node.key", node.key);
	return 0;
}

static int tear_down(void **state)
{
	static const char *const names[] = { "root.pem", "intermediate.pem", "component.pem", "node.pem", "component.key",
		                             "node.key", "ours.csr",         "made.csr",      "made.key" };
	char path[128];
	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (file_path(path, sizeof path, directory, names[i]) == 0)
			unlink(path);
	rmdir(directory);
	test_leaf_done(&component);
	test_leaf_done(&node);
	test_mesh_done(&mesh);
	return 0;
}

/* The program, with pipes to its input and from its output; its errors go nowhere.  last: one more argument, or NULL. */
static pid_t start(const char *command, char *last, int *ret_in, int *ret_out)
{
	char text[512], program[] = "openssl", *argv[40] = { program };
	size_t n = 1;
	int in[2], out[2], null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	assert_int_equal(str_copy(str_from(command), text, sizeof text), 0);
	for (char *at = text; at && n < 38; at = strchr(at, ' ')) {
		if (*at == ' ')
			*at++ = 0;
		argv[n++] = at;
	}
	argv[n] = last;
	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	const struct proc_spawn spawn = {
		.path = PROGRAM, .argv = argv, .directory = directory, .standard = { in[0], out[1], null }, .die_with_parent = 1
	};
	pid_t pid = proc_spawn(&spawn);
	assert_true(pid > 0);
	close(in[0]);
	close(out[1]);
	close(null);
	*ret_in = in[1];
	*ret_out = out[0];
	return pid;
}

static int finish(pid_t pid, int in, int out)
{
	int status;
	close(in);
	close(out);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int run(const char *command)
{
	int in, out;
	char drop[4096];
	pid_t pid = start(command, NULL, &in, &out);
	while (read(out, drop, sizeof drop) > 0) {
	}
	return finish(pid, in, out);
}

static void await(int fd, short events)
{
	struct pollfd wait = { .fd = fd, .events = events };
	assert_int_equal(poll(&wait, 1, PATIENCE), 1);
}

/* One line of the program's output that begins so. */
static void read_line(int fd, const char *start_text, char *out, size_t size)
{
	for (size_t len = 0; len < size - 1;) {
		await(fd, POLLIN);
		assert_int_equal(read(fd, out + len, 1), 1);
		if (out[len++] != '\n')
			continue;
		out[len] = 0;
		if (strncmp(out, start_text, strlen(start_text)) == 0)
			return;
		len = 0;
	}
	fail();
}

static void test_verify(void **state)
{
	(void)state;
	assert_int_equal(run("verify -attime 1800000000 -x509_strict -CAfile root.pem -untrusted intermediate.pem -purpose "
	                     "sslserver -verify_hostname localhost component.pem"),
	                 0);
	assert_int_equal(run("verify -attime 1800000000 -x509_strict -CAfile root.pem -untrusted intermediate.pem -purpose "
	                     "sslclient -verify_ip 127.0.0.1 component.pem"),
	                 0);
	assert_int_equal(run("verify -attime 1800000000 -x509_strict -CAfile root.pem intermediate.pem"), 0);
	assert_int_not_equal(run("verify -attime 1800000000 -CAfile root.pem component.pem"), 0);
	assert_int_not_equal(run("verify -attime 1900000000 -CAfile root.pem -untrusted intermediate.pem component.pem"), 0);
	assert_int_not_equal(run("verify -attime 1800000000 -CAfile root.pem -untrusted intermediate.pem -purpose crlsign "
	                         "node.pem"),
	                     0);
}

static void test_request_of_ours(void **state)
{
	struct buf der;
	(void)state;
	buf_init(&der, CERTIFICATE_REQUEST_MAX);
	assert_int_equal(certificate_request_write(node.key, &der), 0);
	save("ours.csr", &der);
	assert_int_equal(run("req -in ours.csr -inform DER -verify -noout"), 0);
	buf_done(&der);
}

static int read_made_request(uint8_t ret_hash[HASH_SIZE])
{
	uint8_t public[KEY_PUBLIC_MAX];
	size_t len;
	struct buf der = load("made.csr");
	int err = certificate_request_read(buf_head(&der), buf_len(&der), public, &len);
	if (!err)
		hash_sha256(public, len, ret_hash);
	buf_done(&der);
	return err;
}

static void test_request_of_theirs(void **state)
{
	uint8_t in_request[HASH_SIZE], in_file[HASH_SIZE];
	struct key *key = NULL;
	(void)state;
	assert_int_equal(run("req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -subj /O=Other/CN=host -addext "
	                     "subjectAltName=URI:https://example.org/ -outform DER -out made.csr -keyout made.key"),
	                 0);
	assert_int_equal(read_made_request(in_request), 0);
	struct buf pem = load("made.key");
	assert_int_equal(key_private_read(buf_str(&pem), &key), 0);
	assert_int_equal(key_public_hash(key, in_file), 0);
	assert_memory_equal(in_request, in_file, HASH_SIZE);
	key_free(key);
	buf_wipe(&pem);
	assert_int_equal(run("req -new -newkey rsa:2048 -noenc -subj /CN=host -outform DER -out made.csr -keyout made.key"), 0);
	assert_int_equal(read_made_request(in_request), -E_ENCODING);
	pem = load("made.key");
	assert_int_equal(key_private_read(buf_str(&pem), &key), -E_ENCODING);
	buf_wipe(&pem);
}

static ssize_t descriptor_recv(void *ctx, void *out, size_t size)
{
	ssize_t n = read(*(int *)ctx, out, size);
	return n < 0 ? -errno : n;
}

static ssize_t descriptor_send(void *ctx, const void *bytes, size_t len)
{
	ssize_t n = write(*(int *)ctx, bytes, len);
	return n < 0 ? -errno : n;
}

static const struct tls_transport transport = { descriptor_recv, descriptor_send };

static const char *const alpn[] = { "h2", NULL };

static struct tls_settings settings_of(bool server)
{
	return (struct tls_settings){
		.server = server,
		.verify = TLS_VERIFY_REQUIRED,
		.leaf = server ? component.certificate : node.certificate,
		.key = server ? component.key : node.key,
		.intermediate = server ? mesh.intermediate : NULL,
		.root = mesh.root,
		.mesh = mesh.id,
		.kinds = 1u << IDENTITY_NODE | 1u << IDENTITY_COMPONENT,
		.alpn = alpn,
		.now = now,
	};
}

static struct tls *tls_on(const struct tls_settings *settings, int *fd)
{
	struct tls_context *context;
	assert_int_equal(tls_context_new(settings, &context), 0);
	struct tls *tls = tls_new(context, &transport, fd, NULL);
	assert_non_null(tls);
	tls_context_free(context);
	return tls;
}

static int handshake(struct tls *tls, int fd)
{
	int err;
	while ((err = tls_handshake(tls)) == -EAGAIN)
		await(fd, tls_flush(tls) == -EAGAIN ? POLLOUT : POLLIN);
	return err;
}

static ssize_t read_await(struct tls *tls, int fd, char *out, size_t size)
{
	ssize_t n;
	while ((n = tls_read(tls, out, size)) == -EAGAIN)
		await(fd, POLLIN);
	return n;
}

/* A listener, and "127.0.0.1:<port>" of it. */
static int listen_here(char text[SOCKET_ADDRESS_TEXT])
{
	struct socket_address address;
	assert_int_equal(socket_address_parse(STR("127.0.0.1"), 0, &address), 0);
	int listener = socket_listen(&address);
	assert_true(listener >= 0);
	assert_int_equal(socket_local(listener, &address), 0);
	socket_address_format(&address, text);
	return listener;
}

static int accept_one(int listener)
{
	await(listener, POLLIN);
	int fd = socket_accept(listener);
	assert_true(fd >= 0);
	close(listener);
	return fd;
}

static void test_their_client(void **state)
{
	char address[SOCKET_ADDRESS_TEXT], text[64];
	int in, out, listener = listen_here(address);
	(void)state;
	pid_t pid = start("s_client -attime 1800000000 -CAfile root.pem -cert node.pem -key node.key "
	                  "-verify_return_error -verify_hostname localhost -alpn h2 -quiet -connect",
	                  address, &in, &out);
	int fd = accept_one(listener);
	struct tls_settings settings = settings_of(true);
	struct tls *tls = tls_on(&settings, &fd);
	assert_int_equal(handshake(tls, fd), 0);
	assert_true(identity_equal(&tls_peer(tls)->identity, &node.identity));
	assert_true(str_is(tls_alpn(tls), "h2"));
	assert_int_equal(write(in, "question\n", 9), 9);
	assert_int_equal(read_await(tls, fd, text, sizeof text), 9);
	assert_memory_equal(text, "question\n", 9);
	assert_int_equal(tls_write(tls, "answer\n", 7), 7);
	read_line(out, "answer\n", text, sizeof text);
	assert_int_equal(tls_close_write(tls), 0);
	assert_int_equal(read_await(tls, fd, text, sizeof text), 0);
	tls_free(tls);
	close(fd);
	assert_int_equal(finish(pid, in, out), 0);
}

static void test_their_old_client(void **state)
{
	char address[SOCKET_ADDRESS_TEXT];
	int in, out, listener = listen_here(address);
	(void)state;
	pid_t pid = start("s_client -tls1_2 -connect", address, &in, &out);
	int fd = accept_one(listener);
	struct tls_settings settings = settings_of(true);
	settings.alpn = NULL;
	struct tls *tls = tls_on(&settings, &fd);
	assert_int_equal(handshake(tls, fd), -E_NOT_TLS);
	tls_free(tls);
	close(fd);
	assert_int_not_equal(finish(pid, in, out), 0);
}

static int connect_to(const char *text)
{
	struct socket_address address;
	struct str port, host = str_cut(str_from(text), ':', &port);
	uint64_t number;
	assert_int_equal(str_to_u64(port, 65535, &number), 0);
	assert_int_equal(socket_address_parse(host, (uint16_t)number, &address), 0);
	int fd = socket_connect(&address);
	assert_true(fd >= 0);
	await(fd, POLLOUT);
	assert_int_equal(socket_error(fd), 0);
	return fd;
}

/* Only P-256 to agree on, which takes a second hello; each line comes back turned round. */
static void test_their_server(void **state)
{
	char line[128], text[64];
	int in, out;
	(void)state;
	pid_t pid = start(
	        "s_server -accept 127.0.0.1:0 -attime 1800000000 -CAfile intermediate.pem -partial_chain -cert component.pem -key "
	        "component.key -cert_chain intermediate.pem -chainCAfile intermediate.pem -Verify 3 "
	        "-verify_return_error -alpn h2 -groups P-256 -naccept 1 -rev",
	        NULL, &in, &out);
	read_line(out, "ACCEPT ", line, sizeof line);
	line[strlen(line) - 1] = 0;
	int fd = connect_to(line + 7);
	struct tls_settings settings = settings_of(false);
	settings.intermediate = mesh.intermediate;
	struct tls *tls = tls_on(&settings, &fd);
	assert_int_equal(handshake(tls, fd), 0);
	assert_true(identity_equal(&tls_peer(tls)->identity, &component.identity));
	assert_true(str_is(tls_alpn(tls), "h2"));
	assert_int_equal(tls_write(tls, "question\n", 9), 9);
	assert_int_equal(read_await(tls, fd, text, sizeof text), 9);
	assert_memory_equal(text, "noitseuq\n", 9);
	assert_int_equal(tls_close_write(tls), 0);
	tls_free(tls);
	close(fd);
	kill(pid, SIGTERM);
	finish(pid, in, out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_verify),
		cmocka_unit_test(test_request_of_ours),
		cmocka_unit_test(test_request_of_theirs),
		cmocka_unit_test(test_their_client),
		cmocka_unit_test(test_their_old_client),
		cmocka_unit_test(test_their_server),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
