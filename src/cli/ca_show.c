#include <errno.h>

#include "base/encode.h"
#include "base/err.h"
#include "ca/folder.h"
#include "ca/policy.h"
#include "ca/succession.h"
#include "cli/ca.h"
#include "os/clock.h"
#include "os/file.h"

static const struct cli_column columns[] = {
	{ "what" }, { "fingerprint" }, { "from", CLI_COLUMN_TIME }, { "until", CLI_COLUMN_TIME }, { "note" }, { 0 },
};

struct shown {
	struct cli_table table;
	char directory[4096];
};

static int row(struct shown *shown, const char *what, const uint8_t hash[HASH_SIZE], const struct certificate_info *info,
               const char *note)
{
	char text[HEX_SIZE(HASH_SIZE)];
	hex_encode(hash, HASH_SIZE, text);
	cli_table_row(&shown->table, json_pack("{s:s, s:s, s:o, s:o, s:s}", "what", what, "fingerprint", text, "from",
	                                       info ? json_integer(info->not_before) : json_null(), "until",
	                                       info ? json_integer(info->not_after) : json_null(), "note", note));
	return 0;
}

static int certificate_row(struct shown *shown, const char *what, const struct certificate *certificate, const char *note)
{
	struct certificate_info info;
	int err = certificate_inspect(certificate, &info);
	return err < 0 ? err : row(shown, what, info.key_hash, &info, note);
}

static int root_show(struct shown *shown, const struct certificate *root)
{
	bool key = folder_has(shown->directory, "root.key") == 1;
	return certificate_row(shown, "root", root, key ? "its key is here: take it away" : "its key is not here");
}

static int intermediate_show(struct shown *shown)
{
	struct certificate *intermediate = NULL;
	int err = folder_certificate_read(shown->directory, "intermediate.crt", &intermediate);
	bool waits = folder_has(shown->directory, SUCCESSION_INTERMEDIATE) == 1;
	if (err == 0)
		err = certificate_row(shown, "intermediate", intermediate, waits ? "the next one waits for its answer" : "");
	certificate_free(intermediate);
	return err;
}

static int formers_show(struct shown *shown)
{
	struct certificate *formers[FORMERS_MAX];
	int n = folder_formers_read(shown->directory, formers), err = n < 0 ? n : 0;
	for (int i = n; i-- > 0;) {
		if (err == 0)
			err = certificate_row(shown, "former", formers[i], "what it signed is still good");
		certificate_free(formers[i]);
	}
	return err;
}

static int policy_show(struct shown *shown, const struct certificate *root)
{
	static murmesh_SignedDocument document;
	static murmesh_Policy policy;
	char note[64];
	uint8_t hash[HASH_SIZE];
	int err = folder_policy_read(shown->directory, &document);
	if (err == 0)
		err = policy_open(root, &document, &policy);
	if (err < 0)
		return err;
	hash_sha256(policy.grant_key.bytes, policy.grant_key.size, hash);
	snprintf(note, sizeof note, "named by version %llu of the policy", (unsigned long long)policy.version);
	return row(shown, "grant key", hash, NULL, note);
}

static int show(struct shown *shown)
{
	struct certificate *root = NULL;
	int err = folder_certificate_read(shown->directory, "root.crt", &root);
	if (err == 0)
		err = root_show(shown, root);
	if (err == 0)
		err = intermediate_show(shown);
	if (err == 0)
		err = formers_show(shown);
	if (err == 0)
		err = policy_show(shown, root);
	certificate_free(root);
	return err;
}

int ca_show(const struct cli *cli)
{
	struct shown shown;
	int err = ca_folder(cli, shown.directory);
	cli_table_begin(&shown.table, cli, columns);
	if (err == 0)
		err = show(&shown);
	if (err == -ENOENT)
		err = folder_has(shown.directory, SUCCESSION_INTERMEDIATE) == 1 ? -E_CA_WAITING : -E_NOT_FOUND;
	int ended = cli_table_end(&shown.table);
	if (err == 0)
		err = ended;
	return err < 0 ? cli_fail_because(err, err == -E_NOT_FOUND ? "there is no certification manager in that folder" : NULL,
	                                  err == -E_NOT_FOUND ? "run it where the server is; its folder is --dir" : NULL,
	                                  "%s cannot be shown", shown.directory)
	               : CLI_OK;
}
