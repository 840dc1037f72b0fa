#include <errno.h>
#include <pthread.h>
#include <signal.h>

#include "base/test.h"
#include "io/io.h"
#include "os/fd.h"
#include "os/socket.h"

/* Most tests: one loop, a guard that fails the test instead of letting it hang, and a count of callbacks. */
struct scene {
	struct io_loop *loop;
	struct io_timer *guard, *timer;
	struct io_watch *watch, *other;
	struct io_signal *signal;
	struct io_wake *wake;
	struct io_task task, second;
	int pair[2];
	unsigned count, events;
	char text[64];
	bool late;
};

static void on_late(void *ctx)
{
	struct scene *s = ctx;
	s->late = true;
	io_loop_stop(s->loop);
}

static int begin(void **state)
{
	struct scene *s = *state = calloc(1, sizeof *s);
	s->loop = io_loop_new();
	s->guard = io_timer_new(s->loop, on_late, s);
	return fd_pair_stream(s->pair);
}

static int end(void **state)
{
	struct scene *s = *state;
	io_timer_free(s->guard);
	io_loop_free(s->loop);
	fd_close(s->pair[0]);
	fd_close(s->pair[1]);
	free(s);
	return 0;
}

static void run(struct scene *s)
{
	io_timer_start(s->guard, 20000, 0);
	assert_int_equal(io_loop_run(s->loop), 0);
	io_timer_stop(s->guard);
	assert_false(s->late);
}

static void stop(void *ctx)
{
	io_loop_stop(((struct scene *)ctx)->loop);
}

static void add_letter(struct scene *s, char letter)
{
	s->text[strlen(s->text)] = letter;
}

/* ---- loop ---- */

static void test_loop(void **state)
{
	struct scene *s = *state;
	io_loop_stop(s->loop); /* before it runs: it does not begin */
	run(s);
	memset(io_loop_scratch(s->loop), 'x', IO_SCRATCH);
	assert_null(io_loop_free(NULL));
	assert_null(io_watch_free(NULL));
	assert_null(io_timer_free(NULL));
	assert_null(io_signal_free(NULL));
	assert_null(io_wake_free(NULL));
}

static void *stop_from_thread(void *ctx)
{
	io_wake_send(((struct scene *)ctx)->wake);
	return NULL;
}

/* It runs until it is stopped, not until nothing is left to wait for. */
static void test_runs_until_stopped(void **state)
{
	struct scene *s = *state;
	io_task_init(&s->task, stop, s);
	io_task_schedule(s->loop, &s->task);
	assert_int_equal(io_loop_run(s->loop), 0);
	assert_true(list_empty(&s->task.node));
}

/* ---- watches ---- */

static void on_events(void *ctx, unsigned events)
{
	struct scene *s = ctx;
	s->count++;
	s->events |= events;
	io_loop_stop(s->loop);
}

static unsigned next_events(struct scene *s)
{
	s->events = 0;
	run(s);
	return s->events;
}

static void test_watch(void **state)
{
	struct scene *s = *state;
	char byte;
	s->watch = io_watch_new(s->loop, s->pair[0], on_events, s);
	assert_non_null(s->watch);
	assert_null(io_watch_new(s->loop, -1, on_events, s));
	assert_int_equal(io_watch_set(s->watch, IO_WRITABLE), 0);
	assert_null(io_watch_new(s->loop, s->pair[0], on_events, s)); /* one a descriptor */
	assert_int_equal(next_events(s), IO_WRITABLE);
	assert_int_equal(io_watch_set(s->watch, IO_READABLE), 0);
	assert_int_equal(fd_write(s->pair[1], "x", 1), 1);
	assert_int_equal(next_events(s), IO_READABLE);
	assert_int_equal(next_events(s), IO_READABLE); /* nobody read it */
	assert_int_equal(io_watch_set(s->watch, IO_READABLE | IO_WRITABLE), 0);
	assert_int_equal(next_events(s), IO_READABLE | IO_WRITABLE);
	assert_int_equal(fd_read(s->pair[0], &byte, 1), 1);
	assert_int_equal(next_events(s), IO_WRITABLE);
	assert_int_equal(io_watch_set(s->watch, IO_READABLE | IO_HANGUP), 0);
	assert_int_equal(socket_shutdown_write(s->pair[1]), 0);
	assert_int_equal(next_events(s), IO_READABLE | IO_HANGUP);

	assert_int_equal(io_watch_set(s->watch, IO_READABLE | IO_HANGUP), 0); /* as it is */
	assert_int_equal(next_events(s), IO_READABLE | IO_HANGUP);

	/* None wanted: none comes. */
	assert_int_equal(io_watch_set(s->watch, 0), 0);
	s->count = 0;
	s->timer = io_timer_new(s->loop, stop, s);
	io_timer_start(s->timer, 1, 0);
	run(s);
	assert_int_equal(s->count, 0);
	s->timer = io_timer_free(s->timer);
	assert_int_equal(io_watch_set(s->watch, IO_HANGUP), 0);
	assert_int_equal(next_events(s), IO_HANGUP);
	assert_null(io_watch_free(s->watch));
}

