#include "ca/join_line.h"

#include "base/encode.h"
#include "base/err.h"
#include "base/mem.h"
#include "os/socket.h"

#define DIGITS (BASE32_SIZE(32) - 1) /* of each of the two parts */

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_word(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_address(struct str host, int family)
{
	struct socket_address address;
	return socket_address_parse(host, 1, &address) == 0 && address.storage.ss_family == family;
}

/* A label of a host name (RFC 1123 section 2.1), and underscores, which people use. */
static bool label_valid(struct str label)
{
	if (!label.len || label.len > 63 || label.ptr[0] == '-' || label.ptr[label.len - 1] == '-')
		return false;
	for (size_t i = 0; i < label.len; i++)
		if (!is_word(label.ptr[i]) && label.ptr[i] != '-' && label.ptr[i] != '_')
			return false;
	return true;
}

/* A last label of digits only makes it an IPv4 address, right or wrong, and no name. */
static bool name_is_host(struct str host)
{
	struct str rest = host, last = { 0 };
	if (!host.len || host.len >= JOIN_HOST_SIZE)
		return false;
	while (rest.len) {
		last = str_cut(rest, '.', &rest);
		if (!label_valid(last))
			return false;
	}
	if (host.ptr[host.len - 1] == '.')
		return false;
	for (size_t i = 0; i < last.len; i++)
		if (!is_digit(last.ptr[i]))
			return true;
	return false;
}

static bool host_valid(struct str host)
{
	return name_is_host(host) || is_address(host, AF_INET) || is_address(host, AF_INET6);
}

int join_host_parse(struct str text, char ret[JOIN_HOST_SIZE])
{
	bool brackets = text.len > 2 && text.ptr[0] == '[' && text.ptr[text.len - 1] == ']';
	struct str host = brackets ? (struct str){ text.ptr + 1, text.len - 2 } : text;
	bool good = brackets ? is_address(host, AF_INET6) : !str_has(host, ':') && host_valid(host);
	return good ? str_copy(host, ret, JOIN_HOST_SIZE) : -E_KEY_LINE;
}

int join_port_parse(struct str text, uint16_t *ret)
{
	uint64_t port;
	if (str_to_u64(text, UINT16_MAX, &port) < 0 || text.ptr[0] == '0')
		return -E_KEY_LINE;
	*ret = (uint16_t)port;
	return 0;
}

int join_address_parse(struct str text, char ret_host[JOIN_HOST_SIZE], uint16_t *ret_port)
{
	struct str port, host = str_cut_last(text, ':', &port);
	int err = join_host_parse(host, ret_host);
	return err < 0 ? err : join_port_parse(port, ret_port);
}

static int keys_parse(struct str text, struct join_line *line)
{
	uint8_t key[32];
	struct str rest, mark = str_cut(text, '-', &rest), root, first = str_cut(rest, '-', &root);
	int err = -E_KEY_LINE;
	if (str_is(mark, "MM1") && first.len == DIGITS && root.len == DIGITS &&
	    base32_decode(first, key, sizeof key) == sizeof key && base32_decode(root, line->root_hash, HASH_SIZE) == HASH_SIZE)
		err = 0;
	if (err == 0) {
		memcpy(line->key.bytes, key, sizeof line->key.bytes);
		memcpy(line->secret, key + sizeof line->key.bytes, sizeof line->secret);
	}
	mem_wipe(key, sizeof key);
	return err;
}

int join_line_parse(struct str text, struct join_line *ret)
{
	struct join_line line = { 0 };
	struct str keys, address = str_cut(text, '#', &keys);
	int err = -E_KEY_LINE;
	if (text.len < JOIN_LINE_SIZE && join_address_parse(address, line.host, &line.port) == 0 && keys_parse(keys, &line) == 0)
		err = 0;
	if (err == 0)
		*ret = line;
	mem_wipe(&line, sizeof line);
	return err;
}

int join_line_format(const struct join_line *line, char out[JOIN_LINE_SIZE])
{
	uint8_t key[32];
	char first[BASE32_SIZE(32)], root[BASE32_SIZE(32)];
	bool brackets = strchr(line->host, ':') != NULL;
	out[0] = 0;
	if (!line->port || !host_valid(str_from(line->host)))
		return -E_KEY_LINE;
	memcpy(key, line->key.bytes, sizeof line->key.bytes);
	memcpy(key + sizeof line->key.bytes, line->secret, sizeof line->secret);
	base32_encode(key, sizeof key, first);
	base32_encode(line->root_hash, HASH_SIZE, root);
	snprintf(out, JOIN_LINE_SIZE, brackets ? "[%s]:%u#MM1-%s-%s" : "%s:%u#MM1-%s-%s", line->host, line->port, first, root);
	mem_wipe(key, sizeof key);
	mem_wipe(first, sizeof first);
	return 0;
}

void join_secret_key(const uint8_t secret[JOIN_SECRET_SIZE], uint8_t ret_key[HASH_SIZE])
{
	hash_hkdf(secret, JOIN_SECRET_SIZE, STR("murmesh join 1"), ret_key);
}

void join_proof(const uint8_t secret_key[HASH_SIZE], const uint8_t csr_hash[HASH_SIZE], struct str token,
                uint8_t ret_proof[HASH_SIZE])
{
	hash_hmac(secret_key, HASH_SIZE, (struct str){ (const char *)csr_hash, HASH_SIZE }, token, ret_proof);
}
