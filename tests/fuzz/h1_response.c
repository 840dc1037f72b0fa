/* Any bytes as a response, and as the value of a Proxy-Status. */
#include <errno.h>

#include "base/buf.h"
#include "h1/h1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
	if (!condition)
		abort();
}

/* Details are in the limits of the writer, and come back as they were. */
static void proxy_status(struct str value)
{
	struct h1_proxy_status status, again;
	struct h1_response response;
	struct buf out;
	size_t len;
	if (h1_proxy_status_parse(value, &status) < 0)
		return;
	buf_init(&out, H1_HEAD_MAX);
	require(h1_write_response(&out, h1_status(status.err)) == 0);
	require(h1_write_proxy_status(&out, status.err, str_from(status.details)) == 0);
	require(h1_write_end(&out) == 0);
	require(h1_response_parse(buf_str(&out), &response, &len) == 0);
	require(h1_field_once(&response.fields, "proxy-status", &value) == 0);
	require(h1_proxy_status_parse(value, &again) == 0 && again.err == status.err);
	require(!status.details[0] || strcmp(again.details, status.details) == 0);
	buf_done(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str bytes = { (const char *)data, size }, value;
	struct h1_response response;
	size_t len;
	int err = h1_response_parse(bytes, &response, &len);
	if (err == 0) {
		require(len <= size && len <= H1_HEAD_MAX && response.status >= 100 && response.status <= 599);
		if (h1_field(&response.fields, "Proxy-Status", &value))
			proxy_status(value);
	} else if (err == -EAGAIN) {
		require(size < H1_HEAD_MAX);
	}
	proxy_status(bytes);
	return 0;
}
