#include <assert.h>
#include <uv.h>

#include "base/err.h"
#include "base/fault.h"
#include "base/mem.h"
#include "io/io.h"

struct io_loop {
	uv_loop_t uv;
	uv_prepare_t prepare; /* runs tasks scheduled by timers */
	uv_check_t check;     /* runs tasks scheduled by descriptors */
	struct list tasks;
	uint8_t *scratch;
	uint64_t ready_ms; /* a descriptor was, last */
};

/* Every handle starts with its uv handle, so that one close callback frees them all. */
static void handle_closed(uv_handle_t *handle)
{
	mem_free(handle);
}

static void tasks_run(struct io_loop *loop)
{
	while (!list_empty(&loop->tasks)) {
		struct io_task *task = LIST_ENTRY(loop->tasks.next, struct io_task, node);
		list_remove(&task->node);
		task->cb(task->ctx);
	}
}

static void on_prepare(uv_prepare_t *handle)
{
	tasks_run(handle->data);
}

static void on_check(uv_check_t *handle)
{
	tasks_run(handle->data);
}

struct io_loop *io_loop_new(void)
{
	struct io_loop *loop = mem_alloc(sizeof *loop);
	uint8_t *scratch = mem_alloc(IO_SCRATCH);
	if (!loop || !scratch || fault_hit() || uv_loop_init(&loop->uv) < 0) {
		mem_free(scratch);
		return mem_free(loop);
	}
	loop->scratch = scratch;
	loop->uv.data = loop;
	list_init(&loop->tasks);
	uv_prepare_init(&loop->uv, &loop->prepare);
	uv_check_init(&loop->uv, &loop->check);
	loop->prepare.data = loop->check.data = loop;
	uv_prepare_start(&loop->prepare, on_prepare);
	uv_check_start(&loop->check, on_check);
	return loop;
}

struct io_loop *io_loop_free(struct io_loop *loop)
{
	if (!loop)
		return NULL;
	uv_close((uv_handle_t *)&loop->prepare, NULL);
	uv_close((uv_handle_t *)&loop->check, NULL);
	uv_run(&loop->uv, UV_RUN_NOWAIT);
	uv_run(&loop->uv, UV_RUN_NOWAIT);
	int err = uv_loop_close(&loop->uv);
	assert(err == 0); /* an object of this loop was not freed */
	(void)err;
	mem_free(loop->scratch);
	return mem_free(loop);
}

int io_loop_run(struct io_loop *loop)
{
	uv_run(&loop->uv, UV_RUN_DEFAULT); /* its result says only what is still open */
	return 0;
}

void io_loop_stop(struct io_loop *loop)
{
	uv_stop(&loop->uv);
}

uint64_t io_loop_now_ms(const struct io_loop *loop)
{
	return uv_now(&loop->uv);
}

uint64_t io_loop_quiet_ms(const struct io_loop *loop)
{
	return uv_now(&loop->uv) - loop->ready_ms;
}

uint8_t *io_loop_scratch(struct io_loop *loop)
{
	return loop->scratch;
}

struct io_watch {
	uv_poll_t uv;
	io_watch_cb cb;
	void *ctx;
	unsigned events;
};

static void on_poll(uv_poll_t *handle, int status, int events);

static int watch_start(struct io_watch *watch)
{
	int wanted = (watch->events & IO_READABLE ? UV_READABLE : 0) | (watch->events & IO_WRITABLE ? UV_WRITABLE : 0) |
	             (watch->events & IO_HANGUP ? UV_DISCONNECT : 0);
	return uv_poll_start(&watch->uv, wanted, on_poll);
}

static void on_poll(uv_poll_t *handle, int status, int events)
{
	struct io_watch *watch = (struct io_watch *)handle;
	struct io_loop *loop = handle->loop->data;
	unsigned seen = (events & UV_READABLE ? IO_READABLE : 0u) | (events & UV_WRITABLE ? IO_WRITABLE : 0u) |
	                (events & UV_DISCONNECT ? IO_HANGUP : 0u);
	if (status < 0) {
		watch_start(watch); /* libuv stopped it, but there may be bytes before the error */
		seen = watch->events;
	}
	loop->ready_ms = uv_now(&loop->uv);
	watch->cb(watch->ctx, seen);
}

