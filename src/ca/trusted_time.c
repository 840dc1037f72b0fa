#include "ca/trusted_time.h"

#include "crypto/tls.h"
#include "os/clock.h"

static int64_t told, told_at; /* seconds since 1970, since boot; 0 = never */

void trusted_time_set(int64_t time)
{
	told = time;
	told_at = clock_boot_s();
}

int64_t trusted_time(void)
{
	return told ? told + clock_boot_s() - told_at : TLS_TIME_UNKNOWN;
}

int64_t trusted_time_or_wall(void)
{
	return told ? trusted_time() : clock_wall_s();
}
