/* cli/policy.h: what the parts of `murmesh policy` share.  Functions with an exit code have printed why it is not 0. */
#ifndef CLI_POLICY_H
#define CLI_POLICY_H
#include "cli/cli.h"
#include "crypto/certificate.h"
#include "enrol.pb.h"

/* The policy in a server's folder, which the mesh root has signed. */
struct policy_kept {
	char directory[4096]; /* of the certification manager */
	struct certificate *root;
	murmesh_SignedDocument document;
	murmesh_Policy policy; /* read out of it */
};
int policy_kept_load(const struct cli *cli, struct policy_kept *ret); /* exit code; policy_kept_done() in any case */
void policy_kept_done(struct policy_kept *kept);
/* Puts it in force: the folder first, then the server, if it runs.  Exit code. */
int policy_kept_replace(const struct cli *cli, const struct policy_kept *kept, const murmesh_SignedDocument *document);

/* As the command's options have it: the next version.  Exit code. */
int policy_change(const struct cli *cli, murmesh_Policy *policy);

void policy_print(FILE *out, const murmesh_Policy *policy);
json_t *policy_json(const murmesh_Policy *policy);

/* Operations of the command; exit codes. */
int policy_set(const struct cli *cli);
int policy_draft(const struct cli *cli);
int policy_sign_draft(const struct cli *cli);
int policy_install(const struct cli *cli);
int policy_key(const struct cli *cli);
int policy_approve(const struct cli *cli);
#endif
