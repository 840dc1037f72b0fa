#include "tunnel/datagrams.h"

#include "base/err.h"

#define LENGTH_SIZE 2

void datagrams_init(struct datagrams *datagrams, size_t max, size_t *room)
{
	*datagrams = (struct datagrams){ .room = room };
	buf_init(&datagrams->bytes, max);
}

void datagrams_done(struct datagrams *datagrams)
{
	if (datagrams->room)
		*datagrams->room += buf_len(&datagrams->bytes);
	buf_done(&datagrams->bytes);
}

bool datagrams_first(const struct datagrams *datagrams, struct str *ret)
{
	struct reader reader = { buf_head(&datagrams->bytes), buf_len(&datagrams->bytes) };
	uint16_t len;
	if (!reader.len || reader_be16(&reader, &len) < 0)
		return false;
	*ret = (struct str){ (const char *)reader.ptr, len };
	return true;
}

void datagrams_drop_first(struct datagrams *datagrams)
{
	struct str first;
	if (!datagrams_first(datagrams, &first))
		return;
	buf_consume(&datagrams->bytes, first.len + LENGTH_SIZE);
	*datagrams->room += first.len + LENGTH_SIZE;
	buf_trim(&datagrams->bytes);
}

static bool fits(const struct datagrams *datagrams, size_t size)
{
	return size <= *datagrams->room && size <= datagrams->bytes.max - buf_len(&datagrams->bytes);
}

void datagrams_add(struct datagrams *datagrams, struct str datagram)
{
	size_t size = datagram.len + LENGTH_SIZE;
	uint8_t *room;
	while (!fits(datagrams, size) && buf_len(&datagrams->bytes)) {
		datagrams_drop_first(datagrams);
		datagrams->lost++;
	}
	if (datagram.len > UINT16_MAX || !fits(datagrams, size) || buf_reserve(&datagrams->bytes, size, &room) < 0) {
		datagrams->lost++;
		return;
	}
	room[0] = (uint8_t)(datagram.len >> 8);
	room[1] = (uint8_t)datagram.len;
	if (datagram.len)
		memcpy(room + LENGTH_SIZE, datagram.ptr, datagram.len);
	buf_commit(&datagrams->bytes, size);
	*datagrams->room -= size;
}
