#include "crypto/certificate.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <time.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "crypto/native.h"

int certificate_wrap(X509 *x509, struct certificate **ret)
{
	struct certificate *certificate = x509 ? mem_alloc(sizeof *certificate) : NULL;
	if (!certificate) {
		X509_free(x509);
		return -E_NO_MEMORY;
	}
	certificate->x509 = x509;
	*ret = certificate;
	return 0;
}

struct certificate *certificate_free(struct certificate *certificate)
{
	if (certificate)
		X509_free(certificate->x509);
	return mem_free(certificate);
}

/* Does x509 encode to exactly these bytes?  Otherwise one certificate could be written in several ways. */
static bool encodes_to(const X509 *x509, const uint8_t *der, size_t len)
{
	uint8_t *again = NULL;
	int again_len = i2d_X509(x509, &again);
	bool same = again_len >= 0 && (size_t)again_len == len && memcmp(again, der, len) == 0;
	OPENSSL_free(again);
	return same;
}

int certificate_read(const uint8_t *der, size_t len, struct certificate **ret)
{
	if (len > CERTIFICATE_MAX)
		return -E_TOO_LONG;
	const uint8_t *at = der;
	X509 *x509 = d2i_X509(NULL, &at, (long)len);
	ERR_clear_error();
	if (!x509 || !encodes_to(x509, der, len)) {
		X509_free(x509);
		return -E_ENCODING;
	}
	return certificate_wrap(x509, ret);
}

int certificate_write(const struct certificate *certificate, struct buf *out)
{
	uint8_t *der = NULL;
	int len = i2d_X509(certificate->x509, &der);
	if (len < 0)
		return -E_NO_MEMORY;
	int err = buf_append(out, der, (size_t)len);
	OPENSSL_free(der);
	return err;
}

int certificate_put(const struct certificate *certificate, uint8_t *out, size_t size, uint16_t *ret_len)
{
	int len = i2d_X509(certificate->x509, NULL);
	if (len < 0)
		return -E_NO_MEMORY;
	if ((size_t)len > size || len > UINT16_MAX)
		return -E_TOO_LONG;
	*ret_len = (uint16_t)len;
	return i2d_X509(certificate->x509, &out) == len ? 0 : -E_NO_MEMORY;
}

/* 1 and a certificate, 0 at the end of the text, or an error. */
static int read_pem_next(BIO *bio, struct certificate **ret)
{
	char *name, *header;
	uint8_t *der;
	long len;
	if (PEM_read_bio(bio, &name, &header, &der, &len) != 1) {
		bool end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
		ERR_clear_error();
		return end ? 0 : -E_ENCODING;
	}
	int err = -E_ENCODING;
	if (str_is(str_from(name), PEM_STRING_X509) && !*header)
		err = certificate_read(der, (size_t)len, ret);
	OPENSSL_free(name);
	OPENSSL_free(header);
	OPENSSL_free(der);
	return err < 0 ? err : 1;
}

int certificate_read_pem(struct str pem, struct certificate **ret, size_t max)
{
	if (pem.len > (max + 1) * 2 * CERTIFICATE_MAX)
		return -E_TOO_LONG;
	BIO *bio = BIO_new_mem_buf(pem.ptr ? pem.ptr : "", (int)pem.len);
	struct certificate *one = NULL;
	size_t n = 0;
	int more = bio ? 0 : -E_NO_MEMORY;
	while (bio && (more = read_pem_next(bio, &one)) > 0) {
		if (n == max) {
			certificate_free(one);
			more = -E_TOO_LONG;
			break;
		}
		ret[n++] = one;
	}
	BIO_free(bio);
	if (more == 0 && n == 0)
		more = -E_ENCODING;
	while (more < 0 && n > 0) {
		n--;
		ret[n] = certificate_free(ret[n]);
	}
	return more < 0 ? more : (int)n;
}

int certificate_write_pem(const struct certificate *certificate, struct buf *out)
{
	BIO *bio = BIO_new(BIO_s_mem());
	int err = -E_NO_MEMORY;
	if (bio && PEM_write_bio_X509(bio, certificate->x509) == 1)
		err = bio_append_to(bio, out);
	BIO_free(bio);
	return err;
}

