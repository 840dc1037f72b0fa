/* tunnel/rate.h: so many bytes a second, for all that share it: who has moved bytes waits until they are paid for.  Logic only: the caller has the
 * clock. */
#ifndef TUNNEL_RATE_H
#define TUNNEL_RATE_H
#include <stddef.h>
#include <stdint.h>

#define RATE_LEAST ((uint64_t)1000) /* bytes a second */

struct rate {
	uint64_t bytes_per_s; /* 0 = no limit */
	uint64_t paid_ns;     /* when all that was moved is paid for */
};
/* How long to wait before more is moved, at that time; 0: not at all. */
uint64_t rate_wait_ms(const struct rate *rate, uint64_t now_ms);
/* How much to move at once, at most `size`. */
size_t rate_piece(const struct rate *rate, size_t size);
void rate_moved(struct rate *rate, uint64_t now_ms, size_t bytes);
#endif
