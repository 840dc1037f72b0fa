#include "agent/inventory.h"

#include <pb_encode.h>

#include "agent/agent.h"
#include "base/err.h"
#include "base/mem.h"
#include "os/clock.h"
#include "os/inventory.h"

#define BOOT_SLACK_S 10 /* the clock is set now and then */

static void file_system_put(const struct inventory_file_system *from, murmesh_FileSystem *to)
{
	str_copy(str_from(from->path), to->path, sizeof to->path);
	str_copy(str_from(from->type), to->type, sizeof to->type);
	to->size = from->size;
	to->available = from->available;
}

static void interface_put(const struct inventory_interface *from, murmesh_NetworkInterface *to)
{
	str_copy(str_from(from->name), to->name, sizeof to->name);
	to->hardware.size = from->has_hardware ? sizeof from->hardware : 0;
	memcpy(to->hardware.bytes, from->hardware, to->hardware.size);
	to->addresses_count = (pb_size_t)from->n_addresses;
	for (size_t i = 0; i < from->n_addresses; i++)
		str_copy(str_from(from->addresses[i]), to->addresses[i], sizeof to->addresses[i]);
}

static void inventory_fill(murmesh_Inventory *ret)
{
	static struct inventory machine;
	inventory_read(&machine);
	*ret = (murmesh_Inventory){ .processors = machine.processors,
		                    .memory = machine.memory,
		                    .memory_available = machine.memory_available,
		                    .boot_time = machine.boot_time,
		                    .file_systems_count = (pb_size_t)machine.n_file_systems,
		                    .interfaces_count = (pb_size_t)machine.n_interfaces };
	str_copy(str_from(machine.kernel), ret->kernel, sizeof ret->kernel);
	str_copy(str_from(machine.os), ret->os, sizeof ret->os);
	str_copy(str_from(machine.processor), ret->processor, sizeof ret->processor);
	for (size_t i = 0; i < machine.n_file_systems; i++)
		file_system_put(&machine.file_systems[i], &ret->file_systems[i]);
	for (size_t i = 0; i < machine.n_interfaces; i++)
		interface_put(&machine.interfaces[i], &ret->interfaces[i]);
}

int inventory_sign(const struct keep *keep, const uint8_t challenge[16], int64_t now, murmesh_SignedInventory *ret)
{
	static murmesh_InventoryStatement statement;
	const struct identity *self = &keep->info.identity;
	size_t key_len, len;
	statement = (murmesh_InventoryStatement){ .moment = clock_monotonic_us(), .time = now, .has_inventory = true };
	memcpy(statement.mesh, self->mesh.bytes, sizeof statement.mesh);
	memcpy(statement.device, self->id.bytes, sizeof statement.device);
	memcpy(statement.challenge, challenge, sizeof statement.challenge);
	inventory_fill(&statement.inventory);
	pb_ostream_t out = pb_ostream_from_buffer(ret->statement.bytes, sizeof ret->statement.bytes);
	int err = pb_encode(&out, murmesh_InventoryStatement_fields, &statement) ? 0 : -E_TOO_LONG;
	if (err == 0)
		err = key_public_write(keep->key, ret->key.bytes, &key_len);
	if (err == 0)
		err = key_sign(keep->key, CONTEXT_INVENTORY, ret->statement.bytes, out.bytes_written, ret->signature.bytes, &len);
	if (err < 0)
		return err;
	ret->statement.size = (pb_size_t)out.bytes_written;
	ret->key.size = (pb_size_t)key_len;
	ret->signature.size = (pb_size_t)len;
	return 0;
}

/* By at least that part of the whole. */
static bool moved(uint64_t before, uint64_t now, uint64_t whole, unsigned percent)
{
	uint64_t by = before > now ? before - now : now - before;
	return by > 0 && by >= whole / 100 * percent;
}

static bool equal(const murmesh_Inventory *a, const murmesh_Inventory *b)
{
	static uint8_t bytes[2][murmesh_Inventory_size];
	pb_ostream_t of_a = pb_ostream_from_buffer(bytes[0], sizeof bytes[0]),
	             of_b = pb_ostream_from_buffer(bytes[1], sizeof bytes[1]);
	return pb_encode(&of_a, murmesh_Inventory_fields, a) && pb_encode(&of_b, murmesh_Inventory_fields, b) &&
	       of_a.bytes_written == of_b.bytes_written && memcmp(bytes[0], bytes[1], of_a.bytes_written) == 0;
}

bool inventory_changed(const murmesh_Inventory *before, const murmesh_Inventory *now)
{
	static murmesh_Inventory settled;
	int64_t booted = now->boot_time - before->boot_time;
	if (moved(before->memory_available, now->memory_available, now->memory, 5) || booted > BOOT_SLACK_S ||
	    booted < -BOOT_SLACK_S || before->file_systems_count != now->file_systems_count)
		return true;
	settled = *now;
	settled.memory_available = before->memory_available;
	settled.boot_time = before->boot_time;
	for (pb_size_t i = 0; i < now->file_systems_count; i++) {
		if (moved(before->file_systems[i].available, now->file_systems[i].available, now->file_systems[i].size, 1))
			return true;
		settled.file_systems[i].available = before->file_systems[i].available;
	}
	return !equal(&settled, before);
}
