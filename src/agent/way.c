/* The way to the parents, as the configuration has it: settings for net (agent.h). */
#include "agent/agent.h"
#include "base/encode.h"
#include "base/err.h"
#include "base/mem.h"
#include "ca/join_line.h"
#include "conf/conf.h"

#define PROXY_PORT 3128

/* The list's items as the setting has them: with commas. */
static int parents_write(const struct conf *conf, bool relay, char *out, size_t size)
{
	const char *key = relay && conf_is_set(conf, "Router", "MRParentAddress") ? "MRParentAddress" : "ParentAddress";
	struct str item;
	size_t len = 0;
	out[0] = 0;
	for (size_t n = 0; len < size && conf_list_item(conf, "Router", key, n, &item); n++) {
		char host[JOIN_HOST_SIZE];
		uint16_t port;
		if (join_address_parse(item, host, &port) < 0)
			return -E_CONFIG;
		len += (size_t)snprintf(out + len, size - len, "%s%.*s", n ? "," : "", STR_ARG(item));
	}
	return len < size ? 0 : -E_TOO_LONG;
}

/* RFC 7617. */
static int authorization_write(const struct conf *conf, char *out, size_t size)
{
	const char *user = conf_string(conf, "Router", "ProxyUser"), *password = conf_string(conf, "Router", "ProxyPassword");
	char both[512], coded[700];
	out[0] = 0;
	if (!user)
		return 0;
	int len = snprintf(both, sizeof both, "%s:%s", user, password ? password : "");
	base64url_encode((const uint8_t *)both, (size_t)len, coded);
	for (char *at = coded; *at; at++)
		*at = *at == '-' ? '+' : *at == '_' ? '/' : *at;
	len = snprintf(out, size, "Basic %s%s", coded, &"==="[strlen(coded) % 4 ? strlen(coded) % 4 - 1 : 3]);
	mem_wipe(both, sizeof both);
	mem_wipe(coded, sizeof coded);
	return len < (int)size ? 0 : -E_TOO_LONG;
}

int way_settings(const struct conf *conf, bool relay, char *out, size_t size)
{
	struct conf_address proxy = { 0 };
	char parents[2600], authorization[750];
	int err = parents_write(conf, relay, parents, sizeof parents);
	if (err == 0)
		err = authorization_write(conf, authorization, sizeof authorization);
	if (err == 0) {
		conf_address(conf, "Router", "Proxy", &proxy);
		int len = snprintf(out, size,
		                   "parents=%s\nior_port=%u\nreturn_ms=%llu\nproxy=%.*s\nproxy_port=%u\nproxy_authorization=%s\n",
		                   parents, conf_port(conf, "Router", "IORPort"),
		                   (unsigned long long)conf_duration_ms(conf, "Router", "ReturnAfter"), STR_ARG(proxy.host),
		                   proxy.has_port ? proxy.port : PROXY_PORT, authorization);
		err = len < (int)size ? 0 : -E_TOO_LONG;
	}
	mem_wipe(authorization, sizeof authorization);
	return err;
}
