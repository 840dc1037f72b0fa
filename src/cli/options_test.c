/* The parser, with a table of commands of its own in place of commands.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "cli/cli.h"

static const struct cli_option options[] = {
	{ "uses", 'u', "N", CLI_NUMBER, "how often", "1", 1000 },
	{ "big", 0, "N", CLI_NUMBER, "any number" },
	{ "ttl", 0, "TIME", CLI_DURATION, "how long", "1h" },
	{ "name", 'n', "NAME", CLI_TEXT, "a name" },
	{ "log", 0, "FILE", CLI_FILE, "a file" },
	{ "force", 'f', NULL, CLI_FLAG, "do it" },
	{ 0 },
};
static const struct cli_command command_make = { "make", "make it", "THING [MORE]", options, NULL, NULL, 1, 2 };
static const struct cli_command command_run = { "run", "run it", "[WORD]...", NULL, NULL, NULL, 0, CLI_ANY };
static const struct cli_command command_tag = { "tag", "tag it", "WHAT +TAG|-TAG...", options, NULL, NULL, 2, CLI_ANY, true };
static const struct cli_command command_map = { .name = "map",
	                                        .summary = "map it",
	                                        .usage = "WORD...",
	                                        .options = options,
	                                        .operands_most = CLI_ANY,
	                                        .router_operands = true };
const struct cli_command *const cli_commands[] = { &command_make, &command_run, &command_tag, &command_map, NULL };

enum { WORDS_MAX = 16 };

/* Parses a list of words that NULL ends. */
static int parse(struct cli *cli, struct cli_problem *problem, const char *first, ...)
{
	static char *argv[WORDS_MAX];
	int argc = 1;
	va_list words;
	argv[0] = (char *)(uintptr_t) "murmesh";
	va_start(words, first);
	for (const char *word = first; word && argc < WORDS_MAX - 1; word = va_arg(words, const char *))
		argv[argc++] = (char *)(uintptr_t)word;
	va_end(words);
	argv[argc] = NULL;
	return cli_parse(cli, argc, argv, problem);
}

#define PARSES(...)  assert_int_equal(parse(&cli, &problem, __VA_ARGS__, NULL), 0)
#define REFUSES(...) assert_int_equal(parse(&cli, &problem, __VA_ARGS__, NULL), -E_USAGE)
#define SAYS(text)   assert_non_null(strstr(problem.what, text))
#define TRIES(text)  assert_non_null(strstr(problem.remedy, text))

static void values_have_types(void **state)
{
	struct cli cli;
	struct cli_problem problem;
	(void)state;
	PARSES("make", "--uses=7", "--ttl", "15m", "-n", "web 02", "--log=/tmp/x=y", "-f", "thing", "--big",
	       "18446744073709551615");
	assert_ptr_equal(cli.command, &command_make);
	assert_int_equal(cli_number(&cli, "uses"), 7);
	assert_int_equal(cli_duration_ms(&cli, "ttl"), 15 * 60 * 1000);
	assert_string_equal(cli_text(&cli, "name"), "web 02");
	assert_string_equal(cli_text(&cli, "log"), "/tmp/x=y");
	assert_true(cli_flag(&cli, "force"));
	assert_true(cli_number(&cli, "big") == UINT64_MAX);
	assert_int_equal(cli.n_operands, 1);
}

static void defaults_hold(void **state)
{
	struct cli cli;
	struct cli_problem problem;
	(void)state;
	PARSES("make", "thing");
	assert_int_equal(cli_number(&cli, "uses"), 1);
	assert_int_equal(cli_duration_ms(&cli, "ttl"), 3600 * 1000);
	assert_null(cli_text(&cli, "name"));
	assert_false(cli_flag(&cli, "force"));
	assert_false(cli_given(&cli, "big"));
	assert_true(cli_given(&cli, "uses"));
	PARSES("make", "thing", "-u", "2", "--uses", "3");
	assert_int_equal(cli_number(&cli, "uses"), 3);
	PARSES("make", "thing", "--name=");
	assert_string_equal(cli_text(&cli, "name"), "");
}

