#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "base/err.h"
#include "base/utf8.h"
#include "crypto/native.h"

#define SERIAL_BITS     127 /* positive, at most 20 bytes (RFC 5280 section 4.1.2.2), not to be guessed */
#define COMMON_NAME_MAX 64  /* RFC 5280, ub-common-name */
#define NAMES_MAX       16
#define NAME_MAX_LENGTH 253

/* Bits of KeyUsage (RFC 5280 section 4.2.1.3). */
enum { DIGITAL_SIGNATURE = 0, KEY_CERT_SIGN = 5, CRL_SIGN = 6 };

/* A host name as RFC 1123 has it, and the underscore that device names may have. */
static bool host_name_valid(struct str name)
{
	if (name.len == 0 || name.len > NAME_MAX_LENGTH || name.ptr[name.len - 1] == '.')
		return false;
	while (name.len > 0) {
		struct str label = str_cut(name, '.', &name);
		if (label.len == 0 || label.len > 63 || label.ptr[0] == '-' || label.ptr[label.len - 1] == '-')
			return false;
		for (size_t i = 0; i < label.len; i++)
			if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_", label.ptr[i]) ||
			    !label.ptr[i])
				return false;
	}
	return true;
}

static int order_check(const struct certificate_order *order)
{
	if (order->common_name.len > COMMON_NAME_MAX)
		return -E_TOO_LONG;
	if (!utf8_valid(order->common_name))
		return -E_UTF8;
	if (order->n_names > NAMES_MAX)
		return -E_LIMIT;
	/* Root and intermediate are found by their names. */
	if (order->profile != CERTIFICATE_LEAF && order->common_name.len == 0)
		return -E_NAME;
	return order->not_before < order->not_after ? 0 : -E_CERTIFICATE_EXPIRED;
}

