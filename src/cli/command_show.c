#include <inttypes.h>

#include "base/err.h"
#include "base/mem.h"
#include "cli/devices.h"
#include "os/clock.h"

/* ---- as JSON ---- */

static json_t *time_json(int64_t at)
{
	char text[CLOCK_TEXT_SIZE];
	if (!at)
		return json_null();
	clock_format(at, text);
	return json_string(text);
}

#define HARDWARE_SIZE (3 * sizeof(((murmesh_NetworkInterface *)0)->hardware.bytes) + 1)

/* "02:42:ac:11:00:02" */
static void hardware_format(const murmesh_NetworkInterface *interface, char out[HARDWARE_SIZE])
{
	out[0] = 0;
	for (pb_size_t i = 0; i < interface->hardware.size; i++)
		snprintf(i ? out + 3 * i - 1 : out, 4, "%s%02x", i ? ":" : "", interface->hardware.bytes[i]);
}

static json_t *file_systems_json(const murmesh_Inventory *inventory)
{
	json_t *list = json_array();
	for (pb_size_t i = 0; i < inventory->file_systems_count; i++) {
		const murmesh_FileSystem *one = &inventory->file_systems[i];
		json_array_append_new(list, json_pack("{s:o, s:o, s:I, s:I}", "path", cli_json_text(str_from(one->path)), "type",
		                                      cli_json_text(str_from(one->type)), "size", (json_int_t)one->size,
		                                      "available", (json_int_t)one->available));
	}
	return list;
}

static json_t *interfaces_json(const murmesh_Inventory *inventory)
{
	char hardware[HARDWARE_SIZE];
	json_t *list = json_array();
	for (pb_size_t i = 0; i < inventory->interfaces_count; i++) {
		const murmesh_NetworkInterface *one = &inventory->interfaces[i];
		json_t *addresses = json_array();
		for (pb_size_t k = 0; k < one->addresses_count; k++)
			json_array_append_new(addresses, cli_json_text(str_from(one->addresses[k])));
		hardware_format(one, hardware);
		json_array_append_new(list, json_pack("{s:o, s:s, s:o}", "name", cli_json_text(str_from(one->name)), "hardware",
		                                      hardware, "addresses", addresses));
	}
	return list;
}

static json_t *inventory_json(const murmesh_Inventory *inventory)
{
	return json_pack("{s:o, s:o, s:o, s:I, s:I, s:I, s:o, s:o, s:o}", "kernel", cli_json_text(str_from(inventory->kernel)),
	                 "os", cli_json_text(str_from(inventory->os)), "processor", cli_json_text(str_from(inventory->processor)),
	                 "processors", (json_int_t)inventory->processors, "memory", (json_int_t)inventory->memory,
	                 "memory_available", (json_int_t)inventory->memory_available, "boot_time", time_json(inventory->boot_time),
	                 "file_systems", file_systems_json(inventory), "interfaces", interfaces_json(inventory));
}

static json_t *detail_json(const murmesh_DeviceDetail *detail)
{
	json_t *device = device_json(&detail->device);
	json_object_set_new(device, "last_seen", time_json(detail->device.last_seen));
	json_object_set_new(device, "created", time_json(detail->created));
	json_object_set_new(device, "certificate_expires", time_json(detail->certificate_expires));
	json_object_set_new(device, "inventory_time", time_json(detail->inventory_time));
	json_object_set_new(device, "inventory_refused", time_json(detail->forged));
	json_object_set_new(device, "inventory", detail->inventory_time ? inventory_json(&detail->inventory) : json_null());
	return device;
}

/* ---- as lines ---- */

/* An integer is a time; other numbers are texts. */
static const struct cli_column columns[] = { { "field" }, { "value", CLI_COLUMN_TIME }, { 0 } };

static void line(struct cli_table *table, const char *field, json_t *value)
{
	cli_table_row(table, json_pack("{s:s, s:o}", "field", field, "value", value));
}

static void text_line(struct cli_table *table, const char *field, const char *value)
{
	line(table, field, cli_json_text(str_from(value)));
}

/* For people in a unit that is easy to read; in lines for programs in bytes. */
static void size_format(const struct cli_table *table, uint64_t bytes, char *out, size_t size)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB" };
	double value = (double)bytes;
	size_t unit = 0;
	while (table->format == CLI_TERMINAL && value >= 1024 && unit < sizeof units / sizeof *units - 1) {
		value /= 1024;
		unit++;
	}
	if (table->format == CLI_TERMINAL)
		snprintf(out, size, unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
	else
		snprintf(out, size, "%" PRIu64, bytes);
}

