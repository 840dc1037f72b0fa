/* The real table of commands: every row is whole, and what is generated from it names every row. */
#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/err.h"
#include "cli/cli.h"

enum { WORDS_MAX = 32 };

static void option_is_whole(const struct cli_option *option)
{
	print_message("    --%s\n", option->name);
	assert_true(strlen(option->name) > 1 &&
	            strspn(option->name, "abcdefghijklmnopqrstuvwxyz0123456789-") == strlen(option->name));
	assert_true(option->help && *option->help);
	assert_true(option->help[strlen(option->help) - 1] != '.');
	assert_int_equal(option->argument == NULL, option->type == CLI_FLAG);
	assert_true(option->type != CLI_FLAG || !option->fallback);
}

static void option_is_single(const struct cli_option *option, const struct cli_option *others)
{
	for (; others && others->name; others++) {
		assert_true(option == others || strcmp(option->name, others->name) != 0);
		assert_true(option == others || !option->letter || option->letter != others->letter);
	}
}

/* Words as a shell would make them of a simple line: blanks, quotes; up to a pipe or redirection.  Writes into line. */
static int line_split(char *line, char *argv[WORDS_MAX])
{
	int argc = 0;
	char *out = line, *at = line;
	while (*at && *at != '|' && *at != '>' && argc < WORDS_MAX - 1) {
		argv[argc++] = out;
		for (char quote = 0; *at && (quote || *at != ' '); at++) {
			if (*at == quote)
				quote = 0;
			else if (!quote && (*at == '\'' || *at == '"'))
				quote = *at;
			else
				*out++ = *at;
		}
		at += *at == ' ';
		*out++ = 0;
	}
	argv[argc] = NULL;
	return argc;
}

static void example_parses(const struct cli_command *command, const struct cli_example *example)
{
	struct cli cli;
	struct cli_problem problem = { 0 };
	char line[256], *argv[WORDS_MAX];
	print_message("    %s\n", example->line);
	assert_true(example->does && *example->does);
	snprintf(line, sizeof line, "%s", example->line);
	int argc = line_split(line, argv);
	assert_string_equal(argv[0], "murmesh");
	int err = cli_parse(&cli, argc, argv, &problem);
	assert_string_equal(problem.what, "");
	assert_int_equal(err, 0);
	assert_ptr_equal(cli.command, command);
}

static void every_row_is_whole(void **state)
{
	(void)state;
	for (const struct cli_option *option = cli_global_options; option->name; option++) {
		option_is_whole(option);
		option_is_single(option, cli_global_options);
	}
	for (const struct cli_command *const *row = cli_commands, *command; (command = *row); row++) {
		print_message("%s\n", command->name);
		assert_ptr_equal(cli_command_find(command->name), command);
		assert_true(islower(command->summary[0]) && command->summary[strlen(command->summary) - 1] != '.');
		assert_non_null(command->run);
		assert_true(command->operands_least <= command->operands_most);
		assert_int_equal(command->operands_most == 0, *command->usage == 0);
		for (const struct cli_option *option = command->options; option && option->name; option++) {
			option_is_whole(option);
			option_is_single(option, command->options);
			option_is_single(option, cli_global_options);
		}
		assert_non_null(command->examples[0].line);
		for (const struct cli_example *example = command->examples; example->line; example++)
			example_parses(command, example);
	}
}

/* What a command line prints; the caller frees it. */
static char *output_of(const char *text, bool terminal, int code)
{
	struct cli cli;
	struct cli_problem problem;
	char line[256], *argv[WORDS_MAX], *output = NULL;
	size_t size;
	snprintf(line, sizeof line, "%s", text);
	int argc = line_split(line, argv);
	assert_int_equal(cli_parse(&cli, argc, argv, &problem), 0);
	cli.out = open_memstream(&output, &size);
	cli.terminal = terminal;
	assert_non_null(cli.out);
	assert_int_equal(cli.command->run(&cli), code);
	fclose(cli.out);
	return output;
}

