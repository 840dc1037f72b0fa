/* probe/modules/process/process.h: processes: by the kernel's process connector, else by looking at /proc every second. */
#ifndef PROBE_MODULES_PROCESS_PROCESS_H
#define PROBE_MODULES_PROCESS_PROCESS_H
#include "probe/module.h"

bool process_find(void *module, uint64_t pid, struct gg_process *ret, struct str *ret_command);

/* ---- connector.c: netlink's process events (linux/cn_proc.h) ---- */

enum process_event_kind { PROCESS_FORK, PROCESS_EXEC, PROCESS_EXIT, PROCESS_OTHER };
struct process_event {
	enum process_event_kind kind;
	uint64_t time_ns;       /* CLOCK_MONOTONIC */
	uint32_t pid, parent;   /* parent: of FORK */
	uint8_t code, signal;   /* of EXIT */
	uint32_t cpu, sequence; /* each processor counts its events */
};
/* A netlink message as it was received, or what is left of one that holds several: takes one event off *rest.  False: there is none, or
 * it is malformed.  Events of threads are PROCESS_OTHER. */
bool connector_parse(struct str *rest, struct process_event *ret);
/* Subscribes; room: bytes in the kernel, 0 = the default.  Returns the descriptor, or a negative code when this process may not, or the kernel has none. */
int connector_open(unsigned room);

#define CONNECTOR_CPUS 1024
struct connector_loss {
	uint32_t next[CONNECTOR_CPUS];
	bool seen[CONNECTOR_CPUS];
};
/* How many events in front of this one did not come. */
uint32_t connector_missed(struct connector_loss *loss, const struct process_event *event);

/* ---- proc.c: what /proc says of a process ---- */

#define PROCESS_COMMAND 32 /* with the NUL; the kernel's has at most 15 bytes, but a character may become longer when cleaned */
struct process_status {
	uint32_t parent, uid;
	uint64_t start_ms; /* since 1970 */
	bool kernel;       /* a thread of the kernel */
	char command[PROCESS_COMMAND];
};
/* 0, or a negative code: mostly that it is gone. */
int proc_status(int proc, uint32_t pid, struct process_status *ret);
/* Arguments joined by blanks, cleaned, cut; values that look like secrets are replaced.  exe holds the program's name, and becomes its path
 * where the first argument is one of this name. */
struct str proc_arguments(int proc, uint32_t pid, char *exe, size_t exe_size, char *out, size_t size);
/* Arguments as they are in /proc/PID/cmdline, in place; returns the new length. */
size_t proc_redact(char *arguments, size_t len);
/* Calls each() with every process id there is.  0, or a negative code. */
int proc_each(int proc, void (*each)(void *ctx, uint32_t pid), void *ctx);
#endif
