/* What a device was ordered to do, as its management part wrote it down (manage/record.h). */
#include <inttypes.h>

#include "base/buf.h"
#include "base/encode.h"
#include "base/err.h"
#include "cli/audit_local.h"
#include "manage/record.h"
#include "os/file.h"
#include "store/store.h"

enum { PIECE = 1000 }; /* entries, for which the agent waits with what it writes */

struct local {
	const struct cli *cli;
	struct store *store;
	struct key *key;
	struct record_signer signer;
	struct audit_head head;
	struct cli_table table;
};

struct local_job {
	struct store_job job;
	struct local *local;
};

static int verify_piece(struct store_tx *tx, struct store_job *job)
{
	struct local *local = ((struct local_job *)job)->local;
	return record_verify(tx, &local->signer, &local->head, PIECE);
}

static int on_entry(void *ctx, const struct audit_entry *entry)
{
	struct local *local = ctx;
	cli_table_row(&local->table,
	              json_pack("{s:I, s:I, s:o, s:o, s:o, s:o}", "sequence", (json_int_t)entry->seq, "time",
	                        (json_int_t)entry->time, "actor", cli_json_text(str_from(entry->actor)), "action",
	                        cli_json_text(str_from(entry->action)), "object", cli_json_text(str_from(entry->object)), "detail",
	                        cli_json_text(str_from(entry->detail))));
	return 0;
}

static int list_entries(struct store_tx *tx, struct store_job *job)
{
	struct local *local = ((struct local_job *)job)->local;
	uint64_t limit = cli_number(local->cli, "limit");
	return audit_list(tx, 0, str_from(cli_text(local->cli, "text")), limit < AUDIT_LIST_MAX ? (unsigned)limit : AUDIT_LIST_MAX,
	                  on_entry, local);
}

/* Whose record it is, and by which key. */
static int signer_read(struct local *local, const char *directory)
{
	struct certificate *chain[3] = { NULL };
	struct certificate_info info;
	char path[4096];
	struct buf pem;
	buf_init(&pem, (size_t)64 << 10);
	int err = file_path(path, sizeof path, directory, "exec/manager.crt");
	if (err == 0)
		err = file_read(path, &pem);
	int n = err < 0 ? err : certificate_read_pem(buf_str(&pem), chain, 3);
	err = n < 0 ? n : certificate_inspect(chain[0], &info);
	if (err == 0) {
		local->signer.self = info.identity;
		local->signer.key = local->key = certificate_key(chain[0]);
		err = local->key ? 0 : -E_CERTIFICATE;
	}
	for (int i = 0; i < 3; i++)
		certificate_free(chain[i]);
	buf_done(&pem);
	return err;
}

static int local_verify(struct local *local)
{
	struct local_job job = { .job.run = verify_piece, .local = local };
	int err;
	do
		err = store_run(local->store, &job.job);
	while (err == 1);
	int64_t number = local->head.seq;
	char hex[HEX_SIZE(HASH_SIZE)];
	bool bad = err == -E_AUDIT_CHAIN || err == -E_SIGNATURE;
	if (err < 0 && !bad)
		return cli_fail(err, "the agent's record cannot be verified");
	hex_encode(local->head.hash, sizeof local->head.hash, hex);
	if (cli_format(local->cli) >= CLI_JSON) {
		int failed =
		        cli_json_line(local->cli, json_pack("{s:I, s:o, s:o}", "records", (json_int_t)(bad ? number - 1 : number),
		                                            "first_bad", bad ? json_integer(number) : json_null(), "head",
		                                            bad ? json_null() : json_string(hex)));
		return failed < 0 || bad ? CLI_FAILED : CLI_OK;
	}
	if (bad)
		return cli_fail(err, "record %" PRId64 " of this agent is not what was written", number);
	fprintf(local->cli->out, "%" PRId64 " records, all as they were written and signed; the newest is %s\n", number, hex);
	return CLI_OK;
}

static int local_list(struct local *local)
{
	struct local_job job = { .job.run = list_entries, .local = local };
	cli_table_begin(&local->table, local->cli, audit_columns);
	int err = store_run(local->store, &job.job), ended = cli_table_end(&local->table);
	if (err == 0)
		err = ended;
	return err < 0 ? cli_fail(err, "the agent's record cannot be listed") : CLI_OK;
}

bool audit_is_local(const struct cli *cli, char database[4096])
{
	const char *directory = cli_directory_named(cli);
	return directory && file_path(database, 4096, directory, "exec/agent.db") == 0 && file_exists(database);
}

int audit_local(const struct cli *cli, const char *database, bool list)
{
	struct local local = { .cli = cli };
	char detail[STORE_DETAIL_SIZE] = "";
	int err = signer_read(&local, cli_directory_named(cli));
	if (err == 0)
		err = store_open(database, &store_schema_agent, &local.store, detail);
	int code =
	        err < 0 ? cli_fail_because(err, *detail ? detail : NULL, NULL, "the agent's record in %s cannot be read", database)
	        : list  ? local_list(&local)
	                : local_verify(&local);
	store_free(local.store);
	key_free(local.key);
	return code;
}
