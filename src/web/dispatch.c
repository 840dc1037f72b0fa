/* Which part of the console's server a request is for, and whether it may come at all. */
#include "base/err.h"
#include "web/api.h"
#include "web/assets.h"
#include "web/download.h"
#include "web/upgrade.h"

struct destination {
	const struct route *route; /* NULL = a page, an asset or a socket */
	struct str path, query, id;
	bool socket;
	char allow[ROUTE_ALLOW_SIZE];
};

static bool is_safe(struct str method)
{
	return str_is(method, "GET") || str_is(method, "HEAD");
}

/* One spelling for each path: nothing that could be unfolded in another way elsewhere. */
static bool path_plain(struct str path)
{
	for (size_t i = 0; i < path.len; i++) {
		char c = path.ptr[i], next = i + 1 < path.len ? path.ptr[i + 1] : 0;
		if (c == '%' || c == '\\' || (c == '/' && next == '/') || (c == '.' && next == '.'))
			return false;
	}
	return true;
}

static int find(const struct h1_request *head, struct destination *ret)
{
	*ret = (struct destination){ 0 };
	if (head->form != H1_TARGET_ORIGIN)
		return -E_HTTP_METHOD;
	ret->path = str_cut(head->target, '?', &ret->query);
	if (!path_plain(ret->path))
		return -E_HTTP_HEAD;
	if (str_starts(ret->path, STR("/api/")) && !str_is(ret->path, "/api/openapi.json"))
		return route_find(head->method, ret->path, &ret->route, &ret->id, ret->allow);
	str_copy(STR("GET, HEAD"), ret->allow, sizeof ret->allow);
	if (!is_safe(head->method))
		return -E_HTTP_METHOD;
	ret->socket = str_is(ret->path, "/ws") || str_is(ret->path, "/ws/terminal");
	return 0;
}

static int admit(struct web *web, int fd, const struct h1_request *head, struct destination *destination)
{
	struct str host;
	uint8_t session[ACCOUNT_SESSION_SIZE];
	int err = h1_field_once(&head->fields, "Host", &host);
	if (err == 0)
		err = origin_check_host(&web->origin, host, fd);
	if (err == 0)
		err = find(head, destination);
	if (err == 0 && destination->socket)
		err = origin_check_source(&head->fields, false);
	else if (err == 0 && !is_safe(head->method))
		err = origin_check_source(&head->fields, true);
	if (err == 0 && destination->route && destination->route->access == ACCESS_SESSION)
		err = origin_session(&head->fields, session);
	return err;
}

int dispatch_admit(struct web *web, int fd, const struct h1_request *head, size_t *ret_body_max)
{
	struct destination destination;
	int err = admit(web, fd, head, &destination);
	const struct route *route = destination.route;
	if (err == 0)
		*ret_body_max = !route || !route->body ? 0 : route->body_max ? route->body_max : HTTP_BODY_MAX;
	return err;
}

void dispatch_request(struct http_exchange *exchange, const struct h1_request *head, struct str body)
{
	struct destination destination;
	int err = admit(exchange->web, http_fd(exchange), head, &destination);
	if (err < 0)
		return dispatch_refuse(exchange, head, err);
	if (destination.route) {
		exchange->method = destination.route->method;
		exchange->path = destination.route->path;
		return api_request(exchange, destination.route, destination.id, head, destination.query, body);
	}
	exchange->method = "GET";
	exchange->head_only = str_is(head->method, "HEAD");
	if (destination.socket)
		return upgrade_request(exchange, head, destination.path, destination.query);
	if (download_is(destination.path))
		return download_request(exchange, destination.path);
	asset_request(exchange, head, destination.path);
}

void dispatch_refuse(struct http_exchange *exchange, const struct h1_request *head, int err)
{
	struct destination destination = { 0 };
	int found = head ? find(head, &destination) : -E_HTTP_HEAD;
	if (found == 0 && destination.route) {
		exchange->method = destination.route->method;
		exchange->path = destination.route->path;
	} else if (found == 0) {
		exchange->method = "GET";
		exchange->path = destination.socket ? "/ws" : "/";
	}
	if (err == -E_HTTP_METHOD)
		exchange->allow = destination.allow;
	if (!head && err == -E_TOO_LONG)
		exchange->status = 431;
	if (!head && err == -E_TIMEOUT)
		exchange->status = 408;
	api_refuse(exchange, err, NULL);
}
