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

void core_time_sign(struct core *core)
{
	static murmesh_SignRequest request;
	murmesh_Time time = { .seconds = clock_wall_s() };
	memcpy(time.mesh, core->mesh_id.bytes, sizeof time.mesh);
	pb_ostream_t out = pb_ostream_from_buffer(request.document.bytes, sizeof request.document.bytes);
	request.purpose = AUTHORITY_TIME;
	int err = core->ca && pb_encode(&out, murmesh_Time_fields, &time) ? 0 : -E_BUSY;
	request.document.size = (pb_size_t)out.bytes_written;
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
