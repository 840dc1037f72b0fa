/* task/task.h: a command on many devices as the server's database keeps it: on which, and how each went.
 *
 * Others carry it out and report.  All functions run inside a job (store/store.h) and return the store's errors besides those named; times are
 * seconds since 1970 UTC, 0 = never. */
#ifndef TASK_TASK_H
#define TASK_TASK_H
#include <stdbool.h>
#include <stdint.h>

#include "base/id.h"
#include "base/str.h"
#include "crypto/key.h"

struct store_tx;

#define TASK_DEVICES_MAX  10000                 /* of one */
#define TASKS_RUNNING_MAX 100                   /* at a time */
#define TASKS_MAX         1000                  /* kept in all; the oldest that has ended makes room */
#define TASK_ROWS_MAX     200000                /* the same of their devices */
#define TASK_SECONDS      ((int64_t)30 * 86400) /* then it is forgotten */
#define TASK_TEXT_SIZE    128
#define TASK_OUTPUT_SIZE  4096
#define TASK_COMMAND_MAX  32768 /* bytes */

/* Of a task: running, done, cancelled, interrupted.  Of a device in it: all; those behind TASK_RUNNING are final. */
enum task_state { TASK_WAITING, TASK_RUNNING, TASK_DONE, TASK_FAILED, TASK_CANCELLED, TASK_INTERRUPTED };
const char *task_state_name(enum task_state state);
int task_state_parse(struct str name, enum task_state *ret); /* -E_NOT_FOUND */

struct task {
	struct id id, user;
	struct id component;        /* another machine of the server (ca/components.h) that carries it out; zero: core's */
	uint8_t session[HASH_SIZE]; /* of the session that carries it out, which alone may report */
	char user_name[64];
	char title[TASK_TEXT_SIZE], selector[TASK_TEXT_SIZE]; /* cleaned (base/utf8.h) and cut when kept */
	int64_t started, ended;
	int64_t total, done, failed;
	int64_t open; /* devices that are not through */
	enum task_state state;
};

struct task_device {
	struct id device;
	char name[80]; /* full name, as it was then */
	enum task_state state;
	int64_t code;                  /* exit code */
	int64_t error;                 /* positive: base/err.def; 0 = none */
	char output[TASK_OUTPUT_SIZE]; /* cleaned when kept, lines stay; last: lists keep only as much as there is */
};

/* Makes it with its devices, all waiting.  command: bytes whose meaning is the caller's, at most TASK_COMMAND_MAX.  Of task: id, user, component, session,
 * title, selector, started.  -E_LIMIT: too many are running. */
int task_begin(struct store_tx *tx, struct task *task, const void *command, size_t len);
int task_device_add(struct store_tx *tx, struct task *task, const struct id *device, const char *name); /* -E_LIMIT, -E_EXISTS */
int task_get(struct store_tx *tx, const struct id *id, struct task *ret);                               /* -E_NOT_FOUND */
int task_command(struct store_tx *tx, const struct id *id, void *ret, size_t size, size_t *ret_len);    /* -E_NOT_FOUND */

/* A negative answer of each() ends the walk and is its result. */
int task_list(struct store_tx *tx, int (*each)(void *ctx, const struct task *task), void *ctx); /* newest first */
int task_devices(struct store_tx *tx, const struct id *id, int (*each)(void *ctx, const struct task_device *device), void *ctx);

/* How a device goes.  The last one ends the task.  *ret is the task after it.  -E_NOT_FOUND (task or device), -E_CANCELLED (the task is
 * no longer running: whoever carries it out stops), -E_EXISTS (this device was through). */
int task_report(struct store_tx *tx, const struct id *id, const struct task_device *device, int64_t now, struct task *ret);
int task_cancel(struct store_tx *tx, const struct id *id, int64_t now, struct task *ret); /* -E_NOT_FOUND; ended before: as it is */
/* Whoever carried tasks out is gone: those of a component (zero: of core's machine), or all (NULL). */
int task_interrupt(struct store_tx *tx, const struct id *component, int64_t now);
int task_prune(struct store_tx *tx, int64_t now);
#endif
