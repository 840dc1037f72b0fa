/* The fleet as users see it: devices and join keys. */
#include "account/account.h"
#include "audit/audit.h"
#include "base/err.h"
#include "base/mem.h"
#include "ca/join_line.h"
#include "ca/records.h"
#include "fleet/fleet.h"
#include "os/clock.h"
#include "os/random.h"
#include "server/core.h"

/* ---- ListDevices ---- */

struct list_job {
	struct core_job base;
	struct id user;
	murmesh_ListRequest request;
	struct core_devices devices;
	size_t sent;
};

int core_devices_add(void *ctx, const struct device *device)
{
	struct core_devices *devices = ctx;
	if (devices->n == devices->capacity) {
		size_t capacity = devices->capacity ? devices->capacity * 2 : 16;
		struct device *rows = mem_resize(devices->rows, capacity * sizeof *rows);
		if (!rows)
			return -E_NO_MEMORY;
		devices->rows = rows;
		devices->capacity = capacity;
	}
	devices->rows[devices->n++] = *device;
	return 0;
}

static int list_run(struct store_tx *tx, struct core_job *job)
{
	struct list_job *list = (struct list_job *)job;
	char name[64];
	int err = core_user_check(tx, &list->user, ACCOUNT_LIST, name);
	if (err < 0)
		return err;
	struct str selector = str_from(list->request.selector);
	return selector.len ? fleet_device_find(tx, selector, core_devices_add, &list->devices)
	                    : fleet_device_list(tx, core_devices_add, &list->devices);
}

void core_fleet_device(const struct core *core, const struct device *device, murmesh_Device *ret)
{
	*ret = (murmesh_Device)murmesh_Device_init_zero;
	memcpy(ret->id, device->id.bytes, sizeof ret->id);
	str_copy(str_from(device->name), ret->name, sizeof ret->name);
	fleet_full_name(device, ret->full_name);
	ret->online = core_link_online(core, &device->id);
	str_copy(str_from(device->os), ret->os, sizeof ret->os);
	str_copy(str_from(device->arch), ret->arch, sizeof ret->arch);
	str_copy(str_from(device->version), ret->version, sizeof ret->version);
	ret->last_seen = ret->online ? clock_wall_s() : device->last_seen;
	if (!id_is_zero(&device->parent))
		id_format(&device->parent, ret->parent);
	else
		str_copy(STR("server"), ret->parent, sizeof ret->parent);
}

static int device_send(struct list_job *list, const struct device *device)
{
	murmesh_Device message;
	core_fleet_device(list->base.core, device, &message);
	return rpc_call_send(list->base.call, &message);
}

static void list_send(void *ctx)
{
	struct list_job *list = ctx;
	while (list->sent < list->devices.n) {
		int err = device_send(list, &list->devices.rows[list->sent]);
		if (err == -E_FULL)
			return;
		if (err < 0)
			return rpc_call_finish(list->base.call, err, NULL);
		list->sent++;
	}
	rpc_call_finish(list->base.call, 0, NULL);
}

static void list_closed(void *ctx, int err, const char *why)
{
	(void)err;
	(void)why;
	core_job_free(ctx);
}

static void list_done(struct core_job *job)
{
	static const struct rpc_call_events events = { NULL, NULL, list_send, list_closed };
	rpc_call_set_events(job->call, &events, job);
	if (rpc_call_alive(job->call))
		list_send(job);
	else
		core_job_free(job);
}

static void list_ended(struct core_job *job)
{
	mem_free(((struct list_job *)job)->devices.rows);
}

static void on_list_request(void *ctx, const void *message)
{
	struct list_job *list = ctx;
	static const struct rpc_call_events working; /* the job owns the call from here */
	list->request = *(const murmesh_ListRequest *)message;
	rpc_call_set_events(list->base.call, &working, NULL);
	core_job_submit(&list->base);
}

int core_fleet_list(void *ctx, struct rpc_call *call)
{
	static const struct rpc_call_events events = { on_list_request, NULL, NULL, list_closed };
	struct list_job *list = core_job_new(ctx, call, sizeof *list);
	if (!list)
		return 0;
	list->base.run = list_run;
	list->base.done = list_done;
	list->base.ended = list_ended;
	list->user = rpc_call_peer(call)->id;
	rpc_call_accept(call, &rpc_Fleet_ListDevices, &events, list);
	return 0;
}

