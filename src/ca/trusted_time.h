/* ca/trusted_time.h: the time that the mesh tells, and the monotonic clock; of this process (an agent's net, exec, and link where
 * it is a relay).  The wall clock counts only until it was told. */
#ifndef CA_TRUSTED_TIME_H
#define CA_TRUSTED_TIME_H
#include <stdint.h>

void trusted_time_set(int64_t told); /* seconds since 1970 */
int64_t trusted_time(void);          /* TLS_TIME_UNKNOWN until it was told */
int64_t trusted_time_or_wall(void);
#endif
