#include "conf/value.h"

#include <arpa/inet.h>
#include <inttypes.h>

#define DURATION_MAX (3650 * UINT64_C(86400000))
#define STRING_MAX   4096 /* bytes */
#define LIST_MAX     1024 /* items */
#define HOST_MAX     253

static bool boolean_parse(struct str text, uint64_t *ret)
{
	static const char *const words[][4] = { { "off", "no", "false", "0" }, { "on", "yes", "true", "1" } };
	for (size_t value = 0; value < 2; value++)
		for (size_t i = 0; i < 4; i++)
			if (str_equal_nocase(text, str_from(words[value][i]))) {
				*ret = value;
				return true;
			}
	return false;
}

/* The form of a name or IPv4 address; whether it exists is found out when it is used. */
static bool is_host(struct str s)
{
	for (size_t i = 0; i < s.len; i++) {
		char c = s.ptr[i];
		bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
		if (!word && !str_has(STR(".-_"), c))
			return false;
	}
	return s.len && s.len <= HOST_MAX;
}

static bool is_v6(struct str s)
{
	char text[INET6_ADDRSTRLEN];
	struct in6_addr address;
	return str_copy(s, text, sizeof text) == 0 && inet_pton(AF_INET6, text, &address) == 1;
}

bool value_address(struct str text, struct conf_address *ret)
{
	bool v6 = str_starts(text, STR("["));
	struct str rest, host = v6 ? str_cut(str_skip(text, 1), ']', &rest) : str_cut(text, ':', &rest);
	uint64_t port = 0;
	rest = str_skip(text, host.len + (v6 ? 2 : 0));
	if (v6 ? !str_has(text, ']') || !is_v6(host) : !is_host(host))
		return false;
	if (rest.len && (rest.ptr[0] != ':' || str_to_u64(str_skip(rest, 1), UINT16_MAX, &port) < 0))
		return false;
	*ret = (struct conf_address){ host, (uint16_t)port, rest.len > 0 };
	return true;
}

struct str value_item(struct str *rest)
{
	return str_trim(str_cut(*rest, ',', rest));
}

static bool list_count(struct str text, uint64_t *ret)
{
	*ret = 0;
	for (bool more = true; more; ++*ret) {
		more = str_has(text, ',');
		if (!value_item(&text).len)
			return false;
	}
	return true;
}

static uint64_t type_maximum(const struct conf_option *option)
{
	static const uint64_t limits[] = {
		[CONF_STRING] = STRING_MAX,     [CONF_BOOLEAN] = 1,          [CONF_UNSIGNED] = UINT64_MAX, [CONF_PORT] = UINT16_MAX,
		[CONF_DURATION] = DURATION_MAX, [CONF_ADDRESS] = UINT64_MAX, [CONF_LIST] = LIST_MAX,
	};
	uint64_t most = limits[option->type];
	return option->maximum && option->maximum < most ? option->maximum : most;
}

/* What minimum and maximum are about. */
static bool measure(const struct conf_option *option, struct str text, uint64_t *ret)
{
	struct conf_address address;
	*ret = 0;
	switch (option->type) {
	case CONF_STRING:
		*ret = text.len;
		return true;
	case CONF_BOOLEAN:
		return boolean_parse(text, ret);
	case CONF_UNSIGNED:
	case CONF_PORT:
		return str_to_u64(text, UINT64_MAX, ret) == 0;
	case CONF_DURATION:
		return str_to_duration_ms(text, ret) == 0;
	case CONF_ADDRESS:
		return value_address(text, &address);
	case CONF_LIST:
		return list_count(text, ret);
	}
	return false;
}

bool value_parse(const struct conf_option *option, struct str text, uint64_t *ret_number)
{
	return measure(option, text, ret_number) && *ret_number >= option->minimum && *ret_number <= type_maximum(option);
}

static void duration_format(uint64_t ms, char out[24])
{
	static const struct {
		uint64_t ms;
		const char *unit;
	} units[] = { { 86400000, "d" }, { 3600000, "h" }, { 60000, "m" }, { 1000, "s" }, { 1, "ms" } };
	size_t i = 0;
	while (units[i].ms > 1 && (!ms || ms % units[i].ms))
		i++;
	snprintf(out, 24, "%" PRIu64 "%s", ms / units[i].ms, units[i].unit);
}

void value_wanted(const struct conf_option *option, char out[VALUE_WANTED_SIZE])
{
	char least[24], most[24];
	uint64_t minimum = option->minimum, maximum = type_maximum(option);
	switch (option->type) {
	case CONF_STRING:
		snprintf(out, VALUE_WANTED_SIZE, "a text of %" PRIu64 " to %" PRIu64 " bytes", minimum, maximum);
		break;
	case CONF_BOOLEAN:
		snprintf(out, VALUE_WANTED_SIZE, "On or Off, Yes or No, True or False, 1 or 0");
		break;
	case CONF_UNSIGNED:
	case CONF_PORT:
		snprintf(out, VALUE_WANTED_SIZE, "a number from %" PRIu64 " to %" PRIu64, minimum, maximum);
		break;
	case CONF_DURATION:
		duration_format(minimum, least);
		duration_format(maximum, most);
		snprintf(out, VALUE_WANTED_SIZE, "a duration from %s to %s (250ms, 90s, 15m, 12h, 7d)", least, most);
		break;
	case CONF_ADDRESS:
		snprintf(out, VALUE_WANTED_SIZE, "an address (host, host:port, [IPv6]:port)");
		break;
	case CONF_LIST:
		snprintf(out, VALUE_WANTED_SIZE, "a list of %" PRIu64 " to %" PRIu64 " values (a, b, c)", minimum, maximum);
		break;
	}
}