static void options_stand_anywhere_before_two_dashes(void **state)
{
	struct cli cli;
	struct cli_problem problem;
	(void)state;
	PARSES("--json", "--dir", "D", "make", "one", "-f", "two");
	assert_true(cli_flag(&cli, "json") && cli_flag(&cli, "force"));
	assert_string_equal(cli_text(&cli, "dir"), "D");
	assert_int_equal(cli.n_operands, 2);
	assert_string_equal(cli.operands[0], "one");
	assert_string_equal(cli.operands[1], "two");
	assert_null(cli.operands[2]);

	PARSES("run", "web02", "-q", "--", "uname", "-a", "--", "--json");
	assert_true(cli_flag(&cli, "quiet"));
	assert_false(cli_flag(&cli, "json"));
	assert_int_equal(cli.n_operands, 5);
	assert_string_equal(cli.operands[1], "uname");
	assert_string_equal(cli.operands[2], "-a");
	assert_string_equal(cli.operands[3], "--");
	assert_string_equal(cli.operands[4], "--json");

	PARSES("run", "-");
	assert_string_equal(cli.operands[0], "-");
	PARSES("make", "thing", "--name", "--json"); /* a value may begin with dashes */
	assert_string_equal(cli_text(&cli, "name"), "--json");
}

/* Where a command says so; what is the short form of an option stays one. */
static void operands_may_begin_with_a_dash(void **state)
{
	struct cli cli;
	struct cli_problem problem;
	(void)state;
	PARSES("tag", "web", "+new", "-old", "-f", "-frank", "--uses", "3", "-", "--", "-f");
	assert_int_equal(cli.n_operands, 6);
	assert_string_equal(cli.operands[2], "-old");
	assert_string_equal(cli.operands[3], "-frank");
	assert_string_equal(cli.operands[4], "-");
	assert_string_equal(cli.operands[5], "-f");
	assert_true(cli_flag(&cli, "force"));
	assert_int_equal(cli_number(&cli, "uses"), 3);
	PARSES("tag", "-f", "web", "-x");
	assert_string_equal(cli.operands[1], "-x");
	REFUSES("tag", "-old", "web");
	SAYS("-old");
	REFUSES("tag", "web", "--old");
	SAYS("--old");
	REFUSES("run", "web", "-old");
}

static void words_of_the_router_are_operands(void **state)
{
	struct cli cli;
	struct cli_problem problem;
	(void)state;
	PARSES("map", "-all", "-map:TCP:0:x::80", "-n", "x", "-f", "--uses", "3", "-q");
	assert_int_equal(cli.n_operands, 2);
	assert_string_equal(cli.operands[0], "-all");
	assert_string_equal(cli.operands[1], "-map:TCP:0:x::80");
	assert_string_equal(cli_text(&cli, "name"), "x");
	assert_true(cli_flag(&cli, "force") && cli_flag(&cli, "quiet"));
	REFUSES("map", "--all");
	REFUSES("map", "-x");
	REFUSES("make", "-all");
}

static void mistakes_are_named(void **state)
{
	struct cli cli;
	struct cli_problem problem;
	(void)state;
	REFUSES("make", "x", "--nmae", "y");
	SAYS("unknown option --nmae");
	TRIES("did you mean --name?");
	REFUSES("make", "x", "--forec=1");
	SAYS("unknown option --forec");
	TRIES("--force?");
	REFUSES("--uses", "1", "make", "x");
	TRIES("behind its name");
	REFUSES("make", "x", "--zzzzzz");
	TRIES("murmesh help make");
	REFUSES("make", "x", "-x");
	SAYS("unknown option -x");
	REFUSES("make", "x", "-fq");
	SAYS("unknown option -fq");
	REFUSES("make", "x", "--name");
	SAYS("--name needs a value (NAME)");
	REFUSES("make", "x", "--force=yes");
	SAYS("takes no value");
	REFUSES("mkae", "x");
	SAYS("unknown command \"mkae\"");
	TRIES("murmesh make");
	REFUSES("frobnicate");
	TRIES("murmesh help");
	REFUSES("make");
	SAYS("missing");
	TRIES("murmesh make THING [MORE]");
	REFUSES("make", "1", "2", "3");
	SAYS("\"3\" is too much");
	REFUSES("--json", "run", "--jsonl");
	SAYS("exclude");
}

