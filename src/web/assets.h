/* web/assets.h: the console's files, packed into the program by tools/pack_assets.py. */
#ifndef WEB_ASSETS_H
#define WEB_ASSETS_H
#include "web/http.h"

struct asset {
	const char *path, *type, *etag; /* etag with its quotes */
	bool immutable;                 /* its name changes with its content */
	struct str plain, gzip, brotli; /* "" = no smaller than plain */
};
extern const struct asset assets[];
extern const size_t n_assets;

/* Every path without a dot is the one page of the console. */
void asset_request(struct http_exchange *exchange, const struct h1_request *head, struct str path);
#endif
