/* viz/group.h: which of too many things are drawn as one: those that have a key in common, on the first level where that suffices. */
#ifndef VIZ_GROUP_H
#define VIZ_GROUP_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GROUP_KEY_SIZE 80

struct group_item {
	const void *thing;
	uint32_t group; /* GROUP_NONE, or index of its group */
	void *node;     /* the owner's */
};
#define GROUP_NONE UINT32_MAX

struct group {
	char key[GROUP_KEY_SIZE];
	unsigned level;
	uint32_t count;
	void *node; /* the owner's */
};

struct group_rule {
	unsigned levels;
	/* The key of a thing on a level: text with its NUL; on the last level the same for all. */
	void (*key)(const void *thing, unsigned level, char out[GROUP_KEY_SIZE]);
	/* Whether there was such a group before: it is kept until there is clearly room, so that a picture at the limit does not flicker. */
	bool (*was)(void *ctx, const char *key);
	void *ctx;
};

/* Puts items into groups (on the first level whole ones, on those above only as many items as have to) until no more than budget (at least 1) of both are left; sets every item's group.  groups: room for budget of them.
 * Returns their number, or -E_NO_MEMORY. */
int group_items(struct group_item *items, size_t n, size_t budget, const struct group_rule *rule, struct group *groups);
#endif
