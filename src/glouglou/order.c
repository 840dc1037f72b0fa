/* Order, loss and keyframes: glouglou.md, sections 3 and 5. */
#include <string.h>

#include "glouglou/own.h"

static bool bit_get(const uint64_t *bits, uint64_t n)
{
	return bits[n / 64] >> n % 64 & 1;
}

static void bit_set(uint64_t *bits, uint64_t n)
{
	bits[n / 64] |= 1ull << n % 64;
}

enum gg_bad gg_order_check(const struct gg_order *order, uint64_t sequence)
{
	if (sequence > order->highest)
		return GG_OK;
	if (order->highest - sequence >= GG_WINDOW)
		return GG_BAD_OLD;
	return bit_get(order->seen, sequence % GG_WINDOW) ? GG_BAD_REPLAY : GG_OK;
}

void gg_order_commit(struct gg_order *order, uint64_t sequence)
{
	if (!order->highest)
		order->lowest = sequence;
	if (sequence > order->highest && sequence - order->highest > GG_WINDOW)
		memset(order->seen, 0, sizeof order->seen);
	else if (sequence > order->highest)
		for (uint64_t n = sequence - 1; n > order->highest; n--)
			order->seen[n % GG_WINDOW / 64] &= ~(1ull << n % 64);
	bit_set(order->seen, sequence % GG_WINDOW);
	if (sequence > order->highest)
		order->highest = sequence;
	if (sequence < order->lowest)
		order->lowest = sequence;
	order->received++;
}

uint64_t gg_order_lost(const struct gg_order *order)
{
	return order->highest ? order->highest - order->lowest + 1 - order->received : 0;
}

/* ---- keyframes ---- */

struct part {
	uint64_t number, part;
	uint8_t last;
};

static bool part_read(const struct gg_datagram *datagram, struct part *ret)
{
	struct gg_record record;
	if (!gg_record_first(datagram, &record) || record.type != GG_KEYFRAME)
		return false;
	struct reader r = { (const uint8_t *)record.body.ptr, record.body.len };
	return gg_varint_read(&r, &ret->number) == GG_OK && gg_varint_read(&r, &ret->part) == GG_OK &&
	       reader_u8(&r, &ret->last) == 0;
}

static void frame_begin(struct gg_frame *frame, uint64_t number)
{
	memset(frame, 0, sizeof *frame);
	frame->number = number;
	frame->open = true;
}

static bool part_fits(const struct gg_frame *frame, const struct part *part)
{
	if (part->part >= GG_PARTS_MAX || part->last > 1 || bit_get(frame->seen, part->part))
		return false;
	if (frame->has_last)
		return !part->last && part->part < frame->last;
	return !part->last || part->part >= frame->highest;
}

enum gg_bad gg_frame_take(struct gg_frame *frame, const struct gg_datagram *datagram, bool *ret_begins, bool *ret_ends)
{
	struct part part;
	*ret_begins = *ret_ends = false;
	if (!part_read(datagram, &part) || part.number < frame->number || part.part >= GG_PARTS_MAX || part.last > 1)
		return GG_BAD_KEYFRAME;
	if (part.number > frame->number) {
		frame_begin(frame, part.number);
		*ret_begins = true;
	}
	if (!frame->open || !part_fits(frame, &part))
		return GG_BAD_KEYFRAME;
	bit_set(frame->seen, part.part);
	frame->parts++;
	if (part.part > frame->highest)
		frame->highest = (uint32_t)part.part;
	if (part.last) {
		frame->has_last = true;
		frame->last = (uint32_t)part.part;
	}
	*ret_ends = frame->has_last && frame->parts == frame->last + 1;
	frame->open = !*ret_ends;
	return GG_OK;
}
