/* viz/state.h: what the devices are right now, as far as they said: things (processes, addresses ...) and ties between them
 * (connections, parents ...), as the modules' .ggspec make them of records; where it all comes from, and what is missing.
 *
 * Ids are those of the .ggspec with STATE_OWN where they name the device: equal ids of two devices mean the same thing, when they do not begin with or
 * hold that mark, or the two ends of one tie.  Texts are cleaned when they come in (base/utf8.h).
 * Times: now_ms is the caller's monotonic clock, *_us a device's wall clock.  Everything is bounded; what finds no room is counted as
 * missing.  Pointers are valid until the state changes. */
#ifndef VIZ_STATE_H
#define VIZ_STATE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/id.h"
#include "base/list.h"
#include "base/str.h"
#include "glouglou/glouglou.h"

#define STATE_OWN         "\x1f" /* in ids: this device */
#define STATE_DEVICES_MAX 15000
#define STATE_OWN_MAX     32768               /* things of one device that are its own (processes) */
#define STATE_TIES_MAX    (65536 + 32768)     /* of one device: connections, and a parent for each process */
#define STATE_BYTES_MAX   ((size_t)256 << 20) /* of all devices together, about */
#define STATE_LINGER_MS   2000                /* what has ended is shown so long, so that it is seen at all */
#define STATE_LINGER_MAX  64                  /* of one device and sort at a time */
#define STATE_ID_SIZE     160
#define STATE_LABEL_SIZE  96
#define STATE_DETAIL_SIZE 256
#define STATE_SOURCES     4 /* modules whose source a device can name */
#define STATE_FRAMES      8 /* modules that have keyframes */

/* A process, an address ... */
struct thing {
	struct list ended;    /* in device.ended_things */
	struct list out, in;  /* ties from it and to it: tie.at_from, tie.at_to */
	uint64_t ended_ms;    /* 0 = it is there */
	uint64_t stamp;       /* of the last record that named it */
	const char *kind;     /* of the .ggspec; NULL: only ties have named it so far */
	char *label, *detail; /* one piece of memory; of one that only ties named, NULL */
	uint32_t pid;
	uint32_t slot; /* of whoever walks the state */
	uint16_t port; /* of an address: the service's, from its first tie */
	uint8_t module;
	bool shared; /* goes with its last tie */
	char id[];
};

struct tie {
	struct list at_from, at_to; /* in the lists of both things */
	struct list ended;          /* in device.ended_ties */
	struct thing *from, *to;    /* NULL: the device itself */
	uint64_t bytes[2];          /* by way */
	uint64_t ended_ms, stamp;
	const char *kind;
	uint8_t module;
	bool claimed; /* counted in state.ends */
	char id[];
};

struct source {
	char module[16], text[128]; /* "" = none */
	uint64_t changed;
};

struct keyframe {
	struct gg_frame frame;
	uint64_t stamp; /* what has an older one is gone when it is whole */
};

struct device {
	struct list node;
	struct id id;
	char text[ID_TEXT_SIZE];
	struct map *things, *ties;
	size_t n_own;
	struct list ended_things, ended_ties; /* the oldest first */
	size_t n_ended_things, n_ended_ties;
	uint64_t stamp;
	uint64_t changed, traffic; /* state.version when the graph, or only bytes, last changed */
	uint64_t missing, missing_changed;
	int64_t missing_since_us, now_us; /* now: of the last record */
	struct source sources[STATE_SOURCES];
	uint64_t sources_changed;
	/* its stream of datagrams */
	uint32_t session;
	uint64_t sequence; /* of the newest datagram */
	uint64_t heard_ms;
	struct keyframe *keyframes[STATE_FRAMES]; /* by module; NULL: there was none */
	uint32_t slot;
};

struct state {
	struct map *devices, *ends; /* ends: id of a tie to something shared -> whose it is */
	struct list list;           /* devices */
	size_t n_devices, bytes;
	uint64_t version;          /* grows with each change */
	uint64_t changed, traffic; /* what it was when the graph, or only bytes, last changed anywhere */
	uint8_t seed[16];
};

int state_init(struct state *state);
void state_done(struct state *state);

/* Made when it was not known; NULL: no room. */
struct device *state_device(struct state *state, const struct id *id);
struct device *state_device_find(const struct state *state, const struct id *id);
void state_device_remove(struct state *state, struct device *device);

/* A thing is there, or is now so.  Empty texts and pid 0 leave what was. */
struct state_thing {
	const char *id, *kind, *label, *detail;
	uint32_t pid;
	uint8_t module;
	bool shared;
};
void state_thing(struct state *state, struct device *device, const struct state_thing *as);
/* It goes, and its ties with it. */
void state_thing_end(struct state *state, struct device *device, const char *id, uint64_t now_ms);
struct thing *state_thing_find(const struct device *device, const char *id);
bool state_is_own(const char *id); /* of this device alone: another one's with the same id is something else */

/* A tie is there.  from, to: ids; things that are not known yet may be named. */
void state_tie(struct state *state, struct device *device, const char *id, const char *kind, const char *from, const char *to,
               uint8_t module);
void state_tie_end(struct state *state, struct device *device, const char *id, uint64_t now_ms);
struct tie *state_tie_find(const struct device *device, const char *id);
/* way: 0 or 1; total: what it is in all, not what came on top. */
void state_tie_bytes(struct state *state, struct device *device, const char *id, unsigned way, uint64_t bytes, bool total);
/* The one other device that has this tie too: it is between them.  NULL: none, or several claim it. */
struct device *state_tie_peer(const struct state *state, const struct device *device, const struct tie *tie);

/* A keyframe of this module begins; it is whole: whatever of the module no record named since goes. */
void state_keyframe_begin(struct device *device, struct keyframe *keyframe);
void state_keyframe_end(struct state *state, struct device *device, const struct keyframe *keyframe, uint8_t module,
                        uint64_t now_ms);

void state_missing(struct state *state, struct device *device, uint64_t events);
void state_source(struct state *state, struct device *device, const char *module, struct str text);
/* Forgets what ended long enough ago. */
void state_sweep(struct state *state, struct device *device, uint64_t now_ms);
#endif
