/* gateway/component.h: the certificate of a role that meets others over TLS: asked of core with a key that lives as long as the role, again after two
 * thirds of its life, and when the certification manager has another intermediate.  It comes with those whose certificates count (certify.h). */
#ifndef GATEWAY_COMPONENT_H
#define GATEWAY_COMPONENT_H
#include "base/id.h"
#include "crypto/tls.h"
#include "gateway/certify.h"
#include "gateway/gateway.h"

struct component;
struct io_loop;
struct rpc_connection;

/* core: where the role keeps its connection to core; borrowed, as is ctx.  how: verify, kinds and alpn of its context; copied, what it points to is
 * borrowed.  place: in a relay the server gives it a certificate of that kind; there and elsewhere it asks by a signed request.  renewed: there is another context; connections made under an older one keep that.  NULL when memory is short. */
struct component *component_new(struct io_loop *loop, struct rpc_connection *const *core, enum gateway_place place,
                                const struct tls_settings *how, void (*renewed)(void *ctx), void *ctx);
struct component *component_free(struct component *component); /* after the connection */
void component_revoked(struct component *component,
                       const uint8_t key_hash[HASH_SIZE]); /* if that key is its own, it gets another */
void component_follow(struct component *component);        /* core is connected */
/* Until the first certificate: NULL; nobody's; zero. */
struct tls_context *component_tls(const struct component *component);
const struct issuers *component_issuers(const struct component *component);
const struct id *component_mesh(const struct component *component);
#endif
