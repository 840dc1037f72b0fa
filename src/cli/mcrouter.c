#include "cli/mcrouter.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/utf8.h"
#include "os/file.h"

#define FILE_MAX ((size_t)1 << 20)

/* Their numbers are the format's. */
static const char *const apps[] = { "", "HTTP", "HTTPS", "RDP", "PuTTY", "WinSCP" };
enum { APPS = sizeof apps / sizeof *apps, TCP = 1, UDP = 2 };

bool mcrouter_is(const char *path)
{
	static const struct str end = STR(".mcrouter");
	size_t len = strlen(path);
	return len > end.len && str_equal_nocase(str_from(path + len - end.len), end);
}

/* ---- reading ---- */

static bool text_get(const json_t *object, const char *name, char *out, size_t size)
{
	const json_t *value = json_object_get(object, name);
	if (!value || json_is_null(value)) {
		*out = 0;
		return true;
	}
	struct str text = { json_string_value(value), json_string_length(value) };
	if (!text.ptr || !utf8_valid(text))
		return false;
	for (size_t i = 0; i < text.len; i++)
		if ((unsigned char)text.ptr[i] < 0x20 || text.ptr[i] == 0x7f)
			return false;
	return str_copy(text, out, size) == 0;
}

static bool number_get(const json_t *object, const char *name, json_int_t least, json_int_t most, json_int_t *ret)
{
	const json_t *value = json_object_get(object, name);
	*ret = json_integer_value(value);
	return json_is_integer(value) && *ret >= least && *ret <= most;
}

static const char *device_get(const json_t *object, struct map_spec *spec)
{
	struct id id;
	char node[256];
	if (!text_get(object, "nodeId", node, sizeof node) || !text_get(object, "nodeName", spec->device, sizeof spec->device))
		return "nodeName or nodeId is no such text";
	if (id_parse(str_from(node), &id) == 0)
		str_copy(str_from(node), spec->device, sizeof spec->device);
	return spec->device[0] ? NULL : "nodeName is missing";
}

static const char *app_get(const json_t *object, struct map_spec *spec)
{
	json_int_t app = 0;
	if (json_object_get(object, "appId") && !number_get(object, "appId", 0, APPS - 1, &app))
		return "appId is none from 0 to 5";
	if (!text_get(object, "appIdStr", spec->app, sizeof spec->app))
		return "appIdStr is no such text";
	if (app)
		str_copy(str_from(apps[app]), spec->app, sizeof spec->app);
	return NULL;
}

/* What is wrong; NULL = nothing. */
static const char *map_get(const json_t *object, struct map_spec *ret)
{
	json_int_t protocol, local, port;
	*ret = (struct map_spec){ .count = 1 };
	if (!json_is_object(object))
		return "it is no object";
	const char *wrong = device_get(object, ret);
	if (!wrong)
		wrong = app_get(object, ret);
	if (wrong)
		return wrong;
	if (!number_get(object, "protocol", TCP, UDP, &protocol))
		return "protocol must be 1 (TCP) or 2 (UDP)";
	if (!number_get(object, "localPort", 0, UINT16_MAX, &local))
		return "localPort must be 0 to 65535";
	if (!number_get(object, "remotePort", 1, UINT16_MAX, &port))
		return "remotePort must be 1 to 65535";
	if (!text_get(object, "remoteIP", ret->host, sizeof ret->host) || (ret->host[0] && !map_host_valid(str_from(ret->host))))
		return "remoteIP is neither a name nor an address";
	ret->protocol = protocol == UDP ? MAP_UDP : MAP_TCP;
	ret->local_port = (uint16_t)local;
	ret->port = (uint16_t)port;
	return NULL;
}

static int refuse(const char *path, size_t number, const char *wrong)
{
	char why[200] = "";
	if (number)
		snprintf(why, sizeof why, "map %zu: ", number);
	snprintf(why + strlen(why), sizeof why - strlen(why), "%s", wrong);
	return cli_fail_because(-E_JSON, why, "correct it, or write a new one with `murmesh map --write FILE.mcrouter`",
	                        "the file %s cannot be used", path);
}

