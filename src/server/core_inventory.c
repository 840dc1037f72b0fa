/* What devices are made of, as they tell it on their links.  Who has signed once is believed only what is signed: net, which has the link, cannot
 * speak for the management part.  A key is known by its hash, which ca's certificate brought into the database; no other key is even read. */
#include <pb_decode.h>
#include <pb_encode.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "ca/records.h"
#include "os/clock.h"
#include "os/log.h"
#include "os/random.h"
#include "server/core.h"

#define INVENTORIES_PER_MINUTE 6     /* of one device */
#define FORGED_AGAIN_S         86400 /* so long it counts as the same: one line of the audit log */

struct inventory_job {
	struct store_job job;
	struct id device;
	int64_t time; /* that it is of */
	int refused;  /* why */
	murmesh_SignedInventory_key_t key;
	murmesh_SignedInventory_signature_t signature;
	size_t n_signed, len;
	uint8_t bytes[]; /* what is signed (nothing: it is not), then what is kept */
};

/* ---- in the job ---- */

static int signature_check(struct store_tx *tx, const struct inventory_job *inventory)
{
	struct certificate_record record = { .kind = IDENTITY_MANAGER, .subject = inventory->device };
	struct key *key = NULL;
	bool known;
	hash_sha256(inventory->key.bytes, inventory->key.size, record.key_hash);
	int err = ca_certificate_has_key(tx, &record, &known);
	if (err < 0)
		return err;
	err = known ? key_public_read(inventory->key.bytes, inventory->key.size, &key) : -E_SIGNATURE;
	if (err == 0)
		err = key_verify(key, CONTEXT_INVENTORY, inventory->bytes, inventory->n_signed, inventory->signature.bytes,
		                 inventory->signature.size);
	key_free(key);
	return err;
}

static const char *refusal_text(const struct inventory_job *inventory)
{
	return inventory->n_signed ? err_text(inventory->refused) : "it is not signed";
}

static int refuse(struct store_tx *tx, const struct inventory_job *inventory, const struct device *device)
{
	char name[FLEET_FULL_NAME], actor[FLEET_FULL_NAME + 8];
	int64_t now = clock_wall_s();
	int err = fleet_device_forged(tx, &device->id, now);
	if (err < 0 || now - device->forged < FORGED_AGAIN_S)
		return err;
	fleet_full_name(device, name);
	snprintf(actor, sizeof actor, "device %s", name);
	return core_audit(tx, actor, "inventory refused", name, refusal_text(inventory));
}

/* What is refused is a result, too: it is kept that it was. */
static int inventory_run(struct store_tx *tx, struct store_job *job)
{
	struct inventory_job *inventory = (struct inventory_job *)job;
	struct device device;
	int err = fleet_device_get(tx, &inventory->device, &device);
	if (err < 0)
		return err;
	if (!inventory->refused)
		err = inventory->n_signed ? signature_check(tx, inventory) : device.signs ? -E_SIGNATURE : 0;
	if (err == -E_SIGNATURE)
		inventory->refused = err;
	if (inventory->refused)
		return refuse(tx, inventory, &device);
	if (err == 0 && inventory->n_signed && !device.signs)
		err = fleet_device_signs(tx, &device.id, clock_wall_s());
	return err < 0 ? err
	               : fleet_inventory_put(tx, &device.id, inventory->time, inventory->bytes + inventory->n_signed,
	                                     inventory->len);
}

static void inventory_done(struct store_job *job, int err)
{
	struct inventory_job *inventory = (struct inventory_job *)job;
	char device[ID_TEXT_SIZE];
	id_format(&inventory->device, device);
	if (err < 0 && err != -E_NOT_FOUND)
		log_limited(LOG_WARNING, "an inventory was not kept: %s %s", err_text(err), job->detail);
	else if (inventory->refused)
		log_limited(LOG_WARNING, "an inventory of device %s was refused: %s", device, refusal_text(inventory));
	mem_free(job);
}

/* ---- on the loop ---- */

static void clean(char *text, size_t size)
{
	char copy[128];
	str_copy(str_from(text), copy, sizeof copy);
	utf8_clean(str_from(copy), text, size);
}

