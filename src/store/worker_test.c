#include "store/testing.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

#include "base/mem.h"
#include "io/io.h"

static const char *const migrations[] = { "CREATE TABLE things (id INTEGER PRIMARY KEY) STRICT" };
static const struct store_schema schema = { 1, 1, migrations };

/* Adds its number; fails on demand. */
struct thing {
	struct store_job job;
	struct scene *scene;
	int64_t id;
	int fails_with;
	int err;      /* as done() got it */
	size_t place; /* 1 = the first that was done */
};

struct scene {
	struct test_store test;
	struct io_loop *loop;
	size_t n, done;
	struct thing *things;
};

static int thing_run(struct store_tx *tx, struct store_job *job)
{
	struct thing *thing = (struct thing *)job;
	struct store_query *query = store_query(tx, "INSERT INTO things (id) VALUES ($1)");
	store_bind_integer(query, 1, thing->id);
	int err = store_exec(query);
	return err < 0 ? err : thing->fails_with;
}

static void thing_done(struct store_job *job, int err)
{
	struct thing *thing = (struct thing *)job;
	thing->err = err;
	thing->place = ++thing->scene->done;
	if (thing->scene->done == thing->scene->n)
		io_loop_stop(thing->scene->loop);
}

static struct scene scene_make(size_t n)
{
	struct scene scene = { .n = n };
	test_store_make(&scene.test, &schema);
	assert_non_null(scene.loop = io_loop_new());
	assert_non_null(scene.things = mem_alloc_array(n, sizeof *scene.things));
	for (size_t i = 0; i < n; i++)
		scene.things[i] = (struct thing){ .job.run = thing_run, .job.done = thing_done, .id = (int64_t)i };
	return scene;
}

static void scene_start(struct scene *scene)
{
	for (size_t i = 0; i < scene->n; i++)
		scene->things[i].scene = scene;
	assert_int_equal(store_start_worker(scene->test.store, scene->loop), 0);
}

static void scene_remove(struct scene *scene)
{
	test_store_remove(&scene->test);
	io_loop_free(scene->loop);
	mem_free(scene->things);
}

static int count_body(struct store_tx *tx, void *ctx)
{
	struct store_query *query = store_query(tx, "SELECT count(*) FROM things");
	if (store_step(query) > 0)
		*(int64_t *)ctx = store_integer(query, 0);
	return store_error(query);
}

/* Ends the worker and counts what is in the file. */
static int64_t scene_count(struct scene *scene)
{
	int64_t n = -1;
	assert_int_equal(test_store_reopen(&scene->test), 0);
	assert_int_equal(test_run(&scene->test, count_body, &n), 0);
	return n;
}

static void test_group_commit(void **state)
{
	(void)state;
	struct scene scene = scene_make(1000);
	struct store_stats stats;
	scene_start(&scene);
	for (size_t i = 0; i < scene.n; i++)
		assert_int_equal(store_submit(scene.test.store, &scene.things[i].job), 0);
	io_loop_run(scene.loop);
	for (size_t i = 0; i < scene.n; i++) {
		assert_int_equal(scene.things[i].err, 0);
		assert_int_equal(scene.things[i].place, i + 1);
	}
	store_stats(scene.test.store, &stats);
	assert_int_equal(stats.jobs, 1000);
	assert_int_equal(stats.waiting, 0);
	assert_in_range(stats.commits, 1, 250);
	assert_int_equal(scene_count(&scene), 1000);
	scene_remove(&scene);
}

static void test_failing_jobs_fail_alone(void **state)
{
	(void)state;
	struct scene scene = scene_make(300);
	scene_start(&scene);
	for (size_t i = 0; i < scene.n; i++) {
		if (i % 3 == 1)
			scene.things[i].fails_with = -E_DENIED; /* after its insert */
		if (i % 3 == 2)
			scene.things[i].id = scene.things[i - 2].id; /* is there already */
		assert_int_equal(store_submit(scene.test.store, &scene.things[i].job), 0);
	}
	io_loop_run(scene.loop);
	for (size_t i = 0; i < scene.n; i++) {
		static const int expected[] = { 0, -E_DENIED, -E_EXISTS };
		assert_int_equal(scene.things[i].err, expected[i % 3]);
		assert_int_equal(scene.things[i].job.detail[0] != 0, i % 3 == 2);
	}
	assert_int_equal(scene_count(&scene), 100);
	scene_remove(&scene);
}

