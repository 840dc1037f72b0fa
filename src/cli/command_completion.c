#include "base/err.h"
#include "cli/cli.h"

/* Text for single quotes in a shell's script: a backslash before each of `specials`, a quote as the shell wants it. */
static void quoted(FILE *out, const char *text, const char *specials, const char *quote)
{
	for (; *text; text++) {
		if (*text == '\'')
			fputs(quote, out);
		else
			fprintf(out, "%s%c", strchr(specials, *text) ? "\\" : "", *text);
	}
}

static void command_names(FILE *out)
{
	for (const struct cli_command *const *row = cli_commands, *command; (command = *row); row++)
		fprintf(out, "%s%s", row == cli_commands ? "" : " ", command->name);
}

/* The alternatives of a command's first operand, "new|ls|revoke" of "[new|ls|revoke] NAME". */
static struct str first_operand(const struct cli_command *command)
{
	const char *start = command->usage + strspn(command->usage, "[");
	return (struct str){ start, strcspn(start, " ].") };
}

/* Whether a shell can complete it: COMMAND stands for the commands' names, words in lower case for themselves. */
static bool operands_known(const struct cli_command *command)
{
	struct str operand = first_operand(command);
	for (size_t i = 0; i < operand.len; i++)
		if (!strchr("abcdefghijklmnopqrstuvwxyz-|", operand.ptr[i]))
			return str_is(operand, "COMMAND");
	return operand.len > 0;
}

static void operands_print(FILE *out, const struct cli_command *command)
{
	struct str operand = first_operand(command);
	if (str_is(operand, "COMMAND"))
		command_names(out);
	else if (operands_known(command))
		for (size_t i = 0; i < operand.len; i++)
			fputc(operand.ptr[i] == '|' ? ' ' : operand.ptr[i], out);
}

/* ---- bash ---- */

static void bash_names(FILE *out, const struct cli_option *options, bool with_value_only)
{
	for (; options && options->name; options++)
		if (options->argument || !with_value_only)
			fprintf(out, " --%s", options->name);
}

static void bash_command(FILE *out, const struct cli_command *command)
{
	fprintf(out, "\t%s)\n\t\twords='", command->name);
	operands_print(out, command);
	bash_names(out, command->options, false);
	fputs("'\n\t\tvalued='", out);
	bash_names(out, command->options, true);
	fputs("'\n\t\t;;\n", out);
}

static void bash_print(FILE *out)
{
	fputs("# bash completion of murmesh: source this file, or put it into /etc/bash_completion.d\n"
	      "_murmesh() {\n"
	      "\tlocal word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} command='' words='' valued='' i\n"
	      "\tlocal global='",
	      out);
	bash_names(out, cli_global_options, false);
	fputs("' global_valued='", out);
	bash_names(out, cli_global_options, true);
	fputs("'\n"
	      "\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
	      "\t\tcase ${COMP_WORDS[i]} in\n"
	      "\t\t-*) [[ \" $global_valued \" == *\" ${COMP_WORDS[i]} \"* ]] && ((i++)) ;;\n"
	      "\t\t*) command=${COMP_WORDS[i]}; break ;;\n"
	      "\t\tesac\n"
	      "\tdone\n"
	      "\tcase $command in\n"
	      "\t'') words='",
	      out);
	command_names(out);
	fputs("' ;;\n", out);
	for (const struct cli_command *const *row = cli_commands, *command; (command = *row); row++)
		bash_command(out, command);
	fputs("\tesac\n"
	      "\tCOMPREPLY=()\n"
	      "\t[[ \" $global_valued $valued \" == *\" $before \"* ]] && return\n"
	      "\tCOMPREPLY=($(compgen -W \"$words $global\" -- \"$word\"))\n"
	      "}\n"
	      "complete -o default -F _murmesh murmesh\n",
	      out);
}

/* ---- zsh ---- */

static void zsh_options(FILE *out, const struct cli_option *options)
{
	for (; options && options->name; options++) {
		fputs(" \\\n\t\t\t", out);
		if (options->letter)
			fprintf(out, "'(-%c --%s)'{-%c,--%s}", options->letter, options->name, options->letter, options->name);
		fprintf(out, "'%s%s%s[", options->letter ? "" : "--", options->letter ? "" : options->name,
		        options->argument ? "=" : "");
		quoted(out, options->help, "[]:\\", "'\\''");
		fputc(']', out);
		if (options->argument)
			fprintf(out, ":%s:%s", options->argument, options->type == CLI_FILE ? "_files" : "");
		fputc('\'', out);
	}
}

