#include "orb/ior.h"

#include <stdbool.h>
#include <string.h>

#include "base/encode.h"
#include "base/err.h"
#include "base/mem.h"
#include "orb/cdr.h"

enum {
	PROFILE_IIOP = 0,
	TAG_CODE_SETS = 1,
	TAG_ALTERNATE_IIOP_ADDRESS = 3,
	TAG_SSL_SEC_TRANS = 20,
};

/* Security::AssociationOptions. */
enum { INTEGRITY = 2, CONFIDENTIALITY = 4, TRUST_IN_TARGET = 32, TRUST_IN_CLIENT = 64 };

/* Registry numbers of character sets (9.10.2.5). */
enum { LATIN_1 = 0x00010001, UTF_8 = 0x05010001, UTF_16 = 0x00010109 };

/* ---- writing ---- */

/* Begins a sequence of octets that holds an encapsulation: its length is put at *ret_at by encapsulation_end(). */
static struct cdr_writer encapsulation_begin(struct cdr_writer *w, size_t *ret_at)
{
	cdr_put_u32(w, 0);
	*ret_at = buf_len(w->out) - w->base - 4;
	return cdr_writer_encapsulation(w->out, true);
}

static void encapsulation_end(struct cdr_writer *w, const struct cdr_writer *inner, size_t at)
{
	if (w->err == 0)
		w->err = inner->err;
	cdr_put_u32_at(w, at, (uint32_t)(buf_len(w->out) - inner->base));
}

static void code_sets_put(struct cdr_writer *w)
{
	static const uint32_t sets[][2] = { { LATIN_1, UTF_8 }, { UTF_16, UTF_16 } }; /* native, and the one to convert to */
	size_t at;
	cdr_put_u32(w, TAG_CODE_SETS);
	struct cdr_writer inner = encapsulation_begin(w, &at);
	for (size_t i = 0; i < 2; i++) {
		cdr_put_u32(&inner, sets[i][0]);
		cdr_put_u32(&inner, 1);
		cdr_put_u32(&inner, sets[i][1]);
	}
	encapsulation_end(w, &inner, at);
}

static void other_put(struct cdr_writer *w, const struct ior_address *address)
{
	size_t at;
	cdr_put_u32(w, TAG_ALTERNATE_IIOP_ADDRESS);
	struct cdr_writer inner = encapsulation_begin(w, &at);
	cdr_put_string(&inner, str_from(address->host));
	cdr_put_u16(&inner, address->port);
	encapsulation_end(w, &inner, at);
}

static void tls_put(struct cdr_writer *w, uint16_t port)
{
	size_t at;
	cdr_put_u32(w, TAG_SSL_SEC_TRANS);
	struct cdr_writer inner = encapsulation_begin(w, &at);
	cdr_put_u16(&inner, INTEGRITY | CONFIDENTIALITY | TRUST_IN_TARGET | TRUST_IN_CLIENT);
	cdr_put_u16(&inner, INTEGRITY | CONFIDENTIALITY | TRUST_IN_TARGET);
	cdr_put_u16(&inner, port);
	encapsulation_end(w, &inner, at);
}

static void profile_put(struct cdr_writer *w, const struct ior *ior)
{
	size_t at;
	cdr_put_u32(w, PROFILE_IIOP);
	struct cdr_writer inner = encapsulation_begin(w, &at);
	cdr_put_u8(&inner, 1);
	cdr_put_u8(&inner, 2);
	cdr_put_string(&inner, str_from(ior->address.host));
	cdr_put_u16(&inner, ior->address.port);
	cdr_put_sequence(&inner, (struct str){ (const char *)ior->key, ior->key_len });
	cdr_put_u32(&inner, 1 + (uint32_t)ior->n_others + (ior->tls_port > 0));
	code_sets_put(&inner);
	for (size_t i = 0; i < ior->n_others; i++)
		other_put(&inner, &ior->others[i]);
	if (ior->tls_port)
		tls_put(&inner, ior->tls_port);
	encapsulation_end(w, &inner, at);
}

