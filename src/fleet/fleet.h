/* fleet/fleet.h: the devices of a mesh as the server's database knows them.
 *
 * All functions run inside a job (store/store.h).  Times are seconds since 1970 UTC, 0 = never.  Besides the store's own errors they
 * return those named. */
#ifndef FLEET_FLEET_H
#define FLEET_FLEET_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/id.h"
#include "base/str.h"

struct store_tx;

#define FLEET_NAME_MAX      53        /* bytes: with dash and token the full name fits a common name of 64 */
#define FLEET_TOKEN_MAX     999999999 /* computers of one name, ever */
#define FLEET_FULL_NAME     65        /* "web01-17" with its NUL */
#define FLEET_TEXT_SIZE     64        /* with the NUL; what an agent says beyond is cut off */
#define FLEET_GROUP_SIZE    64
#define FLEET_TAG_SIZE      33
#define FLEET_TAGS_MAX      16 /* of one device */
#define FLEET_TAGS_SIZE     (FLEET_TAGS_MAX * FLEET_TAG_SIZE)
#define FLEET_INVENTORY_MAX 16384 /* bytes, encoded */

struct device {
	struct id id;
	char name[64];
	int64_t token; /* the number that makes the name unique; not a secret */
	char os[FLEET_TEXT_SIZE], arch[FLEET_TEXT_SIZE], version[FLEET_TEXT_SIZE];
	struct id parent; /* zero: the server itself */
	int64_t created, last_seen, retired;
	int64_t signs;                       /* since when its management part signs: what is not signed is not its word any more */
	int64_t forged;                      /* when something was refused last that it should have signed */
	bool relay;                          /* others may link to it */
	bool relay_unsigned;                 /* its requests for a relay's certificate need no signature yet */
	char group[FLEET_GROUP_SIZE];        /* in lower case; "" = none */
	char tags[FLEET_TAGS_SIZE];          /* in lower case, sorted, a blank between two */
	char relay_address[FLEET_TEXT_SIZE]; /* host:port, as it says itself; "" = it is no relay just now */
};

/* ---- label.c: groups and tags, pure ---- */
/* In lower case; "" = none.  -E_NAME. */
int fleet_group_parse(struct str text, char ret[FLEET_GROUP_SIZE]);
/* Both idempotent.  -E_NAME; -E_LIMIT: more than FLEET_TAGS_MAX. */
int fleet_tag_add(struct device *device, struct str tag);
int fleet_tag_remove(struct device *device, struct str tag);

/* The next token of a computer's name (in any letter case): never one that was given out before, also after deletion or a crash.
 * -E_NAME, -E_TOO_LONG, -E_LIMIT. */
int fleet_token_next(struct store_tx *tx, struct str name, int64_t *ret_token);
/* With its id, name, token, parent, created, group and tags; the rest is empty at first.  -E_EXISTS, -E_NAME, -E_TOO_LONG. */
int fleet_device_add(struct store_tx *tx, const struct device *device);
int fleet_device_get(struct store_tx *tx, const struct id *id, struct device *ret); /* retired ones too; -E_NOT_FOUND */
/* For a device that comes by itself: -E_REVOKED when it is retired, or nobody knows of it. */
int fleet_device_live(struct store_tx *tx, const struct id *id, struct device *ret);

/* Called for each device; a negative answer ends the walk and is its result. */
typedef int (*fleet_each)(void *ctx, const struct device *device);
/* All that are not retired, by name and token. */
int fleet_device_list(struct store_tx *tx, fleet_each each, void *ctx);
/* The same in pieces, each in a job of its own: the next `most` behind the cursor, which is zeroed at first.  A device that is there all the time
 * and keeps its name comes exactly once. */
struct fleet_cursor {
	char name[64];
	int64_t token;
	bool end; /* there were no more */
};
int fleet_device_next(struct store_tx *tx, struct fleet_cursor *cursor, size_t most, fleet_each each, void *ctx);
/* Those that the text may mean: the id alone where it is one, else plain name and full name in any letter case.  Several: the caller
 * says -E_AMBIGUOUS.  None: -E_NOT_FOUND.  Retired devices are not found. */
int fleet_device_find(struct store_tx *tx, struct str text, fleet_each each, void *ctx);

int fleet_device_seen(struct store_tx *tx, const struct id *id, int64_t now); /* never goes back; -E_NOT_FOUND */
/* What an agent says of itself: cleaned (base/utf8.h) and cut.  -E_NOT_FOUND. */
struct device_platform {
	struct str os, arch, version, relay_address;
	struct id parent;
};
int fleet_device_update(struct store_tx *tx, const struct id *id, const struct device_platform *platform);
int fleet_device_relay(struct store_tx *tx, const struct id *id, bool relay); /* -E_NOT_FOUND */
int fleet_device_relay_signs(struct store_tx *tx, const struct id *id);       /* from now on; -E_NOT_FOUND */
int fleet_relay_list(struct store_tx *tx, fleet_each each, void *ctx);        /* those that are not retired, by name and token */
int fleet_device_label(struct store_tx *tx, const struct device *device);     /* keeps its group and tags; -E_NOT_FOUND */
/* Keeps its token where that was never given to another of this name, else takes the next.  -E_NOT_FOUND (retired ones too), -E_NAME,
 * -E_TOO_LONG, -E_LIMIT. */
int fleet_device_rename(struct store_tx *tx, const struct id *id, struct str name, struct device *ret);
int fleet_device_retire(struct store_tx *tx, const struct id *id, int64_t now); /* -E_NOT_FOUND when unknown or retired before */

/* What a machine says of itself at length: bytes whose meaning is the caller's.  -E_TOO_LONG, -E_NOT_FOUND. */
int fleet_inventory_put(struct store_tx *tx, const struct id *id, int64_t now, const uint8_t *bytes, size_t len);
int fleet_inventory_get(struct store_tx *tx, const struct id *id, uint8_t ret_bytes[FLEET_INVENTORY_MAX], size_t *ret_len,
                        int64_t *ret_time);

/* Its management part has signed; the first time counts.  -E_NOT_FOUND. */
int fleet_device_signs(struct store_tx *tx, const struct id *id, int64_t now);
/* Something was refused that it should have signed, and has not.  -E_NOT_FOUND. */
int fleet_device_forged(struct store_tx *tx, const struct id *id, int64_t now);

void fleet_full_name(const struct device *device, char out[FLEET_FULL_NAME]);
#endif