static int give_up_transaction(struct store_tx *tx, struct store_job *job)
{
	(void)job;
	return store_exec(store_query(tx, "ROLLBACK"));
}

/* When the database gives up the whole transaction, no job of it may be called done. */
static void test_lost_transaction_fails_all(void **state)
{
	(void)state;
	struct scene scene = scene_make(200);
	scene.things[100].job.run = give_up_transaction;
	scene_start(&scene);
	for (size_t i = 0; i < scene.n; i++)
		assert_int_equal(store_submit(scene.test.store, &scene.things[i].job), 0);
	io_loop_run(scene.loop);
	int64_t good = 0;
	assert_int_equal(scene.things[100].err, -E_STORE);
	for (size_t i = 0; i < scene.n; i++) {
		assert_true(scene.things[i].err == 0 || scene.things[i].err == -E_STORE);
		good += scene.things[i].err == 0;
	}
	assert_int_equal(scene_count(&scene), good);
	scene_remove(&scene);
}

/* A gate that says that it holds the worker inside its run(), until it is opened. */
struct gate {
	struct store_job job;
	int says[2], opens[2]; /* pipes */
	int done_with;
};

static int gate_run(struct store_tx *tx, struct store_job *job)
{
	(void)tx;
	char byte;
	struct gate *gate = (struct gate *)job;
	return write(gate->says[1], "x", 1) == 1 && read(gate->opens[0], &byte, 1) == 1 ? 0 : -EIO;
}

static void gate_done(struct store_job *job, int err)
{
	((struct gate *)job)->done_with = err;
}

static void gate_make(struct gate *ret)
{
	*ret = (struct gate){ .job.run = gate_run, .job.done = gate_done, .done_with = 1 };
	assert_int_equal(pipe(ret->says), 0);
	assert_int_equal(pipe(ret->opens), 0);
}

static void gate_remove(struct gate *gate)
{
	for (size_t i = 0; i < 2; i++) {
		close(gate->says[i]);
		close(gate->opens[i]);
	}
}

static void test_queue_is_bounded(void **state)
{
	(void)state;
	struct scene scene = scene_make(STORE_QUEUE_MAX);
	struct gate gate;
	struct store_stats stats;
	gate_make(&gate);
	scene_start(&scene);
	assert_int_equal(store_submit(scene.test.store, &gate.job), 0);
	for (size_t i = 0; i < scene.n - 1; i++)
		assert_int_equal(store_submit(scene.test.store, &scene.things[i].job), 0);
	assert_int_equal(store_submit(scene.test.store, &scene.things[scene.n - 1].job), -E_BUSY);
	store_stats(scene.test.store, &stats);
	assert_int_equal(stats.waiting, STORE_QUEUE_MAX);
	assert_int_equal(write(gate.opens[1], "x", 1), 1);
	/* Freeing carries out what waits. */
	scene.test.store = store_free(scene.test.store);
	assert_int_equal(gate.done_with, 0);
	assert_int_equal(scene.done, scene.n - 1);
	assert_int_equal(scene.things[scene.n - 1].place, 0);
	assert_int_equal(scene_count(&scene), STORE_QUEUE_MAX - 1);
	gate_remove(&gate);
	scene_remove(&scene);
}

