#include <stdlib.h>

#include "base/err.h"
#include "base/utf8.h"
#include "fleet/fleet.h"

/* A name in lower case, so that two never differ in nothing else. */
static int label_parse(struct str text, char *ret, size_t size)
{
	if (!name_valid(text) || text.len >= size)
		return -E_NAME;
	for (size_t i = 0; i < text.len; i++)
		ret[i] = (char)(text.ptr[i] >= 'A' && text.ptr[i] <= 'Z' ? text.ptr[i] - 'A' + 'a' : text.ptr[i]);
	ret[text.len] = 0;
	return 0;
}

int fleet_group_parse(struct str text, char ret[FLEET_GROUP_SIZE])
{
	if (text.len)
		return label_parse(text, ret, FLEET_GROUP_SIZE);
	ret[0] = 0;
	return 0;
}

static int tag_compare(const void *a, const void *b)
{
	const struct str *one = a, *two = b;
	int order = memcmp(one->ptr, two->ptr, one->len < two->len ? one->len : two->len);
	return order ? order : (one->len > two->len) - (one->len < two->len);
}

static void tags_join(const struct str *tags, size_t n, char out[FLEET_TAGS_SIZE])
{
	size_t len = 0;
	out[0] = 0;
	for (size_t i = 0; i < n; i++)
		len += (size_t)snprintf(out + len, FLEET_TAGS_SIZE - len, "%s%.*s", i ? " " : "", STR_ARG(tags[i]));
}

static int tag_change(struct device *device, struct str text, bool there)
{
	char tag[FLEET_TAG_SIZE], before[FLEET_TAGS_SIZE];
	struct str tags[FLEET_TAGS_MAX + 1], rest = { before, strlen(device->tags) };
	size_t n = 0;
	int err = label_parse(text, tag, sizeof tag);
	if (err < 0)
		return err;
	memcpy(before, device->tags, sizeof before);
	while (rest.len && n < FLEET_TAGS_MAX) {
		tags[n] = str_cut(rest, ' ', &rest);
		n += !str_is(tags[n], tag);
	}
	if (there)
		tags[n++] = str_from(tag);
	if (n > FLEET_TAGS_MAX)
		return -E_LIMIT;
	qsort(tags, n, sizeof *tags, tag_compare);
	tags_join(tags, n, device->tags);
	return 0;
}

int fleet_tag_add(struct device *device, struct str tag)
{
	return tag_change(device, tag, true);
}

int fleet_tag_remove(struct device *device, struct str tag)
{
	return tag_change(device, tag, false);
}
