/* proc(5), read through a descriptor of /proc: the sandbox leaves nothing else of the file system. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/utf8.h"
#include "os/fd.h"
#include "probe/modules/process/process.h"

#define KERNEL_THREAD 0x00200000 /* PF_KTHREAD of linux/sched.h */
#define ARGUMENTS_MAX 4096
#define REPLACED      "***"
#define CLOCK_TICK_MS 10 /* USER_HZ is 100 on all architectures that this runs on */

static ssize_t file_take(int proc, uint32_t pid, const char *name, char *out, size_t size)
{
	char path[48];
	snprintf(path, sizeof path, "%" PRIu32 "/%s", pid, name);
	int fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ssize_t len = fd_read(fd, out, size - 1);
	fd_close(fd);
	out[len > 0 ? len : 0] = 0;
	return len;
}

/* When this boot began, in milliseconds since 1970: found once, so that a process has one start time for ever. */
static uint64_t boot_ms(void)
{
	static uint64_t boot;
	struct timespec wall, since;
	if (!boot) {
		clock_gettime(CLOCK_REALTIME, &wall);
		clock_gettime(CLOCK_BOOTTIME, &since);
		boot = (uint64_t)(wall.tv_sec - since.tv_sec) * 1000 + (uint64_t)((wall.tv_nsec - since.tv_nsec) / 1000000);
	}
	return boot;
}

/* "PID (NAME) STATE PPID ...": the name may hold anything, also brackets. */
static int stat_read(int proc, uint32_t pid, struct process_status *ret)
{
	char text[1024];
	unsigned parent, flags;
	unsigned long long ticks;
	ssize_t len = file_take(proc, pid, "stat", text, sizeof text);
	char *name = len > 0 ? strchr(text, '(') : NULL, *end = len > 0 ? strrchr(text, ')') : NULL;
	if (!name || !end || end < name ||
	    sscanf(end + 1, " %*c %u %*d %*d %*d %*d %u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu", &parent, &flags,
	           &ticks) != 3)
		return len < 0 ? (int)len : -E_MESSAGE;
	ret->parent = parent;
	ret->kernel = flags & KERNEL_THREAD;
	ret->start_ms = boot_ms() + ticks * CLOCK_TICK_MS;
	utf8_clean((struct str){ name + 1, (size_t)(end - name - 1) }, ret->command, sizeof ret->command);
	return 0;
}

int proc_status(int proc, uint32_t pid, struct process_status *ret)
{
	char path[16];
	struct stat status;
	int err = stat_read(proc, pid, ret);
	snprintf(path, sizeof path, "%" PRIu32, pid);
	ret->uid = err == 0 && fstatat(proc, path, &status, 0) == 0 ? status.st_uid : 0;
	return err;
}

/* ---- arguments ---- */

static bool word_secret(struct str word)
{
	static const char *const words[] = { "pass", "pwd", "secret", "token", "apikey", "api-key", "api_key", "credential" };
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		for (size_t at = 0; at < word.len; at++)
			if (str_equal_nocase(
			            (struct str){ word.ptr + at, strlen(words[i]) <= word.len - at ? strlen(words[i]) : 0 },
			            str_from(words[i])))
				return true;
	return false;
}

static size_t replace(char *out, size_t at, struct str argument, size_t keep)
{
	size_t hidden = argument.len - keep < strlen(REPLACED) ? argument.len - keep : strlen(REPLACED);
	memmove(out + at, argument.ptr, keep);
	memcpy(out + at + keep, REPLACED, hidden);
	return at + keep + hidden;
}

/* NAME=SECRET, --name=SECRET, --name SECRET: the value goes. */
size_t proc_redact(char *arguments, size_t len)
{
	struct str rest = { arguments, len }, value;
	size_t at = 0;
	bool next = false;
	while (rest.len) {
		struct str argument = str_cut(rest, 0, &rest), name = str_cut(argument, '=', &value);
		bool named = word_secret(name), assigned = name.len < argument.len;
		if (next && argument.len && argument.ptr[0] != '-')
			at = replace(arguments, at, argument, 0);
		else if (named && assigned)
			at = replace(arguments, at, argument, name.len + 1);
		else {
			memmove(arguments + at, argument.ptr, argument.len);
			at += argument.len;
		}
		next = named && !assigned && argument.len && argument.ptr[0] == '-';
		arguments[at++] = 0;
	}
	return at < len ? at : len;
}

/* The link /proc/PID/exe is for those who may trace the process: what it was started as has to do, when it fits the kernel's name. */
static void exe_guess(const char *argument, char *exe, size_t size)
{
	struct str name;
	str_cut_last(str_from(argument), '/', &name);
	if (argument[0] == '/' && str_starts(name, str_from(exe)))
		utf8_clean(str_from(argument), exe, size);
}

struct str proc_arguments(int proc, uint32_t pid, char *exe, size_t exe_size, char *out, size_t size)
{
	char text[ARGUMENTS_MAX + 1];
	ssize_t len = file_take(proc, pid, "cmdline", text, sizeof text);
	if (len <= 0)
		return STR("");
	exe_guess(text, exe, exe_size);
	size_t kept = proc_redact(text, (size_t)len);
	while (kept && !text[kept - 1])
		kept--;
	for (size_t i = 0; i < kept; i++)
		if (!text[i])
			text[i] = ' ';
	return str_from(utf8_clean((struct str){ text, kept }, out, size));
}

/* ---- all of them ---- */

int proc_each(int proc, void (*each)(void *ctx, uint32_t pid), void *ctx)
{
	uint64_t pid;
	int fd = openat(proc, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	DIR *directory = fdopendir(fd);
	if (!directory) {
		fd_close(fd);
		return -E_NO_MEMORY;
	}
	for (const struct dirent *entry; (entry = readdir(directory));)
		if (str_to_u64(str_from(entry->d_name), UINT32_MAX, &pid) == 0)
			each(ctx, (uint32_t)pid);
	closedir(directory);
	return 0;
}