/* What has not begun can be taken back, in the batch of what holds the worker too; that nothing is done can be seen. */
static void test_withdraw(void **state)
{
	(void)state;
	struct scene scene = scene_make(4);
	struct gate gate;
	struct store_stats stats;
	char byte;
	gate_make(&gate);
	store_stats(scene.test.store, &stats);
	assert_int_equal(stats.stuck_us, 0);
	assert_int_equal(store_submit(scene.test.store, &gate.job), 0);
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(store_submit(scene.test.store, &scene.things[i].job), 0);
	scene_start(&scene);
	assert_int_equal(read(gate.says[0], &byte, 1), 1);
	for (size_t i = 2; i < 4; i++)
		assert_int_equal(store_submit(scene.test.store, &scene.things[i].job), 0);
	assert_int_equal(store_withdraw(scene.test.store, &scene.things[1].job), 0);
	assert_int_equal(store_withdraw(scene.test.store, &scene.things[2].job), 0);
	store_stats(scene.test.store, &stats);
	assert_int_equal(stats.waiting, 3);
	assert_int_equal(stats.jobs, 3);
	uint64_t before = stats.stuck_us;
	do
		store_stats(scene.test.store, &stats);
	while (stats.stuck_us <= before);
	assert_int_equal(store_withdraw(scene.test.store, &gate.job), -E_RUNNING);
	assert_int_equal(write(gate.opens[1], "x", 1), 1);
	scene.test.store = store_free(scene.test.store);
	assert_int_equal(gate.done_with, 0);
	assert_int_equal(scene.done, 2);
	assert_int_equal(scene.things[1].place, 0);
	assert_int_equal(scene.things[2].place, 0);
	assert_int_equal(scene.things[3].place, 2);
	assert_int_equal(scene_count(&scene), 2);
	gate_remove(&gate);
	scene_remove(&scene);
}

/* done() may submit: here each job submits the next. */
static void chain_done(struct store_job *job, int err)
{
	struct thing *thing = (struct thing *)job;
	struct scene *scene = thing->scene;
	thing->err = err;
	if (++scene->done == scene->n)
		io_loop_stop(scene->loop);
	else
		assert_int_equal(store_submit(scene->test.store, &scene->things[scene->done].job), 0);
}

static void test_submit_from_done(void **state)
{
	(void)state;
	struct scene scene = scene_make(20);
	struct store_stats stats;
	for (size_t i = 0; i < scene.n; i++)
		scene.things[i].job.done = chain_done;
	scene_start(&scene);
	assert_int_equal(store_submit(scene.test.store, &scene.things[0].job), 0);
	io_loop_run(scene.loop);
	store_stats(scene.test.store, &stats);
	assert_int_equal(stats.commits, 20);
	assert_int_equal(scene_count(&scene), 20);
	scene_remove(&scene);
}

static void refused_done(struct store_job *job, int err)
{
	struct thing *thing = (struct thing *)job;
	thing->err = err;
	thing->scene->things[1].err = store_submit(thing->scene->test.store, &thing->scene->things[1].job);
}

static void test_nothing_new_while_ending(void **state)
{
	(void)state;
	struct scene scene = scene_make(2);
	scene.things[0].job.done = refused_done;
	scene_start(&scene);
	assert_int_equal(store_submit(scene.test.store, &scene.things[0].job), 0);
	store_free(scene.test.store);
	scene.test.store = NULL;
	assert_int_equal(scene.things[0].err, 0);
	assert_int_equal(scene.things[1].err, -E_CLOSED);
	scene_remove(&scene);
}

static void test_start(void **state)
{
	(void)state;
	struct scene scene = scene_make(1);
	bool reached = true;
	/* At once, and when the worker could not be started: jobs can still run here. */
	assert_int_equal(store_run(scene.test.store, &scene.things[0].job), 0);
	for (long n = 1; reached; n++) {
		fault_arm(n);
		int err = store_start_worker(scene.test.store, scene.loop);
		reached = !fault_armed();
		fault_arm(0);
		assert_true(reached ? err < 0 : err == 0);
		if (reached)
			assert_int_equal(store_run(scene.test.store, &scene.things[0].job), -E_EXISTS);
	}
	assert_int_equal(store_run(scene.test.store, &scene.things[0].job), -E_INTERNAL);
	assert_null(store_free(NULL));
	scene_remove(&scene);
}

static int blocked_signals(struct store_tx *tx, struct store_job *job)
{
	(void)tx;
	sigset_t blocked;
	pthread_sigmask(SIG_SETMASK, NULL, &blocked);
	((struct thing *)job)->fails_with = sigismember(&blocked, SIGTERM) && sigismember(&blocked, SIGINT) ? 0 : -E_INTERNAL;
	return ((struct thing *)job)->fails_with;
}

