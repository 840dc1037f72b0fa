#include <errno.h>
#include <pthread.h>
#include <signal.h>

#include "base/err.h"
#include "base/fault.h"
#include "base/mem.h"
#include "io/io.h"
#include "os/clock.h"
#include "store/engine.h"

struct store {
	struct store_tx *tx;
	struct io_wake *wake;
	pthread_t thread;
	bool running; /* the worker was started */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	/* Under the lock: */
	struct list queued, batch, finished; /* batch: those of the transaction that have not begun */
	struct store_stats stats;
	bool called;       /* the worker was, and has not yet found that nothing is left */
	uint64_t moved_us; /* clock_monotonic_us() when it was called, or has last done something */
	bool stopping;
};

static void job_result(struct store_job *job, int err, const char *detail)
{
	job->err = err;
	str_copy(str_from(detail), job->detail, sizeof job->detail);
}

/* The next of the batch, which has now begun, or NULL. */
static struct store_job *batch_next(struct store *store)
{
	struct store_job *job = NULL;
	pthread_mutex_lock(&store->lock);
	if (!list_empty(&store->batch)) {
		job = LIST_ENTRY(store->batch.next, struct store_job, node);
		list_remove(&job->node);
		job->begun = true;
	}
	pthread_mutex_unlock(&store->lock);
	return job;
}

/* The batch in one transaction.  Where the transaction as a whole is lost, all of its jobs have failed. */
static int batch_run(struct store *store, struct list *ran)
{
	struct store_tx *tx = store->tx;
	struct store_job *job;
	int err = engine_begin(tx);
	while ((job = batch_next(store)) != NULL) {
		list_append(ran, &job->node);
		if (err < 0)
			continue;
		int job_err = engine_job(tx, job);
		job_result(job, job_err, job_err < 0 ? engine_detail(tx) : "");
		if (!engine_active(tx))
			err = job_err;
	}
	if (err == 0)
		err = engine_commit(tx);
	if (err < 0)
		LIST_EACH(at, ran)
			job_result(LIST_ENTRY(at, struct store_job, node), err, engine_detail(tx));
	return err;
}

static void *worker_main(void *ctx)
{
	struct store *store = ctx;
	struct list ran;
	list_init(&ran);
	pthread_mutex_lock(&store->lock);
	for (;;) {
		while (list_empty(&store->queued) && !store->stopping) {
			store->called = false;
			pthread_cond_wait(&store->changed, &store->lock);
		}
		if (list_empty(&store->queued))
			break;
		list_move(&store->batch, &store->queued);
		pthread_mutex_unlock(&store->lock);
		int err = batch_run(store, &ran);
		pthread_mutex_lock(&store->lock);
		store->stats.commits += err == 0;
		store->moved_us = clock_monotonic_us();
		list_move(&store->finished, &ran);
		io_wake_send(store->wake);
	}
	pthread_mutex_unlock(&store->lock);
	return NULL;
}

static void jobs_done(void *ctx)
{
	struct store *store = ctx;
	struct list finished;
	list_init(&finished);
	pthread_mutex_lock(&store->lock);
	list_move(&finished, &store->finished);
	pthread_mutex_unlock(&store->lock);
	while (!list_empty(&finished)) {
		struct store_job *job = LIST_ENTRY(finished.next, struct store_job, node);
		list_remove(&job->node);
		pthread_mutex_lock(&store->lock);
		store->stats.waiting--;
		pthread_mutex_unlock(&store->lock);
		job->done(job, job->err);
	}
}

int store_open(const char *path, const struct store_schema *schema, struct store **ret, char detail[STORE_DETAIL_SIZE])
{
	detail[0] = 0;
	struct store *store = mem_alloc(sizeof *store);
	if (!store)
		return -E_NO_MEMORY;
	int err = engine_open(path, schema, &store->tx, detail);
	if (err < 0) {
		mem_free(store);
		return err;
	}
	pthread_mutex_init(&store->lock, NULL);
	pthread_cond_init(&store->changed, NULL);
	list_init(&store->queued);
	list_init(&store->batch);
	list_init(&store->finished);
	*ret = store;
	return 0;
}

static void worker_stop(struct store *store)
{
	pthread_mutex_lock(&store->lock);
	store->stopping = true;
	pthread_cond_signal(&store->changed);
	pthread_mutex_unlock(&store->lock);
	pthread_join(store->thread, NULL);
	jobs_done(store);
}

struct store *store_free(struct store *store)
{
	if (!store)
		return NULL;
	if (store->running)
		worker_stop(store);
	io_wake_free(store->wake);
	engine_close(store->tx);
	pthread_cond_destroy(&store->changed);
	pthread_mutex_destroy(&store->lock);
	return mem_free(store);
}

int store_start_worker(struct store *store, struct io_loop *loop)
{
	sigset_t all, before;
	store->wake = io_wake_new(loop, jobs_done, store);
	if (!store->wake)
		return -E_NO_MEMORY;
	/* Signals are the loop's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int err = fault_hit() ? EAGAIN : pthread_create(&store->thread, NULL, worker_main, store);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (err) {
		store->wake = io_wake_free(store->wake);
		return -err;
	}
	store->running = true;
	return 0;
}

int store_submit(struct store *store, struct store_job *job)
{
	pthread_mutex_lock(&store->lock);
	int err = store->stopping ? -E_CLOSED : store->stats.waiting == STORE_QUEUE_MAX ? -E_BUSY : 0;
	if (err == 0) {
		if (!store->called)
			store->moved_us = clock_monotonic_us();
		store->called = true;
		job->begun = false;
		list_append(&store->queued, &job->node);
		store->stats.jobs++;
		store->stats.waiting++;
		pthread_cond_signal(&store->changed);
	}
	pthread_mutex_unlock(&store->lock);
	return err;
}

int store_withdraw(struct store *store, struct store_job *job)
{
	pthread_mutex_lock(&store->lock);
	int err = job->begun ? -E_RUNNING : 0;
	if (err == 0) {
		list_remove(&job->node);
		store->stats.jobs--;
		store->stats.waiting--;
	}
	pthread_mutex_unlock(&store->lock);
	return err;
}

int store_run(struct store *store, struct store_job *job)
{
	if (store->running)
		return -E_INTERNAL;
	struct list ran;
	list_init(&ran);
	list_append(&store->batch, &job->node);
	store->stats.jobs++;
	store->stats.commits += batch_run(store, &ran) == 0;
	return job->err;
}

void store_stats(struct store *store, struct store_stats *ret)
{
	pthread_mutex_lock(&store->lock);
	*ret = store->stats;
	ret->stuck_us = store->called ? clock_monotonic_us() - store->moved_us : 0;
	pthread_mutex_unlock(&store->lock);
}
