#include "tunnel/result.h"

#include <pb_decode.h>
#include <pb_encode.h>

#include "base/err.h"
#include "base/mem.h"
#include "fleet.pb.h"

int result_streams_init(struct result_streams *streams)
{
	streams->out = digest_new();
	streams->err = digest_new();
	if (streams->out && streams->err)
		return 0;
	result_streams_done(streams);
	return -E_NO_MEMORY;
}

void result_streams_done(struct result_streams *streams)
{
	streams->out = digest_free(streams->out);
	streams->err = digest_free(streams->err);
}

void result_streams_read(const struct result_streams *streams, murmesh_Result *result)
{
	digest_read(streams->out, result->stdout_hash);
	digest_read(streams->err, result->stderr_hash);
}

/* ---- the device ---- */

int result_sign(const struct result_signer *signer, murmesh_Result *result, murmesh_SignedResult *ret)
{
	size_t len = 0;
	memcpy(result->mesh, signer->self->mesh.bytes, sizeof result->mesh);
	memcpy(result->device, signer->self->id.bytes, sizeof result->device);
	pb_ostream_t out = pb_ostream_from_buffer(ret->result.bytes, sizeof ret->result.bytes);
	int err = pb_encode(&out, murmesh_Result_fields, result) ? 0 : -E_TOO_LONG;
	ret->result.size = (pb_size_t)out.bytes_written;
	if (err == 0)
		err = key_sign(signer->key, CONTEXT_RESULT, ret->result.bytes, ret->result.size, ret->signature.bytes, &len);
	ret->signature.size = (pb_size_t)len;
	if (err == 0)
		err = certificate_put(signer->leaf, ret->leaf.bytes, sizeof ret->leaf.bytes, &ret->leaf.size);
	if (err == 0)
		err = certificate_put(signer->intermediate, ret->intermediate.bytes, sizeof ret->intermediate.bytes,
		                      &ret->intermediate.size);
	return err;
}

/* ---- the user ---- */

/* The key of that device's manager. */
static int signer_check(const struct result_expected *expected, const murmesh_SignedResult *proof, struct key **ret)
{
	struct certificate *leaf = NULL, *intermediate = NULL;
	struct identity identity;
	int err = certificate_read(proof->leaf.bytes, proof->leaf.size, &leaf);
	if (err == 0)
		err = certificate_read(proof->intermediate.bytes, proof->intermediate.size, &intermediate);
	if (err == 0)
		err = certificate_verify(leaf, intermediate, expected->root, &expected->mesh, 1u << IDENTITY_MANAGER, expected->now,
		                         &identity);
	if (err == 0 && !id_equal(&identity.id, &expected->device))
		err = -E_CERTIFICATE_PEER;
	if (err == 0) {
		*ret = certificate_key(leaf);
		err = *ret ? 0 : -E_CERTIFICATE;
	}
	certificate_free(leaf);
	certificate_free(intermediate);
	return err;
}

static int proof_open(const struct result_expected *expected, const murmesh_SignedResult *proof, murmesh_Result *ret)
{
	struct key *key = NULL;
	int err = signer_check(expected, proof, &key);
	if (err == 0)
		err = key_verify(key, CONTEXT_RESULT, proof->result.bytes, proof->result.size, proof->signature.bytes,
		                 proof->signature.size);
	pb_istream_t in = pb_istream_from_buffer(proof->result.bytes, proof->result.size);
	if (err == 0 && !pb_decode(&in, murmesh_Result_fields, ret))
		err = -E_MESSAGE;
	key_free(key);
	return err;
}

/* The device's word: 256 must not become our 0. */
int result_exit_code(const murmesh_RunExit *exit)
{
	if (exit->signal)
		return exit->signal < 128 ? 128 + (int)exit->signal : 255;
	return exit->code < 256 ? (int)exit->code : 255;
}

/* The order's nonce tells this run from all others. */
static int nonce_read(const murmesh_SignedDocument *order, uint8_t ret[sizeof(struct id)])
{
	murmesh_Order *document = mem_alloc(sizeof *document);
	pb_istream_t in = pb_istream_from_buffer(order->document.bytes, order->document.size);
	int err = !document ? -E_NO_MEMORY : pb_decode(&in, murmesh_Order_fields, document) ? 0 : -E_MESSAGE;
	if (err == 0)
		memcpy(ret, document->nonce, sizeof document->nonce);
	mem_free(document);
	return err;
}

int result_check(const struct result_expected *expected, const murmesh_RunExit *exit, const struct result_streams *streams)
{
	murmesh_Result as_came = { .code = exit->code, .signal = exit->signal }, as_signed;
	result_streams_read(streams, &as_came);
	int err = exit->has_proof ? proof_open(expected, &exit->proof, &as_signed) : -E_SIGNATURE;
	if (err == 0)
		err = nonce_read(expected->order, as_came.nonce);
	if (err < 0)
		return err;
	bool same = memcmp(as_signed.mesh, expected->mesh.bytes, sizeof as_signed.mesh) == 0 &&
	            memcmp(as_signed.device, expected->device.bytes, sizeof as_signed.device) == 0 &&
	            memcmp(as_signed.nonce, as_came.nonce, sizeof as_signed.nonce) == 0 && as_signed.code == as_came.code &&
	            as_signed.signal == as_came.signal && hash_equal(as_signed.stdout_hash, as_came.stdout_hash) &&
	            hash_equal(as_signed.stderr_hash, as_came.stderr_hash);
	return same ? 0 : -E_UNVERIFIED;
}