/* Reads one byte a time; on an error of the descriptor too, what came before it is not lost. */
static void on_byte(void *ctx, unsigned events)
{
	struct scene *s = ctx;
	char byte;
	assert_true(events & IO_READABLE);
	if (s->count++ % 2)
		return; /* nothing done: it has to come again */
	ssize_t n = fd_read(s->pair[0], &byte, 1);
	if (n == 1)
		add_letter(s, byte);
	if (n < 0) {
		assert_int_equal(n, -ECONNRESET);
		io_loop_stop(s->loop);
	}
}

static void test_watch_error(void **state)
{
	struct scene *s = *state;
	struct socket_address address;
	fd_close(s->pair[0]);
	fd_close(s->pair[1]);
	assert_int_equal(socket_address_parse(STR("127.0.0.1"), 0, &address), 0);
	int listener = socket_listen(&address);
	assert_int_equal(socket_local(listener, &address), 0);
	s->pair[0] = socket_connect(&address);
	s->watch = io_watch_new(s->loop, listener, on_events, s);
	io_watch_set(s->watch, IO_READABLE);
	assert_int_equal(next_events(s), IO_READABLE);
	s->pair[1] = socket_accept(listener);
	io_watch_free(s->watch);
	assert_int_equal(fd_write(s->pair[1], "abcde", 5), 5);
	socket_reset(s->pair[1]);
	s->pair[1] = fd_close(s->pair[1]);

	s->count = 0;
	s->watch = io_watch_new(s->loop, s->pair[0], on_byte, s);
	io_watch_set(s->watch, IO_READABLE);
	run(s);
	assert_string_equal(s->text, "abcde");
	io_watch_free(s->watch);
	fd_close(listener);
}

static void on_refused(void *ctx, unsigned events)
{
	struct scene *s = ctx;
	assert_int_equal(events, IO_WRITABLE);
	assert_int_equal(socket_error(s->pair[0]), -ECONNREFUSED);
	s->watch = io_watch_free(s->watch);
	s->pair[0] = fd_close(s->pair[0]);
	io_loop_stop(s->loop);
}

static void test_watch_refused(void **state)
{
	struct scene *s = *state;
	struct socket_address address;
	assert_int_equal(socket_address_parse(STR("127.0.0.1"), 0, &address), 0);
	int listener = socket_listen(&address);
	assert_int_equal(socket_local(listener, &address), 0);
	fd_close(listener);
	fd_close(s->pair[0]);
	s->pair[0] = socket_connect(&address);
	if (s->pair[0] < 0)
		skip(); /* refused at once */
	s->watch = io_watch_new(s->loop, s->pair[0], on_refused, s);
	io_watch_set(s->watch, IO_WRITABLE);
	run(s);
	assert_null(s->watch);
}

static void free_both(void *ctx, unsigned events)
{
	struct scene *s = ctx;
	(void)events;
	s->count++;
	s->watch = io_watch_free(s->watch);
	s->other = io_watch_free(s->other);
	io_task_schedule(s->loop, &s->task);
}

