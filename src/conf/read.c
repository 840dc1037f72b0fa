#include <errno.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/err.h"
#include "conf/conf.h"
#include "os/file.h"

/* A writer of the file could make a program that runs as root do anything. */
static bool everybody_writes(const char *path)
{
	struct stat status;
	return stat(path, &status) == 0 && S_ISREG(status.st_mode) && (status.st_mode & S_IWOTH);
}

static int fail(const char *path, const char *reason, char error[CONF_ERROR_SIZE])
{
	snprintf(error, CONF_ERROR_SIZE, "%s: %s", path, reason);
	return -E_CONFIG;
}

static int file_fail(const char *path, int err, char error[CONF_ERROR_SIZE])
{
	if (err == -E_NO_MEMORY)
		return err;
	return fail(path,
	            err == -E_FILE       ? "not an ordinary file"
	            : err == -E_TOO_LONG ? "longer than 1 MiB"
	                                 : err_text(err),
	            error);
}

int conf_read(const char *path, const struct conf_table *table, struct conf **ret, char error[CONF_ERROR_SIZE])
{
	struct buf bytes;
	if (everybody_writes(path))
		return fail(path, "everybody may write to it (chmod o-w)", error);
	buf_init(&bytes, CONF_FILE_MAX);
	int err = file_read(path, &bytes);
	if (err == 0 || err == -ENOENT)
		err = conf_parse(buf_str(&bytes), path, table, ret, error);
	else
		err = file_fail(path, err, error);
	buf_wipe(&bytes); /* passwords may stand in it */
	return err;
}
