#include <errno.h>

#include "base/buf.h"
#include "base/err.h"
#include "front/front.h"

/* TLS 1.3, RFC 8446: records in section 5.1, handshake messages in section 4, ClientHello in 4.1.2; ALPN is RFC 7301. */
enum { RECORD_HANDSHAKE = 22, RECORD_HEAD = 5, RECORD_MAX = 1 << 14, CLIENT_HELLO = 1, HANDSHAKE_HEAD = 4, EXTENSION_ALPN = 16 };

/* A vector with a length prefix of one or two bytes, as a reader of its own. */
static int vector_read(struct reader *r, unsigned prefix, struct reader *ret)
{
	uint16_t len = 0;
	uint8_t small = 0;
	int err = prefix == 1 ? reader_u8(r, &small) : reader_be16(r, &len);
	if (prefix == 1)
		len = small;
	if (err == 0)
		err = reader_bytes(r, len, &ret->ptr);
	if (err == 0)
		ret->len = len;
	return err ? -E_PROTOCOL : 0;
}

static int alpn_classify(struct reader extension, enum front_kind *ret_kind)
{
	struct reader list, name;
	bool http1 = false, link = false, serve = false;
	if (vector_read(&extension, 2, &list) < 0 || extension.len > 0 || list.len == 0)
		return -E_PROTOCOL;
	while (list.len > 0) {
		if (vector_read(&list, 1, &name) < 0 || name.len == 0)
			return -E_PROTOCOL;
		struct str text = { (const char *)name.ptr, name.len };
		http1 |= str_is(text, "http/1.1");
		link |= str_is(text, "h2") || str_is(text, "murmesh-relay/1");
		serve |= str_is(text, "murmesh-serve/1");
	}
	if (!http1 && !link && !serve)
		return -E_UNSUPPORTED;
	*ret_kind = http1 ? FRONT_WEB : link ? FRONT_LINK : FRONT_SERVE;
	return 0;
}

static int extensions_classify(struct reader extensions, enum front_kind *ret_kind)
{
	bool seen = false;
	enum front_kind kind = FRONT_WEB;
	while (extensions.len > 0) {
		uint16_t type;
		struct reader body;
		if (reader_be16(&extensions, &type) < 0 || vector_read(&extensions, 2, &body) < 0)
			return -E_PROTOCOL;
		if (type != EXTENSION_ALPN)
			continue;
		int err = seen ? -E_PROTOCOL : alpn_classify(body, &kind);
		if (err < 0)
			return err;
		seen = true;
	}
	*ret_kind = kind;
	return 0;
}

static int hello_classify(struct reader hello, enum front_kind *ret_kind)
{
	const uint8_t *version_and_random;
	struct reader session, suites, compressions, extensions;
	if (reader_bytes(&hello, 2 + 32, &version_and_random) < 0 || vector_read(&hello, 1, &session) < 0 ||
	    vector_read(&hello, 2, &suites) < 0 || vector_read(&hello, 1, &compressions) < 0)
		return -E_PROTOCOL;
	if (session.len > 32 || suites.len < 2 || suites.len % 2 || compressions.len < 1)
		return -E_PROTOCOL;
	if (hello.len == 0) { /* TLS 1.2 without extensions: the web role says in TLS what it thinks of it */
		*ret_kind = FRONT_WEB;
		return 0;
	}
	if (vector_read(&hello, 2, &extensions) < 0 || hello.len > 0)
		return -E_PROTOCOL;
	return extensions_classify(extensions, ret_kind);
}

/* Joins the records' contents until the ClientHello is whole: a client may cut it into as many records as it likes. */
static int tls_classify(struct str bytes, enum front_kind *ret_kind, size_t *ret_need)
{
	uint8_t joined[FRONT_PEEK_MAX];
	size_t have = 0, whole = HANDSHAKE_HEAD, at = 0;
	while (have < whole) {
		const uint8_t *record = (const uint8_t *)bytes.ptr + at;
		size_t left = bytes.len - at, missing = whole - have, len = 0;
		if ((left > 0 && record[0] != RECORD_HANDSHAKE) || (left > 1 && record[1] != 3))
			return -E_PROTOCOL;
		if (left >= RECORD_HEAD) {
			len = (size_t)record[3] << 8 | record[4];
			if (len == 0 || len > RECORD_MAX)
				return -E_PROTOCOL;
		}
		if (left < RECORD_HEAD || left - RECORD_HEAD < len) {
			/* What does not fit in this record comes in at least one more: so tiny records cost few wake-ups. */
			size_t rest = left < RECORD_HEAD ? missing : len < missing ? missing + RECORD_HEAD : len;
			size_t need = at + RECORD_HEAD + rest;
			if (need > FRONT_PEEK_MAX)
				return -E_TOO_LONG;
			*ret_need = need;
			return -EAGAIN;
		}
		memcpy(joined + have, record + RECORD_HEAD, len);
		have += len;
		at += RECORD_HEAD + len;
		if (have >= HANDSHAKE_HEAD) {
			whole = HANDSHAKE_HEAD + ((size_t)joined[1] << 16 | (size_t)joined[2] << 8 | joined[3]);
			if (joined[0] != CLIENT_HELLO)
				return -E_PROTOCOL;
			if (whole > FRONT_PEEK_MAX)
				return -E_TOO_LONG;
		}
	}
	return hello_classify((struct reader){ joined + HANDSHAKE_HEAD, whole - HANDSHAKE_HEAD }, ret_kind);
}

int front_classify(struct str bytes, enum front_kind *ret_kind, size_t *ret_need)
{
	static const struct {
		const char *text;
		enum front_kind kind;
	} prefixes[] = { { "MMR1", FRONT_RELAY }, { "SSH-2.0", FRONT_CLOUD }, { "GET ", FRONT_REDIRECT } };

	if (bytes.len == 0) {
		*ret_need = 1;
		return -EAGAIN;
	}
	if (bytes.len > FRONT_PEEK_MAX)
		bytes.len = FRONT_PEEK_MAX;
	if (bytes.ptr[0] == RECORD_HANDSHAKE)
		return tls_classify(bytes, ret_kind, ret_need);
	for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
		struct str prefix = str_from(prefixes[i].text);
		if (str_starts(bytes, prefix)) {
			*ret_kind = prefixes[i].kind;
			return 0;
		}
		if (str_starts(prefix, bytes)) {
			*ret_need = prefix.len;
			return -EAGAIN;
		}
	}
	return -E_NOT_TLS;
}
