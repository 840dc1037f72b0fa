/* priv/restart.h: how long a role that died has to wait.  Logic only: the caller has the clock.
 *
 * At once, as a rule.  From the sixth death inside 60 s on 1 s, then twice as long each time up to 30 s, until the role has lived for 60 s. */
#ifndef PRIV_RESTART_H
#define PRIV_RESTART_H
#include <stdint.h>

#define RESTART_DEATHS 5

struct restart {
	uint64_t deaths[RESTART_DEATHS]; /* the last ones, a ring */
	unsigned n_deaths;
	uint64_t pause_ms;
};

/* Counts a death at now_ms after a life of lived_ms.  Returns the pause in milliseconds. */
uint64_t restart_pause(struct restart *restart, uint64_t now_ms, uint64_t lived_ms);
#endif
