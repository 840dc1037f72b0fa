/* cli/user_key.h: the key with which a user signs his grants and orders in mode "signed": $XDG_CONFIG_HOME/murmesh/keys/user.key (else below
 * ~/.config), PKCS #8; folder 0700, file 0600, else it is not used (-E_NOT_PRIVATE).  No server ever has it. */
#ifndef CLI_USER_KEY_H
#define CLI_USER_KEY_H
#include "cli/session.h"

int user_key_path(char path[4096]);  /* -E_NOT_FOUND (no HOME), -E_TOO_LONG */
int user_key_make(struct key **ret); /* -E_EXISTS */
int user_key_load(struct key **ret); /* -ENOENT */

/* The public part as one line of text, without its end: "murmesh-user-key " and base64url of the SubjectPublicKeyInfo. */
#define USER_KEY_TEXT_SIZE 256
int user_key_format(const struct key *key, char text[USER_KEY_TEXT_SIZE]);
int user_key_parse(struct str text, uint8_t ret[KEY_PUBLIC_MAX], size_t *ret_len); /* -E_USER_KEY_TEXT */

/* Adds the user's signature when there is a key; what the server made has to be what this user asked for just now (-E_NOT_AS_ASKED). */
int user_sign_grant(struct session *session, const murmesh_TunnelRequest *request, murmesh_SignedDocument *grant);
int user_sign_order(struct session *session, const murmesh_OrderRequest *request, murmesh_SignedDocument *order);
/* Adds it to an order that he has looked at.  -E_USER_KEY (there is none), -E_EXISTS (he has signed it), -E_LIMIT. */
int user_sign_seen(murmesh_SignedDocument *order);
#endif
