/* cli/cli.h: the frame of the command line program.
 *
 * A command is one file command_NAME.c that exports one `const struct cli_command command_NAME`, and one row in commands.c.
 * Help, completion, manual page and reference come from these structs.  Standard output is data, standard error the rest. */
#ifndef CLI_CLI_H
#define CLI_CLI_H
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/str.h"

enum cli_exit {
	CLI_OK = 0,
	CLI_FAILED = 1,
	CLI_USAGE = 2,
	CLI_NOT_FOUND = 3,
	CLI_NOT_PERMITTED = 4,
	CLI_UNREACHABLE = 5, /* the server */
	CLI_TIMEOUT = 6,
	CLI_SOME_FAILED = 7,
	CLI_INTERRUPTED = 130,
};

enum cli_type {
	CLI_FLAG,
	CLI_TEXT,
	CLI_NUMBER,   /* digits */
	CLI_DURATION, /* 90s, 15m, 12h, 7d (base/str.h) */
	CLI_FILE,     /* a path; not empty */
};

/* Lists of rows end with a row of zeros. */
struct cli_option {
	const char *name;     /* long form without the dashes */
	char letter;          /* short form; 0 = none */
	const char *argument; /* what help calls the value; NULL for a flag */
	enum cli_type type;
	const char *help;     /* a clause without full stop */
	const char *fallback; /* the default, as one would type it; NULL = none */
	uint64_t most;        /* the largest number; 0 = any */
};

struct cli_example {
	const char *line, *does;
};

struct cli;
struct cli_command {
	const char *name;
	const char *summary;                /* a clause without full stop, begins with a verb */
	const char *usage;                  /* the operands: "[COMMAND]"; words in lower case are to be typed: "bash|zsh|fish" */
	const struct cli_option *options;   /* NULL = none of its own */
	const struct cli_example *examples; /* at least one */
	int (*run)(const struct cli *cli);  /* returns the exit code */
	unsigned operands_least, operands_most;
	bool dashed_operands; /* "-web" is one, unless it is the short form of an option */
	bool router_operands; /* "-map:..." and "-all" are: words with one dash and more than one letter (cli/router.h) */
};
#define CLI_ANY 0xffffu /* operands_most: no limit */

/* commands.c: all commands in the order of the help; ends with NULL. */
extern const struct cli_command *const cli_commands[];

/* ---- options.c ---- */
extern const struct cli_option cli_global_options[];

#define CLI_OPTIONS_MAX 48 /* of one command, with the global ones */
struct cli_value {
	const struct cli_option *option;
	const char *text; /* borrowed from argv or the option's row; NULL = not given */
	uint64_t number;  /* of a number; milliseconds of a duration */
};

struct cli {
	const struct cli_command *command; /* NULL = no command given */
	char **operands;                   /* ends with NULL */
	size_t n_operands;
	struct cli_value values[CLI_OPTIONS_MAX];
	size_t n_values;
	FILE *out;     /* standard output */
	bool terminal; /* out is one */
};

const struct cli_command *cli_command_find(const char *name); /* NULL = unknown */

/* What is wrong with a command line, and what to do about it ("" = see the help). */
struct cli_problem {
	char what[256], remedy[256];
};

/* Parses a whole command line: options before and after operands until "--"; --name=value or --name value; of an option given
 * twice the last counts.  Reorders argv (whose strings it borrows).  Returns 0, or -E_USAGE with *reterr. */
int cli_parse(struct cli *cli, int argc, char **argv, struct cli_problem *reterr);

/* Values by the option's name.  A name that the command has not, or of another type, is an error in the program. */
bool cli_flag(const struct cli *cli, const char *name);
const char *cli_text(const struct cli *cli, const char *name); /* also of a file; NULL = not given and no default */
bool cli_given(const struct cli *cli, const char *name);       /* or has a default */
uint64_t cli_number(const struct cli *cli, const char *name);  /* 0 when not given */
uint64_t cli_duration_ms(const struct cli *cli, const char *name);

