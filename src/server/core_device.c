/* Devices as users see and change them.  Nothing outside a user's reach is there for him. */
#include <pb_decode.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "ca/join_line.h"
#include "ca/records.h"
#include "os/clock.h"
#include "server/core.h"

#define CHANGES_MAX 10000 /* devices in one order */
#define FALL_BACK_S 600

/* ---- which devices ---- */

static int online_copy(const struct core *core, struct core_selection *selection)
{
	size_t at = 0, n = map_count(core->online);
	const struct device_link *link;
	selection->online = mem_alloc_array(n ? n : 1, sizeof *selection->online);
	if (!selection->online)
		return -E_NO_MEMORY;
	while (selection->n_online < n && (link = map_next(core->online, &at)))
		selection->online[selection->n_online++] = *core_link_device(link);
	return 0;
}

int core_selection_begin(struct core_request *request, const char *text, enum core_meaning meaning)
{
	struct core_selection *selection = mem_alloc(sizeof *selection);
	request->selection = selection;
	if (!selection)
		return -E_NO_MEMORY;
	selection->text = str_from(text);
	selection->meaning = meaning;
	selection->err = fleet_query_parse(selection->text, &selection->query, &selection->error);
	return selection->err == 0 && selection->query.presence ? online_copy(request->base.core, selection) : 0;
}

static int id_compare(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct id));
}

struct walk {
	const struct user *user;
	const struct core_selection *selection;
	struct core_rows *rows;
	int64_t now;
};

static int reached_add(void *ctx, const struct device *device)
{
	const struct walk *walk = ctx;
	return account_reaches(walk->user, device->group) ? core_rows_device(walk->rows, device) : 0;
}

static int matching_add(void *ctx, const struct device *device)
{
	const struct walk *walk = ctx;
	const struct core_selection *selection = walk->selection;
	bool online =
	        selection->n_online && bsearch(&device->id, selection->online, selection->n_online, sizeof device->id, id_compare);
	return fleet_query_matches(&selection->query, device, online, walk->now) ? reached_add(ctx, device) : 0;
}

int core_selection_run(struct store_tx *tx, struct core_request *request, const struct user *user, struct core_rows *rows)
{
	struct core_selection *selection = request->selection;
	struct walk walk = { user, selection, rows, clock_wall_s() };
	bool name = selection->meaning != CORE_QUERY && name_valid(selection->text);
	int err = name ? fleet_device_find(tx, selection->text, reached_add, &walk) : -E_NOT_FOUND;
	if (err == 0 && !rows->n)
		err = -E_NOT_FOUND;
	if (err != -E_NOT_FOUND || (name && selection->meaning == CORE_NAME))
		return err;
	if (selection->err < 0) {
		snprintf(request->base.why, sizeof request->base.why, "column %u: %s", selection->error.column,
		         selection->error.what);
		return selection->err;
	}
	if (selection->n_online)
		qsort(selection->online, selection->n_online, sizeof *selection->online, id_compare);
	err = fleet_device_list(tx, matching_add, &walk);
	return err < 0 ? err : name && !rows->n ? -E_NOT_FOUND : 0;
}

int core_device_get(struct store_tx *tx, const struct user *user, const struct id *id, struct device *ret)
{
	struct device device;
	int err = fleet_device_get(tx, id, &device);
	if (err < 0)
		return err;
	if (device.retired || !account_reaches(user, device.group))
		return -E_NOT_FOUND;
	*ret = device;
	return 0;
}

/* ---- ListDevices ---- */

static void parent_fill(const struct core *core, const struct device *device, murmesh_Device *ret)
{
	const struct id *parent = &device->parent;
	const char *relay = core_relay_name(core, parent), *component = NULL;
	struct id at;
	if (id_is_zero(parent)) {
		str_copy(STR("server"), ret->parent, sizeof ret->parent);
		if (core_link_component(core, &device->id, &at))
			component = core_component_called(core, &at);
		str_copy(str_from(component ? component : ""), ret->component, sizeof ret->component);
		return;
	}
	if (relay)
		str_copy(str_from(relay), ret->parent, sizeof ret->parent);
	else /* one that is none any more */
		id_format(parent, ret->parent);
	memcpy(ret->parent_id.bytes, parent->bytes, sizeof parent->bytes);
	ret->parent_id.size = sizeof parent->bytes;
}

