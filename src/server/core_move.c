/* Orders to one device that are signed, since relays pass them on: to link to another parent, to be a relay. */
#include "base/err.h"
#include "base/mem.h"
#include "os/clock.h"
#include "os/log.h"
#include "server/core.h"

struct signing {
	struct core *core;
	struct id device;
	bool duty; /* else a Move */
};

static void on_signed(void *ctx, int err, const char *why, const void *response)
{
	static murmesh_Frame frame;
	struct signing *signing = ctx;
	frame = (murmesh_Frame){ .which_body = signing->duty ? murmesh_Frame_duty_tag : murmesh_Frame_move_tag };
	if (err == 0) {
		*(signing->duty ? &frame.body.duty : &frame.body.move) = *(const murmesh_SignedDocument *)response;
		err = core_link_send(signing->core, &signing->device, &frame);
	}
	if (err < 0 && err != -E_OFFLINE)
		log_warning("a device was not told %s: %s %s", signing->duty ? "whether it is a relay" : "of its other parent",
		            err_text(err), why ? why : "");
	mem_free(signing);
}

static void sign(struct core *core, const struct id *device, bool duty, const pb_msgdesc_t *type, const void *document)
{
	static murmesh_SignRequest request;
	struct signing *signing = core_link_online(core, device) && core->ca ? mem_alloc(sizeof *signing) : NULL;
	if (!signing)
		return;
	*signing = (struct signing){ core, *device, duty };
	int err = core_document(type, document, duty ? AUTHORITY_RELAY : AUTHORITY_MOVE, &request);
	if (err == 0)
		err = rpc_unary(core->ca, &rpc_Ca_Sign, &request, 10000, on_signed, signing);
	if (err < 0)
		on_signed(signing, err, NULL, NULL);
}

void core_move(struct core *core, const struct device *device, const char *parent, uint32_t fall_back_s)
{
	murmesh_Move document = { .created_ms = clock_wall_ms(), .fall_back_s = fall_back_s };
	memcpy(document.mesh, core->mesh_id.bytes, sizeof document.mesh);
	memcpy(document.device, device->id.bytes, sizeof document.device);
	if (str_is(str_from(parent), "server"))
		parent = core->address;
	str_copy(str_from(parent), document.parent, sizeof document.parent);
	sign(core, &device->id, false, murmesh_Move_fields, &document);
}

void core_duty(struct core *core, const struct id *device, bool relay)
{
	murmesh_RelayDuty document = { .created_ms = clock_wall_ms(), .enabled = relay };
	memcpy(document.mesh, core->mesh_id.bytes, sizeof document.mesh);
	memcpy(document.device, device->bytes, sizeof document.device);
	sign(core, device, true, murmesh_RelayDuty_fields, &document);
}
