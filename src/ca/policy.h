/* ca/policy.h: the mesh's policy (proto/enrol.proto), signed by the mesh root.  What an agent accepts is tunnel/grant.h's to say. */
#ifndef CA_POLICY_H
#define CA_POLICY_H
#include "crypto/certificate.h"
#include "enrol.pb.h"

/* -E_NO_MEMORY, -E_TOO_LONG. */
int policy_sign(const struct key *root_key, const murmesh_Policy *policy, murmesh_SignedDocument *ret);
/* Is it the root's?  -E_SIGNATURE, -E_MESSAGE. */
int policy_open(const struct certificate *root, const murmesh_SignedDocument *document, murmesh_Policy *ret);
#endif