void core_device_fill(const struct core *core, const struct device *device, murmesh_Device *ret)
{
	struct str tags = str_from(device->tags);
	*ret = (murmesh_Device)murmesh_Device_init_zero;
	memcpy(ret->id, device->id.bytes, sizeof ret->id);
	str_copy(str_from(device->name), ret->name, sizeof ret->name);
	fleet_full_name(device, ret->full_name);
	ret->online = core_link_online(core, &device->id);
	str_copy(str_from(device->os), ret->os, sizeof ret->os);
	utf8_clean(str_from(device->arch), ret->arch, sizeof ret->arch);
	utf8_clean(str_from(device->version), ret->version, sizeof ret->version);
	ret->last_seen = ret->online ? clock_wall_s() : device->last_seen;
	parent_fill(core, device, ret);
	str_copy(str_from(device->group), ret->group, sizeof ret->group);
	ret->signs = device->signs;
	ret->relay = device->relay;
	str_copy(str_from(device->relay_address), ret->relay_address, sizeof ret->relay_address);
	while (tags.len && ret->tags_count < sizeof ret->tags / sizeof *ret->tags)
		str_copy(str_cut(tags, ' ', &tags), ret->tags[ret->tags_count++], sizeof *ret->tags);
}

bool core_device_row(const struct core_request *request, size_t *at, void *message)
{
	struct device device;
	if (!core_rows_next(&request->rows, at, &device, sizeof device))
		return false;
	core_device_fill(request->base.core, &device, message);
	return true;
}

int core_devices_begin(struct core_request *request)
{
	const murmesh_ListRequest *message = request->message;
	return core_selection_begin(request, message->selector, CORE_NAME_OR_QUERY);
}

int core_devices_run(struct store_tx *tx, struct core_request *request)
{
	struct user user;
	int err = core_caller_check(tx, &request->caller, ACCOUNT_LIST, &user);
	return err < 0 ? err : core_selection_run(tx, request, &user, &request->rows);
}

/* ---- GetDevice ---- */

static int inventory_read(struct store_tx *tx, const struct id *id, murmesh_DeviceDetail *detail)
{
	uint8_t bytes[FLEET_INVENTORY_MAX];
	size_t len;
	int err = fleet_inventory_get(tx, id, bytes, &len, &detail->inventory_time);
	if (err < 0)
		return err == -E_NOT_FOUND ? 0 : err;
	pb_istream_t in = pb_istream_from_buffer(bytes, len);
	detail->has_inventory = true;
	return pb_decode(&in, murmesh_Inventory_fields, &detail->inventory) ? 0 : -E_CHECKSUM;
}

/* The row is the device itself: whether it is online is known on the loop only. */
static int detail_read(struct store_tx *tx, struct core_request *request, const struct device *device)
{
	murmesh_DeviceDetail *detail = request->reply;
	int err = inventory_read(tx, &device->id, detail);
	if (err == 0)
		err = ca_certificate_expires(tx, &device->id, IDENTITY_NODE, &detail->certificate_expires);
	detail->created = device->created;
	detail->forged = device->forged;
	return err < 0 ? err : core_rows_device(&request->rows, device);
}

static int only_one(void *ctx, const struct device *device)
{
	struct core_rows *rows = ((struct walk *)ctx)->rows;
	int err = reached_add(ctx, device);
	return err < 0 ? err : rows->n > 1 ? -E_AMBIGUOUS : 0;
}

static int device_named(struct store_tx *tx, const struct user *user, struct str text, struct device *ret)
{
	struct core_rows found = { 0 };
	struct walk walk = { user, NULL, &found, 0 };
	size_t at = 0;
	int err = fleet_device_find(tx, text, only_one, &walk);
	if (err == 0 && !core_rows_next(&found, &at, ret, sizeof *ret))
		err = -E_NOT_FOUND;
	core_rows_done(&found);
	return err;
}

int core_device_asked_name(struct store_tx *tx, struct core_request *request, struct device *ret)
{
	const murmesh_DeviceName *message = request->message;
	struct user user;
	int err = core_caller_check(tx, &request->caller, ACCOUNT_LIST, &user);
	return err < 0 ? err : device_named(tx, &user, str_from(message->selector), ret);
}

int core_device_asked_id(struct store_tx *tx, struct core_request *request, struct device *ret)
{
	const murmesh_DeviceRequest *message = request->message;
	struct user user;
	struct id id;
	memcpy(id.bytes, message->device, sizeof id.bytes);
	int err = core_caller_check(tx, &request->caller, ACCOUNT_LIST, &user);
	return err < 0 ? err : core_device_get(tx, &user, &id, ret);
}

int core_device_named_run(struct store_tx *tx, struct core_request *request)
{
	struct device device;
	int err = core_device_asked_name(tx, request, &device);
	return err < 0 ? err : detail_read(tx, request, &device);
}

int core_device_run(struct store_tx *tx, struct core_request *request)
{
	struct device device;
	int err = core_device_asked_id(tx, request, &device);
	return err < 0 ? err : detail_read(tx, request, &device);
}