/* Both are ready; the first callback frees both, so the other's does not come. */
static void test_watch_freed_inside(void **state)
{
	struct scene *s = *state;
	s->watch = io_watch_new(s->loop, s->pair[0], free_both, s);
	s->other = io_watch_new(s->loop, s->pair[1], free_both, s);
	io_watch_set(s->watch, IO_WRITABLE);
	io_watch_set(s->other, IO_WRITABLE);
	io_task_init(&s->task, stop, s);
	run(s);
	assert_int_equal(s->count, 1);

	/* The descriptor can be watched again. */
	s->watch = io_watch_new(s->loop, s->pair[0], on_events, s);
	assert_non_null(s->watch);
	io_watch_set(s->watch, IO_WRITABLE);
	assert_int_equal(next_events(s), IO_WRITABLE);
	io_watch_free(s->watch);
}

/* ---- timers ---- */

static void on_third(void *ctx)
{
	struct scene *s = ctx;
	if (++s->count == 3)
		io_loop_stop(s->loop);
}

static void letter_a(void *ctx)
{
	add_letter(ctx, 'a');
}

static void letter_b(void *ctx)
{
	add_letter(ctx, 'b');
}

static void test_timers(void **state)
{
	struct scene *s = *state;
	uint64_t before = io_loop_now_ms(s->loop);
	s->timer = io_timer_new(s->loop, on_third, s);
	io_timer_start(s->timer, 2, 2);
	run(s);
	assert_int_equal(s->count, 3);
	assert_true(io_loop_now_ms(s->loop) >= before + 6);
	io_timer_stop(s->timer);
	io_timer_stop(s->timer);

	/* In the order of their times, whatever the order of starting; one restarted, one stopped. */
	struct io_timer *a = io_timer_new(s->loop, letter_a, s), *b = io_timer_new(s->loop, letter_b, s);
	struct io_timer *end = io_timer_new(s->loop, stop, s), *stopped = io_timer_new(s->loop, letter_b, s);
	io_timer_start(b, 1, 0);
	io_timer_start(a, 3, 0);
	io_timer_start(stopped, 2, 0);
	io_timer_start(b, 6, 0);
	io_timer_start(end, 10, 0);
	io_timer_stop(stopped);
	run(s);
	assert_string_equal(s->text, "ab");
	io_timer_free(a);
	io_timer_free(b);
	io_timer_free(end);
	io_timer_free(stopped);
	io_timer_free(s->timer);
}

static void read_byte(void *ctx, unsigned events)
{
	struct scene *s = ctx;
	char byte;
	(void)events;
	assert_int_equal(read(s->pair[0], &byte, 1), 1);
	assert_int_equal(io_loop_quiet_ms(s->loop), 0);
	stop(s);
}

/* Timers do not count. */
static void test_quiet(void **state)
{
	struct scene *s = *state;
	s->timer = io_timer_new(s->loop, stop, s);
	s->watch = io_watch_new(s->loop, s->pair[0], read_byte, s);
	io_watch_set(s->watch, IO_READABLE);
	assert_int_equal(write(s->pair[1], "x", 1), 1);
	run(s);
	io_timer_start(s->timer, 30, 0);
	run(s);
	assert_true(io_loop_quiet_ms(s->loop) >= 20); /* the kernel's coarse clock */
	io_timer_free(s->timer);
	io_watch_free(s->watch);
}

static void restart_at_once(void *ctx)
{
	struct scene *s = ctx;
	s->count++;
	io_timer_start(s->timer, 0, 0);
}

/* A timer that starts itself again for "now" leaves the others their turn. */
static void test_timer_does_not_starve(void **state)
{
	struct scene *s = *state;
	s->timer = io_timer_new(s->loop, restart_at_once, s);
	s->watch = io_watch_new(s->loop, s->pair[0], on_events, s);
	io_watch_set(s->watch, IO_WRITABLE);
	io_timer_start(s->timer, 0, 0);
	run(s);
	io_timer_free(s->timer);
	io_watch_free(s->watch);
}

