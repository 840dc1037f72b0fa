#include "cli/cli.h"

/* The only list of commands: one row each, in the order of the help. */
#define COMMANDS(ROW)                                                                                                          \
	ROW(help)                                                                                                              \
	ROW(version)                                                                                                           \
	ROW(explain)                                                                                                           \
	ROW(doctor)                                                                                                            \
	ROW(completion)

#define DECLARE(name) extern const struct cli_command command_##name;
COMMANDS(DECLARE)

#define ADDRESS(name) &command_##name,
static const struct cli_command *const commands[] = { COMMANDS(ADDRESS) };

const struct cli_command *cli_command_at(size_t i)
{
	return i < sizeof commands / sizeof *commands ? commands[i] : NULL;
}

const struct cli_command *cli_command_find(const char *name)
{
	const struct cli_command *command;
	for (size_t i = 0; (command = cli_command_at(i)); i++)
		if (strcmp(command->name, name) == 0)
			return command;
	return NULL;
}
