/* glouglou/own.h: what the files of this folder share. */
#ifndef GLOUGLOU_OWN_H
#define GLOUGLOU_OWN_H
#include "base/buf.h"
#include "glouglou/glouglou.h"

enum gg_bad gg_varint_read(struct reader *r, uint64_t *ret);
/* Also the record KEYFRAME, which gg_record_next() leaves out. */
bool gg_record_first(const struct gg_datagram *datagram, struct gg_record *ret);

/* A record's body being written. */
struct gg_body {
	size_t len;
	bool full; /* something did not fit */
	uint8_t bytes[GG_BODY_MAX];
};
void gg_body_bytes(struct gg_body *body, const void *bytes, size_t len);
void gg_body_number(struct gg_body *body, uint64_t value, unsigned bytes);
void gg_body_varint(struct gg_body *body, uint64_t value);
int gg_writer_add(struct gg_writer *writer, uint8_t type, uint8_t flags, uint64_t time_ns, const struct gg_body *body);
#endif