/* The folder of --dir, or else of $MURMESH_DIR, or else the user's own.  Returns 0, -E_TOO_LONG, or -E_NOT_FOUND (no HOME). */
int cli_directory(const struct cli *cli, char *out, size_t size);
const char *cli_directory_named(const struct cli *cli); /* by one of the first two; NULL = by neither */

/* ---- fail.c ---- */
enum cli_exit cli_exit_code(int err); /* of a negative or positive error code; 0 gives CLI_OK */
/* Prints "error: <format>", "why:   <text of err>", "try:   <next step>" on standard error; returns the exit code. */
int cli_fail(int err, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same where more is known than base/err.def says; NULL = what stands there. */
int cli_fail_because(int err, const char *why, const char *remedy, const char *format, ...) __attribute__((format(printf, 4, 5)));
/* A line on standard error for people; not with --quiet. */
void cli_note(const struct cli *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- confirm.c ---- */
/* Asks at the terminal unless the command's option --yes is given.  0, or the exit code; look: what to do where there is no terminal. */
int cli_confirm(const struct cli *cli, const char *question, const char *look);
/* A secret from a file or a pipe; "-" is standard input.  Appends to out, whose max is the limit. */
struct buf;
int cli_secret_read(const char *path, struct buf *out);

/* ---- guess.c: "did you mean" ---- */
struct cli_guess {
	const char *word; /* as typed */
	const char *best; /* the nearest candidate so far that is near enough; NULL = none */
	unsigned distance;
};
void cli_guess(struct cli_guess *guess, const char *candidate);
const char *cli_command_nearest(const char *name); /* the command that was perhaps meant; NULL = none is near */

/* ---- table.c: lists as output ----
 * On a terminal aligned columns, else tab-separated values under a line of keys; --json prints an array, --jsonl an object a
 * line.  Only the terminal form keeps the rows until the end. */
struct cli_column {
	const char *key; /* of the JSON object; "last_seen" has the heading LAST SEEN */
	enum cli_column_kind {
		CLI_COLUMN_VALUE,  /* text, number, boolean, or an array of texts ("web,old") */
		CLI_COLUMN_NUMBER, /* aligned to the right */
		CLI_COLUMN_TIME,   /* integer, seconds since 1970: "3 s ago" on a terminal, else RFC 3339 */
	} kind;
	bool json_only;
};

enum cli_format { CLI_TERMINAL, CLI_TSV, CLI_JSON, CLI_JSONL };
enum cli_format cli_format(const struct cli *cli);

struct cli_table {
	FILE *out;
	enum cli_format format;
	bool ascii; /* JSON escapes all else: a terminal might act on it */
	const struct cli_column *columns;
	size_t n_columns, n_rows;
	json_t *rows; /* of the terminal form */
	int64_t now;  /* seconds since 1970 */
	bool failed;
};

/* columns end with a row of zeros and must live until the end. */
void cli_table_begin(struct cli_table *table, const struct cli *cli, const struct cli_column *columns);
/* Takes over row: an object with a member for every column (json null = not known); NULL counts as lack of memory. */
void cli_table_row(struct cli_table *table, json_t *row);
/* Returns 0, or -E_NO_MEMORY when a row was lost.  The table is then empty and owns nothing. */
int cli_table_end(struct cli_table *table);

/* One JSON object on one line; takes it over.  Returns 0 or -E_NO_MEMORY (object is NULL). */
int cli_json_line(const struct cli *cli, json_t *object);
/* Text from elsewhere as a JSON string: as it is, or cleaned when it is not valid UTF-8.  NULL when memory is short. */
json_t *cli_json_text(struct str text);

/* ---- help.c, manual.c ---- */
void cli_option_form(const struct cli_option *option, char *out, size_t size); /* "-q, --quiet" or "--dir DIR" */
void cli_help_overview(FILE *out);
void cli_help_command(FILE *out, const struct cli_command *command);
void cli_manual_markdown(FILE *out);
void cli_manual_troff(FILE *out); /* for man(1) */
#endif
