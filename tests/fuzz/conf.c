/* Any bytes as a configuration file; what is taken is inside the table's limits. */
#include "conf/conf.h"
#include "base/err.h"
#include "base/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct conf_option options[] = {
	{ "Own", "ParentAddress", CONF_ADDRESS, NULL, "" },
	{ "Own", "Port", CONF_PORT, "1", "", 1, 0 },
	{ "Own", "Name", CONF_STRING, NULL, "", 1, 8 },
	{ "Other", "Links", CONF_UNSIGNED, "7", "", 5, 500 },
	{ "Other", "Idle", CONF_DURATION, "90s", "", 1000, 86400000 },
	{ "Other", "Enabled", CONF_BOOLEAN, "on", "" },
	{ "Other", "Partners", CONF_LIST, "a, b", "", 1, 4 },
};
static const struct conf_table table = { "Own", options, sizeof options / sizeof *options };

static void require(bool condition)
{
	if (!condition)
		abort();
}

static void check(const struct conf *conf)
{
	struct conf_address address;
	struct str item;
	size_t items = 0;
	const char *name = conf_string(conf, "Own", "Name");
	uint64_t links = conf_unsigned(conf, "Other", "Links"), idle = conf_duration_ms(conf, "Other", "Idle");
	require(!name || (strlen(name) >= 1 && strlen(name) <= 8 && utf8_valid(str_from(name))));
	require(conf_port(conf, "Own", "Port") >= 1 && links >= 5 && links <= 500 && idle >= 1000 && idle <= 86400000);
	require(conf_is_set(conf, "Other", "Enabled"));
	(void)conf_boolean(conf, "Other", "Enabled");
	if (conf_address(conf, "Own", "ParentAddress", &address))
		require(address.host.len > 0);
	while (conf_list_item(conf, "Other", "Partners", items, &item)) {
		require(item.len > 0);
		items++;
	}
	require(items >= 1 && items <= 4);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct conf *conf;
	char error[CONF_ERROR_SIZE];
	int err = conf_parse((struct str){ (const char *)data, size }, "x", &table, &conf, error);
	if (err == 0) {
		check(conf);
		conf_free(conf);
	} else if (err == -E_CONFIG) {
		require(strncmp(error, "x:", 2) == 0 && !strchr(error, '\n'));
	}
	return 0;
}
