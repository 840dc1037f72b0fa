/* tunnel/result.h: how an order ended, in the words of the device's management part (message Result of proto/run.proto), which signs them with its
 * own key: whoever carries them, net and the relays, cannot change them. */
#ifndef TUNNEL_RESULT_H
#define TUNNEL_RESULT_H
#include "crypto/certificate.h"
#include "enrol.pb.h"
#include "run.pb.h"

/* What a command wrote, as far as it was sent or came. */
struct result_streams {
	struct digest *out, *err;
};
int result_streams_init(struct result_streams *streams); /* -E_NO_MEMORY */
void result_streams_done(struct result_streams *streams);
/* Puts the hashes of all so far into the result. */
void result_streams_read(const struct result_streams *streams, murmesh_Result *result);

/* Of a command that ran on a device, as a shell has it: 0 to 255. */
int result_exit_code(const murmesh_RunExit *exit);

/* The device's side; all of its manager. */
struct result_signer {
	const struct key *key;
	const struct certificate *leaf, *intermediate;
	const struct identity *self;
};
/* Fills in mesh and device, and signs.  -E_TOO_LONG, -E_NO_MEMORY. */
int result_sign(const struct result_signer *signer, murmesh_Result *result, murmesh_SignedResult *ret);

/* The user's side. */
struct result_expected {
	const struct certificate *root;
	struct id mesh, device;
	const murmesh_SignedDocument *order;
	int64_t now; /* seconds */
};
/* Has that device's manager signed this exit of that order, and what came?  -E_SIGNATURE (or there is none), -E_MESSAGE,
 * -E_CERTIFICATE... (what certificate_verify() says, or of another device), -E_UNVERIFIED (signed was another order, exit or output). */
int result_check(const struct result_expected *expected, const murmesh_RunExit *exit, const struct result_streams *streams);
#endif
