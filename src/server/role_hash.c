/* The hash role: passwords through argon2id, two at a time; it gets bytes from core alone and keeps none. */
#include <malloc.h>
#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

#include "account/password.h"
#include "base/err.h"
#include "base/list.h"
#include "base/mem.h"
#include "io/io.h"
#include "os/log.h"
#include "rpc/rpc.h"
#include "server/server.h"
#include "services.h"

#define THREADS     2
#define WAITING_MAX (THREADS + 8) /* with those at work */
#define NICENESS    10            /* a flood of logins must not slow the other roles */

struct work {
	struct list node;
	struct rpc_call *call; /* loop only */
	murmesh_HashRequest request;
	murmesh_HashReply reply;
	bool make;
	int err;
};

struct hash_role {
	struct priv_child *child;
	struct rpc_connection *core;
	struct io_wake *wake;
	pthread_mutex_t lock;
	pthread_cond_t work;
	struct list waiting, finished; /* under the lock */
	size_t n_waiting;              /* loop only: not yet answered */
};

static void work_do(struct work *work)
{
	struct str password = str_from(work->request.password);
	work->err = work->make ? password_make(password, work->reply.encoded)
	                       : password_verify(work->request.encoded, password, &work->reply.matches);
}

static void *thread_main(void *ctx)
{
	struct hash_role *role = ctx;
	pthread_mutex_lock(&role->lock);
	for (;;) {
		while (list_empty(&role->waiting))
			pthread_cond_wait(&role->work, &role->lock);
		struct work *work = LIST_ENTRY(role->waiting.next, struct work, node);
		list_remove(&work->node);
		pthread_mutex_unlock(&role->lock);
		work_do(work);
		pthread_mutex_lock(&role->lock);
		list_append(&role->finished, &work->node);
		io_wake_send(role->wake);
	}
	return NULL;
}

static void work_answer(struct work *work)
{
	if (work->err < 0)
		rpc_call_finish(work->call, work->err, NULL);
	else
		rpc_call_reply(work->call, &work->reply);
	rpc_call_unref(work->call);
	mem_wipe(work, sizeof *work);
	mem_free(work);
}

static void on_wake(void *ctx)
{
	struct hash_role *role = ctx;
	for (;;) {
		struct work *work = NULL;
		pthread_mutex_lock(&role->lock);
		if (!list_empty(&role->finished)) {
			work = LIST_ENTRY(role->finished.next, struct work, node);
			list_remove(&work->node);
		}
		pthread_mutex_unlock(&role->lock);
		if (!work)
			return;
		role->n_waiting--;
		work_answer(work);
	}
}

static void work_take(struct hash_role *role, struct rpc_call *call, const void *request, bool make)
{
	struct work *work = role->n_waiting < WAITING_MAX ? mem_alloc(sizeof *work) : NULL;
	if (!work)
		return rpc_call_finish(call, -E_BUSY, NULL);
	work->request = *(const murmesh_HashRequest *)request;
	work->make = make;
	work->call = rpc_call_ref(call);
	role->n_waiting++;
	pthread_mutex_lock(&role->lock);
	list_append(&role->waiting, &work->node);
	pthread_cond_signal(&role->work);
	pthread_mutex_unlock(&role->lock);
}

static void on_make(void *ctx, struct rpc_call *call, const void *request)
{
	work_take(ctx, call, request, true);
}

static void on_verify(void *ctx, struct rpc_call *call, const void *request)
{
	work_take(ctx, call, request, false);
}

static const struct rpc_service services[] = {
	{ &rpc_Hash_Make, 0, on_make, NULL },
	{ &rpc_Hash_Verify, 0, on_verify, NULL },
};

static int on_open(void *ctx, struct rpc_call *call)
{
	const struct rpc_service *row = rpc_service_find(services, sizeof services / sizeof *services, rpc_call_path(call));
	return row ? rpc_serve(row, call, ctx) : -E_UNSUPPORTED;
}

static void on_core_closed(void *ctx, int err)
{
	struct hash_role *role = ctx;
	(void)err;
	role->core = rpc_connection_free(role->core);
}

static void on_descriptor(void *ctx, const char *name, int fd)
{
	static const struct rpc_connection_events events = { on_open, NULL, on_core_closed };
	static const struct rpc_connection_settings settings = { .server = true, .max_streams = 100 };
	struct hash_role *role = ctx;
	(void)name; /* rpc-from:core is the only edge */
	rpc_connection_replace(&role->core, priv_child_loop(role->child), fd, &settings, &events, role);
	if (!role->core)
		log_warning("core could not be connected");
}

static int start_threads(void *ctx)
{
	struct hash_role *role = ctx;
	pthread_attr_t attributes;
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, (size_t)256 << 10);
	int err = 0;
	for (unsigned i = 0; i < THREADS && !err; i++) {
		pthread_t thread;
		err = pthread_create(&thread, &attributes, thread_main, role);
	}
	pthread_attr_destroy(&attributes);
	return -err;
}

int server_hash_main(struct priv_child *child)
{
	static const struct priv_child_events events = { on_descriptor, NULL, NULL };
	static struct hash_role role;
	role = (struct hash_role){ .child = child, .lock = PTHREAD_MUTEX_INITIALIZER, .work = PTHREAD_COND_INITIALIZER };
	list_init(&role.waiting);
	list_init(&role.finished);
	mallopt(M_MMAP_THRESHOLD, 1 << 20); /* fixed, so that each piece of work gives its memory back to the system */
	if (setpriority(PRIO_PROCESS, 0, NICENESS) < 0)
		log_warning("passwords are hashed at the priority of the rest");
	role.wake = io_wake_new(priv_child_loop(child), on_wake, &role);
	if (!role.wake)
		return 75;
	priv_child_listen(child, &events, &role);
	if (priv_child_confine_with(child, start_threads, &role) < 0)
		return 77;
	priv_child_ready(child);
	_exit(priv_child_run(child)); /* threads may be at work: nothing here can be freed under them */
}
