/* The time, signed once a minute for all agents that come. */
#include <pb_encode.h>

#include "base/err.h"
#include "ca/authority.h"
#include "os/clock.h"
#include "os/log.h"
#include "server/core.h"

static void on_signed(void *ctx, int err, const char *why, const void *response)
{
	struct core *core = ctx;
	const murmesh_SignedDocument *document = response;
	if (err == 0 && (document->document.size > sizeof core->time.document.bytes ||
	                 document->signature.size > sizeof core->time.signature.bytes))
		err = -E_TOO_LONG;
	core->has_time = err == 0;
	if (err < 0) {
		log_limited(LOG_WARNING, "the time was not signed: %s %s", err_text(err), why);
		return;
	}
	core->time.document.size = document->document.size;
	memcpy(core->time.document.bytes, document->document.bytes, document->document.size);
	core->time.signature.size = document->signature.size;
	memcpy(core->time.signature.bytes, document->signature.bytes, document->signature.size);
}

int core_document(const pb_msgdesc_t *type, const void *message, enum authority_purpose purpose, murmesh_SignRequest *ret)
{
	pb_ostream_t out = pb_ostream_from_buffer(ret->document.bytes, sizeof ret->document.bytes);
	if (!pb_encode(&out, type, message))
		return -E_INTERNAL;
	ret->purpose = purpose;
	ret->document.size = (pb_size_t)out.bytes_written;
	return 0;
}

void core_time_sign(struct core *core)
{
	static murmesh_SignRequest request;
	murmesh_Time time = { .seconds = clock_wall_s() };
	memcpy(time.mesh, core->mesh_id.bytes, sizeof time.mesh);
	int err = core->ca ? core_document(murmesh_Time_fields, &time, AUTHORITY_TIME, &request) : -E_BUSY;
	if (err == 0)
		err = rpc_unary(core->ca, &rpc_Ca_Sign, &request, 10000, on_signed, core);
	if (err < 0)
		core->has_time = false;
}

void core_time_welcome(const struct core *core, murmesh_Welcome *welcome)
{
	welcome->has_time = core->has_time;
	welcome->time = core->time;
}
