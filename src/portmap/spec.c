#include "portmap/spec.h"

#include "base/err.h"
#include "base/utf8.h"
#include "os/socket.h"

#define RDP_PORT 3389

/* What is not yet read, and the first mistake found. */
struct cursor {
	struct str rest;
	const char *wrong_at;
	const char *reason; /* NULL = none so far */
};

static bool refuse(struct cursor *cursor, const char *at, const char *reason)
{
	cursor->wrong_at = at;
	cursor->reason = reason;
	return false;
}

/* Cuts the next field, which another one must follow; `next_missing` says so when none does. */
static bool field_take(struct cursor *cursor, struct str *ret, const char *next_missing)
{
	struct str all = cursor->rest;
	*ret = str_cut(all, ':', &cursor->rest);
	if (ret->len == all.len)
		return refuse(cursor, all.ptr + all.len, next_missing);
	return true;
}

static bool text_copy(struct cursor *cursor, struct str text, char *out, size_t size, const char *too_long)
{
	for (size_t i = 0; i < text.len; i++)
		if ((unsigned char)text.ptr[i] < 0x20 || text.ptr[i] == 0x7f || text.ptr[i] == '"')
			return refuse(cursor, text.ptr + i, "this character is not allowed here");
	if (!utf8_valid(text))
		return refuse(cursor, text.ptr, "this is not valid UTF-8");
	return str_copy(text, out, size) == 0 || refuse(cursor, text.ptr, too_long);
}

static bool protocol_take(struct cursor *cursor, enum map_protocol *ret)
{
	static const struct str names[] = { [MAP_TCP] = STR("TCP"), [MAP_UDP] = STR("UDP"), [MAP_BOTH] = STR("RDP") };
	struct str field = str_cut(cursor->rest, ':', &(struct str){ 0 });
	for (enum map_protocol i = MAP_TCP; i <= MAP_BOTH; i++)
		if (str_equal_nocase(field, names[i])) {
			*ret = i;
			return field_take(cursor, &field, "the local port is missing");
		}
	return refuse(cursor, field.ptr, "the protocol must be TCP, UDP or RDP");
}

/* PORT or FIRST-LAST; wrong: why what is no number is none. */
static bool ports_take(struct cursor *cursor, struct str text, const char *wrong, uint16_t *ret_first, uint16_t *ret_count)
{
	struct str last_text, first_text = str_cut(text, '-', &last_text);
	bool range = first_text.len < text.len;
	uint64_t first, last;
	if (str_to_u64(first_text, UINT16_MAX, &first) < 0)
		return refuse(cursor, first_text.ptr, wrong);
	if (range && (first == 0 || str_to_u64(last_text, UINT16_MAX, &last) < 0))
		return refuse(cursor, first ? last_text.ptr : first_text.ptr, wrong);
	if (!range)
		last = first;
	if (last < first)
		return refuse(cursor, last_text.ptr, "a range ends with its highest port");
	if (last - first >= MAP_RANGE_MAX)
		return refuse(cursor, first_text.ptr, "a range has at most 1024 ports");
	*ret_first = (uint16_t)first;
	*ret_count = (uint16_t)(last - first + 1);
	return true;
}

static bool local_ports_take(struct cursor *cursor, uint16_t *ret_first, uint16_t *ret_count)
{
	struct str field = str_cut(cursor->rest, ':', &(struct str){ 0 });
	return ports_take(cursor, field, "the local port must be a number from 0 (any free one) to 65535, or a range as 8000-8003",
	                  ret_first, ret_count) &&
	       field_take(cursor, &field, "the device is missing");
}

/* A name in quotes: reads it with the colon behind it. */
static bool quoted_take(struct cursor *cursor, struct str *ret)
{
	struct str all = cursor->rest, rest, empty;
	*ret = str_cut(str_skip(all, 1), '"', &rest);
	if (ret->len == all.len - 1)
		return refuse(cursor, all.ptr, "the closing quote is missing");
	cursor->rest = rest;
	if (rest.len && rest.ptr[0] != ':')
		return refuse(cursor, rest.ptr, "a colon must follow the closing quote");
	return field_take(cursor, &empty, "the app is missing (leave it empty with two colons)");
}

static bool device_take(struct cursor *cursor, char out[MAP_DEVICE_SIZE])
{
	struct str field;
	const char *start = cursor->rest.ptr;
	bool quoted = cursor->rest.len && start[0] == '"';
	if (quoted ? !quoted_take(cursor, &field)
	           : !field_take(cursor, &field, "the app is missing (leave it empty with two colons)"))
		return false;
	if (!field.len)
		return refuse(cursor, start, "the device has no name");
	return text_copy(cursor, field, out, MAP_DEVICE_SIZE, "the device's name is too long");
}

static bool app_take(struct cursor *cursor, enum map_protocol protocol, char out[MAP_APP_SIZE])
{
	static const struct str known[] = { STR("HTTP"), STR("HTTPS"), STR("RDP"), STR("PuTTY"), STR("WinSCP") };
	struct str field;
	if (!field_take(cursor, &field, "the remote port is missing"))
		return false;
	if (protocol == MAP_UDP && field.len)
		return refuse(cursor, field.ptr, "a UDP map has no app; leave it empty");
	for (size_t i = 0; i < sizeof known / sizeof *known; i++)
		if (str_equal_nocase(field, known[i]))
			field = known[i];
	return text_copy(cursor, field, out, MAP_APP_SIZE, "the app's name is too long");
}

static bool address_valid(struct str host)
{
	struct socket_address address;
	return socket_address_parse(host, 0, &address) == 0;
}

static bool label_valid(struct str label)
{
	return name_valid(label) && label.ptr[label.len - 1] != '-';
}