static void values_are_checked(void **state)
{
	struct cli cli;
	struct cli_problem problem;
	(void)state;
	REFUSES("make", "x", "--uses=1001");
	SAYS("--uses: \"1001\"");
	TRIES("from 0 to 1000");
	REFUSES("make", "x", "--big=-1");
	TRIES("digits");
	REFUSES("make", "x", "--uses", "");
	REFUSES("make", "x", "--ttl=5");
	SAYS("not a duration");
	TRIES("15m");
	REFUSES("make", "x", "--log=");
	SAYS("path is empty");
}

static void help_and_version_need_nothing_else(void **state)
{
	struct cli cli;
	struct cli_problem problem;
	(void)state;
	PARSES("make", "--help");
	PARSES("-V");
	assert_null(cli.command);
	PARSES("--help");
	assert_int_equal(parse(&cli, &problem, NULL), 0);
	assert_null(cli.command);
}

static void directory_is_that_of_the_user(void **state)
{
	struct cli cli;
	struct cli_problem problem;
	char path[64];
	(void)state;
	PARSES("--dir", "D", "run");
	assert_int_equal(cli_directory(&cli, path, sizeof path), 0);
	assert_string_equal(path, "D");
	assert_int_equal(cli_directory(&cli, path, 1), -E_TOO_LONG);

	PARSES("run");
	uid_t user = geteuid();
	if (user == 0) {
		assert_int_equal(cli_directory(&cli, path, sizeof path), 0);
		assert_string_equal(path, "/var/lib/murmesh");
		assert_int_equal(seteuid(65534), 0);
	}
	setenv("HOME", "/home/x", 1);
	setenv("XDG_DATA_HOME", "/data", 1);
	assert_int_equal(cli_directory(&cli, path, sizeof path), 0);
	assert_string_equal(path, "/data/murmesh");
	setenv("XDG_DATA_HOME", "relative", 1);
	assert_int_equal(cli_directory(&cli, path, sizeof path), 0);
	assert_string_equal(path, "/home/x/.local/share/murmesh");
	unsetenv("HOME");
	assert_int_equal(cli_directory(&cli, path, sizeof path), -E_NOT_FOUND);
	assert_int_equal(seteuid(user), 0);
}

static void directory_of_the_environment(void **state)
{
	struct cli cli;
	struct cli_problem problem;
	char path[64];
	(void)state;
	setenv("MURMESH_DIR", "/srv/mesh", 1);
	PARSES("run");
	assert_int_equal(cli_directory(&cli, path, sizeof path), 0);
	assert_string_equal(path, "/srv/mesh");
	assert_string_equal(cli_directory_named(&cli), "/srv/mesh");
	PARSES("run", "--dir", "/tmp/x");
	assert_int_equal(cli_directory(&cli, path, sizeof path), 0);
	assert_string_equal(path, "/tmp/x");
	setenv("MURMESH_DIR", "", 1);
	PARSES("run");
	assert_null(cli_directory_named(&cli));
	unsetenv("MURMESH_DIR");
}

static void guesses_are_near(void **state)
{
	static const struct {
		const char *word, *best;
	} rows[] = {
		{ "name", "name" },  { "nme", "name" },    { "nmae", "name" },
		{ "names", "name" }, { "namf", "name" },   { "na", "name" },
		{ "xyzw", NULL },    { "n", NULL },        { "", NULL },
		{ "flett", "flet" }, { "fl", "fleeting" }, { "a word that is much longer than any option can be", NULL },
	};
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct cli_guess guess = { rows[i].word, NULL, 0 };
		cli_guess(&guess, "fleeting");
		cli_guess(&guess, "name");
		cli_guess(&guess, "flet");
		if (rows[i].best) {
			assert_non_null(guess.best);
			assert_string_equal(guess.best, rows[i].best);
		} else
			assert_null(guess.best);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_have_types),
		cmocka_unit_test(defaults_hold),
		cmocka_unit_test(options_stand_anywhere_before_two_dashes),
		cmocka_unit_test(operands_may_begin_with_a_dash),
		cmocka_unit_test(words_of_the_router_are_operands),
		cmocka_unit_test(mistakes_are_named),
		cmocka_unit_test(values_are_checked),
		cmocka_unit_test(help_and_version_need_nothing_else),
		cmocka_unit_test(directory_of_the_environment),
		cmocka_unit_test(guesses_are_near),
		cmocka_unit_test(directory_is_that_of_the_user),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
