/* ca/policy.h: the mesh's policy (proto/enrol.proto), signed by the mesh root.  What an agent accepts is tunnel/grant.h's to say. */
#ifndef CA_POLICY_H
#define CA_POLICY_H
#include "crypto/certificate.h"
#include "enrol.pb.h"

/* The document alone, not signed.  -E_TOO_LONG, -E_MESSAGE. */
int policy_encode(const murmesh_Policy *policy, murmesh_SignedDocument *ret);
int policy_decode(const murmesh_SignedDocument *document, murmesh_Policy *ret);
/* -E_NO_MEMORY, -E_TOO_LONG. */
int policy_sign(const struct key *root_key, const murmesh_Policy *policy, murmesh_SignedDocument *ret);
/* Is it the root's?  -E_SIGNATURE, -E_MESSAGE. */
int policy_open(const struct certificate *root, const murmesh_SignedDocument *document, murmesh_Policy *ret);
#endif