/* A name as it stands behind `form`: dashes as in the form of options. */
static const char *wanted(const char *form, const char *name, bool escaped)
{
	static char text[128];
	size_t len = (size_t)snprintf(text, sizeof text, "%s", form);
	for (; *name; name++)
		len += (size_t)snprintf(text + len, sizeof text - len, "%s%c", escaped && *name == '-' ? "\\" : "", *name);
	return text;
}

static void names_all(const char *line, const char *command_form, const char *option_form)
{
	bool escaped = option_form[0] == '\\';
	char *output = output_of(line, false, CLI_OK);
	for (const struct cli_command *const *row = cli_commands, *command; (command = *row); row++) {
		assert_non_null(strstr(output, wanted(command_form, command->name, escaped)));
		for (const struct cli_option *option = command->options; option && option->name; option++)
			assert_non_null(strstr(output, wanted(option_form, option->name, escaped)));
	}
	free(output);
}

static void generated_texts_name_every_row(void **state)
{
	(void)state;
	names_all("murmesh help --reference", "## murmesh ", "--");
	names_all("murmesh help --man", ".SS murmesh ", "\\-\\-");
	names_all("murmesh completion bash", "\n\t", "--");
	names_all("murmesh completion zsh", "\n\t\t'", "--");
	names_all("murmesh completion fish", "-a ", "-l ");
}

static void help_names_options_and_examples(void **state)
{
	(void)state;
	for (const struct cli_command *const *row = cli_commands, *command; (command = *row); row++) {
		char line[64];
		snprintf(line, sizeof line, "murmesh help %s", command->name);
		char *output = output_of(line, false, CLI_OK);
		assert_non_null(strstr(output, command->summary));
		for (const struct cli_option *option = command->options; option && option->name; option++)
			assert_non_null(strstr(output, option->help));
		for (const struct cli_example *example = command->examples; example->line; example++)
			assert_non_null(strstr(output, example->line));
		free(output);
	}
}

static void explain_has_every_code(void **state)
{
	char *all = output_of("murmesh explain", false, CLI_OK);
	(void)state;
	for (int err = err_next(0); err; err = err_next(err)) {
		char line[64];
		assert_non_null(strstr(all, err_try(err)));
		snprintf(line, sizeof line, "murmesh explain %s", err_name(err));
		char *one = output_of(line, true, CLI_OK);
		assert_non_null(strstr(one, err_text(err)));
		assert_non_null(strstr(one, err_try(err)));
		free(one);
	}
	free(all);
	free(output_of("murmesh explain E9999", false, CLI_NOT_FOUND));
	free(output_of("murmesh help nonsense", false, CLI_NOT_FOUND));
	free(output_of("murmesh completion csh", false, CLI_USAGE));
}

static void codes_become_exit_codes(void **state)
{
	static const struct {
		int err;
		enum cli_exit code;
	} rows[] = {
		{ 0, CLI_OK },
		{ -E_INTERNAL, CLI_FAILED },
		{ -E_USAGE, CLI_USAGE },
		{ -E_MAP_SPEC, CLI_USAGE },
		{ -E_NOT_FOUND, CLI_NOT_FOUND },
		{ -E_DENIED, CLI_NOT_PERMITTED },
		{ -E_GRANT, CLI_NOT_PERMITTED },
		{ -E_UNREACHABLE, CLI_UNREACHABLE },
		{ -E_NO_SERVER, CLI_UNREACHABLE },
		{ -E_TIMEOUT, CLI_TIMEOUT },
		{ -E_SOME_FAILED, CLI_SOME_FAILED },
		{ -E_CANCELLED, CLI_INTERRUPTED },
		{ E_CANCELLED, CLI_INTERRUPTED },
		{ -5 /* EIO */, CLI_FAILED },
		{ -13 /* EACCES */, CLI_NOT_PERMITTED },
	};
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		assert_int_equal(cli_exit_code(rows[i].err), rows[i].code);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_row_is_whole),
		cmocka_unit_test(generated_texts_name_every_row),
		cmocka_unit_test(help_names_options_and_examples),
		cmocka_unit_test(explain_has_every_code),
		cmocka_unit_test(codes_become_exit_codes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