static int names_identity(const GENERAL_NAMES *names, struct identity *ret)
{
	const GENERAL_NAME *uri = NULL;
	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
		if (name->type == GEN_DNS || name->type == GEN_IPADD)
			continue;
		if (name->type != GEN_URI || uri)
			return -E_CERTIFICATE_IDENTITY;
		uri = name;
	}
	if (!uri)
		return -E_CERTIFICATE_IDENTITY;
	const ASN1_IA5STRING *text = uri->d.uniformResourceIdentifier;
	return identity_parse((struct str){ (const char *)ASN1_STRING_get0_data(text), (size_t)ASN1_STRING_length(text) }, ret);
}

int certificate_identity(const X509 *x509, struct identity *ret)
{
	/* NULL also when the extension stands there twice. */
	GENERAL_NAMES *names = X509_get_ext_d2i(x509, NID_subject_alt_name, NULL, NULL);
	int err = names ? names_identity(names, ret) : -E_CERTIFICATE_IDENTITY;
	GENERAL_NAMES_free(names);
	ERR_clear_error();
	return err;
}

static int serial_read(const X509 *x509, uint8_t ret_serial[CERTIFICATE_SERIAL_SIZE])
{
	const ASN1_INTEGER *serial = X509_get0_serialNumber(x509);
	int len = ASN1_STRING_length(serial);
	if (ASN1_STRING_type(serial) != V_ASN1_INTEGER || len > CERTIFICATE_SERIAL_SIZE)
		return -E_CERTIFICATE;
	memset(ret_serial, 0, CERTIFICATE_SERIAL_SIZE);
	memcpy(ret_serial + CERTIFICATE_SERIAL_SIZE - len, ASN1_STRING_get0_data(serial), (size_t)len);
	return 0;
}

static int time_read(const ASN1_TIME *time, int64_t *ret)
{
	struct tm tm;
	if (ASN1_TIME_to_tm(time, &tm) != 1)
		return -E_CERTIFICATE;
	*ret = timegm(&tm);
	return 0;
}

static int key_hash_read(const X509 *x509, uint8_t ret_hash[HASH_SIZE])
{
	uint8_t *der = NULL;
	int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x509), &der);
	if (len < 0)
		return -E_CERTIFICATE;
	hash_sha256(der, (size_t)len, ret_hash);
	OPENSSL_free(der);
	return 0;
}

static void common_name_read(const X509 *x509, char ret_name[CERTIFICATE_NAME_SIZE])
{
	X509_NAME *subject = X509_get_subject_name(x509);
	int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
	uint8_t *text = NULL;
	int len = at < 0 ? 0 : ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
	utf8_clean((struct str){ (const char *)text, len < 0 ? 0 : (size_t)len }, ret_name, CERTIFICATE_NAME_SIZE);
	OPENSSL_free(text);
}

int certificate_inspect(const struct certificate *certificate, struct certificate_info *ret)
{
	X509 *x509 = certificate->x509;
	struct certificate_info info = { 0 };
	int err = X509_get_extension_flags(x509) & EXFLAG_INVALID ? -E_CERTIFICATE : 0;
	info.has_identity = X509_check_ca(x509) == 0;
	if (!err && info.has_identity)
		err = certificate_identity(x509, &info.identity);
	if (!err)
		err = serial_read(x509, info.serial);
	if (!err)
		err = time_read(X509_get0_notBefore(x509), &info.not_before);
	if (!err)
		err = time_read(X509_get0_notAfter(x509), &info.not_after);
	if (!err)
		err = key_hash_read(x509, info.key_hash);
	ERR_clear_error();
	if (err)
		return err;
	common_name_read(x509, info.common_name);
	*ret = info;
	return 0;
}

struct key *certificate_key(const struct certificate *certificate)
{
	struct key *key = NULL;
	key_from_info(X509_get_X509_PUBKEY(certificate->x509), &key);
	return key;
}
