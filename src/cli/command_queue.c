#include "base/encode.h"
#include "base/err.h"
#include "cli/session.h"

static const struct cli_column columns[] = {
	{ "id", CLI_COLUMN_VALUE, true },
	{ "name", CLI_COLUMN_VALUE, true },
	{ "full_name" },
	{ "online" },
	{ "waiting", CLI_COLUMN_NUMBER },
	{ "bytes", CLI_COLUMN_NUMBER },
	{ "oldest", CLI_COLUMN_TIME },
	{ "sent", CLI_COLUMN_NUMBER, true },
	{ "dead", CLI_COLUMN_NUMBER },
	{ "why" },
	{ "last_dead", CLI_COLUMN_TIME },
	{ "expired", CLI_COLUMN_NUMBER, true },
	{ "limit", CLI_COLUMN_NUMBER, true },
	{ "damaged", CLI_COLUMN_NUMBER, true },
	{ "refused", CLI_COLUMN_NUMBER, true },
	{ "loop", CLI_COLUMN_NUMBER, true },
	{ 0 },
};

static json_t *time_or_null(int64_t time)
{
	return time ? json_integer(time) : json_null();
}

/* "2 expired, 1 limit"; the reasons are explained by `murmesh help queue`. */
static json_t *why_json(const murmesh_Queue *queue)
{
	const struct {
		const char *name;
		uint64_t n;
	} reasons[] = { { "expired", queue->expired },
		        { "limit", queue->limit },
		        { "damaged", queue->damaged },
		        { "refused", queue->refused },
		        { "loop", queue->loop } };
	char text[160];
	size_t len = 0;
	text[0] = 0;
	for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
		if (reasons[i].n)
			len += (size_t)snprintf(text + len, sizeof text - len, "%s%llu %s", len ? ", " : "",
			                        (unsigned long long)reasons[i].n, reasons[i].name);
	return json_string(text);
}

static json_t *queue_json(const murmesh_Queue *queue)
{
	char id[ID_TEXT_SIZE];
	uint64_t dead = queue->expired + queue->limit + queue->damaged + queue->refused + queue->loop;
	hex_encode(queue->device, sizeof queue->device, id);
	return json_pack("{s:s, s:o, s:o, s:b, s:I, s:I, s:o, s:I, s:I, s:o, s:o, s:I, s:I, s:I, s:I, s:I}", "id", id, "name",
	                 cli_json_text(str_from(queue->name)), "full_name", cli_json_text(str_from(queue->full_name)), "online",
	                 (int)queue->online, "waiting", (json_int_t)queue->waiting, "bytes", (json_int_t)queue->bytes, "oldest",
	                 time_or_null(queue->oldest), "sent", (json_int_t)queue->sent, "dead", (json_int_t)dead, "why",
	                 why_json(queue), "last_dead", time_or_null(queue->dead_last), "expired", (json_int_t)queue->expired,
	                 "limit", (json_int_t)queue->limit, "damaged", (json_int_t)queue->damaged, "refused",
	                 (json_int_t)queue->refused, "loop", (json_int_t)queue->loop);
}

static void on_queue(void *table, const void *message)
{
	cli_table_row(table, queue_json(message));
}

static int list(struct session *session, const struct cli *cli)
{
	murmesh_QueueRequest request = murmesh_QueueRequest_init_zero;
	struct cli_table table;
	int err = str_copy(str_from(cli->n_operands ? cli->operands[0] : ""), request.selector, sizeof request.selector);
	cli_table_begin(&table, cli, columns);
	if (err == 0)
		err = session_stream(session, &rpc_Messages_ListQueues, &request, on_queue, &table);
	size_t n = table.n_rows;
	int ended = cli_table_end(&table);
	if (err == 0)
		err = ended;
	if (err < 0)
		return session_fail(session, err, "what waits cannot be listed");
	if (!n)
		cli_note(cli, "nothing waits, and nothing was dropped");
	return CLI_OK;
}

static int run(const struct cli *cli)
{
	struct session session;
	int code = session_begin(&session, cli);
	if (code)
		return code;
	code = list(&session, cli);
	session_close(&session);
	return code;
}

static const struct cli_example examples[] = {
	{ "murmesh queue", "which devices have messages waiting since when, and how many were dropped and why" },
	{ "murmesh queue web02 --json", "of one device" },
	{ 0 },
};

const struct cli_command command_queue = {
	.name = "queue",
	.summary = "show which messages wait for devices, and how many never arrived",
	.usage = "[DEVICE|QUERY]",
	.examples = examples,
	.run = run,
	.operands_most = 1,
};
