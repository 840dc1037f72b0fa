/* manage/proof.h: how a call of Run or Terminal ended, with the management part's signature on it (tunnel/result.h). */
#ifndef MANAGE_PROOF_H
#define MANAGE_PROOF_H
#include "tunnel/result.h"

/* result: murmesh_Result, whose mesh and device it fills in; ret: murmesh_SignedResult. */
typedef int (*proof_sign)(void *ctx, void *result, void *ret);

struct proof {
	struct result_streams streams; /* what was sent */
	struct id nonce;               /* of the order */
	int64_t started, ended;        /* seconds since 1970 */
};
/* Fills in the proof of an exit that is else complete.  Where that fails there is none, which is logged. */
void proof_make(const struct proof *proof, proof_sign sign, void *ctx, murmesh_RunExit *exit);
#endif
