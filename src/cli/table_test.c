#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/fault.h"
#include "base/mem.h"
#include "cli/cli.h"

static const struct cli_column columns[] = {
	{ "id", CLI_COLUMN_VALUE, true }, { "name" }, { "online" }, { "bytes", CLI_COLUMN_NUMBER },
	{ "last_seen", CLI_COLUMN_TIME }, { 0 },
};

enum { NOW = 1800000000 }; /* 2027-01-15T08:00:00Z */

struct output {
	struct cli cli;
	struct cli_table table;
	char *text;
	size_t size;
};

static void begin(struct output *output, bool terminal, const char *option)
{
	static char *argv[4];
	struct cli_problem problem;
	argv[0] = argv[1] = (char *)(uintptr_t) "version";
	argv[2] = (char *)(uintptr_t)option;
	argv[3] = NULL;
	assert_int_equal(cli_parse(&output->cli, option ? 3 : 2, argv, &problem), 0);
	output->text = NULL;
	output->cli.out = open_memstream(&output->text, &output->size);
	output->cli.terminal = terminal;
	cli_table_begin(&output->table, &output->cli, columns);
	output->table.now = NOW;
}

static void row(struct output *output, const char *name, bool online, json_int_t bytes, json_t *last_seen)
{
	cli_table_row(&output->table, json_pack("{s:s, s:o, s:b, s:I, s:o}", "id", "07", "name", cli_json_text(str_from(name)),
	                                        "online", online, "bytes", bytes, "last_seen", last_seen));
}

static void ends_as(struct output *output, const char *wanted)
{
	assert_int_equal(cli_table_end(&output->table), 0);
	fclose(output->cli.out);
	assert_string_equal(output->text, wanted);
	free(output->text);
}

static void two_rows(struct output *output)
{
	row(output, "web02", true, 7, json_integer(NOW - 3));
	row(output, "b\xc3\xbcro-1", false, 123456, json_null());
}

static void terminal_is_aligned(void **state)
{
	struct output output;
	(void)state;
	begin(&output, true, NULL);
	two_rows(&output);
	ends_as(&output, "NAME    ONLINE   BYTES  LAST SEEN\n"
	                 "web02   yes          7  3 s ago\n"
	                 "b\xc3\xbcro-1  no      123456  -\n");
	begin(&output, true, NULL);
	ends_as(&output, "NAME  ONLINE  BYTES  LAST SEEN\n");
}

static void fractions_have_two_digits(void **state)
{
	struct output output;
	(void)state;
	begin(&output, false, "-q");
	cli_table_row(&output.table, json_pack("{s:s, s:s, s:b, s:f, s:n}", "id", "07", "name", "web02", "online", 1, "bytes",
	                                       1.256, "last_seen"));
	ends_as(&output, "name\tonline\tbytes\tlast_seen\nweb02\tyes\t1.26\t\n");
}

static void pipe_is_tab_separated(void **state)
{
	struct output output;
	(void)state;
	begin(&output, false, NULL);
	two_rows(&output);
	ends_as(&output, "name\tonline\tbytes\tlast_seen\n"
	                 "web02\tyes\t7\t2027-01-15T07:59:57Z\n"
	                 "b\xc3\xbcro-1\tno\t123456\t\n");
	begin(&output, false, NULL);
	ends_as(&output, "name\tonline\tbytes\tlast_seen\n");
}

static void json_has_all_members(void **state)
{
	struct output output;
	(void)state;
	begin(&output, false, "--json");
	two_rows(&output);
	ends_as(&output, "[\n"
	                 "{\"id\":\"07\",\"name\":\"web02\",\"online\":true,\"bytes\":7,\"last_seen\":\"2027-01-15T07:59:57Z\"},\n"
	                 "{\"id\":\"07\",\"name\":\"b\xc3\xbcro-1\",\"online\":false,\"bytes\":123456,\"last_seen\":null}\n"
	                 "]\n");
	begin(&output, false, "--json");
	ends_as(&output, "[]\n");
	begin(&output, true, "--jsonl");
	row(&output, "x", true, 1, json_null());
	row(&output, "y", true, 2, json_null());
	ends_as(&output, "{\"id\":\"07\",\"name\":\"x\",\"online\":true,\"bytes\":1,\"last_seen\":null}\n"
	                 "{\"id\":\"07\",\"name\":\"y\",\"online\":true,\"bytes\":2,\"last_seen\":null}\n");
}

