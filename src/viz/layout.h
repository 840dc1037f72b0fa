/* viz/layout.h: force-directed layout in steps.  The plane is the square from -1 to 1.
 *
 * Each body has its own heat, the most it moves in a step; it cools with each step, and a cold one stays where it is: what is
 * new finds its place without shaking what is old.  The same input gives the same places. */
#ifndef VIZ_LAYOUT_H
#define VIZ_LAYOUT_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct layout_body {
	float x, y, heat;
	float dx, dy; /* inside a step */
};
struct layout_link {
	uint32_t a, b; /* indexes of bodies */
};

#define LAYOUT_BODIES_MAX 1024
#define LAYOUT_HOT        0.1f  /* of a new body */
#define LAYOUT_WARM       0.02f /* of its neighbours */

/* A place for something new: at most spread away from (x, y), somewhere else for each seed. */
void layout_place(struct layout_body *body, float x, float y, float spread, uint32_t seed);
/* At most LAYOUT_BODIES_MAX bodies; links beyond them are the caller's fault.  False when all are cold: nothing moved. */
bool layout_step(struct layout_body *bodies, size_t n_bodies, const struct layout_link *links, size_t n_links);
#endif