/* ---- NewKey ---- */

struct key_job {
	struct core_job base;
	struct core_caller caller;
	struct join_key key;
	murmesh_KeyRequest request;
	murmesh_JoinKey reply;
	struct join_line line;
};

static int key_run(struct store_tx *tx, struct core_job *job)
{
	struct key_job *key = (struct key_job *)job;
	char name[64], detail[160], id[ID_TEXT_SIZE];
	int err = core_caller_check(tx, &key->caller, ACCOUNT_KEY_NEW, name);
	key->key.created_by = key->caller.user;
	if (err == 0)
		err = ca_join_key_add(tx, &key->key);
	if (err < 0)
		return err;
	id_format(&key->key.id, id);
	snprintf(detail, sizeof detail, "%u uses, %llu s", key->request.uses, (unsigned long long)key->request.lifetime_s);
	const struct audit_event event = { str_from(name), STR("join key made"), str_from(id), str_from(detail) };
	return audit_append(tx, clock_wall_s(), &event);
}

static void key_done(struct core_job *job)
{
	struct key_job *key = (struct key_job *)job;
	rpc_call_reply(job->call, &key->reply);
	core_job_free(job);
}

static void key_ended(struct core_job *job)
{
	struct key_job *key = (struct key_job *)job;
	mem_wipe(&key->line, sizeof key->line);
	mem_wipe(&key->reply, sizeof key->reply);
}

/* The secret is in the line only; the database keeps what checks its proofs. */
static int key_make(struct core *core, struct key_job *key)
{
	struct str host, port, rest, address = str_from(core->address);
	struct certificate *root = NULL;
	struct certificate_info info;
	uint64_t number;
	int err = certificate_read(core->mesh.root.bytes, core->mesh.root.size, &root);
	if (err == 0)
		err = certificate_inspect(root, &info);
	certificate_free(root);
	if (err < 0)
		return err;
	host = str_cut_last(address, ':', &port);
	if (str_starts(host, STR("[")))
		host = (struct str){ host.ptr + 1, host.len - 2 };
	if (str_to_u64(port, 65535, &number) < 0 || str_copy(host, key->line.host, sizeof key->line.host) < 0)
		return -E_INTERNAL;
	key->line.port = (uint16_t)number;
	memcpy(key->line.root_hash, info.key_hash, sizeof info.key_hash);
	random_id(&key->key.id);
	key->line.key = key->key.id;
	random_bytes(key->line.secret, sizeof key->line.secret);
	join_secret_key(key->line.secret, key->key.secret_key);
	err = join_line_format(&key->line, key->reply.join);
	if (err < 0)
		return err;
	str_cut(str_from(key->reply.join), '#', &rest);
	return str_copy(rest, key->reply.key, sizeof key->reply.key);
}

void core_fleet_key(struct core *core, struct rpc_call *call, const struct core_caller *caller, const murmesh_KeyRequest *request)
{
	struct key_job *key = core_job_new(core, call, sizeof *key);
	if (!key)
		return;
	key->base.run = key_run;
	key->base.done = key_done;
	key->base.ended = key_ended;
	key->caller = *caller;
	key->request = *request;
	if (!key->request.uses)
		key->request.uses = 1;
	if (!key->request.lifetime_s)
		key->request.lifetime_s = 86400;
	if (key->request.lifetime_s > 366 * 86400ull || key->request.uses > CA_USES_MAX)
		return core_job_fail(&key->base, -E_LIMIT, "a join key has at most 100,000 uses and lives at most a year");
	key->key.created = clock_wall_s();
	key->key.expires = key->key.created + (int64_t)key->request.lifetime_s;
	key->key.uses_left = key->request.uses;
	str_copy(str_from(key->request.group), key->key.group, sizeof key->key.group);
	int err = core->described ? key_make(core, key) : -E_BUSY;
	if (err < 0)
		return core_job_fail(&key->base, err, NULL);
	memcpy(key->reply.key_id, key->key.id.bytes, sizeof key->reply.key_id);
	key->reply.expires = key->key.expires;
	core_job_submit(&key->base);
}

void core_fleet_new_key(void *ctx, struct rpc_call *call, const void *request)
{
	const struct core_caller caller = { .user = rpc_call_peer(call)->id };
	core_fleet_key(ctx, call, &caller, request);
}
