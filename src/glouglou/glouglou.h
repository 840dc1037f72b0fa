/* glouglou/glouglou.h: datagrams of proto/glouglou.md: writing them, reading them, counting what is missing.
 *
 * Works on bytes in memory: no sockets, no clocks, no logging, no allocation.  What the modules' records hold is in tables that
 * tools/ggspec.py makes of proto/modules/ (gg_modules.h: a struct, a writer and a row for each record). */
#ifndef GLOUGLOU_GLOUGLOU_H
#define GLOUGLOU_GLOUGLOU_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

#define GG_VERSION      3
#define GG_HEADER       32
#define GG_DATAGRAM_MAX 1200 /* what we send */
#define GG_DATAGRAM_TOP 1452 /* what may come */
#define GG_BODY_MAX     (GG_DATAGRAM_MAX - GG_HEADER - 16 - 14)
#define GG_CONTROL      0xFF /* module */
#define GG_KEYFRAME     0xF0 /* record */
#define GG_PARTS_MAX    4096 /* datagrams of a keyframe */
#define GG_HOPS_MAX     32

enum { GG_TAG = 1, GG_ENCRYPTED = 2, GG_RELAYED = 4, GG_IN_KEYFRAME = 8, GG_ANSWER = 16 };               /* header */
enum { GG_IPV6 = 1, GG_OWNER = 2, GG_COMPRESSED = 4, GG_INDEX = 8, GG_INCOMING = 16 };                   /* record */
enum { GG_LOST_KERNEL, GG_LOST_RING, GG_LOST_TABLE, GG_LOST_QUEUE, GG_LOST_ON_PURPOSE, GG_LOST_PLACES }; /* LOST */
enum { GG_NOTICE_SOURCE, GG_NOTICE_INFORMATION, GG_NOTICE_WARNING };                                     /* NOTICE */

/* Why bytes were refused; a receiver keeps a counter for each. */
// clang-format off
#define GG_REASONS(X) \
	X(SHORT, "short") X(LONG, "long") X(VERSION, "version") X(MODULE, "module") X(FLAGS, "flags") X(HEADER, "header") \
	X(SESSION, "session") X(LENGTH, "length") X(TRAILING, "trailing") X(RECORDS, "records") X(VARINT, "varint") \
	X(TYPE, "type") X(BODY, "body") X(TEXT, "text") X(LIMIT, "limit") X(INDEX, "index") X(COMPRESSED, "compressed") \
	X(KEYFRAME, "keyframe") X(REPLAY, "replay") X(OLD, "old")
// clang-format on
enum gg_bad {
	GG_OK,
#define GG_REASON(name, text) GG_BAD_##name,
	GG_REASONS(GG_REASON)
#undef GG_REASON
	        GG_BADS
};
const char *gg_bad_name(enum gg_bad bad); /* "ok", "short" ... */

/* ---- values ---- */

struct gg_address {
	uint8_t bytes[16]; /* IPv4: the first 4, the others 0 */
	bool v6;
};
/* Of the 16 bytes of an IPv6 address (IPv4 as IPv6 becomes IPv4), or the 4 of another. */
struct gg_address gg_address_from(const void *bytes, bool v6);
struct gg_process {
	uint64_t pid;   /* 0 = not known */
	uint64_t start; /* milliseconds since 1970 */
};
struct gg_flow {
	struct gg_address source, destination; /* both of one family */
	uint16_t source_port, destination_port;
	uint8_t protocol;
	bool incoming; /* the destination is this machine's side */
};
struct gg_hops {
	uint8_t n;
	struct gg_hop {
		struct gg_address address;
		uint64_t rtt_us;
	} hop[GG_HOPS_MAX];
};

/* ---- tables ---- */

