#include "portmap/socks.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"

enum { VERSION = 5, NO_AUTHENTICATION = 0, CONNECT = 1, IPV4 = 1, NAME = 3, IPV6 = 4 };

int socks_greeting_parse(struct str bytes, size_t *ret_len)
{
	struct reader reader = { (const uint8_t *)bytes.ptr, bytes.len };
	uint8_t version, n;
	const uint8_t *methods;
	if (reader_u8(&reader, &version) < 0)
		return -EAGAIN;
	if (version != VERSION)
		return -E_SOCKS;
	if (reader_u8(&reader, &n) < 0 || reader_bytes(&reader, n, &methods) < 0)
		return -EAGAIN;
	if (!memchr(methods, NO_AUTHENTICATION, n))
		return -E_SOCKS;
	*ret_len = bytes.len - reader.len;
	return 0;
}

static int refuse(enum socks_reply *reterr, enum socks_reply code)
{
	*reterr = code;
	return -E_SOCKS;
}

/* Name or address as text; -EAGAIN, or -E_SOCKS. */
static int host_read(struct reader *reader, uint8_t type, char out[MAP_HOST_SIZE], enum socks_reply *reterr)
{
	const uint8_t *bytes;
	uint8_t len = type == IPV4 ? 4 : 16;
	if (type == NAME && reader_u8(reader, &len) < 0)
		return -EAGAIN;
	if (reader_bytes(reader, len, &bytes) < 0)
		return -EAGAIN;
	if (type != NAME) {
		inet_ntop(type == IPV4 ? AF_INET : AF_INET6, bytes, out, MAP_HOST_SIZE);
		return 0;
	}
	struct str name = { (const char *)bytes, len };
	return map_host_valid(name) ? str_copy(name, out, MAP_HOST_SIZE) : refuse(reterr, SOCKS_FAILED);
}

int socks_request_parse(struct str bytes, struct socks_request *ret, size_t *ret_len, enum socks_reply *reterr)
{
	struct reader reader = { (const uint8_t *)bytes.ptr, bytes.len };
	struct socks_request request;
	uint8_t version, command, reserved, type;
	if (reader_u8(&reader, &version) < 0)
		return -EAGAIN;
	if (version != VERSION)
		return refuse(reterr, SOCKS_FAILED);
	if (reader_u8(&reader, &command) < 0 || reader_u8(&reader, &reserved) < 0 || reader_u8(&reader, &type) < 0)
		return -EAGAIN;
	if (command != CONNECT)
		return refuse(reterr, SOCKS_NO_COMMAND);
	if (type != IPV4 && type != NAME && type != IPV6)
		return refuse(reterr, SOCKS_NO_ADDRESS_TYPE);
	int err = host_read(&reader, type, request.host, reterr);
	if (err < 0)
		return err;
	if (reader_be16(&reader, &request.port) < 0)
		return -EAGAIN;
	if (request.port == 0)
		return refuse(reterr, SOCKS_FAILED);
	*ret = request;
	*ret_len = bytes.len - reader.len;
	return 0;
}

/* The address that the target sees is the device's: it is not told. */
void socks_reply_write(enum socks_reply code, uint8_t out[SOCKS_REPLY_SIZE])
{
	memset(out, 0, SOCKS_REPLY_SIZE);
	out[0] = VERSION;
	out[1] = (uint8_t)code;
	out[3] = IPV4;
}

enum socks_reply socks_reply_for(int err)
{
	switch (err < 0 ? -err : err) {
	case 0:
		return SOCKS_DONE;
	case E_DENIED:
	case E_GRANT:
	case E_GRANT_EXPIRED:
	case E_REVOKED:
	case E_USER_SIGNATURE:
		return SOCKS_NOT_ALLOWED;
	case E_OFFLINE:
	case E_PEER_GONE:
	case E_UNREACHABLE:
		return SOCKS_NETWORK_UNREACHABLE;
	case E_TARGET_UNREACHABLE:
	case E_TARGET_NAME:
		return SOCKS_HOST_UNREACHABLE;
	case E_TARGET_REFUSED:
		return SOCKS_REFUSED;
	case E_TARGET_TIMEOUT:
	case E_TIMEOUT:
		return SOCKS_TIMEOUT;
	default:
		return SOCKS_FAILED;
	}
}
