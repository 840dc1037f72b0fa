/* proc(5), /proc/net/tcp and its like: a line for each socket, made by the kernel while it is read, a page at a time. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "os/fd.h"
#include "probe/modules/network/network.h"

#define ROOM 8192 /* the kernel gives a page */

static const struct {
	const char *path;
	uint8_t protocol;
} files[] = {
	{ "self/net/tcp", PROTOCOL_TCP },
	{ "self/net/tcp6", PROTOCOL_TCP },
	{ "self/net/udp", PROTOCOL_UDP },
	{ "self/net/udp6", PROTOCOL_UDP },
};
#define FILES (sizeof files / sizeof *files)

struct tables {
	int fds[FILES]; /* negative: this kernel has no such table */
	size_t at;      /* the one being read */
	bool begun;
	unsigned rows; /* of it, so far */
	uint64_t left;
	size_t len; /* the beginning of a line */
	char room[ROOM];
};

/* ---- a line ---- */

/* As the kernel prints it: capitals, and all leading zeros. */
static bool hex_read(struct str text, unsigned digits, uint32_t *ret)
{
	*ret = 0;
	if (text.len != digits)
		return false;
	for (size_t i = 0; i < digits; i++) {
		char c = text.ptr[i];
		if (!(c >= '0' && c <= '9') && !(c >= 'A' && c <= 'F'))
			return false;
		*ret = *ret << 4 | (uint32_t)(c <= '9' ? c - '0' : c - 'A' + 10);
	}
	return true;
}

/* "0100007F:1F90": words of four bytes as this machine has them, and the port. */
static bool end_read(struct str text, struct gg_address *address, uint16_t *port)
{
	struct str port_text, words_text = str_cut(text, ':', &port_text);
	uint32_t words[4] = { 0 }, number;
	if ((words_text.len != 8 && words_text.len != 32) || !hex_read(port_text, 4, &number))
		return false;
	for (size_t i = 0; i < words_text.len / 8; i++)
		if (!hex_read((struct str){ words_text.ptr + i * 8, 8 }, 8, &words[i]))
			return false;
	*address = gg_address_from(words, words_text.len == 32);
	*port = (uint16_t)number;
	return true;
}

static struct str word_cut(struct str *line)
{
	while (line->len && *line->ptr == ' ')
		*line = str_skip(*line, 1);
	return str_cut(*line, ' ', line);
}

bool tables_parse(struct str line, uint8_t protocol, struct diag_socket *ret)
{
	uint32_t state;
	memset(ret, 0, sizeof *ret);
	word_cut(&line); /* its number */
	if (!end_read(word_cut(&line), &ret->flow.source, &ret->flow.source_port) ||
	    !end_read(word_cut(&line), &ret->flow.destination, &ret->flow.destination_port) ||
	    !hex_read(word_cut(&line), 2, &state))
		return false;
	for (unsigned i = 0; i < 5; i++) /* queues, timer, repeats, user, probes */
		word_cut(&line);
	if (str_to_u64(word_cut(&line), UINT64_MAX, &ret->inode) < 0)
		return false;
	return socket_state_take(ret, protocol, state);
}

/* ---- the files ---- */

/* Hands over the lines that are whole; false: there are too many. */
static bool lines_take(struct tables *tables, void (*each)(void *ctx, const struct diag_socket *socket), void *ctx)
{
	struct str rest = { tables->room, tables->len }, line;
	struct diag_socket socket;
	for (const char *end; (end = memchr(rest.ptr, '\n', rest.len));) {
		line = (struct str){ rest.ptr, (size_t)(end - rest.ptr) };
		rest = str_skip(rest, line.len + 1);
		if (tables->rows++ > TABLES_ROWS) { /* the first line says what the columns are */
			tables->left++;
			return false;
		}
		if (tables_parse(line, files[tables->at].protocol, &socket))
			each(ctx, &socket);
	}
	tables->len = rest.len < ROOM ? rest.len : 0; /* such a line is none */
	memmove(tables->room, rest.ptr, tables->len);
	return true;
}

static ssize_t piece_read(struct tables *tables)
{
	int fd = tables->fds[tables->at];
	if (fd < 0)
		return 0;
	if (!tables->begun && lseek(fd, 0, SEEK_SET) < 0)
		return -errno;
	tables->begun = true;
	ssize_t len = fd_read(fd, tables->room + tables->len, ROOM - tables->len);
	tables->len += len > 0 ? (size_t)len : 0;
	return len;
}

static void file_begin(struct tables *tables, size_t at)
{
	tables->at = at;
	tables->begun = false;
	tables->rows = 0;
	tables->len = 0;
}

int tables_read(struct tables *tables, void (*each)(void *ctx, const struct diag_socket *socket), void *ctx)
{
	ssize_t len = piece_read(tables);
	if (len > 0 && lines_take(tables, each, ctx))
		return 1;
	bool more = len >= 0 && tables->at + 1 < FILES;
	file_begin(tables, more ? tables->at + 1 : 0);
	return len < 0 ? (int)len : more;
}

uint64_t tables_left(struct tables *tables)
{
	uint64_t left = tables->left;
	tables->left = 0;
	return left;
}

struct tables *tables_open(int proc, int *ret_err)
{
	struct tables *tables = mem_alloc(sizeof *tables);
	bool any = false;
	*ret_err = -E_NO_MEMORY;
	if (!tables)
		return NULL;
	for (size_t i = 0; i < FILES; i++) {
		tables->fds[i] = openat(proc, files[i].path, O_RDONLY | O_CLOEXEC);
		any |= tables->fds[i] >= 0;
	}
	*ret_err = -E_UNSUPPORTED;
	return any ? tables : tables_close(tables);
}

struct tables *tables_close(struct tables *tables)
{
	for (size_t i = 0; tables && i < FILES; i++)
		fd_close(tables->fds[i]);
	return mem_free(tables);
}