static int text_put(struct str bytes, struct buf *out)
{
	uint8_t *room;
	int err = buf_reserve(out, 4 + HEX_SIZE(bytes.len), &room);
	if (err < 0)
		return err;
	memcpy(room, "IOR:", 4);
	hex_encode((const uint8_t *)bytes.ptr, bytes.len, (char *)room + 4);
	buf_commit(out, 4 + 2 * bytes.len);
	return 0;
}

int ior_write(const struct ior *ior, struct buf *out)
{
	struct buf bytes;
	buf_init(&bytes, IOR_BYTES_MAX);
	struct cdr_writer w = cdr_writer_encapsulation(&bytes, true);
	cdr_put_string(&w, str_from(ior->type));
	cdr_put_u32(&w, 1);
	profile_put(&w, ior);
	int err = w.err < 0 ? w.err : text_put(buf_str(&bytes), out);
	buf_done(&bytes);
	return err;
}

/* ---- reading ---- */

static void text_read(struct cdr_reader *r, char *out, size_t size)
{
	if (str_copy(cdr_string(r), out, size) < 0)
		r->bad = true;
}

static void address_read(struct cdr_reader *r, struct ior_address *ret)
{
	text_read(r, ret->host, sizeof ret->host);
	ret->port = cdr_u16(r);
}

/* A component that cannot be read counts as one that is not known. */
static void component_read(uint32_t tag, struct str data, struct ior *ior)
{
	struct cdr_reader r = cdr_reader_encapsulation(data);
	struct ior_address other;
	if (tag == TAG_ALTERNATE_IIOP_ADDRESS && ior->n_others < IOR_OTHERS_MAX) {
		address_read(&r, &other);
		if (!r.bad)
			ior->others[ior->n_others++] = other;
	} else if (tag == TAG_SSL_SEC_TRANS) {
		cdr_u16(&r);
		cdr_u16(&r);
		uint16_t port = cdr_u16(&r);
		if (!r.bad)
			ior->tls_port = port;
	}
}

static bool profile_read(struct str data, struct ior *ior)
{
	struct cdr_reader r = cdr_reader_encapsulation(data);
	uint8_t major = cdr_u8(&r), minor = cdr_u8(&r);
	address_read(&r, &ior->address);
	struct str key = cdr_sequence(&r);
	if (r.bad || major != 1 || key.len > sizeof ior->key)
		return false;
	memcpy(ior->key, key.ptr, key.len);
	ior->key_len = key.len;
	uint32_t n = minor > 0 ? cdr_u32(&r) : 0;
	for (uint32_t i = 0; i < n && !r.bad; i++) {
		uint32_t tag = cdr_u32(&r);
		component_read(tag, cdr_sequence(&r), ior);
	}
	return !r.bad;
}

int ior_read_cdr(struct cdr_reader *r, struct ior *ret)
{
	struct ior ior = { .n_others = 0 };
	bool found = false;
	text_read(r, ior.type, sizeof ior.type);
	uint32_t n = cdr_u32(r);
	for (uint32_t i = 0; i < n && !r->bad; i++) {
		uint32_t tag = cdr_u32(r);
		struct str data = cdr_sequence(r);
		found = found || (tag == PROFILE_IIOP && !r->bad && profile_read(data, &ior));
	}
	if (!found || r->bad)
		return -E_IOR;
	*ret = ior;
	return 0;
}

int ior_read(struct str text, struct ior *ret)
{
	while (text.len && strchr(" \t\r\n", text.ptr[text.len - 1]))
		text.len--;
	if (!str_starts(text, STR("IOR:")) || text.len > 4 + 2 * IOR_BYTES_MAX)
		return -E_IOR;
	uint8_t *bytes = mem_alloc(IOR_BYTES_MAX);
	if (!bytes)
		return -E_NO_MEMORY;
	ssize_t len = hex_decode(str_skip(text, 4), bytes, IOR_BYTES_MAX);
	struct cdr_reader r = cdr_reader_encapsulation((struct str){ (char *)bytes, len < 0 ? 0 : (size_t)len });
	int err = ior_read_cdr(&r, ret);
	mem_free(bytes);
	return err;
}
