/* cli/ca.h: what the parts of `murmesh ca` share.  Functions with an exit code have printed why it is not 0. */
#ifndef CLI_CA_H
#define CLI_CA_H
#include "ca.pb.h"
#include "cli/cli.h"
#include "crypto/certificate.h"

/* The certification manager's folder, in the server's. */
int ca_folder(const struct cli *cli, char out[4096]);
/* What has changed there is in force when the server has read it: by itself, if it runs.  Exit code. */
int ca_reload(const struct cli *cli, const char *done);

int ca_show(const struct cli *cli);
int ca_init(const struct cli *cli);
int ca_sign_intermediate(const struct cli *cli);
int ca_rotate(const struct cli *cli);
int ca_install(const struct cli *cli);
int ca_recovery(const struct cli *cli);
int ca_recover(const struct cli *cli);
/* What core has seen of that root's intermediates (its directory), as long as there is room. */
void ca_formers_add(const char *db, const struct certificate *root, murmesh_CaAnswer *answer);
#endif
