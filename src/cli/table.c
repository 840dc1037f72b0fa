#include <inttypes.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "cli/cli.h"
#include "os/clock.h"

enum { CELL_SIZE = 4096 }; /* longer texts are cut */

enum cli_format cli_format(const struct cli *cli)
{
	if (cli_flag(cli, "jsonl"))
		return CLI_JSONL;
	if (cli_flag(cli, "json"))
		return CLI_JSON;
	return cli->terminal ? CLI_TERMINAL : CLI_TSV;
}

void cli_table_begin(struct cli_table *table, const struct cli *cli, const struct cli_column *columns)
{
	*table = (struct cli_table){
		.out = cli->out,
		.format = cli_format(cli),
		.ascii = cli->terminal,
		.columns = columns,
		.now = clock_wall_s(),
	};
	while (columns[table->n_columns].key)
		table->n_columns++;
	if (table->format == CLI_TERMINAL)
		table->failed = !(table->rows = json_array());
}

/* ---- cells ---- */

static void age_format(int64_t seconds, char *out, size_t size)
{
	static const struct {
		int64_t seconds;
		const char *unit;
	} units[] = { { 86400, "d" }, { 3600, "h" }, { 60, "min" }, { 1, "s" } };
	int64_t distance = seconds < 0 ? -seconds : seconds;
	size_t i = 0;
	while (i < 3 && distance < units[i].seconds)
		i++;
	snprintf(out, size, "%s%" PRId64 " %s%s", seconds < 0 ? "in " : "", distance / units[i].seconds, units[i].unit,
	         seconds < 0 ? "" : " ago");
}

static void time_format(const struct cli_table *table, int64_t at, char *out, size_t size)
{
	char text[CLOCK_TEXT_SIZE];
	if (table->format == CLI_TERMINAL) {
		age_format(table->now - at, out, size);
		return;
	}
	clock_format(at, text);
	snprintf(out, size, "%s", text);
}

/* Texts of an array one behind the other, separated by commas. */
static void list_format(const json_t *list, char out[CELL_SIZE])
{
	char item[CELL_SIZE];
	size_t at, len = 0;
	json_t *value;
	json_array_foreach(list, at, value)
	{
		utf8_clean((struct str){ json_string_value(value), json_string_length(value) }, item, CELL_SIZE);
		len += (size_t)snprintf(out + len, CELL_SIZE - len, "%s%s", at ? "," : "", item);
		if (len >= CELL_SIZE)
			return;
	}
}