/* A name whose last part is a number can only be meant as an IPv4 address. */
static bool host_valid(struct str host)
{
	struct str last, rest = host;
	uint64_t number;
	str_cut_last(host, '.', &last);
	if (str_to_u64(last, UINT64_MAX, &number) == 0)
		return address_valid(host);
	while (rest.len)
		if (!label_valid(str_cut(rest, '.', &rest)))
			return false;
	return host.len > 0;
}

static bool bracketed_take(struct cursor *cursor, struct str *ret)
{
	struct str all = cursor->rest, rest, empty;
	*ret = str_cut(str_skip(all, 1), ']', &rest);
	if (ret->len == all.len - 1)
		return refuse(cursor, all.ptr, "the closing bracket is missing");
	if (!str_has(*ret, ':') || !address_valid(*ret))
		return refuse(cursor, ret->ptr, "this is not an IPv6 address");
	cursor->rest = rest;
	if (rest.len && rest.ptr[0] != ':')
		return refuse(cursor, rest.ptr, "a colon must follow the closing bracket");
	return field_take(cursor, &empty, "the remote port is missing");
}

static bool host_take(struct cursor *cursor, struct str *ret)
{
	if (cursor->rest.ptr[0] == '[')
		return bracketed_take(cursor, ret);
	if (!field_take(cursor, ret, "the remote port is missing"))
		return false;
	if (str_has(cursor->rest, ':'))
		return refuse(cursor, ret->ptr, "there are too many fields; write an IPv6 address in brackets");
	return host_valid(*ret) || refuse(cursor, ret->ptr, "the remote host must be a name or an address");
}

static bool remote_ports_take(struct cursor *cursor, struct map_spec *ret)
{
	static const char wrong[] = "the remote port must be a number from 1 to 65535, or a range as 8000-8003";
	uint16_t count;
	if (!ports_take(cursor, cursor->rest, wrong, &ret->port, &count))
		return false;
	if (ret->port == 0)
		return refuse(cursor, cursor->rest.ptr, wrong);
	if (ret->local_port == 0)
		ret->count = count;
	return count == ret->count ||
	       refuse(cursor, cursor->rest.ptr, "the ranges of local and remote ports must be of the same length");
}

/* [HOST:]PORT, up to the end. */
static bool target_take(struct cursor *cursor, bool relay_allowed, struct map_spec *ret)
{
	struct str host = { 0 };
	if (str_has(cursor->rest, ':') || (cursor->rest.len && cursor->rest.ptr[0] == '[')) {
		if (!relay_allowed)
			return refuse(cursor, cursor->rest.ptr, "only a relay map names a remote host");
		if (!host_take(cursor, &host))
			return false;
		if (str_copy(host, ret->host, sizeof ret->host) < 0)
			return refuse(cursor, host.ptr, "the remote host's name is too long");
	}
	return remote_ports_take(cursor, ret);
}

/* DEVICE[:[HOST:]PORT] */
static bool rdp_take(struct cursor *cursor, bool relay_allowed, struct map_spec *ret)
{
	struct str all = cursor->rest;
	bool quoted = all.len && all.ptr[0] == '"';
	struct str device = str_cut(str_skip(all, quoted), quoted ? '"' : ':', &cursor->rest);
	bool alone = device.len + 2 * quoted == all.len;
	str_copy(STR("RDP"), ret->app, sizeof ret->app);
	if (!alone)
		cursor->rest = all;
	if (!alone && !device_take(cursor, ret->device))
		return false;
	if (!alone)
		return target_take(cursor, relay_allowed, ret);
	ret->port = RDP_PORT;
	if (!device.len)
		return refuse(cursor, all.ptr, "the device has no name");
	if (ret->count != 1)
		return refuse(cursor, all.ptr + all.len, "the remote ports are missing");
	return text_copy(cursor, device, ret->device, sizeof ret->device, "the device's name is too long");
}

static int fail(const struct cursor *cursor, struct str text, unsigned *reterr_column, const char **reterr_reason)
{
	*reterr_column = (unsigned)(cursor->wrong_at - text.ptr) + 1;
	*reterr_reason = cursor->reason;
	return -E_MAP_SPEC;
}

int map_spec_parse(struct str text, bool relay_allowed, struct map_spec *ret, unsigned *reterr_column, const char **reterr_reason)
{
	struct cursor cursor = { text, NULL, NULL };
	struct map_spec spec = { 0 };
	bool good = protocol_take(&cursor, &spec.protocol) && local_ports_take(&cursor, &spec.local_port, &spec.count);
	if (good && spec.protocol == MAP_BOTH)
		good = rdp_take(&cursor, relay_allowed, &spec);
	else if (good)
		good = device_take(&cursor, spec.device) && app_take(&cursor, spec.protocol, spec.app) &&
		       target_take(&cursor, relay_allowed, &spec);
	if (good) {
		*ret = spec;
		return 0;
	}
	return fail(&cursor, text, reterr_column, reterr_reason);
}

bool map_host_valid(struct str host)
{
	return host.len < MAP_HOST_SIZE && (address_valid(host) || host_valid(host));
}

int map_target_parse(struct str text, char ret_host[MAP_HOST_SIZE], uint16_t *ret_port, unsigned *reterr_column,
                     const char **reterr_reason)
{
	struct cursor cursor = { text, NULL, NULL };
	struct map_spec spec = { .local_port = 1, .count = 1 }; /* no range */
	if (!target_take(&cursor, true, &spec))
		return fail(&cursor, text, reterr_column, reterr_reason);
	memcpy(ret_host, spec.host, sizeof spec.host);
	*ret_port = spec.port;
	return 0;
}