/* In place: a device's words are shown to people. */
static void inventory_clean(murmesh_Inventory *inventory)
{
	clean(inventory->kernel, sizeof inventory->kernel);
	clean(inventory->os, sizeof inventory->os);
	clean(inventory->processor, sizeof inventory->processor);
	for (pb_size_t i = 0; i < inventory->file_systems_count; i++) {
		clean(inventory->file_systems[i].path, sizeof inventory->file_systems[i].path);
		clean(inventory->file_systems[i].type, sizeof inventory->file_systems[i].type);
	}
	for (pb_size_t i = 0; i < inventory->interfaces_count; i++) {
		murmesh_NetworkInterface *interface = &inventory->interfaces[i];
		clean(interface->name, sizeof interface->name);
		for (pb_size_t k = 0; k < interface->addresses_count; k++)
			clean(interface->addresses[k], sizeof interface->addresses[k]);
	}
}

static bool is_welcome(struct core_inventories *inventories)
{
	int64_t minute = clock_wall_s() / 60;
	if (minute != inventories->since) {
		inventories->since = minute;
		inventories->n = 0;
	}
	return inventories->n++ < INVENTORIES_PER_MINUTE;
}

/* Is it for this link, and newer than what came before on it? */
static int statement_check(const struct core *core, struct core_inventories *inventories, const struct id *device,
                           const murmesh_InventoryStatement *statement)
{
	if (memcmp(statement->mesh, core->mesh_id.bytes, sizeof statement->mesh) != 0 ||
	    memcmp(statement->device, device->bytes, sizeof statement->device) != 0 ||
	    memcmp(statement->challenge, inventories->challenge, sizeof statement->challenge) != 0 ||
	    statement->moment <= inventories->moment)
		return -E_REPLAYED;
	inventories->moment = statement->moment;
	return 0;
}

/* inventory: what is kept; NULL: nothing, it is refused.  message: NULL when it is not signed. */
static struct inventory_job *job_new(const murmesh_Inventory *inventory, const murmesh_SignedInventory *message)
{
	size_t len = 0, n_signed = message ? message->statement.size : 0;
	if (inventory && !pb_get_encoded_size(&len, murmesh_Inventory_fields, inventory))
		return NULL;
	struct inventory_job *job = mem_alloc(sizeof *job + n_signed + len);
	if (!job)
		return NULL;
	pb_ostream_t out = pb_ostream_from_buffer(job->bytes + n_signed, len);
	job->n_signed = n_signed;
	job->len = len;
	if (message) {
		job->key = message->key;
		job->signature = message->signature;
		memcpy(job->bytes, message->statement.bytes, n_signed);
	}
	return !inventory || pb_encode(&out, murmesh_Inventory_fields, inventory) ? job : mem_free(job);
}

static struct inventory_job *unsigned_take(const murmesh_Inventory *message)
{
	static murmesh_Inventory cleaned;
	cleaned = *message;
	inventory_clean(&cleaned);
	struct inventory_job *job = job_new(&cleaned, NULL);
	if (job)
		job->time = clock_wall_s();
	return job;
}

static struct inventory_job *signed_take(const struct core *core, struct core_inventories *inventories, const struct id *device,
                                         const murmesh_SignedInventory *message)
{
	static murmesh_InventoryStatement statement;
	pb_istream_t in = pb_istream_from_buffer(message->statement.bytes, message->statement.size);
	int64_t now = clock_wall_s();
	int err = pb_decode(&in, murmesh_InventoryStatement_fields, &statement)
	                  ? statement_check(core, inventories, device, &statement)
	                  : -E_MESSAGE;
	if (err == 0)
		inventory_clean(&statement.inventory);
	struct inventory_job *job = job_new(err < 0 ? NULL : &statement.inventory, message);
	if (!job)
		return NULL;
	job->refused = err;
	if (err == 0)
		job->time = statement.time < now ? statement.time : now; /* it may have been kept back */
	return job;
}

void core_inventory_welcome(struct core_inventories *inventories, murmesh_Welcome *welcome)
{
	random_bytes(inventories->challenge, sizeof inventories->challenge);
	memcpy(welcome->challenge, inventories->challenge, sizeof welcome->challenge);
}

void core_inventory_frame(struct core *core, struct core_inventories *inventories, const struct id *device,
                          const murmesh_Frame *frame)
{
	if (!is_welcome(inventories))
		return;
	struct inventory_job *job = frame->which_body == murmesh_Frame_inventory_tag
	                                    ? unsigned_take(&frame->body.inventory)
	                                    : signed_take(core, inventories, device, &frame->body.signed_inventory);
	if (!job)
		return;
	job->job.run = inventory_run;
	job->job.done = inventory_done;
	job->device = *device;
	if (store_submit(core->store, &job->job) < 0)
		mem_free(job);
}