static void cell_format(const struct cli_table *table, const struct cli_column *column, const json_t *value, char out[CELL_SIZE])
{
	snprintf(out, CELL_SIZE, "%s", table->format == CLI_TERMINAL ? "-" : "");
	if (json_is_integer(value) && column->kind == CLI_COLUMN_TIME)
		time_format(table, json_integer_value(value), out, CELL_SIZE);
	else if (json_is_integer(value))
		snprintf(out, CELL_SIZE, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
	else if (json_is_real(value))
		snprintf(out, CELL_SIZE, "%.2f", json_real_value(value));
	else if (json_is_boolean(value))
		snprintf(out, CELL_SIZE, "%s", json_is_true(value) ? "yes" : "no");
	else if (json_array_size(value))
		list_format(value, out);
	else if (json_string_length(value) || (json_is_string(value) && table->format != CLI_TERMINAL))
		utf8_clean((struct str){ json_string_value(value), json_string_length(value) }, out, CELL_SIZE);
}

static void heading_format(const struct cli_table *table, const struct cli_column *column, char out[CELL_SIZE])
{
	snprintf(out, CELL_SIZE, "%s", column->key);
	for (char *c = out; table->format == CLI_TERMINAL && *c; c++)
		*c = *c == '_' ? ' ' : *c >= 'a' && *c <= 'z' ? (char)(*c - 'a' + 'A') : *c;
}

/* One line of the table; row NULL = the headings. */
static void cell_text(const struct cli_table *table, const struct cli_column *column, const json_t *row, char out[CELL_SIZE])
{
	if (row)
		cell_format(table, column, json_object_get(row, column->key), out);
	else
		heading_format(table, column, out);
}

/* ---- tab-separated values ---- */

static void tsv_line(const struct cli_table *table, const json_t *row)
{
	char cell[CELL_SIZE];
	const char *separator = "";
	for (size_t i = 0; i < table->n_columns; i++) {
		if (table->columns[i].json_only)
			continue;
		cell_text(table, &table->columns[i], row, cell);
		fprintf(table->out, "%s%s", separator, cell);
		separator = "\t";
	}
	fputc('\n', table->out);
}

/* ---- terminal ---- */

/* Characters, of which the usual ones are one column wide. */
static size_t text_width(const char *text)
{
	size_t width = 0;
	for (; *text; text++)
		width += ((unsigned char)*text & 0xc0) != 0x80;
	return width;
}

static void terminal_line(const struct cli_table *table, const json_t *row, const size_t *widths)
{
	char cell[CELL_SIZE];
	size_t gap = 0; /* blanks are written before the next cell, so that no line ends with them */
	for (size_t i = 0; i < table->n_columns; i++) {
		if (table->columns[i].json_only)
			continue;
		cell_text(table, &table->columns[i], row, cell);
		size_t padding = widths[i] - text_width(cell);
		bool right = table->columns[i].kind == CLI_COLUMN_NUMBER;
		fprintf(table->out, "%*s%s", (int)(gap + (right ? padding : 0)), "", cell);
		gap = 2 + (right ? 0 : padding);
	}
	fputc('\n', table->out);
}

static int terminal_print(const struct cli_table *table)
{
	char cell[CELL_SIZE];
	size_t at, *widths = mem_alloc_array(table->n_columns, sizeof *widths);
	json_t *row;
	if (!widths)
		return -E_NO_MEMORY;
	for (size_t i = 0; i < table->n_columns; i++) {
		cell_text(table, &table->columns[i], NULL, cell);
		widths[i] = text_width(cell);
		json_array_foreach(table->rows, at, row)
		{
			cell_text(table, &table->columns[i], row, cell);
			if (text_width(cell) > widths[i])
				widths[i] = text_width(cell);
		}
	}
	terminal_line(table, NULL, widths);
	json_array_foreach(table->rows, at, row) terminal_line(table, row, widths);
	mem_free(widths);
	return 0;
}

/* ---- JSON ---- */

static int times_to_text(const struct cli_table *table, json_t *row)
{
	char text[CLOCK_TEXT_SIZE];
	for (size_t i = 0; i < table->n_columns; i++) {
		const struct cli_column *column = &table->columns[i];
		json_t *value = json_object_get(row, column->key);
		if (column->kind != CLI_COLUMN_TIME || !json_is_integer(value))
			continue;
		time_format(table, json_integer_value(value), text, sizeof text);
		if (json_object_set_new(row, column->key, json_string(text)) < 0)
			return -E_NO_MEMORY;
	}
	return 0;
}

static int json_print(FILE *out, const json_t *value, bool ascii)
{
	/* In memory first: what goes wrong later is an error of the output, which main() reports. */
	char *text = json_dumps(value, JSON_COMPACT | (ascii ? JSON_ENSURE_ASCII : 0));
	if (!text)
		return -E_NO_MEMORY;
	fputs(text, out);
	free(text);
	return 0;
}

static int json_row(const struct cli_table *table, json_t *row)
{
	if (table->format == CLI_JSON)
		fputs(table->n_rows ? ",\n" : "[\n", table->out);
	int err = times_to_text(table, row);
	if (err == 0)
		err = json_print(table->out, row, table->ascii);
	if (table->format == CLI_JSONL)
		fputc('\n', table->out);
	return err;
}

/* ---- the table ---- */

void cli_table_row(struct cli_table *table, json_t *row)
{
	if (!row || table->failed) {
		table->failed = true;
		json_decref(row);
		return;
	}
	switch (table->format) {
	case CLI_TERMINAL:
		table->failed = json_array_append(table->rows, row) < 0;
		break;
	case CLI_TSV:
		if (!table->n_rows)
			tsv_line(table, NULL);
		tsv_line(table, row);
		break;
	case CLI_JSON:
	case CLI_JSONL:
		table->failed = json_row(table, row) < 0;
		break;
	}
	table->n_rows++;
	json_decref(row);
}

int cli_table_end(struct cli_table *table)
{
	if (table->format == CLI_TERMINAL && !table->failed)
		table->failed = terminal_print(table) < 0;
	else if (table->format == CLI_TSV && !table->n_rows)
		tsv_line(table, NULL);
	else if (table->format == CLI_JSON && !table->failed) /* what is not complete shall not look so */
		fputs(table->n_rows ? "\n]\n" : "[]\n", table->out);
	int err = table->failed ? -E_NO_MEMORY : 0;
	json_decref(table->rows);
	*table = (struct cli_table){ 0 };
	return err;
}

int cli_json_line(const struct cli *cli, json_t *object)
{
	int err = object ? json_print(cli->out, object, cli->terminal) : -E_NO_MEMORY;
	if (err == 0)
		fputc('\n', cli->out);
	json_decref(object);
	return err;
}

json_t *cli_json_text(struct str text)
{
	char clean[CELL_SIZE];
	if (utf8_valid(text))
		return json_stringn(text.ptr, text.len);
	return json_string(utf8_clean(text, clean, sizeof clean));
}
