/* io/io.h: the event loop (libuv) in the words this project needs.
 *
 * One loop a thread; all calls on the loop's own thread except io_wake_send().  Objects are freed with their _free function, which accepts
 * NULL, returns NULL, and may be called inside any callback, also the object's own; no callback comes afterwards.
 * No function here uses libuv's thread pool (a confined role would die of it). */
#ifndef IO_IO_H
#define IO_IO_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"

struct io_loop;

struct io_loop *io_loop_new(void);
struct io_loop *io_loop_free(struct io_loop *loop);
int io_loop_run(struct io_loop *loop); /* until io_loop_stop() */
void io_loop_stop(struct io_loop *loop);
uint64_t io_loop_now_ms(const struct io_loop *loop);   /* monotonic, as of this iteration */
uint64_t io_loop_quiet_ms(const struct io_loop *loop); /* for so long no watched descriptor was ready */
/* One buffer of IO_SCRATCH bytes a loop: valid inside one callback only, so that idle connections hold no memory. */
#define IO_SCRATCH ((size_t)256 << 10)
uint8_t *io_loop_scratch(struct io_loop *loop);

/* Readiness of a descriptor, level-triggered.  The descriptor stays the caller's, who frees the watch before closing it. */
enum { IO_READABLE = 1, IO_WRITABLE = 2, IO_HANGUP = 4 /* the peer closed its writing side */ };
struct io_watch;
typedef void (*io_watch_cb)(void *ctx, unsigned events); /* on an error of the descriptor: all events asked for */
/* NULL also when the descriptor cannot be watched (a file), or is watched already. */
struct io_watch *io_watch_new(struct io_loop *loop, int fd, io_watch_cb cb, void *ctx);
int io_watch_set(struct io_watch *watch, unsigned events); /* 0 = none */
struct io_watch *io_watch_free(struct io_watch *watch);

struct io_timer;
struct io_timer *io_timer_new(struct io_loop *loop, void (*cb)(void *ctx), void *ctx);
/* Restarts when it runs; repeat 0 = once.  after 0 = in the next iteration. */
void io_timer_start(struct io_timer *timer, uint64_t after_ms, uint64_t repeat_ms);
void io_timer_stop(struct io_timer *timer);
struct io_timer *io_timer_free(struct io_timer *timer);

/* Work for the end of this iteration, before the loop sleeps: for batching what one wake-up produced.  Embedded in its owner. */
struct io_task {
	struct list node;
	void (*cb)(void *ctx);
	void *ctx;
};
void io_task_init(struct io_task *task, void (*cb)(void *ctx), void *ctx);
void io_task_schedule(struct io_loop *loop, struct io_task *task); /* once, however often it is called */
void io_task_cancel(struct io_task *task);

struct io_signal;
struct io_signal *io_signal_new(struct io_loop *loop, int signal, void (*cb)(void *ctx), void *ctx);
struct io_signal *io_signal_free(struct io_signal *signal);

/* Wakes the loop from another thread; several sends may become one callback. */
struct io_wake;
struct io_wake *io_wake_new(struct io_loop *loop, void (*cb)(void *ctx), void *ctx);
void io_wake_send(struct io_wake *wake); /* any thread */
struct io_wake *io_wake_free(struct io_wake *wake);
#endif