void core_device_done(struct core_request *request)
{
	murmesh_DeviceDetail *detail = request->reply;
	size_t at = 0;
	detail->has_device = core_device_row(request, &at, &detail->device);
	core_request_answer(request);
}

/* ---- ChangeDevices ---- */

/* What done() tells those who watch. */
struct changed {
	char before[FLEET_GROUP_SIZE]; /* its group */
	struct device device;
};

int core_change_begin(struct core_request *request)
{
	const murmesh_DeviceChange *change = request->message;
	return core_selection_begin(request, change->selector, request->caller.by_session ? CORE_QUERY : CORE_NAME);
}

static bool labels(const murmesh_DeviceChange *change)
{
	return change->name[0] || change->set_group || change->set_relay || change->move || change->add_tags_count ||
	       change->remove_tags_count;
}

static int parent_check(const char *text)
{
	char host[JOIN_HOST_SIZE];
	uint16_t port;
	bool good = str_is(str_from(text), "server") || join_address_parse(str_from(text), host, &port) == 0;
	return good ? 0 : -E_USAGE;
}

static int change_check(struct store_tx *tx, struct core_request *request, struct user *ret)
{
	const murmesh_DeviceChange *change = request->message;
	char group[FLEET_GROUP_SIZE];
	int err = core_caller_check(tx, &request->caller,
	                            change->retire || change->set_relay || change->move ? ACCOUNT_RETIRE : ACCOUNT_LABEL, ret);
	if (err == 0 && change->retire)
		err = labels(change) ? -E_USAGE : core_caller_proved(&request->caller);
	if (err == 0 && change->set_relay && !ret->all_groups) { /* it would speak for devices of all */
		snprintf(request->base.why, sizeof request->base.why,
		         "a relay speaks for devices of all groups, and your role does not hold in all");
		return -E_DENIED;
	}
	if (err == 0 && change->move && change->parent[0])
		err = parent_check(change->parent);
	if (err == 0 && change->set_group)
		err = fleet_group_parse(str_from(change->group), group);
	if (err == 0 && change->set_group && !account_reaches(ret, group)) {
		snprintf(request->base.why, sizeof request->base.why, "your role does not hold in the group that they would go to");
		return -E_DENIED;
	}
	return err;
}

/* A device that is renamed, or leaves. */
static int one_audit(struct store_tx *tx, const struct user *user, const char *action, const struct device *before,
                     const char *detail)
{
	char name[FLEET_FULL_NAME];
	fleet_full_name(before, name);
	return core_audit(tx, user->name, action, name, detail);
}

static int rename_run(struct store_tx *tx, const struct user *user, const char *name, struct device *device)
{
	char full_name[FLEET_FULL_NAME];
	const struct device before = *device;
	int err = fleet_device_rename(tx, &device->id, str_from(name), device);
	if (err < 0)
		return err;
	fleet_full_name(device, full_name);
	return one_audit(tx, user, "device renamed", &before, full_name);
}

static int retire_run(struct store_tx *tx, const struct user *user, const struct device *device)
{
	int err = fleet_device_retire(tx, &device->id, clock_wall_s());
	if (err == 0)
		err = ca_certificate_revoke(tx, &device->id, clock_wall_s());
	if (err < 0 && err != -E_NOT_FOUND) /* it never got one, or they have expired */
		return err;
	return one_audit(tx, user, "device deleted", device, "");
}

static int labels_run(struct store_tx *tx, const murmesh_DeviceChange *change, struct device *device)
{
	int err = change->set_group ? fleet_group_parse(str_from(change->group), device->group) : 0;
	for (pb_size_t i = 0; err == 0 && i < change->remove_tags_count; i++)
		err = fleet_tag_remove(device, str_from(change->remove_tags[i]));
	for (pb_size_t i = 0; err == 0 && i < change->add_tags_count; i++)
		err = fleet_tag_add(device, str_from(change->add_tags[i]));
	return err < 0 ? err : fleet_device_label(tx, device);
}

/* It may speak for others from now on; or no more, and nobody believes its certificate. */
static int relay_run(struct store_tx *tx, const struct user *user, const murmesh_DeviceChange *change, struct device *device)
{
	int err = fleet_device_relay(tx, &device->id, change->relay);
	device->relay = change->relay;
	if (err == 0 && !change->relay) /* it had none, or they have expired: as well */
		err = ca_certificate_revoke_kind(tx, &device->id, IDENTITY_RELAY, clock_wall_s());
	err = err == -E_NOT_FOUND ? 0 : err;
	return err < 0 ? err : one_audit(tx, user, change->relay ? "relay enabled" : "relay disabled", device, "");
}

