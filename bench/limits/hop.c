/* hop: one hop of a tunnel, as fast as this machine can do it: it accepts on 127.0.0.1, connects to another local port and moves bytes
 * both ways.  It has no accounts, grants or limits: the physical bound that a real tunnel is measured beside, in the same run.
 *
 *   hop -c PORT [-l PORT] [-e splice] [-C PEM | -L PEM]
 *
 * -e splice  moves bytes by splice(2) through 1 MiB pipes, else by read and write with one buffer of 256 KiB
 * -C, -L     TLS 1.3, both sides with certificates, on the connected (-C) or the accepted (-L) side; not with splice.  PEM holds a key
 *            and a certificate, which is also the only one trusted.  256 KiB are read ahead, records are gathered into one write
 * -l         the port to listen on; without it a free one, which is printed */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	BUFFER = 256 << 10,
	PIPE = 1 << 20,
	PIPES_MAX = 64,
	ROUNDS = 4, /* moves a turn */
	AGAIN = -1,
	BROKEN = -2
};

struct end {
	struct connection *connection;
	SSL *ssl;
	int fd;
	unsigned watched;
	bool up, connected, eof, shut;
};

struct direction {
	char *kept; /* what the target did not take */
	size_t at, len, in_pipe;
	int pipe[2];
	bool has_pipe;
};

struct connection {
	struct end ends[2];
	struct direction directions[2]; /* [i] leads away from ends[i] */
	struct connection *next_dead;
	bool dead;
};

static int epoll;
static bool splicing;
static uint16_t target_port;
static SSL_CTX *accept_tls, *connect_tls;
static char shared[BUFFER]; /* so that an idle connection holds no buffer */
static struct connection *dead;
static int pool[PIPES_MAX][2], n_pool; /* drained pipes */

static void check(bool ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	exit(1);
}

/* ---- sockets ---- */

