/* The object reference for CORBA clients. */
#include "base/err.h"
#include "server/core.h"
#include "server/orb.h"

static int own_write(const struct core *core, murmesh_Reference *reply)
{
	struct ior ior;
	struct buf text;
	buf_init(&text, sizeof reply->ior);
	int err = orb_reference(priv_child_configuration(core->child), &ior);
	if (err == 0)
		err = ior_write(&ior, &text);
	if (err == 0)
		err = str_copy(buf_str(&text), reply->ior, sizeof reply->ior);
	buf_done(&text);
	return err;
}

int core_reference_begin(struct core_request *request)
{
	const murmesh_DeviceName *message = request->message;
	return message->selector[0] ? core_selection_begin(request, message->selector, CORE_NAME)
	                            : own_write(request->base.core, request->reply);
}

/* No device is a relay yet. */
int core_reference_run(struct store_tx *tx, struct core_request *request)
{
	struct user user;
	int err = core_caller_check(tx, &request->caller, ACCOUNT_LIST, &user);
	if (err < 0 || !request->selection)
		return err;
	err = core_selection_run(tx, request, &user, &request->rows);
	return err < 0 ? err : request->rows.n ? -E_NOT_RELAY : -E_NOT_FOUND;
}
