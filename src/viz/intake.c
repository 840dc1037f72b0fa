#include "viz/intake.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "gg_modules.h"

union record {
	union gg_any of_module;
	struct gg_notice notice;
	struct gg_lost lost;
};

struct work {
	const struct intake *intake;
	struct device *device;
	const struct gg_module *module;
	const struct gg_record_type *type;
	const union record *record;
	bool in_keyframe;
	uint64_t time_ns, now_ms;
};

static void bad(const struct intake *intake, enum gg_bad reason)
{
	intake->counters->bad[reason]++;
}

/* ---- one step of a record ---- */

static char *text(const struct work *work, const struct gg_template *template, const char *device, char *out, size_t size)
{
	return gg_text(template, work->type, work->record, device, out, size);
}

static void clean(const struct work *work, const struct gg_template *template, char *out, size_t size)
{
	char raw[GG_TEXT_SIZE];
	utf8_clean(str_from(text(work, template, work->device->text, raw, sizeof raw)), out, size);
}

static void step_node(const struct work *work, const struct gg_step *step, const char *id)
{
	char label[GG_TEXT_SIZE], detail[GG_TEXT_SIZE];
	const struct state_thing thing = { .id = id,
		                           .kind = step->class,
		                           .label = text(work, &step->label, work->device->text, label, sizeof label),
		                           .detail = text(work, &step->detail, work->device->text, detail, sizeof detail),
		                           .pid = (uint32_t)gg_number(&step->pid, work->type, work->record),
		                           .module = work->module->id,
		                           .shared = step->shared };
	state_thing(work->intake->state, work->device, &thing);
}

static void step_edge(const struct work *work, const struct gg_step *step, const char *id)
{
	char from[STATE_ID_SIZE], to[STATE_ID_SIZE];
	text(work, &step->from, STATE_OWN, from, sizeof from);
	text(work, &step->to, STATE_OWN, to, sizeof to);
	state_tie(work->intake->state, work->device, id, step->class, from, to, work->module->id);
}

static void step_count(const struct work *work, const struct gg_step *step, const char *id)
{
	state_tie_bytes(work->intake->state, work->device, id, (unsigned)gg_number(&step->way, work->type, work->record),
	                gg_number(&step->bytes, work->type, work->record), work->in_keyframe);
}

/* What was there before anybody asked is no event. */
static void step_row(const struct work *work, const struct gg_step *step)
{
	murmesh_LiveRow row = { .time_us = (int64_t)(work->time_ns / 1000) };
	if (work->in_keyframe)
		return;
	work->intake->counters->rows++;
	row.device.size = sizeof work->device->id.bytes;
	memcpy(row.device.bytes, work->device->id.bytes, sizeof work->device->id.bytes);
	snprintf(row.module, sizeof row.module, "%.15s", work->module->name);
	snprintf(row.event, sizeof row.event, "%.15s", work->type->name);
	clean(work, &step->subject, row.subject, sizeof row.subject);
	clean(work, &step->object, row.object, sizeof row.object);
	clean(work, &step->detail, row.detail, sizeof row.detail);
	row.bytes = gg_number(&step->bytes, work->type, work->record);
	row.pid = (uint32_t)gg_number(&step->pid, work->type, work->record);
	work->intake->row(work->intake->ctx, work->device, &row);
}

static void step_take(const struct work *work, const struct gg_step *step)
{
	char id[STATE_ID_SIZE];
	text(work, &step->id, STATE_OWN, id, sizeof id);
	switch (step->kind) {
	case GG_STEP_NODE:
		return step_node(work, step, id);
	case GG_STEP_GONE:
		return state_thing_end(work->intake->state, work->device, id, work->now_ms);
	case GG_STEP_EDGE:
		return step_edge(work, step, id);
	case GG_STEP_CUT:
		return state_tie_end(work->intake->state, work->device, id, work->now_ms);
	case GG_STEP_COUNT:
		return step_count(work, step, id);
	case GG_STEP_ROW:
		return step_row(work, step);
	}
}

/* ---- records ---- */

static void control_take(const struct work *work)
{
	const union record *record = work->record;
	if (work->type->type == GG_LOST)
		state_missing(work->intake->state, work->device, record->lost.count);
	if (work->type->type != GG_NOTICE || record->notice.kind != GG_NOTICE_SOURCE)
		return;
	const struct gg_module *module = gg_module_find(record->notice.module);
	if (module)
		state_source(work->intake->state, work->device, module->name, record->notice.text);
}

