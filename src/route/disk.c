#include "route/disk.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/err.h"
#include "os/call.h"
#include "os/fd.h"
#include "os/file.h"

/* ctx is the directory's descriptor. */
static int directory_of(void *ctx)
{
	return (int)(intptr_t)ctx;
}

static int disk_names(void *ctx, int (*each)(void *each_ctx, const char *name), void *each_ctx)
{
	int fd = OS_CALL(EMFILE, openat(directory_of(ctx), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	if (fd < 0)
		return fd;
	DIR *directory = fdopendir(fd);
	if (!directory) {
		fd_close(fd);
		return -E_NO_MEMORY;
	}
	int err = 0;
	for (struct dirent *entry; err >= 0 && (entry = readdir(directory));)
		if (entry->d_name[0] != '.')
			err = each(each_ctx, entry->d_name);
	closedir(directory);
	return err;
}

static int disk_create(void *ctx, const char *name)
{
	return OS_CALL(ENOSPC, openat(directory_of(ctx), name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
}

static int disk_open(void *ctx, const char *name, uint64_t *ret_size)
{
	struct stat status;
	int fd = OS_CALL(EMFILE, openat(directory_of(ctx), name, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
	if (fd < 0)
		return fd;
	int err = OS_CALL(EIO, fstat(fd, &status));
	if (err == 0 && !S_ISREG(status.st_mode))
		err = -E_FILE;
	if (err < 0) {
		fd_close(fd);
		return err;
	}
	*ret_size = (uint64_t)status.st_size;
	return fd;
}

static void disk_close(void *ctx, int file)
{
	(void)ctx;
	fd_close(file);
}

static int disk_read(void *ctx, int file, uint64_t at, void *out, size_t len)
{
	(void)ctx;
	for (size_t done = 0; done < len;) {
		ssize_t n = OS_CALL(EIO, pread(file, (char *)out + done, len - done, (off_t)(at + done)));
		if (n <= 0)
			return n < 0 ? (int)n : -E_SHORT;
		done += (size_t)n;
	}
	return 0;
}

static int disk_write(void *ctx, int file, uint64_t at, const void *bytes, size_t len)
{
	(void)ctx;
	for (size_t done = 0; done < len;) {
		ssize_t n = OS_CALL(ENOSPC, pwrite(file, (const char *)bytes + done, len - done, (off_t)(at + done)));
		if (n < 0)
			return (int)n;
		done += (size_t)n;
	}
	return 0;
}

static int disk_sync(void *ctx, int file)
{
	(void)ctx;
	return OS_CALL(EIO, fdatasync(file));
}

static int disk_sync_names(void *ctx)
{
	return OS_CALL(EIO, fsync(directory_of(ctx)));
}

static int disk_truncate(void *ctx, int file, uint64_t size)
{
	(void)ctx;
	return OS_CALL(EIO, ftruncate(file, (off_t)size));
}

static int disk_remove(void *ctx, const char *name)
{
	return OS_CALL(EIO, unlinkat(directory_of(ctx), name, 0));
}

static int disk_available(void *ctx, uint64_t *ret_bytes)
{
	struct statvfs status;
	int err = OS_CALL(EIO, fstatvfs(directory_of(ctx), &status));
	if (err == 0)
		*ret_bytes = (uint64_t)status.f_bavail * status.f_frsize;
	return err;
}

int spool_disk_open(const char *directory, struct spool_disk *ret)
{
	int err = file_make_directory(directory, 0700);
	int fd = err < 0 ? err : OS_CALL(EMFILE, open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	if (fd < 0)
		return fd;
	*ret = (struct spool_disk){ (void *)(intptr_t)fd, disk_names, disk_create,     disk_open,     disk_close,  disk_read,
		                    disk_write,           disk_sync,  disk_sync_names, disk_truncate, disk_remove, disk_available };
	return 0;
}

void spool_disk_close(struct spool_disk *disk)
{
	if (disk->names)
		fd_close(directory_of(disk->ctx));
	*disk = (struct spool_disk){ 0 };
}
