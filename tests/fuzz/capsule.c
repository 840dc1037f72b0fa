/* Whatever a peer sends on a stream of a UDP map: the same datagrams come out whether it comes at once or byte by byte, all room is given back; and
 * whatever stands in a request's path. */
#include <stdlib.h>

#include "base/err.h"
#include "tunnel/capsule.h"

#define ROOM ((size_t)1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct heard {
	uint64_t sum, n;
};

static int on_datagram(void *ctx, struct str datagram)
{
	struct heard *heard = ctx;
	if (datagram.len > CAPSULE_DATAGRAM_MAX)
		abort();
	for (size_t i = 0; i < datagram.len; i++)
		heard->sum = heard->sum * 31 + (uint8_t)datagram.ptr[i];
	heard->sum = heard->sum * 31 + datagram.len;
	heard->n++;
	return 0;
}

static int read_all(struct str bytes, size_t piece, struct heard *ret)
{
	struct capsule_reader reader;
	size_t room = ROOM;
	uint64_t lost = 0;
	int err = 0;
	*ret = (struct heard){ 0 };
	capsule_reader_init(&reader, &room);
	while (err == 0 && bytes.len) {
		size_t len = bytes.len < piece ? bytes.len : piece;
		err = capsule_reader_feed(&reader, (struct str){ bytes.ptr, len }, &lost, on_datagram, ret);
		bytes = str_skip(bytes, len);
	}
	capsule_reader_done(&reader);
	if (room != ROOM || lost)
		abort();
	return err;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str bytes = { (const char *)data, size };
	struct heard whole, bytewise;
	char host[256], path[UDP_PATH_MAX], again[256];
	uint16_t port, same;
	int a = read_all(bytes, size, &whole), b = read_all(bytes, 1, &bytewise);
	if (a != b || whole.sum != bytewise.sum || whole.n != bytewise.n)
		abort();
	if (udp_path_parse(bytes, host, &port) < 0)
		return 0;
	if (udp_path_write(str_from(host), port, path) < 0 || udp_path_parse(str_from(path), again, &same) < 0 || same != port ||
	    !str_is(str_from(host), again))
		abort();
	return 0;
}