struct io_watch *io_watch_new(struct io_loop *loop, int fd, io_watch_cb cb, void *ctx)
{
	struct io_watch *watch = mem_alloc(sizeof *watch);
	if (!watch || fault_hit() || uv_poll_init(&loop->uv, &watch->uv, fd) < 0)
		return mem_free(watch);
	watch->cb = cb;
	watch->ctx = ctx;
	return watch;
}

int io_watch_set(struct io_watch *watch, unsigned events)
{
	if (watch->events == events)
		return 0;
	watch->events = events;
	if (!events)
		return uv_poll_stop(&watch->uv);
	return watch_start(watch);
}

struct io_watch *io_watch_free(struct io_watch *watch)
{
	if (watch)
		uv_close((uv_handle_t *)&watch->uv, handle_closed);
	return NULL;
}

struct io_timer {
	uv_timer_t uv;
	void (*cb)(void *ctx);
	void *ctx;
};

static void on_timer(uv_timer_t *handle)
{
	struct io_timer *timer = (struct io_timer *)handle;
	timer->cb(timer->ctx);
}

struct io_timer *io_timer_new(struct io_loop *loop, void (*cb)(void *ctx), void *ctx)
{
	struct io_timer *timer = mem_alloc(sizeof *timer);
	if (!timer)
		return NULL;
	uv_timer_init(&loop->uv, &timer->uv);
	timer->cb = cb;
	timer->ctx = ctx;
	return timer;
}

void io_timer_start(struct io_timer *timer, uint64_t after_ms, uint64_t repeat_ms)
{
	uv_update_time(timer->uv.loop); /* the loop may have been busy for long */
	/* 0 would let a timer that starts itself again keep libuv from ever going on. */
	uv_timer_start(&timer->uv, on_timer, after_ms ? after_ms : 1, repeat_ms);
}

void io_timer_stop(struct io_timer *timer)
{
	uv_timer_stop(&timer->uv);
}

struct io_timer *io_timer_free(struct io_timer *timer)
{
	if (timer)
		uv_close((uv_handle_t *)&timer->uv, handle_closed);
	return NULL;
}

void io_task_init(struct io_task *task, void (*cb)(void *ctx), void *ctx)
{
	*task = (struct io_task){ .cb = cb, .ctx = ctx };
	list_init(&task->node);
}

void io_task_schedule(struct io_loop *loop, struct io_task *task)
{
	if (list_empty(&task->node))
		list_append(&loop->tasks, &task->node);
}

void io_task_cancel(struct io_task *task)
{
	list_remove(&task->node);
}

struct io_signal {
	uv_signal_t uv;
	void (*cb)(void *ctx);
	void *ctx;
};

static void on_signal(uv_signal_t *handle, int number)
{
	struct io_signal *signal = (struct io_signal *)handle;
	(void)number;
	signal->cb(signal->ctx);
}

struct io_signal *io_signal_new(struct io_loop *loop, int number, void (*cb)(void *ctx), void *ctx)
{
	struct io_signal *signal = mem_alloc(sizeof *signal);
	if (!signal || fault_hit() || uv_signal_init(&loop->uv, &signal->uv) < 0)
		return mem_free(signal);
	signal->cb = cb;
	signal->ctx = ctx;
	if (fault_hit() || uv_signal_start(&signal->uv, on_signal, number) < 0)
		return io_signal_free(signal);
	return signal;
}

struct io_signal *io_signal_free(struct io_signal *signal)
{
	if (signal)
		uv_close((uv_handle_t *)&signal->uv, handle_closed);
	return NULL;
}

struct io_wake {
	uv_async_t uv;
	void (*cb)(void *ctx);
	void *ctx;
};

static void on_wake(uv_async_t *handle)
{
	struct io_wake *wake = (struct io_wake *)handle;
	wake->cb(wake->ctx);
}

struct io_wake *io_wake_new(struct io_loop *loop, void (*cb)(void *ctx), void *ctx)
{
	struct io_wake *wake = mem_alloc(sizeof *wake);
	if (!wake || fault_hit() || uv_async_init(&loop->uv, &wake->uv, on_wake) < 0)
		return mem_free(wake);
	wake->cb = cb;
	wake->ctx = ctx;
	return wake;
}

void io_wake_send(struct io_wake *wake)
{
	uv_async_send(&wake->uv);
}

struct io_wake *io_wake_free(struct io_wake *wake)
{
	if (wake)
		uv_close((uv_handle_t *)&wake->uv, handle_closed);
	return NULL;
}
