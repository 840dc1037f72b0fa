/* priv/control.h: what monitor and role say to each other over the control socket: packets of one kind byte and a payload. */
#ifndef PRIV_CONTROL_H
#define PRIV_CONTROL_H
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/str.h"

#define CONTROL_FD                3 /* the role's end */
#define CONTROL_TEXT_MAX          ((size_t)4 << 10)
#define CONTROL_CONFIGURATION_MAX ((size_t)32 << 10)
#define CONTROL_DIRECTORY_MAX     ((size_t)1 << 10)
#define CONTROL_NAME_MAX          63 /* of a descriptor */
#define CONTROL_START_MAX         (16 + 2 * CONTROL_DIRECTORY_MAX + CONTROL_CONFIGURATION_MAX)

enum control_kind {
	/* to the role */
	CONTROL_START = 1,  /* struct control_start: always the first */
	CONTROL_DESCRIPTOR, /* a name, and the descriptor beside it */
	CONTROL_MESSAGE,    /* bytes of priv_monitor_tell() */
	CONTROL_PING,
	CONTROL_STOP,
	/* to the monitor */
	CONTROL_READY,
	CONTROL_REPORT, /* bytes of priv_report() */
	CONTROL_PONG,
	CONTROL_VIOLATION, /* the system call's number, 4 bytes, big endian */
};

struct control_start {
	bool forbidden_call;      /* for tests: make a forbidden system call once confined */
	uint32_t uid;             /* to run as; 0 = as an ordinary user, without a change */
	uint32_t monitor;         /* its process id */
	struct str directory;     /* of the role; empty: it has none */
	struct str root;          /* where to chroot; empty: nowhere */
	struct str configuration; /* as given to priv_monitor_new() */
};

struct buf;
/* Append to out: a packet, the payload of a CONTROL_START.  Return 0, -E_NO_MEMORY or -E_TOO_LONG. */
int control_encode(enum control_kind kind, struct str payload, struct buf *out);
int control_start_encode(const struct control_start *start, struct buf *out);
/* The views of ret point into payload.  Returns 0, or -E_MESSAGE. */
int control_start_decode(struct str payload, struct control_start *ret);
#endif
