/* cli/devices.h: which devices a command is about, and how they are listed. */
#ifndef CLI_DEVICES_H
#define CLI_DEVICES_H
#include "cli/session.h"

/* A word alone ("web02", "web02-1", an id) is the name of exactly one device; all else is a query, which may match many. */
bool devices_is_query(struct str selector);
/* Calls each for every device; a negative answer is the result and ends it.  -E_NOT_FOUND when there is none, -E_AMBIGUOUS when a name is
 * that of several, -E_QUERY of an empty one; what the server says. */
int devices_each(struct session *session, struct str selector, int (*each)(void *ctx, const murmesh_Device *device), void *ctx);
/* Whether that is its name, full name or id, in any case. */
bool devices_has_name(const murmesh_Device *device, struct str name);
/* Prints why there is none. */
int devices_fail(const struct session *session, int err, struct str selector);

/* device_choose.c: the one device for connections.  Of several with that name it is the only one that is online, or, with a warning, the one
 * that was seen most recently; maybe one that is offline.  With --strict only the one device of that name, online; else exit code 3.  Returns the exit
 * code (why not is printed). */
int devices_choose(struct session *session, const struct cli *cli, const char *name, murmesh_Device *ret);
/* The command's option for it. */
#define DEVICES_STRICT                                                                                                             \
	{                                                                                                                          \
		"strict", 0, NULL, CLI_FLAG, "refuse a name that is not that of exactly one device that is online (exit code 3)",  \
		        NULL, 0                                                                                                    \
	}

/* Where others link to this relay, host:port.  Returns the exit code (why not is printed). */
int devices_relay(struct session *session, const char *name, char ret_address[128]);

/* A change to all devices of a selector.  First shows how many they are, which goes along, so that never others are changed than were shown;
 * with a question, asks at the terminal unless --yes (an option of the command) is given.  Prints what was done.  Returns the exit code. */
struct devices_change {
	murmesh_DeviceChange message; /* its selector and count are set here */
	const char *done;             /* "renamed", for the line at the end */
	const char *question;         /* "take out of the mesh", before the devices; NULL = not asked */
};
int devices_change(const struct cli *cli, const char *selector, struct devices_change *change);

/* As in `ls`. */
extern const struct cli_column device_columns[];
json_t *device_json(const murmesh_Device *device);
void device_row(void *table, const void *device); /* for session_stream() */
#endif
