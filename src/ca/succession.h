/* ca/succession.h: how a certification manager gets an intermediate (its first, or another) without having the mesh root's key: it makes the keys and
 * a request, the place of root.key answers, and the answer is put in place as one step.
 *
 * In the directory what is to come stands beside what is: next-intermediate.key, next-grant.key (when the grant key changes), next-mesh (of a
 * new one); then the other next-FILE, and a file `switch`, from which on they take the others' places, whatever is interrupted. */
#ifndef CA_SUCCESSION_H
#define CA_SUCCESSION_H
#include "ca.pb.h"
#include "crypto/certificate.h"

#define SUCCESSION_INTERMEDIATE "next-intermediate.key" /* while an answer is waited for */

/* The server's side.  A directory with a whole certification manager asks for another intermediate, and with grant_key for a policy with another
 * grant key; an empty one asks for all.  Asking again gives the same keys. */
int succession_request(const char *directory, bool grant_key, murmesh_CaRequest *ret);
/* The root's side: signs what is asked for.  -E_SIGNATURE (the request's own), -E_MESSAGE, -E_CA_ROOT (root is not that key's). */
int succession_answer(const murmesh_CaRequest *request, const struct key *root_key, const struct certificate *root,
                      murmesh_CaAnswer *ret);
/* Back at the server (answer->former counts where there is no intermediate yet): checks that all of it fits what is here, and puts it in place.  -E_CA_ANSWER, -E_POLICY_OLD. */
int succession_install(const char *directory, const murmesh_CaAnswer *answer);
/* May a server start with what is in the directory?  copies: where it keeps what it has seen (core's directory).  -E_CA_WAITING, -E_CA_LOST: no other
 * mesh is made in place of one whose keys are gone. */
int succession_check(const char *directory, const char *copies);
/* Goes on with an installation that was interrupted; nothing to do is 0. */
int succession_finish(const char *directory);
#endif
