#include "base/err.h"
#include "services.h"
#include "web/feed.h"
#include "web/routes.h"
#include "web/watch.h"

#define ROWS 500 /* of what happened, that wait for a browser; the oldest go first */

/* {"name": value}; takes value over. */
static int push(struct changes *changes, struct str key, bool last, const char *name, json_t *value)
{
	struct buf text;
	json_t *change = json_object();
	int err = -E_NO_MEMORY;
	buf_init(&text, (size_t)64 << 10);
	if (json_object_set_new(change, name, value) == 0)
		err = json_write(change, &text);
	if (err == 0)
		err = feed_push(changes->feed, key, last, buf_str(&text));
	json_decref(change);
	buf_done(&text);
	return err < 0 ? err : 0;
}

static int push_complete(struct changes *changes)
{
	changes->complete = true;
	return push(changes, STR("complete"), true, "complete", json_true());
}

static json_t *id_text(const uint8_t bytes[16])
{
	struct id id;
	char text[ID_TEXT_SIZE];
	memcpy(id.bytes, bytes, sizeof id.bytes);
	id_format(&id, text);
	return json_string(text);
}

int changes_fleet(struct changes *changes, const void *message)
{
	const murmesh_FleetEvent *event = message;
	struct str key = { (const char *)event->body.device.id, sizeof event->body.device.id };
	switch (event->which_body) {
	case murmesh_FleetEvent_device_tag:
		return push(changes, key, false, "device", schema_encode(&schema_device, &event->body.device));
	case murmesh_FleetEvent_removed_tag:
		key.ptr = (const char *)event->body.removed;
		return push(changes, key, false, "removed", id_text(event->body.removed));
	default:
		return push_complete(changes);
	}
}

int changes_task(struct changes *changes, const void *message)
{
	const murmesh_TaskEvent *event = message;
	const struct str key = { (const char *)event->body.task.id, sizeof event->body.task.id };
	if (event->which_body != murmesh_TaskEvent_task_tag)
		return push_complete(changes);
	return push(changes, key, false, "task", schema_encode(&schema_task, &event->body.task));
}

int changes_approval(struct changes *changes, const void *message)
{
	const murmesh_ApprovalEvent *event = message;
	struct str key = { (const char *)event->body.approval.device, sizeof event->body.approval.device };
	switch (event->which_body) {
	case murmesh_ApprovalEvent_approval_tag:
		return push(changes, key, false, "approval", schema_encode(&schema_approval, &event->body.approval));
	case murmesh_ApprovalEvent_decided_tag:
		key.ptr = (const char *)event->body.decided;
		return push(changes, key, false, "decided", id_text(event->body.decided));
	default:
		return push_complete(changes);
	}
}

int changes_map(struct changes *changes, const void *message)
{
	const murmesh_MapEvent *event = message;
	struct str key = { (const char *)event->body.map.id, sizeof event->body.map.id };
	switch (event->which_body) {
	case murmesh_MapEvent_map_tag:
		return push(changes, key, false, "map", schema_encode(&schema_map, &event->body.map));
	case murmesh_MapEvent_removed_tag:
		key.ptr = (const char *)event->body.removed;
		return push(changes, key, false, "removed", id_text(event->body.removed));
	default:
		return push_complete(changes);
	}
}

/* The key of a thing: a letter for its kind, then its name. */
static struct str key_of(char out[FEED_KEY_MAX], char kind, struct str name)
{
	size_t len = name.len < FEED_KEY_MAX - 1 ? name.len : FEED_KEY_MAX - 1;
	out[0] = kind;
	memcpy(out + 1, name.ptr, len);
	return (struct str){ out, len + 1 };
}

static int change_live(struct changes *changes, const murmesh_LiveChange *change)
{
	char key[FEED_KEY_MAX], name[64];
	switch (change->which_body) {
	case murmesh_LiveChange_node_tag:
		return push(changes, key_of(key, 'n', str_from(change->body.node.id)), false, "node",
		            schema_encode(&schema_live_node, &change->body.node));
	case murmesh_LiveChange_node_removed_tag:
		return push(changes, key_of(key, 'n', str_from(change->body.node_removed)), false, "node_removed",
		            json_text(str_from(change->body.node_removed), false));
	case murmesh_LiveChange_edge_tag:
		return push(changes, key_of(key, 'e', str_from(change->body.edge.id)), false, "edge",
		            schema_encode(&schema_live_edge, &change->body.edge));
	case murmesh_LiveChange_edge_removed_tag:
		return push(changes, key_of(key, 'e', str_from(change->body.edge_removed)), false, "edge_removed",
		            json_text(str_from(change->body.edge_removed), false));
	case murmesh_LiveChange_row_tag:
		snprintf(name, sizeof name, "%u", (unsigned)(changes->rows++ % ROWS));
		return push(changes, key_of(key, 'r', str_from(name)), true, "row",
		            schema_encode(&schema_live_row, &change->body.row));
	case murmesh_LiveChange_missing_tag:
		return push(
		        changes,
		        key_of(key, 'm',
		               (struct str){ (const char *)change->body.missing.device.bytes, change->body.missing.device.size }),
		        false, "missing", schema_encode(&schema_live_missing, &change->body.missing));
	case murmesh_LiveChange_source_tag:
		memcpy(name, change->body.source.device.bytes, change->body.source.device.size);
		str_copy(str_from(change->body.source.module), name + change->body.source.device.size, 32);
		return push(changes,
		            key_of(key, 's',
		                   (struct str){ name, change->body.source.device.size + strlen(change->body.source.module) }),
		            false, "source", schema_encode(&schema_live_source, &change->body.source));
	default:
		return push_complete(changes);
	}
}

int changes_live(struct changes *changes, const void *message)
{
	const murmesh_LiveBatch *batch = message;
	int err = 0;
	for (pb_size_t i = 0; err == 0 && i < batch->changes_count; i++)
		err = change_live(changes, &batch->changes[i]);
	return err;
}