static void zsh_command(FILE *out, const struct cli_command *command)
{
	fprintf(out, "\t\t%s)\n\t\t\t_arguments $global", command->name);
	zsh_options(out, command->options);
	if (operands_known(command)) {
		fputs(" \\\n\t\t\t'1:operand:(", out);
		operands_print(out, command);
		fputs(")'", out);
	} else if (command->operands_most)
		fputs(" '*:operand:_default'", out);
	fputs("\n\t\t\t;;\n", out);
}

static void zsh_print(FILE *out)
{
	fputs("#compdef murmesh\n"
	      "# zsh completion of murmesh: source this file, or put it as _murmesh into a folder of $fpath\n"
	      "_murmesh() {\n"
	      "\tlocal curcontext=$curcontext state line\n"
	      "\ttypeset -A opt_args\n"
	      "\tlocal -a commands=(",
	      out);
	for (const struct cli_command *const *row = cli_commands, *command; (command = *row); row++) {
		fprintf(out, "\n\t\t'%s:", command->name);
		quoted(out, command->summary, ":\\", "'\\''");
		fputc('\'', out);
	}
	fputs("\n\t)\n\tlocal -a global=(", out);
	zsh_options(out, cli_global_options);
	fputs("\n\t)\n"
	      "\t_arguments -C $global '1:command:->command' '*::operand:->operand'\n"
	      "\tcase $state in\n"
	      "\tcommand) _describe command commands ;;\n"
	      "\toperand)\n"
	      "\t\tcase $words[1] in\n",
	      out);
	for (const struct cli_command *const *row = cli_commands, *command; (command = *row); row++)
		zsh_command(out, command);
	fputs("\t\tesac\n"
	      "\t\t;;\n"
	      "\tesac\n"
	      "}\n"
	      "if [[ $funcstack[1] == _murmesh ]]; then _murmesh \"$@\"; else compdef _murmesh murmesh; fi\n",
	      out);
}

/* ---- fish ---- */

static void fish_options(FILE *out, const char *condition, const struct cli_option *options)
{
	for (; options && options->name; options++) {
		fprintf(out, "complete -c murmesh%s -l %s", condition, options->name);
		if (options->letter)
			fprintf(out, " -s %c", options->letter);
		if (options->argument)
			fputs(options->type == CLI_FILE ? " -r -F" : " -x", out);
		fputs(" -d '", out);
		quoted(out, options->help, "\\", "\\'");
		fputs("'\n", out);
	}
}

static void fish_command(FILE *out, const struct cli_command *command)
{
	char condition[96];
	fprintf(out, "complete -c murmesh -f -n __fish_use_subcommand -a %s -d '", command->name);
	quoted(out, command->summary, "\\", "\\'");
	fputs("'\n", out);
	snprintf(condition, sizeof condition, " -n '__fish_seen_subcommand_from %s'", command->name);
	fish_options(out, condition, command->options);
	if (!operands_known(command))
		return;
	fprintf(out, "complete -c murmesh -f%s -a '", condition);
	operands_print(out, command);
	fputs("'\n", out);
}

static void fish_print(FILE *out)
{
	fputs("# fish completion of murmesh: put it as murmesh.fish into ~/.config/fish/completions\n", out);
	fish_options(out, "", cli_global_options);
	for (const struct cli_command *const *row = cli_commands, *command; (command = *row); row++)
		fish_command(out, command);
}

/* ---- the command ---- */

static int run(const struct cli *cli)
{
	static const struct {
		const char *name;
		void (*print)(FILE *out);
	} shells[] = { { "bash", bash_print }, { "zsh", zsh_print }, { "fish", fish_print } };
	for (size_t i = 0; i < sizeof shells / sizeof *shells; i++) {
		if (strcmp(cli->operands[0], shells[i].name) == 0) {
			shells[i].print(cli->out);
			return CLI_OK;
		}
	}
	return cli_fail_because(-E_USAGE, "this shell is not known", "choose bash, zsh or fish", "no completion for \"%s\"",
	                        cli->operands[0]);
}

static const struct cli_example examples[] = {
	{ "murmesh completion bash > /etc/bash_completion.d/murmesh", "for all users of bash on this machine" },
	{ "murmesh completion fish > ~/.config/fish/completions/murmesh.fish", "for your own fish" },
	{ 0 },
};

const struct cli_command command_completion = {
	"completion", "print the completion script of a shell", "bash|zsh|fish", NULL, examples, run, 1, 1
};
