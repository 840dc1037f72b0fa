#include "cli/logins.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/encode.h"
#include "base/err.h"
#include "os/clock.h"
#include "os/file.h"

#define FILE_MAX ((size_t)64 << 10)

/* ---- addresses ---- */

static bool pin_parse(struct str text, uint8_t ret[HASH_SIZE])
{
	return text.len == HEX_SIZE(HASH_SIZE) - 1      ? hex_decode(text, ret, HASH_SIZE) == HASH_SIZE
	       : text.len == BASE32_SIZE(HASH_SIZE) - 1 ? base32_decode(text, ret, HASH_SIZE) == HASH_SIZE
	                                                : false;
}

int server_address_parse(struct str text, struct server_address *ret)
{
	struct server_address server = { .port = SERVER_PORT, .pinned = str_has(text, '#') };
	struct str pin, address = str_cut(text, '#', &pin), port = { 0 }, host = address;
	bool with_port = address.len && address.ptr[address.len - 1] != ']' && str_has(address, ':');
	if (with_port)
		host = str_cut_last(address, ':', &port);
	if (join_host_parse(host, server.host) < 0 || (with_port && join_port_parse(port, &server.port) < 0) ||
	    (server.pinned && !pin_parse(pin, server.pin)))
		return -E_USAGE;
	for (char *c = server.host; *c; c++)
		*c = (char)tolower((unsigned char)*c);
	bool brackets = strchr(server.host, ':') != NULL;
	snprintf(server.text, sizeof server.text, brackets ? "[%s]:%u" : "%s:%u", server.host, server.port);
	*ret = server;
	return 0;
}

/* ---- files ---- */

int config_path(const char *name, char *out, size_t size)
{
	const char *home = getenv("HOME"), *config = getenv("XDG_CONFIG_HOME");
	int len;
	if (config && config[0] == '/') /* the XDG base directory specification ignores relative ones */
		len = snprintf(out, size, "%s/murmesh/%s", config, name);
	else if (home && home[0] == '/')
		len = snprintf(out, size, "%s/.config/murmesh/%s", home, name);
	else
		return -E_NOT_FOUND;
	return (size_t)len < size ? 0 : -E_TOO_LONG;
}

int logins_init(struct logins *logins)
{
	*logins = (struct logins){ 0 };
	return config_path("servers", logins->folder, sizeof logins->folder);
}

/* The folder of a server (file ""), or a file in it. */
static int path_of(struct logins *logins, const struct server_address *server, const char *file)
{
	int len = snprintf(logins->path, sizeof logins->path, "%s/%s%s%s", logins->folder, server->text, *file ? "/" : "", file);
	return (size_t)len < sizeof logins->path ? 0 : -E_TOO_LONG;
}

/* Leaves the path of what is not private in logins->path. */
static int folders_check(struct logins *logins, const struct server_address *server)
{
	int err = str_copy(str_from(logins->folder), logins->path, sizeof logins->path);
	if (err == 0)
		err = file_directory_private(logins->path);
	if (err == 0)
		err = path_of(logins, server, "");
	return err < 0 ? err : file_directory_private(logins->path);
}

static int secret_read(struct logins *logins, const struct server_address *server, const char *file, struct buf *out)
{
	buf_init(out, FILE_MAX);
	int err = folders_check(logins, server);
	if (err == 0)
		err = path_of(logins, server, file);
	return err < 0 ? err : file_read_secret(logins->path, out);
}

static int secret_write(struct logins *logins, const struct server_address *server, const char *file, const struct buf *content)
{
	int err = path_of(logins, server, file);
	return err < 0 ? err : file_write(logins->path, buf_head(content), buf_len(content), 0600);
}

static int compare(const void *a, const void *b)
{
	return strcmp(((const struct server_address *)a)->text, ((const struct server_address *)b)->text);
}

int logins_list(struct logins *logins, struct server_address *ret, size_t max)
{
	DIR *folder = opendir(logins->folder);
	const struct dirent *entry;
	size_t n = 0;
	if (!folder)
		return errno == ENOENT ? 0 : -errno;
	while (n < max && (entry = readdir(folder)))
		if (server_address_parse(str_from(entry->d_name), &ret[n]) == 0 && str_is(str_from(entry->d_name), ret[n].text) &&
		    path_of(logins, &ret[n], "login.pem") == 0 && file_exists(logins->path))
			n++;
	closedir(folder);
	qsort(ret, n, sizeof *ret, compare);
	return (int)n;
}

