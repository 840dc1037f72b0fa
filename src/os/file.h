/* os/file.h: whole files.  Paths are NUL-terminated. */
#ifndef OS_FILE_H
#define OS_FILE_H
#include <stdbool.h>
#include <stddef.h>

struct buf;

/* Appends the file's content to out (whose max is the limit: -E_TOO_LONG).  A directory or device is -E_FILE. */
int file_read(const char *path, struct buf *out);
/* The same of a secret: -E_NOT_PRIVATE when it belongs to somebody else, or others may read or write it. */
int file_read_secret(const char *path, struct buf *out);
/* Replaces the file as one step: writes path.new with the mode, syncs it, renames it, syncs the directory.  After a crash the old or the
 * new content stands there, never a part. */
int file_write(const char *path, const void *bytes, size_t len, unsigned mode);
int file_rename(const char *from, const char *to); /* in one directory, which is synced */
bool file_exists(const char *path);
/* Makes the directory if it is missing, with this mode; missing parents get 0755.  -E_FILE when something else stands there. */
int file_make_directory(const char *path, unsigned mode);
/* 0 when it is ours and closed to all others, else -E_NOT_PRIVATE, -E_FILE (no directory, a link to one), -ENOENT. */
int file_directory_private(const char *path);
/* Joins into out; -E_TOO_LONG. */
int file_path(char *out, size_t size, const char *directory, const char *name);
/* Takes the exclusive lock of a file (made when missing); returns its descriptor, held until closed, or -E_RUNNING. */
int file_lock(const char *path);
#endif
