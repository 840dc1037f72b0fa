#include <assert.h>
#include <stdarg.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "conf/own.h"
#include "conf/suggest.h"
#include "conf/value.h"

#define SHOWN_SIZE 64 /* of a stranger's word in a message */

struct parser {
	struct conf *conf;
	const char *name;
	unsigned line;
	const char *section;
	char *error; /* CONF_ERROR_SIZE bytes */
};

__attribute__((format(printf, 2, 3))) static int fail(struct parser *parser, const char *format, ...)
{
	va_list args;
	int len = snprintf(parser->error, CONF_ERROR_SIZE, "%s:%u: ", parser->name, parser->line);
	if (len > 0 && len < CONF_ERROR_SIZE) {
		va_start(args, format);
		vsnprintf(parser->error + len, CONF_ERROR_SIZE - (size_t)len, format, args);
		va_end(args);
	}
	return -E_CONFIG;
}

/* " (did you mean "X"?)", or nothing. */
static void meant(const struct suggestion *suggestion, char out[SHOWN_SIZE + 24])
{
	out[0] = 0;
	if (suggestion->nearest)
		snprintf(out, SHOWN_SIZE + 24, " (did you mean \"%s\"?)", suggestion->nearest);
}

static int unknown_section(struct parser *parser, struct str name)
{
	const struct conf_table *table = parser->conf->table;
	struct suggestion suggestion = { name };
	char shown[SHOWN_SIZE], hint[SHOWN_SIZE + 24];
	for (size_t i = 0; i < table->count; i++)
		suggest(&suggestion, table->options[i].section);
	meant(&suggestion, hint);
	return fail(parser, "unknown section \"%s\"%s", utf8_clean(name, shown, sizeof shown), hint);
}

static int unknown_key(struct parser *parser, struct str key)
{
	const struct conf_table *table = parser->conf->table;
	struct suggestion suggestion = { key };
	char shown[SHOWN_SIZE], hint[SHOWN_SIZE + 24];
	for (size_t i = 0; i < table->count; i++)
		if (strcmp(table->options[i].section, parser->section) == 0)
			suggest(&suggestion, table->options[i].key);
	meant(&suggestion, hint);
	return fail(parser, "unknown key \"%s\" in [%s]%s", utf8_clean(key, shown, sizeof shown), parser->section, hint);
}

static int section_parse(struct parser *parser, struct str line)
{
	const struct conf_table *table = parser->conf->table;
	if (line.ptr[line.len - 1] != ']')
		return fail(parser, "a section is written [Name], with nothing behind it");
	struct str name = str_trim((struct str){ line.ptr + 1, line.len - 2 });
	for (size_t i = 0; i < table->count; i++)
		if (str_is(name, table->options[i].section)) {
			parser->section = table->options[i].section;
			return 0;
		}
	return unknown_section(parser, name);
}

static int value_set(struct conf_value *value, struct str text)
{
	char *copy = mem_copy_string(text.ptr, text.len);
	if (!copy)
		return -E_NO_MEMORY;
	mem_free(value->text);
	value->text = copy;
	return 0;
}

static int option_parse(struct parser *parser, size_t n, struct str text)
{
	const struct conf_option *option = &parser->conf->table->options[n];
	struct conf_value *value = &parser->conf->values[n];
	char shown[SHOWN_SIZE], wanted[VALUE_WANTED_SIZE];
	uint64_t number;
	if (value->line)
		return fail(parser, "%s is already set in line %u", option->key, value->line);
	value->line = parser->line;
	if (!text.len)
		return 0;
	if (!value_parse(option, text, &number)) {
		value_wanted(option, wanted);
		return fail(parser, "%s: \"%s\" is not %s", option->key, utf8_clean(text, shown, sizeof shown), wanted);
	}
	value->number = number;
	return value_set(value, text);
}

static int key_parse(struct parser *parser, struct str line)
{
	const struct conf_table *table = parser->conf->table;
	struct str text, key = str_trim(str_cut(line, '=', &text));
	if (!key.len || !str_has(line, '='))
		return fail(parser, "a line is written Key = value");
	for (size_t i = 0; i < table->count; i++)
		if (strcmp(table->options[i].section, parser->section) == 0 && str_is(key, table->options[i].key))
			return option_parse(parser, i, str_trim(text));
	return unknown_key(parser, key);
}

static bool is_text(struct str line)
{
	for (size_t i = 0; i < line.len; i++)
		if (((unsigned char)line.ptr[i] < ' ' && line.ptr[i] != '\t') || line.ptr[i] == 0x7f)
			return false;
	return true;
}

static int line_parse(struct parser *parser, struct str line)
{
	if (line.len && line.ptr[line.len - 1] == '\r')
		line.len--;
	if (!is_text(line))
		return fail(parser, "a control character; this is not a text file");
	if (!utf8_valid(line))
		return fail(parser, "%s", err_text(E_UTF8));
	line = str_trim(line);
	if (!line.len || line.ptr[0] == '#' || line.ptr[0] == ';')
		return 0;
	return line.ptr[0] == '[' ? section_parse(parser, line) : key_parse(parser, line);
}

static int lines_parse(struct parser *parser, struct str bytes)
{
	int err = 0;
	if (str_starts(bytes, STR("\xef\xbb\xbf")))
		bytes = str_skip(bytes, 3);
	while (err == 0 && bytes.len) {
		struct str line = str_cut(bytes, '\n', &bytes);
		parser->line++;
		err = line_parse(parser, line);
	}
	return err;
}

static int defaults_set(struct conf *conf)
{
	int err = 0;
	for (size_t i = 0; err == 0 && i < conf->table->count; i++) {
		const struct conf_option *option = &conf->table->options[i];
		if (!option->initial)
			continue;
		bool fits = value_parse(option, str_from(option->initial), &conf->values[i].number);
		assert(fits); /* a mistake in the table */
		err = value_set(&conf->values[i], str_from(option->initial));
	}
	return err;
}

int conf_parse(struct str bytes, const char *name, const struct conf_table *table, struct conf **ret, char error[CONF_ERROR_SIZE])
{
	struct conf *conf = mem_alloc(sizeof *conf + table->count * sizeof *conf->values);
	if (!conf)
		return -E_NO_MEMORY;
	conf->table = table;
	struct parser parser = { .conf = conf, .name = name, .section = table->own_section, .error = error };
	int err = defaults_set(conf);
	if (err == 0)
		err = lines_parse(&parser, bytes);
	if (err < 0) {
		conf_free(conf);
		return err;
	}
	*ret = conf;
	return 0;
}

struct conf *conf_free(struct conf *conf)
{
	for (size_t i = 0; conf && i < conf->table->count; i++)
		mem_free(conf->values[i].text);
	return mem_free(conf);
}
