#include <assert.h>
#include <stdarg.h>
#include <unistd.h>

#include "base/err.h"
#include "cli/cli.h"

const struct cli_option cli_global_options[] = {
	{ "dir", 0, "DIR", CLI_FILE,
	  "folder of the data (else $MURMESH_DIR; root: /var/lib/murmesh, others: ~/.local/share/murmesh)" },
	{ "server", 0, "HOST", CLI_TEXT, "the server, of those that you are logged in to (murmesh login)" },
	{ "json", 0, NULL, CLI_FLAG, "print JSON" },
	{ "jsonl", 0, NULL, CLI_FLAG, "print JSON, one object a line" },
	{ "quiet", 'q', NULL, CLI_FLAG, "print data and errors only" },
	{ "help", 'h', NULL, CLI_FLAG, "show the help of the command" },
	{ "version", 'V', NULL, CLI_FLAG, "show the version" },
	{ 0 },
};

__attribute__((format(printf, 3, 4))) static int refuse(struct cli_problem *problem, const char *remedy, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(problem->what, sizeof problem->what, format, arguments);
	va_end(arguments);
	snprintf(problem->remedy, sizeof problem->remedy, "%s", remedy);
	return -E_USAGE;
}

/* ---- values ---- */

static int value_set(struct cli_value *value, const char *text, struct cli_problem *reterr)
{
	const struct cli_option *option = value->option;
	uint64_t most = option->most ? option->most : UINT64_MAX;
	char remedy[sizeof reterr->remedy] = "give digits only";
	if (option->most)
		snprintf(remedy, sizeof remedy, "give a number from 0 to %llu", (unsigned long long)option->most);
	if (option->type == CLI_NUMBER && str_to_u64(str_from(text), most, &value->number) < 0)
		return refuse(reterr, remedy, "--%s: \"%s\" is not a number in the allowed range", option->name, text);
	if (option->type == CLI_DURATION && str_to_duration_ms(str_from(text), &value->number) < 0)
		return refuse(reterr, err_try(E_DURATION), "--%s: \"%s\" is not a duration", option->name, text);
	if (option->type == CLI_FILE && !*text)
		return refuse(reterr, "name a file or folder", "--%s: the path is empty", option->name);
	value->text = text;
	return 0;
}

static void options_add(struct cli *cli, const struct cli_option *options)
{
	struct cli_problem problem;
	for (const struct cli_option *option = options; option && option->name; option++) {
		assert(cli->n_values < CLI_OPTIONS_MAX);
		struct cli_value *value = &cli->values[cli->n_values++];
		value->option = option;
		if (option->fallback) {
			int err = value_set(value, option->fallback, &problem);
			assert(err == 0);
			(void)err;
		}
	}
}

static struct cli_value *value_by_name(struct cli *cli, struct str name)
{
	for (size_t i = 0; i < cli->n_values; i++)
		if (str_is(name, cli->values[i].option->name))
			return &cli->values[i];
	return NULL;
}

static struct cli_value *value_by_letter(struct cli *cli, char letter)
{
	for (size_t i = 0; i < cli->n_values; i++)
		if (cli->values[i].option->letter == letter)
			return &cli->values[i];
	return NULL;
}

/* ---- the command line ---- */

const struct cli_command *cli_command_find(const char *name)
{
	for (const struct cli_command *const *row = cli_commands, *command; (command = *row); row++)
		if (strcmp(command->name, name) == 0)
			return command;
	return NULL;
}

static int option_unknown(const struct cli *cli, const char *word, struct cli_problem *reterr)
{
	char typed[64], remedy[sizeof reterr->remedy] = "see `murmesh help`; options of a command stand behind its name";
	snprintf(typed, sizeof typed, "%.*s", (int)strcspn(word, "="), word);
	struct cli_guess guess = { typed + strspn(typed, "-"), NULL, 0 };
	for (size_t i = 0; i < cli->n_values; i++)
		cli_guess(&guess, cli->values[i].option->name);
	if (guess.best)
		snprintf(remedy, sizeof remedy, "did you mean --%s?", guess.best);
	else if (cli->command)
		snprintf(remedy, sizeof remedy, "see `murmesh help %s`; put -- before operands that begin with a dash",
		         cli->command->name);
	return refuse(reterr, remedy, "unknown option %s", typed);
}

/* Reads the option argv[*at], and its value, which may be the next word. */
static int option_take(struct cli *cli, char **argv, int *at, struct cli_problem *reterr)
{
	char *word = argv[*at];
	bool is_long = word[1] == '-';
	char *equals = is_long ? strchr(word, '=') : NULL;
	size_t name_len = equals ? (size_t)(equals - word - 2) : strlen(word) - 1 - is_long;
	struct cli_value *value = is_long         ? value_by_name(cli, (struct str){ word + 2, name_len })
	                          : name_len == 1 ? value_by_letter(cli, word[1])
	                                          : NULL;
	if (!value)
		return option_unknown(cli, word, reterr);
	if (!value->option->argument) {
		if (equals)
			return refuse(reterr, "leave out the = and what follows", "--%s takes no value", value->option->name);
		value->text = "";
		return 0;
	}
	if (!equals && !argv[*at + 1])
		return refuse(reterr, "", "--%s needs a value (%s)", value->option->name, value->option->argument);
	return value_set(value, equals ? equals + 1 : argv[++*at], reterr);
}