/* Counted from its start, though the loop has been away for longer than it takes. */
static void test_timer_after_a_pause(void **state)
{
	struct scene *s = *state;
	uint64_t before = io_loop_now_ms(s->loop);
	struct timespec now;
	uint64_t started;
	do {
		clock_gettime(CLOCK_MONOTONIC, &now);
		started = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
	} while (started < before + 40);
	s->timer = io_timer_new(s->loop, stop, s);
	io_timer_start(s->timer, 20, 0);
	run(s);
	assert_true(io_loop_now_ms(s->loop) + 10 >= started + 20); /* 10: the kernel's coarse clock */
	io_timer_free(s->timer);
}

static void free_timer(void *ctx)
{
	struct scene *s = ctx;
	s->count++;
	s->timer = io_timer_free(s->timer);
	io_task_schedule(s->loop, &s->task);
}

static void test_timer_freed_inside(void **state)
{
	struct scene *s = *state;
	io_task_init(&s->task, stop, s);
	s->timer = io_timer_new(s->loop, free_timer, s);
	io_timer_start(s->timer, 1, 1);
	run(s);
	assert_int_equal(s->count, 1);
}

/* ---- tasks ---- */

static void first_task(void *ctx)
{
	struct scene *s = ctx;
	add_letter(s, '1');
	io_task_schedule(s->loop, &s->second);
	io_task_schedule(s->loop, &s->second);
}

static void second_task(void *ctx)
{
	struct scene *s = ctx;
	add_letter(s, '2');
	if (strlen(s->text) < 4)
		io_task_schedule(s->loop, &s->task);
}

static void schedule_twice(void *ctx, unsigned events)
{
	struct scene *s = ctx;
	(void)events;
	add_letter(s, 'w');
	io_task_schedule(s->loop, &s->task);
	io_task_schedule(s->loop, &s->task);
	io_watch_set(s->watch, 0);
	io_loop_stop(s->loop); /* what was scheduled runs in this iteration still */
}

static void test_tasks(void **state)
{
	struct scene *s = *state;
	io_task_init(&s->task, first_task, s);
	io_task_init(&s->second, second_task, s);
	s->watch = io_watch_new(s->loop, s->pair[0], schedule_twice, s);
	io_watch_set(s->watch, IO_WRITABLE);
	run(s);
	assert_string_equal(s->text, "w1212");

	/* Cancelled, also twice, also by another task. */
	memset(s->text, 0, sizeof s->text);
	io_task_cancel(&s->task);
	io_task_init(&s->second, letter_b, s);
	io_task_schedule(s->loop, &s->second);
	io_task_cancel(&s->second);
	io_task_cancel(&s->second);
	io_watch_set(s->watch, IO_WRITABLE);
	io_task_init(&s->task, letter_a, s);
	run(s);
	assert_string_equal(s->text, "wa");
	io_watch_free(s->watch);
}

static void cancel_second(void *ctx)
{
	struct scene *s = ctx;
	io_task_cancel(&s->second);
	io_loop_stop(s->loop);
}

static void schedule_from_timer(void *ctx)
{
	struct scene *s = ctx;
	io_task_schedule(s->loop, &s->task);
	io_task_schedule(s->loop, &s->second);
}

static void test_task_cancelled_by_task(void **state)
{
	struct scene *s = *state;
	io_task_init(&s->task, cancel_second, s);
	io_task_init(&s->second, letter_b, s);
	s->timer = io_timer_new(s->loop, schedule_from_timer, s);
	io_timer_start(s->timer, 1, 0);
	run(s);
	assert_string_equal(s->text, "");
	io_timer_free(s->timer);
}

/* ---- signals and other threads ---- */

static void on_signal(void *ctx)
{
	struct scene *s = ctx;
	if (++s->count < 3) {
		raise(SIGUSR1);
		return;
	}
	s->signal = io_signal_free(s->signal);
	io_loop_stop(s->loop);
}

