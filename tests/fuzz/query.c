#include <assert.h>

#include "base/err.h"
#include "fleet/query.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct fleet_query query, negated;
	struct device device = {
		.id = { { 0xa1 } }, .name = "web01", .token = 17, .os = "Debian", .arch = "x86_64", .tags = "eu web"
	};
	struct fleet_query_error error = { 0 };
	char text[FLEET_QUERY_MAX + 8];
	struct str str = { (const char *)data, size };
	int err = fleet_query_parse(str, &query, &error);
	if (err < 0) {
		assert(err == -E_QUERY && error.what && error.column >= 1 && error.column <= size + 1);
		return 0;
	}
	bool matches = fleet_query_matches(&query, &device, true, 1000);
	int len = snprintf(text, sizeof text, "not(%.*s)", STR_ARG(str));
	if (query.n_nodes &&
	    fleet_query_parse((struct str){ text, (size_t)len }, &negated, &error) == 0) /* else too long or deep */
		assert(fleet_query_matches(&negated, &device, true, 1000) == !matches);
	return 0;
}
