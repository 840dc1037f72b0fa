#include "cli/cli.h"

/* The only list of commands: one row each, in the order of the help. */
#define COMMANDS(ROW)                                                                                                              \
	ROW(up)                                                                                                                    \
	ROW(join)                                                                                                                  \
	ROW(key)                                                                                                                   \
	ROW(approve)                                                                                                               \
	ROW(reject)                                                                                                                \
	ROW(login_link)                                                                                                            \
	ROW(login)                                                                                                                 \
	ROW(logout)                                                                                                                \
	ROW(ls)                                                                                                                    \
	ROW(ssh)                                                                                                                   \
	ROW(show)                                                                                                                  \
	ROW(run)                                                                                                                   \
	ROW(map)                                                                                                                   \
	ROW(maps)                                                                                                                  \
	ROW(nc)                                                                                                                    \
	ROW(grant)                                                                                                                 \
	ROW(ssh_config)                                                                                                            \
	ROW(send)                                                                                                                  \
	ROW(queue)                                                                                                                 \
	ROW(rename)                                                                                                                \
	ROW(group)                                                                                                                 \
	ROW(tag)                                                                                                                   \
	ROW(delete)                                                                                                                \
	ROW(user)                                                                                                                  \
	ROW(audit)                                                                                                                 \
	ROW(policy)                                                                                                                \
	ROW(ca)                                                                                                                    \
	ROW(ping)                                                                                                                  \
	ROW(relay)                                                                                                                 \
	ROW(component)                                                                                                             \
	ROW(ior)                                                                                                                   \
	ROW(help)                                                                                                                  \
	ROW(version)                                                                                                               \
	ROW(explain)                                                                                                               \
	ROW(doctor)                                                                                                                \
	ROW(completion)

#define DECLARE(name) extern const struct cli_command command_##name;
COMMANDS(DECLARE)

#define ADDRESS(name) &command_##name,
const struct cli_command *const cli_commands[] = { COMMANDS(ADDRESS) NULL };
