/* cli/logins.h: the servers that `murmesh login` knows, one folder each: $XDG_CONFIG_HOME/murmesh/servers/HOST:PORT/ (else below ~/.config)
 *
 *   root.crt   the mesh root, believed from the first login on; stays after a logout
 *   login.pem  a user certificate, its intermediate, its key: while somebody is logged in
 *
 * Folders have mode 0700, files 0600; what others may read is not used (-E_NOT_PRIVATE). */
#ifndef CLI_LOGINS_H
#define CLI_LOGINS_H
#include "ca/join_line.h"
#include "crypto/certificate.h"
#include "enrol.pb.h"

struct buf;

#define SERVER_PORT      8443 /* as murmesh-server has it */
#define SERVER_TEXT_SIZE (JOIN_HOST_SIZE + 8)
struct server_address {
	char host[JOIN_HOST_SIZE]; /* lower case, without brackets */
	uint16_t port;
	char text[SERVER_TEXT_SIZE]; /* "host:port", "[::1]:8443": the folder's name */
	bool pinned;
	uint8_t pin[HASH_SIZE]; /* of the mesh root's public key */
};
/* HOST[:PORT][#FINGERPRINT]; the fingerprint in hex, as `murmesh up` prints it, or base32, as a join line ends.  -E_USAGE. */
int server_address_parse(struct str text, struct server_address *ret);

/* $XDG_CONFIG_HOME/murmesh/NAME, else ~/.config/murmesh/NAME.  -E_NOT_FOUND (no HOME), -E_TOO_LONG. */
int config_path(const char *name, char *out, size_t size);

struct logins {
	char folder[4096]; /* of all servers */
	char path[4096];   /* which file or folder the last error was about */
};
int logins_init(struct logins *logins); /* -E_NOT_FOUND (no HOME), -E_TOO_LONG */

#define SERVERS_MAX 64
/* Those that somebody is logged in to, sorted by their texts, at most max; returns their number. */
int logins_list(struct logins *logins, struct server_address *ret, size_t max);
/* HOST[:PORT]; without a port the only one of that host that somebody is logged in to, else as server_address_parse() has it. */
int logins_named(struct logins *logins, const char *text, struct server_address *ret);

struct login {
	struct key *key;
	struct certificate *leaf, *intermediate, *root;
	struct certificate_info info; /* of the leaf */
};
void login_done(struct login *login);
/* The content of login.pem: leaf, intermediate, then the key.  What was read before an error (-E_CHECKSUM) is in *login too. */
int login_read(struct str pem, struct login *login);
int login_write(const struct login *login, struct buf *out); /* a secret */
/* Chain, kind, mesh, and that the key is the leaf's.  Sets info.  -E_SESSION: its time is over; -E_CERTIFICATE... */
int login_check(struct login *login);
/* The answer of Login or Local.Login to a request for login->key: takes its certificates, and checks.  -E_... as login_check(). */
int login_take(struct login *login, const murmesh_CertificateReply *reply);

/* The mesh root of a server; -ENOENT when it is not known. */
int logins_root(struct logins *logins, const struct server_address *server, struct certificate **ret);
/* What login_check() says, -E_NOT_PRIVATE, -E_CHECKSUM (not what was written), -ENOENT: nobody is logged in there. */
int logins_load(struct logins *logins, const struct server_address *server, struct login *ret);
/* The root first: whenever it is interrupted, what stands there is whole. */
int logins_keep(struct logins *logins, const struct server_address *server, const struct login *login);
int logins_forget(struct logins *logins, const struct server_address *server); /* -ENOENT */
#endif
