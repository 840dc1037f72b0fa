#include "route/test_disk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

static int step(struct test_disk *disk)
{
	if (disk->crashed)
		return -EIO;
	disk->steps++;
	if (disk->steps == disk->crash_at) {
		disk->crashed = true;
		return -EIO;
	}
	disk->failures += disk->steps == disk->fail_at;
	return disk->steps == disk->fail_at ? disk->fail_err : 0;
}

static struct test_file *find(struct test_disk *disk, const char *name)
{
	for (size_t i = 0; i < disk->n; i++)
		if (disk->files[i].there && strcmp(disk->files[i].name, name) == 0)
			return &disk->files[i];
	return NULL;
}

static int disk_names(void *ctx, int (*each)(void *each_ctx, const char *name), void *each_ctx)
{
	struct test_disk *disk = ctx;
	int err = step(disk);
	for (size_t i = disk->n; err >= 0 && i-- > 0;)
		if (disk->files[i].there)
			err = each(each_ctx, disk->files[i].name);
	return err;
}

static int disk_create(void *ctx, const char *name)
{
	struct test_disk *disk = ctx;
	int err = step(disk);
	if (err < 0)
		return err;
	if (find(disk, name))
		return -EEXIST;
	size_t i = 0;
	while (i < disk->n && (disk->files[i].there || disk->files[i].there_synced))
		i++;
	if (i == TEST_FILES)
		return -ENOSPC;
	free(disk->files[i].bytes);
	free(disk->files[i].synced);
	disk->files[i] = (struct test_file){ .there = true };
	snprintf(disk->files[i].name, sizeof disk->files[i].name, "%s", name);
	if (i == disk->n)
		disk->n++;
	return (int)i;
}

static int disk_open(void *ctx, const char *name, uint64_t *ret_size)
{
	struct test_disk *disk = ctx;
	int err = step(disk);
	struct test_file *file = find(disk, name);
	if (err < 0 || !file)
		return err < 0 ? err : -ENOENT;
	*ret_size = file->size;
	return (int)(file - disk->files);
}

static void disk_close(void *ctx, int file)
{
	(void)ctx;
	(void)file;
}

static int disk_read(void *ctx, int file, uint64_t at, void *out, size_t len)
{
	struct test_disk *disk = ctx;
	const struct test_file *f = &disk->files[file];
	int err = step(disk);
	if (err < 0)
		return err;
	if (at > f->size || len > f->size - at)
		return -E_SHORT;
	if (len)
		memcpy(out, f->bytes + at, len);
	return 0;
}

static uint64_t used(const struct test_disk *disk)
{
	uint64_t sum = 0;
	for (size_t i = 0; i < disk->n; i++)
		if (disk->files[i].there)
			sum += disk->files[i].size;
	return sum;
}

static void put(struct test_file *file, size_t at, const void *bytes, size_t len)
{
	if (at + len > file->capacity) {
		file->capacity = (at + len) * 2;
		file->bytes = realloc(file->bytes, file->capacity);
	}
	if (at > file->size)
		memset(file->bytes + file->size, 0, at - file->size);
	if (len)
		memcpy(file->bytes + at, bytes, len);
	if (at + len > file->size)
		file->size = at + len;
}

static int disk_write(void *ctx, int file, uint64_t at, const void *bytes, size_t len)
{
	struct test_disk *disk = ctx;
	struct test_file *f = &disk->files[file];
	bool running = !disk->crashed;
	int err = step(disk);
	uint64_t more = at + len > f->size ? at + len - f->size : 0;
	if (err == 0 && more && disk->capacity && used(disk) + more > disk->capacity) {
		disk->failures++;
		err = -ENOSPC;
	}
	if (running)
		put(f, at, bytes, err < 0 ? len / 2 : len);
	return err;
}

static void sync_file(struct test_file *file)
{
	free(file->synced);
	file->synced = malloc(file->size + 1);
	file->synced_size = file->size;
	if (file->size)
		memcpy(file->synced, file->bytes, file->size);
}

static int disk_sync(void *ctx, int file)
{
	struct test_disk *disk = ctx;
	int err = step(disk);
	if (err == 0)
		sync_file(&disk->files[file]);
	return err;
}

static int disk_sync_names(void *ctx)
{
	struct test_disk *disk = ctx;
	int err = step(disk);
	for (size_t i = 0; err == 0 && i < disk->n; i++)
		disk->files[i].there_synced = disk->files[i].there;
	return err;
}

static int disk_truncate(void *ctx, int file, uint64_t size)
{
	struct test_disk *disk = ctx;
	int err = step(disk);
	if (err == 0)
		disk->files[file].size = (size_t)size;
	return err;
}

static int disk_remove(void *ctx, const char *name)
{
	struct test_disk *disk = ctx;
	int err = step(disk);
	struct test_file *file = find(disk, name);
	if (err < 0 || !file)
		return err < 0 ? err : -ENOENT;
	file->there = false;
	return 0;
}

static int disk_available(void *ctx, uint64_t *ret_bytes)
{
	struct test_disk *disk = ctx;
	int err = step(disk);
	uint64_t full = disk->capacity ? disk->capacity : UINT64_MAX / 2;
	*ret_bytes = full > used(disk) ? full - used(disk) : 0;
	return err;
}

void test_disk_init(struct test_disk *disk, struct spool_disk *ret)
{
	memset(disk, 0, sizeof *disk);
	disk->torn_part = 128;
	*ret = (struct spool_disk){ disk,       disk_names, disk_create,     disk_open,     disk_close,  disk_read,
		                    disk_write, disk_sync,  disk_sync_names, disk_truncate, disk_remove, disk_available };
}

void test_disk_done(struct test_disk *disk)
{
	for (size_t i = 0; i < disk->n; i++) {
		free(disk->files[i].bytes);
		free(disk->files[i].synced);
	}
	disk->n = 0;
}

static void file_lose(const struct test_disk *disk, struct test_file *file, enum test_crash how)
{
	size_t kept = file->synced_size, more = file->size > kept ? file->size - kept : 0;
	if (file->synced_size)
		memcpy(file->bytes, file->synced, file->synced_size);
	if (how == TEST_TORN && more) {
		size_t part = more * disk->torn_part / 256;
		memset(file->bytes + kept + part, 0, more - part);
		kept += more;
	}
	file->size = kept;
	if (how != TEST_TORN || !disk->names_stay)
		file->there = file->there_synced;
}

void test_disk_recover(struct test_disk *disk, enum test_crash how)
{
	disk->crashed = false;
	disk->crash_at = disk->fail_at = 0;
	for (size_t i = 0; how != TEST_KILLED && i < disk->n; i++)
		file_lose(disk, &disk->files[i], how);
	for (size_t i = 0; i < disk->n; i++) { /* as it is now it is on the disk */
		sync_file(&disk->files[i]);
		disk->files[i].there_synced = disk->files[i].there;
	}
}

static bool ends(const struct test_file *file, const char *end)
{
	size_t len = strlen(file->name), want = strlen(end);
	return file->there && len >= want && strcmp(file->name + len - want, end) == 0;
}

struct test_file *test_disk_file(struct test_disk *disk, const char *end)
{
	for (size_t i = 0; i < disk->n; i++)
		if (ends(&disk->files[i], end))
			return &disk->files[i];
	return NULL;
}

size_t test_disk_count(const struct test_disk *disk, const char *end)
{
	size_t count = 0;
	for (size_t i = 0; i < disk->n; i++)
		count += ends(&disk->files[i], end);
	return count;
}