static int one_change(struct store_tx *tx, struct core_request *request, const struct user *user, struct device *device)
{
	const murmesh_DeviceChange *change = request->message;
	struct changed changed = { 0 };
	str_copy(str_from(device->group), changed.before, sizeof changed.before);
	int err = change->retire ? retire_run(tx, user, device) : 0;
	if (err == 0 && change->name[0])
		err = rename_run(tx, user, change->name, device);
	if (err == 0 && change->set_relay)
		err = relay_run(tx, user, change, device);
	if (err == 0 && !change->retire)
		err = labels_run(tx, change, device);
	changed.device = *device;
	return err < 0 ? err : core_rows_add(&request->rows, &changed, sizeof changed);
}

static int labels_audit(struct store_tx *tx, const struct user *user, const murmesh_DeviceChange *change,
                        const struct core_rows *devices)
{
	char object[256], detail[1024];
	struct device first;
	size_t at = 0, len = 0;
	if (!change->set_group && !change->move && !change->add_tags_count && !change->remove_tags_count)
		return 0;
	core_rows_next(devices, &at, &first, sizeof first);
	if (devices->n == 1)
		fleet_full_name(&first, object);
	else
		snprintf(object, sizeof object, "%zu devices: %.200s", devices->n, change->selector);
	if (change->set_group)
		len += (size_t)snprintf(detail + len, sizeof detail - len, "group \"%s\" ", change->group);
	if (change->move)
		len += (size_t)snprintf(detail + len, sizeof detail - len, "parent \"%s\" ", change->parent);
	for (pb_size_t i = 0; i < change->add_tags_count && len < sizeof detail; i++)
		len += (size_t)snprintf(detail + len, sizeof detail - len, "+%s ", change->add_tags[i]);
	for (pb_size_t i = 0; i < change->remove_tags_count && len < sizeof detail; i++)
		len += (size_t)snprintf(detail + len, sizeof detail - len, "-%s ", change->remove_tags[i]);
	return core_audit(tx, user->name, "devices labelled", object, detail);
}

static int all_change(struct store_tx *tx, struct core_request *request, const struct user *user, const struct core_rows *devices)
{
	const murmesh_DeviceChange *change = request->message;
	struct device device;
	size_t at = 0;
	int err = 0;
	if (!devices->n)
		return -E_NOT_FOUND;
	if (devices->n != change->count) {
		snprintf(request->base.why, sizeof request->base.why, "it is %zu now, not %u", devices->n, (unsigned)change->count);
		return -E_CHANGED;
	}
	if (devices->n > CHANGES_MAX || (change->name[0] && devices->n > 1))
		return devices->n > CHANGES_MAX ? -E_LIMIT : -E_USAGE;
	while (err == 0 && core_rows_next(devices, &at, &device, sizeof device))
		err = one_change(tx, request, user, &device);
	return err < 0 ? err : labels_audit(tx, user, change, devices);
}

int core_change_run(struct store_tx *tx, struct core_request *request)
{
	struct core_rows devices = { 0 };
	struct user user;
	int err = change_check(tx, request, &user);
	if (err == 0)
		err = core_selection_run(tx, request, &user, &devices);
	if (err == 0)
		err = all_change(tx, request, &user, &devices);
	core_rows_done(&devices);
	((murmesh_DevicesChanged *)request->reply)->count = (uint32_t)request->rows.n;
	return err;
}

void core_change_done(struct core_request *request)
{
	const murmesh_DeviceChange *change = request->message;
	struct core *core = request->base.core;
	struct changed changed;
	size_t at = 0;
	while (core_rows_next(&request->rows, &at, &changed, sizeof changed)) {
		if (change->retire) {
			core_link_end(core, &changed.device.id, -E_REVOKED, "the device was deleted");
			core_pairs_close(core, NULL, &changed.device.id);
			core_router_retire(core, &changed.device.id);
			core_watch_removed(core, &changed.device);
		} else {
			core_watch_device(core, &changed.device, changed.before);
			if (strcmp(changed.before, changed.device.group) != 0) /* not all who have tunnels may open them now */
				core_pairs_close(core, NULL, &changed.device.id);
			core_pairs_device(core, &changed.device);
		}
		changed.device.retired |= change->retire;
		core_relay_changed(core, &changed.device);
		if (change->move)
			core_move(core, &changed.device, change->parent, change->fall_back_s ? change->fall_back_s : FALL_BACK_S);
	}
	if (change->retire || change->set_relay)
		core_revoke_tell(core);
	if (change->set_group)
		core_live_end(core, NULL);
	core_request_answer(request);
}