static int command_take(struct cli *cli, const char *name, struct cli_problem *reterr)
{
	const struct cli_command *command = cli_command_find(name);
	const char *nearest = cli_command_nearest(name);
	char remedy[sizeof reterr->remedy] = "see `murmesh help` for the commands";
	if (command) {
		cli->command = command;
		options_add(cli, command->options);
		return 0;
	}
	if (nearest)
		snprintf(remedy, sizeof remedy, "did you mean `murmesh %s`?", nearest);
	return refuse(reterr, remedy, "unknown command \"%.64s\"", name);
}

static int whole_check(const struct cli *cli, struct cli_problem *reterr)
{
	const struct cli_command *command = cli->command;
	char remedy[sizeof reterr->remedy];
	if (cli_flag(cli, "json") && cli_flag(cli, "jsonl"))
		return refuse(reterr, "choose one of them", "--json and --jsonl exclude each other");
	if (!command || cli_flag(cli, "help") || cli_flag(cli, "version"))
		return 0;
	snprintf(remedy, sizeof remedy, "write `murmesh %s%s%s`; see `murmesh help %s`", command->name, *command->usage ? " " : "",
	         command->usage, command->name);
	if (cli->n_operands < command->operands_least)
		return refuse(reterr, remedy, "%s: something is missing", command->name);
	if (command->operands_most != CLI_ANY && cli->n_operands > command->operands_most)
		return refuse(reterr, remedy, "%s: \"%.64s\" is too much", command->name, cli->operands[command->operands_most]);
	return 0;
}

static bool is_option(struct cli *cli, const char *word)
{
	if (word[0] != '-' || !word[1])
		return false;
	if (cli->command && cli->command->router_operands && word[1] != '-' && word[2])
		return false;
	bool takes_dashed = cli->command && cli->command->dashed_operands && cli->n_operands;
	return !takes_dashed || word[1] == '-' || (!word[2] && value_by_letter(cli, word[1]));
}

int cli_parse(struct cli *cli, int argc, char **argv, struct cli_problem *reterr)
{
	bool only_operands = false;
	int err = 0;
	*cli = (struct cli){ .operands = argv + (argc > 0) };
	options_add(cli, cli_global_options);
	for (int i = 1; i < argc && err == 0; i++) {
		if (!only_operands && strcmp(argv[i], "--") == 0)
			only_operands = true;
		else if (!only_operands && is_option(cli, argv[i]))
			err = option_take(cli, argv, &i, reterr);
		else if (!cli->command)
			err = command_take(cli, argv[i], reterr);
		else
			cli->operands[cli->n_operands++] = argv[i];
	}
	cli->operands[cli->n_operands] = NULL;
	return err ? err : whole_check(cli, reterr);
}

/* ---- getters ---- */

static const struct cli_value *value_get(const struct cli *cli, const char *name)
{
	for (size_t i = 0; i < cli->n_values; i++)
		if (strcmp(cli->values[i].option->name, name) == 0)
			return &cli->values[i];
	abort(); /* the command asks for an option that its table does not have */
}

bool cli_given(const struct cli *cli, const char *name)
{
	return value_get(cli, name)->text != NULL;
}

bool cli_flag(const struct cli *cli, const char *name)
{
	assert(value_get(cli, name)->option->type == CLI_FLAG);
	return cli_given(cli, name);
}

const char *cli_text(const struct cli *cli, const char *name)
{
	const struct cli_value *value = value_get(cli, name);
	assert(value->option->type == CLI_TEXT || value->option->type == CLI_FILE);
	return value->text;
}

uint64_t cli_number(const struct cli *cli, const char *name)
{
	assert(value_get(cli, name)->option->type == CLI_NUMBER);
	return value_get(cli, name)->number;
}

uint64_t cli_duration_ms(const struct cli *cli, const char *name)
{
	assert(value_get(cli, name)->option->type == CLI_DURATION);
	return value_get(cli, name)->number;
}

const char *cli_directory_named(const struct cli *cli)
{
	const char *named = cli_text(cli, "dir"), *usual = getenv("MURMESH_DIR");
	return named ? named : usual && *usual ? usual : NULL;
}

int cli_directory(const struct cli *cli, char *out, size_t size)
{
	const char *home = getenv("HOME"), *data = getenv("XDG_DATA_HOME"), *named = cli_directory_named(cli);
	int len;
	if (named)
		len = snprintf(out, size, "%s", named);
	else if (geteuid() == 0)
		len = snprintf(out, size, "/var/lib/murmesh");
	else if (data && data[0] == '/') /* the XDG base directory specification ignores relative ones */
		len = snprintf(out, size, "%s/murmesh", data);
	else if (home && home[0] == '/')
		len = snprintf(out, size, "%s/.local/share/murmesh", home);
	else
		return -E_NOT_FOUND;
	return (size_t)len < size ? 0 : -E_TOO_LONG;
}
