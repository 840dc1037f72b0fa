#include <stdbool.h>

#include "priv/restart.h"

#define WINDOW_MS 60000
#define FIRST_MS  1000
#define LAST_MS   30000

uint64_t restart_pause(struct restart *restart, uint64_t now_ms, uint64_t lived_ms)
{
	uint64_t *oldest = &restart->deaths[restart->n_deaths % RESTART_DEATHS];
	bool often = restart->n_deaths >= RESTART_DEATHS && now_ms - *oldest < WINDOW_MS;
	*oldest = now_ms;
	restart->n_deaths++;

	if (lived_ms >= WINDOW_MS)
		restart->pause_ms = 0;
	else if (restart->pause_ms)
		restart->pause_ms = restart->pause_ms * 2 < LAST_MS ? restart->pause_ms * 2 : LAST_MS;
	else if (often)
		restart->pause_ms = FIRST_MS;
	return restart->pause_ms;
}
