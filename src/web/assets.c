#include "web/assets.h"

#include "base/err.h"
#include "web/api.h"

#define PAGE "/index.html"

static const struct asset *find(struct str path)
{
	for (size_t i = 0; i < n_assets; i++)
		if (str_is(path, assets[i].path))
			return &assets[i];
	return NULL;
}

/* Accept-Encoding (RFC 9110 section 12.5.3), as far as anybody uses it: a name, not with q=0. */
static bool takes(struct str list, const char *coding)
{
	while (list.len) {
		struct str weight, name = str_trim(str_cut(str_cut(list, ',', &list), ';', &weight));
		if (!str_equal_nocase(name, str_from(coding)))
			continue;
		weight = str_trim(weight);
		return !(str_starts(weight, STR("q=0")) && !str_starts(weight, STR("q=0.")));
	}
	return false;
}

static bool has_etag(struct str list, const char *etag)
{
	while (list.len) {
		struct str one = str_trim(str_cut(list, ',', &list));
		if (str_starts(one, STR("W/")))
			one = str_skip(one, 2);
		if (str_is(one, etag) || str_is(one, "*"))
			return true;
	}
	return false;
}

static void describe_api(struct http_exchange *exchange)
{
	json_t *document = openapi_document();
	char *text = document ? json_dumps(document, JSON_COMPACT) : NULL;
	json_decref(document);
	if (!text)
		return api_refuse(exchange, -E_NO_MEMORY, NULL);
	const struct http_answer answer = { .status = 200, .type = "application/json", .body = str_from(text) };
	http_answer(exchange, &answer);
	free(text);
}

void asset_request(struct http_exchange *exchange, const struct h1_request *head, struct str path)
{
	struct str codings, etags;
	if (str_is(path, "/api/openapi.json"))
		return describe_api(exchange);
	bool page = !str_has(path, '.') && !str_is(path, "/api") && !str_starts(path, STR("/ws/"));
	const struct asset *asset = find(page ? STR(PAGE) : path);
	exchange->path = asset ? asset->path : "";
	if (!asset)
		return api_refuse(exchange, -E_NOT_FOUND, NULL);
	struct http_answer answer = { .status = 200,
		                      .type = asset->type,
		                      .body = asset->plain,
		                      .fixed = true,
		                      .etag = str_from(asset->etag),
		                      .cache = asset->immutable ? "public, max-age=31536000, immutable" : "no-cache" };
	h1_field(&head->fields, "Accept-Encoding", &codings);
	if (asset->brotli.len && takes(codings, "br")) {
		answer.body = asset->brotli;
		answer.encoding = STR("br");
	} else if (asset->gzip.len && takes(codings, "gzip")) {
		answer.body = asset->gzip;
		answer.encoding = STR("gzip");
	}
	if (h1_field(&head->fields, "If-None-Match", &etags) && has_etag(etags, asset->etag)) {
		answer.status = 304;
		answer.type = NULL;
		answer.body = STR("");
	}
	if (page)
		page_answer(exchange, head, asset, &answer);
	else
		http_answer(exchange, &answer);
}