static void test_signals_are_the_loops(void **state)
{
	(void)state;
	struct scene scene = scene_make(1);
	sigset_t blocked;
	scene.things[0].job.run = blocked_signals;
	scene_start(&scene);
	assert_int_equal(store_submit(scene.test.store, &scene.things[0].job), 0);
	io_loop_run(scene.loop);
	assert_int_equal(scene.things[0].err, 0);
	pthread_sigmask(SIG_SETMASK, NULL, &blocked);
	assert_false(sigismember(&blocked, SIGTERM));
	scene_remove(&scene);
}

/* kill -9 of a process whose worker commits groups: what done() was called for is there, and every group is there as a whole. */

#define GROUP 10

static int group_run(struct store_tx *tx, struct store_job *job)
{
	struct thing *thing = (struct thing *)job;
	for (int64_t i = 0; i < GROUP; i++) {
		struct store_query *query = store_query(tx, "INSERT INTO things (id) VALUES ($1)");
		store_bind_integer(query, 1, thing->id * GROUP + i);
		int err = store_exec(query);
		if (err < 0)
			return err;
	}
	return 0;
}

static int killed_writer_fd;

static void said_done(struct store_job *job, int err)
{
	struct thing *thing = (struct thing *)job;
	if (err < 0 || write(killed_writer_fd, &thing->id, sizeof thing->id) != sizeof thing->id)
		_exit(99);
	thing->id += 50;
	if (store_submit(thing->scene->test.store, &thing->job) < 0)
		_exit(99);
}

static void writer(struct scene *scene, int64_t from)
{
	if (test_store_reopen(&scene->test) < 0)
		_exit(99);
	for (size_t i = 0; i < scene->n; i++) {
		scene->things[i].scene = scene;
		scene->things[i].id = from + (int64_t)i;
		scene->things[i].job.run = group_run;
		scene->things[i].job.done = said_done;
	}
	if (store_start_worker(scene->test.store, scene->loop) < 0)
		_exit(99);
	for (size_t i = 0; i < scene->n; i++)
		store_submit(scene->test.store, &scene->things[i].job);
	io_loop_run(scene->loop);
	_exit(99);
}

static int whole_groups(struct store_tx *tx, void *ctx)
{
	int64_t *acknowledged = ctx, groups = 0;
	struct store_query *query = store_query(tx, "SELECT id / 10, count(*) FROM things GROUP BY 1 ORDER BY 1");
	int rows;
	while ((rows = store_step(query)) > 0) {
		assert_int_equal(store_integer(query, 1), GROUP);
		groups++;
	}
	assert_int_equal(rows, 0);
	assert_true(groups >= *acknowledged);
	*acknowledged = groups;
	return 0;
}

static void test_kill(void **state)
{
	(void)state;
	struct scene scene = scene_make(50);
	int64_t groups = 0;
	scene.test.store = store_free(scene.test.store);
	for (int round = 0; round < 10; round++) {
		int ends[2];
		int64_t id;
		assert_int_equal(pipe(ends), 0);
		pid_t pid = fork();
		assert_true(pid >= 0);
		if (pid == 0) {
			killed_writer_fd = ends[1];
			writer(&scene, round * 1000000);
		}
		close(ends[1]);
		for (int heard = 0; heard < 40 + 37 * round; heard++, groups++)
			assert_int_equal(read(ends[0], &id, sizeof id), sizeof id);
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		while (read(ends[0], &id, sizeof id) == sizeof id)
			groups++;
		close(ends[0]);
		assert_int_equal(test_store_reopen(&scene.test), 0);
		assert_int_equal(test_run(&scene.test, whole_groups, &groups), 0);
		scene.test.store = store_free(scene.test.store);
	}
	scene_remove(&scene);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_group_commit),
		cmocka_unit_test(test_failing_jobs_fail_alone),
		cmocka_unit_test(test_lost_transaction_fails_all),
		cmocka_unit_test(test_queue_is_bounded),
		cmocka_unit_test(test_withdraw),
		cmocka_unit_test(test_submit_from_done),
		cmocka_unit_test(test_nothing_new_while_ending),
		cmocka_unit_test(test_start),
		cmocka_unit_test(test_signals_are_the_loops),
		cmocka_unit_test(test_kill),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
