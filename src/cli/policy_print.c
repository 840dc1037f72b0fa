#include "base/encode.h"
#include "base/utf8.h"
#include "cli/policy.h"

#define FINGERPRINT_SIZE HEX_SIZE(HASH_SIZE)

static void fingerprint(const uint8_t *key, size_t len, char out[FINGERPRINT_SIZE])
{
	uint8_t hash[HASH_SIZE];
	hash_sha256(key, len, hash);
	hex_encode(hash, sizeof hash, out);
}

void policy_print(FILE *out, const murmesh_Policy *policy)
{
	char text[FINGERPRINT_SIZE], name[256];
	fprintf(out, "version    %llu\n", (unsigned long long)policy->version);
	fprintf(out, "mode       %s\n", utf8_clean(str_from(policy->mode), name, sizeof name));
	fingerprint(policy->grant_key.bytes, policy->grant_key.size, text);
	fprintf(out, "grant key  %s\n", text);
	if (policy->two_signatures_above)
		fprintf(out, "run orders for more than %u devices need two approvers\n", policy->two_signatures_above);
	for (pb_size_t i = 0; i < policy->approvers_count; i++) {
		const murmesh_Approver *approver = &policy->approvers[i];
		fingerprint(approver->key.bytes, approver->key.size, text);
		fprintf(out, "approver   %s %s\n", text, utf8_clean(str_from(approver->name), name, sizeof name));
	}
	for (pb_size_t i = 0; i < policy->parents_count; i++)
		fprintf(out, "parent     %s\n", utf8_clean(str_from(policy->parents[i]), name, sizeof name));
}

json_t *policy_json(const murmesh_Policy *policy)
{
	json_t *approvers = json_array(), *parents = json_array();
	char text[FINGERPRINT_SIZE], id[2 * sizeof policy->mesh + 1];
	for (pb_size_t i = 0; i < policy->approvers_count; i++) {
		const murmesh_Approver *approver = &policy->approvers[i];
		fingerprint(approver->key.bytes, approver->key.size, text);
		hex_encode(approver->user, sizeof approver->user, id);
		json_array_append_new(approvers, json_pack("{s:o, s:s, s:s}", "name", cli_json_text(str_from(approver->name)),
		                                           "user", id, "fingerprint", text));
	}
	for (pb_size_t i = 0; i < policy->parents_count; i++)
		json_array_append_new(parents, cli_json_text(str_from(policy->parents[i])));
	fingerprint(policy->grant_key.bytes, policy->grant_key.size, text);
	hex_encode(policy->mesh, sizeof policy->mesh, id);
	return json_pack("{s:s, s:I, s:o, s:s, s:i, s:o, s:o}", "mesh", id, "version", (json_int_t)policy->version, "mode",
	                 cli_json_text(str_from(policy->mode)), "grant_key", text, "two_signatures_above",
	                 (int)policy->two_signatures_above, "approvers", approvers, "parents", parents);
}
