/* base/fault.h: counting fault injection.
 *
 * Every allocation and every system call in base, os and io asks fault_hit() first.  A test arms the counter with
 * fault_arm(n): the n-th point passed from then on fails once.  Not armed (always, outside tests) it costs one load. */
#ifndef BASE_FAULT_H
#define BASE_FAULT_H
#include <stdatomic.h>
#include <stdbool.h>

extern _Atomic long fault_countdown; /* 0 = not armed; threads share it */

/* True when this point has to fail. */
static inline bool fault_hit(void)
{
	return __builtin_expect(atomic_load_explicit(&fault_countdown, memory_order_relaxed) != 0, 0) &&
	       atomic_fetch_sub_explicit(&fault_countdown, 1, memory_order_relaxed) == 1;
}

/* Makes the n-th point from now fail (n >= 1); 0 disarms. */
static inline void fault_arm(long n)
{
	fault_countdown = n;
}

/* True while armed and not yet hit: a loop over n ends when a run did not reach its n-th point. */
static inline bool fault_armed(void)
{
	return fault_countdown > 0;
}
#endif
