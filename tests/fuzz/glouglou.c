/* Datagrams as they come on a link: each is walked to its end or refused, and what its records do is written as text. */
#include <assert.h>
#include <string.h>

#include "base/utf8.h"
#include "gg_modules.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void template_text(const struct gg_template *template, const struct gg_record_type *type, const union gg_any *any)
{
	char text[96];
	gg_text(template, type, any, "000102030405060708090a0b0c0d0e0f", text, sizeof text);
	assert(strlen(text) < sizeof text);
	gg_number(template, type, any);
}

static void record_use(const struct gg_record_type *type, const struct gg_record *record)
{
	union gg_any any;
	if (gg_record_read(type, record, &any) != GG_OK)
		return;
	for (const struct gg_step *step = type->steps; step < type->steps + type->n_steps; step++)
		if (gg_step_applies(step, type, &any)) {
			template_text(&step->id, type, &any);
			template_text(&step->subject, type, &any);
			template_text(&step->object, type, &any);
			template_text(&step->detail, type, &any);
		}
}

static void datagram_use(struct str bytes)
{
	static struct gg_order order;
	static struct gg_frame frames[2];
	struct gg_datagram datagram;
	struct gg_record record;
	size_t at = 0;
	unsigned records = 0;
	bool begins, ends;
	if (gg_datagram_read(bytes, &datagram) != GG_OK)
		return;
	if (gg_order_check(&order, datagram.sequence) == GG_OK)
		gg_order_commit(&order, datagram.sequence);
	if (datagram.flags & GG_IN_KEYFRAME)
		gg_frame_take(&frames[datagram.module & 1], &datagram, &begins, &ends);
	const struct gg_module *module = datagram.module == GG_CONTROL ? &gg_control : gg_module_find(datagram.module);
	assert(module);
	for (; gg_record_next(&datagram, &at, &record); records++) {
		const struct gg_record_type *type = gg_record_find(module, record.type);
		assert(record.body.ptr >= bytes.ptr && record.body.ptr + record.body.len <= bytes.ptr + bytes.len);
		if (type)
			record_use(type, &record);
	}
	assert(at == datagram.payload.len && records <= datagram.records);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str rest = { (const char *)data, size }, datagram;
	while (gg_link_next(&rest, &datagram))
		datagram_use(datagram);
	return 0;
}