static void record_take(struct work *work, const struct gg_record *record)
{
	union record any;
	work->type = gg_record_find(work->module, record->type);
	work->record = &any;
	work->time_ns = record->time_ns;
	work->device->now_us = (int64_t)(record->time_ns / 1000);
	work->intake->counters->records++;
	if (!work->type) {
		work->intake->counters->unknown++;
		return;
	}
	enum gg_bad reason = gg_record_read(work->type, record, &any);
	if (reason != GG_OK)
		return bad(work->intake, reason);
	if (work->module == &gg_control)
		return control_take(work);
	for (unsigned i = 0; i < work->type->n_steps; i++)
		if (gg_step_applies(&work->type->steps[i], work->type, &any))
			step_take(work, &work->type->steps[i]);
}

/* ---- datagrams ---- */

/* A probe that began anew: numbers begin anew too. */
static void session_begin(struct device *device, uint32_t session)
{
	for (size_t i = 0; i < STATE_FRAMES; i++)
		device->keyframes[i] = mem_free(device->keyframes[i]);
	/* Of the first that is heard of a device it is not known what came before. */
	device->sequence = device->session ? 0 : UINT64_MAX;
	device->session = session;
}

static void sequence_take(const struct intake *intake, struct device *device, const struct gg_datagram *datagram,
                          uint32_t *left_out)
{
	if (datagram->session != device->session)
		session_begin(device, datagram->session);
	bool first = device->sequence == UINT64_MAX;
	if (!first && datagram->sequence <= device->sequence)
		return;
	uint64_t gap = first ? 0 : datagram->sequence - device->sequence - 1, known = gap < *left_out ? gap : *left_out;
	*left_out -= (uint32_t)known;
	device->sequence = datagram->sequence;
	state_missing(intake->state, device, gap - known);
}

/* NULL: of this module there are none, memory is short, or it is no good part of one. */
static struct keyframe *keyframe_take(struct work *work, const struct gg_datagram *datagram, bool *ret_ends)
{
	struct keyframe **at = &work->device->keyframes[work->module->id % STATE_FRAMES];
	bool begins;
	if (work->module->id < STATE_FRAMES && !*at)
		*at = mem_alloc(sizeof **at);
	if (work->module->id >= STATE_FRAMES || !*at)
		return NULL;
	enum gg_bad reason = gg_frame_take(&(*at)->frame, datagram, &begins, ret_ends);
	if (reason != GG_OK) {
		bad(work->intake, reason);
		return NULL;
	}
	if (begins)
		state_keyframe_begin(work->device, *at);
	return *at;
}

static void datagram_take(const struct intake *intake, struct device *device, const struct gg_datagram *datagram, uint64_t now_ms)
{
	struct work work = { .intake = intake,
		             .device = device,
		             .module = datagram->module == GG_CONTROL ? &gg_control : gg_module_find(datagram->module),
		             .in_keyframe = datagram->flags & GG_IN_KEYFRAME,
		             .now_ms = now_ms };
	struct keyframe *keyframe = NULL;
	struct gg_record record;
	bool ends = false;
	if (work.in_keyframe && !(keyframe = keyframe_take(&work, datagram, &ends)))
		return;
	for (size_t at = 0; gg_record_next(datagram, &at, &record);)
		record_take(&work, &record);
	if (keyframe && ends)
		state_keyframe_end(intake->state, device, keyframe, work.module->id, now_ms);
}

void intake_datagrams(const struct intake *intake, struct device *device, struct str datagrams, uint32_t left_out, uint64_t now_ms)
{
	struct gg_datagram datagram;
	struct str bytes;
	while (gg_link_next(&datagrams, &bytes)) {
		enum gg_bad reason = gg_datagram_read(bytes, &datagram);
		intake->counters->datagrams++;
		if (reason != GG_OK) {
			bad(intake, reason);
			continue;
		}
		sequence_take(intake, device, &datagram, &left_out);
		datagram_take(intake, device, &datagram, now_ms);
	}
	if (datagrams.len)
		bad(intake, GG_BAD_LENGTH);
}
