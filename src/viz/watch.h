/* viz/watch.h: what one watcher is told: the changes of his view, rows for his table, what is missing, where it comes from. */
#ifndef VIZ_WATCH_H
#define VIZ_WATCH_H
#include "viz/view.h"
#include "viz/viz.h"

struct viz_watch {
	struct list node;
	struct viz *viz;
	struct scope scope;
	struct view view;
	const struct viz_sink *sink;
	void *ctx;
	uint64_t sequence;
	uint64_t built_ms, next_build_ms;
	uint64_t told; /* state.version up to which losses and sources were told */
	bool complete, closed;
	unsigned allowed;     /* rows, for now */
	uint64_t allowed_ms;  /* when that was counted */
	size_t first, n_rows; /* waiting */
	murmesh_LiveRow rows[VIZ_ROWS];
	uint64_t not_shown, not_shown_told;
	int64_t not_shown_since_us;
	murmesh_LiveBatch batch;
};

int watch_init(struct viz_watch *watch, const uint8_t seed[16], uint64_t now_ms); /* takes nothing over; -E_NO_MEMORY */
void watch_done(struct viz_watch *watch);
void watch_row(struct viz_watch *watch, const murmesh_LiveRow *row);
/* Builds when it is time to, moves, tells.  n_watches: how many share the machine. */
void watch_tick(struct viz_watch *watch, struct state *state, size_t n_watches, uint64_t now_ms);
#endif
