/* ca/continuity.h: the thread that runs through all links of a device, by which a second machine with the same key is noticed.
 *
 * Each link gives the device a number, which it keeps on disk and shows when it comes again.  Whoever shows an older one after a newer was kept
 * is a copy, or the device put back to an earlier state: nobody but a person can tell, so the device is frozen until an administrator has decided.
 * Numbers only grow.  A machine that roams shows the newest always; a welcome that was lost, or a database that was restored, is no copy.
 * All functions run inside a job (store/store.h) and return the store's errors besides those named. */
#ifndef CA_CONTINUITY_H
#define CA_CONTINUITY_H
#include <stdbool.h>
#include <stdint.h>

#include "base/id.h"

struct store_tx;

#define CA_CONTINUATION_MAX ((uint64_t)1 << 62)

/* May the bearer of this number (0: he has none) go on as the device?  When not: -E_FROZEN (*ret_now: it has just been frozen, which the caller
 * commits, reports and asks people about), -E_COPY (it may become a machine of its own), -E_COPY_REJECTED, -E_MESSAGE. */
int ca_continuity_check(struct store_tx *tx, const struct id *device, uint64_t shown, int64_t now, bool *ret_now);
/* For who shows no number because none was ever given to him (CORBA clients).  -E_FROZEN; -E_HAS_AGENT: a machine that shows them has come as this
 * device, and goes on alone. */
int ca_continuity_check_none(struct store_tx *tx, const struct id *device);
/* After the check: the number for this link. */
int ca_continuity_next(struct store_tx *tx, const struct id *device, uint64_t shown, uint64_t *ret_next);
/* The device has kept it. */
int ca_continuity_keep(struct store_tx *tx, const struct id *device, uint64_t number);

enum ca_copy {
	CA_COPY_LET_IN,   /* the next one that shows an older number becomes a machine of its own */
	CA_COPY_SHUT_OUT, /* all that show an older one */
	CA_COPY_NONE,     /* there is one machine only: it goes on from whichever number it shows */
};
/* Ends a freeze.  -E_NOT_FOUND when it is not frozen. */
int ca_continuity_decide(struct store_tx *tx, const struct id *device, enum ca_copy copy);
/* A copy that was let in has been given its line: no further one is.  -E_DENIED. */
int ca_continuity_let_in(struct store_tx *tx, const struct id *device, uint64_t shown);
#endif
