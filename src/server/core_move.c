/* Devices that are told to link to another parent: the order is signed, since relays pass it on. */
#include <pb_encode.h>

#include "base/err.h"
#include "base/mem.h"
#include "ca/authority.h"
#include "os/clock.h"
#include "os/log.h"
#include "server/core.h"

struct move {
	struct core *core;
	struct id device;
};

static void on_signed(void *ctx, int err, const char *why, const void *response)
{
	static murmesh_Frame frame;
	struct move *move = ctx;
	frame = (murmesh_Frame){ .which_body = murmesh_Frame_move_tag };
	if (err == 0) {
		frame.body.move = *(const murmesh_SignedDocument *)response;
		err = core_link_send(move->core, &move->device, &frame);
	}
	if (err < 0 && err != -E_OFFLINE)
		log_warning("a device was not told of its other parent: %s %s", err_text(err), why ? why : "");
	mem_free(move);
}

void core_move(struct core *core, const struct device *device, const char *parent, uint32_t fall_back_s)
{
	static murmesh_SignRequest sign;
	murmesh_Move document = { .created_ms = clock_wall_ms(), .fall_back_s = fall_back_s };
	struct move *move = core_link_online(core, &device->id) && core->ca ? mem_alloc(sizeof *move) : NULL;
	if (!move)
		return;
	*move = (struct move){ core, device->id };
	memcpy(document.mesh, core->mesh_id.bytes, sizeof document.mesh);
	memcpy(document.device, device->id.bytes, sizeof document.device);
	if (str_is(str_from(parent), "server"))
		parent = core->address;
	str_copy(str_from(parent), document.parent, sizeof document.parent);
	int err = core_document(murmesh_Move_fields, &document, AUTHORITY_MOVE, &sign);
	if (err == 0)
		err = rpc_unary(core->ca, &rpc_Ca_Sign, &sign, 10000, on_signed, move);
	if (err < 0)
		on_signed(move, err, NULL, NULL);
}
