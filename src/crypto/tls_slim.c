/* A key of a provider would be encoded and decoded again by each X509_set_pubkey(): 0.3 ms.  One of the old kind takes 0.01 ms. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/ec.h>

#include "crypto/tls_internal.h"

/* Any will do: nobody asks the certificate for its key again. */
static EVP_PKEY *shared_key(void)
{
	static EVP_PKEY *shared; /* of the process */
	EC_KEY *ec = shared ? NULL : EC_KEY_new_by_curve_name(NID_X9_62_prime256v1);
	EVP_PKEY *key = ec && EC_KEY_generate_key(ec) == 1 ? EVP_PKEY_new() : NULL;
	if (key && EVP_PKEY_set1_EC_KEY(key, ec) == 1)
		shared = key;
	else
		EVP_PKEY_free(key);
	EC_KEY_free(ec);
	return shared;
}

/* Of the key exchange: it has served.  The object stays OpenSSL's, without the key in it. */
static void exchanged_empty(EVP_PKEY *key)
{
	EVP_PKEY_set_type(key, EVP_PKEY_get_base_id(key));
	EVP_PKEY_free(key);
}

void tls_slim(SSL *ssl)
{
	X509 *peer = SSL_get0_peer_certificate(ssl);
	STACK_OF(X509) *sent = SSL_get_peer_cert_chain(ssl);
	EVP_PKEY *key = peer ? shared_key() : NULL, *exchanged;
	X509_NAME *empty = key ? X509_NAME_new() : NULL;
	while (sk_X509_num(sent) > 0)
		X509_free(sk_X509_pop(sent));
	if (empty) {
		X509_set_pubkey(peer, key);
		X509_set_subject_name(peer, empty);
		X509_set_issuer_name(peer, empty);
	}
	while (empty && X509_get_ext_count(peer) > 0)
		X509_EXTENSION_free(X509_delete_ext(peer, 0));
	X509_NAME_free(empty);
	if (SSL_get_tmp_key(ssl, &exchanged) == 1)
		exchanged_empty(exchanged);
	if (SSL_get_peer_tmp_key(ssl, &exchanged) == 1)
		exchanged_empty(exchanged);
}
