#include "manage/proof.h"

#include <string.h>

#include "base/err.h"
#include "os/log.h"

void proof_make(const struct proof *proof, proof_sign sign, void *ctx, murmesh_RunExit *exit)
{
	murmesh_Result result = { .code = exit->code, .signal = exit->signal, .started = proof->started, .ended = proof->ended };
	memcpy(result.nonce, proof->nonce.bytes, sizeof result.nonce);
	result_streams_read(&proof->streams, &result);
	int err = sign(ctx, &result, &exit->proof);
	exit->has_proof = err == 0;
	if (err < 0)
		log_warning("how an order ended could not be signed: %s", err_text(err));
}
