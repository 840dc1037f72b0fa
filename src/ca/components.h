/* ca/components.h: machines that run roles of the server elsewhere, as the server's database keeps them.
 *
 * A component enrols as a device does, with a join key that was made for one (ca/records.h); what it may is what that key says, as long as it is in the
 * mesh.  Functions with a tx run inside a job (store/store.h) and return the store's errors besides those named.  Times are seconds since 1970 UTC. */
#ifndef CA_COMPONENTS_H
#define CA_COMPONENTS_H
#include <stdint.h>

#include "base/id.h"
#include "base/str.h"

struct store_tx;

#define CA_COMPONENT_ROLES_ALL 31u
#define CA_COMPONENTS_MAX      1000 /* that are not revoked */

struct component_record {
	struct id id;
	char name[64];
	int64_t number;    /* behind the name */
	unsigned roles;    /* bits of ComponentRole (enrol.proto) */
	char address[128]; /* host:port where others find it, as it said when it enrolled */
	int64_t created, last_seen, revoked;
};

int ca_component_add(struct store_tx *tx, const struct component_record *component);          /* -E_EXISTS, -E_LIMIT */
int ca_component_get(struct store_tx *tx, const struct id *id, struct component_record *ret); /* -E_NOT_FOUND */
/* By name, then number; revoked ones too.  A negative answer ends the walk and is its result. */
int ca_component_each(struct store_tx *tx, int (*each)(void *ctx, const struct component_record *component), void *ctx);
int ca_component_seen(struct store_tx *tx, const struct id *id, int64_t now);
int ca_component_revoke(struct store_tx *tx, const struct id *id, int64_t now); /* -E_NOT_FOUND: also one that is revoked */

/* "link,relay,web,collect,viz" and its bits: names once each, with commas.  -E_COMPONENT_ROLE. */
#define CA_COMPONENT_ROLES_SIZE 64
int ca_component_roles_parse(struct str text, uint32_t *ret);
const char *ca_component_roles_format(uint32_t roles, char out[CA_COMPONENT_ROLES_SIZE]);
#endif
