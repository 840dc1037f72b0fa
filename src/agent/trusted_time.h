/* agent/trusted_time.h: the time that the mesh tells, and the monotonic clock; of this process.  The wall clock counts only until it was told. */
#ifndef AGENT_TRUSTED_TIME_H
#define AGENT_TRUSTED_TIME_H
#include <stdint.h>

void trusted_time_set(int64_t told); /* seconds since 1970 */
int64_t trusted_time(void);          /* TLS_TIME_UNKNOWN until it was told */
int64_t trusted_time_or_wall(void);
#endif
