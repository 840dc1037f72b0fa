#include "web/upgrade.h"

#include "base/encode.h"
#include "base/err.h"
#include "crypto/key.h"
#include "web/api.h"
#include "web/guard.h"
#include "web/socket_own.h"
#include "web/watch.h"

void upgrade_accept(struct str key, char out[UPGRADE_ACCEPT_SIZE])
{
	char text[64 + 36 + 1];
	uint8_t hash[HASH_SHA1_SIZE];
	int len = snprintf(text, sizeof text, "%.*s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", STR_ARG(key));
	hash_sha1(text, (size_t)len, hash);
	base64url_encode(hash, sizeof hash, out);
	for (char *c = out; *c; c++)
		*c = *c == '-' ? '+' : *c == '_' ? '/' : *c;
	out[UPGRADE_ACCEPT_SIZE - 2] = '='; /* 20 bytes leave one */
	out[UPGRADE_ACCEPT_SIZE - 1] = 0;
}

static bool has_word(const struct h1_fields *fields, const char *name, struct str word)
{
	struct str list;
	h1_field(fields, name, &list);
	while (list.len)
		if (str_equal_nocase(str_trim(str_cut(list, ',', &list)), word))
			return true;
	return false;
}

/* 16 bytes in base64, as they come: nobody decodes them. */
static bool is_key(struct str key)
{
	for (size_t i = 0; i < key.len; i++) {
		char c = key.ptr[i];
		bool digit = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '+' || c == '/';
		if (i < 22 ? !digit : c != '=')
			return false;
	}
	return key.len == 24;
}

static int handshake_check(const struct h1_request *head, struct str *ret_key)
{
	struct str version;
	if (!str_is(head->method, "GET") || !has_word(&head->fields, "Upgrade", STR("websocket")) ||
	    !has_word(&head->fields, "Connection", STR("upgrade")))
		return -E_HTTP_HEAD;
	if (h1_field_once(&head->fields, "Sec-WebSocket-Version", &version) < 0 || !str_is(version, "13"))
		return -E_HTTP_HEAD;
	if (h1_field_once(&head->fields, "Sec-WebSocket-Key", ret_key) < 0 || !is_key(*ret_key))
		return -E_HTTP_HEAD;
	return 0;
}

void upgrade_request(struct http_exchange *exchange, const struct h1_request *head, struct str path, struct str query)
{
	struct web *web = exchange->web;
	struct http_connection *place;
	struct ticket ticket;
	uint8_t session[ACCOUNT_SESSION_SIZE];
	char accept[UPGRADE_ACCEPT_SIZE];
	struct str key, value;
	bool terminal = str_is(path, "/ws/terminal");
	exchange->path = terminal ? "/ws/terminal" : "/ws";
	int err = handshake_check(head, &key);
	if (err < 0)
		exchange->status = 426;
	if (err == 0)
		err = origin_session(&head->fields, session);
	if (err == 0)
		err = str_is(str_cut(query, '=', &value), "ticket")
		              ? ticket_spend(&web->tickets, value, terminal ? TICKET_TERMINAL : TICKET_LIVE, session,
		                             io_loop_now_ms(web->loop), &ticket)
		              : -E_TICKET;
	struct guard *guard = err == 0 ? guard_take(web, session) : NULL;
	if (err == 0)
		err = !guard ? -E_NO_MEMORY : guard_count(guard) > SOCKETS_OF_SESSION ? -E_LIMIT : 0;
	if (err < 0) {
		guard_release(guard);
		return api_refuse(exchange, err, NULL);
	}
	upgrade_accept(key, accept);
	struct stream *stream = http_upgrade(exchange, str_from(accept), &place);
	if (!stream) {
		guard_release(guard);
		return;
	}
	struct web_socket *socket = socket_new(web, stream, place, guard, terminal ? SOCKET_TERMINAL_MAX : SOCKET_LIVE_MAX);
	if (!socket)
		return;
	if (terminal)
		web_terminal_open(web, socket, &ticket);
	else
		watch_open(web, socket, session);
}
