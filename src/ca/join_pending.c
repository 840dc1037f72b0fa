#include "ca/join_pending.h"

#include <errno.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "os/fd.h"
#include "os/file.h"
#include "os/log.h"

int join_pending_path(const char *directory, char ret[PATH_MAX])
{
	return file_path(ret, PATH_MAX, directory, "join.pending");
}

static int fd_read_all(int fd, struct buf *text)
{
	uint8_t *room;
	ssize_t n = 0;
	int err = 0;
	while ((err = buf_reserve(text, 1, &room)) == 0 && (n = fd_read(fd, room, 1)) == 1)
		buf_commit(text, 1);
	fd_close(fd);
	return n < 0 || err < 0 ? -E_KEY_LINE : 0;
}

static int line_check(struct str text, char ret[JOIN_LINE_SIZE])
{
	struct join_line line;
	struct str whole = str_trim(text);
	while (whole.len && (whole.ptr[whole.len - 1] == '\n' || whole.ptr[whole.len - 1] == '\r'))
		whole.len--;
	int err = join_line_parse(whole, &line);
	mem_wipe(&line, sizeof line);
	return err < 0 ? err : str_copy(whole, ret, JOIN_LINE_SIZE);
}

int join_pending_read(const char *directory, int fd, char ret[JOIN_LINE_SIZE])
{
	char path[PATH_MAX];
	struct buf text;
	buf_init(&text, JOIN_LINE_SIZE);
	ret[0] = 0;
	int err = join_pending_path(directory, path);
	if (err == 0)
		err = fd >= 0 ? fd_read_all(fd, &text) : file_read(path, &text);
	if (err == -ENOENT && fd < 0) { /* enrolled long ago */
		buf_done(&text);
		return 0;
	}
	if (err == 0)
		err = line_check(buf_str(&text), ret);
	if (err == 0 && fd >= 0)
		err = file_write(path, ret, strlen(ret), 0600);
	buf_wipe(&text);
	return err;
}

void join_pending_forget(const char *directory)
{
	char path[PATH_MAX];
	if (join_pending_path(directory, path) == 0 && unlink(path) < 0 && errno != ENOENT)
		log_warning("the join line could not be removed from %s", path);
}
