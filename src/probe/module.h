/* probe/module.h: what a module of the probe has to offer, and what it gets.  A module is a folder in probe/modules/ and a .ggspec. */
#ifndef PROBE_MODULE_H
#define PROBE_MODULE_H
#include "base/list.h"
#include "gg_modules.h"
#include "probe/probe.h"

struct probe_module {
	uint8_t id;
	/* Opens what needs rights, and says the source (probe_source()).  NULL when memory is short. */
	void *(*open)(struct probe *probe);
	void (*start)(void *module); /* confined */
	void (*keyframe_begin)(void *module);
	/* Writes the next thing as it is; false: those that were there at the beginning are all written, or gone. */
	bool (*keyframe_next)(void *module);
	void (*owner)(void *module, uint64_t inode, const struct gg_process *process, struct str command); /* may be NULL */
	void *(*close)(void *module); /* accepts NULL, returns NULL */
};
extern const struct probe_module probe_process, probe_network;

/* The next that a keyframe has to name goes from `due` back into `all`.  NULL: all were named. */
static inline struct list *probe_keyframe_take(struct list *due, struct list *all)
{
	struct list *node = due->next;
	if (list_empty(due))
		return NULL;
	list_remove(node);
	list_append(all, node);
	return node;
}

struct io_loop *probe_loop(struct probe *probe);
const struct probe_settings *probe_settings(const struct probe *probe);
/* For records that are written now: they go within 100 ms. */
struct gg_writer *probe_writer(struct probe *probe, uint8_t module);
void probe_lost(struct probe *probe, uint8_t module, unsigned place, uint64_t count);
/* One line for people: "proc connector".  Kept, not copied. */
void probe_source(struct probe *probe, uint8_t module, const char *text);
/* Soon, and not too often. */
void probe_keyframe_wanted(struct probe *probe, uint8_t module);
/* What the module process knows of this process; false: nothing. */
bool probe_process_find(struct probe *probe, uint64_t pid, struct gg_process *ret, struct str *ret_command);

uint64_t probe_now_ns(void); /* since 1970 */
#endif
