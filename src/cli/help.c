#include "cli/cli.h"

void cli_option_form(const struct cli_option *option, char *out, size_t size)
{
	const char letter[] = { '-', option->letter, ',', ' ', 0 };
	snprintf(out, size, "%s--%s%s%s", option->letter ? letter : "", option->name, option->argument ? " " : "",
	         option->argument ? option->argument : "");
}

static void options_print(FILE *out, const char *heading, const struct cli_option *options)
{
	char form[80];
	if (!options)
		return;
	fprintf(out, "\n%s:\n", heading);
	for (; options->name; options++) {
		cli_option_form(options, form, sizeof form);
		int indent = options->letter ? 2 : 6;
		fprintf(out, "%*s%-*s  %s", indent, "", 26 - indent, form, options->help);
		if (options->fallback)
			fprintf(out, " (default: %s)", options->fallback);
		fputc('\n', out);
	}
}

void cli_help_overview(FILE *out)
{
	fputs("Usage: murmesh [OPTION]... COMMAND [OPTION]... [OPERAND]...\n\nCommands:\n", out);
	for (const struct cli_command *const *row = cli_commands, *command; (command = *row); row++)
		fprintf(out, "  %-12s  %s\n", command->name, command->summary);
	options_print(out, "Options of every command", cli_global_options);
	fputs("\n`murmesh help COMMAND` says more about one command.\n", out);
}

void cli_help_command(FILE *out, const struct cli_command *command)
{
	fprintf(out, "murmesh %s: %s\n\n", command->name, command->summary);
	fprintf(out, "Usage: murmesh %s [OPTION]...%s%s\n", command->name, *command->usage ? " " : "", command->usage);
	options_print(out, "Options", command->options);
	options_print(out, "Options of every command", cli_global_options);
	fputs("\nExamples:\n", out);
	for (const struct cli_example *example = command->examples; example->line; example++)
		fprintf(out, "  %s\n      %s\n", example->line, example->does);
}