static bool serial_set(X509 *x509)
{
	BIGNUM *number = BN_new();
	bool set = number && BN_rand(number, SERIAL_BITS, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1 &&
	           BN_to_ASN1_INTEGER(number, X509_get_serialNumber(x509));
	BN_free(number);
	return set;
}

static bool subject_set(X509 *x509, struct str common_name)
{
	return common_name.len == 0 ||
	       X509_NAME_add_entry_by_NID(X509_get_subject_name(x509), NID_commonName, MBSTRING_UTF8,
	                                  (const uint8_t *)common_name.ptr, (int)common_name.len, -1, 0) == 1;
}

static bool head_set(X509 *x509, const struct certificate_order *order, const struct key *subject, const struct certificate *issuer)
{
	return X509_set_version(x509, X509_VERSION_3) == 1 && serial_set(x509) && subject_set(x509, order->common_name) &&
	       X509_set_issuer_name(x509, X509_get_subject_name(issuer ? issuer->x509 : x509)) == 1 &&
	       ASN1_TIME_set(X509_getm_notBefore(x509), (time_t)order->not_before) &&
	       ASN1_TIME_set(X509_getm_notAfter(x509), (time_t)order->not_after) && X509_set_pubkey(x509, subject->pkey) == 1;
}

static bool extension_add(X509 *x509, int nid, void *value, bool critical)
{
	return value && X509_add1_ext_i2d(x509, nid, value, critical, X509V3_ADD_DEFAULT) == 1;
}

static bool constraints_add(X509 *x509, enum certificate_profile profile)
{
	BASIC_CONSTRAINTS *constraints = BASIC_CONSTRAINTS_new();
	bool added = constraints != NULL;
	if (added && profile != CERTIFICATE_LEAF) {
		constraints->ca = 0xff;
		constraints->pathlen = ASN1_INTEGER_new();
		added = constraints->pathlen && ASN1_INTEGER_set(constraints->pathlen, profile == CERTIFICATE_ROOT) == 1;
	}
	added = added && extension_add(x509, NID_basic_constraints, constraints, true);
	BASIC_CONSTRAINTS_free(constraints);
	return added;
}

static bool key_usage_add(X509 *x509, bool leaf)
{
	ASN1_BIT_STRING *usage = ASN1_BIT_STRING_new();
	bool added = usage &&
	             (leaf ? ASN1_BIT_STRING_set_bit(usage, DIGITAL_SIGNATURE, 1)
	                   : ASN1_BIT_STRING_set_bit(usage, KEY_CERT_SIGN, 1) && ASN1_BIT_STRING_set_bit(usage, CRL_SIGN, 1)) &&
	             extension_add(x509, NID_key_usage, usage, true);
	ASN1_BIT_STRING_free(usage);
	return added;
}

static bool extended_usage_add(X509 *x509, const struct certificate_order *order)
{
	enum identity_kind kind = order->identity.kind;
	bool client = order->usage != CERTIFICATE_SERVER,
	     server = order->usage == CERTIFICATE_BY_KIND
	                      ? kind == IDENTITY_NODE || kind == IDENTITY_COMPONENT || kind == IDENTITY_RELAY
	                      : !client;
	EXTENDED_KEY_USAGE *usage = EXTENDED_KEY_USAGE_new();
	bool added = usage && (!client || sk_ASN1_OBJECT_push(usage, OBJ_nid2obj(NID_client_auth)) > 0) &&
	             (!server || sk_ASN1_OBJECT_push(usage, OBJ_nid2obj(NID_server_auth)) > 0) &&
	             extension_add(x509, NID_ext_key_usage, usage, false);
	EXTENDED_KEY_USAGE_free(usage);
	return added;
}

/* Takes over value. */
static int name_push(GENERAL_NAMES *names, int type, ASN1_STRING *value)
{
	GENERAL_NAME *name = value ? GENERAL_NAME_new() : NULL;
	if (!name) {
		ASN1_STRING_free(value);
		return -E_NO_MEMORY;
	}
	GENERAL_NAME_set0_value(name, type, value);
	if (sk_GENERAL_NAME_push(names, name) > 0)
		return 0;
	GENERAL_NAME_free(name);
	return -E_NO_MEMORY;
}

static int text_push(GENERAL_NAMES *names, int type, struct str text)
{
	ASN1_IA5STRING *value = ASN1_IA5STRING_new();
	if (value && ASN1_STRING_set(value, text.ptr, (int)text.len) == 1)
		return name_push(names, type, value);
	ASN1_IA5STRING_free(value);
	return -E_NO_MEMORY;
}

static int host_push(GENERAL_NAMES *names, struct str host)
{
	char text[NAME_MAX_LENGTH + 1];
	if (str_copy(host, text, sizeof text) < 0 || strlen(text) != host.len)
		return -E_NAME;
	ASN1_OCTET_STRING *address = a2i_IPADDRESS(text);
	if (address)
		return name_push(names, GEN_IPADD, address);
	return host_name_valid(host) ? text_push(names, GEN_DNS, host) : -E_NAME;
}

static int names_add(X509 *x509, const struct certificate_order *order)
{
	char identity[IDENTITY_TEXT_SIZE];
	identity_format(&order->identity, identity);
	GENERAL_NAMES *names = GENERAL_NAMES_new();
	int err = names ? text_push(names, GEN_URI, str_from(identity)) : -E_NO_MEMORY;
	for (size_t i = 0; i < order->n_names && !err; i++)
		err = host_push(names, order->names[i]);
	/* RFC 5280 section 4.2.1.6: critical when the subject is empty. */
	if (!err && !extension_add(x509, NID_subject_alt_name, names, order->common_name.len == 0))
		err = -E_NO_MEMORY;
	GENERAL_NAMES_free(names);
	return err;
}

static bool subject_key_add(X509 *x509)
{
	uint8_t hash[EVP_MAX_MD_SIZE];
	unsigned len;
	ASN1_OCTET_STRING *id = ASN1_OCTET_STRING_new();
	/* RFC 7093: the leftmost 160 bits of SHA-256. */
	bool added = id && X509_pubkey_digest(x509, EVP_sha256(), hash, &len) == 1 && ASN1_OCTET_STRING_set(id, hash, 20) == 1 &&
	             extension_add(x509, NID_subject_key_identifier, id, false);
	ASN1_OCTET_STRING_free(id);
	return added;
}

static bool authority_key_add(X509 *x509, X509 *issuer)
{
	const ASN1_OCTET_STRING *id = X509_get0_subject_key_id(issuer);
	AUTHORITY_KEYID *authority = AUTHORITY_KEYID_new();
	bool added = authority && id && (authority->keyid = ASN1_OCTET_STRING_dup(id)) &&
	             extension_add(x509, NID_authority_key_identifier, authority, false);
	AUTHORITY_KEYID_free(authority);
	return added;
}

static int extensions_add(X509 *x509, const struct certificate_order *order, const struct certificate *issuer)
{
	bool leaf = order->profile == CERTIFICATE_LEAF;
	if (!constraints_add(x509, order->profile) || !key_usage_add(x509, leaf) || (!leaf && !subject_key_add(x509)) ||
	    (issuer && !authority_key_add(x509, issuer->x509)) || (leaf && !extended_usage_add(x509, order)))
		return -E_NO_MEMORY;
	return leaf ? names_add(x509, order) : 0;
}

int certificate_issue(const struct certificate_order *order, const struct key *subject, const struct certificate *issuer,
                      const struct key *issuer_key, struct certificate **ret)
{
	int err = order_check(order);
	if (err)
		return err;
	if (issuer && (X509_check_ca(issuer->x509) != 1 || X509_check_private_key(issuer->x509, issuer_key->pkey) != 1))
		return -E_INTERNAL;
	X509 *x509 = X509_new();
	err = x509 && head_set(x509, order, subject, issuer) ? extensions_add(x509, order, issuer) : -E_NO_MEMORY;
	if (!err && X509_sign(x509, issuer_key->pkey, EVP_sha256()) <= 0)
		err = -E_NO_MEMORY;
	ERR_clear_error();
	if (err) {
		X509_free(x509);
		return err;
	}
	return certificate_wrap(x509, ret);
}