/* The C type of a member: uint8_t, uint16_t, uint32_t, uint64_t (U64, VARINT), struct str (into the datagram), bool (FLAG), structs as above. */
enum gg_type {
	GG_TYPE_U8,
	GG_TYPE_U16,
	GG_TYPE_U32,
	GG_TYPE_U64,
	GG_TYPE_VARINT,
	GG_TYPE_STRING,
	GG_TYPE_ADDRESS,
	GG_TYPE_FLOW,
	GG_TYPE_FLOW_REF,
	GG_TYPE_PROCESS,
	GG_TYPE_HOPS,
	GG_TYPE_FLAG
};
struct gg_field {
	const char *name;
	enum gg_type type;
	uint16_t offset; /* in the record's struct */
	uint16_t max;    /* STRING: bytes; FLAG: the bit */
	uint8_t when;    /* only when this bit of the record's flags is set; 0 = always */
};
enum gg_part {
	GG_PART_WHOLE,
	GG_PART_PID,
	GG_PART_START,
	GG_PART_PROTOCOL,
	GG_PART_LOCAL,
	GG_PART_REMOTE,
	GG_PART_REMOTE_ID,
	GG_PART_REMOTE_PORT,
	GG_PART_PEER,
	GG_PART_DIRECTION,
	GG_PART_ID,
	GG_PART_BASE,
	GG_PART_DEVICE
};
struct gg_piece {
	const char *literal; /* NULL: a field's part (GG_PART_DEVICE: of no field) */
	uint8_t field, part;
};
struct gg_template {
	const struct gg_piece *pieces;
	uint8_t n; /* 0 = no such template */
};
/* What a record does to the graph and the table, in order: proto/modules/README.md. */
enum gg_step_kind { GG_STEP_NODE, GG_STEP_GONE, GG_STEP_EDGE, GG_STEP_CUT, GG_STEP_COUNT, GG_STEP_ROW };
struct gg_step {
	enum gg_step_kind kind;
	const char *class; /* NODE, EDGE: "process", "connection" ... */
	struct gg_template id, from, to, label, detail, subject, object, pid, bytes, way;
	bool shared;           /* NODE: goes with its last edge */
	uint32_t when, unless; /* bits of fields: see gg_step_applies() */
};
struct gg_record_type {
	const char *name; /* "exec" */
	uint8_t type, n_fields, n_steps;
	const struct gg_field *fields;
	const struct gg_step *steps;
};
struct gg_module {
	const char *name; /* "process" */
	uint8_t id, n_records;
	const struct gg_record_type *records;
};
const struct gg_module *gg_module_find(uint8_t id);
const struct gg_record_type *gg_record_find(const struct gg_module *module, uint8_t type);

/* ---- reading ---- */

struct gg_datagram {
	uint8_t module, flags;
	uint32_t probe, session;
	uint64_t sequence, time_ns;
	unsigned records;
	struct str payload;
};
struct gg_record {
	uint8_t type, flags;
	uint64_t time_ns; /* since 1970, by the probe's clock */
	struct str body;
};
/* Checks the header and the frame of every record: what is GG_OK can be walked to its end.  The datagram points into the bytes.  As on a
 * link: with a tag or an outer header it is GG_BAD_FLAGS. */
enum gg_bad gg_datagram_read(struct str bytes, struct gg_datagram *ret);
/* Takes the first datagram of a Report off *rest; false: there is none, or its length is wrong (*rest is not empty then). */
bool gg_link_next(struct str *rest, struct str *ret_datagram);
/* Walks: start with *at = 0; false at the end.  The record KEYFRAME is left out. */
bool gg_record_next(const struct gg_datagram *datagram, size_t *at, struct gg_record *ret);
/* Reads the body into the record's struct, of which every member is set when it is GG_OK. */
enum gg_bad gg_record_read(const struct gg_record_type *type, const struct gg_record *record, void *ret);

#define GG_TEXT_SIZE 512
/* Texts of a template, cut to fit (size >= 1, with the NUL); bytes as the record has them: clean them before a person sees them.
 * device: 32 hex digits. */
char *gg_text(const struct gg_template *text, const struct gg_record_type *type, const void *record, const char *device, char *out,
              size_t size);
