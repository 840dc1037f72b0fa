/* cli/audit_local.h: `murmesh audit` on a device itself, in place of a server's log. */
#ifndef CLI_AUDIT_LOCAL_H
#define CLI_AUDIT_LOCAL_H
#include "cli/cli.h"

extern const struct cli_column audit_columns[]; /* command_audit.c */

/* Whether --dir (or $MURMESH_DIR) names the folder of an agent: then with its database. */
bool audit_is_local(const struct cli *cli, char database[4096]);
/* Lists or verifies; returns the exit code. */
int audit_local(const struct cli *cli, const char *database, bool list);
#endif
