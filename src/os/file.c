#include "os/file.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "os/call.h"
#include "os/fd.h"

static int file_open(const char *path, int flags, unsigned mode)
{
	return OS_CALL(EMFILE, open(path, flags | O_CLOEXEC | O_NOCTTY, mode));
}

static int read_all(int fd, struct buf *out)
{
	char chunk[4096];
	ssize_t n;
	int err = 0;
	while (err == 0 && (n = fd_read(fd, chunk, sizeof chunk)) != 0)
		err = n < 0 ? (int)n : buf_append(out, chunk, (size_t)n);
	mem_wipe(chunk, sizeof chunk); /* it may have been a key */
	return err;
}

static bool private(const struct stat *status)
{
	return status->st_uid == geteuid() && !(status->st_mode & (S_IRWXG | S_IRWXO));
}

static int read_file(const char *path, bool secret, struct buf *out)
{
	int fd = file_open(path, O_RDONLY | O_NONBLOCK, 0); /* opening a pipe does not wait for its writer */
	if (fd < 0)
		return fd;
	struct stat status;
	size_t before = buf_len(out);
	int err = OS_CALL(EIO, fstat(fd, &status));
	if (err == 0 && !S_ISREG(status.st_mode))
		err = -E_FILE;
	if (err == 0 && secret && !private(&status))
		err = -E_NOT_PRIVATE;
	if (err == 0)
		err = read_all(fd, out);
	if (err < 0)
		out->end = out->start + before;
	fd_close(fd);
	return err;
}

int file_read(const char *path, struct buf *out)
{
	return read_file(path, false, out);
}

int file_read_secret(const char *path, struct buf *out)
{
	return read_file(path, true, out);
}

static int directory_sync(const char *path)
{
	char directory[PATH_MAX];
	struct str name, parent = str_cut_last(str_from(path), '/', &name);
	if (!parent.len)
		parent = path[0] == '/' ? STR("/") : STR(".");
	int err = str_copy(parent, directory, sizeof directory);
	int fd = err < 0 ? err : file_open(directory, O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0)
		return fd;
	err = OS_CALL(EIO, fsync(fd));
	fd_close(fd);
	return err;
}

static int new_file_write(const char *path, const void *bytes, size_t len, unsigned mode)
{
	int fd = file_open(path, O_WRONLY | O_CREAT | O_EXCL, mode);
	if (fd < 0)
		return fd;
	int err = OS_CALL(EIO, fchmod(fd, mode)); /* whatever the umask is */
	if (err == 0)
		err = fd_write_all(fd, bytes, len);
	if (err == 0)
		err = OS_CALL(EIO, fsync(fd));
	fd_close(fd);
	return err;
}

int file_write(const char *path, const void *bytes, size_t len, unsigned mode)
{
	char path_new[PATH_MAX];
	if (snprintf(path_new, sizeof path_new, "%s.new", path) >= (int)sizeof path_new)
		return -E_TOO_LONG;
	unlink(path_new); /* left by a crash */
	int err = new_file_write(path_new, bytes, len, mode);
	if (err == 0)
		err = OS_CALL(EIO, rename(path_new, path));
	if (err < 0) {
		unlink(path_new);
		return err;
	}
	return directory_sync(path);
}

int file_rename(const char *from, const char *to)
{
	int err = OS_CALL(EIO, rename(from, to));
	return err < 0 ? err : directory_sync(to);
}

bool file_exists(const char *path)
{
	return OS_CALL(EIO, access(path, F_OK)) == 0;
}

static int directory_exists(const char *path)
{
	struct stat status;
	int err = OS_CALL(EIO, stat(path, &status));
	return err < 0 ? err : S_ISDIR(status.st_mode) ? 0 : -E_FILE;
}

static int directory_make(const char *path, unsigned mode)
{
	int err = OS_CALL(EIO, mkdir(path, mode));
	if (err < 0)
		return err == -EEXIST ? directory_exists(path) : err;
	err = OS_CALL(EIO, chmod(path, mode)); /* whatever the umask is */
	if (err < 0)
		rmdir(path);
	return err;
}

int file_make_directory(const char *path, unsigned mode)
{
	char made[PATH_MAX];
	int err = str_copy(str_from(path), made, sizeof made);
	for (size_t len = strlen(made); len > 1 && made[len - 1] == '/'; len--)
		made[len - 1] = 0;
	for (char *at = made; err == 0 && *at && (at = strchr(at + 1, '/')); *at = '/') {
		*at = 0;
		err = directory_exists(made);
		if (err == -ENOENT)
			err = directory_make(made, 0755);
	}
	return err < 0 ? err : directory_make(made, mode);
}

int file_directory_private(const char *path)
{
	struct stat status;
	int err = OS_CALL(EIO, lstat(path, &status));
	if (err < 0)
		return err;
	return !S_ISDIR(status.st_mode) ? -E_FILE : private(&status) ? 0 : -E_NOT_PRIVATE;
}

int file_path(char *out, size_t size, const char *directory, const char *name)
{
	size_t len = strlen(directory);
	const char *slash = len && directory[len - 1] != '/' ? "/" : "";
	int need = snprintf(out, size, "%s%s%s", directory, slash, name);
	return need < 0 || (size_t)need >= size ? -E_TOO_LONG : 0;
}

int file_lock(const char *path)
{
	int fd = file_open(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0600);
	if (fd < 0)
		return fd;
	int err = OS_CALL(EIO, flock(fd, LOCK_EX | LOCK_NB));
	if (err == 0)
		return fd;
	fd_close(fd);
	return err == -EWOULDBLOCK ? -E_RUNNING : err;
}
