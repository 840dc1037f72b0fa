#include <ctype.h>

#include "cli/cli.h"

struct exit_row {
	enum cli_exit code;
	const char *meaning;
};
static const struct exit_row exit_rows[] = {
	{ CLI_OK, "done" },
	{ CLI_FAILED, "failed" },
	{ CLI_USAGE, "the command line is wrong" },
	{ CLI_NOT_FOUND, "not found" },
	{ CLI_NOT_PERMITTED, "not permitted" },
	{ CLI_UNREACHABLE, "the server cannot be reached" },
	{ CLI_TIMEOUT, "no answer in time" },
	{ CLI_SOME_FAILED, "failed on some of the devices" },
	{ CLI_INTERRUPTED, "interrupted" },
};
enum { EXIT_ROWS = sizeof exit_rows / sizeof *exit_rows };

/* ---- markdown ---- */

static void markdown_options(FILE *out, const struct cli_option *options)
{
	char form[80];
	for (; options && options->name; options++) {
		cli_option_form(options, form, sizeof form);
		fprintf(out, "- `%s`: %s", form, options->help);
		if (options->fallback)
			fprintf(out, " (default: `%s`)", options->fallback);
		fputc('\n', out);
	}
}

static void markdown_command(FILE *out, const struct cli_command *command)
{
	fprintf(out, "\n## murmesh %s\n\n%c%s.\n\n", command->name, toupper(command->summary[0]), command->summary + 1);
	fprintf(out, "    murmesh %s [OPTION]...%s%s\n\n", command->name, *command->usage ? " " : "", command->usage);
	markdown_options(out, command->options);
	fprintf(out, "%sExamples:\n\n", command->options ? "\n" : "");
	for (const struct cli_example *example = command->examples; example->line; example++)
		fprintf(out, "- `%s`: %s\n", example->line, example->does);
}

void cli_manual_markdown(FILE *out)
{
	fputs("# murmesh: the command line\n\n    murmesh [OPTION]... COMMAND [OPTION]... [OPERAND]...\n\n", out);
	fputs("Options of every command:\n\n", out);
	markdown_options(out, cli_global_options);
	fputs("\nExit codes:\n\n", out);
	for (size_t i = 0; i < EXIT_ROWS; i++)
		fprintf(out, "- %d: %s\n", exit_rows[i].code, exit_rows[i].meaning);
	for (const struct cli_command *const *row = cli_commands, *command; (command = *row); row++)
		markdown_command(out, command);
}

/* ---- man(7) ---- */

/* Text in which troff finds no command of its own. */
static void troff_text(FILE *out, const char *text)
{
	if (*text == '.' || *text == '\'')
		fputs("\\&", out);
	for (; *text; text++) {
		if (*text == '\\')
			fputs("\\e", out);
		else if (*text == '-')
			fputs("\\-", out);
		else if (*text == '\'')
			fputs("\\(aq", out);
		else if (*text == '`')
			fputs("\\(ga", out);
		else if (*text == '~')
			fputs("\\(ti", out);
		else if (*text == '^')
			fputs("\\(ha", out);
		else
			fputc(*text, out);
	}
}

static void troff_item(FILE *out, const char *term, const char *text, const char *fallback)
{
	fputs(".TP\n\\fB", out);
	troff_text(out, term);
	fputs("\\fR\n", out);
	troff_text(out, text);
	if (fallback) {
		fputs(" (default: ", out);
		troff_text(out, fallback);
		fputc(')', out);
	}
	fputc('\n', out);
}

static void troff_options(FILE *out, const struct cli_option *options)
{
	char form[80];
	for (; options && options->name; options++) {
		cli_option_form(options, form, sizeof form);
		troff_item(out, form, options->help, options->fallback);
	}
}

static void troff_command(FILE *out, const struct cli_command *command)
{
	fputs(".SS murmesh ", out);
	troff_text(out, command->name);
	fprintf(out, " [OPTION]...%s", *command->usage ? " " : "");
	troff_text(out, command->usage);
	fprintf(out, "\n%c", toupper(command->summary[0]));
	troff_text(out, command->summary + 1);
	fputs(".\n", out);
	troff_options(out, command->options);
	for (const struct cli_example *example = command->examples; example->line; example++)
		troff_item(out, example->line, example->does, NULL);
}

void cli_manual_troff(FILE *out)
{
	char code[16];
	fputs(".TH MURMESH 1 \"\" \"murmesh " MURMESH_VERSION "\"\n.ad l\n.SH NAME\nmurmesh \\- manage a fleet of machines\n", out);
	fputs(".SH SYNOPSIS\n\\fBmurmesh\\fR [OPTION]... COMMAND [OPTION]... [OPERAND]...\n.SH OPTIONS\n", out);
	troff_options(out, cli_global_options);
	fputs(".SH COMMANDS\n", out);
	for (const struct cli_command *const *row = cli_commands, *command; (command = *row); row++)
		troff_command(out, command);
	fputs(".SH EXIT STATUS\n", out);
	for (size_t i = 0; i < EXIT_ROWS; i++) {
		snprintf(code, sizeof code, "%d", exit_rows[i].code);
		troff_item(out, code, exit_rows[i].meaning, NULL);
	}
}
