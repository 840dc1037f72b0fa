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
extern const char asset_scripts[]; /* those inside the page, as the security policy allows them: " 'sha256-...'" each */

/* Every path without a dot is the one page of the console. */
void asset_request(struct http_exchange *exchange, const struct h1_request *head, struct str path);

/* ---- page.c ---- */
/* The page with what belongs to the session of the request; plain, when that has none, or core does not say in time. */
void page_answer(struct http_exchange *exchange, const struct h1_request *head, const struct asset *asset,
                 const struct http_answer *plain);
#endif
