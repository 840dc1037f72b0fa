#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/io.h"
#include "os/fd.h"
#include "probe/modules/process/process.h"
#include "probe/probe.h"

#define PIDS_MAX  32768
#define TURN_PIDS 8 /* a process with thousands of descriptors takes a millisecond */

struct probe_search {
	void (*found)(void *ctx, uint64_t inode, uint64_t pid);
	void (*done)(void *ctx);
	void *ctx;
	struct io_timer *turn;
	int proc;
	size_t n_inodes, n_pids, at;
	uint64_t inodes[PROBE_OWNERS_MAX]; /* 0 = found */
	size_t missing;
	uint32_t pids[];
};

static void on_pid(void *ctx, uint32_t pid)
{
	struct probe_search *search = ctx;
	if (search->n_pids < PIDS_MAX)
		search->pids[search->n_pids++] = pid;
}

/* "socket:[4711]" */
static void link_compare(struct probe_search *search, uint32_t pid, const char *link)
{
	uint64_t inode;
	struct str number = str_skip(str_from(link), strlen("socket:["));
	if (!str_starts(str_from(link), STR("socket:[")) || !number.len)
		return;
	number.len--;
	if (str_to_u64(number, UINT64_MAX, &inode) < 0)
		return;
	for (size_t i = 0; i < search->n_inodes; i++)
		if (search->inodes[i] == inode && inode) {
			search->inodes[i] = 0;
			search->missing--;
			search->found(search->ctx, inode, pid);
			return;
		}
}

static void process_look(struct probe_search *search, uint32_t pid)
{
	char path[32], link[64];
	snprintf(path, sizeof path, "%" PRIu32 "/fd", pid);
	int fd = openat(search->proc, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *directory = fd < 0 ? NULL : fdopendir(fd);
	if (!directory) {
		fd_close(fd);
		return;
	}
	for (const struct dirent *entry; search->missing && (entry = readdir(directory));) {
		ssize_t len = readlinkat(dirfd(directory), entry->d_name, link, sizeof link - 1);
		link[len > 0 ? len : 0] = 0;
		link_compare(search, pid, link);
	}
	closedir(directory);
}

static void on_turn(void *ctx)
{
	struct probe_search *search = ctx;
	for (unsigned i = 0; i < TURN_PIDS && search->at < search->n_pids && search->missing; i++)
		process_look(search, search->pids[search->n_pids - 1 - search->at++]); /* the newest first */
	if (search->at < search->n_pids && search->missing)
		io_timer_start(search->turn, 0, 0);
	else
		search->done(search->ctx);
}

struct probe_search *probe_search_new(struct io_loop *loop, const uint64_t *inodes, size_t n,
                                      void (*found)(void *ctx, uint64_t inode, uint64_t pid), void (*done)(void *ctx), void *ctx)
{
	struct probe_search *search = mem_alloc(sizeof *search + PIDS_MAX * sizeof *search->pids);
	if (!search)
		return NULL;
	search->found = found;
	search->done = done;
	search->ctx = ctx;
	search->n_inodes = search->missing = n < PROBE_OWNERS_MAX ? n : PROBE_OWNERS_MAX;
	memcpy(search->inodes, inodes, search->n_inodes * sizeof *inodes);
	search->proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	search->turn = io_timer_new(loop, on_turn, search);
	if (search->proc < 0 || !search->turn || proc_each(search->proc, on_pid, search) < 0)
		return probe_search_free(search);
	io_timer_start(search->turn, 0, 0);
	return search;
}

struct probe_search *probe_search_free(struct probe_search *search)
{
	if (!search)
		return NULL;
	io_timer_free(search->turn);
	fd_close(search->proc);
	return mem_free(search);
}