static void test_signal(void **state)
{
	struct scene *s = *state;
	s->signal = io_signal_new(s->loop, SIGUSR1, on_signal, s);
	assert_non_null(s->signal);
	raise(SIGUSR1);
	run(s);
	assert_int_equal(s->count, 3);
	assert_null(io_signal_new(s->loop, SIGKILL, on_signal, s));
	assert_null(io_signal_new(s->loop, 0, on_signal, s));

	/* Freed while one is on its way: no callback. */
	s->signal = io_signal_new(s->loop, SIGUSR1, on_signal, s);
	raise(SIGUSR1);
	s->signal = io_signal_free(s->signal);
	s->timer = io_timer_new(s->loop, stop, s);
	io_timer_start(s->timer, 1, 0);
	run(s);
	assert_int_equal(s->count, 3);
	io_timer_free(s->timer);
}

static void on_wake(void *ctx)
{
	struct scene *s = ctx;
	s->count++;
	s->wake = io_wake_free(s->wake);
	io_loop_stop(s->loop);
}

static void test_wake(void **state)
{
	struct scene *s = *state;
	pthread_t thread;
	s->wake = io_wake_new(s->loop, on_wake, s);
	assert_non_null(s->wake);
	assert_int_equal(pthread_create(&thread, NULL, stop_from_thread, s), 0);
	run(s);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(s->count, 1);
	assert_null(s->wake);
}

#define SENDS 10000

struct counter {
	struct scene *scene;
	unsigned sent; /* atomic */
};

static void *send_many(void *ctx)
{
	struct counter *counter = ctx;
	for (int i = 0; i < SENDS; i++) {
		__atomic_add_fetch(&counter->sent, 1, __ATOMIC_SEQ_CST);
		io_wake_send(counter->scene->wake);
	}
	return NULL;
}

static void on_sent(void *ctx)
{
	struct counter *counter = ctx;
	counter->scene->count++;
	if (__atomic_load_n(&counter->sent, __ATOMIC_SEQ_CST) == SENDS)
		io_loop_stop(counter->scene->loop);
}

/* Several sends may be one callback, but the last is never lost. */
static void test_wake_many(void **state)
{
	struct scene *s = *state;
	struct counter counter = { .scene = s };
	pthread_t thread;
	s->wake = io_wake_new(s->loop, on_sent, &counter);
	assert_int_equal(pthread_create(&thread, NULL, send_many, &counter), 0);
	run(s);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_in_range(s->count, 1, SENDS);
	io_wake_free(s->wake);
}

/* ---- faults ---- */

static void nothing(void *ctx)
{
	(void)ctx;
}

static void nothing_ready(void *ctx, unsigned events)
{
	(void)ctx, (void)events;
}

static int make_all(void *ctx)
{
	struct scene *s = ctx;
	struct io_loop *loop = io_loop_new();
	if (!loop)
		return -ENOMEM;
	struct io_watch *watch = io_watch_new(loop, s->pair[0], nothing_ready, NULL);
	struct io_timer *timer = io_timer_new(loop, nothing, NULL);
	struct io_signal *signal = io_signal_new(loop, SIGUSR2, nothing, NULL);
	struct io_wake *wake = io_wake_new(loop, nothing, NULL);
	int err = watch && timer && signal && wake ? 0 : -ENOMEM;
	io_watch_free(watch);
	io_timer_free(timer);
	io_signal_free(signal);
	io_wake_free(wake);
	io_loop_free(loop);
	return err;
}

static void test_faults(void **state)
{
	assert_int_equal(make_all(*state), 0); /* opens what libuv keeps for all loops */
	assert_int_equal(test_each_fault(make_all, *state), 11);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_loop),
		TEST(test_runs_until_stopped),
		TEST(test_watch),
		TEST(test_watch_error),
		TEST(test_watch_refused),
		TEST(test_watch_freed_inside),
		TEST(test_timers),
		TEST(test_quiet),
		TEST(test_timer_does_not_starve),
		TEST(test_timer_after_a_pause),
		TEST(test_timer_freed_inside),
		TEST(test_tasks),
		TEST(test_task_cancelled_by_task),
		TEST(test_signal),
		TEST(test_wake),
		TEST(test_wake_many),
		TEST(test_faults),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
