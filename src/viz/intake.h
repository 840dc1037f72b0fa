/* viz/intake.h: datagrams into the state, by the tables that tools/ggspec.py makes of proto/modules/. */
#ifndef VIZ_INTAKE_H
#define VIZ_INTAKE_H
#include "viz/state.h"
#include "viz/viz.h"

struct intake {
	struct state *state;
	struct viz_counters *counters;
	/* A line of the table; NULL: nobody wants this device's. */
	void (*row)(void *ctx, const struct device *device, const murmesh_LiveRow *row);
	void *ctx;
};
/* All that a batch has of one device.  left_out: as in EventBatch. */
void intake_datagrams(const struct intake *intake, struct device *device, struct str datagrams, uint32_t left_out, uint64_t now_ms);
#endif
