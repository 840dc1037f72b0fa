#include "base/id.h"

#include "base/encode.h"
#include "base/err.h"

bool id_equal(const struct id *a, const struct id *b)
{
	return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

bool id_is_zero(const struct id *id)
{
	static const struct id zero;
	return id_equal(id, &zero);
}

void id_format(const struct id *id, char text[ID_TEXT_SIZE])
{
	hex_encode(id->bytes, sizeof id->bytes, text);
}

int id_parse(struct str text, struct id *ret)
{
	struct id id;
	if (text.len != 2 * sizeof id.bytes || hex_decode(text, id.bytes, sizeof id.bytes) < 0)
		return -E_ID;
	*ret = id;
	return 0;
}
