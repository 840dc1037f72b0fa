/* base/map.h: hash map from byte strings to pointers.  Keys are copied, values are borrowed.
 * The seed comes from the caller (os/random.h), so that a peer cannot choose colliding keys (SipHash-1-3). */
#ifndef BASE_MAP_H
#define BASE_MAP_H
#include <stddef.h>
#include <stdint.h>

struct map;

/* At most max entries.  NULL when memory is short. */
struct map *map_new(const uint8_t seed[16], size_t max);
struct map *map_free(struct map *map); /* accepts NULL, returns NULL; values stay the caller's */
size_t map_count(const struct map *map);
void *map_get(const struct map *map, const void *key, size_t len); /* NULL = absent */
/* Adds or replaces.  value is not NULL.  Returns 0, -E_NO_MEMORY, -E_FULL; key at most 255 bytes. */
int map_put(struct map *map, const void *key, size_t len, void *value);
void *map_remove(struct map *map, const void *key, size_t len); /* the value removed, or NULL */
/* Walks all entries in no order: start with *at = 0; NULL at the end.  The map must not change meanwhile. */
void *map_next(const struct map *map, size_t *at);
#endif
