#include <assert.h>

#include "base/mem.h"
#include "conf/own.h"
#include "conf/value.h"

/* NULL: no such option. */
static const struct conf_value *find(const struct conf *conf, const char *section, const char *key, const struct conf_option **ret)
{
	for (size_t i = 0; i < conf->table->count; i++) {
		const struct conf_option *option = &conf->table->options[i];
		if (strcmp(option->section, section) == 0 && strcmp(option->key, key) == 0) {
			*ret = option;
			return &conf->values[i];
		}
	}
	return NULL;
}

static const struct conf_value *get(const struct conf *conf, const char *section, const char *key, enum conf_type type)
{
	const struct conf_option *option;
	const struct conf_value *value = find(conf, section, key, &option);
	assert(value && option->type == type);
	return value;
}

bool conf_is_set(const struct conf *conf, const char *section, const char *key)
{
	const struct conf_option *option;
	const struct conf_value *value = find(conf, section, key, &option);
	assert(value);
	return value->text;
}

const char *conf_string(const struct conf *conf, const char *section, const char *key)
{
	return get(conf, section, key, CONF_STRING)->text;
}

bool conf_boolean(const struct conf *conf, const char *section, const char *key)
{
	return get(conf, section, key, CONF_BOOLEAN)->number;
}

uint64_t conf_unsigned(const struct conf *conf, const char *section, const char *key)
{
	return get(conf, section, key, CONF_UNSIGNED)->number;
}

uint16_t conf_port(const struct conf *conf, const char *section, const char *key)
{
	return (uint16_t)get(conf, section, key, CONF_PORT)->number;
}

uint64_t conf_duration_ms(const struct conf *conf, const char *section, const char *key)
{
	return get(conf, section, key, CONF_DURATION)->number;
}

bool conf_address(const struct conf *conf, const char *section, const char *key, struct conf_address *ret)
{
	const char *text = get(conf, section, key, CONF_ADDRESS)->text;
	return text && value_address(str_from(text), ret);
}

bool conf_list_item(const struct conf *conf, const char *section, const char *key, size_t n, struct str *ret)
{
	struct str rest = str_from(get(conf, section, key, CONF_LIST)->text);
	for (; rest.len; n--) {
		struct str item = value_item(&rest);
		if (n == 0) {
			*ret = item;
			return true;
		}
	}
	return false;
}
