/* Methods as data: a message comes, its job runs on the database's thread, the reply or the rows go out. */
#include "base/err.h"
#include "base/mem.h"
#include "server/core.h"

/* ---- rows ---- */

#define ALIGN(n) (((n) + 7) & ~(size_t)7)

struct row_head {
	uint64_t size;
};

static int rows_reserve(struct core_rows *rows, size_t size)
{
	size_t capacity = rows->capacity ? rows->capacity : 4096;
	while (capacity - rows->len < size)
		capacity *= 2;
	if (capacity == rows->capacity)
		return 0;
	uint8_t *bytes = mem_resize(rows->bytes, capacity);
	if (!bytes)
		return -E_NO_MEMORY;
	rows->bytes = bytes;
	rows->capacity = capacity;
	return 0;
}

int core_rows_add(struct core_rows *rows, const void *row, size_t size)
{
	const uint8_t *bytes = row;
	while (size && !bytes[size - 1])
		size--;
	const struct row_head head = { size };
	int err = rows_reserve(rows, sizeof head + ALIGN(size));
	if (err < 0)
		return err;
	memcpy(rows->bytes + rows->len, &head, sizeof head);
	memcpy(rows->bytes + rows->len + sizeof head, row, size);
	rows->len += sizeof head + ALIGN(size);
	rows->n++;
	return 0;
}

bool core_rows_next(const struct core_rows *rows, size_t *at, void *ret_row, size_t size)
{
	struct row_head head;
	if (*at >= rows->len)
		return false;
	memcpy(&head, rows->bytes + *at, sizeof head);
	memset(ret_row, 0, size);
	memcpy(ret_row, rows->bytes + *at + sizeof head, head.size < size ? head.size : size);
	*at += sizeof head + ALIGN(head.size);
	return true;
}

void core_rows_done(struct core_rows *rows)
{
	mem_free(rows->bytes);
	*rows = (struct core_rows){ 0 };
}

int core_rows_device(void *rows, const struct device *device)
{
	return core_rows_add(rows, device, sizeof *device);
}

/* ---- requests ---- */

const struct core_method *core_method_find(const struct core_method *rows, size_t n, struct str path)
{
	for (size_t i = 0; i < n; i++)
		if (str_is(path, rows[i].service.method->path))
			return &rows[i];
	return NULL;
}

static int request_run(struct store_tx *tx, struct core_job *job)
{
	struct core_request *request = (struct core_request *)job;
	return request->method->run(tx, request);
}

static void request_done(struct core_job *job)
{
	struct core_request *request = (struct core_request *)job;
	if (request->method->done)
		request->method->done(request);
	else
		core_request_answer(request);
}

static void request_ended(struct core_job *job)
{
	struct core_request *request = (struct core_request *)job;
	const struct core_method *method = request->method;
	if (request->selection)
		mem_free(request->selection->online);
	mem_free(request->selection);
	core_rows_done(&request->rows);
	mem_wipe(&request->caller, sizeof request->caller);
	mem_wipe(request->reply, ALIGN(method->service.method->response_size) + method->request_size); /* keys and links */
}

static bool row_next(const struct core_request *request, size_t *at, void *message)
{
	if (request->method->row)
		return request->method->row(request, at, message);
	return core_rows_next(&request->rows, at, message, request->method->service.method->response_size);
}

static void rows_send(void *ctx)
{
	struct core_request *request = ctx;
	void *message = request->reply;
	size_t at = request->sent;
	int err = 0;
	while (row_next(request, &at, message) && (err = rpc_call_send(request->base.call, message)) == 0)
		request->sent = at;
	if (err != -E_FULL)
		rpc_call_finish(request->base.call, err, NULL);
}

static void on_closed(void *ctx, int err, const char *why)
{
	(void)err;
	(void)why;
	core_job_free(ctx);
}

void core_request_answer(struct core_request *request)
{
	static const struct rpc_call_events sending = { NULL, NULL, rows_send, on_closed };
	struct rpc_call *call = request->base.call;
	if (!request->method->service.method->server_streams) {
		rpc_call_reply(call, request->reply);
		core_job_free(&request->base);
		return;
	}
	rpc_call_set_events(call, &sending, request);
	if (rpc_call_alive(call))
		rows_send(request);
	else
		core_job_free(&request->base);
}

static void on_message(void *ctx, const void *message)
{
	static const struct rpc_call_events working; /* the job owns the call from here */
	struct core_request *request = ctx;
	const struct core_method *method = request->method;
	uint8_t *copy = (uint8_t *)request->reply + ALIGN(method->service.method->response_size);
	if (request->caller.by_session)
		memcpy(request->caller.session, message, sizeof request->caller.session);
	memcpy(copy, (const uint8_t *)message + method->request_at, method->request_size);
	request->message = copy;
	rpc_call_set_events(request->base.call, &working, NULL);
	int err = method->begin ? method->begin(request) : 0;
	if (err < 0)
		core_job_fail(&request->base, err, request->base.why);
	else
		core_job_submit(&request->base);
}

static void on_half_closed(void *ctx)
{
	struct core_request *request = ctx;
	rpc_call_finish(request->base.call, -E_PROTOCOL, "a call without its request");
}

int core_serve(struct core *core, struct rpc_call *call, const struct core_method *row, bool by_session)
{
	static const struct rpc_call_events events = { on_message, on_half_closed, NULL, on_closed };
	const struct rpc_method *method = row->service.method;
	if (!row->run)
		return rpc_serve(&row->service, call, core);
	struct core_request *request =
	        core_job_new(core, call, ALIGN(sizeof *request) + ALIGN(method->response_size) + row->request_size);
	if (!request)
		return 0;
	request->base.hurried = true;
	request->base.run = request_run;
	request->base.done = request_done;
	request->base.ended = request_ended;
	request->method = row;
	request->reply = (uint8_t *)request + ALIGN(sizeof *request);
	request->caller.by_session = by_session;
	request->caller.component = core_component_of(call);
	if (!by_session)
		request->caller.user = rpc_call_peer(call)->id;
	rpc_call_accept(call, method, &events, request);
	return 0;
}
