#include "os/sources.h"

#include "base/err.h"
#include "base/map.h"
#include "base/mem.h"
#include "os/socket.h"

struct source {
	struct socket_source from;
	size_t count;
};

struct sources {
	struct map *map;
	struct sources_limits limits;
};

struct sources *sources_new(const uint8_t seed[16], size_t max, struct sources_limits limits)
{
	struct sources *sources = mem_alloc(sizeof *sources);
	if (!sources)
		return NULL;
	sources->limits = limits;
	sources->map = map_new(seed, max);
	return sources->map ? sources : mem_free(sources);
}

struct sources *sources_free(struct sources *sources)
{
	if (sources)
		map_free(sources->map);
	return mem_free(sources);
}

static int source_make(struct sources *sources, const struct socket_source *from, struct source **ret)
{
	struct source *source = mem_alloc(sizeof *source);
	if (!source)
		return -E_NO_MEMORY;
	source->from = *from;
	int err = map_put(sources->map, from->key, from->len, source);
	if (err < 0)
		source = mem_free(source);
	*ret = source;
	return err;
}

int sources_take(struct sources *sources, int fd, struct source **ret)
{
	struct socket_address peer;
	struct socket_source from;
	*ret = NULL;
	if (socket_peer(fd, &peer) < 0)
		return -E_CLOSED;
	socket_address_source(&peer, &from);
	struct source *source = map_get(sources->map, from.key, from.len);
	if (source && source->count >= (from.loopback ? sources->limits.loopback : sources->limits.each))
		return -E_LIMIT;
	int err = source ? 0 : source_make(sources, &from, &source);
	if (err < 0)
		return err;
	source->count++;
	*ret = source;
	return 0;
}

void sources_release(struct sources *sources, struct source *source)
{
	if (!source || --source->count > 0)
		return;
	map_remove(sources->map, source->from.key, source->from.len);
	mem_free(source);
}