static int whole_get(const char *path, const json_t *whole, struct mcrouter *file)
{
	const json_t *maps = json_object_get(whole, "mappings");
	if (!json_is_array(maps))
		return refuse(path, 0, "there are no mappings in it");
	if (json_array_size(maps) > MCROUTER_MAPS - file->n)
		return refuse(path, 0, "there are more than 256 mappings");
	if (!text_get(whole, "hostname", file->host, sizeof file->host) ||
	    !text_get(whole, "username", file->user, sizeof file->user))
		return refuse(path, 0, "hostname or username is no such text");
	for (size_t i = 0; i < json_array_size(maps); i++) {
		const json_t *map = json_array_get(maps, i);
		const char *wrong = map_get(map, &file->maps[file->n]);
		if (!wrong && !text_get(map, "name", file->labels[file->n], sizeof *file->labels))
			wrong = "name is no such text";
		if (wrong)
			return refuse(path, i + 1, wrong);
		file->n++;
	}
	return CLI_OK;
}

int mcrouter_read(const char *path, struct mcrouter *file)
{
	json_error_t error;
	struct buf text;
	char wrong[160];
	buf_init(&text, FILE_MAX);
	int err = file_read(path, &text);
	struct str bytes = buf_str(&text);
	if (str_starts(bytes, STR("\xef\xbb\xbf")))
		bytes = str_skip(bytes, 3);
	json_t *whole = err == 0 ? json_loadb(bytes.len ? bytes.ptr : "", bytes.len, JSON_REJECT_DUPLICATES, &error) : NULL;
	buf_done(&text);
	if (err < 0)
		return cli_fail(err, "the file %s cannot be read", path);
	snprintf(wrong, sizeof wrong, "line %d, column %d: it is no JSON", error.line, error.column);
	int code = whole ? whole_get(path, whole, file) : refuse(path, 0, wrong);
	json_decref(whole);
	return code;
}

/* ---- writing ---- */

static int app_number(const char *app)
{
	for (int i = 1; i < APPS; i++)
		if (strcmp(apps[i], app) == 0)
			return i;
	return 0;
}

/* What is mapped of both is two maps of the same local port. */
static json_t *map_json(const struct mapping *mapping, enum map_protocol protocol)
{
	char mesh[ID_TEXT_SIZE], device[ID_TEXT_SIZE];
	const struct map_spec *spec = &mapping->spec;
	bool has_app = protocol == MAP_TCP;
	int app = has_app ? app_number(spec->app) : 0;
	id_format(&mapping->common->session->login.info.identity.mesh, mesh);
	id_format(&mapping->device, device);
	json_t *map = json_pack("{s:o, s:s, s:s, s:i, s:i, s:i, s:i}", "nodeName", cli_json_text(str_from(spec->device)), "meshId",
	                        mesh, "nodeId", device, "appId", app, "protocol", protocol == MAP_UDP ? UDP : TCP, "localPort",
	                        (int)mapping_port(mapping), "remotePort", (int)spec->port);
	if (map && mapping->label[0])
		json_object_set_new(map, "name", cli_json_text(str_from(mapping->label)));
	if (map && has_app && !app && spec->app[0])
		json_object_set_new(map, "appIdStr", cli_json_text(str_from(spec->app)));
	if (map && spec->host[0])
		json_object_set_new(map, "remoteIP", cli_json_text(str_from(spec->host)));
	return map;
}

static json_t *map_append(json_t *maps, const struct mapping *mapping, enum map_protocol protocol)
{
	enum map_protocol is = mapping->spec.protocol;
	if (mapping->dynamic || (is != protocol && is != MAP_BOTH) || json_array_append_new(maps, map_json(mapping, protocol)) == 0)
		return maps;
	json_decref(maps);
	return NULL;
}

int mcrouter_write(const char *path, const char *host, const struct mapping *mappings, size_t n)
{
	json_t *maps = json_array();
	for (size_t i = 0; i < n; i++)
		maps = map_append(map_append(maps, &mappings[i], MAP_TCP), &mappings[i], MAP_UDP);
	const char *user = n ? mappings[0].common->session->login.info.common_name : "";
	json_t *whole = json_pack("{s:o, s:o, s:o}", "hostname", cli_json_text(str_from(host)), "username",
	                          cli_json_text(str_from(user)), "mappings", maps);
	char *text = whole ? json_dumps(whole, JSON_INDENT(2)) : NULL;
	int err = text ? file_write(path, text, strlen(text), 0600) : -E_NO_MEMORY;
	free(text);
	json_decref(whole);
	return err;
}
