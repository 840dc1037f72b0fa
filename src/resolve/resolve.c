#include "resolve/resolve.h"

#include <netdb.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "base/list.h"
#include "base/mem.h"
#include "io/io.h"
#include "os/log.h"
#include "priv/priv.h"
#include "rpc/rpc.h"
#include "services.h"

#define THREADS     4 /* a name server that does not answer holds one for seconds */
#define WAITING_MAX 256

struct lookup {
	struct list node;
	struct rpc_call *call; /* loop only */
	murmesh_LookupRequest request;
	murmesh_LookupReply reply;
	int err;
};

struct resolve_role {
	struct priv_child *child;
	struct io_wake *wake;
	pthread_mutex_t lock;
	pthread_cond_t work;
	struct list waiting, finished; /* under the lock */
	size_t n_waiting;              /* loop only: not yet answered */
};

static int err_from_resolver(int code)
{
	return code == EAI_AGAIN ? -E_TARGET_TIMEOUT : -E_TARGET_NAME;
}

static void look_up(struct lookup *lookup)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG };
	struct addrinfo *list = NULL;
	int code = getaddrinfo(lookup->request.host, NULL, &hints, &list);
	lookup->err = code ? err_from_resolver(code) : 0;
	for (struct addrinfo *at = list; at && lookup->reply.addresses_count < 8; at = at->ai_next) {
		char *text = lookup->reply.addresses[lookup->reply.addresses_count];
		if (getnameinfo(at->ai_addr, at->ai_addrlen, text, sizeof lookup->reply.addresses[0], NULL, 0, NI_NUMERICHOST) == 0)
			lookup->reply.addresses_count++;
	}
	if (list)
		freeaddrinfo(list);
}

static void *thread_main(void *ctx)
{
	struct resolve_role *role = ctx;
	pthread_mutex_lock(&role->lock);
	for (;;) {
		while (list_empty(&role->waiting))
			pthread_cond_wait(&role->work, &role->lock);
		struct lookup *lookup = LIST_ENTRY(role->waiting.next, struct lookup, node);
		list_remove(&lookup->node);
		pthread_mutex_unlock(&role->lock);
		look_up(lookup);
		pthread_mutex_lock(&role->lock);
		list_append(&role->finished, &lookup->node);
		io_wake_send(role->wake);
	}
	return NULL;
}

static void on_wake(void *ctx)
{
	struct resolve_role *role = ctx;
	for (;;) {
		struct lookup *lookup = NULL;
		pthread_mutex_lock(&role->lock);
		if (!list_empty(&role->finished)) {
			lookup = LIST_ENTRY(role->finished.next, struct lookup, node);
			list_remove(&lookup->node);
		}
		pthread_mutex_unlock(&role->lock);
		if (!lookup)
			return;
		role->n_waiting--;
		if (lookup->err < 0)
			rpc_call_finish(lookup->call, lookup->err, NULL);
		else
			rpc_call_reply(lookup->call, &lookup->reply);
		rpc_call_unref(lookup->call);
		mem_free(lookup);
	}
}

static void on_lookup(void *ctx, struct rpc_call *call, const void *request)
{
	struct resolve_role *role = ctx;
	struct lookup *lookup = role->n_waiting < WAITING_MAX ? mem_alloc(sizeof *lookup) : NULL;
	if (!lookup)
		return rpc_call_finish(call, -E_BUSY, NULL);
	lookup->request = *(const murmesh_LookupRequest *)request;
	lookup->call = rpc_call_ref(call);
	role->n_waiting++;
	pthread_mutex_lock(&role->lock);
	list_append(&role->waiting, &lookup->node);
	pthread_cond_signal(&role->work);
	pthread_mutex_unlock(&role->lock);
}

static const struct rpc_service services[] = { { &rpc_Resolve_Lookup, 0, on_lookup, NULL } };

static int on_open(void *ctx, struct rpc_call *call)
{
	const struct rpc_service *row = rpc_service_find(services, 1, rpc_call_path(call));
	return row ? rpc_serve(row, call, ctx) : -E_UNSUPPORTED;
}

static void on_descriptor(void *ctx, const char *name, int fd)
{
	static const struct rpc_connection_events events = { on_open, NULL, NULL };
	static const struct rpc_connection_settings settings = { .server = true, .max_streams = WAITING_MAX };
	struct resolve_role *role = ctx;
	(void)name; /* all edges here are the same */
	if (!rpc_connection_plain(priv_child_loop(role->child), fd, &settings, &events, role))
		log_warning("a role could not be connected");
}

static int start_threads(void *ctx)
{
	struct resolve_role *role = ctx;
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

int resolve_role_main(struct priv_child *child)
{
	static const struct priv_child_events events = { on_descriptor, NULL, NULL };
	static struct resolve_role role;
	role = (struct resolve_role){ .child = child, .lock = PTHREAD_MUTEX_INITIALIZER, .work = PTHREAD_COND_INITIALIZER };
	list_init(&role.waiting);
	list_init(&role.finished);
	role.wake = io_wake_new(priv_child_loop(child), on_wake, &role);
	if (!role.wake)
		return 75;
	priv_child_listen(child, &events, &role);
	if (priv_child_confine_with(child, start_threads, &role) < 0)
		return 77;
	priv_child_ready(child);
	_exit(priv_child_run(child)); /* threads may be inside a lookup: nothing here can be freed under them */
}
