/* Whatever a client says: a greeting and a request that are whole, a wish for more, or a refusal. */
#include <errno.h>

#include "base/err.h"
#include "portmap/socks.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void request_check(struct str bytes)
{
	struct socks_request request;
	enum socks_reply code = SOCKS_DONE;
	size_t len = 0;
	int err = socks_request_parse(bytes, &request, &len, &code);
	bool good = err == 0 ? len && len <= bytes.len && len <= SOCKS_MESSAGE_MAX && request.port && request.host[0] &&
	                               memchr(request.host, 0, sizeof request.host) && map_host_valid(str_from(request.host))
	            : err == -EAGAIN ? bytes.len < SOCKS_MESSAGE_MAX
	                             : err == -E_SOCKS && code != SOCKS_DONE;
	if (!good)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str bytes = { (const char *)data, size };
	size_t len = 0;
	int err = socks_greeting_parse(bytes, &len);
	if (err == 0 ? !len || len > size || len > SOCKS_MESSAGE_MAX : err == -EAGAIN ? size >= SOCKS_MESSAGE_MAX : err != -E_SOCKS)
		abort();
	request_check(bytes);
	request_check(str_skip(bytes, len));
	return 0;
}
