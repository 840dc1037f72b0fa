/* The console's one page.  Who comes with a session finds in it what its script would ask for first: who he is, and a ticket for its connection. */
#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "services.h"
#include "web/api.h"
#include "web/assets.h"

#define CORE_MS 500 /* then the page comes without */

struct page {
	struct http_exchange *exchange;
	const struct asset *asset;
	struct http_answer plain;
	uint8_t session[ACCOUNT_SESSION_SIZE];
};

static json_t *given(struct page *page, const murmesh_Account *account)
{
	struct web *web = page->exchange->web;
	struct ticket ticket = { .kind = TICKET_LIVE };
	char text[TICKET_TEXT_SIZE];
	memcpy(ticket.session, page->session, sizeof ticket.session);
	if (ticket_issue(&web->tickets, &ticket, io_loop_now_ms(web->loop), text) < 0)
		return NULL;
	return json_pack("{s:o, s:s}", "account", schema_encode(&schema_account, account), "ticket", text);
}

/* JSON in an element of HTML: no "<" ends it. */
static int element_append(struct buf *out, struct str json)
{
	struct str rest = json;
	int err = buf_append_str(out, STR("<script type=\"application/json\" id=\"session\">"));
	while (err == 0 && rest.len) {
		bool more = str_has(rest, '<');
		err = buf_append_str(out, str_cut(rest, '<', &rest));
		if (err == 0 && more)
			err = buf_append_str(out, STR("\\u003c"));
	}
	return err < 0 ? err : buf_append_str(out, STR("</script>"));
}

static int page_write(struct page *page, json_t *given, struct buf *out)
{
	struct str head = STR("<head>"), html = page->asset->plain;
	const char *at = memmem(html.ptr, html.len, head.ptr, head.len);
	struct buf json;
	if (!given || !at)
		return -E_NOT_FOUND;
	size_t before = (size_t)(at - html.ptr) + head.len;
	buf_init(&json, HTTP_ANSWER_MAX);
	int err = json_write(given, &json);
	if (err == 0)
		err = buf_append_str(out, (struct str){ html.ptr, before });
	if (err == 0)
		err = element_append(out, buf_str(&json));
	if (err == 0)
		err = buf_append_str(out, str_skip(html, before));
	buf_wipe(&json);
	return err;
}

static void on_account(void *ctx, int err, const char *why, const void *account)
{
	struct page *page = ctx;
	struct http_answer answer = { .status = 200, .type = page->asset->type };
	json_t *json = err < 0 ? NULL : given(page, account);
	struct buf html;
	(void)why;
	buf_init(&html, HTTP_ANSWER_MAX);
	bool whole = page_write(page, json, &html) == 0;
	answer.body = buf_str(&html);
	http_answer(page->exchange, whole ? &answer : &page->plain);
	buf_wipe(&html);
	json_decref(json);
	mem_wipe(page, sizeof *page);
	mem_free(page);
}

void page_answer(struct http_exchange *exchange, const struct h1_request *head, const struct asset *asset,
                 const struct http_answer *plain)
{
	murmesh_SessionRequest request = murmesh_SessionRequest_init_zero;
	struct rpc_connection *core = exchange->web->core;
	struct page *page = mem_alloc(sizeof *page);
	int err = page && core ? origin_session(&head->fields, page->session) : -E_BUSY;
	if (err == 0) {
		page->exchange = exchange;
		page->asset = asset;
		page->plain = *plain;
		memcpy(request.session, page->session, sizeof request.session);
		err = rpc_unary(core, &rpc_Console_Me, &request, CORE_MS, on_account, page);
	}
	if (err == 0)
		return;
	mem_free(page);
	http_answer(exchange, plain);
}
