/* probe/probe.h: what happens on this machine, as datagrams of proto/glouglou.md.
 *
 * probe_new() opens what needs rights (the process connector, packet and netlink sockets), before the sandbox; a source that this user or
 * machine does not have is replaced by the next best one, and a NOTICE and the log say which it is.  probe_start() begins, confined.
 * Nothing here blocks; every table is bounded, and what did not fit is counted and told by LOST records.  All on one loop. */
#ifndef PROBE_PROBE_H
#define PROBE_PROBE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

struct gg_process;
struct io_loop;
struct probe;

#define PROBE_OWNERS_MAX 64

struct probe_settings {
	int proc;       /* descriptor of /proc; the caller's */
	bool network;   /* the module of this name; processes are always there */
	bool packets;   /* see them, where that is allowed; else only what the kernel's tables of sockets say */
	bool arguments; /* send the arguments of processes */
	bool polling;   /* do not use the process connector: for tests */
	unsigned room;  /* bytes in the kernel for events of processes; 0 = as many as two seconds of a storm need */
	/* There is something for probe_take().  Never inside a function of this header. */
	void (*ready)(void *ctx);
	/* Asks whose these sockets are (inode numbers, at most PROBE_OWNERS_MAX); the answer is probe_owner() for those that were found.  Returns
	 * 0 or a negative code: then there is no answer. */
	int (*owners)(void *ctx, const uint64_t *inodes, size_t n);
	void *ctx;
};

/* NULL when memory is short. */
struct probe *probe_new(struct io_loop *loop, const struct probe_settings *settings);
void probe_start(struct probe *probe);
struct probe *probe_free(struct probe *probe);

/* The way to the server: it is there now (sources are named, keyframes sent), or not any more (what happens is kept, within a limit). */
void probe_linked(struct probe *probe, bool linked);
/* Puts datagrams, each behind its length (glouglou.md, section 6), into out; returns the bytes, 0 when there are none. */
size_t probe_take(struct probe *probe, uint8_t *out, size_t size);
/* What the server sent in the same form. */
void probe_receive(struct probe *probe, struct str datagrams);
void probe_owner(struct probe *probe, uint64_t inode, uint64_t pid);

/* ---- owner.c: for the role that may look into all processes ---- */

/* Looks, in turns of a few processes, for the owners of sockets; `found` comes for each, then `done` once.  All of them are looked for in one walk. */
struct probe_search;
struct probe_search *probe_search_new(struct io_loop *loop, const uint64_t *inodes, size_t n,
                                      void (*found)(void *ctx, uint64_t inode, uint64_t pid), void (*done)(void *ctx), void *ctx);
struct probe_search *probe_search_free(struct probe_search *search); /* also inside `done` */
#endif
