#include <limits.h>

#include "base/err.h"
#include "cli/cli.h"
#include "cli/doctor.h"

static const struct cli_column columns[] = {
	{ "check" }, { "result" }, { "text" }, { "remedy" }, { 0 },
};

static const char *const result_names[] = { "ok", "warning", "failure" };

static enum doctor_result check_run(const struct doctor_check *check, const char *directory, struct cli_table *table)
{
	char text[DOCTOR_TEXT_SIZE] = "";
	enum doctor_result result = check->run(directory, text);
	cli_table_row(table, json_pack("{s:s, s:s, s:o, s:s?}", "check", check->name, "result", result_names[result], "text",
	                               cli_json_text(str_from(text)), "remedy", result == DOCTOR_OK ? NULL : check->remedy));
	return result;
}

static int run(const struct cli *cli)
{
	struct cli_table table;
	unsigned counts[3] = { 0 };
	char directory[PATH_MAX];
	int err = cli_directory(cli, directory, sizeof directory);
	if (err)
		return cli_fail(err, "no folder for the data: name one with --dir");
	cli_table_begin(&table, cli, columns);
	for (const struct doctor_check *check = doctor_checks; check->name; check++)
		counts[check_run(check, directory, &table)]++;
	err = cli_table_end(&table);
	if (err)
		return cli_fail(err, "the checks cannot be printed");
	cli_note(cli, "%u ok, %u warnings, %u failures", counts[DOCTOR_OK], counts[DOCTOR_WARNING], counts[DOCTOR_FAILURE]);
	return counts[DOCTOR_FAILURE] ? CLI_FAILED : CLI_OK;
}

static const struct cli_example examples[] = {
	{ "murmesh doctor", "what is wrong with this machine, and what to do" },
	{ "murmesh --dir /srv/mesh doctor --json", "the same for another folder, for a program" },
	{ 0 },
};

const struct cli_command command_doctor = { "doctor", "check this machine and its data folder", "", NULL, examples, run, 0, 0 };