static void size_line(struct cli_table *table, const char *field, uint64_t bytes)
{
	char text[32];
	size_format(table, bytes, text, sizeof text);
	text_line(table, field, text);
}

static void time_line(struct cli_table *table, const char *field, int64_t at)
{
	line(table, field, at ? json_integer(at) : json_null());
}

static void file_system_line(struct cli_table *table, const murmesh_FileSystem *one)
{
	char size[32], available[32], text[512];
	size_format(table, one->size, size, sizeof size);
	size_format(table, one->available, available, sizeof available);
	snprintf(text, sizeof text, "%s %s, %s of %s free", one->path, one->type, available, size);
	text_line(table, "file_system", text);
}

static void interface_line(struct cli_table *table, const murmesh_NetworkInterface *one)
{
	char hardware[HARDWARE_SIZE], text[512];
	hardware_format(one, hardware);
	size_t len = (size_t)snprintf(text, sizeof text, "%s %s", one->name, hardware);
	for (pb_size_t i = 0; i < one->addresses_count && len < sizeof text; i++)
		len += (size_t)snprintf(text + len, sizeof text - len, " %s", one->addresses[i]);
	text_line(table, "interface", text);
}

static void inventory_lines(struct cli_table *table, const murmesh_Inventory *inventory)
{
	char processor[160];
	snprintf(processor, sizeof processor, "%u x %s", inventory->processors, inventory->processor);
	text_line(table, "kernel", inventory->kernel);
	text_line(table, "processor", processor);
	size_line(table, "memory", inventory->memory);
	size_line(table, "memory_available", inventory->memory_available);
	time_line(table, "boot_time", inventory->boot_time);
	for (pb_size_t i = 0; i < inventory->file_systems_count; i++)
		file_system_line(table, &inventory->file_systems[i]);
	for (pb_size_t i = 0; i < inventory->interfaces_count; i++)
		interface_line(table, &inventory->interfaces[i]);
}

static int lines_print(const struct cli *cli, const murmesh_DeviceDetail *detail)
{
	struct cli_table table;
	json_t *device = device_json(&detail->device);
	cli_table_begin(&table, cli, columns);
	for (const struct cli_column *column = device_columns; column->key; column++)
		line(&table, column->key, json_incref(json_object_get(device, column->key)));
	json_decref(device);
	time_line(&table, "created", detail->created);
	time_line(&table, "certificate_expires", detail->certificate_expires);
	time_line(&table, "inventory_time", detail->inventory_time);
	if (detail->forged) /* an inventory that was not signed as its others was refused */
		time_line(&table, "inventory_refused", detail->forged);
	if (detail->inventory_time)
		inventory_lines(&table, &detail->inventory);
	return cli_table_end(&table);
}

/* ---- the command ---- */

static int show(struct session *session, const struct cli *cli, murmesh_DeviceDetail *detail)
{
	murmesh_DeviceName request = murmesh_DeviceName_init_zero;
	int err = str_copy(str_from(cli->operands[0]), request.selector, sizeof request.selector);
	if (err == 0)
		err = session_unary(session, &rpc_Fleet_GetDevice, &request, detail, sizeof *detail);
	if (err == 0)
		err = cli_format(cli) >= CLI_JSON ? cli_json_line(cli, detail_json(detail)) : lines_print(cli, detail);
	return err < 0 ? session_fail(session, err, "the device cannot be shown") : CLI_OK;
}

static int run(const struct cli *cli)
{
	struct session session;
	murmesh_DeviceDetail *detail = mem_alloc(sizeof *detail);
	if (!detail)
		return cli_fail(-E_NO_MEMORY, "the device cannot be shown");
	int code = session_begin(&session, cli);
	if (code == 0) {
		code = show(&session, cli, detail);
		session_close(&session);
	}
	mem_free(detail);
	return code;
}

static const struct cli_example examples[] = {
	{ "murmesh show web02", "what is known of a device" },
	{ "murmesh show web02-1 --json", "for a script, with its inventory" },
	{ 0 },
};

const struct cli_command command_show = {
	.name = "show",
	.summary = "show a device: state, inventory, certificate",
	.usage = "DEVICE",
	.examples = examples,
	.run = run,
	.operands_least = 1,
	.operands_most = 1,
};
