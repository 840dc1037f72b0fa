#include <errno.h>
#include <pb_decode.h>
#include <pb_encode.h>

#include "base/buf.h"
#include "base/encode.h"
#include "base/err.h"
#include "ca/join_line.h"
#include "gateway/keep.h"
#include "os/file.h"
#include "os/host.h"

int keep_token_load(const struct keep *keep, const struct id *key, murmesh_Token *ret)
{
	char path[4096];
	struct buf bytes;
	int err = keep_file(keep, "token", path);
	buf_init(&bytes, sizeof *ret + sizeof *key);
	if (err == 0)
		err = file_read(path, &bytes);
	struct reader r = { buf_head(&bytes), buf_len(&bytes) };
	const uint8_t *of = NULL;
	if (err == 0 && (reader_bytes(&r, sizeof key->bytes, &of) < 0 || memcmp(of, key->bytes, sizeof key->bytes) != 0))
		err = -ENOENT; /* of another join key */
	pb_istream_t in = pb_istream_from_buffer(r.ptr, r.len);
	if (err == 0 && !pb_decode(&in, murmesh_Token_fields, ret))
		err = -ENOENT;
	buf_done(&bytes);
	return err;
}

int keep_token(const struct keep *keep, const struct id *key, const murmesh_Token *token)
{
	uint8_t bytes[sizeof key->bytes + murmesh_Token_size];
	char path[4096];
	pb_ostream_t out = pb_ostream_from_buffer(bytes + sizeof key->bytes, murmesh_Token_size);
	memcpy(bytes, key->bytes, sizeof key->bytes);
	if (!pb_encode(&out, murmesh_Token_fields, token))
		return -E_INTERNAL;
	int err = keep_file(keep, "token", path);
	return err < 0 ? err : file_write(path, bytes, sizeof key->bytes + out.bytes_written, 0600);
}

int keep_csr(struct keep *keep, struct buf *out)
{
	char path[4096], name[64];
	int err = keep_key(keep);
	snprintf(name, sizeof name, "%s.csr", keep->name);
	if (err == 0)
		err = keep_file(keep, name, path);
	if (err < 0)
		return err;
	buf_clear(out);
	err = file_read(path, out);
	if (err != -ENOENT)
		return err;
	err = certificate_request_write(keep->key, out);
	return err < 0 ? err : file_write(path, buf_head(out), buf_len(out), 0600);
}

void keep_request(const struct join_line *line, const murmesh_Token *token, const struct host *host, murmesh_CertificateKind kind,
                  struct str csr, murmesh_CertificateRequest *ret)
{
	uint8_t secret_key[HASH_SIZE], csr_hash[HASH_SIZE];
	*ret = (murmesh_CertificateRequest){ .kind = kind };
	memcpy(ret->enrolment, token->enrolment, sizeof ret->enrolment);
	memcpy(ret->csr.bytes, csr.ptr, csr.len);
	ret->csr.size = (pb_size_t)csr.len;
	join_secret_key(line->secret, secret_key);
	hash_sha256(csr.ptr, csr.len, csr_hash);
	join_proof(secret_key, csr_hash, str_from(token->full_name), ret->proof);
	str_copy(str_from(host->os), ret->os, sizeof ret->os);
	str_copy(str_from(host->architecture), ret->arch, sizeof ret->arch);
	str_copy(STR(MURMESH_VERSION), ret->version, sizeof ret->version);
}