static struct sockaddr_in local(uint16_t port)
{
	return (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

static int tcp_listen(uint16_t port)
{
	struct sockaddr_in address = local(port);
	socklen_t len = sizeof address;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* accepted sockets inherit it */
	check(bind(fd, (struct sockaddr *)&address, len) == 0 && listen(fd, SOMAXCONN) == 0, "listen");
	check(getsockname(fd, (struct sockaddr *)&address, &len) == 0, "listen");
	if (!port)
		printf("%d\n", ntohs(address.sin_port));
	fflush(stdout);
	return fd;
}

static int tcp_connect(uint16_t port)
{
	struct sockaddr_in address = local(port);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	check(connect(fd, (struct sockaddr *)&address, sizeof address) == 0 || errno == EINPROGRESS, "connect");
	return fd;
}

/* ---- TLS ---- */

static SSL_CTX *tls_new(bool server, const char *pem)
{
	SSL_CTX *tls = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
	SSL_CTX_set_min_proto_version(tls, TLS1_3_VERSION);
	SSL_CTX_set_ciphersuites(tls, "TLS_AES_128_GCM_SHA256");
	SSL_CTX_set1_groups_list(tls, "X25519");
	SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_read_ahead(tls, 1);
	SSL_CTX_set_default_read_buffer_len(tls, BUFFER);
	SSL_CTX_set_num_tickets(tls, 0);
	SSL_CTX_set_verify(tls, SSL_VERIFY_PEER | (server ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0), NULL);
	check(SSL_CTX_use_certificate_file(tls, pem, SSL_FILETYPE_PEM) == 1 &&
	              SSL_CTX_use_PrivateKey_file(tls, pem, SSL_FILETYPE_PEM) == 1 &&
	              SSL_CTX_load_verify_locations(tls, pem, NULL) == 1,
	      pem);
	return tls;
}

static void end_start_tls(struct end *end, SSL_CTX *tls)
{
	BIO *gather = BIO_new(BIO_f_buffer());
	end->ssl = SSL_new(tls);
	check(gather && end->ssl && SSL_set_fd(end->ssl, end->fd) == 1, "TLS");
	BIO *out = SSL_get_wbio(end->ssl);
	BIO_up_ref(out);
	BIO_set_write_buffer_size(gather, BUFFER);
	BIO_push(gather, out);
	SSL_set0_wbio(end->ssl, gather);
	if (tls == accept_tls)
		SSL_set_accept_state(end->ssl);
	else
		SSL_set_connect_state(end->ssl);
}

static int tls_result(const struct end *end, int result)
{
	int why = SSL_get_error(end->ssl, result);
	ERR_clear_error();
	return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? AGAIN : why == SSL_ERROR_ZERO_RETURN ? 0 : BROKEN;
}

static bool tls_flush(const struct end *end)
{
	BIO *out = SSL_get_wbio(end->ssl);
	return BIO_flush(out) == 1 || BIO_should_retry(out);
}

static ssize_t tls_read(const struct end *end, char *out, size_t size)
{
	size_t got = 0;
	while (got < size) {
		int n = SSL_read(end->ssl, out + got, (int)(size - got));
		if (n <= 0) {
			int why = tls_result(end, n);
			return got ? (ssize_t)got : why;
		}
		got += (size_t)n;
	}
	return (ssize_t)got;
}

static ssize_t tls_write(const struct end *end, const char *bytes, size_t len)
{
	size_t put = 0;
	while (put < len) {
		int n = SSL_write(end->ssl, bytes + put, (int)(len - put));
		if (n <= 0 && tls_result(end, n) != AGAIN)
			return BROKEN;
		if (n <= 0)
			break;
		put += (size_t)n;
	}
	if (!tls_flush(end))
		return BROKEN;
	return put ? (ssize_t)put : AGAIN;
}

/* ---- ends ---- */

static ssize_t result(ssize_t n)
{
	return n >= 0 ? n : errno == EAGAIN ? AGAIN : BROKEN;
}

static ssize_t end_read(const struct end *end, char *out, size_t size)
{
	return end->ssl ? tls_read(end, out, size) : result(read(end->fd, out, size));
}

static ssize_t end_write(const struct end *end, const char *bytes, size_t len)
{
	return end->ssl ? tls_write(end, bytes, len) : result(write(end->fd, bytes, len));
}

static void end_shut(struct end *end)
{
	if (end->shut)
		return;
	end->shut = true;
	if (end->ssl) {
		SSL_shutdown(end->ssl);
		tls_flush(end);
	}
	shutdown(end->fd, SHUT_WR);
}

static void end_watch(struct end *end, unsigned events)
{
	struct epoll_event event = { .events = events, .data.ptr = end };
	if (end->watched == events)
		return;
	epoll_ctl(epoll, end->watched == ~0u ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, end->fd, &event);
	end->watched = events;
}

/* ---- pipes ---- */

static bool pipe_take(struct direction *direction)
{
	if (direction->has_pipe)
		return true;
	if (n_pool)
		memcpy(direction->pipe, pool[--n_pool], sizeof direction->pipe);
	else if (pipe2(direction->pipe, O_NONBLOCK | O_CLOEXEC) < 0)
		return false;
	else
		fcntl(direction->pipe[1], F_SETPIPE_SZ, PIPE);
	return direction->has_pipe = true;
}

static void pipe_give(struct direction *direction)
{
	if (!direction->has_pipe)
		return;
	direction->has_pipe = false;
	if (n_pool < PIPES_MAX && !direction->in_pipe) {
		memcpy(pool[n_pool++], direction->pipe, sizeof direction->pipe);
		return;
	}
	close(direction->pipe[0]);
	close(direction->pipe[1]);
}

/* ---- moving bytes ---- */

/* Each moves once from source to target; AGAIN when the source has nothing or the target takes no more. */
static int move_spliced(struct end *source, struct end *target, struct direction *direction)
{
	ssize_t n;
	if (!source->eof && !direction->in_pipe) {
		if (!pipe_take(direction))
			return BROKEN;
		n = result(splice(source->fd, NULL, direction->pipe[1], NULL, PIPE, SPLICE_F_MOVE | SPLICE_F_NONBLOCK));
		if (n < 0) {
			pipe_give(direction);
			return (int)n;
		}
		source->eof = n == 0;
		direction->in_pipe = (size_t)n;
	}
	if (direction->in_pipe && target->up) {
		n = result(
		        splice(direction->pipe[0], NULL, target->fd, NULL, direction->in_pipe, SPLICE_F_MOVE | SPLICE_F_NONBLOCK));
		if (n == BROKEN)
			return BROKEN;
		direction->in_pipe -= n > 0 ? (size_t)n : 0;
	}
	if (!direction->in_pipe && source->eof)
		pipe_give(direction);
	return direction->in_pipe || source->eof ? AGAIN : 0;
}

static int move_kept(struct end *target, struct direction *direction)
{
	ssize_t n = target->up ? end_write(target, direction->kept + direction->at, direction->len) : AGAIN;
	if (n < 0)
		return (int)n;
	direction->at += (size_t)n;
	direction->len -= (size_t)n;
	if (direction->len)
		return AGAIN;
	free(direction->kept);
	direction->kept = NULL;
	return 0;
}

static int move_copied(struct end *source, struct end *target, struct direction *direction)
{
	if (direction->len)
		return move_kept(target, direction);
	if (source->eof || !source->up)
		return AGAIN;
	ssize_t n = end_read(source, shared, sizeof shared);
	source->eof = n == 0;
	if (n <= 0)
		return n == 0 ? AGAIN : (int)n;
	ssize_t put = target->up ? end_write(target, shared, (size_t)n) : AGAIN;
	if (put == BROKEN)
		return BROKEN;
	direction->at = 0;
	direction->len = (size_t)(n - (put > 0 ? put : 0));
	if (!direction->len)
		return 0;
	direction->kept = malloc(direction->len);
	check(direction->kept, "memory");
	memcpy(direction->kept, shared + n - direction->len, direction->len);
	return AGAIN;
}

static bool pump(struct connection *connection, int from)
{
	struct end *source = &connection->ends[from], *target = &connection->ends[!from];
	struct direction *direction = &connection->directions[from];
	int moved = 0;
	/* What TLS has read ahead is not announced by the descriptor. */
	for (int i = 0; moved == 0 && (i < ROUNDS || (source->ssl && SSL_has_pending(source->ssl))); i++)
		moved = (splicing ? move_spliced : move_copied)(source, target, direction);
	if (source->eof && !direction->in_pipe && !direction->len && target->up)
		end_shut(target);
	return moved != BROKEN;
}

/* ---- connections ---- */

static void connection_end(struct connection *connection)
{
	for (int i = 0; i < 2; i++) {
		SSL_free(connection->ends[i].ssl);
		close(connection->ends[i].fd);
		free(connection->directions[i].kept);
		pipe_give(&connection->directions[i]);
	}
	connection->dead = true;
	connection->next_dead = dead;
	dead = connection;
}

/* Of a direction that waits, only the side that must move is watched. */
static void connection_watch(struct connection *connection)
{
	for (int i = 0; i < 2; i++) {
		struct end *end = &connection->ends[i];
		size_t out = connection->directions[i].len + connection->directions[i].in_pipe;
		size_t in = connection->directions[!i].len + connection->directions[!i].in_pipe;
		bool unsent = end->ssl && BIO_wpending(SSL_get_wbio(end->ssl));
		if (!end->connected || (!end->up && SSL_want_write(end->ssl)))
			end_watch(end, EPOLLOUT);
		else if (!end->up)
			end_watch(end, EPOLLIN);
		else
			end_watch(end, (!end->eof && !out ? EPOLLIN : 0u) | (in || unsent ? EPOLLOUT : 0u));
	}
}

static void connection_new(int fd)
{
	struct connection *connection = calloc(1, sizeof *connection);
	check(connection, "memory");
	connection->ends[0] = (struct end){ .connection = connection, .fd = fd, .watched = ~0u, .connected = true };
	connection->ends[1] = (struct end){ .connection = connection, .fd = tcp_connect(target_port), .watched = ~0u };
	if (accept_tls)
		end_start_tls(&connection->ends[0], accept_tls);
	if (connect_tls)
		end_start_tls(&connection->ends[1], connect_tls);
	connection->ends[0].up = !accept_tls;
	connection_watch(connection);
}

/* Finishes the connection attempt and the handshake. */
static bool end_advance(struct end *end)
{
	int err = 0;
	socklen_t len = sizeof err;
	if (!end->connected && (getsockopt(end->fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0 || err))
		return false;
	end->connected = true;
	int done = end->ssl ? SSL_do_handshake(end->ssl) : 1;
	end->up = done == 1;
	return (!end->ssl || tls_flush(end)) && (end->up || tls_result(end, done) == AGAIN);
}

static bool end_event(struct end *end)
{
	struct connection *connection = end->connection;
	bool ok = end->up || end_advance(end);
	if (ok && end->up && end->ssl && BIO_wpending(SSL_get_wbio(end->ssl)))
		ok = tls_flush(end);
	for (int i = 0; ok && i < 2; i++)
		if (connection->ends[i].up)
			ok = pump(connection, i);
	return ok && !(connection->ends[0].shut && connection->ends[1].shut);
}

static void serve(int listener)
{
	struct epoll_event event = { .events = EPOLLIN }, events[256];
	epoll = epoll_create1(EPOLL_CLOEXEC);
	epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
	for (;;) {
		int n = epoll_wait(epoll, events, 256, -1);
		for (int i = 0; i < n; i++) {
			struct end *end = events[i].data.ptr;
			for (int fd; !end && (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;)
				connection_new(fd);
			if (!end || end->connection->dead)
				continue;
			if (end_event(end))
				connection_watch(end->connection);
			else
				connection_end(end->connection);
		}
		for (struct connection *next; dead; dead = next) {
			next = dead->next_dead;
			free(dead);
		}
	}
}

int main(int argc, char **argv)
{
	uint16_t port = 0;
	signal(SIGPIPE, SIG_IGN);
	for (int option; (option = getopt(argc, argv, "l:c:e:C:L:")) != -1;)
		switch (option) {
		case 'l':
			port = (uint16_t)strtoul(optarg, NULL, 10);
			break;
		case 'c':
			target_port = (uint16_t)strtoul(optarg, NULL, 10);
			break;
		case 'e':
			splicing = strcmp(optarg, "splice") == 0;
			break;
		case 'C':
			connect_tls = tls_new(false, optarg);
			break;
		case 'L':
			accept_tls = tls_new(true, optarg);
			break;
		default:
			return 2;
		}
	serve(tcp_listen(port));
}
