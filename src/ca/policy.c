#include "ca/policy.h"

#include <pb_decode.h>
#include <pb_encode.h>

#include "base/err.h"

int policy_encode(const murmesh_Policy *policy, murmesh_SignedDocument *ret)
{
	*ret = (murmesh_SignedDocument)murmesh_SignedDocument_init_zero;
	pb_ostream_t out = pb_ostream_from_buffer(ret->document.bytes, sizeof ret->document.bytes);
	if (!pb_encode(&out, murmesh_Policy_fields, policy))
		return -E_TOO_LONG;
	ret->document.size = (pb_size_t)out.bytes_written;
	return 0;
}

int policy_decode(const murmesh_SignedDocument *document, murmesh_Policy *ret)
{
	pb_istream_t in = pb_istream_from_buffer(document->document.bytes, document->document.size);
	return pb_decode(&in, murmesh_Policy_fields, ret) ? 0 : -E_MESSAGE;
}

int policy_sign(const struct key *root_key, const murmesh_Policy *policy, murmesh_SignedDocument *ret)
{
	size_t len;
	int err = policy_encode(policy, ret);
	if (err == 0)
		err = key_sign(root_key, CONTEXT_POLICY, ret->document.bytes, ret->document.size, ret->signature.bytes, &len);
	if (err == 0)
		ret->signature.size = (pb_size_t)len;
	return err;
}

int policy_open(const struct certificate *root, const murmesh_SignedDocument *document, murmesh_Policy *ret)
{
	struct key *root_key = certificate_key(root);
	int err = root_key ? key_verify(root_key, CONTEXT_POLICY, document->document.bytes, document->document.size,
	                                document->signature.bytes, document->signature.size)
	                   : -E_NO_MEMORY;
	key_free(root_key);
	return err < 0 ? err : policy_decode(document, ret);
}
