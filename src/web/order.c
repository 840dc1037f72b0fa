/* What a browser says on /ws. */
#include "base/encode.h"
#include "base/err.h"
#include "web/json.h"
#include "web/watch.h"

struct order {
	char op[16], channel[16], epoch[17];
	PB_BYTES_ARRAY_T(16) device;
	uint64_t since;
	bool has_since;
};

static const struct field order_fields[] = {
	FIELD("op", FIELD_TEXT, struct order, op, .choices = "subscribe unsubscribe"),
	FIELD("channel", FIELD_TEXT, struct order, channel, .choices = "fleet tasks live approvals maps"),
	FIELD("device", FIELD_BYTES_ID, struct order, device, .optional = true),
	FIELD("since", FIELD_U64, struct order, since, .optional = true, .mark = offsetof(struct order, has_since)),
	FIELD("epoch", FIELD_TEXT, struct order, epoch, .optional = true),
};
const struct schema schema_order = SCHEMA("WatchOrder", order_fields);

const char *watch_channel_name(enum watch_channel channel)
{
	static const char *const names[] = { "fleet", "tasks", "live", "approvals", "maps" };
	return names[channel];
}

static int epoch_read(const char *text, uint64_t *ret)
{
	uint8_t bytes[8];
	if (hex_decode(str_from(text), bytes, sizeof bytes) != sizeof bytes)
		return -E_JSON;
	*ret = 0;
	for (size_t i = 0; i < sizeof bytes; i++)
		*ret = *ret << 8 | bytes[i];
	return 0;
}

int watch_order_read(struct str text, struct watch_order *ret, char why[JSON_WHY_SIZE])
{
	struct order order = { 0 };
	struct watch_order result = { 0 };
	json_t *json = NULL;
	int err = json_read(text, &json, why);
	if (err == 0)
		err = schema_decode(&schema_order, json, &order, why);
	json_decref(json);
	if (err < 0)
		return err;
	result.subscribe = str_is(str_from(order.op), "subscribe");
	while (result.channel < WATCH_CHANNELS && !str_is(str_from(order.channel), watch_channel_name(result.channel)))
		result.channel++;
	if ((!result.subscribe && !str_is(str_from(order.op), "unsubscribe")) || result.channel == WATCH_CHANNELS) {
		snprintf(why, JSON_WHY_SIZE, "op or channel is not known");
		return -E_JSON;
	}
	result.has_device = order.device.size > 0;
	memcpy(result.device.bytes, order.device.bytes, order.device.size);
	result.since = order.since;
	result.has_since = order.has_since && epoch_read(order.epoch, &result.epoch) == 0;
	if (result.has_device && result.channel != WATCH_LIVE) {
		snprintf(why, JSON_WHY_SIZE, "only live is about one device");
		return -E_JSON;
	}
	*ret = result;
	return 0;
}