int logins_named(struct logins *logins, const char *text, struct server_address *ret)
{
	struct server_address known[SERVERS_MAX], plain;
	int err = server_address_parse(str_from(text), ret), n = logins_list(logins, known, SERVERS_MAX), found = 0;
	char bare[SERVER_TEXT_SIZE];
	if (err < 0 || ret->pinned)
		return -E_USAGE;
	/* With a port of its own it parses no more once another is put behind it. */
	snprintf(bare, sizeof bare, "%s:1", text);
	if (server_address_parse(str_from(bare), &plain) < 0)
		return 0;
	for (int i = 0; i < n; i++)
		if (strcmp(known[i].host, ret->host) == 0 && found++ == 0)
			plain = known[i];
	if (found == 1)
		*ret = plain;
	return 0;
}

/* ---- a login ---- */

void login_done(struct login *login)
{
	key_free(login->key);
	certificate_free(login->leaf);
	certificate_free(login->intermediate);
	certificate_free(login->root);
	*login = (struct login){ 0 };
}

int login_check(struct login *login)
{
	uint8_t own[HASH_SIZE];
	struct identity identity;
	int err = certificate_inspect(login->leaf, &login->info);
	if (err == 0)
		err = key_public_hash(login->key, own);
	if (err == 0 && !hash_equal(own, login->info.key_hash))
		err = -E_CERTIFICATE;
	if (err == 0)
		err = certificate_verify(login->leaf, login->intermediate, login->root, &login->info.identity.mesh,
		                         1u << IDENTITY_USER, clock_wall_s(), &identity);
	return err == -E_CERTIFICATE_EXPIRED ? -E_SESSION : err;
}

int login_take(struct login *login, const murmesh_CertificateReply *reply)
{
	int err = certificate_read(reply->leaf.bytes, reply->leaf.size, &login->leaf);
	if (err == 0)
		err = certificate_read(reply->intermediate.bytes, reply->intermediate.size, &login->intermediate);
	if (err == 0)
		err = certificate_read(reply->root.bytes, reply->root.size, &login->root);
	return err < 0 ? err : login_check(login);
}

int logins_root(struct logins *logins, const struct server_address *server, struct certificate **ret)
{
	struct buf pem;
	int err = secret_read(logins, server, "root.crt", &pem);
	if (err == 0)
		err = certificate_read_pem(buf_str(&pem), ret, 1);
	buf_done(&pem);
	return err < 0 ? err : 0;
}

int login_read(struct str pem, struct login *login)
{
	static const char begin[] = "-----BEGIN PRIVATE KEY-----";
	struct certificate *chain[2] = { NULL };
	const char *key = pem.len ? memmem(pem.ptr, pem.len, begin, sizeof begin - 1) : NULL;
	size_t len = key ? (size_t)(key - pem.ptr) : 0;
	int n = key ? certificate_read_pem((struct str){ pem.ptr, len }, chain, 2) : -E_CHECKSUM;
	login->leaf = chain[0];
	login->intermediate = chain[1];
	if (n != 2)
		return -E_CHECKSUM;
	return key_private_read(str_skip(pem, len), &login->key) < 0 ? -E_CHECKSUM : 0;
}

int logins_load(struct logins *logins, const struct server_address *server, struct login *ret)
{
	struct login login = { 0 };
	struct buf pem;
	int err = secret_read(logins, server, "login.pem", &pem);
	if (err == 0)
		err = login_read(buf_str(&pem), &login);
	buf_wipe(&pem);
	if (err == 0)
		err = logins_root(logins, server, &login.root);
	if (err == 0)
		err = login_check(&login);
	if (err < 0) {
		login_done(&login);
		return err;
	}
	*ret = login;
	return 0;
}

int login_write(const struct login *login, struct buf *out)
{
	int err = certificate_write_pem(login->leaf, out);
	if (err == 0)
		err = certificate_write_pem(login->intermediate, out);
	return err < 0 ? err : key_private_write(login->key, out);
}

int logins_keep(struct logins *logins, const struct server_address *server, const struct login *login)
{
	struct buf root, secret;
	buf_init(&root, FILE_MAX);
	buf_init(&secret, FILE_MAX);
	int err = certificate_write_pem(login->root, &root);
	if (err == 0)
		err = login_write(login, &secret);
	if (err == 0)
		err = file_make_directory(logins->folder, 0700);
	if (err == 0)
		err = path_of(logins, server, "");
	if (err == 0)
		err = file_make_directory(logins->path, 0700);
	if (err == 0)
		err = folders_check(logins, server);
	if (err == 0)
		err = secret_write(logins, server, "root.crt", &root);
	if (err == 0)
		err = secret_write(logins, server, "login.pem", &secret);
	buf_done(&root);
	buf_wipe(&secret);
	return err;
}

int logins_forget(struct logins *logins, const struct server_address *server)
{
	int err = path_of(logins, server, "login.pem.new"); /* left by a kill in file_write() */
	if (err == 0)
		unlink(logins->path);
	if (err == 0)
		err = path_of(logins, server, "login.pem");
	return err < 0 ? err : unlink(logins->path) < 0 ? -errno : 0;
}
