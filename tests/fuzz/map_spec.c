/* Whatever the text: a result that is whole, or a reason and a place inside the text. */
#include "base/err.h"
#include "portmap/spec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(struct str text, bool relay_allowed)
{
	struct map_spec spec;
	unsigned column = 0;
	const char *reason = NULL;
	int err = map_spec_parse(text, relay_allowed, &spec, &column, &reason);
	bool good = err == 0 ? spec.port && spec.count && spec.count <= MAP_RANGE_MAX && spec.port + spec.count <= 65536 &&
	                               spec.local_port + spec.count <= 65536 && spec.device[0] &&
	                               memchr(spec.device, 0, sizeof spec.device) && memchr(spec.app, 0, sizeof spec.app) &&
	                               memchr(spec.host, 0, sizeof spec.host) && (relay_allowed || !spec.host[0])
	                     : err == -E_MAP_SPEC && reason && column >= 1 && column <= text.len + 1;
	if (!good)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str text = { (const char *)data, size };
	check(text, true);
	check(text, false);
	return 0;
}