/* The number of a template that is one numeric field, such as {process.pid}; 0 when it is none. */
uint64_t gg_number(const struct gg_template *number, const struct gg_record_type *type, const void *record);
/* When every field of `when` is there (a flag set, a number not 0, a process known, a string not empty), and none of `unless`. */
bool gg_step_applies(const struct gg_step *step, const struct gg_record_type *type, const void *record);
/* "10.0.0.1-1234-10.0.0.2-80", behind it "-udp" ... when it is not TCP: the seed's key. */
#define GG_FLOW_TEXT    128
#define GG_ADDRESS_TEXT 48
char *gg_flow_text(const struct gg_flow *flow, char out[GG_FLOW_TEXT]);
char *gg_address_text(const struct gg_address *address, char out[GG_ADDRESS_TEXT]);

/* ---- order and loss, for each session ---- */

#define GG_WINDOW 2048
struct gg_order {
	uint64_t highest, lowest; /* sequence numbers; highest 0 = nothing yet */
	uint64_t received;
	uint64_t seen[GG_WINDOW / 64];
};
/* GG_OK, GG_BAD_REPLAY or GG_BAD_OLD; changes nothing.  Verify the tag between both. */
enum gg_bad gg_order_check(const struct gg_order *order, uint64_t sequence);
void gg_order_commit(struct gg_order *order, uint64_t sequence);
uint64_t gg_order_lost(const struct gg_order *order); /* datagrams between the first and the highest that did not come (yet) */

/* ---- keyframes, for each session and module ---- */

struct gg_frame {
	uint64_t number; /* of the one under way, or the last; 0 = none */
	uint32_t parts, last, highest;
	bool open, has_last;
	uint64_t seen[GG_PARTS_MAX / 64];
};
/* For each datagram with GG_IN_KEYFRAME.  *ret_begins: before its records a new keyframe begins (an unfinished one will never be whole);
 * *ret_ends: with its records it is whole (both may be true).  GG_BAD_KEYFRAME: not part of one that can become whole: skip the datagram. */
enum gg_bad gg_frame_take(struct gg_frame *frame, const struct gg_datagram *datagram, bool *ret_begins, bool *ret_ends);

/* ---- control records ---- */

enum { GG_PING = 0x10, GG_PING_RES = 0x11, GG_NOTICE = 0x20, GG_LOST = 0x30, GG_KEYFRAME_WANTED = 0x31 };
/* As rows like those of the modules: gg_record_find(&gg_control, type). */
extern const struct gg_module gg_control;
struct gg_notice {
	uint8_t module, kind;
	struct str text;
};
struct gg_lost {
	uint8_t module, place;
	uint64_t count;
};
struct gg_keyframe_wanted {
	uint8_t module;
};

/* ---- writing ---- */

/* One session: gets each datagram when it is complete.  Its sequence number is 0; gg_datagram_number() gives it one. */
struct gg_source {
	uint32_t probe, session;
	void (*send)(void *ctx, struct str datagram, unsigned records);
	void *ctx;
};
void gg_datagram_number(uint8_t *datagram, uint64_t sequence);

/* Collects records of one module into datagrams. */
struct gg_writer {
	const struct gg_source *source;
	uint8_t module;
	bool in_keyframe;
	uint64_t keyframe; /* number of the last one */
	uint32_t part;
	uint64_t base_ns;
	unsigned records;
	size_t len; /* 0 = nothing begun */
	uint8_t bytes[GG_DATAGRAM_MAX];
};
void gg_writer_init(struct gg_writer *writer, const struct gg_source *source, uint8_t module);
/* Adds a record; the datagram goes when it is full.  Members marked `if` are written when their FLAG member is true.  Strings are cut to their
 * maximum at a character's edge.  -E_TOO_LONG: the record fits no datagram. */
int gg_record_write(struct gg_writer *writer, const struct gg_record_type *type, uint64_t time_ns, const void *record);
void gg_writer_flush(struct gg_writer *writer);
/* Until the end, records are of the keyframe, but for those of a pause, which are events.  All of these send what was begun. */
void gg_writer_keyframe_begin(struct gg_writer *writer, uint64_t time_ns);
void gg_writer_keyframe_pause(struct gg_writer *writer, bool pause);
void gg_writer_keyframe_end(struct gg_writer *writer);
#endif