static void hostile_text_stays_text(void **state)
{
	static const char *const hostile[] = { "a\tb\n\033[2Jc\xc2\x9b\xe2\x80\xae", "a\tb\n\033[2Jc\xff\xe2\x80\xae" };
	struct output output;
	(void)state;
	for (int i = 0; i < 4; i++) {
		begin(&output, i & 1, NULL);
		row(&output, hostile[i / 2], true, 1, json_null());
		assert_int_equal(cli_table_end(&output.table), 0);
		fclose(output.cli.out);
		const char *line = strchr(output.text, '\n') + 1;
		assert_non_null(strstr(line, "a\xef\xbf\xbd"
		                             "b\xef\xbf\xbd\xef\xbf\xbd[2Jc\xef\xbf\xbd\xef\xbf\xbd"));
		assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
		free(output.text);
	}
	begin(&output, true, "--jsonl"); /* a terminal gets ASCII only */
	row(&output,
	    "\xc2\x9b"
	    "2J\xe2\x80\xae",
	    true, 1, json_null());
	ends_as(&output, "{\"id\":\"07\",\"name\":\"\\u009B2J\\u202E\",\"online\":true,\"bytes\":1,\"last_seen\":null}\n");
}

static void lists_stand_in_one_cell(void **state)
{
	static const struct cli_column list_columns[] = { { "name" }, { "tags" }, { 0 } };
	struct output output;
	(void)state;
	static const struct {
		bool terminal;
		const char *option, *wanted;
	} forms[] = { { true, NULL, "NAME  TAGS\na     web,\xef\xbf\xbd[old\n-     -\n" },
		      { false, NULL, "name\ttags\na\tweb,\xef\xbf\xbd[old\n\t\n" },
		      { false, "--jsonl", "{\"name\":\"a\",\"tags\":[\"web\",\"\\u001B[old\"]}\n{\"name\":\"\",\"tags\":[]}\n" } };
	for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
		begin(&output, forms[i].terminal, forms[i].option);
		cli_table_end(&output.table);
		cli_table_begin(&output.table, &output.cli, list_columns);
		rewind(output.cli.out);
		cli_table_row(&output.table, json_pack("{s:s, s:[s,s]}", "name", "a", "tags", "web", "\033[old"));
		cli_table_row(&output.table, json_pack("{s:s, s:[]}", "name", "", "tags"));
		ends_as(&output, forms[i].wanted);
	}
}

static void ages_are_short(void **state)
{
	static const struct {
		int seconds;
		const char *age;
	} rows[] = { { 0, "0 s ago" },    { 59, "59 s ago" },    { 60, "1 min ago" },  { 3599, "59 min ago" },
		     { 3600, "1 h ago" }, { 86399, "23 h ago" }, { 86400, "1 d ago" }, { 86400 * 400, "400 d ago" },
		     { -5, "in 5 s" },    { -7200, "in 2 h" } };
	struct output output;
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		begin(&output, true, NULL);
		row(&output, "w", true, 1, json_integer(NOW - rows[i].seconds));
		assert_int_equal(cli_table_end(&output.table), 0);
		fclose(output.cli.out);
		assert_non_null(strstr(output.text, rows[i].age));
		free(output.text);
	}
}

static void release(void *ptr)
{
	mem_free(ptr);
}

/* Whichever allocation fails: an error, never a list that looks complete. */
static void lack_of_memory_is_told(void **state)
{
	static const struct {
		bool terminal;
		const char *option;
	} forms[] = { { true, NULL }, { false, NULL }, { false, "--json" }, { false, "--jsonl" } };
	(void)state;
	json_set_alloc_funcs(mem_alloc, release);
	for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
		struct output output;
		bool failed_once = false, reached = true;
		for (long n = 1; reached; n++) {
			begin(&output, forms[i].terminal, forms[i].option);
			fault_arm(n);
			row(&output, "web02", true, 7, json_integer(NOW));
			int err = cli_table_end(&output.table);
			reached = !fault_armed();
			fault_arm(0);
			fclose(output.cli.out);
			assert_true(err == 0 || err == -E_NO_MEMORY);
			failed_once |= err != 0;
			if (!reached)
				assert_int_equal(err, 0);
			if (err && forms[i].option && strcmp(forms[i].option, "--json") == 0)
				assert_null(strchr(output.text, ']'));
			free(output.text);
		}
		assert_true(failed_once);
	}
	json_set_alloc_funcs(malloc, free);
}

static void one_object_on_one_line(void **state)
{
	struct output output;
	(void)state;
	begin(&output, false, "--json");
	assert_int_equal(cli_json_line(&output.cli, json_pack("{s:s}", "join", "x")), 0);
	assert_int_equal(cli_json_line(&output.cli, NULL), -E_NO_MEMORY);
	output.table.format = CLI_TSV;
	output.table.n_rows = 1;
	ends_as(&output, "{\"join\":\"x\"}\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(terminal_is_aligned),     cmocka_unit_test(fractions_have_two_digits),
		cmocka_unit_test(pipe_is_tab_separated),   cmocka_unit_test(json_has_all_members),
		cmocka_unit_test(hostile_text_stays_text), cmocka_unit_test(lists_stand_in_one_cell),
		cmocka_unit_test(ages_are_short),          cmocka_unit_test(lack_of_memory_is_told),
		cmocka_unit_test(one_object_on_one_line),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
