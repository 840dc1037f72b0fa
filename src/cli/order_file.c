#include "cli/order_file.h"

#include <jansson.h>
#include <pb_decode.h>

#include "base/buf.h"
#include "base/err.h"
#include "cli/json_file.h"
#include "crypto/key.h"

#define ID_SIZE sizeof(((murmesh_Device *)0)->id)

static int parts_read(const json_t *file, murmesh_RunStart *ret)
{
	ssize_t len = json_bytes_get(file, "devices", ret->devices.bytes, sizeof ret->devices.bytes);
	if (len < 0)
		return -E_ORDER_FILE;
	ret->devices.size = (pb_size_t)len;
	ret->has_order = true;
	return json_message_get(file, "order", murmesh_SignedDocument_fields, &ret->order);
}

/* Whether the server's signature is good the devices see; here it only has to be one piece. */
static int order_read(struct order_file *file)
{
	const murmesh_SignedDocument *document = &file->start.order;
	uint8_t digest[HASH_SIZE];
	pb_istream_t in = pb_istream_from_buffer(document->document.bytes, document->document.size);
	if (!pb_decode(&in, murmesh_Order_fields, &file->order))
		return -E_ORDER_FILE;
	hash_sha256(file->start.devices.bytes, file->start.devices.size, digest);
	bool whole = hash_equal(digest, file->order.digest) && file->start.devices.size == file->order.count * ID_SIZE &&
	             file->order.count && file->order.argv_count && !file->order.terminal;
	return whole ? 0 : -E_ORDER_FILE;
}

int order_file_read(const char *path, struct order_file *ret)
{
	json_t *file = NULL;
	int err = json_file_read(path, "order", &file);
	if (err == 0)
		err = parts_read(file, &ret->start);
	json_decref(file);
	if (err == 0)
		err = order_read(ret);
	return err == -E_JSON || err == -E_MESSAGE ? -E_ORDER_FILE : err;
}

int order_file_write(const char *path, const murmesh_RunStart *start)
{
	json_t *file = json_object();
	int err = json_message_set(file, "order", murmesh_SignedDocument_fields, &start->order);
	if (err == 0)
		err = json_bytes_set(file, "devices", start->devices.bytes, start->devices.size);
	if (err == 0)
		err = json_file_write(path, "order", file);
	json_decref(file);
	return err;
}
