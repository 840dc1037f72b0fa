#include "tunnel/rate.h"

#define AHEAD_NS ((uint64_t)20000000) /* that may be moved before it is paid for */

uint64_t rate_wait_ms(const struct rate *rate, uint64_t now_ms)
{
	uint64_t due = now_ms * 1000000 + AHEAD_NS;
	return !rate->bytes_per_s || rate->paid_ns <= due ? 0 : (rate->paid_ns - due + 999999) / 1000000;
}

size_t rate_piece(const struct rate *rate, size_t size)
{
	uint64_t piece = rate->bytes_per_s / 50 + 1;
	return !rate->bytes_per_s || size < piece ? size : (size_t)piece;
}

void rate_moved(struct rate *rate, uint64_t now_ms, size_t bytes)
{
	uint64_t now = now_ms * 1000000;
	if (!rate->bytes_per_s)
		return;
	if (rate->paid_ns < now) /* what was not used is not saved */
		rate->paid_ns = now;
	rate->paid_ns += (uint64_t)bytes * 1000000000 / rate->bytes_per_s;
}
