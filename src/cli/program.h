/* cli/program.h: the other programs of this installation: they stand beside this one. */
#ifndef CLI_PROGRAM_H
#define CLI_PROGRAM_H
#include <stddef.h>

/* Full path of "murmesh-agent" and the like. */
int program_path(const char *name, char *out, size_t size);
/* How a person starts this program in a shell: "murmesh" when its folder is in PATH, else its full path. */
void program_command(char *out, size_t size);
/* The same with what leads to the server that cli's session has, for a shell: "murmesh --dir /srv/mesh".  -E_TOO_LONG, -E_NAME (a line feed in it),
 * or why the folder cannot be found. */
struct cli;
int program_command_line(const struct cli *cli, char *out, size_t size);
/* A descriptor from which text can be read once (a pipe that holds it), so that a secret is in no argument list; text at most 4 KiB. */
int program_secret(const char *text);
#endif
